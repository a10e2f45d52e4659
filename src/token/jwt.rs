//! Reads the times of an access token that is a JWT.
//!
//! This module never verifies a signature, because the server judges the token. The times only save a request that
//! the API would refuse.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::LONGEST_LIFETIME;

/// `iat` and `exp` (RFC 7519 section 4.1), since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Times {
    pub(crate) expires_at: Duration,
    pub(crate) issued_at: Option<Duration>,
}

impl Times {
    /// The server's time when it issued the token, if that is known.
    ///
    /// The result is `server`, from the answer's `Date` header, unless `server` differs from the token's `iat` by more
    /// than the token's lifetime. In that case, header and token come from machines with different clocks, and the
    /// result is the token's `iat`. Without a `Date` header, the result is the token's `iat` too.
    pub(crate) fn server_time(&self, server: Option<Duration>) -> Option<Duration> {
        let is_near = |server: &Duration| {
            self.issued_at.is_none_or(|issued_at| {
                server.abs_diff(issued_at) <= self.expires_at.saturating_sub(issued_at)
            })
        };
        server.filter(is_near).or(self.issued_at)
    }

    /// The lifetime of the token from the request on, by the [server's time](Self::server_time), because the local clock
    /// may be skewed. Without a server's time, `local` is used. `None` if the token had expired by `local` before the
    /// request, because `local` must be wrong then. The lifetime is at most that from `iat` to `exp`, and at most ten
    /// years.
    pub(crate) fn lifetime(&self, server: Option<Duration>, local: Duration) -> Option<Duration> {
        let asked_at = self.server_time(server);
        let by_server = asked_at.and_then(|asked_at| self.left(asked_at));
        let by_local = || self.left(local).filter(|left| !left.is_zero());
        by_server.or_else(by_local)
    }

    /// The remaining lifetime at `now`, at most the lifetime from `iat` to `exp`; `None` if that is longer than ten years.
    pub(crate) fn left(&self, now: Duration) -> Option<Duration> {
        let left = self.expires_at.saturating_sub(now);
        let whole = self.issued_at.map(|at| self.expires_at.saturating_sub(at));
        Some(left.min(whole.unwrap_or(left))).filter(|span| *span <= LONGEST_LIFETIME)
    }
}

/// The claims of a token. The times are read as any number, because some issuers write fractions.
#[derive(Deserialize)]
struct Claims {
    exp: f64,
    iat: Option<f64>,
}

/// The claims of a token of three parts; `None` for every other token, such as a JWE of five parts.
fn claims<T: DeserializeOwned>(token: &str) -> Option<T> {
    if token.split('.').count() != 3 {
        return None;
    }
    jsonwebtoken::dangerous::insecure_decode_claims(token).ok()
}

/// The `jti` of a JWT (RFC 7519 section 4.1.7), if it has one.
pub(crate) fn jti(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        jti: String,
    }
    claims::<Named>(token).map(|named| named.jti)
}

/// The times of a token of three parts.
pub(crate) fn times(token: &str) -> Option<Times> {
    let since_epoch = |secs| Duration::try_from_secs_f64(secs).ok();
    let claims: Claims = claims(token)?;
    Some(Times {
        expires_at: since_epoch(claims.exp)?,
        issued_at: claims.iat.and_then(since_epoch),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(token: &str) -> Option<(u64, Option<u64>)> {
        times(token).map(|t| (t.expires_at.as_secs(), t.issued_at.map(|at| at.as_secs())))
    }

    #[test]
    fn a3_exp_and_iat_are_read_without_verifying() {
        let folio = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkaWt1X2FkbWluIiwidXNlcl9pZCI6IjhiMGUwODU4LTJlZDMtNGRhNi05MGNjLWM2ZTkyZjNjZmFlMCIsInR5cGUiOiJhY2Nlc3MiLCJleHAiOjE3Mjk3ODA0MDgsImlhdCI6MTcyOTc4MDM0OCwidGVuYW50IjoiZGlrdSJ9.fEGSicXidnLlu42siESQk6SBNd_qy-xy12nsbneIgpI";
        assert_eq!(secs(folio), Some((1_729_780_408, Some(1_729_780_348))));
        let lifetime = times(folio).and_then(|t| t.lifetime(None, Duration::ZERO));
        assert_eq!(lifetime, Some(Duration::from_secs(60)));
        let vector = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjE2NzI3MjAwMDB9.signature";
        assert_eq!(secs(vector), Some((1_672_720_000, None)));
    }

    #[test]
    fn a_date_further_from_iat_than_the_lifetime_is_ignored() {
        let times = Times {
            expires_at: Duration::from_secs(1_060),
            issued_at: Some(Duration::from_secs(1_000)),
        };
        let lifetime = |server| {
            let server = Some(Duration::from_secs(server));
            let lifetime = times.lifetime(server, Duration::ZERO);
            lifetime.map(|span| span.as_secs())
        };
        assert_eq!(lifetime(600), Some(60));
        assert_eq!(lifetime(939), Some(60));
        assert_eq!(lifetime(940), Some(60));
        assert_eq!(lifetime(1_010), Some(50));
        assert_eq!(lifetime(1_060), Some(0));
        assert_eq!(lifetime(1_061), Some(60));
        let without = Times {
            issued_at: None,
            ..times
        };
        let server = Some(Duration::from_secs(600));
        let span = without.lifetime(server, Duration::ZERO);
        assert_eq!(span, Some(Duration::from_secs(460)));
        let now = Duration::from_secs(1_767_225_600);
        let recent = Times {
            expires_at: now + Duration::from_secs(60),
            issued_at: None,
        };
        let unset = Some(Duration::from_secs(600));
        assert_eq!(recent.lifetime(unset, now), Some(Duration::from_secs(60)));
        assert_eq!(recent.lifetime(unset, Duration::ZERO), None);
    }

    #[test]
    fn a3_base64url_payload_with_non_ascii_subject_is_read() {
        // {"sub":"Jürgen?>>>ÿ~~","exp":1700000000}: its encoding has both `_` and `-`.
        let token = "e30.eyJzdWIiOiJKw7xyZ2VuPz4-PsO_fn4iLCJleHAiOjE3MDAwMDAwMDB9.x";
        assert!(token.contains('_') && token.contains('-'));
        assert_eq!(secs(token), Some((1_700_000_000, None)));
    }

    #[test]
    fn a3_an_encrypted_or_opaque_token_has_no_times() {
        let payload = "eyJleHAiOjE2NzI3MjAwMDB9";
        for token in [
            format!("e30.{payload}.a.{payload}.b"),
            format!("e30.{payload}"),
            "opaque".into(),
            "invalid.jwt.token".into(),
            String::new(),
            "..".into(),
        ] {
            assert_eq!(times(&token), None, "{token}");
        }
    }

    #[test]
    fn the_jti_is_read_without_verifying() {
        // {"jti":"4f-\u{fc}","exp":1}, and one whose `jti` is a number
        let named = "e30.eyJqdGkiOiI0Zi3DvCIsImV4cCI6MX0.x";
        assert_eq!(jti(named).as_deref(), Some("4f-\u{fc}"));
        for unnamed in ["e30.eyJqdGkiOjR9.x", "e30.e30.x", "opaque"] {
            assert_eq!(jti(unnamed), None, "{unnamed}");
        }
    }

    #[test]
    fn times_that_a_clock_cannot_hold_are_ignored() {
        // {"exp":-5}, {"exp":1e300}, {"exp":"soon"}
        for token in [
            "e30.eyJleHAiOi01fQ.x",
            "e30.eyJleHAiOjFlMzAwfQ.x",
            "e30.eyJleHAiOiJzb29uIn0.x",
        ] {
            assert_eq!(times(token), None, "{token}");
        }
    }
}
