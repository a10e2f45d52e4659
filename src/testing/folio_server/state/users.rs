//! Who there is, and how they prove who they are.

use super::super::builder::System;
use super::{Code, Pair, Refused, State, User};

impl State {
    /// Whether this tenant's tokens have no expiry.
    pub(in super::super) fn is_legacy(&self, tenant: &str) -> bool {
        self.rules.system == System::Okapi && self.rules.legacy.include(tenant)
    }

    pub(in super::super) fn has_tenant(&self, tenant: &str) -> bool {
        self.users.iter().any(|user| user.account.tenant == tenant)
    }

    pub(in super::super) fn user(&self, tenant: &str, name: &str) -> Option<usize> {
        let is_asked = |user: &User| user.account.tenant == tenant && user.account.name == name;
        self.users.iter().position(is_asked)
    }

    /// A user's id and name.
    pub(in super::super) fn who(&self, user: usize) -> (String, String) {
        let user = &self.users[user];
        (user.id.clone(), user.account.name.clone())
    }

    /// Whether this user has this password; `name` may be the user's id as well.
    pub(in super::super) fn authenticate(
        &self,
        tenant: &str,
        name: &str,
        password: &str,
    ) -> Result<usize, Refused> {
        let is_asked = |user: &User| {
            user.account.tenant == tenant && (user.account.name == name || user.id == name)
        };
        let user = self.users.iter().position(is_asked).ok_or(Refused)?;
        if self.users[user].active && self.users[user].account.password == password {
            Ok(user)
        } else {
            Err(Refused)
        }
    }

    pub(in super::super) fn set_active(&mut self, user: usize, active: bool) {
        self.users[user].active = active;
    }

    /// A code that [`exchange_code`](Self::exchange_code) takes once.
    pub(in super::super) fn new_code(&mut self, user: usize, redirect_uri: &str) -> String {
        self.minted += 1;
        let code = self.signer.uuid(&format!("code {}", self.minted));
        let redirect_uri = redirect_uri.to_owned();
        self.codes.insert(code.clone(), Code { user, redirect_uri });
        code
    }

    pub(in super::super) fn exchange_code(
        &mut self,
        tenant: &str,
        code: &str,
        redirect_uri: &str,
        now: u64,
    ) -> Result<Pair, Refused> {
        let code = self.codes.remove(code).ok_or(Refused)?;
        let user = &self.users[code.user];
        if user.account.tenant != tenant || !user.active || code.redirect_uri != redirect_uri {
            return Err(Refused);
        }
        Ok(self.issue(code.user, now))
    }
}
