//! A process with a keyring: this test program, started again in a role.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use evertoken::seal::SealingKeys;
use evertoken::{Builder, Config, FileStore, OAuth2, Registry, TokenManager, TokenPair};

const STEP: &str = "EVERTOKEN_TEST_STEP";
const DIRECTORY: &str = "EVERTOKEN_TEST_DIRECTORY";

/// What begins the one line that a process says.
const SAYS: &str = "says: ";

/// The name of the program in the keyring.
pub(crate) const PROGRAM: &str = "importer";

/// Nothing listens there.
const TOKEN_URL: &str = "http://127.0.0.1:1/token";

const HOUR: Duration = Duration::from_secs(3_600);

/// The access token of the sealed record.
pub(crate) const TOKEN: &str = "sesame-access";

/// What a process does. It says its key, or the error.
pub(crate) enum Step<'a> {
    Ids,
    Write(&'a Path),
    Read(&'a Path),
    Configured(&'a Path),
    Refused,
    GivesUp,
}

pub(crate) fn command(step: Step<'_>) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        "process::a_process_of_its_own",
        "--ignored",
        "--nocapture",
    ]);
    let (name, directory) = match step {
        Step::Ids => ("ids", None),
        Step::Write(directory) => ("write", Some(directory)),
        Step::Read(directory) => ("read", Some(directory)),
        Step::Configured(directory) => ("configured", Some(directory)),
        Step::Refused => ("refused", None),
        Step::GivesUp => ("gives-up", None),
    };
    command.env(STEP, name);
    if let Some(directory) = directory {
        command.env(DIRECTORY, directory);
    }
    command
}

/// The line that the process said.
#[track_caller]
pub(crate) fn said(output: &[u8]) -> String {
    let output = String::from_utf8_lossy(output);
    let said = output.split_once(SAYS).map(|(_, said)| said);
    let line = said.and_then(|said| said.lines().next());
    line.unwrap_or_else(|| panic!("{output}")).to_owned()
}

#[tokio::test]
#[ignore = "is run by other tests, as a process of its own"]
async fn a_process_of_its_own() {
    let Ok(step) = std::env::var(STEP) else {
        return;
    };
    if step == "gives-up" {
        let asked = SealingKeys::from_keyring(PROGRAM);
        let asked = tokio::time::timeout(Duration::from_millis(200), asked).await;
        println!("{SAYS}{}", asked.map_or("gave up", |_| "was answered"));
        return;
    }
    let read = SealingKeys::from_keyring(PROGRAM).await;
    if step == "refused" {
        println!("{SAYS}{}", read.unwrap_err());
        return;
    }
    let keys = read.unwrap();
    let directory = std::env::var_os(DIRECTORY).map(PathBuf::from);
    let sealed = || {
        let store = FileStore::new(directory.as_ref().unwrap()).unwrap();
        let endpoint = OAuth2::new(TOKEN_URL, "importer").unwrap();
        TokenManager::builder(endpoint).store(store.sealed(keys.clone()))
    };
    match step.as_str() {
        "ids" => {}
        "write" => {
            let pair = TokenPair::new(TOKEN).refresh_token("sesame-refresh");
            assert_has_token(sealed().seed(pair.expires_in(HOUR))).await;
        }
        "read" => assert_has_token(sealed()).await,
        "configured" => {
            let text = format!(
                r#"
                endpoint = {{ token_url = "{TOKEN_URL}", client_id = "importer" }}
                store = {{ kind = "file", path = {:?}, seal = {{ keyring = "{PROGRAM}" }} }}
                "#,
                directory.as_ref().unwrap(),
            );
            let config = Config::from_toml(&text).unwrap();
            assert_has_token(config.builder(&Registry::builtin()).await.unwrap()).await;
        }
        step => panic!("{step}?"),
    }
    let ids: Vec<_> = keys.ids().collect();
    println!("{SAYS}{}", ids.join(" "));
}

/// The manager has the token without a call of its server, where nothing listens.
async fn assert_has_token(builder: Builder) {
    let tokens = builder.build().unwrap();
    let token = tokens.token().await.unwrap();
    assert_eq!(token.expose(), TOKEN);
    tokens.shutdown().await.unwrap();
}
