//! A codec from a configuration: `seal` and `seal_accepts_plain`, which every store of the crate has that keeps records
//! outside the process.

use super::Codec;
use crate::parameters::ConfigError;
use crate::seal::Keys;
#[cfg(feature = "seal")]
use crate::seal::sealing_keys;

impl Codec {
    /// The codec that `seal` and `seal_accepts_plain` describe.
    pub(in crate::store) async fn configured(
        seal: Option<Keys>,
        accepts_plain: Option<bool>,
    ) -> Result<Self, ConfigError> {
        let Some(keys) = seal else {
            return match accepts_plain {
                None => Ok(Self::plain()),
                Some(_) => {
                    let problem = "requires `seal`; set `seal`, or remove this key";
                    Err(ConfigError::new("seal_accepts_plain", problem))
                }
            };
        };
        let codec = Self::sealed_with(&keys).await?;
        Ok(codec.accept_plain(accepts_plain.unwrap_or_default()))
    }

    #[cfg(feature = "seal")]
    async fn sealed_with(keys: &Keys) -> Result<Self, ConfigError> {
        sealing_keys(keys, "seal").await.map(Self::sealed)
    }

    #[cfg(not(feature = "seal"))]
    #[expect(clippy::unused_async, reason = "with the feature, a keyring is asked")]
    async fn sealed_with(_: &Keys) -> Result<Self, ConfigError> {
        Err(ConfigError::without_feature("seal", "", "seal"))
    }
}
