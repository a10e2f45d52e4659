//! A codec from a configuration: `seal` and `seal_accepts_plain`, which every store of the crate has that keeps records
//! outside the process.

use super::Codec;
use crate::parameters::{ConfigError, OneOrMore, Secret};

/// The keys that seal a store, each source with one key or several. The first key seals.
pub(in crate::store) type Keys = OneOrMore<Secret>;

impl Codec {
    /// The codec that `seal` and `seal_accepts_plain` describe.
    pub(in crate::store) fn configured(
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
        let codec = Self::sealed_with(&keys)?;
        Ok(codec.accept_plain(accepts_plain.unwrap_or_default()))
    }

    #[cfg(feature = "seal")]
    fn sealed_with(OneOrMore { values, is_list }: &Keys) -> Result<Self, ConfigError> {
        use crate::seal::SealingKeys;

        let mut all: Option<SealingKeys> = None;
        for (at, secret) in values.iter().enumerate() {
            let path = match is_list {
                true => format!("seal[{at}]"),
                false => "seal".to_owned(),
            };
            let text = secret.read_at(&path)?;
            let refused = |error| ConfigError::new(path, format!("{}: {error}", secret.source()));
            let keys = SealingKeys::from_text(&text);
            let keys = keys.and_then(|keys| match all.take() {
                Some(newer) => newer.older(keys),
                None => Ok(keys),
            });
            all = Some(keys.map_err(refused)?);
        }
        let problem = "must have at least one source of a key";
        all.map(Self::sealed)
            .ok_or_else(|| ConfigError::new("seal", problem))
    }

    #[cfg(not(feature = "seal"))]
    fn sealed_with(_: &Keys) -> Result<Self, ConfigError> {
        Err(ConfigError::without_feature("seal", "", "seal"))
    }
}
