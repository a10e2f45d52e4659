//! A server at which users sign in, on a free port of loopback: device codes (RFC 8628), and authorization codes with PKCE
//! (RFC 7636) and ID tokens (OpenID Connect Core). It passes refresh tokens on to evertoken's own authorization server.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use evertoken::TokenPair;
use evertoken::clock::{Clock as _, SystemClock};
use evertoken::testing::{AuthorizationServer, HttpServer};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use oauth2::AccessToken;
use openidconnect::core::{
    CoreIdToken, CoreIdTokenClaims, CoreJsonWebKeySet, CoreJwsSigningAlgorithm,
    CoreRsaPrivateSigningKey,
};
use openidconnect::{
    Audience, EmptyAdditionalClaims, IssuerUrl, Nonce, PrivateSigningKey as _, StandardClaims,
    SubjectIdentifier,
};
use parking_lot::Mutex;
use rsa::pkcs1::{EncodeRsaPrivateKey as _, LineEnding};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use url::{Url, form_urlencoded};

/// A server that listens until it is dropped.
pub(crate) struct LoginServer {
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

struct Shared {
    url: String,
    tokens: AuthorizationServer,
    refreshes: HttpServer,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How often the program asked whether the user has entered the code.
    polls: u32,
    /// The requests of the codes that were handed out and not used.
    codes: HashMap<String, Form>,
    key: Option<CoreRsaPrivateSigningKey>,
}

type Form = HashMap<String, String>;

impl LoginServer {
    /// A server whose refresh tokens are those of `tokens`.
    pub(crate) async fn start(tokens: &AuthorizationServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            url: format!("http://{}", listener.local_addr().unwrap()),
            refreshes: tokens.listen().await.unwrap(),
            tokens: tokens.clone(),
            state: Mutex::default(),
        });
        let server = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    let service = service_fn(|request| async {
                        Ok::<_, Infallible>(server.answer(request).await)
                    });
                    let stream = TokioIo::new(stream);
                    _ = http1::Builder::new()
                        .serve_connection(stream, service)
                        .await;
                });
            }
        });
        Self {
            shared,
            accepting: accepting.abort_handle(),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.shared.url)
    }

    pub(crate) fn polls(&self) -> u32 {
        self.shared.state.lock().polls
    }
}

impl Drop for LoginServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let form = form_urlencoded::parse(&body).into_owned().collect();
        match head.uri.path() {
            "/.well-known/openid-configuration" => sent(200, &self.configuration()),
            "/keys" => sent(200, &self.keys()),
            "/device" => sent(200, &self.device(&form)),
            "/authorize" => {
                let query = head.uri.query().unwrap();
                self.authorize(
                    form_urlencoded::parse(query.as_bytes())
                        .into_owned()
                        .collect(),
                )
            }
            "/token" if form["grant_type"] == "refresh_token" => self.refresh(body).await,
            "/token" => {
                let (status, answer) = self.token(&form);
                sent(status, &answer)
            }
            path => panic!("{path}"),
        }
    }

    fn configuration(&self) -> Value {
        let url = |path: &str| format!("{}{path}", self.url);
        json!({
            "issuer": self.url,
            "authorization_endpoint": url("/authorize"),
            "token_endpoint": url("/token"),
            "jwks_uri": url("/keys"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        })
    }

    fn keys(&self) -> Value {
        let mut state = self.state.lock();
        let key = state.key.get_or_insert_with(new_key);
        json!(CoreJsonWebKeySet::new(vec![key.as_verification_key()]))
    }

    fn device(&self, form: &Form) -> Value {
        assert_eq!(form["client_id"], "uploader");
        assert_eq!(form["scope"], "records.write");
        json!({
            "device_code": "device-code",
            "user_code": "WDJB-MJHT",
            "verification_uri": format!("{}/enter", self.url),
            "expires_in": 600,
            "interval": 1,
        })
    }

    /// The user signs in at once, and the browser goes back to the program.
    fn authorize(&self, query: Form) -> Response<Full<Bytes>> {
        assert_eq!(
            (&*query["client_id"], &*query["response_type"]),
            ("uploader", "code")
        );
        assert_eq!(query["code_challenge_method"], "S256");
        assert_eq!(query["scope"], "openid offline_access");
        let mut back = Url::parse(&query["redirect_uri"]).unwrap();
        let mut state = self.state.lock();
        let code = format!("code-{}", state.codes.len());
        back.query_pairs_mut()
            .append_pair("code", &code)
            .append_pair("state", &query["state"]);
        state.codes.insert(code, query);
        let response = Response::builder().status(StatusCode::FOUND);
        let response = response.header(LOCATION, back.as_str());
        response.body(Full::default()).unwrap()
    }

    /// The status and the answer of the token endpoint for a sign-in.
    fn token(&self, form: &Form) -> (u16, Value) {
        assert_eq!(form["client_id"], "uploader");
        let mut state = self.state.lock();
        match &*form["grant_type"] {
            "urn:ietf:params:oauth:grant-type:device_code" => {
                assert_eq!(form["device_code"], "device-code");
                state.polls += 1;
                match state.polls {
                    1 => (400, json!({ "error": "authorization_pending" })),
                    _ => (200, answer(self.tokens.issue())),
                }
            }
            "authorization_code" => {
                let asked = state.codes.remove(&form["code"]).unwrap();
                assert_eq!(form["redirect_uri"], asked["redirect_uri"]);
                let hash = Sha256::digest(&form["code_verifier"]);
                assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(hash), asked["code_challenge"]);
                let pair = self.tokens.issue();
                let key = state.key.get_or_insert_with(new_key);
                let id_token = self.id_token(&pair, &asked["nonce"], key);
                let mut answer = answer(pair);
                answer["id_token"] = json!(id_token);
                (200, answer)
            }
            other => panic!("{other}"),
        }
    }

    fn id_token(
        &self,
        pair: &TokenPair,
        nonce: &str,
        key: &CoreRsaPrivateSigningKey,
    ) -> CoreIdToken {
        let now = UNIX_EPOCH + SystemClock.wall();
        let claims = CoreIdTokenClaims::new(
            IssuerUrl::new(self.url.clone()).unwrap(),
            vec![Audience::new("uploader".into())],
            (now + Duration::from_secs(600)).into(),
            now.into(),
            StandardClaims::new(SubjectIdentifier::new("ada".into())),
            EmptyAdditionalClaims {},
        );
        let claims = claims.set_nonce(Some(Nonce::new(nonce.to_owned())));
        let access = AccessToken::new(pair.access.as_ref().unwrap().expose().to_owned());
        let algorithm = CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256;
        CoreIdToken::new(claims, key, algorithm, Some(&access), None).unwrap()
    }

    async fn refresh(&self, body: Bytes) -> Response<Full<Bytes>> {
        let request = reqwest::Client::new().post(self.refreshes.url()).body(body);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = request.send().await.unwrap();
        let (status, body) = (answer.status(), answer.bytes().await.unwrap());
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        response
    }
}

/// The answer of a token endpoint (RFC 6749 section 5.1).
fn answer(pair: TokenPair) -> Value {
    json!({
        "access_token": pair.access.unwrap().expose(),
        "refresh_token": pair.refresh.unwrap().expose(),
        "token_type": pair.token_type,
        "expires_in": pair.lifetime.access.total().unwrap().as_secs(),
    })
}

fn sent(status: u16, answer: &Value) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status);
    let response = response.header(CONTENT_TYPE, "application/json");
    response.body(Full::new(answer.to_string().into())).unwrap()
}

fn new_key() -> CoreRsaPrivateSigningKey {
    let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2_048).unwrap();
    let pem = key.to_pkcs1_pem(LineEnding::LF).unwrap();
    CoreRsaPrivateSigningKey::from_pem(&pem, None).unwrap()
}
