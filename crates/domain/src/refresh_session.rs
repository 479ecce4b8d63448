//! The use case: a refresh token becomes its successor, once, whoever asks how often.

mod acceptance;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::concurrent_refreshes::ConcurrentRefreshes;
use crate::minting::{Mint, Subject};
use crate::model::{
    Actor, AuditEvent, AuditKind, LostAnswer, NewerToken, PresentedRefresh, ReplayRule,
    RevokeReason, Role, Rotation, Session, Standing, Timestamp,
};
use crate::ports::{
    AuditLog, Clock, CookiePolicy, Entropy, Metrics, RefreshLimit, RefreshResult, RoleQuestion,
    SigningError, StoreError, TokenSigner, TokenVerifier, VerifiedRefresh,
};
use crate::recheck::{Recheck, Rechecked};
use crate::sessions::{FoundSession, RotateOutcome};
use crate::{
    AuthError, FieldError, FieldRule, IssuedTokens, PresentedToken, RoleDecider, Sessions,
    SignedToken, TokenDelivery, TokenHash,
};

/// How often a successor is signed again because the session turned out different than expected.
const MINT_ATTEMPTS: usize = 4;

/// The configuration of [`RefreshSession`].
#[derive(Debug, Clone)]
pub struct RefreshConfig {
    /// The life of an access token.
    pub access_ttl: Duration,
    /// The life of a refresh token: a session that is not refreshed for so long has ended.
    pub refresh_ttl: Duration,
    /// The life of a new session. A refresh only guesses the absolute limit by it; the limit that
    /// counts is stored with the session.
    pub session_ttl: Duration,
    /// How long after a refresh the previous token is answered with the same successor.
    pub grace: Duration,
    /// How many replays of the previous token are answered within `grace`.
    pub grace_replays: u16,
    /// The rule for a replay after `grace`, or beyond `grace_replays`.
    pub lost_answer: LostAnswer,
    /// The rule for a token that is newer than its session.
    pub newer_token: NewerToken,
    /// Whether tokens may be delivered in the body.
    pub body_delivery: bool,
    /// Whether the roles are determined again at each refresh.
    pub decides_roles: bool,
}

/// The ports and parts that [`RefreshSession`] uses.
#[derive(Clone)]
pub struct RefreshPorts {
    /// The stores of sessions and of their users.
    pub sessions: Sessions,
    /// Decides the roles again, if the configuration wants that.
    pub roles: RoleDecider,
    /// Asks providers again about the people who signed in there; `None` if no provider is asked
    /// again.
    pub recheck: Option<Arc<Recheck>>,
    /// Verifies refresh tokens of ours.
    pub verifier: Arc<dyn TokenVerifier>,
    /// The signer of access and refresh tokens.
    pub signer: Arc<dyn TokenSigner>,
    /// Builds the cookies that carry the tokens.
    pub cookies: Arc<dyn CookiePolicy>,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// The source of the random bits in ids of access tokens.
    pub entropy: Arc<dyn Entropy>,
    /// The counters and timers of events.
    pub metrics: Arc<dyn Metrics>,
    /// The audit log of reused tokens.
    pub audit: Arc<dyn AuditLog>,
}

/// The use case of refreshing a session.
pub struct RefreshSession {
    ports: RefreshPorts,
    config: RefreshConfig,
    mint: Mint,
    concurrent: ConcurrentRefreshes,
}

/// A rotation that the store is about to make.
struct Exchange {
    rotation: Rotation,
    /// The successor's token.
    token: SignedToken,
    /// The session as it is expected to be, if it has been loaded.
    seen: Option<Session>,
    delivery: TokenDelivery,
}

impl RefreshSession {
    /// Makes the use case from its ports and its configuration.
    pub fn new(ports: RefreshPorts, config: RefreshConfig) -> Self {
        let mint = Mint {
            signer: Arc::clone(&ports.signer),
            cookies: Arc::clone(&ports.cookies),
            entropy: Arc::clone(&ports.entropy),
            access_ttl: config.access_ttl,
            refresh_ttl: config.refresh_ttl,
            bare_access_bytes: OnceLock::new(),
        };
        Self { ports, config, mint, concurrent: ConcurrentRefreshes::default() }
    }

    /// Answers a refresh token with its successor and a new access token.
    ///
    /// However often the same token comes at once, or again because an answer was lost, the successor
    /// is the same, byte for byte. A token that was superseded longer ago ends its session.
    ///
    /// With a `limit`, every genuine token counts for its session.
    ///
    /// # Errors
    /// See [`AuthError`]. Of those, only [`AuthError::RefreshTokenReused`], [`AuthError::AccessDenied`]
    /// of a disabled user and [`AuthError::SessionRevoked`] where the provider was asked again have
    /// changed anything; after those of the store, of the keys, or of tokens that do not fit a cookie
    /// ([`AuthError::Store`], [`AuthError::Signing`], [`AuthError::TokenTooLarge`]) the same token can
    /// be presented again.
    pub async fn refresh(
        &self,
        token: &PresentedToken,
        delivery: TokenDelivery,
        limit: Option<&dyn RefreshLimit>,
    ) -> Result<IssuedTokens, AuthError> {
        let started = self.ports.clock.monotonic();
        let refreshed = self.refresh_with(token, delivery, limit, started).await;
        let result = match &refreshed {
            Ok((_, result)) => *result,
            Err(AuthError::RefreshTokenReused) => RefreshResult::Reused,
            Err(AuthError::RefreshTokenExpired) => RefreshResult::Expired,
            Err(AuthError::SessionRevoked(_) | AuthError::AccessDenied(_)) => {
                RefreshResult::Revoked
            }
            Err(
                AuthError::InvalidRefreshToken(_)
                | AuthError::RefreshTokenAhead
                | AuthError::InvalidRequest(_),
            ) => RefreshResult::Invalid,
            Err(AuthError::RefreshedTooOften { .. }) => RefreshResult::Limited,
            Err(_) => RefreshResult::Failed,
        };
        let took = self.ports.clock.monotonic().saturating_sub(started);
        self.ports.metrics.refresh(result, took);
        refreshed.map(|(tokens, _)| tokens)
    }

    /// The claims of a refresh token of ours, expired or not, for the log line of a refusal; `None`
    /// if it is not genuine.
    pub async fn holder(&self, token: &PresentedToken) -> Option<VerifiedRefresh> {
        self.ports.verifier.verify_refresh(token).await.ok()
    }

    /// How a replay is treated that counts or does not.
    fn replay(&self, counted: bool) -> ReplayRule {
        ReplayRule {
            window: self.config.grace,
            limit: self.config.grace_replays,
            counted,
            lost_answer: self.config.lost_answer,
            newer_token: self.config.newer_token,
        }
    }

    async fn refresh_with(
        &self,
        token: &PresentedToken,
        delivery: TokenDelivery,
        limit: Option<&dyn RefreshLimit>,
        started: Duration,
    ) -> Result<(IssuedTokens, RefreshResult), AuthError> {
        if delivery == TokenDelivery::Body && !self.config.body_delivery {
            let error = FieldError::new("refreshToken", FieldRule::NotInBody);
            return Err(AuthError::InvalidRequest(vec![error]));
        }
        let now = Timestamp::from(self.ports.clock.now());
        let claims = self.ports.verifier.verify_refresh(token).await;
        let claims = claims.map_err(|error| error.into_auth(AuthError::InvalidRefreshToken))?;
        if claims.expires_at <= now {
            return Err(AuthError::RefreshTokenExpired);
        }
        if let Some(limit) = limit {
            limit.take(claims.session).map_err(|wait| AuthError::RefreshedTooOften { wait })?;
        }
        let in_flight = self.concurrent.enter(claims.session, started);
        let replay = self.replay(!in_flight.is_simultaneous);
        let hash = TokenHash::of(token.expose());
        let (seen, roles) = self.reconsider(&claims, hash, now).await?;
        let opened_at = claims.session.generated_at().unwrap_or(now);
        let (successor_token, successor) = self.mint.refresh(
            claims.subject,
            claims.session,
            claims.generation.saturating_add(1),
            opened_at + self.config.session_ttl,
            now,
        )?;
        let rotation = Rotation {
            session: claims.session,
            user: claims.subject,
            presented: PresentedRefresh { generation: claims.generation, hash },
            successor,
            roles,
            idle_expires_at: now + self.config.refresh_ttl,
            now,
            replay,
        };
        let exchange = Exchange { rotation, token: successor_token, seen, delivery };
        let refreshed = self.rotate(exchange, started).await;
        drop(in_flight);
        refreshed
    }

    /// The session, if it was looked at, and the roles that it is to have from now on, if these are
    /// decided again and are others than it has. Asks the provider again where that is due.
    async fn reconsider(
        &self,
        claims: &VerifiedRefresh,
        hash: TokenHash,
        now: Timestamp,
    ) -> Result<(Option<Session>, Option<Vec<Role>>), AuthError> {
        const UNSEEN: (Option<Session>, Option<Vec<Role>>) = (None, None);
        if !self.config.decides_roles && self.ports.recheck.is_none() {
            return Ok(UNSEEN);
        }
        let Some(found) = self.ports.sessions.find(claims.session).await? else {
            return Ok(UNSEEN);
        };
        let FoundSession { session, person: Some(person), standing: Standing::Good, .. } = found
        else {
            return Ok(UNSEEN);
        };
        // Only the holder of the current token is about to get a new one; the rotation judges the rest.
        let is_current = session.refresh.hash == hash && session.user == claims.subject;
        if !is_current || !session.is_live(now) {
            return Ok(UNSEEN);
        }
        let policy = &self.ports.roles.policy;
        let rechecked = match &self.ports.recheck {
            Some(recheck) => recheck.ask(&session, policy, now).await,
            None => Rechecked::NotWanted,
        };
        let claimed_roles = match rechecked {
            Rechecked::NotWanted if !self.config.decides_roles => return Ok((Some(session), None)),
            Rechecked::NotWanted | Rechecked::AsBefore => &session.claimed_roles,
            Rechecked::Claimed(ref roles) => roles,
            Rechecked::Refused => {
                return Err(AuthError::SessionRevoked(RevokeReason::ProviderRefused));
            }
            Rechecked::Failed(error) => return Err(error),
        };
        let question = RoleQuestion {
            user: session.user,
            provider: &session.provider,
            identity: &session.identity,
        };
        let decided =
            self.ports.roles.decide(question, claimed_roles, &person.user.granted_roles).await?;
        let mut roles = decided.roles;
        if !decided.is_complete {
            // Whatever was looked up before goes on; what the provider's claims gave does not.
            let taken_away = |role: &&Role| session.claimed_roles.contains(role);
            let kept = session.grant.roles.iter().filter(|role| !taken_away(role)).cloned();
            roles.extend(kept);
            roles.sort_unstable();
            roles.dedup();
        }
        if roles.is_empty() {
            return Err(AuthError::AccessDenied("no role rule lets this person in".into()));
        }
        let roles = (roles != session.grant.roles).then_some(roles);
        Ok((Some(session), roles))
    }

    /// Exchanges the presented token. The successor is signed before the store is asked, for the
    /// session as it is expected to be; only if that turns out different, once more.
    ///
    /// What would be answered is complete before anything is written, so that tokens that cannot be
    /// signed or do not fit a cookie leave the session as it was. A session that has not been looked at
    /// is exchanged unseen where its claims are small enough to fit for certain, which they nearly
    /// always are.
    async fn rotate(
        &self,
        exchange: Exchange,
        started: Duration,
    ) -> Result<(IssuedTokens, RefreshResult), AuthError> {
        let RefreshPorts { sessions, clock, metrics, .. } = &self.ports;
        let Exchange { mut rotation, mut token, mut seen, delivery } = exchange;
        let waited = || clock.monotonic().saturating_sub(started);
        let now = rotation.now;
        for _ in 0..MINT_ATTEMPTS {
            let (mut prepared, mut grant_limit) = (None, None);
            match seen.take() {
                Some(_) if !sessions.repo.shares_engine_with_users() => {}
                Some(seen) => {
                    let session = rotation.rotated(&seen);
                    prepared = Some(self.answer(&session, token.clone(), delivery, now)?);
                }
                None => grant_limit = self.mint.grant_limit(&token, delivery, now)?,
            }
            let successor = rotation.successor.hash;
            let prepare = |session: &Session| {
                let token = if session.refresh.hash == successor {
                    token.clone()
                } else {
                    self.mint.refresh_again(session.user, session.id, &session.refresh)?
                };
                prepared = Some(self.answer(session, token, delivery, now)?);
                Ok::<_, AuthError>(())
            };
            let outcome = sessions.rotate(&rotation, grant_limit, waited, prepare).await?;
            match outcome {
                RotateOutcome::Rotated(session) => {
                    let tokens = match prepared {
                        Some(prepared) => prepared,
                        None => self.answer(&session, token, delivery, now)?,
                    };
                    return Ok((tokens, RefreshResult::Rotated));
                }
                RotateOutcome::Followed(_) => {
                    let unprepared = || SigningError::Failed("a rotation was not prepared".into());
                    let tokens = prepared.ok_or_else(unprepared)?;
                    let tokens = IssuedTokens { has_followed: true, ..tokens };
                    return Ok((tokens, RefreshResult::Followed));
                }
                RotateOutcome::Replayed(_) => {
                    let unprepared = || SigningError::Failed("a replay was not prepared".into());
                    return Ok((prepared.ok_or_else(unprepared)?, RefreshResult::Replayed));
                }
                RotateOutcome::Remint(session) => {
                    (token, rotation.successor) = self.mint.refresh(
                        rotation.user,
                        rotation.session,
                        rotation.next_generation(&session),
                        session.absolute_expires_at,
                        rotation.now,
                    )?;
                    seen = Some(*session);
                }
                RotateOutcome::Reused => {
                    metrics.sessions_revoked(RevokeReason::Reuse, 1);
                    self.note_reuse(&rotation).await;
                    return Err(AuthError::RefreshTokenReused);
                }
                RotateOutcome::UserDisabled { ended } => {
                    metrics.sessions_revoked(RevokeReason::UserDisabled, ended);
                    return Err(AuthError::user_disabled());
                }
                RotateOutcome::Revoked(reason) => return Err(revoked(reason)),
                RotateOutcome::Expired => return Err(AuthError::RefreshTokenExpired),
                RotateOutcome::Ahead => return Err(AuthError::RefreshTokenAhead),
                RotateOutcome::Unknown => {
                    let text = "there is no such session of this user";
                    return Err(AuthError::InvalidRefreshToken(text.into()));
                }
            }
        }
        Err(StoreError::Unavailable("the session changes faster than it can be read".into()).into())
    }

    /// Notes that a superseded token was used, and of which generation it was.
    async fn note_reuse(&self, rotation: &Rotation) {
        let Rotation { session, user, presented, now, .. } = rotation;
        let event = AuditEvent::new(AuditKind::RefreshReused, *now, Actor::User)
            .of_user(*user)
            .of_session(*session)
            .with("shown_generation", presented.generation);
        // The session has ended, so this stays as it is. Without it the event says less.
        let found = self.ports.sessions.find(*session).await.ok().flatten();
        self.ports.audit.record(match found {
            None => event,
            Some(found) => {
                let current = &found.session.refresh;
                let event = event.with("current_generation", current.generation);
                event.with("current_since", current.issued_at)
            }
        });
    }

    /// A session's current refresh token and a new access token, ready to be delivered.
    fn answer(
        &self,
        session: &Session,
        refresh: SignedToken,
        delivery: TokenDelivery,
        now: Timestamp,
    ) -> Result<IssuedTokens, AuthError> {
        let expires_at = session.refresh.expires_at;
        self.mint.deliver(Subject::of(session), refresh, expires_at, delivery, now)
    }
}

fn revoked(reason: RevokeReason) -> AuthError {
    match reason {
        RevokeReason::UserDisabled => AuthError::user_disabled(),
        RevokeReason::ExpiredIdle | RevokeReason::ExpiredAbsolute => AuthError::RefreshTokenExpired,
        RevokeReason::Logout
        | RevokeReason::RevokedByClient
        | RevokeReason::Reuse
        | RevokeReason::Admin
        | RevokeReason::ProviderLogout
        | RevokeReason::ProviderRefused
        | RevokeReason::UserDeleted
        | RevokeReason::Restored
        | RevokeReason::Other => AuthError::SessionRevoked(reason),
    }
}
