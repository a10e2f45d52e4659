//! A FOLIO endpoint from a configuration.

use crate::refusal;

const LEAST: &str = r#"
[endpoint]
kind = "folio"
mode = "okapi"
url = "https://folio.example.org/okapi"
tenant = "diku"
"#;

#[tokio::test]
async fn wrong_and_missing_keys_of_folio_are_reported_with_their_place() {
    assert_eq!(
        refusal(&format!("{LEAST}token_url = 1")).await,
        "line 7, column 1: endpoint.token_url: is not a key of `folio`; allowed here: `mode`, `url`, `tenant`, \
         `timeout`, `body_limit`, `server`, `http`, `sign_in`, `kind`"
    );
    for (wrong, place) in [
        ("mode = \"keycloak\"", "endpoint.mode"),
        ("url = 5", "endpoint.url"),
        ("tenant = 5", "endpoint.tenant"),
    ] {
        let (key, _) = wrong.split_once(" = ").unwrap();
        let own = |line: &&str| !line.starts_with(key);
        let rest: Vec<_> = LEAST.lines().filter(own).collect();
        for text in [format!("{}\n{wrong}", rest.join("\n")), rest.join("\n")] {
            let error = refusal(&text).await;
            assert!(error.contains(&format!("{place}: ")), "{text}: {error}");
        }
    }
    for (wrong, place) in [
        ("sign_in = \"client-credentials\"", "endpoint.sign_in"),
        (
            "sign_in = { username = \"a\" }",
            "endpoint.sign_in.password",
        ),
        ("server = { replay = 1 }", "endpoint.server.replay"),
        ("timeout = 5", "endpoint.timeout"),
    ] {
        let error = refusal(&format!("{LEAST}{wrong}")).await;
        assert!(error.contains(&format!("{place}: ")), "{wrong}: {error}");
    }
}

#[tokio::test]
async fn a_token_cannot_be_sent_as_header_and_cookie() {
    let both = "header = \"X-Okapi-Token\"\ncookie = \"folioAccessToken\"";
    for (http, told) in [
        (both, &["http.cookie: cannot be combined with `header`"][..]),
        (
            "cookie = \"a=b\"",
            &["http.cookie: must be the name of a cookie"],
        ),
        (
            "profile = \"keycloak\"",
            &["http.profile: ", "okapi", "eureka"],
        ),
    ] {
        let error = refusal(&format!("[http]\n{http}\n{}", crate::LEAST)).await;
        for told in told {
            assert!(error.contains(told), "{error}");
        }
    }
}

#[cfg(not(feature = "folio"))]
#[tokio::test]
async fn without_the_feature_folio_the_missing_feature_is_named() {
    let missing = "requires evertoken's feature `folio`; build the program with it";
    let profile = format!("[http]\nprofile = \"okapi\"\n{}", crate::LEAST);
    for (text, place) in [(LEAST, "endpoint.kind: "), (&profile, "http.profile: ")] {
        let error = refusal(text).await;
        assert!(error.contains(place) && error.ends_with(missing), "{error}");
    }
}

#[cfg(feature = "folio")]
mod with_the_feature {
    use std::time::Duration;

    use evertoken::{
        ApiProfile, Builder, Folio, Resend, ServerProfile, TokenEndpoint, TokenManager,
    };

    use super::LEAST;
    use crate::{builder, refusal};

    async fn shown(text: &str) -> String {
        format!("{:#?}", builder(text).await.expect(text))
    }

    fn by_hand(endpoint: Folio, change: impl FnOnce(Builder) -> Builder) -> String {
        let key = endpoint.key();
        let builder = TokenManager::builder(endpoint).key(key);
        format!("{:#?}", change(builder))
    }

    #[tokio::test]
    async fn every_key_arrives_where_its_setter_would_put_it() {
        let url = "https://folio.example.org/okapi";
        let least = by_hand(Folio::okapi(url, "diku").unwrap(), |builder| builder);
        assert_eq!(shown(LEAST).await, least);

        let full = r#"
[http]
profile = "eureka"
reject_on = [401, 403]
cookie = "folioAccessToken"
[endpoint]
kind = "folio"
mode = "eureka"
url = "https://folio.example.org"
tenant = "central"
timeout = "20s"
body_limit = 131072
server = { resend = "never" }
sign_in = { username = "ada", password = "sesame" }
"#;
        let endpoint = Folio::eureka("https://folio.example.org", "central")
            .unwrap()
            .timeout(Duration::from_secs(20))
            .body_limit(131_072)
            .profile(ServerProfile::strict().resend(Resend::Never))
            .sign_in_with_password("ada", "sesame");
        let statuses = [http::StatusCode::UNAUTHORIZED, http::StatusCode::FORBIDDEN];
        let api = ApiProfile::eureka().reject_on(statuses);
        let change = |builder: Builder| builder.api(api).cookie("folioAccessToken");
        assert_eq!(shown(full).await, by_hand(endpoint, change));
    }

    #[tokio::test]
    async fn the_configuration_in_the_folio_guide_is_accepted() {
        let guide = include_str!("../../docs/folio.md");
        let shown = guide.split("```toml\n").nth(1).unwrap();
        let shown = shown.split("```").next().unwrap();
        // The environment variable of the secret is not set in this test.
        let text = shown.replacen("IMPORTER_PASSWORD", "CARGO_PKG_NAME", 1);
        let builder = format!("{:?}", builder(&text).await.unwrap());
        assert!(builder.contains("BackgroundTimer"), "{builder}");
        assert!(builder.contains("x-okapi-token"), "{builder}");
    }

    /// A `server` setting changes only what it names, and keeps what the profile knows of Okapi.
    #[tokio::test]
    async fn no_token_is_sent_to_okapi_again_after_silence_unless_the_configuration_asks_for_it() {
        let is_spared = |shown: String| shown.contains("resend: WhenUnavailable");
        assert!(is_spared(shown(LEAST).await));
        let other = format!("{LEAST}server = {{ resend_after_silence = \"lease-duration\" }}");
        assert!(is_spared(shown(&other).await));
        let asked = format!("{LEAST}server = {{ resend = \"always\" }}");
        assert!(!is_spared(shown(&asked).await));
        let eureka = LEAST.replace("\"okapi\"", "\"eureka\"");
        assert!(!is_spared(shown(&eureka).await));
    }

    #[tokio::test]
    async fn a_refusal_of_the_endpoint_is_reported_with_its_key() {
        let (plain, nameless) = (LEAST.replace("https", "http"), LEAST.replace("diku", ""));
        let short = format!("{LEAST}body_limit = 1");
        for (text, told) in [
            (plain, "endpoint.url: must be an `https` URL"),
            (nameless, "endpoint.tenant: must be the name of a tenant"),
            (short, "endpoint.body_limit: must be from 65536"),
        ] {
            let error = refusal(&text).await;
            assert!(error.contains(told), "{error}");
        }
        let sesame = LEAST.replace("https://", "https://u:sesame@");
        assert!(!refusal(&sesame).await.contains("sesame"));
    }
}
