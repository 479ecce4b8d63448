//! The use case: a refresh token becomes its successor, once, whoever asks how often.

use std::sync::Arc;
use std::time::Duration;

use crate::crowds::Crowds;
use crate::minting::{Mint, Subject};
use crate::model::{
    LostAnswer, PresentedRefresh, ReplayRule, RevokeReason, Role, Rotation, Session, Timestamp,
};
use crate::ports::{
    Clock, CookiePolicy, EndOutcome, Entropy, Metrics, RefreshResult, RefreshTokenRepo,
    RoleQuestion, RotateOutcome, StoreError, TokenSigner, TokenVerifier, VerifiedRefresh,
};
use crate::recheck::{Recheck, Rechecked};
use crate::{
    AuthError, IssuedTokens, PresentedToken, RoleDecider, SignedToken, TokenDelivery, TokenHash,
};

/// How often a successor is made anew because the session turned out to be another than expected.
const MINT_ATTEMPTS: usize = 4;

/// What refreshing can be told.
#[derive(Debug, Clone)]
pub struct RefreshConfig {
    /// Life of an access token.
    pub access_ttl: Duration,
    /// Life of a refresh token: how long a session may idle.
    pub refresh_ttl: Duration,
    /// Life of a session. Only a guess is made from it: the limit that counts is the session's own.
    pub session_ttl: Duration,
    /// For how long after a refresh the token before it is answered with the same successor.
    pub grace: Duration,
    /// How often.
    pub grace_replays: u16,
    /// And after that.
    pub lost_answer: LostAnswer,
    /// Whether tokens may be delivered in the body.
    pub body_delivery: bool,
    /// Whether the roles are decided again at each refresh.
    pub decides_roles: bool,
}

/// What refreshing needs.
#[derive(Clone)]
pub struct RefreshPorts {
    /// Where sessions are kept.
    pub sessions: Arc<dyn RefreshTokenRepo>,
    /// Who decides the roles, where they are decided again.
    pub roles: RoleDecider,
    /// How providers are asked again about the people who signed in there, if they are.
    pub recheck: Option<Arc<Recheck>>,
    /// Who tells our tokens from others.
    pub verifier: Arc<dyn TokenVerifier>,
    /// Who signs.
    pub signer: Arc<dyn TokenSigner>,
    /// How tokens become cookies.
    pub cookies: Arc<dyn CookiePolicy>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// What is counted.
    pub metrics: Arc<dyn Metrics>,
}

/// Refreshes sessions.
pub struct RefreshSession {
    ports: RefreshPorts,
    config: RefreshConfig,
    mint: Mint,
    crowds: Crowds,
}

/// A refresh that went well.
struct Refreshed {
    session: Box<Session>,
    token: SignedToken,
    result: RefreshResult,
}

impl RefreshSession {
    /// Puts the use case together.
    pub fn new(ports: RefreshPorts, config: RefreshConfig) -> Self {
        let mint = Mint {
            signer: Arc::clone(&ports.signer),
            cookies: Arc::clone(&ports.cookies),
            entropy: Arc::clone(&ports.entropy),
            access_ttl: config.access_ttl,
            refresh_ttl: config.refresh_ttl,
        };
        Self { ports, config, mint, crowds: Crowds::default() }
    }

    /// Answers a refresh token with its successor and a new access token.
    ///
    /// However often the same token comes at once, or again because an answer was lost, the successor
    /// is the same, byte for byte. A token that was superseded longer ago ends its session.
    ///
    /// # Errors
    /// See [`AuthError`]. Of those, only [`AuthError::RefreshTokenReused`], [`AuthError::AccessDenied`]
    /// of a disabled user and [`AuthError::SessionRevoked`] where the provider was asked again have
    /// changed anything; after those of the store or of the keys
    /// ([`AuthError::Store`], [`AuthError::Signing`]) the same token can be presented again.
    pub async fn refresh(
        &self,
        token: &PresentedToken,
        delivery: TokenDelivery,
    ) -> Result<IssuedTokens, AuthError> {
        let started = self.ports.clock.monotonic();
        let refreshed = self.refresh_with(token, delivery, started).await;
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
            Err(_) => RefreshResult::Failed,
        };
        let took = self.ports.clock.monotonic().saturating_sub(started);
        self.ports.metrics.refresh(result, took);
        refreshed.map(|(tokens, _)| tokens)
    }

    /// Whose refresh token this is, if it is one of ours; for the log line of a refusal.
    pub async fn holder(&self, token: &PresentedToken) -> Option<VerifiedRefresh> {
        self.ports.verifier.verify_refresh(token).await.ok()
    }

    async fn refresh_with(
        &self,
        token: &PresentedToken,
        delivery: TokenDelivery,
        started: Duration,
    ) -> Result<(IssuedTokens, RefreshResult), AuthError> {
        if delivery == TokenDelivery::Body && !self.config.body_delivery {
            return Err(AuthError::InvalidRequest(vec![crate::FieldError::new(
                "refreshToken",
                "in the body is not allowed by this server's configuration",
            )]));
        }
        let now = Timestamp::from(self.ports.clock.now());
        let claims = self.ports.verifier.verify_refresh(token).await;
        let claims = claims.map_err(|error| error.into_auth(AuthError::InvalidRefreshToken))?;
        if claims.expires_at <= now {
            return Err(AuthError::RefreshTokenExpired);
        }
        let presence = self.crowds.enter(claims.session, started);
        let replay = ReplayRule {
            window: self.config.grace,
            limit: self.config.grace_replays,
            counted: !presence.is_crowded,
            lost_answer: self.config.lost_answer,
        };
        let hash = TokenHash::of(token.expose());
        let roles = self.reconsider(&claims, hash, now).await?;
        let refreshed = self.rotate(&claims, hash, roles, replay, now).await?;
        drop(presence);

        let session = &refreshed.session;
        let expires_at = session.refresh.expires_at;
        let subject = Subject::of(session);
        let tokens = self.mint.deliver(subject, refreshed.token, expires_at, delivery, now)?;
        Ok((tokens, refreshed.result))
    }

    /// The roles that the session is to have from now on, if these are decided again and are others
    /// than it has. Asks the provider again where that is due.
    async fn reconsider(
        &self,
        claims: &VerifiedRefresh,
        hash: TokenHash,
        now: Timestamp,
    ) -> Result<Option<Vec<Role>>, AuthError> {
        if !self.config.decides_roles && self.ports.recheck.is_none() {
            return Ok(None);
        }
        let found = self.ports.sessions.find_session_and_user(claims.session).await?;
        let Some((session, user)) = found else { return Ok(None) };
        // Only for who is about to get a new token; of everybody else the store takes care.
        let is_current = session.refresh.hash == hash && session.user == claims.subject;
        if !is_current || !session.is_live(now) || user.disabled_at.is_some() {
            return Ok(None);
        }
        let policy = &self.ports.roles.policy;
        let rechecked = match &self.ports.recheck {
            Some(recheck) => recheck.ask(&session, policy, now).await,
            None => Rechecked::NotWanted,
        };
        let claimed_roles = match rechecked {
            Rechecked::NotWanted if !self.config.decides_roles => return Ok(None),
            Rechecked::NotWanted | Rechecked::AsBefore => &session.claimed_roles,
            Rechecked::Claimed(ref roles) => roles,
            Rechecked::Refused => {
                let (reason, sessions) = (RevokeReason::ProviderRefused, &self.ports.sessions);
                let ended = sessions.end_session(session.id, session.user, reason, now).await?;
                if ended == EndOutcome::Ended {
                    self.ports.metrics.sessions_revoked(reason, 1);
                }
                return Err(AuthError::SessionRevoked(reason));
            }
            Rechecked::Failed(error) => return Err(error),
        };
        let question = RoleQuestion {
            user: session.user,
            provider: &session.provider,
            identity: &session.identity,
        };
        let decided = self.ports.roles.decide(question, claimed_roles, &user.granted_roles).await?;
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
        Ok((roles != session.grant.roles).then_some(roles))
    }

    /// Has the store exchange the token. The successor is signed before the store is asked, for the
    /// session as it is expected to be; only if it is another, once more.
    async fn rotate(
        &self,
        claims: &VerifiedRefresh,
        hash: TokenHash,
        roles: Option<Vec<Role>>,
        replay: ReplayRule,
        now: Timestamp,
    ) -> Result<Refreshed, AuthError> {
        let (session, user) = (claims.session, claims.subject);
        let mut generation = claims.generation.saturating_add(1);
        let opened_at = session.generated_at().unwrap_or(now);
        let mut absolute_expires_at = opened_at + self.config.session_ttl;
        for _ in 0..MINT_ATTEMPTS {
            let (token, successor) =
                self.mint.refresh(user, session, generation, absolute_expires_at, now)?;
            let rotation = Rotation {
                session,
                user,
                presented: PresentedRefresh { generation: claims.generation, hash },
                successor,
                roles: roles.clone(),
                idle_expires_at: now + self.config.refresh_ttl,
                now,
                replay,
            };
            match self.ports.sessions.rotate(&rotation).await? {
                RotateOutcome::Rotated(session) => {
                    return Ok(Refreshed { session, token, result: RefreshResult::Rotated });
                }
                RotateOutcome::Replayed(session) => {
                    let token = self.mint.refresh_again(user, session.id, &session.refresh)?;
                    return Ok(Refreshed { session, token, result: RefreshResult::Replayed });
                }
                RotateOutcome::Remint(session) => {
                    generation = session.refresh.generation.saturating_add(1);
                    absolute_expires_at = session.absolute_expires_at;
                }
                RotateOutcome::Reused => {
                    self.ports.metrics.sessions_revoked(RevokeReason::Reuse, 1);
                    return Err(AuthError::RefreshTokenReused);
                }
                RotateOutcome::UserDisabled => return Err(self.shut_out(claims, now).await),
                RotateOutcome::Revoked(RevokeReason::UserDisabled) => {
                    return Err(AuthError::user_disabled());
                }
                RotateOutcome::Revoked(
                    RevokeReason::ExpiredIdle | RevokeReason::ExpiredAbsolute,
                )
                | RotateOutcome::Expired => return Err(AuthError::RefreshTokenExpired),
                RotateOutcome::Revoked(reason) => return Err(AuthError::SessionRevoked(reason)),
                RotateOutcome::Ahead => return Err(AuthError::RefreshTokenAhead),
                RotateOutcome::Unknown => {
                    let text = "there is no such session of this user";
                    return Err(AuthError::InvalidRefreshToken(text.into()));
                }
            }
        }
        Err(StoreError::Unavailable("the session changes faster than it can be read".into()).into())
    }

    /// The session of a disabled user has just been ended; ends the user's others.
    async fn shut_out(&self, claims: &VerifiedRefresh, now: Timestamp) -> AuthError {
        let reason = RevokeReason::UserDisabled;
        let others = self.ports.sessions.end_user_sessions(claims.subject, reason, now).await;
        // If the store fails here, each of the others ends at its own next refresh.
        self.ports.metrics.sessions_revoked(reason, 1 + others.unwrap_or(0));
        AuthError::user_disabled()
    }
}
