//! Providers asked again: may those who signed in there still do so?

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Role, Session, Timestamp};
use crate::ports::{ProviderError, TokenSeal, UpstreamRenewal, UpstreamTokenRepo};
use crate::{AuthError, RolePolicy, SignIn};

/// For how long one caller alone may ask about a session. Longer than any call takes; also how long
/// it takes until a provider that could not be asked is asked again about this session.
const LEASE: Duration = Duration::from_mins(1);

/// Asks providers again, with the refresh tokens they gave at the sign-in.
#[derive(Clone)]
pub struct Recheck {
    /// The providers.
    pub sign_in: Arc<SignIn>,
    /// Where their refresh tokens are kept.
    pub tokens: Arc<dyn UpstreamTokenRepo>,
    /// Who encrypts them.
    pub seal: Arc<dyn TokenSeal>,
}

/// What came of it.
pub(crate) enum Rechecked {
    /// The session's provider is not to be asked again.
    NotWanted,
    /// It is not due, or somebody else is asking, or the provider cannot be asked now: a provider
    /// that is down signs nobody out.
    AsBefore,
    /// The provider says who it is now; the roles that follow from that.
    Claimed(Vec<Role>),
    /// The provider says no.
    Refused,
    /// Something is down or broken on our side.
    Failed(AuthError),
}

impl Recheck {
    /// Asks about a live session, if that is due.
    pub(crate) async fn ask(
        &self,
        session: &Session,
        policy: &RolePolicy,
        now: Timestamp,
    ) -> Rechecked {
        let Some(provider) = self.sign_in.providers().find(session.provider.as_str()) else {
            return Rechecked::NotWanted;
        };
        let Some(every) = provider.policy.recheck else { return Rechecked::NotWanted };
        let claimed = self.tokens.claim_upstream(session.id, now - every, now, now + LEASE).await;
        let sealed = match claimed {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Rechecked::AsBefore,
            Err(error) => return Rechecked::Failed(error.into()),
        };
        let token = match self.seal.open(session.id, &sealed) {
            Ok(token) => token,
            Err(error) => return Rechecked::Failed(error.into()),
        };
        let renewal = match provider.adapter.renew(&token, &session.identity).await {
            Ok(renewal) => renewal,
            Err(ProviderError::RefreshRefused(_)) => return Rechecked::Refused,
            Err(_) => return Rechecked::AsBefore,
        };
        let claimed_roles = renewal.claims.map(|claims| policy.claimed(&session.provider, &claims));
        let token = match renewal.refresh_token.map(|token| self.seal.seal(session.id, &token)) {
            None => None,
            Some(Ok(sealed)) => Some(sealed),
            Some(Err(error)) => return Rechecked::Failed(error.into()),
        };
        let kept = UpstreamRenewal { token, claimed_roles: claimed_roles.clone(), at: now };
        match self.tokens.keep_upstream(session.id, &kept).await {
            Ok(()) => claimed_roles.map_or(Rechecked::AsBefore, Rechecked::Claimed),
            Err(error) => Rechecked::Failed(error.into()),
        }
    }
}
