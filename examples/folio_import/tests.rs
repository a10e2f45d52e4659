//! Tests of the whole program, with few records and as fast as the machine can.

use clap::Parser as _;
use serde_json::Value;
use tokio::time::Instant;

use super::*;

struct Ran {
    status: u8,
    lines: Vec<Value>,
}

impl Ran {
    #[track_caller]
    fn of(&self, mode: &str, session: &str) -> &Value {
        let is_it = |line: &&Value| line["mode"] == mode && line["session"] == session;
        self.lines.iter().find(is_it).unwrap()
    }
}

async fn ran(arguments: &str) -> Ran {
    let fast = "folio_import --json --records 1240 --time-scale 100000";
    let words = fast.split(' ').chain(arguments.split_whitespace());
    let arguments = Arguments::try_parse_from(words).unwrap();
    let mut out = Vec::new();
    let status = run(&arguments, &mut out).await.unwrap();
    let lines = String::from_utf8(out).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    Ran {
        status,
        lines: lines.collect(),
    }
}

fn seconds(line: &Value, name: &str) -> f64 {
    line[name]
        .as_f64()
        .unwrap_or_else(|| panic!("{name} in {line}"))
}

#[tokio::test(start_paused = true)]
async fn an_import_with_its_own_session_loses_no_record_whatever_the_user_does() {
    let span = "--length 21m --refresh-ttl 20m --logout-at 10m";
    for ui in ["q", "r"] {
        let ran = ran(&format!("--session own --ui {ui} {span}")).await;
        for mode in ["okapi", "eureka"] {
            let line = ran.of(mode, "own");
            assert_eq!((&line["ok"], &line["failed"]), (&1240.into(), &0.into()));
            assert_eq!(line["unauthorized"], 0);
            assert_eq!(line["replays"], 0);
            assert_eq!(line["ui_end"], "logged out");
            // The timer rotates every 45 to 48 s.
            let rotations = line["rotations"].as_u64().unwrap();
            assert!((24..=30).contains(&rotations), "{line}");
        }
        // A session in Okapi lives on; in Eureka it ends after 20 minutes, and the import signs in again.
        assert_eq!(ran.of("okapi", "own")["sign_ins"], 1);
        assert_eq!(ran.of("eureka", "own")["sign_ins"], 2);
        assert_eq!(ran.status, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fixed_token_works_after_its_expiry_in_okapi_and_fails_in_eureka() {
    let ran = ran("--session fixed --length 10m").await;
    let okapi = ran.of("okapi", "fixed");
    assert_eq!((&okapi["ok"], &okapi["failed"]), (&1240.into(), &0.into()));
    let eureka = ran.of("eureka", "fixed");
    assert!(eureka["failed"].as_u64().unwrap() > 1_000, "{eureka}");
    let from = seconds(eureka, "failed_from_s");
    // The first failure comes with the next batch, and a batch takes 19 s.
    assert!((60.0..=82.0).contains(&from), "{eureka}");
    assert_eq!(ran.status, RECORDS_LOST);
}

/// T7: two holders of one session end it with one replay, and the import stops with one error instead of failed records.
#[tokio::test(start_paused = true)]
async fn t7_a_shared_session_ends_with_one_clear_error_and_nothing_is_counted_as_failed() {
    for ui in ["q", "r"] {
        let ran = ran(&format!("--session shared --ui {ui}")).await;
        for mode in ["okapi", "eureka"] {
            let line = ran.of(mode, "shared");
            let why = "the session has ended: the server rejected the refresh token: \
                       token.refresh.unprocessable: ";
            let reason = line["session_ended"].as_str().unwrap();
            assert!(reason.starts_with(why), "{line}");
            assert_eq!(line["ui_end"], "refused");
            assert_eq!((&line["replays"], &line["failed"]), (&1.into(), &0.into()));
            assert_eq!(line["complete"], false);
            assert_eq!(line["sign_ins"], 0);
        }
        assert_eq!(ran.status, SESSION_ENDED);
    }
}

/// T5, T8: a logout before the first rotation of the browser ends a shared session in Eureka, but not in Okapi.
#[tokio::test(start_paused = true)]
async fn t5_t8_a_logout_at_once_ends_a_shared_session_in_eureka_only() {
    let ran = ran("--session shared --length 10m --logout-at 30s").await;
    let okapi = ran.of("okapi", "shared");
    assert_eq!(okapi["ok"], 1240);
    assert_eq!(okapi["session_ended"], Value::Null);
    let eureka = ran.of("eureka", "shared");
    assert_eq!(eureka["complete"], false);
    assert!(eureka["session_ended"].is_string(), "{eureka}");
}

#[tokio::test(start_paused = true)]
async fn a_whole_file_is_imported_and_a_broken_file_is_refused_before_the_start() {
    let records = records::generated(50).map(Result::unwrap);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for record in records {
        file.write_all(&record).unwrap();
    }
    let one = format!(
        "--mode okapi --session own --length 10m --input {}",
        file.path().display()
    );
    let whole = ran(&one).await;
    assert_eq!(whole.lines[0]["records"], 50);
    assert_eq!(whole.lines[0]["ok"], 50);

    file.write_all(b"invalid").unwrap();
    let arguments = format!("folio_import {one}");
    let arguments = Arguments::try_parse_from(arguments.split(' ')).unwrap();
    let mut out = Vec::new();
    let error = run(&arguments, &mut out).await.unwrap_err();
    let said = format!("{error:#}");
    assert!(said.contains("record 51 at byte"), "{said}");
    assert!(out.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_table_and_the_picture_show_each_import() {
    let path = tempfile::Builder::new().suffix(".svg").tempfile().unwrap();
    let picture = path.path().display();
    let words = format!("folio_import --records 120 --time-scale 100000 --picture {picture}");
    let arguments = Arguments::try_parse_from(words.split(' ')).unwrap();
    let mut out = Vec::new();
    assert_eq!(run(&arguments, &mut out).await.unwrap(), 0);
    let report = String::from_utf8(out).unwrap();
    let drawn = std::fs::read_to_string(path.path()).unwrap();
    for (mode, failing) in [("okapi", 1), ("eureka", 2)] {
        let lines = report.lines().filter(|line| line.contains(mode));
        assert_eq!(lines.count(), 3 + failing, "{report}");
        for session in ["own session", "shared session", "fixed token"] {
            assert!(drawn.contains(&format!("{mode}, {session}")));
        }
    }
    for (part, expected) in [
        ("logged out after 30m", 3),
        ("refused after 48s", 2),
        ("session ended after", 2),
        ("401 Unauthorized", 1),
    ] {
        assert_eq!(report.matches(part).count(), expected, "{report}");
    }
    assert_eq!(drawn.matches("class=\"separator\"").count(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_simulated_hour_takes_the_scaled_real_time() {
    let (began, really) = (Instant::now(), SystemClock.now());
    tokio::select! {
        _ = pace(36_000.0) => {}
        () = sleep(Duration::from_secs(3_600)) => {}
    }
    assert_eq!(began.elapsed(), Duration::from_secs(3_600));
    // A busy machine takes longer.
    assert!(SystemClock.now().since(really) >= Duration::from_millis(99));
}
