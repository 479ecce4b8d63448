//! Providers asked again at refreshes: may those who signed in there still do so?

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Role, Session, Timestamp};
use crate::ports::UpstreamDue;
use crate::renewals::{Answered, Question, Renewals};
use crate::{AuthError, RolePolicy, SignIn};

/// How long a refresh waits for a provider. After that the refresh goes on with what is known, and the
/// question goes on without it.
const PATIENCE: Duration = Duration::from_millis(750);

/// Asks providers again, with the refresh tokens they gave at the sign-in.
pub struct Recheck {
    sign_in: Arc<SignIn>,
    renewals: Arc<Renewals>,
}

/// The result of asking a provider again.
pub(crate) enum Rechecked {
    /// The session's provider is not to be asked again.
    NotWanted,
    /// Nothing has changed: the question is not due, or another request asks it, or the provider
    /// cannot be asked now or is slow, which signs nobody out.
    AsBefore,
    /// The provider sent claims again; these roles follow from them.
    Claimed(Vec<Role>),
    /// The provider refused the user, and the session has ended.
    Refused,
    /// Something is down or broken on our side.
    Failed(AuthError),
}

impl Recheck {
    /// Makes the use case that asks the providers of `sign_in` again.
    pub fn new(sign_in: Arc<SignIn>, renewals: Arc<Renewals>) -> Self {
        Self { sign_in, renewals }
    }

    /// Asks about a live session, if that is due. Waits for the provider for less than a second.
    pub(crate) async fn ask(
        &self,
        session: &Session,
        policy: &RolePolicy,
        now: Timestamp,
    ) -> Rechecked {
        let Some(provider) = self.sign_in.providers().find(session.provider.as_str()) else {
            return Rechecked::NotWanted;
        };
        let Some(rule) = provider.policy.recheck else { return Rechecked::NotWanted };
        let question = Question {
            provider: provider.clone(),
            session: session.clone(),
            roles: policy.clone(),
            due: UpstreamDue::Recheck(now - rule.every),
            now,
            lease: rule.lease,
            patience: PATIENCE,
        };
        match self.renewals.ask(question).await {
            Answered::Renewed { claimed_roles: Some(roles), .. }
            | Answered::StoredLate(Some(roles)) => Rechecked::Claimed(roles),
            Answered::NotAsked
            | Answered::Slowly
            | Answered::Unconfirmed(_)
            | Answered::Renewed { claimed_roles: None, .. }
            | Answered::StoredLate(None) => Rechecked::AsBefore,
            Answered::Refused => Rechecked::Refused,
            Answered::Failed(error) => Rechecked::Failed(error),
        }
    }
}
