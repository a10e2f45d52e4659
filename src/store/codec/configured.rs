//! A codec from a configuration: `seal` and `seal_accepts_plain`, which every store of the crate has that keeps records
//! outside the process.

use super::Codec;
use crate::parameters::{ConfigError, KeySource, OneOrMore};
#[cfg(feature = "seal")]
use crate::seal::SealingKeys;

/// The keys that seal a store, each source with one key or several. The first key seals.
pub(in crate::store) type Keys = OneOrMore<KeySource>;

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
    async fn sealed_with(OneOrMore { values, is_list }: &Keys) -> Result<Self, ConfigError> {
        let mut all: Option<SealingKeys> = None;
        for (at, source) in values.iter().enumerate() {
            let path = match is_list {
                true => format!("seal[{at}]"),
                false => "seal".to_owned(),
            };
            let keys = keys_of(source, &path).await?;
            all = Some(match all.take() {
                Some(newer) => newer.older(keys).map_err(|error| {
                    ConfigError::new(path, format!("{}: {error}", named(source)))
                })?,
                None => keys,
            });
        }
        let problem = "must have at least one source of a key";
        all.map(Self::sealed)
            .ok_or_else(|| ConfigError::new("seal", problem))
    }

    #[cfg(not(feature = "seal"))]
    #[expect(clippy::unused_async, reason = "with the feature, a keyring is asked")]
    async fn sealed_with(_: &Keys) -> Result<Self, ConfigError> {
        Err(ConfigError::without_feature("seal", "", "seal"))
    }
}

/// The keys of one source, which is configured at `path`.
#[cfg(feature = "seal")]
async fn keys_of(source: &KeySource, path: &str) -> Result<SealingKeys, ConfigError> {
    match source {
        KeySource::Secret(secret) => {
            let keys = SealingKeys::from_text(&secret.read_at(path)?);
            keys.map_err(|error| ConfigError::new(path, format!("{}: {error}", named(source))))
        }
        #[cfg(feature = "keyring")]
        KeySource::Keyring(program) => {
            let keys = SealingKeys::from_keyring(program).await;
            keys.map_err(|error| ConfigError::not_made(path, error.into()))
        }
        #[cfg(not(feature = "keyring"))]
        KeySource::Keyring(_) => Err(ConfigError::without_feature(path, "", "keyring")),
    }
}

/// The source, in words.
#[cfg(feature = "seal")]
fn named(source: &KeySource) -> String {
    match source {
        KeySource::Secret(secret) => secret.source(),
        KeySource::Keyring(program) => format!("the keyring's entry of `{program}`"),
    }
}
