use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::postgres::{Postgres, as_other_user, give_to_postgres};
use super::{Missing, answers, end, free_port, program};

/// A PgBouncer for one test, in front of a PostgreSQL server. PgBouncer refuses to run as root; a root process runs it
/// as the user `postgres`.
#[derive(Debug)]
pub struct PgBouncer {
    _directory: TempDir,
    port: u16,
    child: Option<Child>,
}

/// When PgBouncer gives a server connection to another client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    Session,
    /// Per transaction: PgBouncer mixes up the names of prepared statements.
    Transaction,
    /// Per transaction: PgBouncer keeps the names of prepared statements apart.
    TransactionWithNames,
}

impl PgBouncer {
    /// Whether PgBouncer is installed.
    pub fn installed() -> Result<(), Missing> {
        binary().map(drop)
    }

    /// Whether PgBouncer can keep the names of prepared statements apart, from version 1.21 on.
    pub fn knows_names() -> Result<bool, Missing> {
        let asked = Command::new(binary()?).arg("--version").output();
        let told = asked.map_err(|error| Missing(format!("pgbouncer cannot be run: {error}")))?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let version = told.split_whitespace().nth(1).unwrap_or_default();
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0_u32));
        Ok((parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (1, 21))
    }

    pub fn start(server: &Postgres, mode: PoolMode) -> Result<Self, Missing> {
        let directory = tempfile::tempdir().expect("a directory");
        give_to_postgres(directory.path(), 0o700);
        let (port, file) = (free_port(), directory.path().join("pgbouncer.ini"));
        let (pool_mode, names) = match mode {
            PoolMode::Session => ("session", 0),
            PoolMode::Transaction => ("transaction", 0),
            PoolMode::TransactionWithNames => ("transaction", 100),
        };
        let names = match Self::knows_names()? {
            true => format!("max_prepared_statements = {names}\n"),
            false => String::new(),
        };
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {pool_mode}\n\
             default_pool_size = 16\n{names}",
            server.port()
        );
        std::fs::write(&file, text).expect("ours");
        give_to_postgres(&file, 0o600);
        let child = as_other_user(&binary()?, directory.path())
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Missing(format!("pgbouncer cannot be run: {error}")))?;
        let mut pooler = Self {
            _directory: directory,
            port,
            child: Some(child),
        };
        if let Some(child) = &mut pooler.child {
            answers(child, "pgbouncer", || {
                TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
            })?;
        }
        Ok(pooler)
    }

    /// The URL by which a client reaches a database of the server through PgBouncer.
    pub fn url(&self, url: &str) -> String {
        let database = url.rsplit('/').next().unwrap_or_default();
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// The path of PgBouncer. Debian installs it in `/usr/sbin`.
fn binary() -> Result<PathBuf, Missing> {
    program("pgbouncer", &[PathBuf::from("/usr/sbin")])
}
