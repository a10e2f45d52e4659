//! Secrets are read when a manager is built, and no output shows them.

use std::fs;

use evertoken::testing::AuthorizationServer;
use evertoken::{Config, Registry, TokenManager};

use crate::raw_server::{RawServer, Step, ok};
use crate::{LEAST, builder, directory, file, refusal, told};

async fn connected(text: &str) -> TokenManager {
    let config = Config::from_toml(text).unwrap();
    config.connect(&Registry::builtin()).await.unwrap()
}

#[cfg(unix)]
#[tokio::test]
async fn a_secret_file_that_is_not_safe_is_refused_with_its_path() {
    let directory = directory("a_file_that_is_no_safe_secret");
    file(&directory, "group", "sesame", 0o660);
    file(&directory, "world", "sesame", 0o602);
    file(&directory, "read-by-group", "sesame", 0o440);
    file(&directory, "read-by-all", "sesame", 0o644);
    file(&directory, "empty", "\n", 0o600);
    file(&directory, "long", &"sesame".repeat(20_000), 0o600);
    let binary = file(&directory, "binary", "", 0o600);
    fs::write(binary, b"sesame\xff").unwrap();
    fs::create_dir(directory.join("folder")).unwrap();
    let writable = |mode: &str| {
        format!("is writable by users other than its owner (mode {mode}); run `chmod 600 FILE`")
    };
    let by_group = "is readable by its group (mode 0440); run `chmod 600 FILE`, or set \
                    `readable_by = \"group\"` beside `file`";
    let by_all = "is readable by every user of this machine (mode 0644); run `chmod 600 FILE`, or set \
                  `readable_by = \"everyone\"` beside `file`";
    for (name, problem) in [
        ("group", &writable("0660")[..]),
        ("world", &writable("0602")),
        ("read-by-group", by_group),
        ("read-by-all", by_all),
        ("empty", "is empty"),
        ("long", "is longer than 65536 bytes"),
        (
            "binary",
            "cannot be read: stream did not contain valid UTF-8",
        ),
        ("folder", "is not a regular file"),
        (
            "missing",
            "cannot be read: No such file or directory (os error 2)",
        ),
    ] {
        let path = directory.join(name).display().to_string();
        let text = format!("{LEAST}\nclient_secret = {{ file = \"{path}\" }}");
        let problem = format!("the file `{path}` {}", problem.replace("FILE", &path));
        let said = format!("line 6, column 1: endpoint.client_secret: {problem}");
        assert_eq!(refusal(&text).await, said);
    }
}

#[tokio::test]
async fn secrets_come_from_variables_and_files_and_reach_the_server() {
    let directory = directory("secrets_come_from_variables_and_files");
    let variable = std::env::var("CARGO_PKG_NAME").unwrap();
    file(&directory, "refresh", "first\r\n", 0o400);
    for (auth, header, body) in [
        (
            "basic",
            // importer:evertoken
            Some("Basic aW1wb3J0ZXI6ZXZlcnRva2Vu"),
            "grant_type=refresh_token&refresh_token=first&scope=a+b".to_owned(),
        ),
        (
            "post",
            None,
            format!(
                "grant_type=refresh_token&refresh_token=first&scope=a+b\
                 &client_id=importer&client_secret={variable}"
            ),
        ),
    ] {
        let server = RawServer::start([Step::AnswerAndClose(ok(r#"{"access_token":"a1"}"#))]).await;
        let text = format!(
            r#"
            [endpoint]
            token_url = "{}"
            client_id = "importer"
            client_secret = {{ env = "CARGO_PKG_NAME" }}
            client_auth = "{auth}"
            scope = ["b", "a"]
            [seed]
            refresh_token = {{ file = "refresh" }}
            "#,
            server.url("/token")
        );
        let config = Config::from_toml(&text).unwrap().relative_to(&directory);
        let tokens = config.connect(&Registry::builtin()).await.unwrap();
        assert_eq!(tokens.token().await.unwrap().expose(), "a1");
        let requests = server.requests().await;
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].header("authorization"), header);
        assert_eq!(requests[0].body(), body);
    }
}

#[tokio::test]
async fn a_password_signs_in_and_a_logout_calls_the_revocation_url() {
    let steps = [ok(r#"{"access_token":"a1","refresh_token":"r1"}"#), ok("")];
    let server = RawServer::start(steps.map(Step::AnswerAndClose)).await;
    let text = format!(
        r#"
        [endpoint]
        token_url = "{}"
        client_id = "importer"
        sign_in = {{ username = "ada", password = {{ env = "CARGO_PKG_NAME" }} }}
        revocation_url = "{}"
        "#,
        server.url("/token"),
        server.url("/revoke")
    );
    let tokens = connected(&text).await;
    assert_eq!(tokens.token().await.unwrap().expose(), "a1");
    assert!(tokens.logout().await.is_complete());
    let requests = server.requests().await;
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].line(), "POST /token HTTP/1.1");
    let signed_in = "grant_type=password&username=ada&password=evertoken&client_id=importer";
    assert_eq!(requests[0].body(), signed_in);
    assert_eq!(requests[1].line(), "POST /revoke HTTP/1.1");
}

#[tokio::test]
async fn a_client_secret_alone_signs_in() {
    let server = RawServer::start([Step::AnswerAndClose(ok(r#"{"access_token":"a1"}"#))]).await;
    let text = format!(
        r#"
        [endpoint]
        token_url = "{}"
        client_id = "importer"
        client_secret = "sesame"
        sign_in = "client-credentials"
        "#,
        server.url("/token")
    );
    let tokens = connected(&text).await;
    assert_eq!(tokens.token().await.unwrap().expose(), "a1");
    let requests = server.requests().await;
    assert_eq!(requests[0].body(), "grant_type=client_credentials");
}

#[tokio::test]
async fn a_static_token_is_served_without_an_endpoint() {
    let text = "[endpoint]\nkind = \"static\"\ntoken = { env = \"CARGO_PKG_NAME\" }";
    let tokens = connected(text).await;
    assert_eq!(tokens.token().await.unwrap().expose(), "evertoken");
}

#[tokio::test]
async fn secrets_are_read_when_a_manager_is_built_and_not_before() {
    let text = "[seed]\nrefresh_token = { file = \"not-there-yet\" }";
    let config = Config::from_toml(text).unwrap();
    let directory = directory("secrets_are_read_when_a_manager_is_built");
    let config = config.relative_to(&directory);
    file(&directory, "not-there-yet", "first", 0o600);
    let endpoint = AuthorizationServer::builder().build().endpoint();
    let built = config.builder_for(endpoint, &Registry::builtin()).await;
    assert!(built.is_ok());
}

/// A secret in every place where a user may put it by mistake.
#[tokio::test]
async fn no_error_and_no_debug_repeats_what_could_be_a_secret() {
    let wrong = [
        r#"client_secret = ["sesame"]"#,
        r#"client_secret = { env = ["sesame"] }"#,
        r#"client_secret = { value = "sesame" }"#,
        r#"client_secret = { env = "HOME", file = "sesame" }"#,
        r#"client_secret = sesame"#,
        r#"client_secret = "sesame"#,
        r#"client_secret = 'sesame"#,
        r#"client_secret = """sesame"#,
        r#"client_secret = "sesame" "sesame""#,
        r#"client_secret = "\sesame""#,
        "client_secret = \"sesame\nsesame\"",
        "client_secret = \"sesame\u{0}\"",
        "client_secret = \"sesame\"\nclient_secret = \"sesame\"",
        r#"client_sekret = "sesame""#,
        r#"client_auth = "sesame""#,
        r#"scope = { secret = "sesame" }"#,
        r#"sign_in = "sesame""#,
        r#"sign_in = ["sesame"]"#,
        r#"sign_in = { username = "a", password = ["sesame"] }"#,
        r#"sign_in = { password = "sesame" }"#,
        r#"timeout = "sesame""#,
        r#"body_limit = "sesame""#,
        r#"http = "sesame""#,
        r#"http = { headers = "sesame" }"#,
        r#"http = { headers = { Authorization = "sesame" } }"#,
        r#"http = { headers = { X-Key = "sesame\n" } }"#,
        r#"http = { proxy = "sesame" }"#,
        r#"http = { proxy = "http://a:sesame@proxy.example.org" }"#,
        r#"http = { proxy = { url = "sesame:sesame@proxy.example.org" } }"#,
        r#"http = { private_key = "sesame" }"#,
        r#"http = { certificate_file = "Cargo.toml", private_key = "sesame" }"#,
        r#"http = { user_agent = "sesame\n" }"#,
        r#"server = "sesame""#,
        r#"server = { old_pair = "sesame" }"#,
        r#"revocation_url = "https://sesame@id.example.org""#,
        r#"revocation_url = "sesame""#,
        "[seed]\nrefresh_token = [\"sesame\"]",
        "[seed]\nexpires_in = \"sesame\"\naccess_token = \"a\"",
        "[seed]\nrefresh_expiry = \"sesame\"",
        "[refresh]\nstrategy = { kind = \"on-request\", at_fraction = \"sesame\" }",
        "[refresh]\ncoordination = \"sesame\"",
        "[refresh]\nwait = \"sesame\"",
        "[http]\nheader = \"sesame \"",
        "[http]\nreject_on = [\"sesame\"]",
        "[http]\norigins = [\"https://sesame@api.example.org\"]",
        "[http]\norigins = [\"http://user:sesame@api.example.org\"]",
        "[http]\norigins = [\"https://user:sesame@*.example.org\"]",
        "[http]\norigins = [\"user:sesame@api.example.org\"]",
        "[http]\norigins = [\"https://user:sesame@\"]",
        "store = \"redis://:sesame@127.0.0.1\"",
        "[store]\nkind = \"postgres://user:sesame@127.0.0.1/db\"",
        "[store]\ntoken = \"sesame\"",
        "[store]\nkind = \"postgres\"\nurl = \"postgres://user:sesame@\"",
        "[store]\nkind = \"postgres\"\nurl = \"postgres://user:sesame@127.0.0.1:1/db\"",
        "[store]\nkind = \"postgres\"\nurl = [\"sesame\"]",
    ];
    for text in wrong {
        // Settings that belong to no table stand before the first table.
        let text = match text.starts_with("store =") {
            true => format!("{text}\n{LEAST}"),
            false => format!("{LEAST}\n{text}"),
        };
        if let Ok(config) = Config::from_toml(&text) {
            let shown = format!("{config:?}");
            assert!(!shown.contains("sesame"), "{text}: {shown}");
        }
        let error = builder(&text).await.map(|_| ()).expect_err(&text);
        let refused = format!("{} {error:?}", told(&error));
        assert!(!refused.contains("sesame"), "{text}: {refused}");
    }
    for text in [
        r#"{"seed": "sesame"}"#,
        r#"{"seed": {"refresh_token": "sesame}}"#,
        r#"{"seed": {"refresh_token": "sesame" "sesame"}}"#,
        r#"{"endpoint": ["sesame"]}"#,
        r#"{"refresh": "sesame"}"#,
        r#""sesame""#,
        "sesame",
    ] {
        let own = Config::from_json(text).unwrap_err();
        // serde reports what is not JSON, and the configuration the rest.
        let serdes = match serde_json::from_str::<Config>(text) {
            Ok(config) => {
                let error = config.within("login").unwrap_err();
                format!("{error} {error:?}")
            }
            Err(error) => format!("{error} {error:?}"),
        };
        let shown = format!("{own} {own:?} {serdes}");
        assert!(!shown.contains("sesame"), "{shown}");
    }
    let right = format!(
        "{LEAST}\nclient_secret = \"sesame\"\nsign_in = {{ username = \"a\", password = \"sesame\" }}
        [seed]\nrefresh_token = \"sesame\"\naccess_token = \"sesame\""
    );
    let config = Config::from_toml(&right).unwrap();
    assert!(!format!("{config:?} {config:#?}").contains("sesame"));
    let builder = builder(&right).await.unwrap();
    assert!(!format!("{builder:?} {builder:#?}").contains("sesame"));
}

/// A secret as Kubernetes mounts it: a link to a link, with mode 0644, or 0440 with `fsGroup`.
#[cfg(unix)]
#[tokio::test]
async fn a_mounted_secret_is_read_by_those_whom_the_configuration_permits() {
    use std::os::unix::fs::symlink;

    let directory = directory("a_mounted_secret");
    fs::create_dir(directory.join("..2026")).unwrap();
    file(&directory.join("..2026"), "all", "sesame", 0o644);
    file(&directory.join("..2026"), "group", "sesame", 0o440);
    symlink("..2026", directory.join("..data")).unwrap();
    for name in ["all", "group"] {
        symlink(format!("..data/{name}"), directory.join(name)).unwrap();
    }
    for (name, readers, is_permitted) in [
        ("group", "owner", false),
        ("group", "group", true),
        ("group", "everyone", true),
        ("all", "group", false),
        ("all", "everyone", true),
    ] {
        let path = directory.join(name).display().to_string();
        let text = format!(
            "{LEAST}\nclient_secret = {{ file = \"{path}\", readable_by = \"{readers}\" }}"
        );
        let is_read = builder(&text).await.is_ok();
        assert_eq!(is_read, is_permitted, "{name}, {readers}");
    }
    for wrong in [
        r#"{ file = "group", readable_by = "sesame" }"#,
        r#"{ file = "group", readable_by = 4 }"#,
        r#"{ env = "HOME", readable_by = "group" }"#,
    ] {
        let refused = refusal(&format!("{LEAST}\nclient_secret = {wrong}")).await;
        let said = r#"`readable_by` must be "owner", "group" or "everyone", and requires `file`"#;
        let expected = format!("line 6, column 1: endpoint.client_secret: {said}");
        assert_eq!(refused, expected);
    }
}

/// The owner of a file can change the file at any time. Only root can give a file to another user.
#[cfg(unix)]
#[tokio::test]
async fn a_file_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        use std::io::Write as _;
        // The test harness captures the output of `eprintln!`.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: a_file_of_another_user_is_refused, because only root can give a file to another user"
        );
        return;
    }
    let directory = directory("a_file_of_another_user");
    let path = file(&directory, "foreign", "sesame", 0o400);
    std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
    let path = path.display();
    let text = format!("{LEAST}\nclient_secret = {{ file = \"{path}\" }}");
    let said = format!(
        "line 6, column 1: endpoint.client_secret: the file `{path}` belongs to user 12345, but must belong to \
         root or to user 0, which runs this program; run `chown 0 {path}`"
    );
    assert_eq!(refusal(&text).await, said);
}
