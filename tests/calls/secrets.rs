//! fm40: no printable value shows a token.

use std::fmt::Write as _;

use evertoken::testing::{Answer, Fault};
use evertoken::{Error, TokenPair};
use http::HeaderName;
use reqwest::Client;

use crate::world::{ACCESS_TTL, World, access};

/// Everything that a test prints, to be searched for secrets.
#[derive(Default)]
struct Printed(String);

impl Printed {
    fn add(&mut self, shown: &impl std::fmt::Debug) {
        let _ = writeln!(self.0, "{shown:?}\n{shown:#?}");
    }

    /// Adds an error with all its sources.
    fn error(&mut self, error: &Error) {
        self.add(error);
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            let _ = writeln!(self.0, "{error}\n{error:?}");
            cause = error.source();
        }
    }

    #[track_caller]
    fn holds_none_of(&self, secrets: &[&str]) {
        for secret in secrets {
            assert!(secret.len() > 8);
            assert!(!self.0.contains(secret), "{}", self.0);
        }
        // The prefixes of every token of the test server.
        for prefix in ["at-", "rt-"] {
            assert!(!self.0.contains(prefix), "{}", self.0);
        }
    }
}

fn refresh(pair: &TokenPair) -> &str {
    pair.refresh.as_ref().unwrap().expose()
}

#[tokio::test(start_paused = true)]
async fn fm40_no_token_in_managers_builders_requests_and_clients() {
    let world = World::new().await;
    let mut printed = Printed::default();
    let seeded = || {
        world
            .builder(&world.first)
            .origin(world.http.origin())
            .header(HeaderName::from_static("x-okapi-token"))
    };
    printed.add(&seeded());
    printed.add(&world.first);
    printed.add(&world.server.endpoint());
    printed.add(&world.server);
    for tokens in [world.tokens.clone(), seeded().build().unwrap()] {
        printed.add(&tokens);
        let token = tokens.token().await.unwrap();
        printed.add(&token);
        printed.add(&tokens.client(Client::builder).unwrap());
        let request = world.client.get(world.http.url());
        let request = request.header("authorization", tokens.authorization().await.unwrap());
        printed.add(&request);
        printed.add(&request.build().unwrap());
        printed.add(&tokens);
    }
    let ours = seeded().build().unwrap().client(Client::builder).unwrap();
    printed.add(&ours.send(world.record()).await.unwrap());
    printed.add(&world.send(world.record()).await);
    printed.add(&world.api);
    printed.holds_none_of(&[access(&world.first), refresh(&world.first)]);
}

#[tokio::test(start_paused = true)]
async fn fm40_no_token_in_errors_and_events() {
    let mut printed = Printed::default();
    for fault in [
        Fault::status(500),
        Fault::status(401),
        Fault::status(429),
        Fault::DropAfter,
        Fault::Truncate,
        Fault::Body {
            status: 400,
            body: r#"{"error":"invalid_request","error_description":"not {refresh_token}","refresh_token":"{refresh_token}"}"#.to_owned(),
        },
        Fault::Body {
            status: 200,
            body: r#"{"access":"{access_token}","refresh":"{refresh_token}"}"#.to_owned(),
        },
    ] {
        let world = World::new().await;
        let mut events = world.tokens.subscribe();
        world.tokens.token().await.unwrap();
        world.clock.advance(ACCESS_TTL).await;
        world.server.fail_always(Some(fault));
        let error = world.refused().await;
        printed.error(&error);
        world.server.fail_always(None);
        world.server.revoke_all();
        world.clock.advance(2 * ACCESS_TTL).await;
        printed.error(&world.refused().await);
        printed.error(&world.tokens.rotate().await.unwrap_err());
        while let Some(event) = events.try_recv() {
            printed.add(&event);
        }
        printed.add(&world.tokens);
        printed.holds_none_of(&[access(&world.first), refresh(&world.first)]);
    }
}

#[tokio::test(start_paused = true)]
async fn fm40_no_token_in_the_error_of_a_failed_request() {
    let world = World::new().await;
    let mut printed = Printed::default();
    world
        .api
        .answer_path("/loop", Answer::status(302).header("location", "/loop"));
    let looped = world.client.get(world.url("/loop"));
    printed.error(&world.tokens.send(looped).await.unwrap_err());
    let url = world.http.url().to_owned();
    drop(world.http);
    let refused = Client::new().post(url).body("record");
    printed.error(&world.tokens.send(refused).await.unwrap_err());
    let error = world.tokens.token().await.map(|_| ());
    assert!(error.is_ok());
    printed.holds_none_of(&[access(&world.first), refresh(&world.first)]);
}
