//! `[endpoint.http]`: what each key does to the requests of the endpoint, and to no others.

mod headers;
#[cfg(feature = "rustls")]
mod proxy;
#[cfg(feature = "rustls")]
mod server;
#[cfg(feature = "rustls")]
mod tls;

use evertoken::{Config, ConfigError, Registry, TokenManager};

/// A configuration of an OAuth2 endpoint at `url` with a seed, and with these lines in `[endpoint.http]`.
fn oauth2(url: &str, http: &str) -> String {
    format!(
        "[endpoint]\ntoken_url = \"{url}\"\nclient_id = \"importer\"\n[seed]\nrefresh_token = \"r1\"\n[endpoint.http]\n{http}"
    )
}

async fn connect(text: &str) -> Result<TokenManager, ConfigError> {
    let config = Config::from_toml(text)?;
    config.connect(&Registry::builtin()).await
}

/// A manager that gives up soon.
#[cfg(feature = "rustls")]
async fn impatient(text: &str) -> TokenManager {
    let short = "[refresh]\nwait = \"1500ms\"\n[endpoint]\ntimeout = \"1s\"";
    connect(&text.replacen("[endpoint]", short, 1))
        .await
        .unwrap()
}

/// Runs one test as a process of its own, with other variables in its environment, and without those that name proxies.
#[cfg(feature = "rustls")]
fn run_alone(test: &str, variables: &[(&str, &str)]) {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    for name in [
        "https_proxy",
        "HTTPS_PROXY",
        "no_proxy",
        "NO_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ] {
        child.env_remove(name);
    }
    let child = child
        .args(["--exact", test])
        .envs(variables.iter().copied());
    let done = child.output().unwrap();
    let shown = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{variables:?}: {shown}");
    assert!(shown.contains("1 passed"), "{variables:?}: {shown}");
}
