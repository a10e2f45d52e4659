//! A job with several workers. A logout everywhere ends the sessions of the user in the middle of the job.

use evertoken::testing::{FolioServer, TestClock};
use evertoken::{Error, Event, Events, TokenManager};

use crate::browser::both;
use crate::imports::{import, taken_over, timed};
use crate::{SECOND, reason};

/// The work of a worker until it stopped.
struct Worked {
    done: u64,
    /// Requests that were refused.
    refused: u64,
    why: Option<Error>,
}

/// Imports one record each second for `seconds`.
async fn work(folio: FolioServer, tokens: TokenManager, seconds: u64) -> Worked {
    let (mut done, mut refused) = (0, 0);
    for _ in 0..seconds {
        let token = match tokens.token().await.map_err(Some) {
            Ok(token) => token,
            Err(why) => return Worked { done, refused, why },
        };
        match import(&folio, token.expose()).await.as_u16() {
            200 => done += 1,
            401 => {
                refused += 1;
                tokens.reject(&token);
            }
            status => panic!("{status}"),
        }
        tokio::time::sleep(SECOND).await;
    }
    let why = None;
    Worked { done, refused, why }
}

const WORKERS: u64 = 8;

/// Runs a job for 10 min, and logs its user out everywhere after 100 s.
async fn logged_out_in_the_middle(folio: &FolioServer, tokens: &TokenManager) -> Vec<Worked> {
    let workers = (0..WORKERS).map(|_| work(folio.clone(), tokens.clone(), 600));
    let job = futures_util::future::join_all(workers);
    let user = async {
        tokio::time::sleep(100 * SECOND).await;
        folio.log_out_everywhere("diku", "diku_admin");
    };
    tokio::join!(job, user).0
}

fn ends(events: &mut Events) -> usize {
    let all = std::iter::from_fn(|| events.try_recv());
    let ended = all.filter(|event| matches!(event, Event::Ended { .. }));
    ended.count()
}

/// A logout everywhere stops each worker within one request, and each worker knows which records are done.
#[tokio::test(start_paused = true)]
async fn i5_a_logout_everywhere_stops_every_worker_within_a_request_and_each_knows_its_progress() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let tokens = taken_over(&folio, &clock);
        tokens.rotate().await.unwrap();
        let mut events = tokens.subscribe();
        let workers = logged_out_in_the_middle(&folio, &tokens).await;
        for worker in &workers {
            let why = worker.why.clone().unwrap();
            assert!(why.needs_sign_in());
            assert!(reason(why).is_rejected());
            assert!(worker.refused <= 1);
        }
        assert_eq!(ends(&mut events), 1);
        let done: u64 = workers.iter().map(|worker| worker.done).sum();
        let counters = folio.counters();
        assert_eq!(counters.records, done);
        assert!(counters.unauthorized <= WORKERS);
        // The manager rotates at 0, 48 and 96 s, and the fourth refresh is refused. The access token stays valid until
        // its expiry.
        assert_eq!((counters.rotations, counters.refreshes), (3, 4));
        assert_eq!(done, WORKERS * 156);
        assert_eq!((counters.logins, counters.replays), (0, 0));
    }
}

/// The API refuses every token of the ended session, and the refused requests do not cause a storm.
#[tokio::test(start_paused = true)]
async fn i5_refused_requests_cause_no_storm() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let tokens = taken_over(&folio, &clock);
        tokens.rotate().await.unwrap();
        clock.advance(10 * SECOND).await;
        let mut events = tokens.subscribe();
        folio.log_out_everywhere("diku", "diku_admin");
        folio.set_active("diku", "diku_admin", false);
        let workers = (0..WORKERS).map(|_| work(folio.clone(), tokens.clone(), 600));
        let mut refused = 0;
        for worker in futures_util::future::join_all(workers).await {
            assert!(reason(worker.why.unwrap()).is_rejected());
            assert!(worker.done == 0 && worker.refused <= 1);
            refused += worker.refused;
        }
        assert_eq!(ends(&mut events), 1);
        let counters = folio.counters();
        assert_eq!((counters.calls, counters.unauthorized), (refused, refused));
        assert!((1..=WORKERS).contains(&refused));
        assert_eq!((counters.refreshes, counters.logins), (2, 0));
    }
}

/// A job with a password signs in anew after a logout everywhere, and no record is lost.
#[tokio::test(start_paused = true)]
async fn i5_a_job_with_a_password_signs_in_anew_and_loses_no_record() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let tokens = timed(&folio, &clock);
        let mut events = tokens.subscribe();
        for worker in logged_out_in_the_middle(&folio, &tokens).await {
            assert!(worker.why.is_none());
            assert_eq!((worker.done, worker.refused), (600, 0));
        }
        assert_eq!(ends(&mut events), 0);
        let counters = folio.counters();
        assert_eq!(counters.records, WORKERS * 600);
        assert_eq!((counters.logins, counters.unauthorized), (2, 0));
    }
}

/// A logout everywhere is reported as one end, without a storm of requests.
#[tokio::test(start_paused = true)]
async fn i5_a_logout_everywhere_ends_the_session_once_without_a_storm() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let tokens = taken_over(&folio, &clock);
        tokens.token().await.unwrap();
        clock.advance(10 * SECOND).await;
        folio.log_out_everywhere("diku", "diku_admin");
        let mut done = 0_u64;
        let end = loop {
            match tokens.token().await {
                Ok(token) if import(&folio, token.expose()).await == 200 => done += 1,
                Ok(_) => {}
                Err(error) => break error,
            }
            clock.advance(SECOND).await;
            assert!(done < 100);
        };
        assert!(reason(end).is_rejected());
        for _ in 0..60 {
            assert!(tokens.token().await.is_err());
            clock.advance(SECOND).await;
        }
        let counters = folio.counters();
        assert_eq!(counters.records, done);
        // The manager sends one refresh at 48 s. The access token stays valid until its expiry.
        assert_eq!((counters.refreshes, counters.logins), (1, 0));
        assert_eq!(done, 50);
    }
}
