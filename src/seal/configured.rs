//! The sealing keys of a configuration: a source or a list of sources, the first key of which seals.

#[cfg(feature = "seal")]
use crate::parameters::ConfigError;
use crate::parameters::{KeySource, OneOrMore};
#[cfg(feature = "seal")]
use crate::seal::SealingKeys;

/// The keys that a configuration names, each source with one key or several.
pub(crate) type Keys = OneOrMore<KeySource>;

/// Reads the keys that are configured at `path`.
#[cfg(feature = "seal")]
pub(crate) async fn sealing_keys(
    OneOrMore { values, is_list }: &Keys,
    path: &str,
) -> Result<SealingKeys, ConfigError> {
    let mut all: Option<SealingKeys> = None;
    for (at, source) in values.iter().enumerate() {
        let path = match is_list {
            true => format!("{path}[{at}]"),
            false => path.to_owned(),
        };
        let keys = keys_of(source, &path).await?;
        all = Some(match all.take() {
            Some(newer) => newer
                .older(keys)
                .map_err(|error| ConfigError::new(path, format!("{}: {error}", named(source))))?,
            None => keys,
        });
    }
    let problem = "must have at least one source of a key";
    all.ok_or_else(|| ConfigError::new(path, problem))
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
