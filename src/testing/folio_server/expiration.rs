//! `TOKEN_EXPIRATION_SECONDS`: how long tokens live, by tenant.

use std::collections::HashMap;

/// A hundred years: no date of a token has more than four digits for its year.
const LONGEST: u64 = 100 * 365 * 24 * 60 * 60;

/// Why FOLIO does not start with these token lifetimes, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenExpirationError {
    /// Something between two commas is not one key and one value.
    #[error("Expected a key value pair with a single colon but found {0}")]
    NotAPair(String),
    /// The key is none of `tenantId`, `accessToken` and `refreshToken`.
    #[error("Token expiration configuration has an unknown key of {0}")]
    UnknownKey(String),
    /// The value is not a whole number.
    #[error("For input string: \"{0}\"")]
    NotANumber(String),
}

/// In seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lifetimes {
    pub(super) access: u64,
    pub(super) refresh: u64,
}

/// The lifetimes of each tenant.
#[derive(Debug, Clone)]
pub(super) struct TokenExpiration {
    default: Lifetimes,
    tenants: HashMap<String, Lifetimes>,
}

impl TokenExpiration {
    /// For all tenants.
    pub(super) fn new(default: Lifetimes) -> Self {
        Self {
            default,
            tenants: HashMap::new(),
        }
    }

    pub(super) fn of(&self, tenant: &str) -> Lifetimes {
        *self.tenants.get(tenant).unwrap_or(&self.default)
    }

    /// Entries between semicolons, of pairs between commas; the one without a tenant is the default. A
    /// lifetime that is missing, zero or negative is `own`, also for a tenant.
    pub(super) fn parse(text: &str, own: Lifetimes) -> Result<Self, TokenExpirationError> {
        let mut parsed = Self::new(own);
        for entry in text.replace(' ', "").split(';') {
            let mut tenant = None;
            let mut lifetimes = own;
            for pair in entry.split(',') {
                match one_pair(pair)? {
                    ("tenantId", id) => tenant = Some(id.to_owned()),
                    ("accessToken", value) => lifetimes.access = seconds(value, own.access)?,
                    ("refreshToken", value) => lifetimes.refresh = seconds(value, own.refresh)?,
                    (key, _) => return Err(TokenExpirationError::UnknownKey(key.to_owned())),
                }
            }
            match tenant {
                Some(tenant) => _ = parsed.tenants.insert(tenant, lifetimes),
                None => parsed.default = lifetimes,
            }
        }
        Ok(parsed)
    }
}

fn one_pair(pair: &str) -> Result<(&str, &str), TokenExpirationError> {
    pair.split_once(':')
        .filter(|(_, value)| !value.is_empty() && !value.contains(':'))
        .ok_or_else(|| TokenExpirationError::NotAPair(pair.to_owned()))
}

fn seconds(value: &str, own: u64) -> Result<u64, TokenExpirationError> {
    let number: i64 = value
        .parse()
        .map_err(|_| TokenExpirationError::NotANumber(value.to_owned()))?;
    Ok(u64::try_from(number)
        .ok()
        .filter(|seconds| *seconds > 0)
        .map_or(own, |seconds| seconds.min(LONGEST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Lifetimes = Lifetimes {
        access: 600,
        refresh: 604_800,
    };

    fn parse(text: &str) -> Result<TokenExpiration, TokenExpirationError> {
        TokenExpiration::parse(text, OWN)
    }

    fn lifetimes(text: &str, tenant: &str) -> (u64, u64) {
        let of = parse(text).unwrap().of(tenant);
        (of.access, of.refresh)
    }

    #[test]
    fn a6_lifetimes_are_read_in_folios_grammar() {
        assert_eq!(
            lifetimes("accessToken:60,refreshToken:3600", "diku"),
            (60, 3_600)
        );
        assert_eq!(lifetimes("accessToken:3600", "diku"), (3_600, 604_800));
        let two =
            " tenantId : diku, accessToken: 60 ; refreshToken:3600; tenantId:b,refreshToken:7";
        assert_eq!(lifetimes(two, "diku"), (60, 604_800));
        assert_eq!(lifetimes(two, "b"), (600, 7));
        assert_eq!(lifetimes(two, "another"), (600, 3_600));
        assert_eq!(
            lifetimes("accessToken:0,refreshToken:-1", "diku"),
            (600, 604_800)
        );
        assert_eq!(lifetimes("accessToken:9999999999999", "diku").0, LONGEST);
    }

    #[test]
    fn a6_bad_lifetimes_are_folios_start_up_errors() {
        for (text, error) in [
            (
                "",
                "Expected a key value pair with a single colon but found ",
            ),
            (
                "accessToken:60,,refreshToken:1",
                "Expected a key value pair with a single colon but found ",
            ),
            (
                "accessToken",
                "Expected a key value pair with a single colon but found accessToken",
            ),
            (
                "accessToken:",
                "Expected a key value pair with a single colon but found accessToken:",
            ),
            (
                "accessToken:1:2",
                "Expected a key value pair with a single colon but found accessToken:1:2",
            ),
            (
                "tenant:diku",
                "Token expiration configuration has an unknown key of tenant",
            ),
            (
                "accesstoken:60",
                "Token expiration configuration has an unknown key of accesstoken",
            ),
            ("accessToken:1m", "For input string: \"1m\""),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), error, "{text}");
        }
    }
}
