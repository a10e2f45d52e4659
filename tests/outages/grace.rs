//! Answers that are lost after the server has rotated. A server with a grace window answers the same token again for a
//! while. The session is not lost if the token is sent again inside the window.

use std::time::Duration;

use evertoken::TokenManager;
use evertoken::testing::{AuthorizationServer, Fault, GraceAnswer, Reuse, TestClock};

use crate::import::STRATEGIES;

const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(60);

/// The number of sessions, each of which loses one answer.
const SESSIONS: usize = 200;

#[derive(Debug, Clone, Copy)]
enum Lost {
    /// The connection is reset.
    Reset,
    /// The connection hangs until the client gives up, this number of seconds before the window ends.
    Hang(u32),
}

#[tokio::test(start_paused = true)]
async fn no_session_is_lost_with_an_answer_on_a_server_with_a_grace_window() {
    for window in [10, 30] {
        use GraceAnswer::{Fork, LastWins, SamePair};
        for answer in [SamePair, Fork, LastWins] {
            for lost in [Lost::Reset, Lost::Hang(6)] {
                let mut sessions = tokio::task::JoinSet::new();
                for number in 0..SESSIONS {
                    sessions.spawn(outlives(window, answer, lost, number));
                }
                let lost_ones = sessions.join_all().await.into_iter().filter(|lives| !lives);
                assert_eq!(lost_ones.count(), 0, "{window} s, {answer:?}, {lost:?}");
            }
        }
    }
}

/// Returns whether the session lives on after the answer to its third rotation was lost.
async fn outlives(window: u64, answer: GraceAnswer, lost: Lost, number: usize) -> bool {
    let clock = TestClock::new();
    let window = Duration::from_secs(window);
    let server = AuthorizationServer::builder()
        .clock(clock.clone())
        .access_ttl(TTL)
        .reuse(Reuse::Grace { window, answer })
        .build();
    let (fault, timeout) = match lost {
        Lost::Reset => (Fault::DropAfter, 30 * SECOND),
        Lost::Hang(less) => (Fault::Delay(3_600 * SECOND), window - less * SECOND),
    };
    let endpoint = server.endpoint().with_timeout(timeout);
    let builder = TokenManager::builder(endpoint)
        .clock(clock.clone())
        .seed(server.issue());
    let builder = STRATEGIES[number % STRATEGIES.len()].of(builder);
    let tokens = builder.build().expect("the settings are valid");
    tokens.token().await.expect("the session has a seed");
    let mut fault = Some(fault);
    while server.rotations() < 4 {
        if let Some(fault) = fault.take_if(|_| server.rotations() == 2) {
            server.fail_next(fault);
        }
        let (token, ()) = tokio::join!(tokens.token(), clock.advance(SECOND));
        if token.is_err() {
            return false;
        }
    }
    server.families_revoked() == 0 && tokens.status().end.is_none()
}
