//! An authorization server and an API as a process of their own, and the configuration for a client:
//!
//! ```text
//! cargo run --example servers -- --write-config import.toml --seed-file import.seed
//! ```
//!
//! It listens on the loopback until Ctrl-C or SIGTERM. When it is ready, it writes one line to standard
//! output, an object of URLs: `token_url`, `api_url` and `admin_url`. Under the last one,
//! `GET /counters` answers what both servers saw, `POST /sign-in` puts the refresh token of a new sign-in
//! into the seed file, and `POST /revoke-all` logs everybody out everywhere.
#![allow(clippy::print_stdout, reason = "it tells where it listens")]

use std::convert::Infallible;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use evertoken::testing::{AuthorizationServer, GraceAnswer, HttpServer, ImportApi, Reuse};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;

const CLIENT_ID: &str = "data-import";
const CLIENT_SECRET: &str = "of the embedded server";

#[derive(Debug, Parser)]
#[command(name = "servers", about = "An authorization server and an API")]
struct Arguments {
    /// Where the configuration goes that a client needs
    #[arg(long, value_name = "FILE")]
    write_config: PathBuf,

    /// Where the refresh token of a sign-in goes
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

    /// What the server does with a refresh token that comes again
    #[arg(long, value_enum, default_value = "strict")]
    reuse: ReuseChoice,

    /// For how long it is answered where that is so
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    grace: Duration,

    /// Remembers every record, to tell how many different ones came
    #[arg(long)]
    remember_records: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReuseChoice {
    /// The session is revoked
    Strict,
    /// It is refused, and the session lives on
    Refuse,
    /// It is answered with the same pair for a while
    Grace,
    /// It is answered with another pair for a while
    Fork,
    /// The same, and the pair before that dies
    LastWins,
}

impl Arguments {
    fn reuse(&self) -> Reuse {
        let grace = |answer| Reuse::Grace {
            window: self.grace,
            answer,
        };
        match self.reuse {
            ReuseChoice::Strict => Reuse::RevokeFamily,
            ReuseChoice::Refuse => Reuse::Refuse,
            ReuseChoice::Grace => grace(GraceAnswer::SamePair),
            ReuseChoice::Fork => grace(GraceAnswer::Fork),
            ReuseChoice::LastWins => grace(GraceAnswer::LastWins),
        }
    }

    /// How soon a client may send a token again after silence.
    fn resend_after_silence(&self) -> &'static str {
        match self.reuse {
            // An earlier request that the server handles late would kill the pair of the later one.
            ReuseChoice::LastWins => "lease-duration",
            _ => "soon",
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // Before anybody can be told where to send a signal.
    let interrupted = interrupted()?;
    let servers = Arc::new(Servers::open(&arguments).await?);
    servers.sign_in()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let admin_url = format!("http://{}", listener.local_addr()?);
    let configuration = servers.configuration(&arguments, &admin_url);
    write(&arguments.write_config, &configuration)?;
    let urls = json!({
        "token_url": servers.token_endpoint.url(),
        "api_url": servers.records.url(),
        "admin_url": admin_url,
    });
    println!("{urls}");
    tokio::select! {
        served = serve(listener, servers) => served,
        () = interrupted => Ok(()),
    }
}

struct Servers {
    server: AuthorizationServer,
    api: ImportApi,
    token_endpoint: HttpServer,
    records: HttpServer,
    seed_file: PathBuf,
}

impl Servers {
    async fn open(arguments: &Arguments) -> anyhow::Result<Self> {
        let server = AuthorizationServer::builder()
            .client(CLIENT_ID, CLIENT_SECRET)
            .access_ttl(arguments.access_ttl)
            .refresh_ttl(arguments.refresh_ttl)
            .latency(arguments.latency)
            .reuse(arguments.reuse())
            .build();
        let api = ImportApi::builder(&server)
            .time_per_record(arguments.time_per_record)
            .remember_records(arguments.remember_records)
            .build();
        Ok(Self {
            token_endpoint: server.listen().await?,
            records: api.listen().await?,
            server,
            api,
            seed_file: std::path::absolute(&arguments.seed_file)?,
        })
    }

    /// Somebody signs in, and hands the refresh token over.
    fn sign_in(&self) -> anyhow::Result<()> {
        let pair = self.server.issue();
        let refresh = pair.refresh.context("the server issued no refresh token")?;
        write(&self.seed_file, refresh.expose())
    }

    /// A JSON string is one of TOML too.
    fn configuration(&self, arguments: &Arguments, admin_url: &str) -> String {
        let (token_url, api_url) = (self.token_endpoint.url(), self.records.url());
        let origin = self.records.origin();
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
        let (server, api) = (&self.server, &self.api);
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
                self.server.revoke_all();
                (StatusCode::OK, json!({}))
            }
            _ => (StatusCode::NOT_FOUND, json!({})),
        }
    }
}

async fn serve(listener: TcpListener, servers: Arc<Servers>) -> anyhow::Result<()> {
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

/// Replaces the file whole, readable by its owner only: there is a secret in it.
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

#[cfg(unix)]
fn interrupted() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn interrupted() -> anyhow::Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    })
}
