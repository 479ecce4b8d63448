//! The use cases on a store in memory, with tokens that are plain text.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{
    AccessClaims, ClaimSet, ClientInfo, ExternalIdentity, IdempotencyKey, KeyId, LostAnswer,
    ProviderId, RefreshClaims, Role, Rotation, Session, SessionId, SessionOpening, Timestamp,
    UserId, VerifiedIdentity,
};
use mintgate_domain::ports::{
    Clock as _, CodeGrant, CookiePolicy, CookieTooLarge, IdentityProvider, OpenOutcome,
    ProviderError, ProviderTokens, RefreshTokenRepo, RotateOutcome, SessionTokens, SigningError,
    StoreError, TokenSigner, TokenVerifier, VerifiedAccess, VerifiedRefresh, VerifyError,
};
use mintgate_domain::{
    AuthError, AuthorizationCode, Credential, IssueTokens, IssueTokensConfig, IssueTokensPorts,
    IssuedTokens, Nonce, OwnSessions, PresentedToken, ProviderPolicy, RefreshConfig, RefreshPorts,
    RefreshSession, RegisteredProvider, Requirement, RolePolicy, SetCookie, SignedToken,
    TokenDelivery, TokenHash, TokenRequest,
};
use mintgate_testkit::{
    Behind, Interposed, ManualClock, MemoryStore, MetricEvent, RecordingMetrics, SeededEntropy,
};
use uuid::Uuid;

pub(crate) const DAY: Duration = Duration::from_hours(24);
pub(crate) const GRACE: Duration = Duration::from_secs(30);

/// Tokens whose claims stand in them as they are, behind the name of the key.
#[derive(Default)]
pub(crate) struct PlainTokens {
    key: Mutex<Option<String>>,
    pub(crate) unavailable: AtomicBool,
}

impl PlainTokens {
    /// Signs new refresh tokens with another key from now on; the old one is still known.
    pub(crate) fn rotate_key(&self, name: &str) {
        *self.key.lock().unwrap() = Some(name.to_owned());
    }

    fn check(&self) -> Result<(), String> {
        let down = self.unavailable.load(Ordering::SeqCst);
        if down { Err("no keys".to_owned()) } else { Ok(()) }
    }
}

impl TokenSigner for PlainTokens {
    fn sign_access(&self, claims: &AccessClaims<'_>) -> Result<SignedToken, SigningError> {
        self.check().map_err(SigningError::KeysUnavailable)?;
        let roles: Vec<_> = claims.grant.roles.iter().map(Role::as_str).collect();
        Ok(SignedToken::new(format!(
            "access|{}|{}|{}|{}|{}|{}",
            claims.subject,
            claims.session,
            claims.provider,
            roles.join(","),
            claims.expires_at.as_unix(),
            claims.token_id,
        )))
    }

    fn refresh_key_id(&self) -> Result<KeyId, SigningError> {
        self.check().map_err(SigningError::KeysUnavailable)?;
        let key = self.key.lock().unwrap();
        Ok(KeyId::new(key.as_deref().unwrap_or("refresh-1")))
    }

    fn sign_refresh(&self, claims: &RefreshClaims<'_>) -> Result<SignedToken, SigningError> {
        Ok(SignedToken::new(format!(
            "refresh|{}|{}|{}|{}|{}|{}",
            claims.subject,
            claims.session,
            claims.generation,
            claims.issued_at.as_unix(),
            claims.expires_at.as_unix(),
            claims.key_id,
        )))
    }
}

fn parts<'a>(token: &'a PresentedToken, kind: &str) -> Result<Vec<&'a str>, VerifyError> {
    let parts: Vec<&str> = token.expose().split('|').collect();
    if parts.first() != Some(&kind) || parts.len() != 7 {
        return Err(VerifyError::Refused("not a token of this kind".to_owned()));
    }
    Ok(parts)
}

fn uuid(text: &str) -> Uuid {
    Uuid::parse_str(text).unwrap()
}

#[async_trait]
impl TokenVerifier for PlainTokens {
    async fn verify_access(&self, token: &PresentedToken) -> Result<VerifiedAccess, VerifyError> {
        self.check().map_err(VerifyError::KeysUnavailable)?;
        let parts = parts(token, "access")?;
        Ok(VerifiedAccess {
            subject: UserId::from_uuid(uuid(parts[1])),
            session: SessionId::from_uuid(uuid(parts[2])),
            provider: ProviderId::new(parts[3]),
            roles: parts[4].split(',').map(Role::new).collect(),
            expires_at: Timestamp::from_unix(parts[5].parse().unwrap()),
        })
    }

    async fn verify_refresh(&self, token: &PresentedToken) -> Result<VerifiedRefresh, VerifyError> {
        self.check().map_err(VerifyError::KeysUnavailable)?;
        let parts = parts(token, "refresh")?;
        Ok(VerifiedRefresh {
            subject: UserId::from_uuid(uuid(parts[1])),
            session: SessionId::from_uuid(uuid(parts[2])),
            generation: parts[3].parse().unwrap(),
            expires_at: Timestamp::from_unix(parts[5].parse().unwrap()),
        })
    }
}

/// Cookies that hold nothing but the tokens' lengths of life.
pub(crate) struct PlainCookies;

impl CookiePolicy for PlainCookies {
    fn session_cookies(&self, tokens: SessionTokens<'_>) -> Result<[SetCookie; 2], CookieTooLarge> {
        let cookie = |age: Duration| SetCookie::new(age.as_secs().to_string());
        Ok([cookie(tokens.access_max_age), cookie(tokens.refresh_max_age)])
    }

    fn clearing_cookies(&self) -> [SetCookie; 2] {
        [SetCookie::new(""), SetCookie::new("")]
    }
}

/// Vouches for the person whose name the code is, each time it is asked.
#[derive(Default)]
pub(crate) struct AnyCode {
    pub(crate) asked: AtomicUsize,
    pub(crate) refuses: AtomicBool,
    last: Mutex<String>,
}

#[async_trait]
impl IdentityProvider for AnyCode {
    async fn redeem(&self, grant: &CodeGrant<'_>) -> Result<ProviderTokens, ProviderError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.refuses.load(Ordering::SeqCst) {
            return Err(ProviderError::CodeRefused("used".to_owned()));
        }
        let person = grant.code.expose().split('-').next().unwrap_or_default();
        person.clone_into(&mut self.last.lock().unwrap());
        Ok(ProviderTokens { id_token: None, access_token: None })
    }

    async fn verify(
        &self,
        _: &ProviderTokens,
        _: Option<&Nonce>,
    ) -> Result<VerifiedIdentity, ProviderError> {
        Ok(VerifiedIdentity {
            identity: ExternalIdentity {
                issuer: "https://idp.example.com".to_owned(),
                subject: self.last.lock().unwrap().clone(),
            },
            claims: ClaimSet::default(),
            auth_time: None,
            acr: None,
            amr: vec![],
            id_token: None,
        })
    }
}

/// What can go wrong between a use case and the store; nothing does unless it is told to.
pub(crate) struct Between {
    store: MemoryStore,
    /// Answers a replay with a state that no token was ever minted from.
    pub(crate) corrupts_replays: AtomicBool,
    /// Does not know of an earlier opening the next time it is asked.
    pub(crate) hides_an_opening: AtomicBool,
    /// Is down when a session is to be opened.
    pub(crate) fails_openings: AtomicBool,
}

#[async_trait]
impl Interposed for Between {
    fn store(&self) -> &dyn RefreshTokenRepo {
        &self.store
    }

    async fn open_session(&self, opening: &SessionOpening) -> Result<OpenOutcome, StoreError> {
        if self.fails_openings.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("down".to_owned()));
        }
        self.store.open_session(opening).await
    }

    async fn find_opening(
        &self,
        key: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(IdempotencyKey, Session)>, StoreError> {
        if self.hides_an_opening.swap(false, Ordering::SeqCst) {
            return Ok(None);
        }
        self.store.find_opening(key, now).await
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<RotateOutcome, StoreError> {
        // A real store takes a while, in which others come.
        tokio::task::yield_now().await;
        match self.store.rotate(rotation).await? {
            RotateOutcome::Replayed(mut session)
                if self.corrupts_replays.load(Ordering::SeqCst) =>
            {
                session.refresh.issued_at = session.refresh.issued_at + Duration::from_secs(1);
                Ok(RotateOutcome::Replayed(session))
            }
            outcome => Ok(outcome),
        }
    }
}

/// Everything a session meets in its life.
pub(crate) struct Rig {
    pub(crate) store: MemoryStore,
    pub(crate) between: Arc<Behind<Between>>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) tokens: Arc<PlainTokens>,
    pub(crate) metrics: Arc<RecordingMetrics>,
    pub(crate) provider: Arc<AnyCode>,
    pub(crate) issue: IssueTokens,
    pub(crate) refresh: RefreshSession,
    pub(crate) own: OwnSessions,
}

pub(crate) fn refresh_config() -> RefreshConfig {
    RefreshConfig {
        access_ttl: Duration::from_hours(1),
        refresh_ttl: DAY * 30,
        session_ttl: DAY * 90,
        grace: GRACE,
        grace_replays: 10,
        lost_answer: LostAnswer::Grace,
        body_delivery: true,
    }
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(refresh_config())
    }

    /// With another configuration of refreshes.
    pub(crate) fn with(config: RefreshConfig) -> Self {
        let store = MemoryStore::default();
        let between = Arc::new(Behind(Between {
            store: store.clone(),
            corrupts_replays: AtomicBool::new(false),
            hides_an_opening: AtomicBool::new(false),
            fails_openings: AtomicBool::new(false),
        }));
        let sessions: Arc<dyn RefreshTokenRepo> = between.clone();
        let clock = Arc::new(ManualClock::default());
        let tokens = Arc::new(PlainTokens::default());
        let metrics = Arc::new(RecordingMetrics::default());
        let provider = Arc::new(AnyCode::default());
        let policy = ProviderPolicy {
            id: ProviderId::new("corp"),
            issuer: "https://idp.example.com".to_owned(),
            redirect_uris: vec!["https://app.example.com/callback".to_owned()],
            pkce: Requirement::Auto,
            nonce: Requirement::Auto,
        };
        let registered = RegisteredProvider { policy, adapter: provider.clone() };
        let issue = IssueTokens::new(
            IssueTokensPorts {
                providers: [registered].into_iter().collect(),
                users: Arc::new(store.clone()),
                sessions: Arc::clone(&sessions),
                signer: tokens.clone(),
                cookies: Arc::new(PlainCookies),
                clock: clock.clone(),
                entropy: Arc::new(SeededEntropy::new(1)),
                metrics: metrics.clone(),
            },
            IssueTokensConfig {
                access_ttl: config.access_ttl,
                refresh_ttl: DAY * 30,
                session_ttl: DAY * 90,
                body_delivery: true,
                roles: RolePolicy { default: vec![Role::new("user")], rules: vec![] },
                extra_claims: vec![],
            },
        );
        let refresh = RefreshSession::new(
            RefreshPorts {
                sessions: Arc::clone(&sessions),
                verifier: tokens.clone(),
                signer: tokens.clone(),
                cookies: Arc::new(PlainCookies),
                clock: clock.clone(),
                entropy: Arc::new(SeededEntropy::new(2)),
                metrics: metrics.clone(),
            },
            config,
        );
        let own = OwnSessions {
            sessions,
            verifier: tokens.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        Self { store, between, clock, tokens, metrics, provider, issue, refresh, own }
    }

    /// Signs in with a code; its part before the dash is the person.
    pub(crate) async fn sign_in(&self, code: &str) -> IssuedTokens {
        self.issue.issue(request(code, None)).await.expect("a session")
    }

    /// Presents a refresh token.
    pub(crate) async fn refresh(&self, token: &SignedToken) -> Result<IssuedTokens, AuthError> {
        self.refresh.refresh(&presented(token), TokenDelivery::Body).await
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().into()
    }

    /// How refreshes have ended so far, by the names they are counted under.
    pub(crate) fn refreshes(&self) -> Vec<&'static str> {
        let events = self.metrics.events();
        let results = events.iter().filter_map(|event| match event {
            MetricEvent::Refresh { result, .. } => Some(result.name()),
            _ => None,
        });
        results.collect()
    }

    /// Which sessions were counted as revoked so far.
    pub(crate) fn revocations(&self) -> Vec<(&'static str, u64)> {
        let events = self.metrics.events();
        let revocations = events.iter().filter_map(|event| match event {
            MetricEvent::SessionsRevoked { reason, count } => Some((reason.name(), *count)),
            _ => None,
        });
        revocations.collect()
    }
}

/// A request for tokens; `idempotency` is the key and the body it comes with.
pub(crate) fn request(code: &str, idempotency: Option<(&str, &str)>) -> TokenRequest {
    TokenRequest {
        provider: "corp".to_owned(),
        credential: Credential::Code(AuthorizationCode::new(code)),
        redirect_uri: None,
        code_verifier: None,
        nonce: None,
        issuer: None,
        delivery: TokenDelivery::Body,
        client: ClientInfo::default(),
        idempotency: idempotency.map(|(key, body)| IdempotencyKey {
            key: TokenHash::of(key),
            body: TokenHash::of(body),
        }),
    }
}

/// A token of ours as somebody presents it.
pub(crate) fn presented(token: &SignedToken) -> PresentedToken {
    PresentedToken::new(token.expose())
}
