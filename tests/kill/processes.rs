//! The examples as processes. None of them outlives its owner.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;

/// An example, built as this test is: the harness builds some of them as tests only.
pub(crate) fn example(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(build);
    directory.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/debug/deps/kill-...
    let profile = test.ancestors().nth(2).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "build",
            "--quiet",
            "--example",
            "data_import",
            "--example",
            "servers",
        ])
        .arg("--target-dir")
        .arg(profile.parent().unwrap());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(
        cargo.status().unwrap().success(),
        "the examples do not build"
    );
    profile.join("examples")
}

/// A child that is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// Asks it to end.
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
        // It may have ended by itself.
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
}

#[derive(Debug, Deserialize)]
pub(crate) struct Urls {
    pub(crate) token_url: String,
    pub(crate) api_url: String,
    pub(crate) admin_url: String,
}

impl Servers {
    /// With its files in a directory, and what else it is told.
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        let (config, seed_file) = (directory.join("import.toml"), directory.join("import.seed"));
        let mut command = Command::new(example("servers"));
        command.arg("--write-config").arg(&config);
        command.arg("--seed-file").arg(&seed_file).args(arguments);
        let mut process = Process::start(command.stdout(Stdio::piped()));
        let mut line = String::new();
        let out = process.0.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        Self {
            process,
            urls: serde_json::from_str(&line).expect("it is ready"),
            config,
            seed_file,
        }
    }

    pub(crate) async fn counters(&self) -> Value {
        let url = format!("{}/counters", self.urls.admin_url);
        let answer = Client::new().get(url).send().await.unwrap();
        answer.json().await.unwrap()
    }

    pub(crate) async fn ask(&self, path: &str) {
        let url = format!("{}{path}", self.urls.admin_url);
        let answer = Client::new().post(url).send().await.unwrap();
        answer.error_for_status().unwrap();
    }

    /// The refresh token of the last sign-in.
    pub(crate) fn seed(&self) -> String {
        std::fs::read_to_string(&self.seed_file).unwrap()
    }
}
