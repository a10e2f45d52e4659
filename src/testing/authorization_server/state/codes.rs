//! Authorization codes. Each is good for one grant of the client that asked for it (RFC 6749 section 4.1.3, RFC 7636 section 4.6).

use std::mem::replace;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::{Client, Decision, Refusal, Scope, State, Timestamp};

/// What a code is good for.
#[derive(Clone)]
pub(in crate::testing::authorization_server) struct Terms {
    pub(in crate::testing::authorization_server) client_id: String,
    /// As the request has it, which the grant has to repeat.
    pub(in crate::testing::authorization_server) redirect_uri: String,
    /// The digest of the verifier.
    pub(in crate::testing::authorization_server) challenge: String,
    /// The scope of the pair.
    pub(in crate::testing::authorization_server) scope: Option<Scope>,
}

/// What a client presents for a pair.
pub(in crate::testing::authorization_server) struct CodeGrant {
    pub(in crate::testing::authorization_server) code: String,
    pub(in crate::testing::authorization_server) redirect_uri: String,
    pub(in crate::testing::authorization_server) verifier: String,
}

/// A code that was issued. It is kept after its use, because a second use ends the session of the first one.
pub(super) struct Code {
    terms: Terms,
    expires_at: Timestamp,
    is_used: bool,
    /// The family that the code began.
    family: Option<usize>,
}

impl State {
    pub(in crate::testing::authorization_server) fn issue_code(
        &mut self,
        terms: Terms,
        now: Timestamp,
    ) -> String {
        let code = self.mint("code");
        let issued = Code {
            terms,
            expires_at: now + self.rules.code_ttl,
            is_used: false,
            family: None,
        };
        self.codes.insert(code.clone(), issued);
        code
    }

    /// Exchanges a code for the first pair of a new family. A grant that fails uses the code up, and a second use ends the family
    /// that the first one began (RFC 6749 section 4.1.2).
    pub(in crate::testing::authorization_server) fn redeem(
        &mut self,
        grant: &CodeGrant,
        client: Option<&Client>,
        now: Timestamp,
    ) -> Decision {
        self.authenticate(client)?;
        let code = self.codes.get_mut(&grant.code);
        let code = code.ok_or(Refusal::InvalidGrant)?;
        let was_used = replace(&mut code.is_used, true);
        if !was_used && now < code.expires_at && code.terms.are_met(grant, client) {
            code.family = Some(self.families.len());
            let scope = code.terms.scope.clone();
            return Ok(self.begin(scope, now));
        }
        if let Some(family) = code.family {
            self.revoke_family(family);
        }
        Err(Refusal::InvalidGrant)
    }
}

impl Terms {
    /// A server that serves all clients serves those without a name too.
    fn are_met(&self, grant: &CodeGrant, client: Option<&Client>) -> bool {
        let digest = Sha256::digest(&grant.verifier);
        client.is_none_or(|client| client.id == self.client_id)
            && grant.redirect_uri == self.redirect_uri
            && is_verifier(&grant.verifier)
            && BASE64_URL_SAFE_NO_PAD.encode(digest) == self.challenge
    }
}

/// Whether a verifier has the form that RFC 7636 section 4.1 requires.
fn is_verifier(text: &str) -> bool {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&text.len()) && text.bytes().all(is_unreserved)
}
