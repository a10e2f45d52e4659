//! Why a grant was refused, and how that is said. It keeps no state.

use serde_json::{Value, json};

use super::super::rules::Words;

/// Why a grant was refused (RFC 6749 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Refusal {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    /// The client is known, and the refresh token is not its.
    OtherClient,
    /// More is asked for than the refresh token has.
    OtherScope,
    UnauthorizedClient,
    UnsupportedGrantType,
}

impl Refusal {
    pub(in super::super) fn code(self, words: Words) -> &'static str {
        match (words, self) {
            (Words::Light4j, Self::InvalidClient) => "ERR12007",
            (Words::Light4j, Self::OtherScope) => "ERR12027",
            (Words::Light4j, Self::OtherClient) => "ERR12028",
            (Words::Light4j, Self::InvalidGrant) => "ERR12029",
            (_, Self::InvalidRequest) => "invalid_request",
            (_, Self::InvalidClient) => "invalid_client",
            (_, Self::InvalidGrant | Self::OtherClient) => "invalid_grant",
            (_, Self::OtherScope) => "invalid_scope",
            (_, Self::UnauthorizedClient) => "unauthorized_client",
            (_, Self::UnsupportedGrantType) => "unsupported_grant_type",
        }
    }

    pub(in super::super) fn status(self, words: Words) -> u16 {
        match (words, self) {
            (Words::Light4j, Self::InvalidGrant) => 404,
            (_, Self::InvalidClient) => 401,
            _ => 400,
        }
    }

    pub(in super::super) fn body(self, words: Words) -> Value {
        let (status, code) = (self.status(words), self.code(words));
        let message = match (words, self) {
            (Words::Light4j, Self::InvalidClient) => "UNAUTHORIZED_CLIENT",
            (Words::Light4j, Self::OtherScope) => "MISMATCH_SCOPE",
            (Words::Light4j, Self::OtherClient) => "MISMATCH_CLIENT_ID",
            (Words::Light4j, Self::InvalidGrant) => "REFRESH_TOKEN_NOT_FOUND",
            _ => return json!({ "error": code }),
        };
        json!({ "statusCode": status, "code": code, "message": message, "severity": "ERROR" })
    }

    /// Whether it says that the refresh token is dead.
    pub(in super::super) fn is_verdict(self, words: Words) -> bool {
        match self {
            Self::InvalidGrant => true,
            Self::OtherClient => words == Words::Rfc6749,
            _ => false,
        }
    }
}
