//! The examples as processes. Each process ends with its owner.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;

use crate::examples::example;

/// A child that is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// Starts an import with the configuration of these servers, and with a checkpoint in this directory.
    pub(crate) fn import(servers: &Servers, directory: &Path, arguments: &str) -> Self {
        let mut command = Command::new(example("data_import"));
        command.arg("--json").args(arguments.split(' '));
        command.arg("--config").arg(&servers.config);
        command.arg("--resume").arg(directory.join("checkpoint"));
        Self::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// The exit status of the process, if the process has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    /// Kills the process at once, without a chance to react.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// The standard output and error of the process, which has ended.
    pub(crate) fn told(&mut self) -> String {
        let (out, err) = (self.0.stdout.take(), self.0.stderr.take());
        let mut told = String::new();
        out.unwrap().read_to_string(&mut told).unwrap();
        err.unwrap().read_to_string(&mut told).unwrap();
        told
    }

    /// Asks the process to end, and waits for the end.
    #[cfg(unix)]
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.unwrap().success());
        self.0.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The `servers` example.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) process: Process,
    pub(crate) urls: Urls,
    pub(crate) config: PathBuf,
    pub(crate) seed_file: PathBuf,
    http: Client,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Urls {
    pub(crate) token_url: String,
    pub(crate) api_url: String,
    pub(crate) admin_url: String,
}

impl Servers {
    /// Starts the servers with their files in a directory, and further arguments.
    pub(crate) fn start(directory: &Path, arguments: &str) -> Self {
        let (config, seed_file) = (directory.join("import.toml"), directory.join("import.seed"));
        let mut command = Command::new(example("servers"));
        command.arg("--write-config").arg(&config);
        command.arg("--seed-file").arg(&seed_file);
        command.args(arguments.split(' '));
        let mut process = Process::start(command.stdout(Stdio::piped()));
        let mut line = String::new();
        let out = process.0.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        Self {
            process,
            urls: serde_json::from_str(&line).expect("the servers report that they are ready"),
            config,
            seed_file,
            http: Client::new(),
        }
    }

    pub(crate) async fn counters(&self) -> Value {
        let url = format!("{}/counters", self.urls.admin_url);
        let answer = self.http.get(url).send().await.unwrap();
        answer.json().await.unwrap()
    }

    pub(crate) async fn ask(&self, path: &str) {
        let url = format!("{}{path}", self.urls.admin_url);
        let answer = self.http.post(url).send().await.unwrap();
        answer.error_for_status().unwrap();
    }

    /// The refresh token of the last sign-in.
    pub(crate) fn seed(&self) -> String {
        std::fs::read_to_string(&self.seed_file).unwrap()
    }
}
