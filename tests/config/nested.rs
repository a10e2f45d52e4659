//! A configuration inside one of the program's own, and beside tables of the program.

use std::collections::BTreeMap;

use evertoken::{Config, ConfigReader, Registry};
use serde::Deserialize;

use crate::raw_server::{RawServer, Step, ok};
use crate::{LEAST, directory, file, told};

#[derive(Deserialize)]
struct Settings {
    batch: u32,
    login: Config,
}

/// [`LEAST`] in a table `[login]`, after these lines.
fn nested(lines: &str) -> String {
    let least = LEAST.replace("[endpoint]", "[login.endpoint]");
    format!("batch = 500\n{lines}\n{least}")
}

async fn built(config: Config) -> String {
    let built = async { config.within("login")?.builder(&Registry::builtin()).await };
    match built.await {
        Ok(builder) => format!("{builder:#?}"),
        Err(error) => told(&error),
    }
}

#[tokio::test]
async fn a_field_of_any_format_is_a_configuration() {
    let toml = nested("[login.refresh]\nwait = \"50s\"");
    let table: toml::Table = toml::from_str(&toml).unwrap();
    let json = serde_json::to_string(&table).unwrap();
    let alone = format!("[refresh]\nwait = \"50s\"\n{LEAST}");
    let expected = format!("{:#?}", crate::builder(&alone).await.unwrap());
    let all: [Settings; 4] = [
        toml::from_str(&toml).unwrap(),
        table.try_into().unwrap(),
        serde_json::from_str(&json).unwrap(),
        serde_json::from_value(serde_json::from_str(&json).unwrap()).unwrap(),
    ];
    for settings in all {
        assert_eq!(settings.batch, 500);
        assert_eq!(built(settings.login).await, expected);
    }
}

/// The first error comes with the check, the second with the endpoint, and the third with the manager.
#[tokio::test]
async fn every_error_of_a_field_has_the_path_of_the_field() {
    let allowed = "is not a key; allowed here: `refresh`, `http`, `store`, `endpoint`, `session`, `sessions`, `gateway`, `seed`";
    for (lines, said) in [
        (
            "login.refresh.wait = 35",
            "login.refresh.wait: is an integer, but must be a duration with a unit, such as \"10s\", \"500ms\" or \"1h 30m\"",
        ),
        (
            "login.refersh.wait = \"35s\"",
            &*format!("login.refersh: {allowed}"),
        ),
        (
            "login.seed.access_token = { env = \"EVERTOKEN_NONE\" }",
            "login.seed.access_token: the environment variable `EVERTOKEN_NONE` is not set",
        ),
        (
            "login.endpoint.http.proxy = \"sesame\"",
            "login.endpoint.http.proxy: must be an `http` or `https` URL, such as \"http://proxy.example.org:3128\", or \"none\"",
        ),
        (
            "login.http.origins = [\"http://api.example.org\"]",
            "login.http.origins[0]: `http://api.example.org` must be https",
        ),
    ] {
        let text = nested(lines)
            .replace("[login.endpoint]\n", "")
            .replace("token_url", "login.endpoint.token_url");
        let text = text.replace("client_id", "login.endpoint.client_id");
        let settings: Settings = toml::from_str(&text).unwrap();
        let found = built(settings.login).await;
        assert!(found.starts_with(said), "{found}");
    }
    for wrong in ["5", "\"sesame\"", "[]"] {
        let settings: Settings = toml::from_str(&format!("batch = 1\nlogin = {wrong}")).unwrap();
        let error = settings.login.within("login").unwrap_err().to_string();
        assert!(error.starts_with("login: is a"), "{error}");
        assert!(error.ends_with(", but must be a table"), "{error}");
    }
    // Without a runtime there is nothing wrong with a key.
    let settings: Settings = toml::from_str(&nested("")).unwrap();
    let login = settings.login.within("services.login").unwrap();
    let connected = std::thread::spawn(move || {
        futures_util::FutureExt::now_or_never(login.connect(&Registry::builtin()))
    });
    let error = connected.join().unwrap().unwrap().unwrap_err();
    assert_eq!(error.path(), "services.login");
    assert!(error.problem().contains("no tokio runtime"), "{error}");
}

#[tokio::test]
async fn an_error_without_a_path_of_the_program_comes_when_the_manager_is_built() {
    let settings: Settings = toml::from_str(&nested("login.refresh.wait = 35")).unwrap();
    let error = settings.login.connect(&Registry::builtin()).await;
    assert_eq!(error.unwrap_err().path(), "refresh.wait");
    let settings: Settings = toml::from_str(&nested("login.refresh.wait = 35")).unwrap();
    let (endpoint, registry) = (evertoken::StaticToken::new("a"), Registry::builtin());
    let error = settings.login.builder_for(endpoint, &registry).await;
    assert_eq!(error.unwrap_err().path(), "refresh.wait");
}

/// An error of toml shows the line at which the table begins, and its `Debug` the whole document.
#[test]
fn a_wrong_key_is_no_error_of_the_format_which_would_show_the_document() {
    for text in [
        "login = { endpoint = { client_secret = \"sesame\" }, refersh = 5 }\nbatch = 1",
        "login.seed.refresh_token = \"sesame\"\nlogin.refresh.wait = 5\nbatch = 1",
    ] {
        let settings: Settings = toml::from_str(text).unwrap();
        let shown = format!("{:?}", settings.login);
        let error = settings.login.within("login").unwrap_err();
        assert!(error.path().starts_with("login.ref"), "{error}");
        let shown = format!("{shown} {error} {error:?}");
        assert!(!shown.contains("sesame"), "{shown}");
    }
}

#[tokio::test]
async fn a_program_may_have_many_logins() {
    #[derive(Deserialize)]
    struct Many {
        list: Vec<Config>,
        named: BTreeMap<String, Config>,
        absent: Option<Config>,
    }
    let own = "endpoint = { token_url = \"https://id.example.org/token\", client_id = \"a\" }";
    let text = format!(
        "[[list]]\n{own}\n[[list]]\n{own}\nrefresh.wait = 5\n[named.main]\n{own}\nrefresh.wait = 5"
    );
    let many: Many = toml::from_str(&text).unwrap();
    assert!(many.absent.is_none());
    let list = many.list.into_iter().enumerate();
    let list = list.map(|(at, config)| config.within(format!("list[{at}]")).map(|_| ()));
    let list: Vec<_> = list
        .map(|it| it.map_err(|error| error.path().to_owned()))
        .collect();
    assert_eq!(list, [Ok(()), Err("list[1].refresh.wait".to_owned())]);
    for (name, config) in many.named {
        let error = config.within(format!("named.{name}")).unwrap_err();
        assert_eq!(error.path(), "named.main.refresh.wait");
    }
}

#[tokio::test]
async fn a_flattened_configuration_is_what_no_other_field_takes() {
    #[derive(Deserialize)]
    struct Flat {
        import: BTreeMap<String, u32>,
        #[serde(flatten)]
        login: Config,
    }
    for (more, said) in [
        ("", None),
        ("[refersh]\nwait = \"35s\"", Some("refersh")),
        ("[refresh]\nwait = 35", Some("refresh.wait")),
    ] {
        let text = format!("[import]\nbatch = 500\n{more}\n{LEAST}");
        let flat: Flat = toml::from_str(&text).unwrap();
        assert_eq!(flat.import["batch"], 500);
        let checked = flat.login.within("");
        assert_eq!(
            checked.err().map(|it| it.path().to_owned()).as_deref(),
            said
        );
    }
}

/// Fields that are flattened before it have taken theirs by then.
#[test]
fn a_flattened_configuration_that_is_declared_last_leaves_other_flattened_fields_theirs() {
    #[derive(Deserialize)]
    struct Own {
        batch: u32,
    }
    #[derive(Deserialize)]
    struct Flat {
        #[serde(flatten)]
        own: Own,
        #[serde(flatten)]
        login: Config,
    }
    let flat: Flat = toml::from_str(&format!("batch = 500\n{LEAST}")).unwrap();
    assert_eq!(flat.own.batch, 500);
    assert!(flat.login.within("").is_ok());
}

#[test]
fn a_misspelled_table_of_an_option_is_found_by_a_struct_that_denies_unknown_fields() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        login: Option<Config>,
    }
    let text = LEAST.replace("[endpoint]", "[lgoin.endpoint]");
    let error = toml::from_str::<Strict>(&text).unwrap_err();
    assert!(error.message().contains("unknown field `lgoin`"), "{error}");
    let strict: Strict = toml::from_str(&text.replace("lgoin", "login")).unwrap();
    assert!(strict.login.is_some());
}

/// A field knows no file, so its relative paths start where the program says.
#[tokio::test]
async fn secrets_and_paths_of_a_field_work_as_in_a_file_of_its_own() {
    let directory = directory("secrets_and_paths_of_a_field");
    file(&directory, "first", "r1", 0o600);
    for is_field in [true, false] {
        let server = RawServer::start([Step::AnswerAndClose(ok(r#"{"access_token":"a1"}"#))]).await;
        let text = format!(
            r#"
            batch = 500
            [login.endpoint]
            token_url = "{}"
            client_id = "importer"
            client_secret = {{ env = "CARGO_PKG_NAME" }}
            [login.store]
            kind = "file"
            path = "session-{is_field}"
            [login.seed]
            refresh_token = {{ file = "first" }}
            "#,
            server.url("/token")
        );
        let config = match is_field {
            true => {
                let settings: Settings = toml::from_str(&text).unwrap();
                let login = settings.login.within("login").unwrap();
                login.relative_to(&directory)
            }
            false => {
                let path = file(&directory, "program.toml", &text, 0o644);
                ConfigReader::new().table("login").file(path).unwrap()
            }
        };
        let tokens = config.connect(&Registry::builtin()).await.unwrap();
        assert_eq!(tokens.token().await.unwrap().expose(), "a1");
        let requests = server.requests().await;
        assert!(requests[0].body().contains("refresh_token=r1"));
        assert!(requests[0].header("authorization").is_some());
        assert!(directory.join(format!("session-{is_field}")).is_dir());
    }
}

#[tokio::test]
async fn a_table_of_a_file_is_read_and_its_errors_have_file_line_column_and_path() {
    let directory = directory("a_table_of_a_file");
    let reader = ConfigReader::new().table("services.login");
    let own = "[import]\nrefersh = 1\n";
    let least = LEAST.replace("[endpoint]", "[services.login.endpoint]");
    for (text, said) in [
        (
            "[services.login.refresh]\nwait = 35",
            ":4:1: services.login.refresh.wait: is an integer, but must be a duration with a unit, such as \"10s\", \"500ms\" or \"1h 30m\"",
        ),
        (
            "[services.login.refersh]",
            ":3:17: services.login.refersh: is not a key; allowed here: `refresh`, `http`, `store`, `endpoint`, `session`, `sessions`, `gateway`, `seed`",
        ),
        (
            "[services.login.store]\ntimeout = \"0s\"",
            ":4:1: services.login.store.timeout: must not be zero",
        ),
        (
            "[services.login.seed]\nrefresh_token = { env = \"EVERTOKEN_NONE\" }",
            ":4:1: services.login.seed.refresh_token: the environment variable `EVERTOKEN_NONE` is not set",
        ),
        (
            "[services.login",
            ":3:16: is not TOML: unclosed table, expected `]`",
        ),
    ] {
        let path = file(
            &directory,
            "program.toml",
            &format!("{own}{text}\n{least}"),
            0o644,
        );
        let built = async { reader.file(&path)?.builder(&Registry::builtin()).await };
        let error = built.await.map(|_| ()).expect_err(text);
        assert_eq!(told(&error), format!("{}{said}", path.display()));
        assert_eq!(error.file(), Some(path.as_path()));
    }
    // An endpoint that is missing is reported at the table that should hold it.
    let path = file(
        &directory,
        "program.toml",
        "a = 1\n[services.login]\n",
        0o644,
    );
    let built = async { reader.file(&path)?.builder(&Registry::builtin()).await };
    let error = built.await.map(|_| ()).unwrap_err();
    assert_eq!(error.path(), "services.login.endpoint");
    assert_eq!(error.position(), Some((2, 11)));
}

#[test]
fn a_table_that_is_missing_or_no_table_is_reported() {
    let missing = "is missing; add the table that holds the configuration";
    for (text, said) in [
        ("", format!("services: {missing}")),
        (
            "[services]",
            format!("line 1, column 2: services.login: {missing}"),
        ),
        (
            "[services.logni]",
            format!("line 1, column 2: services.login: {missing}"),
        ),
        (
            "services = \"sesame\"",
            "line 1, column 1: services: is a string, but must be a table".to_owned(),
        ),
        (
            "[services]\nlogin = 5",
            "line 2, column 1: services.login: is an integer, but must be a table".to_owned(),
        ),
    ] {
        let error = ConfigReader::new().table("services.login").toml(text);
        assert_eq!(error.unwrap_err().to_string(), said);
    }
    let json = r#"{"services": {"login": {"refresh": {"wait": 5}}}}"#;
    let error = ConfigReader::new().table("services.login").json(json);
    assert_eq!(error.unwrap_err().path(), "services.login.refresh.wait");
}

/// The position is that in the text which was read, and the path that in the program's configuration.
#[test]
fn a_configuration_that_was_read_with_positions_keeps_them_within_another() {
    let text = format!("[seed]\nrefresh_token = {{ env = \"EVERTOKEN_NONE\" }}\n{LEAST}");
    let config = ConfigReader::new().toml(&text).unwrap();
    let config = config.within("login").unwrap().within("services");
    let built = futures_util::FutureExt::now_or_never(async {
        config.unwrap().builder(&Registry::builtin()).await
    });
    let error = built.unwrap().unwrap_err();
    assert_eq!(error.path(), "services.login.seed.refresh_token");
    assert_eq!(error.position(), Some((2, 1)));
}

#[tokio::test]
async fn tables_of_the_program_may_stand_beside_those_of_evertoken_where_it_names_them() {
    let text = format!("batch = 1\n[import]\nrefersh = 5\n{LEAST}");
    let reader = ConfigReader::new().beside(["import"]).beside(["batch"]);
    assert!(reader.toml(&text).is_ok());
    let path = file(
        &directory("tables_of_the_program"),
        "program.toml",
        &text,
        0o644,
    );
    assert!(reader.file(path).is_ok());
    assert!(reader.json("{\"import\": [1, {}]}").is_ok());
    // They need not be there.
    let alone = reader.toml(LEAST).unwrap();
    let alone = alone.builder(&Registry::builtin()).await;
    let expected = crate::builder(LEAST).await.unwrap();
    assert_eq!(format!("{:?}", alone.unwrap()), format!("{expected:?}"));

    let error = Config::from_toml(&text).unwrap_err();
    assert_eq!(error.path(), "batch");
    let error = reader.toml(&format!("[refersh]\nwait = \"35s\"\n{text}"));
    assert_eq!(
        error.unwrap_err().to_string(),
        "line 1, column 2: refersh: is not a key; allowed here: `refresh`, `http`, `store`, `endpoint`, `session`, \
         `sessions`, `gateway`, `seed`, `import`, `batch`"
    );
    // Only the top has keys of the program.
    let inside = "[import]\n[refresh]\nimport = 1";
    let error = reader.toml(inside).unwrap_err();
    assert_eq!(error.path(), "refresh.import");
    assert!(!error.problem().contains("`batch`"), "{error}");
}

#[test]
fn a_key_of_evertokens_own_cannot_be_the_programs() {
    for name in ["refresh", "http", "store", "endpoint", "session", "seed"] {
        let reader = ConfigReader::new().table("login").beside([name]);
        let error = reader.toml("[login]").unwrap_err();
        let problem =
            "is a key of evertoken's own; the program must give its own table another name";
        assert_eq!(error.path(), format!("login.{name}"));
        assert_eq!(error.problem(), problem);
    }
}
