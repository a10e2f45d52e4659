//! n3: where no token may stand.

use std::cell::RefCell;
use std::io;

use evertoken::{Event, TokenPair};
use tracing_subscriber::filter::LevelFilter;

use crate::support::{SECOND, later, record, settle};
use crate::world::{Service, page};

thread_local! {
    /// What was logged on this thread, on which the runtime of a test runs, since the test asked for that.
    static LOG: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.iter_mut().for_each(|log| log.extend_from_slice(part)));
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Collects what is logged on this thread from now on. The subscriber is that of the process: tests of other threads, which have
/// none, would otherwise switch the events off for all.
fn collect_logs() {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(|| Writer)
        .init();
    LOG.set(Some(Vec::new()));
}

fn logged() -> String {
    let log = LOG.take().unwrap_or_default();
    String::from_utf8_lossy(&log).into_owned()
}

#[tokio::test(start_paused = true)]
async fn n3_refresh_tokens_stand_in_no_key_no_lease_no_event_no_error_and_no_log() {
    collect_logs();
    let service = Service::of(2, page());
    let mut secrets = Vec::new();
    let mut shown = String::new();
    let mut note = |pair: &TokenPair| {
        let access = pair.access.as_ref().unwrap().expose().to_owned();
        let refresh = pair.refresh.as_ref().unwrap().expose().to_owned();
        secrets.extend([access, refresh]);
    };
    let first = service.cookie().await;
    note(first.pair());
    let presented = service.present(&first).await.unwrap();
    let key = presented.tokens().key().clone();
    let events = record(presented.tokens().subscribe());
    // A failure, a rotation under a lease, a replaced pair, a refused one, a stranger's, and a logout.
    service.world.expire().await;
    service.world.server.fail_next(later(None));
    let hold = service.world.server.hold();
    let requests = service
        .instances
        .iter()
        .map(|sessions| crate::world::request(sessions, &first));
    let requests: Vec<_> = requests.collect();
    service.world.server.arrived(1).await;
    let leased = service.world.store.record(&key).await.unwrap().unwrap();
    drop(hold);
    let answered = crate::world::answers(requests).await;
    let second = answered[0].renewal().unwrap();
    note(second.pair());
    shown += &format!("{answered:?} {second:?}");
    let third = service.rotate(&second).await;
    note(third.pair());
    settle().await;
    shown += &format!("{:?}", service.present(&first).await.unwrap_err());
    shown += &format!("{}", service.present(&first).await.unwrap_err());
    let replaced = service.world.store.record(&key).await.unwrap().unwrap();
    let bare = service.world.server.issue();
    note(&bare);
    let strange = service.present(bare).await.unwrap();
    let strange_key = strange.tokens().key().clone();
    shown += &format!("{strange:?} {} {strange_key:?}", strange.id());
    service.world.store.set_down(true);
    service.pass(SECOND).await;
    shown += &format!(
        "{:?}",
        service.instances[1].present(&first).await.unwrap_err()
    );
    service.world.store.set_down(false);
    presented.tokens().logout().await;
    settle().await;
    shown += &format!("{:?}", service.present(&third).await.unwrap_err());
    shown += &format!("{key:?} {key} {} {:?}", key.digest(), service.instances);
    let events: Vec<Event> = events.lock().clone();
    assert!(events.len() > 3, "{events:?}");
    shown += &format!("{events:?}");
    for kept in [leased, replaced] {
        let mut form = serde_json::to_value(&kept).unwrap();
        assert!(!form["pair"].take().is_null());
        assert!(!form["browser"].is_null());
        shown += &form.to_string();
    }
    let logged = logged();
    assert!(
        logged.contains(&key.to_string()),
        "the log is not collected: {logged}"
    );
    for secret in secrets {
        assert!(!shown.contains(&secret), "{shown}");
        assert!(!logged.contains(&secret), "{logged}");
    }
}
