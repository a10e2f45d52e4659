//! The application: a page, its script, the login, and an API behind the gateway. All that it needs of evertoken is here and in
//! `login`.

use anyhow::Context as _;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::{Router, routing::get};
use evertoken::seal::SealingKeys;
use evertoken::{ConfigReader, Gateway, Presentation, Registry, Sessions};
use serde::Deserialize;

use crate::login::{self, Provider};

/// What the configuration has besides evertoken's tables.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Application {
    /// The API, whose origin is one of `[http]`.
    api: String,
    /// Where users sign in.
    provider: Provider,
}

/// A gateway with its routes, made by a configuration alone.
pub(crate) struct Served {
    pub(crate) sessions: Sessions,
    pub(crate) router: Router,
}

/// Builds the application of a configuration. `served` is called for each request that has a session.
pub(crate) async fn build(
    document: &str,
    served: impl Fn(&Presentation) + Clone + Send + Sync + 'static,
) -> anyhow::Result<Served> {
    let reader = ConfigReader::new().beside(["application"]);
    let config = reader.toml(document)?;
    let own: Own = toml::from_str(document).context("`[application]` cannot be read")?;
    let sessions = config.sessions(&Registry::builtin()).await?;
    let gateway = config.gateway(&sessions).await?.build()?;
    let router = routes(&gateway, own.application, served)?;
    Ok(Served { sessions, router })
}

/// The tables of evertoken are skipped: they have been read.
#[derive(Deserialize)]
struct Own {
    application: Application,
}

fn routes(
    gateway: &Gateway,
    own: Application,
    served: impl Fn(&Presentation) + Clone + Send + Sync + 'static,
) -> anyhow::Result<Router> {
    // The sign-in under way is sealed by a key of its own process: its cookie lives for minutes.
    let keys = SealingKeys::from_text(&own.provider.pending_key)?;
    let login = login::routes(own.provider, gateway.clone(), keys)?;
    let counted = async move |session: Presentation| {
        served(&session);
        "served"
    };
    Ok(Router::new()
        .route("/", get(page))
        .route("/page.js", get(script))
        .route("/served", get(counted))
        .merge(login)
        .nest_service("/session", gateway.session_routes())
        .nest_service("/api", gateway.proxy(own.api)?)
        .layer(gateway.layer()))
}

/// A page that only a user who is signed in can see.
async fn page(_: Presentation) -> impl IntoResponse {
    let policy = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'";
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy),
    ];
    (headers, include_str!("page.html"))
}

async fn script() -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, "text/javascript; charset=utf-8")];
    (headers, include_str!("page.js"))
}
