//! What the server of a mock and its [`crate::Control`] share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};

use crate::ambient::{now_secs, random_text};
use crate::dialect::{Subject, Traits};
use crate::keys::KeyRing;
use crate::state::State;
use crate::{IdTokenRecipe, MockConfig, MockUser, SignIn, id_token};

/// The configuration and state of a mock.
#[derive(Debug)]
pub(crate) struct Shared {
    pub config: MockConfig,
    pub issuer: String,
    /// Scheme, host and port of the issuer.
    pub origin: String,
    state: Mutex<State>,
}

impl Shared {
    /// Generates the first key, which takes a while for RSA.
    pub(crate) fn new(config: MockConfig, issuer: String, origin: String) -> Self {
        let keys = KeyRing::new(config.id_token_alg);
        Self { config, issuer, origin, state: Mutex::new(State::new(keys)) }
    }

    /// Locks the state; the lock must not be held over an await.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the dialect differs from plain OpenID Connect.
    pub(crate) fn traits(&self) -> &'static Traits {
        self.config.dialect.traits()
    }

    pub(crate) fn issue_code(&self, mut sign_in: SignIn) -> String {
        if self.traits().backchannel_logout && sign_in.sid.is_none() {
            sign_in.sid = Some(random_text::<16>());
        }
        self.state().issue_code(sign_in, now_secs())
    }

    pub(crate) fn subject<'a>(&'a self, user: &'a MockUser, sign_in: &'a SignIn) -> Subject<'a> {
        Subject { shared: self, user, sign_in }
    }

    /// The secret of a client; empty if it has none.
    pub(crate) fn secret_of(&self, client_id: &str) -> &str {
        self.config
            .client(client_id)
            .and_then(|client| client.secret.as_deref())
            .unwrap_or_default()
    }

    /// Makes an ID token or a logout token with the habits that are set.
    pub(crate) fn sign(
        &self,
        mut claims: Map<String, Value>,
        recipe: &IdTokenRecipe,
        keys: &KeyRing,
        client_id: &str,
    ) -> String {
        self.state().habits().claims(&mut claims);
        self.sign_as_it_is(claims, recipe, keys, client_id)
    }

    /// Makes a token of other claims, with the header's habits alone.
    pub(crate) fn sign_as_it_is(
        &self,
        claims: Map<String, Value>,
        recipe: &IdTokenRecipe,
        keys: &KeyRing,
        client_id: &str,
    ) -> String {
        let state = self.state();
        id_token::make(claims, recipe, keys, (self.secret_of(client_id), state.habits()))
    }

    /// The URL of an endpoint; `tenant` replaces `{tenant}` in the path.
    pub(crate) fn url(&self, path: &str, tenant: &str) -> String {
        match path.strip_prefix('~') {
            Some(path) => format!("{}{path}", self.issuer.trim_end_matches('/')),
            None => format!("{}{}", self.origin, path.replace("{tenant}", tenant)),
        }
    }

    /// The tenant of the issuer; only Entra's issuers have one.
    pub(crate) fn home_tenant(&self) -> &str {
        let path = self.issuer.strip_prefix(&self.origin).unwrap_or_default();
        path.split('/').nth(1).unwrap_or_default()
    }

    /// Whether authorization responses carry `iss` (RFC 9207).
    pub(crate) fn names_itself(&self) -> bool {
        self.config.iss_parameter.unwrap_or(self.traits().iss_parameter)
    }
}
