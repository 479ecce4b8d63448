//! State that outlives a code: refresh tokens, disabled accounts, first logins, used assertions.

use std::collections::{HashMap, HashSet};

use crate::SignIn;
use crate::ambient::random_text;
use crate::dialect::Reuse;

/// The grant that a refresh token represents.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub sign_in: SignIn,
    pub auth_time: i64,
    /// The code that the grant began with.
    pub code: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrantRefusal {
    Unknown,
    Disabled,
}

#[derive(Debug, Default)]
pub(crate) struct Grants {
    refresh_tokens: HashMap<String, Grant>,
    disabled: HashSet<String>,
    known: HashSet<(String, String)>,
    assertions: HashMap<String, i64>,
}

impl Grants {
    pub(crate) fn issue(&mut self, grant: Grant) -> String {
        let token = random_text::<32>();
        self.refresh_tokens.insert(token.clone(), grant);
        token
    }

    /// The grant of a refresh token, and the new refresh token if the dialect issues one.
    pub(crate) fn redeem(
        &mut self,
        token: &str,
        client_id: &str,
        reuse: Reuse,
    ) -> Result<(Grant, Option<String>), GrantRefusal> {
        let grant = self
            .refresh_tokens
            .get(token)
            .filter(|grant| grant.sign_in.client_id == client_id)
            .cloned()
            .ok_or(GrantRefusal::Unknown)?;
        if self.is_disabled(&grant.sign_in.user) {
            return Err(GrantRefusal::Disabled);
        }
        if reuse == Reuse::Rotate {
            self.refresh_tokens.remove(token);
        }
        let successor = (reuse != Reuse::Keep).then(|| self.issue(grant.clone()));
        Ok((grant, successor))
    }

    /// Revokes the refresh tokens issued for a code.
    pub(crate) fn revoke_code(&mut self, code: &str) {
        self.refresh_tokens.retain(|_, grant| grant.code != code);
    }

    /// Revokes the refresh tokens of a user.
    pub(crate) fn revoke_user(&mut self, user: &str) {
        self.refresh_tokens.retain(|_, grant| grant.sign_in.user != user);
    }

    pub(crate) fn set_disabled(&mut self, user: &str, disabled: bool) {
        if disabled {
            self.disabled.insert(user.into());
        } else {
            self.disabled.remove(user);
        }
    }

    pub(crate) fn is_disabled(&self, user: &str) -> bool {
        self.disabled.contains(user)
    }

    /// Whether this is the first login of a user at a client; records the login.
    pub(crate) fn is_first_login(&mut self, user: &str, client_id: &str) -> bool {
        self.known.insert((user.into(), client_id.into()))
    }

    /// Records the `jti` of an assertion; false if it was used before (RFC 7523 §3, item 7).
    pub(crate) fn use_assertion(&mut self, jti: &str, expires_at: i64, now: i64) -> bool {
        self.assertions.retain(|_, expiry| *expiry > now);
        self.assertions.insert(jti.into(), expires_at).is_none()
    }
}
