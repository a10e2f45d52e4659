//! Servers that tests start for themselves, on free ports of the loopback interface. Each server ends with its owner.
//!
//! A server that cannot be started is an error that says how to install it. The caller decides whether to skip its
//! test, and reports the skip: nothing is skipped in silence.
#![allow(dead_code, unreachable_pub, unused_imports)]
#![allow(clippy::disallowed_methods, reason = "a server starts in real time")]

#[path = "services/pgbouncer.rs"]
mod pgbouncer;
#[path = "services/postgres.rs"]
mod postgres;
#[path = "services/redis.rs"]
mod redis;
#[path = "services/secret_service.rs"]
mod secret_service;

use std::fmt;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

pub use self::pgbouncer::{PgBouncer, PoolMode};
pub use self::postgres::{Postgres, give_to_postgres};
pub use self::redis::Redis;
pub use self::secret_service::SecretService;

/// No server takes longer to start, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The reason why a server cannot be started.
#[derive(Debug, Clone)]
pub struct Missing(pub String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; `tests/all.sh` installs what is missing", self.0)
    }
}

impl std::error::Error for Missing {}

/// Whether a missing server is a failure: the environment requires every test.
pub fn are_required() -> bool {
    std::env::var("EVERTOKEN_SERVICES").is_ok_and(|value| value == "required")
}

/// Reports a skipped test, even when the harness captures the output of tests.
pub fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}

/// A port without a listener.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// The path of this program, on `PATH` or in one of the directories `besides`.
pub fn program(name: &str, besides: &[PathBuf]) -> Result<PathBuf, Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(besides.iter().cloned());
    directories
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
        .ok_or_else(|| Missing(format!("`{name}` is not installed")))
}

/// Waits until the server answers. The server may end instead, if another process has taken its port.
pub fn answers(child: &mut Child, what: &str, ready: impl Fn() -> bool) -> Result<(), Missing> {
    let started = Instant::now();
    while !ready() {
        if let Some(status) = child.try_wait().expect("a child process") {
            return Err(Missing(format!("{what} ended at its start: {status}")));
        }
        if started.elapsed() > PATIENCE {
            return Err(Missing(format!("{what} does not answer")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

pub fn end(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The paths of a key and of a certificate for this server (`DNS:..` or `IP:..`), which no machine trusts.
pub fn certificate(directory: &Path, server: &str) -> [PathBuf; 2] {
    let arguments = format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
                     -addext subjectAltName={server} \
                     -addext basicConstraints=critical,CA:FALSE -keyout key.pem -out cert.pem"
    );
    let mut openssl = Command::new("openssl");
    let openssl = openssl
        .args(arguments.split_ascii_whitespace())
        .current_dir(directory);
    let made = openssl.output();
    let made = made.expect("`openssl` is not installed; `tests/all.sh` installs what is missing");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    ["key.pem", "cert.pem"].map(|name| directory.join(name))
}
