//! FOLIO's tokens, and the claims of an access token. The tokens are JSON Web Tokens with HS256 (RFC 7515, RFC 7518 section
//! 3.2), and texts in the form of an encrypted one (RFC 7516 section 3.1) that only the server can read.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::builder::System;
use super::{Refused, State};
use crate::testing::AccessCheck;
use crate::token::Digest;

/// The claims of an access token.
pub(in super::super) struct Bearer {
    pub(in super::super) user: usize,
    pub(in super::super) tenant: String,
    pub(in super::super) name: String,
    pub(in super::super) user_id: String,
    expires_at: Option<u64>,
}

/// The claims of a token of Okapi.
#[derive(Serialize, Deserialize)]
struct OkapiClaims {
    sub: String,
    user_id: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
    iat: u64,
    tenant: String,
}

const REALMS: &str = "https://keycloak.test/realms/";

/// The claims of a token of Keycloak.
#[derive(Serialize, Deserialize)]
struct KeycloakClaims {
    exp: u64,
    iat: u64,
    jti: String,
    iss: String,
    sub: String,
    typ: String,
    sid: String,
    preferred_username: String,
    user_id: String,
}

impl State {
    pub(super) fn access_token(&self, session: usize, expires_at: u64, now: u64) -> String {
        match self.rules.system {
            System::Okapi => {
                let user = self.sessions[session].user;
                self.okapi_token(user, "access", Some(expires_at), now)
            }
            System::Eureka => self.keycloak_token(session, "Bearer", expires_at, now),
        }
    }

    pub(super) fn refresh_token(&self, session: usize, expires_at: u64, now: u64) -> String {
        match self.rules.system {
            System::Okapi => self.signer.opaque(self.minted),
            System::Eureka => self.keycloak_token(session, "Refresh", expires_at, now),
        }
    }

    /// A token without expiry, for a legacy tenant.
    pub(in super::super) fn legacy_token(&self, user: usize, now: u64) -> String {
        self.okapi_token(user, "legacy-access", None, now)
    }

    /// The token that a module gets with a request that the gateway admits with this token.
    pub(in super::super) fn handed_on(&self, token: &str, now: u64) -> Result<String, Refused> {
        let bearer = self.bearer(token).ok_or(Refused)?;
        if self.is_over(&bearer, now) || !self.is_active(&bearer) {
            return Err(Refused);
        }
        Ok(match self.rules.system {
            System::Okapi => self.okapi_token(bearer.user, "module", None, now),
            System::Eureka => token.to_owned(),
        })
    }

    pub(in super::super) fn check(&self, token: &str, now: u64) -> AccessCheck {
        match self.bearer(token) {
            None => AccessCheck::Unknown,
            Some(bearer) if self.is_over(&bearer, now) => AccessCheck::Expired,
            Some(_) => AccessCheck::Live,
        }
    }

    /// Whether the token has expired. Okapi still accepts a token in the second of its expiry.
    pub(in super::super) fn is_over(&self, bearer: &Bearer, now: u64) -> bool {
        let is_over = |end| match self.rules.system {
            System::Okapi => now > end,
            System::Eureka => now >= end,
        };
        bearer.expires_at.is_some_and(is_over)
    }

    pub(in super::super) fn is_active(&self, bearer: &Bearer) -> bool {
        self.users[bearer.user].active
    }

    /// The claims of this token, if this server issued it as an access token.
    pub(in super::super) fn bearer(&self, token: &str) -> Option<Bearer> {
        let (tenant, name, user_id, expires_at) = match self.rules.system {
            System::Okapi => {
                let claims: OkapiClaims = self.signer.read(token)?;
                (claims.tenant, claims.sub, claims.user_id, claims.exp)
            }
            System::Eureka => {
                let claims: KeycloakClaims = self.signer.read(token)?;
                let tenant = claims.iss.strip_prefix(REALMS)?.to_owned();
                if claims.typ != "Bearer" {
                    return None;
                }
                let name = claims.preferred_username;
                (tenant, name, claims.user_id, Some(claims.exp))
            }
        };
        Some(Bearer {
            user: self.user(&tenant, &name)?,
            tenant,
            name,
            user_id,
            expires_at,
        })
    }

    fn okapi_token(&self, user: usize, kind: &str, exp: Option<u64>, now: u64) -> String {
        let user = &self.users[user];
        self.signer.sign(&OkapiClaims {
            sub: user.account.name.clone(),
            user_id: user.id.clone(),
            kind: kind.to_owned(),
            exp,
            iat: now,
            tenant: user.account.tenant.clone(),
        })
    }

    fn keycloak_token(&self, session: usize, typ: &str, exp: u64, now: u64) -> String {
        let session = &self.sessions[session];
        let user = &self.users[session.user];
        self.signer.sign(&KeycloakClaims {
            exp,
            iat: now,
            jti: self.signer.uuid(&format!("{typ} {}", self.minted)),
            iss: format!("{REALMS}{}", user.account.tenant),
            sub: self.signer.uuid(&format!("keycloak {}", user.id)),
            typ: typ.to_owned(),
            sid: session.id.clone(),
            preferred_username: user.account.name.clone(),
            user_id: user.id.clone(),
        })
    }
}

const BLOCK: usize = 64;

/// Signs with one key.
pub(super) struct Signer {
    key: [u8; 32],
}

impl Signer {
    pub(super) fn new(seed: u128) -> Self {
        let key = Sha256::digest(format!("{seed:032x}")).into();
        Self { key }
    }

    /// A signed token of these claims, in the order of their type's fields.
    pub(super) fn sign(&self, claims: &impl Serialize) -> String {
        let header = BASE64.encode(r#"{"alg":"HS256"}"#);
        let claims = serde_json::to_vec(claims).unwrap_or_default();
        let signed = format!("{header}.{}", BASE64.encode(claims));
        let signature = BASE64.encode(mac(&self.key, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// The claims of a token that this key signed.
    pub(super) fn read<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        let (signed, signature) = token.rsplit_once('.')?;
        if BASE64.encode(mac(&self.key, signed.as_bytes())) != signature {
            return None;
        }
        let (_, claims) = signed.split_once('.')?;
        serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()
    }

    /// A text of five opaque parts, which differs for each `number`.
    pub(super) fn opaque(&self, number: u64) -> String {
        let header = BASE64.encode(r#"{"alg":"dir","enc":"A256GCM"}"#);
        let part = |name: &str| mac(&self.key, format!("{name} {number}").as_bytes());
        let iv = BASE64.encode(&part("iv")[..12]);
        let text = BASE64.encode([part("one"), part("two"), part("three")].concat());
        let tag = BASE64.encode(&part("tag")[..16]);
        format!("{header}..{iv}.{text}.{tag}")
    }

    /// A UUID, which differs for each `what`.
    pub(super) fn uuid(&self, what: &str) -> String {
        let hex = Digest::of([self.key.as_slice(), what.as_bytes()].concat()).to_string();
        let [a, b, c, d, e] = [0..8, 8..12, 12..15, 15..18, 18..30].map(|range| &hex[range]);
        format!("{a}-{b}-4{c}-8{d}-{e}")
    }
}

/// HMAC-SHA256 (RFC 2104).
fn mac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let pad = |fill: u8| {
        let mut block = [fill; BLOCK];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let inner = Sha256::digest([&pad(0x36)[..], message].concat());
    Sha256::digest([&pad(0x5c)[..], &inner].concat()).into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_signature_is_hmac_sha256() {
        // RFC 4231 section 4.2; a key is padded with zeros.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let hex: String = mac(&key, b"Hi There")
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hex,
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
    }

    #[test]
    fn a_token_that_another_key_signed_or_that_was_changed_is_not_read() {
        let (signer, other) = (Signer::new(1), Signer::new(2));
        let claims = json!({ "sub": "J\u{fc}rgen", "exp": 5 });
        let token = signer.sign(&claims);
        assert_eq!(signer.read::<Value>(&token), Some(claims));
        assert_eq!(other.read::<Value>(&token), None);
        let (head, signature) = token.rsplit_once('.').unwrap();
        assert_eq!(signer.read::<Value>(&format!("{head}A.{signature}")), None);
        for text in ["", ".", "a.b.c", &signer.opaque(1)] {
            assert_eq!(signer.read::<Value>(text), None, "{text}");
        }
    }

    #[test]
    fn an_opaque_token_has_five_parts_and_differs_for_each_number() {
        let signer = Signer::new(1);
        assert_eq!(signer.opaque(1).split('.').count(), 5);
        assert_ne!(signer.opaque(1), signer.opaque(2));
        assert_ne!(signer.opaque(1), Signer::new(2).opaque(1));
        assert_eq!(signer.uuid("a").len(), 36);
    }
}
