//! A process that holds a lease: its request has arrived at a server that does not answer yet.

use std::path::{Path, PathBuf};

use evertoken::protocol::{Digest, Lease};
use evertoken::testing::{AuthorizationServer, Hold, HttpServer, Reuse};
use evertoken::{
    Builder, FileStore, Key, OAuth2, TokenEndpoint, TokenManager, TokenPair, TokenStore,
};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::process::{PATIENCE, Process};
use crate::scene::{directory, entry, open};
use crate::support::{Caller, HOUR, call, loaded};

/// The files that a started process finds beside the store's directory.
const ENDPOINT: &str = "endpoint";

/// A server, and a directory with a session that several processes share.
pub(crate) struct Shared {
    pub(crate) server: AuthorizationServer,
    pub(crate) http: HttpServer,
    pub(crate) directory: TempDir,
    first: String,
}

impl Shared {
    pub(crate) async fn new(reuse: Reuse) -> Self {
        let server = AuthorizationServer::builder()
            .client("importer", "secret")
            .sign_in(true)
            .reuse(reuse)
            .build();
        let http = server.listen().await.unwrap();
        let first = server.issue().refresh.unwrap().expose().to_owned();
        let directory = directory();
        let told = format!("{}\n{first}", http.url());
        std::fs::write(directory.path().join(ENDPOINT), told).unwrap();
        Self {
            server,
            http,
            directory,
            first,
        }
    }

    pub(crate) fn session(&self) -> PathBuf {
        self.directory.path().join("session")
    }

    pub(crate) fn store(&self) -> FileStore {
        open(self.session())
    }

    pub(crate) fn endpoint(&self) -> OAuth2 {
        endpoint(self.http.url())
    }

    /// A manager of this process. It waits an hour for a lease, so a shorter wait has another reason.
    pub(crate) fn manager(&self, endpoint: OAuth2) -> Builder {
        TokenManager::builder(endpoint)
            .store(self.store())
            .seed(TokenPair::from_refresh_token(self.first.clone()))
            .lease_duration(HOUR)
            .wait(2 * HOUR)
    }

    /// What a manager of this process answers to a caller.
    pub(crate) fn call(&self, endpoint: OAuth2) -> Caller {
        call(&self.manager(endpoint).build().unwrap())
    }

    /// The counters of the server: exchanges, replays, revoked families.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let server = &self.server;
        (
            server.exchanges(),
            server.replays(),
            server.families_revoked(),
        )
    }

    /// Returns when a request has arrived. A process that fails before its request never arrives.
    pub(crate) async fn arrived(&self, count: u64) {
        let arrived = timeout(PATIENCE, self.server.arrived(count)).await;
        arrived.expect("the holder asks the server");
    }

    /// A process that rotates, whose request waits at the server.
    pub(crate) async fn holder(&self, role: &str, shell: &str) -> Holder {
        let before = self.server.exchanges();
        let hold = self.server.hold();
        let process = Process::start(role, shell, self.directory.path());
        self.arrived(before + 1).await;
        let key = self.endpoint().key();
        let lease = lease(&self.store(), &key).await.unwrap();
        Holder {
            process,
            hold,
            key,
            lease,
        }
    }

    /// The files that prove lives.
    pub(crate) fn lives(&self) -> Vec<PathBuf> {
        crate::scene::files(self.session(), "alive")
    }
}

pub(crate) struct Holder {
    pub(crate) process: Process,
    pub(crate) hold: Hold,
    pub(crate) key: Key,
    pub(crate) lease: Lease,
}

impl Holder {
    pub(crate) async fn is_dead(&self, store: &FileStore) -> bool {
        store.holder_is_dead(&self.key, &self.lease).await
    }

    /// The process is killed, and its request is answered then.
    pub(crate) fn die(self) {
        self.process.kill();
        drop(self.hold);
    }
}

pub(crate) fn endpoint(url: &str) -> OAuth2 {
    OAuth2::new(url, "importer")
        .unwrap()
        .client_secret("secret")
}

/// The lease in the record.
pub(crate) async fn lease(store: &FileStore, key: &Key) -> Option<Lease> {
    let (record, _) = entry(store, key).await?;
    let form = serde_json::to_value(record).unwrap();
    serde_json::from_value(form["lease"].clone()).unwrap()
}

/// In a separate process: rotates, and writes the access token's digest to a file.
pub(crate) async fn rotate(directory: &Path) {
    let tokens = manager(directory);
    let token = tokens.token().await.unwrap();
    let told = directory.join(format!("rotated-{}", std::process::id()));
    let digest = Digest::of(token.expose());
    std::fs::write(told, digest.to_string()).unwrap();
}

/// In a separate process: returns as soon as its lease is stored.
pub(crate) async fn leave(directory: &Path) {
    let tokens = manager(directory);
    let store = open(directory.join("session"));
    let key = tokens.key().clone();
    tokio::spawn(async move { tokens.token().await });
    let told = directory.join("leave");
    while lease(&store, &key).await.is_none() || !told.exists() {
        tokio::task::yield_now().await;
    }
}

/// In a separate process.
pub(crate) async fn sign_in(directory: &Path) {
    let (url, _) = told(directory);
    let builder = TokenManager::builder(endpoint(&url).sign_in_as_client());
    loaded(builder.store(open(directory.join("session")))).await;
}

/// The endpoint, and the first refresh token.
fn told(directory: &Path) -> (String, String) {
    let told = std::fs::read_to_string(directory.join(ENDPOINT)).unwrap();
    let (url, first) = told.split_once('\n').unwrap();
    (url.to_owned(), first.to_owned())
}

fn manager(directory: &Path) -> TokenManager {
    let (url, first) = told(directory);
    TokenManager::builder(endpoint(&url))
        .store(open(directory.join("session")))
        .seed(TokenPair::from_refresh_token(first))
        .build()
        .unwrap()
}
