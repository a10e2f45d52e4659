use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::{Missing, answers, end, free_port, program};

/// A Redis server for one test.
#[derive(Debug)]
pub struct Redis {
    directory: TempDir,
    port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    /// Whether Redis is installed.
    pub fn installed() -> Result<(), Missing> {
        program("redis-server", &[]).map(drop)
    }

    /// A server that keeps everything in memory.
    pub fn start() -> Result<Self, Missing> {
        Self::start_with(&["--save", "", "--appendonly", "no"])
    }

    /// A server that acknowledges only what is on its disk.
    pub fn durable() -> Result<Self, Missing> {
        Self::start_with(&[
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ])
    }

    /// A server with these options besides port, address and directory.
    pub fn start_with(options: &[&str]) -> Result<Self, Missing> {
        let mut server = Self {
            directory: tempfile::tempdir().expect("a directory"),
            port: 0,
            options: options.iter().map(|&option| option.to_owned()).collect(),
            child: None,
        };
        // The port is free when it is chosen, and may be taken when the server uses it.
        for _ in 0..4 {
            server.port = free_port();
            if server.restart().is_ok() {
                return Ok(server);
            }
        }
        server.port = free_port();
        server.restart()?;
        Ok(server)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Ends the server as `kill -9` does.
    pub fn kill(&mut self) {
        end(&mut self.child);
    }

    /// Starts the server again on its port and directory.
    pub fn restart(&mut self) -> Result<(), Missing> {
        self.kill();
        let mut command = Command::new(program("redis-server", &[])?);
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--daemonize", "no", "--dir"])
            .arg(self.directory.path())
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = command.spawn().expect("redis-server runs");
        let port = self.port;
        let child = self.child.insert(child);
        answers(child, "redis-server", || ping(port).is_some())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether the server has loaded its data and answers. A demand for a password is an answer too.
fn ping(port: u16) -> Option<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    stream.write_all(b"PING\r\n").ok()?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).ok()?;
    [b"+PONG\r\n", b"-NOAUTH"].contains(&&answer).then_some(())
}
