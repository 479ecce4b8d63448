//! Requests with an `Idempotency-Key`, which may come again: each opens one session, however often it is
//! made.

use std::time::Duration;

use super::{IssueTokens, TokenRequest};
use crate::memory::Bounded;
use crate::minting::Subject;
use crate::model::{IdempotencyKey, Timestamp};
use crate::ports::{Holder, Reserved};
use crate::sessions::FoundSession;
use crate::sign_in::{Admitted, ProvenSignIn};
use crate::{AuthError, IssuedTokens, RegisteredProvider, Sessions, TokenHash};

/// How long after its answer a request with an idempotency key may be repeated.
pub(super) const REPEATABLE_FOR: Duration = Duration::from_mins(1);
/// How long at most a request holds its idempotency key before it is answered: about as long as the
/// provider may take. A repeat waits so long for a process that was killed. A sign-in that takes longer
/// loses nothing but the promise that its provider is asked once.
const HELD_FOR: Duration = Duration::from_secs(20);

/// How many sign-ins are kept that could not be stored.
const PROVEN_MEMORY: usize = 1_000;

/// What this process knows of requests that may come again.
pub(super) struct Repeats {
    /// Sign-ins that a provider vouched for and the store could not take. A code works once, so the
    /// same request could never be answered otherwise; with an idempotency key it can. By the digest
    /// of the key, with the digest of the body.
    proven: Bounded<TokenHash, (TokenHash, ProvenSignIn)>,
    /// This process, as a holder of idempotency keys.
    holder: Holder,
}

impl Repeats {
    pub(super) fn new(holder: Holder) -> Self {
        Self { proven: Bounded::new(PROVEN_MEMORY, REPEATABLE_FOR), holder }
    }
}

impl IssueTokens {
    /// Opens a session for a request with this key, or answers as it was answered before.
    pub(super) async fn issue_once(
        &self,
        provider: &RegisteredProvider,
        request: &TokenRequest,
        admitted: &Admitted<'_>,
        asked: IdempotencyKey,
    ) -> Result<IssuedTokens, AuthError> {
        if let Some(repeated) = self.reserve(request, asked).await? {
            return Ok(repeated);
        }
        let stored = match self.prove(admitted, asked).await {
            Ok(proven) => {
                let stored = self.store(provider, request, &proven).await;
                if let Err(AuthError::Store(_) | AuthError::RolesUnavailable(_)) = stored {
                    // The key stays reserved: here alone the request can still be answered.
                    let kept = (asked.body, proven);
                    self.repeats.proven.insert(asked.key, kept, self.ports.clock.monotonic());
                    return stored;
                }
                stored
            }
            Err(refusal) => Err(refusal),
        };
        if stored.is_err() {
            // Where that fails, the key is free when its lease ends.
            let _ = self.ports.sessions.idempotency.release(asked.key, &self.repeats.holder).await;
        }
        stored
    }

    /// Reserves the key of a request before its provider is asked. Returns the session that this very
    /// request has opened before.
    ///
    /// # Errors
    /// [`AuthError::SignInUnderWay`] while another replica is at it, and what [`Self::repeat`] returns.
    async fn reserve(
        &self,
        request: &TokenRequest,
        asked: IdempotencyKey,
    ) -> Result<Option<IssuedTokens>, AuthError> {
        let now = Timestamp::from(self.ports.clock.now());
        let Sessions { idempotency, .. } = &self.ports.sessions;
        match idempotency.reserve(&asked, &self.repeats.holder, HELD_FOR, now).await? {
            Reserved::Own => Ok(None),
            Reserved::ByAnother(Some(body)) if body != asked.body => {
                Err(AuthError::IdempotencyKeyReused)
            }
            Reserved::ByAnother(_) => Err(AuthError::SignInUnderWay),
            Reserved::Opened(before, session) => {
                let found = self.ports.sessions.find(session).await?;
                let Some(found) = found else { return Ok(None) };
                self.open_again(request, asked, before, found, now).map(Some)
            }
        }
    }

    /// Authenticates the sign-in at the provider, unless an earlier request with the same key has.
    async fn prove(
        &self,
        admitted: &Admitted<'_>,
        asked: IdempotencyKey,
    ) -> Result<ProvenSignIn, AuthError> {
        let now = self.ports.clock.monotonic();
        match self.repeats.proven.remove_if(&asked.key, now, |(body, _)| *body == asked.body) {
            Some((_, proven)) => Ok(proven),
            None => self.ports.sign_in.prove(admitted).await,
        }
    }

    /// The session that this very request has opened before, if it can be asked for again.
    pub(super) async fn repeat(
        &self,
        request: &TokenRequest,
    ) -> Result<Option<IssuedTokens>, AuthError> {
        let Some(asked) = request.idempotency else { return Ok(None) };
        let now = Timestamp::from(self.ports.clock.now());
        let opened = self.ports.sessions.find_opening(asked.key, now).await?;
        let Some((before, found)) = opened else { return Ok(None) };
        self.open_again(request, asked, before, found, now).map(Some)
    }

    /// The tokens of a session that a request with the same key has opened, if it is the same request.
    fn open_again(
        &self,
        request: &TokenRequest,
        asked: IdempotencyKey,
        before: IdempotencyKey,
        found: FoundSession,
        now: Timestamp,
    ) -> Result<IssuedTokens, AuthError> {
        if before.body != asked.body {
            return Err(AuthError::IdempotencyKeyReused);
        }
        found.require_usable()?;
        let session = found.session;
        if session.refresh.generation != 0 {
            let text = "its session has been refreshed since, so its answer has arrived";
            return Err(AuthError::InvalidAuthCode(text.into()));
        }
        let refresh = self.mint.refresh_again(session.user, session.id, &session.refresh)?;
        let expires_at = session.refresh.expires_at;
        let subject = Subject::of(&session);
        self.mint.deliver(subject, refresh, expires_at, request.delivery, now)
    }
}
