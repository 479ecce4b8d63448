//! The use case: an app's back end asks for the provider's own access token of a session.

use std::sync::Arc;
use std::time::Duration;

use crate::clients::Client;
use crate::model::{KeptAccess, ProviderId, Session, SessionId, Timestamp, UserId};
use crate::ports::{
    Background, Clock, Metrics, Misbehaviour, ProviderAccess, ProviderError, ProviderTokenResult,
    UpstreamDue,
};
use crate::renewals::{Answered, Question, Renewals};
use crate::{
    AccessRule, AuthError, ProviderAccessToken, RegisteredProvider, RolePolicy, Sessions, SignIn,
};

/// How long a request waits for another one that is asking the provider, in all.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long it waits while the token it has is still good.
const SHORTEST_WAIT: Duration = Duration::from_secs(2);
/// The first pause before it looks again; each later one is twice as long, up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_millis(800);
/// How often the provider is asked for one request at most.
const ATTEMPTS: usize = 3;

/// The use case of an app's back end that calls the provider's own APIs for the people who signed in there.
///
/// The provider's access token is kept with the session and renewed when it is about to expire, so that
/// nobody has to keep it elsewhere: an app that refreshed by itself, from two requests at once, would have
/// the provider take the refresh token for stolen.
pub struct AppAccess {
    /// The stores of sessions and of their users.
    pub sessions: Sessions,
    /// The configured providers.
    pub sign_in: Arc<SignIn>,
    /// Asks providers again; `None` if the access tokens of no provider are kept.
    pub renewals: Option<Arc<Renewals>>,
    /// The role rules, because a provider that is asked may send claims.
    pub roles: RolePolicy,
    /// Waits while another request asks the provider.
    pub background: Arc<dyn Background>,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// The counters of events.
    pub metrics: Arc<dyn Metrics>,
}

/// The provider's access token of a session, for the app.
#[derive(Debug)]
pub struct AppToken {
    /// The user whose session it is.
    pub user: UserId,
    /// The provider that issued the token.
    pub provider: ProviderId,
    /// The access token.
    pub token: ProviderAccessToken,
    /// The scopes of the token, as the provider wrote them, if it did.
    pub scope: Option<String>,
    /// When the token expires, if the provider says so.
    pub expires_at: Option<Timestamp>,
    /// How long the token is still good; `None` if the provider does not say.
    pub expires_in: Option<Duration>,
}

/// A session that a client may ask about, with its provider.
struct Asked<'a> {
    renewals: &'a Renewals,
    provider: &'a RegisteredProvider,
    rule: AccessRule,
    session: Session,
}

impl AppAccess {
    /// The provider's access token of a session, renewed where it is about to expire.
    ///
    /// # Errors
    /// [`AuthError::NoSuchSession`] if there is no live session of this id whose provider the client may
    /// ask about, which is not told apart; [`AuthError::NoProviderToken`] if the session has no token that
    /// is still good and cannot get one; [`AuthError::Provider`] if the provider could not be asked.
    pub async fn access_token(
        &self,
        client: &Client,
        session: SessionId,
    ) -> Result<AppToken, AuthError> {
        let found = self.find(client, session).await;
        let provider = found.as_ref().ok().map(|asked| asked.provider.policy.id.clone());
        let answered = match found {
            Ok(asked) => self.current(&asked).await,
            Err(error) => Err(error),
        };
        let result = match &answered {
            Ok((_, result)) => *result,
            Err(AuthError::NoSuchSession) => ProviderTokenResult::Unknown,
            Err(AuthError::NoProviderToken) => ProviderTokenResult::Unusable,
            Err(_) => ProviderTokenResult::Failed,
        };
        self.metrics.provider_token(provider.as_ref(), result);
        answered.map(|(token, _)| token)
    }

    async fn find(&self, client: &Client, id: SessionId) -> Result<Asked<'_>, AuthError> {
        let found = self.sessions.find(id).await?.ok_or(AuthError::NoSuchSession)?;
        let session = found.session.clone();
        let is_live = found.require_usable().is_ok() && session.is_live(self.now());
        let is_allowed = client.provider_tokens.contains(&session.provider);
        let provider = self.sign_in.providers().find(session.provider.as_str());
        let provider = provider.filter(|_| is_live && is_allowed);
        let rule = provider.and_then(|provider| provider.policy.access);
        match (provider, rule, self.renewals.as_deref()) {
            (Some(provider), Some(rule), Some(renewals)) => {
                Ok(Asked { renewals, provider, rule, session })
            }
            _ => Err(AuthError::NoSuchSession),
        }
    }

    /// The token that is kept, or a new one.
    async fn current(
        &self,
        asked: &Asked<'_>,
    ) -> Result<(AppToken, ProviderTokenResult), AuthError> {
        let kept_tokens = asked.renewals.kept();
        let (mut waited, mut pause, mut questions) = (Duration::ZERO, FIRST_PAUSE, 0);
        loop {
            let now = self.now();
            let tokens = kept_tokens.repo.load_upstream(asked.session.id).await?;
            let kept = tokens.access.as_ref();
            let result = if questions == 0 && waited.is_zero() {
                ProviderTokenResult::Kept
            } else {
                ProviderTokenResult::Renewed
            };
            if let Some(kept) = kept.filter(|kept| !kept.is_due(now)) {
                return Ok((Self::opened(asked, kept, now)?, result));
            }
            let still_good = kept.filter(|kept| !kept.has_expired(now));
            let instead = |error: AuthError| match still_good {
                Some(kept) => Ok((Self::opened(asked, kept, now)?, ProviderTokenResult::Kept)),
                None => Err(error),
            };
            if tokens.refresh.is_none() {
                return instead(AuthError::NoProviderToken);
            }
            if questions == ATTEMPTS {
                return instead(gave_none());
            }
            let question = Question {
                provider: asked.provider.clone(),
                session: asked.session.clone(),
                roles: self.roles.clone(),
                due: UpstreamDue::Access(now),
                now,
                lease: asked.rule.lease,
                patience: asked.rule.lease,
            };
            match asked.renewals.ask(question).await {
                Answered::Renewed { access: Some(access), .. } => {
                    let token = Self::answer(asked, access, now, self.now());
                    return Ok((token, ProviderTokenResult::Renewed));
                }
                Answered::Renewed { access: None, .. } => return instead(gave_none()),
                Answered::StoredLate(_) => questions += 1,
                Answered::Refused => return Err(AuthError::NoProviderToken),
                Answered::Unconfirmed(error) => return instead(error.into()),
                Answered::Failed(error) => return Err(error),
                Answered::NotAsked | Answered::Slowly => {
                    let most = if still_good.is_some() { SHORTEST_WAIT } else { LONGEST_WAIT };
                    if waited >= most {
                        let cause =
                            "another request is asking it, or it could not be asked just now";
                        return instead(ProviderError::Unreachable(cause.into()).into());
                    }
                    self.background.pause(pause).await;
                    waited += pause;
                    pause = LAST_PAUSE.min(pause * 2);
                }
            }
        }
    }

    fn opened(asked: &Asked<'_>, kept: &KeptAccess, now: Timestamp) -> Result<AppToken, AuthError> {
        let token = asked.renewals.kept().open_access(asked.session.id, &kept.sealed)?;
        Ok(AppToken {
            user: asked.session.user,
            provider: asked.session.provider.clone(),
            token,
            scope: kept.scope.clone(),
            expires_at: kept.expires_at,
            expires_in: kept.expires_at.map(|at| until(now, at)),
        })
    }

    /// A token that was asked for at `at`.
    fn answer(
        asked: &Asked<'_>,
        access: ProviderAccess,
        at: Timestamp,
        now: Timestamp,
    ) -> AppToken {
        let expires_at = access.expires_in.map(|life| at + life);
        AppToken {
            user: asked.session.user,
            provider: asked.session.provider.clone(),
            token: access.token,
            scope: access.scope,
            expires_at,
            expires_in: expires_at.map(|at| until(now, at)),
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now().into()
    }
}

fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::from_secs(at.as_unix().saturating_sub(now.as_unix()).try_into().unwrap_or(0))
}

fn gave_none() -> AuthError {
    let cause = "it renewed the session's tokens, and its answer has no access token";
    ProviderError::Misbehaved(Misbehaviour::BadAnswer, cause.into()).into()
}
