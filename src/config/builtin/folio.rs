use reqwest::ClientBuilder;
use serde::Deserialize;

use super::{Login, ServerKeys};
use crate::config::scalar::Span;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Okapi,
    Eureka,
}

#[derive(Deserialize)]
#[cfg_attr(
    not(feature = "folio"),
    expect(
        dead_code,
        reason = "they are read, and their errors told, all the same"
    )
)]
pub(super) struct Parameters {
    mode: Mode,
    url: String,
    tenant: String,
    timeout: Option<Span>,
    body_limit: Option<usize>,
    #[serde(default)]
    server: ServerKeys,
    sign_in: Option<Login>,
}

#[cfg(feature = "folio")]
pub(super) fn endpoint(
    parameters: Parameters,
    http: ClientBuilder,
) -> Result<crate::endpoint::Folio, super::Boxed> {
    use crate::endpoint::{Folio, FolioMode, TokenEndpoint};

    let Parameters {
        mode,
        url,
        tenant,
        timeout,
        body_limit,
        server,
        sign_in,
    } = parameters;
    let mode = match mode {
        Mode::Okapi => FolioMode::Okapi,
        Mode::Eureka => FolioMode::Eureka,
    };
    let mut endpoint = Folio::with_http(mode, url, tenant, http)?;
    let known = TokenEndpoint::profile(&endpoint);
    endpoint = endpoint.profile(server.over(known));
    if let Some(Span(timeout)) = timeout {
        endpoint = endpoint.timeout(timeout);
    }
    if let Some(bytes) = super::body_limit(body_limit, Folio::BODY_LIMITS)? {
        endpoint = endpoint.body_limit(bytes);
    }
    Ok(match sign_in {
        None => endpoint,
        Some(Login { username, password }) => {
            let password = password.read_at("sign_in.password")?;
            endpoint.sign_in_with_password(username, password.as_str())
        }
    })
}

#[cfg(not(feature = "folio"))]
pub(super) fn endpoint(
    _: Parameters,
    _: ClientBuilder,
) -> Result<crate::endpoint::StaticToken, crate::config::ConfigError> {
    let problem =
        "`folio` takes evertoken's feature `folio`, and this program was built without it";
    Err(crate::config::ConfigError::new("kind", problem))
}
