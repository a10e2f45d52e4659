//! `[gateway]`: the backend for a browser.

use serde::Deserialize;

use super::content::refused_gateway;
use crate::gateway::{Gateway, GatewayBuilder, Mode, Page, SameSite};
use crate::parameters::{ConfigError, set};
use crate::seal::{Keys, sealing_keys};
use crate::sessions::Sessions;

/// What stands in `login` for the page to return to.
const RETURN_TO: &str = "{return_to}";

/// The table `[gateway]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GatewayTable {
    keys: Keys,
    mode: Option<Mode>,
    cookie: Option<String>,
    same_site: Option<SameSite>,
    #[serde(default)]
    origins: Vec<String>,
    policy: Option<String>,
    login: Option<String>,
}

impl GatewayTable {
    pub(super) async fn builder(&self, sessions: &Sessions) -> Result<GatewayBuilder, ConfigError> {
        let keys = sealing_keys(&self.keys, "gateway.keys").await?;
        let mut builder = Gateway::builder(sessions).sealer(keys);
        for origin in &self.origins {
            builder = builder.origin(origin);
        }
        builder = set(builder, self.mode, GatewayBuilder::mode);
        builder = set(builder, self.cookie.clone(), GatewayBuilder::cookie);
        builder = set(builder, self.same_site, GatewayBuilder::same_site);
        builder = set(builder, self.policy.clone(), GatewayBuilder::policy);
        if let Some(login) = self.login.clone() {
            let of = move |page: &Page<'_>| login.replace(RETURN_TO, &page.return_to());
            builder = builder.on_signed_out(of);
        }
        // All that the program cannot change is checked here, with the key that is wrong.
        builder.clone().build().map_err(refused_gateway)?;
        Ok(builder)
    }
}
