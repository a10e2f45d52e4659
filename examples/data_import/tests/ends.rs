//! The session dies in mid-run.

use super::*;

const WORKERS: u64 = 4;

pub(super) const MANAGED: [&str; 3] = ["on-request", "background-timer", "optimistic-early"];

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_logout_everywhere_ends_the_job_within_one_request_per_worker() {
    for strategy in MANAGED {
        let place = Place::open(Duration::from_secs(60)).await;
        let arguments =
            format!("--records 1000000 --batch 25 --workers {WORKERS} --strategy {strategy}");
        let logout = async {
            place.taken(500).await;
            place.server.revoke_all();
            place.api().calls()
        };
        let both = async { tokio::join!(place.ran(&arguments), logout) };
        let (ran, calls) = timeout(Duration::from_secs(10), both).await.unwrap();
        let api = place.api();
        let after = api.calls() - calls;
        assert!(after <= WORKERS, "{strategy}: {after} calls");
        let unauthorized = api.unauthorized();
        assert!(
            (1..=WORKERS).contains(&unauthorized),
            "{strategy}: {unauthorized}"
        );
        let server = &place.server;
        assert_eq!(
            (server.exchanges(), server.sign_ins()),
            (1, 0),
            "{strategy}"
        );

        assert_eq!(ran.status, SESSION_ENDED);
        assert_eq!(ran.verdict(strategy), "session ended");
        let records = indicatif::HumanCount(api.records());
        assert_eq!(
            ran.err,
            format!(
                "{strategy}: the session has ended: the server rejected its refresh token: invalid_grant. \
                 {records} of 1,000,000 records are done with. Sign in, then run it again; with \
                 --resume FILE, it would go on from there.\n"
            )
        );
        assert!(!ran.out.contains("lost"), "{}", ran.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i14_a_job_whose_session_is_dead_ends_in_bounded_time_with_its_count() {
    for strategy in MANAGED {
        // The refresh token is dead before it is needed.
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
        assert!(ran.err.contains(&done), "{}", ran.err);
        let reason = line["session_ended"].as_str().unwrap();
        assert!(reason.starts_with("the session has ended: "), "{reason}");
        assert_eq!(line["stopped"]["kind"], "session_ended");
        assert_eq!(line["stopped"]["reason"], reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_new_sign_in_the_import_goes_on_where_the_session_died() {
    let place = Place::open(Duration::from_secs(60)).await;
    let directory = tempfile::tempdir().unwrap();
    let arguments = format!(
        "--records 2000 --batch 25 --workers 4 --resume {}",
        directory.path().join("checkpoint").display()
    );
    let logout = async {
        place.taken(500).await;
        place.server.revoke_all();
    };
    let (ran, ()) = tokio::join!(place.ran(&arguments), logout);
    assert_eq!(ran.status, SESSION_ENDED);
    assert!(
        ran.err.contains("run it again with --resume "),
        "{}",
        ran.err
    );
    assert_eq!(place.ran(&arguments).await.status, 0);
    let api = place.api();
    assert_eq!((api.records(), api.distinct_records()), (2_000, 2_000));
    assert_eq!((api.duplicates(), api.conflicts()), (0, 0));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn i14_a_job_whose_session_is_dead_waits_for_no_input_that_does_not_come() {
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
    let (go_on, told) = mpsc::channel::<()>();
    let (over, is_over) = mpsc::channel::<()>();
    let writer = thread::spawn(move || {
        let mut pipe = File::options().write(true).open(input).unwrap();
        for (number, record) in crate::generate::records(50).enumerate() {
            if number == 25 {
                told.recv().unwrap();
            }
            pipe.write_all(&record.unwrap()).unwrap();
        }
        // Nothing more comes, and no end.
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
