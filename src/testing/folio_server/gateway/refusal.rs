//! Why somebody is not let in, and what he is told.

use bytes::Bytes;
use http::{Method, Response};

use super::super::answer::{eureka_error, text};
use super::super::builder::System;
use super::super::state::{Bearer, State};

/// Why a request is not let in.
pub(in super::super) enum Refusal {
    /// It cannot be made out what it asks for.
    Bad(String),
    TokenMissing,
    InvalidToken,
    WrongTenant,
    Inactive(Bearer),
    PermissionMissing(Bearer),
}

impl State {
    /// Counts a refusal, and says it.
    pub(in super::super) fn refuse(
        &mut self,
        refusal: &Refusal,
        method: &Method,
        path: &str,
    ) -> Response<Bytes> {
        let response = match self.rules.system {
            System::Okapi => okapis(refusal, method, path),
            System::Eureka => eurekas(refusal),
        };
        let counters = &mut self.counters;
        match (response.status().as_u16(), refusal) {
            (401, _) => counters.unauthorized += 1,
            (403, _) => counters.forbidden += 1,
            (_, Refusal::TokenMissing) => counters.token_missing += 1,
            _ => {}
        }
        response
    }
}

fn okapis(refusal: &Refusal, method: &Method, path: &str) -> Response<Bytes> {
    let permission = || permission(method, path);
    match refusal {
        Refusal::Bad(message) => text(400, message.clone()),
        Refusal::TokenMissing => {
            let permission = permission();
            let message = format!("Token missing, access requires permission: {permission}");
            text(400, message)
        }
        Refusal::InvalidToken => text(401, "Invalid token"),
        Refusal::WrongTenant => text(403, "Invalid token"),
        Refusal::Inactive(Bearer { user_id, .. }) => {
            let message = format!("Invalid token: user with id {user_id} is not active");
            text(401, message)
        }
        Refusal::PermissionMissing(Bearer { name, user_id, .. }) => {
            let permission = permission();
            let message =
                format!("Access for user '{name}' ({user_id}) requires permission: {permission}");
            text(403, message)
        }
    }
}

fn eurekas(refusal: &Refusal) -> Response<Bytes> {
    let code = "authorization_error";
    let unauthorized = |message| eureka_error(401, message, "UnauthorizedException", code);
    match refusal {
        Refusal::Bad(message) => eureka_error(400, message, "BadRequestException", "service_error"),
        Refusal::TokenMissing | Refusal::InvalidToken | Refusal::Inactive(_) => {
            unauthorized("Unauthorized")
        }
        Refusal::WrongTenant => {
            unauthorized("X-Okapi-Tenant header is not the same as resolved tenant")
        }
        Refusal::PermissionMissing(_) => {
            eureka_error(403, "Access Denied", "ForbiddenException", code)
        }
    }
}

/// A name in the manner of FOLIO's: `source-storage.records.post`.
fn permission(method: &Method, path: &str) -> String {
    let path = path.trim_matches('/').replace('/', ".");
    format!("{path}.{}", method.as_str().to_lowercase())
}
