//! The tokens themselves, and what an access token says of itself.

use serde::{Deserialize, Serialize};

use super::super::builder::System;
use super::{Refused, State};
use crate::testing::AccessCheck;

/// What an access token says.
pub(in super::super) struct Bearer {
    pub(in super::super) user: usize,
    pub(in super::super) tenant: String,
    pub(in super::super) name: String,
    pub(in super::super) user_id: String,
    expires_at: Option<u64>,
}

const ACCESS: &str = "access";
const LEGACY: &str = "legacy-access";
const MODULE: &str = "module";

/// A token of Okapi's.
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

/// A token of Keycloak's.
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
                self.okapi_token(self.sessions[session].user, ACCESS, Some(expires_at), now)
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

    /// A token without expiry, for a tenant that still has them.
    pub(in super::super) fn legacy_token(&self, user: usize, now: u64) -> String {
        self.okapi_token(user, LEGACY, None, now)
    }

    /// What a module is handed for a request that was let pass with this token.
    pub(in super::super) fn handed_on(&self, token: &str, now: u64) -> Result<String, Refused> {
        let bearer = self.bearer(token).ok_or(Refused)?;
        if self.is_over(&bearer, now) || !self.is_active(&bearer) {
            return Err(Refused);
        }
        Ok(match self.rules.system {
            System::Okapi => self.okapi_token(bearer.user, MODULE, None, now),
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

    /// Okapi still accepts a token in the second of its expiry.
    pub(in super::super) fn is_over(&self, bearer: &Bearer, now: u64) -> bool {
        bearer
            .expires_at
            .is_some_and(|end| match self.rules.system {
                System::Okapi => now > end,
                System::Eureka => now >= end,
            })
    }

    pub(in super::super) fn is_active(&self, bearer: &Bearer) -> bool {
        self.users[bearer.user].active
    }

    /// What this token says, if it is an access token that was issued here.
    pub(in super::super) fn bearer(&self, token: &str) -> Option<Bearer> {
        match self.rules.system {
            System::Okapi => {
                let claims: OkapiClaims = self.signer.read(token)?;
                Some(Bearer {
                    user: self.user(&claims.tenant, &claims.sub)?,
                    tenant: claims.tenant,
                    name: claims.sub,
                    user_id: claims.user_id,
                    expires_at: claims.exp,
                })
            }
            System::Eureka => {
                let claims: KeycloakClaims = self.signer.read(token)?;
                let tenant = claims.iss.strip_prefix(REALMS)?.to_owned();
                if claims.typ != "Bearer" {
                    return None;
                }
                Some(Bearer {
                    user: self.user(&tenant, &claims.preferred_username)?,
                    tenant,
                    name: claims.preferred_username,
                    user_id: claims.user_id,
                    expires_at: Some(claims.exp),
                })
            }
        }
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
