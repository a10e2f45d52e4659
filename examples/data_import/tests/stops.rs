//! Obstacles that do not pass by themselves stop an import: a wrong configuration, or the end of the session. No record fails.

use std::fs;

use evertoken::testing::Fault;

use super::configured::{Elsewhere, config, write};
use super::resume::Desk;
use super::*;

/// Far longer than an import needs to find that it must stop.
const SOON: Duration = Duration::from_secs(5);

#[track_caller]
fn assert_misconfigured(ran: &Ran, cause: &str) {
    let line = &ran.lines()[0];
    let context = format!("{line} {}", ran.err);
    assert_eq!(ran.status, MISCONFIGURED, "{context}");
    assert_eq!(number(line, "failed"), 0, "{context}");
    assert_eq!(line["complete"], false, "{context}");
    assert_eq!(line["stopped"]["kind"], "configuration", "{context}");
    let reason = line["stopped"]["reason"].as_str().unwrap();
    assert!(reason.contains(cause), "{context}");
    assert!(ran.err.contains(reason), "{context}");
    assert_eq!(line["session_ended"], Value::Null, "{context}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_stops_the_import_at_once_and_the_right_one_resumes_it() {
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
    let cause = "the token endpoint refuses this client: invalid_client";
    assert_misconfigured(&stopped, cause);
    stopped.assert_said(
        "background-timer: the configuration is wrong: the token could not be refreshed: ",
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
async fn a_wrong_url_of_the_token_endpoint_stops_the_import_at_once() {
    let servers = Elsewhere::new().await;
    let configuration = servers.configuration(&servers.api_url());
    let wrong = configuration.replace("/token\"", "/tokens\"");
    let arguments = format!("--records 400 --json {}", config(&servers.file(&wrong)));
    let ran = timeout(SOON, ran(&arguments)).await.unwrap();
    assert_misconfigured(&ran, "a page: 404");
    ran.assert_said("Check the URL of the token endpoint");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_that_conflicts_with_the_stored_session_stops_the_import_at_once() {
    let servers = Elsewhere::new().await;
    let file = servers.file(&servers.configuration(&servers.api_url()));
    let arguments = format!("--records 400 --json {}", config(&file));
    assert_eq!(ran(&arguments).await.status, 0);
    let seed = servers.directory.path().join("seed");
    fs::remove_file(&seed).unwrap();
    let another = servers.server.issue().refresh.unwrap();
    write(&seed, another.expose());
    let ran = timeout(SOON, ran(&arguments)).await.unwrap();
    assert_misconfigured(&ran, "another session is stored under this key");
}

/// A server that restarts may refuse its clients for a while; a server with a changed secret refuses them for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_accepted_before_stops_after_three_refusals() {
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
    assert_misconfigured(&ran, "invalid_client");
    let line = &ran.lines()[0];
    assert!(number(line, "ok") > 0, "{line}");
    let exchanges = servers.server.exchanges() - number(line, "rotations");
    assert!(exchanges >= 3, "{exchanges}");
    ran.assert_said("background-timer: waits for a token: ");
}

const WORKERS: u64 = 4;

/// I5: a logout everywhere ends a job after at most one more request of each worker.
#[tokio::test(flavor = "multi_thread")]
async fn i5_a_logout_everywhere_ends_the_job_within_one_request_per_worker() {
    for strategy in Strategy::MANAGED {
        let place = Place::open(Duration::from_secs(60)).await;
        let arguments =
            format!("--records 1000000 --batch 25 --workers {WORKERS} --strategy {strategy}");
        let logout = async {
            place.taken(500).await;
            place.server.revoke_all();
            place.api.calls()
        };
        let both = async { tokio::join!(place.ran(&arguments), logout) };
        let (ran, calls) = timeout(Duration::from_secs(10), both).await.unwrap();
        let api = &place.api;
        let after = api.calls() - calls;
        assert!(after <= WORKERS, "{strategy}: {after} calls");
        let refused = api.unauthorized();
        assert!((1..=WORKERS).contains(&refused), "{strategy}: {refused}");
        let counts = (place.server.exchanges(), place.server.sign_ins());
        assert_eq!(counts, (1, 0), "{strategy}");

        assert_eq!(ran.status, SESSION_ENDED);
        assert_eq!(ran.verdict(strategy.name()), "session ended");
        let records = indicatif::HumanCount(api.records());
        let said = format!(
            "{strategy}: the session has ended: the server rejected the refresh token: invalid_grant. \
             {records} of 1,000,000 records are done with. Sign in, then run it again; with \
             --resume FILE, it would go on from there.\n"
        );
        assert_eq!(ran.err, said);
        assert!(!ran.out.contains("lost"), "{}", ran.out);
    }
}

/// I14: a job with a dead session ends in bounded time and reports how many records are done.
#[tokio::test(flavor = "multi_thread")]
async fn i14_a_job_whose_session_is_dead_ends_in_bounded_time_with_its_count() {
    for strategy in Strategy::MANAGED {
        // The refresh token expires before the first rotation.
        let arguments = format!(
            "--records 1000000 --workers 2 --strategy {strategy} --access-ttl 500ms --refresh-ttl 20ms \
             --json"
        );
        let ran = timeout(Duration::from_secs(10), ran(&arguments));
        let ran = ran.await.unwrap();
        let line = &ran.lines()[0];
        assert_eq!(ran.status, SESSION_ENDED);
        assert_eq!(number(line, "failed"), 0, "{line}");
        assert!(number(line, "ok") > 0, "{line}");
        assert!(number(line, "unauthorized") <= 2, "{line}");
        assert!(number(line, "exchanges") <= 1, "{line}");
        assert_eq!(line["complete"], false);
        let done = format!("{} of", indicatif::HumanCount(number(line, "ok")));
        ran.assert_said(&done);
        let reason = line["session_ended"].as_str().unwrap();
        assert!(reason.starts_with("the session has ended: "), "{reason}");
        assert_eq!(line["stopped"]["kind"], "session_ended");
        assert_eq!(line["stopped"]["reason"], reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_new_sign_in_an_import_is_resumed_where_the_session_ended() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    let arguments = desk.arguments();
    let logout = async {
        place.taken(500).await;
        place.server.revoke_all();
    };
    let (ran, ()) = tokio::join!(place.ran(&arguments), logout);
    assert_eq!(ran.status, SESSION_ENDED);
    ran.assert_said("run it again with --resume ");
    assert_eq!(place.ran(&arguments).await.status, 0);
    let api = &place.api;
    assert_eq!((api.records(), api.distinct_records()), (2_000, 2_000));
    assert_eq!((api.duplicates(), api.conflicts()), (0, 0));
}

/// I14: a job with a dead session also ends while its input is blocked.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn i14_a_job_whose_session_is_dead_does_not_wait_for_input() {
    use std::fs::File;
    use std::process::Command;
    use std::sync::mpsc;
    use std::thread;

    use tokio::time::Instant;

    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("pipe");
    let made = Command::new("mkfifo").arg(&input).status().unwrap();
    assert!(made.success());
    let place = Place::open(Duration::from_secs(60)).await;
    let arguments = format!(
        "--input {} --batch 25 --workers 2 --strategy on-request",
        input.display()
    );
    let (go_on, logged_out) = mpsc::channel::<()>();
    let (over, is_over) = mpsc::channel::<()>();
    let writer = thread::spawn(move || {
        let mut pipe = File::options().write(true).open(input).unwrap();
        for (number, record) in crate::records::generated(50).enumerate() {
            if number == 25 {
                logged_out.recv().unwrap();
            }
            pipe.write_all(&record.unwrap()).unwrap();
        }
        // The pipe stays open without more records.
        let _ = is_over.recv_timeout(Duration::from_secs(10));
    });
    let logout = async {
        place.taken(25).await;
        place.server.revoke_all();
        go_on.send(()).unwrap();
    };
    let started = Instant::now();
    let (ran, ()) = tokio::join!(place.ran(&arguments), logout);
    assert!(started.elapsed() < Duration::from_secs(8));
    assert_eq!(ran.status, SESSION_ENDED);
    drop(over);
    writer.join().unwrap();
}
