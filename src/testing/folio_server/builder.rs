//! The rules of a [`FolioServer`], and the builder that takes them, in the grammar of FOLIO's own settings where FOLIO has
//! one.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;

use super::super::authorization_server::seed;
use super::state::State;
use super::{FolioServer, Shared};
use crate::clock::{Clock, SystemClock};

/// The kind of FOLIO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum System {
    Okapi,
    Eureka,
}

impl System {
    /// The lifetimes of tokens that no setting gives. Eureka's refresh tokens live as long as their session.
    fn lifetimes(self) -> Lifetimes {
        let refresh = match self {
            Self::Okapi => 604_800,
            Self::Eureka => 86_400,
        };
        let access = 600;
        Lifetimes { access, refresh }
    }
}

/// Describes a [`FolioServer`]; see [`FolioServer::okapi`] and [`FolioServer::eureka`].
#[derive(Debug)]
pub struct FolioServerBuilder {
    pub(super) rules: Rules,
    accounts: Vec<Account>,
    clock: Arc<dyn Clock>,
}

impl FolioServerBuilder {
    pub(super) fn new(system: System) -> Self {
        Self {
            rules: Rules {
                system,
                expiration: TokenExpiration::new(system.lifetimes()),
                legacy: String::new(),
                path: String::new(),
                authorization_cache: 180,
                forbidden: Vec::new(),
                latency: Duration::ZERO,
                time_per_record: Duration::ZERO,
                remembers_records: false,
            },
            accounts: Vec::new(),
            clock: Arc::new(SystemClock),
        }
    }

    /// The server's clock. Default: the [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The lifetimes of tokens, in the form of Okapi's `TOKEN_EXPIRATION_SECONDS`: `accessToken:60,refreshToken:3600`. The
    /// lifetimes of other tenants follow after a semicolon, each with a `tenantId:`. In Eureka, `refreshToken` is the length
    /// of a session. Default: access tokens of 600 s, refresh tokens of 7 days in Okapi and of 24 h in Eureka.
    pub fn token_expiration(mut self, seconds: &str) -> Result<Self, TokenExpirationError> {
        let own = self.rules.system.lifetimes();
        self.rules.expiration = TokenExpiration::parse(seconds, own)?;
        Ok(self)
    }

    /// The tenants whose tokens have no expiry, in the form of Okapi's `LEGACY_TOKEN_TENANTS`: separated by commas, `*` for
    /// all. These tenants sign in by `/authn/login` and get 404 for `/authn/login-with-expiry`, as in a FOLIO without that
    /// path; all other tenants the other way round. Default: none.
    #[must_use]
    pub fn legacy_tenants(mut self, tenants: &str) -> Self {
        self.rules.legacy = tenants.replace(' ', "");
        self
    }

    /// Adds a user. Default: `diku_admin` with the password `admin` in the tenant `diku`, if none is added.
    #[must_use]
    pub fn user(
        mut self,
        tenant: impl Into<String>,
        name: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        self.accounts.push(Account {
            tenant: tenant.into(),
            name: name.into(),
            password: password.into(),
        });
        self
    }

    /// The path below which the server serves all its paths, and to which Okapi's cookies are scoped: the path of
    /// `X-Okapi-Url`. Default: none.
    #[must_use]
    pub fn okapi_path(mut self, path: &str) -> Self {
        let path = format!("/{}", path.trim_matches('/'));
        self.rules.path = path.trim_end_matches('/').to_owned();
        self
    }

    /// How long Okapi admits a token without a check after it admitted the token with the same method, path and tenant; whole
    /// seconds. Eureka checks each call. Default: 180 s.
    #[must_use]
    pub fn authorization_cache(mut self, span: Duration) -> Self {
        self.rules.authorization_cache = span.as_secs();
        self
    }

    /// Revokes a user's permission for a path and all paths below it.
    #[must_use]
    pub fn forbid(
        mut self,
        tenant: impl Into<String>,
        name: impl Into<String>,
        path: impl Into<String>,
    ) -> Self {
        let forbidden = [tenant.into(), name.into(), path.into()];
        self.rules.forbidden.push(forbidden);
        self
    }

    setters! {
        /// How long a request to `/authn` takes: half of the time before it arrives, half after the decision. Default: no time.
        latency: Duration => rules.latency,
        /// How long each accepted record takes before the call is answered. Default: no time.
        time_per_record: Duration => rules.time_per_record,
        /// Whether the server remembers which records it accepted, at some 20 bytes each, for
        /// [`FolioServer::distinct_records`] and [`FolioServer::times_taken`]. Default: no.
        remember_records: bool => rules.remembers_records,
    }

    /// The server, without a session.
    #[must_use]
    pub fn build(mut self) -> FolioServer {
        if self.accounts.is_empty() {
            self = self.user("diku", "diku_admin", "admin");
        }
        FolioServer {
            shared: Arc::new(Shared {
                clock: self.clock,
                rules: self.rules.clone(),
                reachable: AtomicBool::new(true),
                state: Mutex::new(State::new(self.rules, self.accounts, seed())),
                faults: Mutex::default(),
                next: Mutex::default(),
                seen: Mutex::default(),
            }),
        }
    }
}

/// All settings of the builder but the clock and the users.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) system: System,
    pub(super) expiration: TokenExpiration,
    /// Separated by commas, or `*` for all.
    legacy: String,
    pub(super) path: String,
    pub(super) authorization_cache: u64,
    /// A tenant, a user and a path that this user may not use.
    forbidden: Vec<[String; 3]>,
    pub(super) latency: Duration,
    pub(super) time_per_record: Duration,
    pub(super) remembers_records: bool,
}

impl Rules {
    /// Whether this tenant's tokens have no expiry.
    pub(super) fn is_legacy(&self, tenant: &str) -> bool {
        let is_named = self.legacy.split(',').any(|one| one == tenant);
        self.system == System::Okapi && (self.legacy == "*" || is_named)
    }

    /// Whether this user may not use this path.
    pub(super) fn forbids(&self, tenant: &str, name: &str, path: &str) -> bool {
        let forbids =
            |[of, user, root]: &[String; 3]| of == tenant && user == name && is_within(path, root);
        self.forbidden.iter().any(forbids)
    }
}

/// Whether `path` is `root` or a path below it.
pub(super) fn is_within(path: &str, root: &str) -> bool {
    let rest = path.strip_prefix(root.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A user's credentials.
pub(super) struct Account {
    pub(super) tenant: String,
    pub(super) name: String,
    pub(super) password: String,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({}, {}, [REDACTED])", self.tenant, self.name)
    }
}

/// A hundred years: no date of a token has more than four digits for its year.
const LONGEST: u64 = 100 * 365 * 24 * 60 * 60;

/// Why FOLIO does not start with these token lifetimes, in FOLIO's own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenExpirationError {
    /// A text between two commas is not one key and one value.
    #[error("Expected a key value pair with a single colon but found {0}")]
    NotAPair(String),
    /// The key is none of `tenantId`, `accessToken` and `refreshToken`.
    #[error("Token expiration configuration has an unknown key of {0}")]
    UnknownKey(String),
    /// The value is not a whole number.
    #[error("For input string: \"{0}\"")]
    NotANumber(String),
}

/// The lifetimes of tokens, in seconds.
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
    /// The same lifetimes for all tenants.
    pub(super) fn new(default: Lifetimes) -> Self {
        Self {
            default,
            tenants: HashMap::new(),
        }
    }

    pub(super) fn of(&self, tenant: &str) -> Lifetimes {
        *self.tenants.get(tenant).unwrap_or(&self.default)
    }

    /// Parses entries between semicolons, each of pairs between commas. The entry without a tenant is the default. A lifetime
    /// that is missing, zero or negative is `own`, also for a tenant.
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
    let number = value.parse::<i64>();
    let number = number.map_err(|_| TokenExpirationError::NotANumber(value.to_owned()))?;
    let seconds = u64::try_from(number).unwrap_or(0).min(LONGEST);
    Ok(if seconds == 0 { own } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TokenExpiration, TokenExpirationError> {
        TokenExpiration::parse(text, System::Okapi.lifetimes())
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

    #[test]
    fn a7_legacy_tenants_are_none_all_or_those_named() {
        for (text, expected) in [
            ("", [false, false]),
            ("  ", [false, false]),
            (" * ", [true, true]),
            ("diku", [true, false]),
            ("a, b ,diku", [true, true]),
        ] {
            let rules = FolioServerBuilder::new(System::Okapi)
                .legacy_tenants(text)
                .rules;
            let legacy = ["diku", "b"].map(|tenant| rules.is_legacy(tenant));
            assert_eq!(legacy, expected, "{text:?}");
        }
    }

    #[test]
    fn a_permission_covers_a_path_and_all_paths_below_it() {
        let builder = FolioServerBuilder::new(System::Okapi).forbid("diku", "jane", "/records/");
        let forbids = |tenant, name, path| builder.rules.forbids(tenant, name, path);
        assert!(forbids("diku", "jane", "/records"));
        assert!(forbids("diku", "jane", "/records/1"));
        assert!(!forbids("diku", "jane", "/recordsets"));
        assert!(!forbids("diku", "joe", "/records"));
        assert!(!forbids("other", "jane", "/records"));
    }

    #[test]
    fn the_debug_form_of_a_builder_holds_no_password() {
        let builder = FolioServerBuilder::new(System::Eureka).user("diku", "jane", "secret");
        assert!(!format!("{builder:?}").contains("secret"));
    }
}
