//! Managers that are built from a configuration.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod behaviour;
mod cases;
mod example;
mod files;
mod folio;
mod http;
mod keys;
mod nested;
#[path = "../support/raw_server.rs"]
#[allow(dead_code)]
mod raw_server;
#[cfg(feature = "redis")]
mod redis;
mod registry;
mod responses;
#[cfg(feature = "seal")]
mod seal;
mod secrets;
#[cfg(feature = "redis")]
#[path = "../support/services.rs"]
mod services;
#[path = "../support/mod.rs"]
mod support;

use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};

use evertoken::{Builder, Config, ConfigError, Registry};

/// The smallest configuration.
pub const LEAST: &str = r#"
[endpoint]
token_url = "https://id.example.org/token"
client_id = "importer"
"#;

/// The builder that a configuration yields.
pub async fn builder(text: &str) -> Result<Builder, ConfigError> {
    Config::from_toml(text)?.builder(&Registry::builtin()).await
}

/// The error for a configuration, with its causes.
pub async fn refusal(text: &str) -> String {
    refusal_by(text, &Registry::builtin()).await
}

/// The error for a configuration of a program with this registry, with its causes.
pub async fn refusal_by(text: &str, registry: &Registry) -> String {
    let built = async { Config::from_toml(text)?.builder(registry).await };
    told(&built.await.map(|_| ()).expect_err(text))
}

/// The error and its causes in one line.
pub fn told(error: &ConfigError) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        told = format!("{told}: {cause}");
        source = cause.source();
    }
    told
}

/// An empty directory for this test alone.
pub fn directory(test: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("config")
        .join(test);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// Writes a file with this mode.
pub fn file(directory: &Path, name: &str, content: &str, mode: u32) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    #[cfg(not(unix))]
    let _ = mode;
    path
}
