//! An authorization server and an API in their own process, and the configuration for a client:
//!
//! ```text
//! cargo run --example servers -- --write-config import.toml --seed-file import.seed
//! ```
//!
//! The servers listen on the loopback until Ctrl-C or SIGTERM. When they are ready, the program writes one line to standard
//! output, an object of URLs: `token_url`, `api_url` and `admin_url`. Under `admin_url`, `GET /counters` reports what both
//! servers counted, `POST /sign-in` writes the refresh token of a new sign-in to the seed file, and `POST /revoke-all` revokes
//! all sessions.
#![allow(clippy::print_stdout, reason = "the program reports where it listens")]

#[allow(dead_code)]
#[path = "shared/command.rs"]
mod command;
#[allow(dead_code)]
#[path = "shared/site.rs"]
mod site;

use std::convert::Infallible;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Parser;
use evertoken::testing::{AuthorizationServer, ImportApi};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;

use self::site::{CLIENT_SECRET, ReuseChoice, Servers};

const CLIENT_ID: &str = "data-import";

#[derive(Debug, Parser)]
#[command(name = "servers", about = "An authorization server and an API")]
struct Arguments {
    /// File for the configuration of a client
    #[arg(long, value_name = "FILE")]
    write_config: PathBuf,

    /// File for the refresh token of a sign-in
    #[arg(long, value_name = "FILE")]
    seed_file: PathBuf,

    /// Lifetime of an access token
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    access_ttl: Duration,

    /// Lifetime of a refresh token
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    refresh_ttl: Duration,

    /// How long the token endpoint takes
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = humantime::parse_duration)]
    latency: Duration,

    /// How long the API takes for a record
    #[arg(long, value_name = "TIME", default_value = "3ms", value_parser = humantime::parse_duration)]
    time_per_record: Duration,

    /// What the server does with a refresh token that was used before
    #[arg(long, value_enum, default_value = "strict")]
    reuse: ReuseChoice,

    /// How long a lenient server answers such a token
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    grace: Duration,

    /// Counts how many different records came; takes memory for each record
    #[arg(long)]
    remember_records: bool,
}

impl Arguments {
    /// How soon a client may send a refresh token again after a request without an answer.
    fn resend_after_silence(&self) -> &'static str {
        match self.reuse {
            // An earlier request that the server processes late would kill the pair of the later request.
            ReuseChoice::LastWins => "lease-duration",
            _ => "soon",
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // The program listens for signals before it reports that it is ready.
    let interrupted = command::listen_for_signals()?;
    let servers = Arc::new(Admin::open(&arguments).await?);
    servers.sign_in()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let admin_url = format!("http://{}", listener.local_addr()?);
    let configuration = servers.configuration(&arguments, &admin_url);
    write(&arguments.write_config, &configuration)?;
    let urls = json!({
        "token_url": servers.servers.token_endpoint.url(),
        "api_url": servers.servers.records.url(),
        "admin_url": admin_url,
    });
    println!("{urls}");
    tokio::select! {
        served = serve(listener, servers) => served,
        () = interrupted => Ok(()),
    }
}

/// The servers, and what `admin_url` does with them.
struct Admin {
    servers: Servers,
    seed_file: PathBuf,
}

impl Admin {
    async fn open(arguments: &Arguments) -> anyhow::Result<Self> {
        let server = AuthorizationServer::builder()
            .client(CLIENT_ID, CLIENT_SECRET)
            .access_ttl(arguments.access_ttl)
            .refresh_ttl(arguments.refresh_ttl)
            .latency(arguments.latency)
            .reuse(arguments.reuse.within(arguments.grace))
            .build();
        let api = ImportApi::builder(&server)
            .time_per_record(arguments.time_per_record)
            .remember_records(arguments.remember_records)
            .build();
        Ok(Self {
            servers: Servers::open(server, api).await?,
            seed_file: std::path::absolute(&arguments.seed_file)?,
        })
    }

    /// Writes the refresh token of a new sign-in to the seed file.
    fn sign_in(&self) -> anyhow::Result<()> {
        let pair = self.servers.server.issue();
        let refresh = pair.refresh.context("the server issued no refresh token")?;
        write(&self.seed_file, refresh.expose())
    }

    /// The configuration of a client. A JSON string is a TOML string too.
    fn configuration(&self, arguments: &Arguments, admin_url: &str) -> String {
        let records = &self.servers.records;
        let (token_url, api_url) = (self.servers.token_endpoint.url(), records.url());
        let origin = records.origin();
        let seed_file = json!(self.seed_file);
        let resend_after_silence = arguments.resend_after_silence();
        format!(
            r#"# Written by the `servers` example, for servers that end with it.
[import]
api_url = "{api_url}"
counters_url = "{admin_url}/counters"

[refresh]
strategy = "optimistic-early"
lease_duration = "15s"

[http]
origins = ["{origin}"]

[store]
kind = "file"
path = "session"
timeout = "3s"

[endpoint]
kind = "oauth2"
token_url = "{token_url}"
client_id = "{CLIENT_ID}"
client_secret = "{CLIENT_SECRET}"
timeout = "2s"

[endpoint.server]
resend_after_silence = "{resend_after_silence}"

[seed]
refresh_token = {{ file = {seed_file} }}
"#
        )
    }

    fn counters(&self) -> Value {
        let Servers { server, api, .. } = &self.servers;
        json!({
            "exchanges": server.exchanges(),
            "rotations": server.rotations(),
            "replays": server.replays(),
            "families_revoked": server.families_revoked(),
            "sign_ins": server.sign_ins(),
            "revocations": server.revocations(),
            "calls": api.calls(),
            "records": api.records(),
            "distinct_records": api.distinct_records(),
            "duplicates": api.duplicates(),
            "conflicts": api.conflicts(),
            "unauthorized": api.unauthorized(),
            "anonymous": api.anonymous(),
        })
    }

    fn answer(&self, request: &Request<Incoming>) -> (StatusCode, Value) {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/counters") => (StatusCode::OK, self.counters()),
            (&Method::POST, "/sign-in") => match self.sign_in() {
                Ok(()) => (StatusCode::OK, json!({ "seed_file": self.seed_file })),
                Err(error) => (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    json!({ "error": format!("{error:#}") }),
                ),
            },
            (&Method::POST, "/revoke-all") => {
                self.servers.server.revoke_all();
                (StatusCode::OK, json!({}))
            }
            _ => (StatusCode::NOT_FOUND, json!({})),
        }
    }
}

async fn serve(listener: TcpListener, servers: Arc<Admin>) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let servers = Arc::clone(&servers);
        let service = service_fn(move |request: Request<Incoming>| {
            let (status, body) = servers.answer(&request);
            let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
            *response.status_mut() = status;
            async move { Ok::<_, Infallible>(response) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// Replaces the whole file. Only its owner can read it, because it contains a secret.
fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    let path = std::path::absolute(path)?;
    let written = || {
        let mut file = NamedTempFile::new_in(path.parent().unwrap_or(&path))?;
        file.write_all(content.as_bytes())?;
        file.persist(&path)?;
        std::io::Result::Ok(())
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}
