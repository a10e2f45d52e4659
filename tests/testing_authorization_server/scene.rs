//! A client of the server, and a browser that presses the button of its page.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use evertoken::testing::{AuthorizationServer, AuthorizationServerBuilder, HttpServer};
use reqwest::{Client, Response, StatusCode, redirect::Policy};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use url::Url;
use url::form_urlencoded::Serializer;

pub(crate) const REDIRECT: &str = "http://127.0.0.1:8080/callback";
/// The state of a client that means ill, or of one that means nothing by it.
pub(crate) const STATE: &str = "s&t=a te+%\"<>'é";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

pub(crate) fn challenge(verifier: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

pub(crate) fn builder() -> AuthorizationServerBuilder {
    AuthorizationServer::builder()
        .client("app", "secret")
        .redirect_uri(REDIRECT)
}

/// Parameters with some of them replaced, or left out by an empty text, and others added.
fn changed<'a>(
    parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
    changes: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let kept = parameters
        .into_iter()
        .filter(|(name, _)| !changes.iter().any(|(other, _)| other == name));
    let all = kept.chain(changes.iter().copied());
    all.filter(|(_, value)| !value.is_empty()).collect()
}

/// The authorization request of the client.
pub(crate) fn request(at: &str, changes: &[(&str, &str)]) -> Url {
    let challenge = challenge(VERIFIER);
    let parameters = [
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", REDIRECT),
        ("state", STATE),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    Url::parse_with_params(at, changed(parameters, changes)).unwrap()
}

pub(crate) fn parameter(url: &Url, wanted: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    let found = pairs.find(|(name, _)| name == wanted);
    found.map(|(_, value)| value.into_owned())
}

pub(crate) async fn json(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

pub(crate) async fn error_of(response: Response) -> Value {
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    json(response).await["error"].take()
}

pub(crate) fn location(response: &Response) -> Url {
    let location = response.headers()["location"].to_str();
    Url::parse(location.unwrap()).unwrap()
}

pub(crate) struct Scene {
    pub(crate) server: AuthorizationServer,
    pub(crate) listening: HttpServer,
    http: Client,
}

impl Scene {
    pub(crate) async fn new(builder: AuthorizationServerBuilder) -> Self {
        let server = builder.build();
        let listening = server.listen().await.unwrap();
        let http = Client::builder().no_proxy().redirect(Policy::none());
        Self {
            server,
            listening,
            http: http.build().unwrap(),
        }
    }

    /// The URL of an authorization request.
    pub(crate) fn request(&self, changes: &[(&str, &str)]) -> Url {
        request(&format!("{}/authorize", self.listening.origin()), changes)
    }

    pub(crate) async fn get(&self, url: Url) -> Response {
        self.http.get(url).send().await.unwrap()
    }

    /// Sends what the form of this page has, as a browser does at a click on the button.
    pub(crate) async fn press(&self, html: &str) -> Response {
        let (_, form) = html.split_once("<form method=\"post\" action=\"").unwrap();
        let (action, form) = form.split_once('"').unwrap();
        let (form, _) = form.split_once("</form>").unwrap();
        assert!(form.contains("<button id=\"sign-in\">"), "{html}");
        let mut body = Serializer::new(String::new());
        for input in form.split("<input ").skip(1) {
            body.append_pair(&attribute(input, "name"), &attribute(input, "value"));
        }
        let url = format!("{}{action}", self.listening.origin());
        self.post(&url, body.finish(), None).await.unwrap()
    }

    /// A code that a browser brings back.
    pub(crate) fn code(&self, changes: &[(&str, &str)]) -> String {
        let back = self.server.authorize(&self.request(changes)).unwrap();
        parameter(&back, "code").unwrap()
    }

    /// The grant of the client for a code.
    pub(crate) async fn exchange(&self, code: &str, changes: &[(&str, &str)]) -> Response {
        self.try_exchange(code, changes).await.unwrap()
    }

    pub(crate) async fn try_exchange(
        &self,
        code: &str,
        changes: &[(&str, &str)],
    ) -> reqwest::Result<Response> {
        let parameters = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ];
        let grant = changed(parameters, changes);
        let body = Serializer::new(String::new()).extend_pairs(grant).finish();
        self.post(self.listening.url(), body, Some("app")).await
    }

    /// The next pair.
    pub(crate) async fn refresh(&self, pair: &Value) -> Response {
        let token = pair["refresh_token"].as_str().unwrap();
        let grant = format!("grant_type=refresh_token&refresh_token={token}");
        let answer = self.post(self.listening.url(), grant, Some("app"));
        answer.await.unwrap()
    }

    pub(crate) async fn post(
        &self,
        url: &str,
        form: String,
        client: Option<&str>,
    ) -> reqwest::Result<Response> {
        let form_type = "application/x-www-form-urlencoded";
        let request = self.http.post(url).header("content-type", form_type);
        let request = match client {
            Some(id) => request.basic_auth(id, Some("secret")),
            None => request,
        };
        request.body(form).send().await
    }
}

/// An attribute's value as a parser of HTML reads it.
fn attribute(element: &str, name: &str) -> String {
    let (_, value) = element.split_once(&format!("{name}=\"")).unwrap();
    let (value, _) = value.split_once('"').unwrap();
    let value = value.replace("&lt;", "<").replace("&gt;", ">");
    let value = value.replace("&quot;", "\"").replace("&#39;", "'");
    value.replace("&amp;", "&")
}
