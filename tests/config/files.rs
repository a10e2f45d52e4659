//! Errors name the file, and paths in a file start at its directory.

use evertoken::testing::AuthorizationServer;
use evertoken::{Config, Registry};

use crate::{LEAST, directory, file, told};

#[tokio::test]
async fn every_error_of_a_file_names_it() {
    let directory = directory("every_error_of_a_file_names_it");
    let zero = format!("[store]\ntimeout = \"0s\"\n{LEAST}");
    let format = "has an unknown format; its name must end with `.toml` or `.json`";
    let kind = "refresh: is an integer, but must be a table";
    let table = "2:9: is not TOML: unclosed table, expected `]`";
    let twice = r#"{"refresh": {"wait": "35s", "wait": "40s"}}"#;
    let remove = "1:42: is not JSON: the key `wait` appears twice; remove one";
    let key = "2:17: is not JSON: key must be a string";
    for (name, text, message) in [
        ("own.yaml", "refresh:", format),
        ("own", "", format),
        ("kind.toml", "refresh = 5", &format!("1:1: {kind}")),
        ("syntax.toml", "a = 1\n[refresh", table),
        ("built.toml", &zero, "2:1: store.timeout: must not be zero"),
        ("kind.json", r#"{"refresh": 5}"#, kind),
        ("list.json", "[1]", "is a list, but must be a table"),
        ("twice.json", twice, remove),
        ("syntax.json", "{\n  \"refresh\": {},,\n}", key),
    ] {
        let path = file(&directory, name, text, 0o644);
        let registry = Registry::builtin();
        let built = async { Config::from_file(&path)?.builder(&registry).await };
        let error = built.await.map(|_| ()).expect_err(name);
        let is_place = message.starts_with(char::is_numeric);
        let separator = if is_place { ":" } else { ": " };
        let expected = format!("{}{separator}{message}", path.display());
        assert_eq!(told(&error), expected);
        assert_eq!(error.file(), Some(path.as_path()));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_reported_with_the_cause() {
    let path = directory("a_file_that_cannot_be_read").join("missing.toml");
    let error = Config::from_file(&path).unwrap_err();
    let message = "cannot be read: No such file or directory (os error 2)";
    assert_eq!(told(&error), format!("{}: {message}", path.display()));
}

#[tokio::test]
async fn paths_in_a_file_start_at_its_directory_or_where_the_program_says() {
    let directory = directory("paths_in_a_file");
    let server = AuthorizationServer::builder().build();
    let first = server.issue().refresh.unwrap();
    file(&directory, "first-token", first.expose(), 0o600);
    let text = "[seed]\nrefresh_token = { file = \"first-token\" }";
    let path = file(&directory, "evertoken.toml", text, 0o644);
    let config = Config::from_file(&path).unwrap();
    let registry = Registry::builtin();
    let builder = config.builder_for(server.endpoint(), &registry).await;
    let tokens = builder.unwrap().build().unwrap();
    assert!(tokens.token().await.is_ok());
    assert_eq!(server.rotations(), 1);

    let config = Config::from_toml(text).unwrap();
    let elsewhere = config.builder_for(server.endpoint(), &registry).await;
    let said = "line 2, column 1: seed.refresh_token: the file `first-token` cannot be read: \
                No such file or directory (os error 2)";
    assert_eq!(elsewhere.unwrap_err().to_string(), said);
    let config = config.relative_to(&directory);
    let built = config.builder_for(server.endpoint(), &registry).await;
    assert!(built.is_ok());
}

/// A restart continues with the pair in the file store, and not with the seed.
#[tokio::test]
async fn fm34_a_file_store_beside_the_configuration_survives_a_restart() {
    let directory = directory("a_file_store_beside_the_configuration");
    let server = AuthorizationServer::builder().build();
    let first = server.issue().refresh.unwrap();
    file(&directory, "first-token", first.expose(), 0o600);
    let text = r#"{
        "store": {"kind": "file", "path": "session"},
        "seed": {"refresh_token": {"file": "first-token"}}
    }"#;
    let path = file(&directory, "evertoken.json", text, 0o644);
    for rotations in 1..=3 {
        let config = Config::from_file(&path).unwrap();
        let registry = Registry::builtin();
        let builder = config.builder_for(server.endpoint(), &registry);
        let tokens = builder.await.unwrap().build().unwrap();
        tokens.token().await.unwrap();
        // The first use rotates the seed. A restart continues with the stored pair.
        assert_eq!(server.rotations(), rotations);
        tokens.rotate().await.unwrap();
        assert_eq!(server.rotations(), rotations + 1);
        tokens.shutdown().await.unwrap();
    }
    assert!(directory.join("session").is_dir());
    assert_eq!(server.replays(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn a_directory_that_others_may_write_to_is_reported_with_its_path() {
    let directory = directory("a_directory_that_others_may_write_to");
    std::fs::create_dir(directory.join("session")).unwrap();
    use std::os::unix::fs::PermissionsExt;
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(directory.join("session"), open).unwrap();
    let text = format!("[store]\nkind = \"file\"\npath = \"session\"\n{LEAST}");
    let config = Config::from_toml(&text).unwrap().relative_to(&directory);
    let error = config.builder(&Registry::builtin()).await.unwrap_err();
    assert_eq!(error.path(), "store.path");
    assert_eq!(error.position(), Some((3, 1)));
    assert!(error.problem().contains("chmod"), "{error}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_path_below_a_directory_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStrExt;

    let config = Config::from_toml("[seed]\nrefresh_token = { file = \"first-token\" }").unwrap();
    let config = config.relative_to(std::ffi::OsStr::from_bytes(b"/tmp/\xff"));
    let endpoint = AuthorizationServer::builder().build().endpoint();
    let refused = config.builder_for(endpoint, &Registry::builtin()).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "line 2, column 1: seed.refresh_token: is relative to a directory whose name is not UTF-8; write an absolute path"
    );
}
