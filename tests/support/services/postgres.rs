use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Missing, PATIENCE, answers, end, free_port, program};

/// A PostgreSQL server for one test. PostgreSQL refuses to run as root; a root process runs it as the user `postgres`.
#[derive(Debug)]
pub struct Postgres {
    directory: TempDir,
    binaries: PathBuf,
    port: u16,
    options: Vec<String>,
    child: Option<Child>,
    databases: AtomicU32,
}

impl Postgres {
    /// Whether PostgreSQL is installed.
    pub fn installed() -> Result<(), Missing> {
        binaries().map(drop)
    }

    /// A server that several tests of this process share, each with its own database.
    pub fn shared() -> Result<Arc<Self>, Missing> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(|died| died.into_inner());
        if let Some(server) = shared.upgrade() {
            return Ok(server);
        }
        let server = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&server);
        Ok(server)
    }

    /// A server that does not wait for its disk.
    pub fn start() -> Result<Self, Missing> {
        Self::start_with(&["fsync=off"])
    }

    /// A server that acknowledges only what is on its disk.
    pub fn durable() -> Result<Self, Missing> {
        Self::start_with(&["fsync=on"])
    }

    /// A server with these settings besides port, address and directory.
    pub fn start_with(settings: &[&str]) -> Result<Self, Missing> {
        let binaries = binaries()?;
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("data");
        std::fs::create_dir(&data).expect("a directory");
        for path in [directory.path(), &data] {
            give_to_postgres(path, 0o700);
        }
        let made = as_other_user(&binaries.join("initdb"), directory.path())
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8"])
            .args(["--no-locale", "--no-sync", "-D"])
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .output()
            .map_err(|error| Missing(format!("initdb cannot be run: {error}")))?;
        if !made.status.success() {
            let told = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(Missing(format!("initdb failed: {told}")));
        }
        let mut server = Self {
            directory,
            binaries,
            port: 0,
            options: settings.iter().map(|&setting| setting.to_owned()).collect(),
            child: None,
            databases: AtomicU32::new(0),
        };
        for _ in 0..4 {
            server.port = free_port();
            if server.start_again().is_ok() {
                return Ok(server);
            }
        }
        server.port = free_port();
        server.start_again()?;
        Ok(server)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of the database that always exists.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a new database.
    pub fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        self.sql(&format!("CREATE DATABASE {name}"));
        self.url_of(&name)
    }

    /// The path of a program that belongs to the server.
    pub fn program(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// Runs SQL as an administrator in the database that always exists, and returns the output.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in(&self.url(), sql)
    }

    /// Runs SQL as an administrator in another database, and returns the output.
    pub fn sql_in(&self, url: &str, sql: &str) -> String {
        self.try_sql(url, sql)
            .unwrap_or_else(|told| panic!("{sql}: {told}"))
    }

    /// Runs SQL as an administrator, and returns the output, or the server's error with its SQLSTATE.
    pub fn try_sql(&self, url: &str, sql: &str) -> Result<String, String> {
        let mut psql = Command::new(self.program("psql"));
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-v",
            "VERBOSITY=verbose",
        ]);
        psql.args(["-d", url, "-c", sql]);
        let done = psql.stdin(Stdio::null()).output().expect("psql runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match done.status.success() {
            true => Ok(text(&done.stdout)),
            false => Err(text(&done.stderr)),
        }
    }

    /// Ends the server as `kill -9` does. For the database this is a power cut.
    pub fn kill(&mut self) {
        end(&mut self.child);
    }

    /// Stops the server as an administrator does: connections are cut, and acknowledged writes survive.
    pub fn stop(&mut self) {
        if let Some(child) = &self.child {
            let pid = rustix::process::Pid::from_child(child);
            rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("ours");
        }
        if let Some(mut child) = self.child.take() {
            child.wait().expect("ours");
        }
    }

    /// Starts the server again on its port and data. The remains of a killed server may hold its shared memory for a
    /// moment.
    pub fn restart(&mut self) -> Result<(), Missing> {
        let started = Instant::now();
        loop {
            match self.start_again() {
                Err(_) if started.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                result => return result,
            }
        }
    }

    fn start_again(&mut self) -> Result<(), Missing> {
        self.kill();
        let data = self.directory.path().join("data");
        // The server runs as the child itself, so that signals reach it.
        let mut command = as_other_user(&self.binaries.join("postgres"), self.directory.path());
        command
            .arg("-D")
            .arg(&data)
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c"])
            .arg(format!(
                "unix_socket_directories={}",
                self.directory.path().display()
            ));
        for option in &self.options {
            command.args(["-c", option]);
        }
        let log = std::fs::File::create(self.directory.path().join("log")).expect("a log");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("postgres runs");
        let (ready, url) = (self.binaries.join("pg_isready"), self.url());
        let port = self.port;
        let child = self.child.insert(child);
        answers(child, "postgres", || {
            // The cheaper check first.
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
                && Command::new(&ready)
                    .args(["-q", "-d", &url])
                    .status()
                    .is_ok_and(|status| status.success())
        })
        .map_err(|Missing(told)| {
            let log = std::fs::read_to_string(self.directory.path().join("log"));
            Missing(format!("{told}: {}", log.unwrap_or_default()))
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The directory of PostgreSQL's programs, of the newest installed version. Debian does not put them on `PATH`.
fn binaries() -> Result<PathBuf, Missing> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| {
            entries
                .flatten()
                .map(|entry| entry.path().join("bin"))
                .collect()
        })
        .unwrap_or_default();
    versions.sort();
    versions.reverse();
    let postgres = program("postgres", &versions)?;
    // The program may be a link into the directory of the others.
    let postgres = std::fs::canonicalize(&postgres).unwrap_or(postgres);
    Ok(postgres.parent().unwrap_or(&postgres).to_owned())
}

/// Gives a path that the server must read to the user of the server.
pub fn give_to_postgres(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("ours");
    if let Some((user, group)) = other_user() {
        chown(path, Some(user), Some(group)).expect("root may chown");
    }
}

/// The user and group that run the server when this process is root.
fn other_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.starts_with("postgres:"))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

pub(super) fn as_other_user(program: &Path, directory: &Path) -> Command {
    let mut command = if other_user().is_some() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
        command.arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(directory);
    command
}
