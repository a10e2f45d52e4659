//! A process with too few descriptors for the simultaneous work of its sessions.

use std::path::Path;
use std::time::Duration;

use evertoken::testing::AuthorizationServer;
use evertoken::{CoolDown, TokenEndpoint, TokenManager};
use tokio::time::timeout;

use crate::process::Process;
use crate::scene::{directory, files, open};

const SESSIONS: usize = 600;

/// The number of simultaneous requests. Each has a lease, and a proof that its holder is alive.
const UNDER_WAY: u64 = 100;

/// The limit of each step, and of a session's next rotation. A process that is stuck would need forever.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_process_that_ran_out_of_descriptors_recovers_by_itself() {
    let directory = directory();
    let shell = "ulimit -n 200";
    Process::start("descriptors", shell, directory.path()).succeeds();
    assert_eq!(files(&directory, "json").len(), SESSIONS);
    assert_eq!(files(&directory, "alive").len(), 0);
}

/// In a separate process: all sessions rotate at the same time, and each once more by itself.
pub(crate) async fn run_out(directory: &Path) {
    let server = AuthorizationServer::builder().build();
    let pause = Duration::from_millis(10);
    let session = |label: usize| {
        let endpoint = server.endpoint();
        let key = endpoint.key().label(label.to_string());
        TokenManager::builder(endpoint)
            .key(key)
            .store(open(directory))
            .cool_down(
                CoolDown::default()
                    .early(pause)
                    .expired(pause)
                    .longest(pause),
            )
            .seed(server.issue())
            .build()
            .unwrap()
    };
    let sessions: Vec<_> = (0..SESSIONS).map(session).collect();
    let hold = server.hold();
    let rotating: Vec<_> = sessions
        .iter()
        .cloned()
        .map(|tokens| tokio::spawn(async move { tokens.rotate().await }))
        .collect();
    timeout(LIMIT, server.arrived(UNDER_WAY))
        .await
        .expect("so many requests come while there are descriptors for them");
    drop(hold);
    let ended = async {
        for rotation in rotating {
            // Some rotations fail while there are too few descriptors.
            let _ = rotation.await.unwrap();
        }
    };
    timeout(LIMIT, ended).await.expect("every rotation ends");
    for tokens in &sessions {
        let again = async { while tokens.rotate().await.is_err() {} };
        timeout(LIMIT, again).await.unwrap();
    }
    assert_eq!((server.replays(), server.families_revoked()), (0, 0));
    for tokens in sessions {
        timeout(LIMIT, tokens.shutdown()).await.unwrap().unwrap();
    }
}
