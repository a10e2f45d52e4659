//! The serialized form of a record: which layouts are read, how the tokens of a pair are written out (here and nowhere
//! else), and JSON values that are wiped when they are dropped, because they may be as secret as a token.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroize;

/// Refuses records of a layout that this version of the crate does not know: what it would write back
/// might mean something else there.
pub(super) fn check(form: &Value) -> Result<(), String> {
    let format = u32::deserialize(&form["format"])
        .map_err(|_| "the record has no `format` that is a number".to_owned())?;
    if format == super::SEALED_FORMAT {
        return Err(
            "the record is sealed: it is read by a `store::Codec` with its sealer".to_owned(),
        );
    }
    if super::is_unreleased(format) {
        return Err(format!(
            "the record has format {format}, the layout of an unreleased version; move it away and sign in anew"
        ));
    }
    // A codec numbers what it seals anew, so a number that no version writes would come back as another.
    if format == 0 {
        return Err("the record has format 0, which no version writes".to_owned());
    }
    if format > super::FORMAT {
        return Err(format!(
            "the record has format {format}, and this version reads up to {}",
            super::FORMAT
        ));
    }
    Ok(())
}

/// Fields that this version does not know.
pub(crate) type Fields = Wiped<Map<String, Value>>;

/// Its texts are wiped. The names of fields and the numbers are not: a token is a text.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Wiped<T: Wipe>(T);

pub(crate) trait Wipe {
    fn wipe(&mut self);
}

impl Wipe for Value {
    fn wipe(&mut self) {
        match self {
            Self::String(text) => text.zeroize(),
            Self::Array(values) => values.iter_mut().for_each(Wipe::wipe),
            Self::Object(fields) => fields.wipe(),
            Self::Null | Self::Bool(_) | Self::Number(_) => {}
        }
    }
}

impl Wipe for Map<String, Value> {
    fn wipe(&mut self) {
        self.values_mut().for_each(Wipe::wipe);
    }
}

impl<T: Wipe> From<T> for Wiped<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Wipe> Drop for Wiped<T> {
    fn drop(&mut self) {
        self.0.wipe();
    }
}

impl<T: Wipe> Deref for Wiped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Wipe> DerefMut for Wiped<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Wipe> fmt::Debug for Wiped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// A pair's fields, beside those of the record that holds it.
pub(super) mod pair {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::token::{AccessToken, Lifetime, RefreshToken, Scope, TokenPair};

    #[derive(Serialize)]
    struct Borrowed<'a> {
        access_token: Option<&'a str>,
        refresh_token: Option<&'a str>,
        lifetime: Lifetime,
        token_type: Option<&'a str>,
        scope: Option<&'a Scope>,
    }

    #[derive(Deserialize)]
    struct Owned {
        #[serde(default, deserialize_with = "token")]
        access_token: Option<AccessToken>,
        #[serde(default, deserialize_with = "token")]
        refresh_token: Option<RefreshToken>,
        #[serde(default)]
        lifetime: Lifetime,
        #[serde(default)]
        token_type: Option<String>,
        #[serde(default)]
        scope: Option<Scope>,
    }

    /// The string moves into zeroizing memory at once, in which it is wiped also if a later field is no good.
    fn token<'de, D: Deserializer<'de>, T: From<String>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(T::from))
    }

    pub(in super::super) fn serialize<S: Serializer>(
        pair: &TokenPair,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Borrowed {
            access_token: pair.access.as_ref().map(AccessToken::expose),
            refresh_token: pair.refresh.as_ref().map(RefreshToken::expose),
            lifetime: pair.lifetime,
            token_type: pair.token_type.as_deref(),
            scope: pair.scope.as_ref(),
        }
        .serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<TokenPair, D::Error> {
        let owned = Owned::deserialize(deserializer)?;
        Ok(TokenPair {
            access: owned.access_token,
            refresh: owned.refresh_token,
            lifetime: owned.lifetime,
            token_type: owned.token_type,
            scope: owned.scope,
        })
    }
}
