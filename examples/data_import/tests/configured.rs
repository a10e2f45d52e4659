//! Imports by a configuration file.

use std::fs;
use std::path::Path;

use evertoken::testing::HttpServer;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::configuration::Configuration;

/// Servers that the import does not start, and a directory for the files of the import.
pub(super) struct Elsewhere {
    pub(super) server: AuthorizationServer,
    pub(super) api: ImportApi,
    token_endpoint: HttpServer,
    pub(super) records: HttpServer,
    pub(super) directory: tempfile::TempDir,
}

impl Elsewhere {
    pub(super) async fn new() -> Self {
        let server = AuthorizationServer::builder()
            .client("importer", "secret")
            .access_ttl(Duration::from_millis(300))
            .build();
        let api = ImportApi::builder(&server)
            .time_per_record(Duration::from_millis(1))
            .remember_records(true)
            .build();
        let directory = tempfile::tempdir().unwrap();
        let first = server.issue().refresh.unwrap();
        write(&directory.path().join("seed"), first.expose());
        Self {
            token_endpoint: server.listen().await.unwrap(),
            records: api.listen().await.unwrap(),
            server,
            api,
            directory,
        }
    }

    /// A whole configuration, with a store and a seed in the directory.
    pub(super) fn configuration(&self, import: &str) -> String {
        let (token_url, origin) = (self.token_endpoint.url(), self.records.origin());
        format!(
            r#"
[import]
{import}

[refresh]
strategy = {{ kind = "background-timer", at_fraction = 0.7 }}

[http]
origins = ["{origin}"]

[store]
kind = "file"
path = "session"

[endpoint]
token_url = "{token_url}"
client_id = "importer"
client_secret = "secret"

[seed]
refresh_token = {{ file = "seed" }}
"#
        )
    }

    pub(super) fn api_url(&self) -> String {
        format!("api_url = \"{}\"", self.records.url())
    }

    pub(super) fn file(&self, content: &str) -> PathBuf {
        let path = self.directory.path().join("import.toml");
        fs::write(&path, content).unwrap();
        path
    }
}

/// Writes a file that only its owner can read, as evertoken requires of a secret.
pub(super) fn write(path: &Path, content: &str) {
    use std::io::Write as _;
    let mut options = fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).unwrap();
    file.write_all(content.as_bytes()).unwrap();
}

pub(super) fn config(path: &Path) -> String {
    format!("--config {}", path.display())
}

/// The error that a configuration causes.
fn problem(content: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("import.toml");
    fs::write(&path, content).unwrap();
    let path = path.display().to_string();
    let error = Configuration::read(&path).unwrap_err();
    let message = format!("{error:#}");
    let rest = message.strip_prefix(&path).expect("the file is named");
    rest.trim_start_matches(':').to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_uses_the_servers_of_a_configuration_and_stores_the_session_beside_the_file() {
    let servers = Elsewhere::new().await;
    let file = servers.file(&servers.configuration(&servers.api_url()));
    for round in 1..=2 {
        let arguments = "--records 800 --workers 2 --batch 25 --json";
        let ran = ran(&format!("{} {arguments}", config(&file))).await;
        let line = &ran.lines()[0];
        assert_eq!((ran.status, ran.lines().len()), (0, 1), "{}", ran.err);
        assert_eq!(line["strategy"], "background-timer");
        assert_eq!(number(line, "ok"), 800);
        assert!(number(line, "rotations") > 0, "{line}");
        for unknown in ["exchanges", "replays", "families_revoked", "unauthorized"] {
            assert_eq!(line.get(unknown), Some(&Value::Null), "{unknown}");
        }
        // The second round sends the same records as new ones, with the stored session: the seed is consumed.
        assert_eq!(servers.api.records(), round * 800);
    }
    assert_eq!(servers.api.distinct_records(), 800);
    assert_eq!(servers.server.replays(), 0);
    let session = servers.directory.path().join("session");
    assert!(session.is_dir(), "a relative path starts at the file");

    let table = ran(&format!("{} --records 100", config(&file))).await;
    let row = table.row("background-timer").unwrap();
    assert_eq!(row.matches(" - ").count(), 2, "{row}");
    let api = format!("The API is {}.", servers.records.url());
    assert!(table.out.contains(&api), "{}", table.out);
    assert!(!table.out.contains("picture"), "{}", table.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_that_share_a_session_each_count_their_own_rotations() {
    let servers = Elsewhere::new().await;
    let file = servers.file(&servers.configuration(&servers.api_url()));
    let arguments = "--records 2000 --workers 2 --batch 25 --json";
    let arguments = format!("{} {arguments}", config(&file));
    let (one, two) = tokio::join!(ran(&arguments), ran(&arguments));
    let rotations = [&one, &two].map(|ran| number(&ran.lines()[0], "rotations"));
    assert_eq!((one.status, two.status), (0, 0), "{}{}", one.err, two.err);
    let both = servers.server.rotations();
    assert!(both >= 2, "{both}");
    assert_eq!(rotations.iter().sum::<u64>(), both, "{rotations:?}");
}

/// Answers two requests, each with the next body.
async fn counters(bodies: [Value; 2]) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/counters", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for body in bodies {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (head, body) = ("HTTP/1.1 200 OK\r\nconnection: close", body.to_string());
            let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = stream.read(&mut [0; 4_096]).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_of_servers_are_reported_as_differences() {
    let servers = Elsewhere::new().await;
    let seen = |exchanges: u64, unauthorized: u64| {
        json!({
            "exchanges": exchanges, "replays": 7, "families_revoked": 1,
            "unauthorized": unauthorized, "another": "thing",
        })
    };
    let counters_url = counters([seen(40, 3), seen(45, 5)]).await;
    let import = format!("{}\ncounters_url = \"{counters_url}\"", servers.api_url());
    let file = servers.file(&servers.configuration(&import));
    let ran = ran(&format!("{} --records 100 --json", config(&file))).await;
    let line = &ran.lines()[0];
    for (name, value) in [
        ("exchanges", 5),
        ("replays", 0),
        ("families_revoked", 0),
        ("unauthorized", 2),
    ] {
        assert_eq!(number(line, name), value, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_endpoint_the_servers_are_embedded_and_the_other_settings_apply() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("import.toml");
    fs::write(
        &path,
        "[refresh]\nstrategy = \"optimistic-early\"\n[store]\nkind = \"file\"\npath = \"session\"\n",
    )
    .unwrap();
    let arguments = format!(
        "{} --records 800 --workers 4 --access-ttl 300ms --json",
        config(&path)
    );
    // The server of the second run does not know the stored pair.
    for _ in 0..2 {
        let ran = ran(&arguments).await;
        let line = &ran.lines()[0];
        assert_eq!((ran.status, ran.lines().len()), (0, 1), "{}", ran.err);
        assert_eq!(line["strategy"], "optimistic-early");
        assert_eq!(number(line, "ok"), 800);
        assert!(number(line, "rotations") > 0, "{line}");
        assert_eq!(number(line, "exchanges"), number(line, "rotations"));
    }
    assert!(directory.path().join("session").is_dir());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_in_the_file_is_the_first_pair_for_embedded_servers_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("import.toml");
    write(&directory.path().join("seed"), "unknown to the server");
    fs::write(&path, "[seed]\nrefresh_token = { file = \"seed\" }\n").unwrap();
    let ran = ran(&format!("{} --records 100 --json", config(&path))).await;
    assert_eq!(ran.status, SESSION_ENDED);
    assert_eq!(number(&ran.lines()[0], "exchanges"), 1);
}

#[tokio::test]
async fn the_configuration_in_the_readme_is_valid() {
    let documentation = include_str!("../../README.md");
    let (_, sample) = documentation.split_once("```toml\n").unwrap();
    let (sample, _) = sample.split_once("```").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("import.toml");
    let sample = sample.replace("{ env = \"IMPORTER_SECRET\" }", "\"secret\"");
    fs::write(&path, sample).unwrap();
    write(&directory.path().join("first-token"), "first");
    let configuration = Configuration::read(path.to_str().unwrap()).unwrap();
    assert_eq!(configuration.strategy, Strategy::OptimisticEarly);
    assert!(configuration.has_seed && configuration.external.is_some());
    let _ = configuration.builder().await.unwrap();
}

#[test]
fn an_error_in_a_configuration_names_the_file_the_line_and_the_allowed_values() {
    let endpoint = "[http]\norigins = [\"https://api.example.org\"]\n[endpoint]\n\
                    token_url = \"https://id.example.org/token\"\nclient_id = \"a\"\n";
    for (content, expected) in [
        (
            "[import]\napi_urll = \"https://api.example.org\"\n".to_owned(),
            "2: unknown field `api_urll`, expected `api_url` or `counters_url`",
        ),
        (
            "[import]\n\napi_url = \"api\"\n".to_owned(),
            "3: must be a URL: relative URL without a base",
        ),
        (
            "[import]\napi_url = \"https://api.example.org\"\n# why\n[refresh]\nwat = 1\n"
                .to_owned(),
            "5:1: refresh.wat: is not a key; allowed here: ",
        ),
        (
            "[refresh]\n[ import ] # ours\n[http]\norigin = []\n".to_owned(),
            "4:1: http.origin: is not a key; allowed here: ",
        ),
        (
            format!("{endpoint}[import]\n"),
            " import.api_url: is missing; with an `[endpoint]`, no API is embedded",
        ),
        (
            format!("[import]\napi_url = \"https://api.example.com/records\"\n{endpoint}"),
            " import.api_url: is not in `http.origins`, so requests would carry no token",
        ),
        (
            format!("[import]\napi_url = \"http://api.example.org/records\"\n{endpoint}"),
            " import.api_url: is not in `http.origins`, so requests would carry no token",
        ),
        (
            "[import]\napi_url = \"https://api.example.org\"\n".to_owned(),
            " import: `api_url` and `counters_url` need an `[endpoint]`; without one, the servers are ",
        ),
        (
            "[refresh]\nstrategy = \"fixed\"\n".to_owned(),
            " refresh.strategy: must be `on-request`, `background-timer` or `optimistic-early`",
        ),
    ] {
        let problem = problem(&content);
        assert!(problem.starts_with(expected), "{problem}\n{expected}");
    }
    let error = Configuration::read("/nowhere/import.toml").unwrap_err();
    assert!(format!("{error:#}").starts_with("cannot read /nowhere/import.toml: "));
}

#[test]
fn no_error_contains_a_secret() {
    for content in [
        "[endpoint]\nclient_secret = \"hunter2\"\ntoken_url = 1\n[import]\nx = 1\n",
        "[endpoint]\nclient_secret = \"hunter2\"\n[import]\nx = 1\n",
        "[endpoint]\nclient_secret = hunter2\n",
        "[import]\n[seed]\nrefresh_token = \"hunter2\n",
    ] {
        let problem = problem(content);
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_for_embedded_servers_are_refused_with_servers_of_a_configuration() {
    let servers = Elsewhere::new().await;
    let file = servers.file(&servers.configuration(&servers.api_url()));
    let config = config(&file);
    let both = ["data_import", "--config", file.to_str().unwrap()];
    let error = Arguments::try_parse_from([&both[..], &["--strategy", "on-request"]].concat());
    let expected = error.unwrap_err().to_string();
    let conflict = "cannot be used with '--strategy";
    assert!(expected.contains(conflict), "{expected}");
    for flag in [
        "--access-ttl 3s",
        "--refresh-ttl 3s",
        "--gateway okapi",
        "--picture a.svg",
        "--faults",
    ] {
        let refused = parsed(&format!("{config} {flag}")).check().unwrap_err();
        let name = flag.split(' ').next().unwrap();
        let said = format!(
            "`{name}` is for the embedded servers, but the configuration has an `[endpoint]`: remove one of them"
        );
        assert_eq!(refused.to_string(), said);
    }
    assert!(parsed(&config).check().is_ok());
}
