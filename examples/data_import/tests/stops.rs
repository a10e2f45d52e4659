//! What does not pass by itself stops an import, and no record fails for it.

use std::fs;

use evertoken::testing::Fault;

use super::configured::{Elsewhere, config, write};
use super::*;

/// Far more than it takes to see that a human is needed.
const SOON: Duration = Duration::from_secs(5);

#[track_caller]
fn assert_stopped(ran: &Ran, status: u8, kind: &str, said: &str) {
    let line = &ran.lines()[0];
    let context = format!("{line} {}", ran.err);
    assert_eq!(ran.status, status, "{context}");
    assert_eq!(number(line, "failed"), 0, "{context}");
    assert_eq!(line["complete"], false, "{context}");
    assert_eq!(line["stopped"]["kind"], kind, "{context}");
    let reason = line["stopped"]["reason"].as_str().unwrap();
    assert!(reason.contains(said), "{context}");
    assert!(ran.err.contains(reason), "{context}");
    assert_eq!(line["session_ended"], Value::Null, "{context}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_stops_it_at_once_and_the_import_goes_on_with_the_right_one() {
    let servers = Elsewhere::new().await;
    let right = servers.configuration(&servers.api_url());
    let wrong = right.replace("client_secret = \"secret\"", "client_secret = \"mistyped\"");
    let checkpoint = servers.directory.path().join("checkpoint");
    let arguments = format!(
        "--records 400 --batch 25 --json --resume {} {}",
        checkpoint.display(),
        config(&servers.file(&wrong))
    );
    let stopped = timeout(SOON, ran(&arguments)).await.unwrap();
    assert_stopped(
        &stopped,
        MISCONFIGURED,
        "configuration",
        "the token endpoint refuses this client: invalid_client",
    );
    assert!(
        stopped.err.starts_with(
            "background-timer: the configuration has to be mended: the token could not be refreshed: "
        ),
        "{}",
        stopped.err
    );
    let remedy = format!(
        "0 of 400 records are done with. Check the client id and the client secret, then run it again with \
         --resume {}.\n",
        checkpoint.display()
    );
    assert!(stopped.err.ends_with(&remedy), "{}", stopped.err);
    assert_eq!(servers.api.calls(), 0);
    assert!(!format!("{}{}", stopped.out, stopped.err).contains("mistyped"));

    servers.file(&right);
    assert_eq!(ran(&arguments).await.status, 0);
    assert_eq!(servers.api.distinct_records(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_url_of_the_token_endpoint_stops_it_at_once() {
    let servers = Elsewhere::new().await;
    let configuration = servers.configuration(&servers.api_url());
    let wrong = configuration.replace("/token\"", "/tokens\"");
    let arguments = format!("--records 400 --json {}", config(&servers.file(&wrong)));
    let ran = timeout(SOON, ran(&arguments)).await.unwrap();
    assert_stopped(&ran, MISCONFIGURED, "configuration", "a page: 404");
    assert!(
        ran.err.contains("Check the URL of the token endpoint"),
        "{}",
        ran.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_that_conflicts_with_the_stored_session_stops_it_at_once() {
    let servers = Elsewhere::new().await;
    let file = servers.file(&servers.configuration(&servers.api_url()));
    let arguments = format!("--records 400 --json {}", config(&file));
    assert_eq!(ran(&arguments).await.status, 0);
    let seed = servers.directory.path().join("seed");
    fs::remove_file(&seed).unwrap();
    let another = servers.server.issue().refresh.unwrap();
    write(&seed, another.expose());
    let ran = timeout(SOON, ran(&arguments)).await.unwrap();
    assert_stopped(
        &ran,
        MISCONFIGURED,
        "configuration",
        "another session is stored under this key",
    );
}

/// A server that restarts may refuse its clients for a while, and one that has changed a secret does so for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_accepted_before_is_refused_three_times_until_it_stops() {
    let servers = Elsewhere::new().await;
    let configuration = servers.configuration(&servers.api_url());
    let configuration = configuration
        .replace("[refresh]\n", "[refresh]\nwait = \"1s\"\n")
        .replace("[endpoint]\n", "[endpoint]\ntimeout = \"500ms\"\n");
    let file = servers.file(&configuration);
    let arguments = format!("--records 1000000 --workers 2 --json {}", config(&file));
    let refuses = async {
        while servers.server.rotations() < 2 {
            sleep(Duration::from_millis(2)).await;
        }
        servers.server.fail_always(Some(Fault::Status {
            status: 401,
            body: "{\"error\":\"invalid_client\"}".to_owned(),
            retry_after: None,
        }));
    };
    let both = async { tokio::join!(ran(&arguments), refuses) };
    let (ran, ()) = timeout(Duration::from_secs(60), both).await.unwrap();
    assert_stopped(&ran, MISCONFIGURED, "configuration", "invalid_client");
    let line = &ran.lines()[0];
    assert!(number(line, "ok") > 0, "{line}");
    let exchanges = servers.server.exchanges() - number(line, "rotations");
    assert!(exchanges >= 3, "{exchanges}");
    assert!(
        ran.err.starts_with("background-timer: waits for a token: "),
        "{}",
        ran.err
    );
}
