//! GNOME Keyring on a D-Bus of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{Missing, end, program};

/// The configuration of a bus that starts nothing by itself.
fn configuration(socket: &Path) -> String {
    format!(
        r#"<busconfig>
  <type>session</type>
  <listen>unix:path={}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>"#,
        socket.display()
    )
}

const PASSWORD: &str = "password";

/// A Secret Service for one test, with its keyring in a directory of its own.
#[derive(Debug)]
pub struct SecretService {
    directory: TempDir,
    address: String,
    keyring: Option<Child>,
    bus: Option<Child>,
}

impl SecretService {
    /// Whether D-Bus and GNOME Keyring are installed.
    pub fn installed() -> Result<(), Missing> {
        program("dbus-daemon", &[])?;
        program("gnome-keyring-daemon", &[]).map(drop)
    }

    /// A keyring that its user has unlocked.
    pub fn start() -> Result<Self, Missing> {
        Self::start_with(Some(PASSWORD))
    }

    /// A keyring of a user who has none yet. It cannot be made, because there is no display for a prompt.
    pub fn empty() -> Result<Self, Missing> {
        Self::start_with(None)
    }

    /// Starts the keyring again, unlocked or locked. A locked one stays locked, because there is no display for a prompt.
    pub fn restart(&mut self, is_unlocked: bool) {
        end(&mut self.keyring);
        let started = self.start_keyring(is_unlocked.then_some(PASSWORD));
        started.unwrap_or_else(|missing| panic!("{missing}"));
    }

    fn start_with(password: Option<&str>) -> Result<Self, Missing> {
        let mut service = Self {
            directory: tempfile::tempdir().expect("a directory"),
            address: String::new(),
            keyring: None,
            bus: None,
        };
        service.start_bus()?;
        service.start_keyring(password)?;
        Ok(service)
    }

    fn start_bus(&mut self) -> Result<(), Missing> {
        let written = self.directory.path().join("bus.conf");
        let socket = self.directory.path().join("bus");
        std::fs::write(&written, configuration(&socket)).expect("a file");
        let mut bus = Command::new(program("dbus-daemon", &[])?);
        bus.arg(format!("--config-file={}", written.display()))
            .args(["--nofork", "--nopidfile", "--print-address=1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let bus = self.bus.insert(bus.spawn().expect("dbus-daemon"));
        // The bus prints its address when it listens.
        let printed = BufReader::new(bus.stdout.take().expect("a pipe"))
            .lines()
            .next();
        let address = printed.ok_or_else(|| Missing("dbus-daemon does not listen".to_owned()))?;
        self.address = address.expect("the address of the bus");
        Ok(())
    }

    fn start_keyring(&mut self, password: Option<&str>) -> Result<(), Missing> {
        let mut keyring = Command::new(program("gnome-keyring-daemon", &[])?);
        keyring.args(["--foreground", "--components=secrets"]);
        if password.is_some() {
            keyring.arg("--unlock");
        }
        self.give_to(&mut keyring);
        keyring
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let keyring = keyring.spawn().expect("gnome-keyring-daemon");
        let keyring = self.keyring.insert(keyring);
        // The keyring reads the password to its end, and closes its output when it has its name on the bus.
        let mut input = keyring.stdin.take().expect("a pipe");
        let written = input.write_all(password.unwrap_or_default().as_bytes());
        written.expect("the keyring reads its password");
        drop(input);
        let mut output = keyring.stdout.take().expect("a pipe");
        let read = output.read_to_end(&mut Vec::new());
        read.expect("the keyring's output");
        Ok(())
    }

    /// The home directory of the keyring's user.
    pub fn home(&self) -> &Path {
        self.directory.path()
    }

    /// Gives a process this keyring, and no other.
    pub fn give_to(&self, command: &mut Command) {
        command
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY");
        for name in ["HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"] {
            command.env(name, self.directory.path());
        }
    }
}

impl Drop for SecretService {
    fn drop(&mut self) {
        end(&mut self.keyring);
        end(&mut self.bus);
    }
}
