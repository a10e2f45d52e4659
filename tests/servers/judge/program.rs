//! A real server as a process. The process ends with its standard input, and so with the test process.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Mutex;

use serde::Deserialize;
use tempfile::TempDir;

use super::installed::{interpreter, source};
use super::{CLIENT, Client, Kind, OTHER_CLIENT, Reuse, Rules};
use crate::services::{Missing, end};

pub(crate) struct Program {
    pub(super) urls: Urls,
    child: Mutex<Option<Child>>,
    /// The server ends when this pipe is closed, however the test process ends.
    _input: ChildStdin,
    /// The pipe is kept because a program that writes to a closed pipe dies.
    _output: BufReader<ChildStdout>,
    _directory: TempDir,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Urls {
    pub(super) token_url: String,
    pub(super) revocation_url: String,
    pub(super) introspection_url: String,
    /// The introspection URL for refresh tokens, where the server has a separate one.
    pub(super) refresh_introspection_url: Option<String>,
    pub(super) session_url: String,
}

impl Program {
    pub(super) fn start(kind: Kind, rules: Rules) -> Result<Self, Missing> {
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = interpreter(kind);
        command.arg(source(kind).join(match kind {
            Kind::OidcProvider => "provider.js",
            Kind::Django => "server.py",
        }));
        let seconds_of_grace = match rules.reuse {
            Reuse::Grace(seconds) => seconds,
            Reuse::RevokeFamily | Reuse::Refuse => 0,
        };
        let number = |name: &str, value: u64| (name.to_owned(), value.to_string());
        command.envs([
            number("PORT", 0),
            number("ACCESS_TTL", rules.access_ttl),
            number("REFRESH_TTL", rules.refresh_ttl),
            number("ROTATE", 1),
            number("GRACE", seconds_of_grace),
            number("REUSE_PROTECTION", u64::from(rules.reuse != Reuse::Refuse)),
            ("CLIENTS".to_owned(), clients()),
        ]);
        command.env("DATABASE", directory.path().join("database"));
        let log = directory.path().join("log");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).expect("a log"))
            .spawn()
            .map_err(|error| Missing(format!("`{}` cannot be run: {error}", kind.directory())))?;
        let input = child.stdin.take().expect("standard input is piped");
        let mut output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let ready = loop {
            let mut line = String::new();
            if output.read_line(&mut line).unwrap_or(0) == 0 {
                end(&mut Some(child));
                let log = std::fs::read_to_string(log).unwrap_or_default();
                let name = kind.directory();
                return Err(Missing(format!("`{name}` ended at its start: {log}")));
            }
            // The server may write other lines before the line that reports its readiness.
            if line.starts_with('{') {
                break line;
            }
        };
        Ok(Self {
            urls: serde_json::from_str(&ready).expect("its URLs"),
            child: Mutex::new(Some(child)),
            _input: input,
            _output: output,
            _directory: directory,
        })
    }

    pub(super) fn end(&self) {
        end(&mut self.child.lock().unwrap_or_else(|died| died.into_inner()));
    }
}

fn clients() -> String {
    let client = |client: Client| serde_json::json!({ "id": client.id, "secret": client.secret });
    serde_json::json!([client(CLIENT), client(OTHER_CLIENT)]).to_string()
}
