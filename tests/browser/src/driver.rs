//! The processes of a browser: Chromium and its driver, which end with their owner.

use std::fmt;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// How Chromium is called: by Debian, by Ubuntu, by its vendor.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

const DRIVER: &str = "chromedriver";

/// How often a driver that starts is asked whether it is ready.
const PAUSE: Duration = Duration::from_millis(20);

/// No driver takes longer to start, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The reason why there is no browser.
#[derive(Debug)]
pub struct Missing(String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; `tests/all.sh` installs what is missing", self.0)
    }
}

/// Whether a missing browser is a failure: the environment requires every test.
pub fn is_required() -> bool {
    std::env::var("EVERTOKEN_SERVICES").is_ok_and(|value| value == "required")
}

/// Reports a skipped test, even when the harness captures the output of tests.
pub fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}

/// The programs that are installed.
#[derive(Debug)]
pub struct Programs {
    pub browser: PathBuf,
    driver: PathBuf,
}

impl Programs {
    /// Finds the programs on the `PATH`.
    ///
    /// # Errors
    ///
    /// If one is missing.
    pub fn find() -> Result<Self, Missing> {
        let browser = BROWSERS.iter().find_map(|name| program(name));
        let browser = browser.ok_or_else(|| missing("chromium"))?;
        let driver = program(DRIVER).ok_or_else(|| missing(DRIVER))?;
        Ok(Self { browser, driver })
    }
}

fn missing(name: &str) -> Missing {
    Missing(format!("`{name}` is not installed"))
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&path).map(|directory| directory.join(name));
    programs.find(|program| program.is_file())
}

/// A driver that runs. It ends with all browsers that it has started, which are in its process group.
#[derive(Debug)]
pub struct Driver {
    child: Child,
    port: u16,
}

impl Driver {
    /// Starts a driver on a free port.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start(programs: &Programs) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let child = Command::new(&programs.driver)
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver starts");
        let mut driver = Self { child, port };
        let ready = async {
            while reqwest::get(format!("{}/status", driver.url()))
                .await
                .is_err()
            {
                let ended = driver.child.try_wait().expect("a child process");
                assert!(ended.is_none(), "chromedriver ended at its start");
                tokio::time::sleep(PAUSE).await;
            }
        };
        let ready = tokio::time::timeout(PATIENCE, ready).await;
        ready.expect("chromedriver answers");
        driver
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
