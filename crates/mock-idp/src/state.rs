//! The state of a mock: keys, issued codes and tokens, faults and counts.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::ambient::random_text;
use crate::faults::{FaultKind, take_due};
use crate::grants::Grants;
use crate::habits::Habits;
use crate::keys::KeyRing;
use crate::{Faults, SignIn};

/// How long an authorization code is valid.
const CODE_LIFE_SECS: i64 = 60;
/// How long an access token is valid.
pub(crate) const ACCESS_LIFE_SECS: i64 = 300;
/// After how many new codes the expired ones are removed.
const SWEEP_EVERY: u64 = 1024;

/// Counts of requests, codes and tokens since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Requests to the discovery endpoint. As for every endpoint, faulty answers count too.
    pub discovery: u64,
    /// Requests to the JWKS endpoint.
    pub jwks: u64,
    /// Requests to the authorization endpoint.
    pub authorize: u64,
    /// Requests to the token endpoint.
    pub token: u64,
    /// Requests to the userinfo endpoint.
    pub userinfo: u64,
    /// Codes that were issued.
    pub codes: u64,
    /// Codes that were exchanged for tokens.
    pub exchanges: u64,
    /// Codes refused for any reason, second uses included.
    pub refused_codes: u64,
    /// Codes that were presented a second time.
    pub second_uses: u64,
    /// Bytes that were sent for [`FaultKind::Huge`].
    pub huge_bytes: u64,
    /// Bodies of [`FaultKind::Huge`] that are over, read or given up by their reader.
    #[serde(default)]
    pub huge_bodies_ended: u64,
    /// Requests to GitHub's endpoint for email addresses.
    #[serde(default)]
    pub emails: u64,
    /// Requests to Microsoft Graph.
    #[serde(default)]
    pub graph: u64,
    /// Refresh tokens that were exchanged for tokens.
    #[serde(default)]
    pub refreshes: u64,
}

/// An endpoint that can be made to fail.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Endpoint {
    Discovery,
    Jwks,
    Token,
    Userinfo,
    Emails,
    Graph,
}

/// Why a code is refused; the text is `error_description`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodeRefusal {
    Unknown,
    Expired,
    Used,
    OtherClient,
}

#[derive(Debug)]
struct IssuedCode {
    sign_in: SignIn,
    auth_time: i64,
    expires_at: i64,
    used: bool,
}

#[derive(Debug)]
struct IssuedAccess {
    sign_in: SignIn,
    code: String,
    expires_at: i64,
}

/// The sign-in of a code that was accepted.
#[derive(Debug)]
pub(crate) struct Redeemed {
    pub sign_in: SignIn,
    pub auth_time: i64,
}

#[derive(Debug)]
pub(crate) struct State {
    pub keys: KeyRing,
    pub faults: Faults,
    pub stats: Stats,
    pub grants: Grants,
    codes: HashMap<String, IssuedCode>,
    access_tokens: HashMap<String, IssuedAccess>,
}

impl State {
    pub(crate) fn new(keys: KeyRing) -> Self {
        Self {
            keys,
            faults: Faults::default(),
            stats: Stats::default(),
            grants: Grants::default(),
            codes: HashMap::new(),
            access_tokens: HashMap::new(),
        }
    }

    /// The habits that are set.
    pub(crate) fn habits(&self) -> Habits<'_> {
        Habits(&self.faults.habits)
    }

    /// Counts a request, and returns the fault that it meets.
    pub(crate) fn begin(&mut self, endpoint: Endpoint) -> Option<FaultKind> {
        let (count, fault) = match endpoint {
            Endpoint::Discovery => (&mut self.stats.discovery, &mut self.faults.discovery),
            Endpoint::Jwks => (&mut self.stats.jwks, &mut self.faults.jwks),
            Endpoint::Token => (&mut self.stats.token, &mut self.faults.token),
            Endpoint::Userinfo => (&mut self.stats.userinfo, &mut self.faults.userinfo),
            Endpoint::Emails => (&mut self.stats.emails, &mut self.faults.emails),
            Endpoint::Graph => (&mut self.stats.graph, &mut self.faults.graph),
        };
        *count += 1;
        take_due(fault)
    }

    pub(crate) fn issue_code(&mut self, sign_in: SignIn, now: i64) -> String {
        let code = random_text::<32>();
        self.stats.codes += 1;
        if self.stats.codes.is_multiple_of(SWEEP_EVERY) {
            // A used code is kept for twice its lifetime, to detect its second use.
            self.codes.retain(|_, issued| issued.expires_at + CODE_LIFE_SECS > now);
            self.access_tokens.retain(|_, issued| issued.expires_at > now);
        }
        let issued =
            IssuedCode { sign_in, auth_time: now, expires_at: now + CODE_LIFE_SECS, used: false };
        self.codes.insert(code.clone(), issued);
        code
    }

    /// Redeems a code, once. A code that another client presents stays valid for its own client.
    pub(crate) fn redeem(
        &mut self,
        code: &str,
        client_id: &str,
        now: i64,
    ) -> Result<Redeemed, CodeRefusal> {
        let Some(issued) = self.codes.get_mut(code) else { return Err(CodeRefusal::Unknown) };
        if issued.used {
            // RFC 6749 §4.1.2: the tokens issued for the code are revoked.
            self.access_tokens.retain(|_, access| access.code != code);
            self.grants.revoke_code(code);
            self.stats.second_uses += 1;
            return Err(CodeRefusal::Used);
        }
        if issued.expires_at <= now {
            return Err(CodeRefusal::Expired);
        }
        if issued.sign_in.client_id != client_id {
            return Err(CodeRefusal::OtherClient);
        }
        issued.used = true;
        Ok(Redeemed { sign_in: issued.sign_in.clone(), auth_time: issued.auth_time })
    }

    pub(crate) fn issue_access_token(
        &mut self,
        token: &str,
        sign_in: &SignIn,
        code: &str,
        now: i64,
    ) {
        let access = IssuedAccess {
            sign_in: sign_in.clone(),
            code: code.into(),
            expires_at: now + ACCESS_LIFE_SECS,
        };
        self.access_tokens.insert(token.into(), access);
    }

    /// The sign-in that a valid access token belongs to.
    pub(crate) fn find_access(&self, access_token: &str, now: i64) -> Option<&SignIn> {
        self.access_tokens
            .get(access_token)
            .filter(|access| access.expires_at > now)
            .map(|access| &access.sign_in)
            .filter(|sign_in| !self.grants.is_disabled(&sign_in.user))
    }
}

impl CodeRefusal {
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Unknown => "no such code",
            Self::Expired => "the code has expired",
            Self::Used => "the code has been used",
            Self::OtherClient => "the code was given to another client",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IdTokenAlg;

    fn state() -> State {
        State::new(KeyRing::new(IdTokenAlg::EdDsa))
    }

    #[test]
    fn a_code_lives_for_sixty_seconds() {
        let mut state = state();
        let code = state.issue_code(SignIn::default(), 1000);
        assert_eq!(state.redeem(&code, "mintgate", 1060).err(), Some(CodeRefusal::Expired));
        assert!(state.redeem(&code, "mintgate", 1059).is_ok());
    }

    #[test]
    fn an_access_token_lives_for_five_minutes() {
        let mut state = state();
        state.issue_access_token("token", &SignIn::default(), "code", 1000);
        assert_eq!(state.find_access("token", 1299), Some(&SignIn::default()));
        assert_eq!(state.find_access("token", 1300), None);
    }

    #[test]
    fn stale_codes_are_swept_and_live_ones_kept() {
        let mut state = state();
        let old = state.issue_code(SignIn::default(), 1000);
        let live = state.issue_code(SignIn::default(), 1100);
        for _ in 2..SWEEP_EVERY {
            state.issue_code(SignIn::default(), 1120);
        }
        assert_eq!(state.redeem(&old, "mintgate", 1000).err(), Some(CodeRefusal::Unknown));
        assert!(state.redeem(&live, "mintgate", 1120).is_ok());
    }
}
