//! The imports of the other tests in simulated time, for two minutes, through each outage and with each strategy.

use std::convert::Infallible;
use std::time::Duration;

use evertoken::testing::{AuthorizationServer, Fault, ImportApi, TestClock};
use evertoken::{CallError, Credential, TokenManager};
use http::{Method, Response};
use url::Url;

use crate::import::{STRATEGIES, Strategy};
use crate::table::{ATTEMPTS, HTML, INVALID_CLIENT, counted_failures};
use crate::{OUTAGE, TTL};

const BATCH: Duration = Duration::from_millis(100);
/// The origin of the API, which is called in this process.
const ORIGIN: &str = "http://127.0.0.1:1";
const LASTING: Duration = Duration::from_secs(120);

/// The outages; `None` stands for refused connections.
fn outages() -> Vec<Option<Fault>> {
    let answered = |status, body: &str| Fault::Status {
        status,
        body: body.to_owned(),
        retry_after: None,
    };
    let empty = [500, 502, 503, 504, 408].map(Fault::status);
    let pages = [200, 301, 400, 401, 403, 404, 413, 503].map(|status| answered(status, HTML));
    let refused = answered(401, INVALID_CLIENT);
    let faults = empty.into_iter().chain(pages);
    let faults = faults.chain([refused, Fault::DropBefore]).map(Some);
    faults.chain([None]).collect()
}

#[tokio::test(start_paused = true)]
async fn no_call_fails_through_any_outage() {
    for strategy in STRATEGIES {
        for fault in outages() {
            goes_through(strategy, fault).await;
        }
    }
}

/// Sends a batch to the API, with the token of one attempt.
async fn called(api: &ImportApi, credential: &Credential) -> Response<()> {
    let token = credential
        .token()
        .expect("the origin of the API is configured");
    let mut answer = Response::new(());
    *answer.status_mut() = api.call(token.expose(), 1).await;
    answer
}

async fn goes_through(strategy: Strategy, fault: Option<Fault>) {
    let about = format!("{strategy:?}, {fault:?}");
    let clock = TestClock::new();
    let server = AuthorizationServer::builder()
        .clock(clock.clone())
        .access_ttl(TTL)
        .build();
    let api = ImportApi::builder(&server).build();
    let builder = TokenManager::builder(server.endpoint())
        .clock(clock.clone())
        .origin(ORIGIN)
        .seed(server.issue());
    let tokens = strategy
        .of(builder)
        .build()
        .expect("the settings are valid");
    let failures = counted_failures(&tokens);
    let importing = tokio::spawn({
        let (tokens, api) = (tokens.clone(), api.clone());
        let url = Url::parse(ORIGIN).expect("a URL");
        async move {
            loop {
                let answer = tokens.call(Method::POST, &url, |credential| {
                    let api = api.clone();
                    async move { Ok::<_, Infallible>(called(&api, &credential).await) }
                });
                assert_eq!(answer.await?.status(), 200);
                tokio::time::sleep(BATCH).await;
            }
            #[expect(unreachable_code, reason = "the line names the type of the error")]
            Ok::<(), CallError<Infallible>>(())
        }
    });
    while server.rotations() == 0 {
        clock.advance(BATCH).await;
    }
    let (rotated, asked) = (server.rotations(), server.exchanges());
    match &fault {
        Some(fault) => server.fail_always(Some(fault.clone())),
        None => server.set_reachable(false),
    }
    clock.advance(OUTAGE).await;
    let attempts = server.exchanges() - asked;
    assert_eq!(server.rotations(), rotated, "{about}");
    server.fail_always(None);
    server.set_reachable(true);
    clock.advance(LASTING).await;
    assert!(!importing.is_finished(), "{about}: {:?}", importing.await);
    importing.abort();
    let _ = importing.await;
    assert!(attempts <= ATTEMPTS, "{about}: {attempts} attempts");
    assert!(server.rotations() > rotated + 20, "{about}");
    assert_eq!(server.families_revoked(), 0, "{about}");
    assert_eq!(api.records(), api.calls() - api.unauthorized(), "{about}");
    tokens.shutdown().await.expect("the shutdown succeeds");
    drop(tokens);
    assert!(failures.await.expect("no panic") > 0, "{about}");
}
