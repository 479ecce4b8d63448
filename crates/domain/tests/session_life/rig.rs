//! The use cases on a store in memory, with tokens that are plain text.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{
    AccessClaims, AllowedUri, ClaimSet, ClientInfo, ExternalIdentity, IdempotencyKey, KeyId,
    LoginPurpose, LostAnswer, NewerToken, ProfileClaim, ProfileClaims, ProviderId, RefreshClaims,
    Role, Rotation, SealedToken, Session, SessionEnd, SessionId, SessionOpening, Timestamp,
    UpstreamTokens, UserId, VerifiedIdentity,
};
use mintgate_domain::ports::{
    AuthorizationEndpoint, Background, ClaimedUpstream, Clock as _, CodeGrant, CookiePolicy,
    CookieTooLarge, Holder, IdempotencyRecords, IdentityProvider, LoadedSession, LogoutOrder,
    OpenOutcome, ProviderAccess, ProviderError, ProviderTokens, RefreshTokenRepo, Renewal,
    Reserved, RoleDirectory, RoleLookupError, RoleQuestion, SealError, SealedBefore, SealedPage,
    SessionTokens, SigningError, StoreError, TokenSeal, TokenSigner, TokenSource, TokenVerifier,
    UpstreamDue, UpstreamRenewal, UpstreamTokenKind, UpstreamTokenRepo, VerifiedAccess,
    VerifiedRefresh, VerifyError,
};
use mintgate_domain::{
    AccessRule, Admission, AppAccess, AuthError, AuthorizationCode, BeginLogin, Credential,
    IdTokenText, Identities, Introspection, IssueTokens, IssueTokensConfig, IssueTokensPorts,
    IssuedTokens, KeptTokens, LoginParameter, LoginRequest, LogoutRequest, LogoutScope,
    LogoutTokenText, Nonce, NonceRule, OfflineScope, OnLookupFailure, OwnSessions, PresentedToken,
    ProviderAccessToken, ProviderLogout, ProviderPolicy, ProviderRefreshToken, Recheck,
    RecheckRule, RefreshConfig, RefreshPorts, RefreshSession, RegisteredProvider, RenewalPorts,
    Renewals, Requirement, RoleDecider, RoleLookup, RolePolicy, RoleRule, SecretText, Sessions,
    SetCookie, SignIn, SignInRequest, SignOut, SignedToken, TokenDelivery, TokenHash, TokenRequest,
};
use mintgate_testkit::{
    Interposed, InterposedRepo, ManualClock, MemoryStore, MetricEvent, RecordingAuditLog,
    RecordingMetrics, SeededEntropy,
};
use tokio::sync::Notify;
use uuid::Uuid;

pub(crate) const DAY: Duration = Duration::from_hours(24);
/// The longest that a login may take.
pub(crate) const LOGIN_TTL: Duration = Duration::from_mins(10);
/// Whom access tokens are for.
pub(crate) const AUDIENCE: &str = "https://api.example.com";
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
        self.check().map_err(|text| SigningError::KeysUnavailable(text.into()))?;
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
        self.check().map_err(|text| SigningError::KeysUnavailable(text.into()))?;
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
        return Err(VerifyError::Refused("not a token of this kind".into()));
    }
    Ok(parts)
}

fn uuid(text: &str) -> Uuid {
    Uuid::parse_str(text).unwrap()
}

#[async_trait]
impl TokenVerifier for PlainTokens {
    async fn verify_access(&self, token: &PresentedToken) -> Result<VerifiedAccess, VerifyError> {
        self.check().map_err(|text| VerifyError::KeysUnavailable(text.into()))?;
        let parts = parts(token, "access")?;
        Ok(VerifiedAccess {
            subject: UserId::from_uuid(uuid(parts[1])),
            session: SessionId::from_uuid(uuid(parts[2])),
            provider: ProviderId::new(parts[3]),
            roles: parts[4].split(',').map(Role::new).collect(),
            audience: vec![AUDIENCE.to_owned()],
            client_id: None,
            token_id: parts[6].to_owned(),
            issued_at: Timestamp::from_unix(0),
            expires_at: Timestamp::from_unix(parts[5].parse().unwrap()),
        })
    }

    async fn verify_refresh(&self, token: &PresentedToken) -> Result<VerifiedRefresh, VerifyError> {
        self.check().map_err(|text| VerifyError::KeysUnavailable(text.into()))?;
        let parts = parts(token, "refresh")?;
        Ok(VerifiedRefresh {
            subject: UserId::from_uuid(uuid(parts[1])),
            session: SessionId::from_uuid(uuid(parts[2])),
            generation: parts[3].parse().unwrap(),
            issued_at: Timestamp::from_unix(0),
            expires_at: Timestamp::from_unix(parts[5].parse().unwrap()),
        })
    }
}

/// Cookies that hold nothing but the tokens' lengths of life, and bound the tokens as real ones do.
pub(crate) struct PlainCookies;

impl CookiePolicy for PlainCookies {
    fn session_cookies(&self, tokens: SessionTokens<'_>) -> Result<[SetCookie; 2], CookieTooLarge> {
        let bytes = tokens.access.expose().len();
        if bytes > self.longest_tokens()[0] {
            return Err(CookieTooLarge { name: "access".to_owned(), bytes });
        }
        let cookie = |age: Duration| SetCookie::new(age.as_secs().to_string());
        Ok([cookie(tokens.access_max_age), cookie(tokens.refresh_max_age)])
    }

    fn longest_tokens(&self) -> [usize; 2] {
        [4096; 2]
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
    pub(crate) names_issuer: AtomicBool,
    /// The verifier and the nonce of the last exchange.
    pub(crate) brought: Mutex<(Option<String>, Option<String>)>,
    pub(crate) claims: Mutex<ClaimSet>,
    /// `auth_time` and `acr` of the ID tokens.
    pub(crate) authenticated: Mutex<(Option<Timestamp>, Option<String>)>,
    pub(crate) verification_fails: Mutex<Option<ProviderError>>,
    pub(crate) renewed_with: Mutex<Vec<String>>,
    pub(crate) renewed_claims: Mutex<Option<ClaimSet>>,
    pub(crate) renewal_fails: Mutex<Option<ProviderError>>,
    pub(crate) renewal_doubt: Mutex<Option<ProviderError>>,
    /// Whether a renewal brings no access token.
    pub(crate) gives_no_access: AtomicBool,
    /// Whether there is an ID token, for somebody or a renewal.
    pub(crate) has_id_tokens: AtomicBool,
    /// Whether a renewal waits until it is told to go on.
    pub(crate) renewal_hangs: AtomicBool,
    pub(crate) go_on: Notify,
    /// The scopes that it announces.
    pub(crate) announced: Mutex<Option<Vec<String>>>,
    last: Mutex<String>,
}

impl AnyCode {
    fn gives_access(&self, person: &str, count: u32) -> Option<ProviderAccess> {
        let gives_none = self.gives_no_access.load(Ordering::SeqCst);
        let token = ProviderAccessToken::new(format!("{person}'s access-{count}"));
        let access = ProviderAccess { token, expires_in: Some(ACCESS_LIFE), scope: None };
        Some(access).filter(|_| !gives_none)
    }

    fn gives_id_tokens(&self, about: &str) -> Option<IdTokenText> {
        let has = self.has_id_tokens.load(Ordering::SeqCst);
        has.then(|| IdTokenText::new(format!("{about}.signature")))
    }
}

#[async_trait]
impl IdentityProvider for AnyCode {
    async fn redeem(&self, grant: &CodeGrant<'_>) -> Result<ProviderTokens, ProviderError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.refuses.load(Ordering::SeqCst) {
            return Err(ProviderError::CodeRefused("used".into()));
        }
        self.brought.lock().unwrap().0 = grant.code_verifier.map(|text| text.expose().to_owned());
        let person = grant.code.expose().split('-').next().unwrap_or_default();
        person.clone_into(&mut self.last.lock().unwrap());
        Ok(ProviderTokens {
            source: TokenSource::TokenEndpoint { pkce: grant.code_verifier.is_some() },
            id_token: self.gives_id_tokens(person),
            access_token: Some(ProviderAccessToken::new(format!("{person}'s access-0"))),
            expires_in: Some(ACCESS_LIFE),
            scope: Some("openid calendar".to_owned()),
            refresh_token: Some(ProviderRefreshToken::new(format!("{person}-0"))),
        })
    }

    async fn verify(
        &self,
        _: &ProviderTokens,
        nonce: Option<&Nonce>,
    ) -> Result<VerifiedIdentity, ProviderError> {
        if let Some(failure) = self.verification_fails.lock().unwrap().clone() {
            return Err(failure);
        }
        self.brought.lock().unwrap().1 = nonce.map(|text| text.expose().to_owned());
        let (auth_time, acr) = self.authenticated.lock().unwrap().clone();
        Ok(VerifiedIdentity {
            identity: ExternalIdentity {
                issuer: "https://idp.example.com".to_owned(),
                subject: self.last.lock().unwrap().clone(),
            },
            claims: self.claims.lock().unwrap().clone(),
            auth_time,
            acr,
            amr: vec![],
            id_token: None,
        })
    }

    async fn end_session_endpoint(&self) -> Result<Option<String>, ProviderError> {
        Ok(Some("https://idp.example.com/bye?tenant=1".to_owned()))
    }

    async fn authorization_endpoint(&self) -> Result<AuthorizationEndpoint, ProviderError> {
        Ok(AuthorizationEndpoint {
            url: "https://idp.example.com/authorize?tenant=1".to_owned(),
            names_issuer: self.names_issuer.load(Ordering::SeqCst),
            scopes: self.announced.lock().unwrap().clone(),
        })
    }

    /// Counts in the token how often it was renewed.
    async fn renew(
        &self,
        token: &ProviderRefreshToken,
        identity: &ExternalIdentity,
    ) -> Result<Renewal, ProviderError> {
        let text = token.expose().to_owned();
        self.renewed_with.lock().unwrap().push(text.clone());
        tokio::task::yield_now().await;
        if self.renewal_hangs.load(Ordering::SeqCst) {
            self.go_on.notified().await;
        }
        if let Some(failure) = self.renewal_fails.lock().unwrap().clone() {
            return Err(failure);
        }
        let (person, count) = text.split_once('-').unwrap();
        assert_eq!(person, identity.subject);
        let count: u32 = count.parse().unwrap();
        let doubt = self.renewal_doubt.lock().unwrap().clone();
        let id_token = self.gives_id_tokens(&format!("{person}.renewed-{}", count + 1));
        Ok(Renewal {
            claims: self.renewed_claims.lock().unwrap().clone(),
            refresh_token: Some(ProviderRefreshToken::new(format!("{person}-{}", count + 1))),
            id_token: id_token.filter(|_| doubt.is_none()),
            access: self.gives_access(person, count + 1).filter(|_| doubt.is_none()),
            doubt,
        })
    }

    /// Takes the words of the text for the order: a subject, `sid:` with a session, or both.
    async fn verify_logout(&self, token: &LogoutTokenText) -> Result<LogoutOrder, ProviderError> {
        let text = token.expose();
        if text == "forged" {
            return Err(ProviderError::LogoutTokenRefused("forged".into()));
        }
        let session = text.split(' ').find_map(|word| word.strip_prefix("sid:"));
        let subject = text.split(' ').find(|word| !word.starts_with("sid:"));
        Ok(LogoutOrder {
            issuer: "https://idp.example.com".to_owned(),
            subject: subject.map(str::to_owned),
            session: session.map(str::to_owned),
            id: TokenHash::of(text),
            expires_at: Timestamp::from_unix(1_900_000_000),
        })
    }
}

/// How long the provider's access tokens live.
pub(crate) const ACCESS_LIFE: Duration = Duration::from_mins(10);

/// Seals by saying for whom.
pub(crate) struct PlainSeal;

impl TokenSeal for PlainSeal {
    fn mark(&self) -> String {
        String::new()
    }

    fn seal(
        &self,
        session: SessionId,
        kind: UpstreamTokenKind,
        token: &SecretText,
    ) -> Result<SealedToken, SealError> {
        Ok(SealedToken(format!("{session} {kind:?}|{}", token.expose())))
    }

    fn open(
        &self,
        session: SessionId,
        kind: UpstreamTokenKind,
        sealed: &SealedToken,
    ) -> Result<SecretText, SealError> {
        let (of, token) = sealed.0.split_once('|').ok_or_else(|| SealError("shape".into()))?;
        assert_eq!(of, format!("{session} {kind:?}"));
        Ok(SecretText::new(token))
    }
}

/// The providers' refresh tokens, of which new ones cannot be stored while it is told so.
struct RefusesToKeep {
    store: MemoryStore,
    refuses: Arc<AtomicBool>,
}

#[async_trait]
impl UpstreamTokenRepo for RefusesToKeep {
    async fn load_upstream(&self, session: SessionId) -> Result<UpstreamTokens, StoreError> {
        self.store.load_upstream(session).await
    }

    async fn claim_upstream(
        &self,
        session: SessionId,
        due: UpstreamDue,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Option<ClaimedUpstream>, StoreError> {
        self.store.claim_upstream(session, due, now, lease).await
    }

    async fn release_upstream(
        &self,
        session: SessionId,
        refresh: &SealedToken,
    ) -> Result<(), StoreError> {
        self.store.release_upstream(session, refresh).await
    }

    async fn forget_upstream(
        &self,
        session: SessionId,
        refresh: &SealedToken,
    ) -> Result<(), StoreError> {
        self.store.forget_upstream(session, refresh).await
    }

    async fn keep_upstream(
        &self,
        session: SessionId,
        renewal: &UpstreamRenewal,
    ) -> Result<(), StoreError> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("down".into()));
        }
        self.store.keep_upstream(session, renewal).await
    }

    async fn sealed_before(
        &self,
        mark: &str,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<SealedPage, StoreError> {
        self.store.sealed_before(mark, after, limit).await
    }

    async fn reseal_upstream(
        &self,
        token: &SealedBefore,
        sealed: &SealedToken,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.store.reseal_upstream(token, sealed, now).await
    }
}

/// Tells the roles it is told, or that it is down.
#[derive(Default)]
pub(crate) struct ToldRoles {
    pub(crate) roles: Mutex<Vec<Role>>,
    pub(crate) is_down: AtomicBool,
    pub(crate) asked: AtomicUsize,
}

#[async_trait]
impl RoleDirectory for ToldRoles {
    async fn roles(&self, _: RoleQuestion<'_>) -> Result<Vec<Role>, RoleLookupError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.is_down.load(Ordering::SeqCst) {
            return Err(RoleLookupError("down".into()));
        }
        Ok(self.roles.lock().unwrap().clone())
    }
}

/// A session store whose calls fail or are disturbed as a test orders; without orders, it works.
pub(crate) struct DisturbedRepo {
    store: MemoryStore,
    /// Whether a session that is loaded has a state that no token was ever signed from.
    pub(crate) corrupts_replays: AtomicBool,
    /// Whether the next reservation of an idempotency key succeeds although the key is taken.
    pub(crate) hides_an_opening: AtomicBool,
    /// Whether opening a session fails.
    pub(crate) fails_openings: AtomicBool,
    /// Whether ending many sessions fails.
    pub(crate) fails_endings: AtomicBool,
    /// Runs after the next write of a session, before that is answered.
    pub(crate) runs_after_a_write: Mutex<Option<Happening>>,
}

/// A step of somebody else, taken while a use case runs.
pub(crate) type Happening =
    Box<dyn FnOnce() -> futures_util::future::BoxFuture<'static, ()> + Send>;

impl DisturbedRepo {
    fn quiet(store: MemoryStore) -> Self {
        let no = || AtomicBool::new(false);
        Self {
            store,
            corrupts_replays: no(),
            hides_an_opening: no(),
            fails_openings: no(),
            fails_endings: no(),
            runs_after_a_write: Mutex::default(),
        }
    }
}

#[async_trait]
impl Interposed for DisturbedRepo {
    fn store(&self) -> &dyn RefreshTokenRepo {
        &self.store
    }

    async fn open(&self, opening: &SessionOpening) -> Result<OpenOutcome, StoreError> {
        if self.fails_openings.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("down".into()));
        }
        let outcome = self.store.open(opening).await;
        self.let_it_happen().await;
        outcome
    }

    async fn exchange(
        &self,
        rotation: &Rotation,
        grant_limit: Option<u32>,
    ) -> Result<Option<Box<Session>>, StoreError> {
        // A real store takes a while, in which others come.
        tokio::task::yield_now().await;
        let exchanged = self.store.exchange(rotation, grant_limit).await;
        self.let_it_happen().await;
        exchanged
    }

    async fn load(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError> {
        let mut loaded = self.store.load(id).await?;
        if let Some(loaded) = &mut loaded {
            self.corrupt(&mut loaded.session);
        }
        Ok(loaded)
    }

    async fn end_sessions(
        &self,
        user: UserId,
        identity: Option<&ExternalIdentity>,
        keep: Option<SessionId>,
        end: SessionEnd,
    ) -> Result<u64, StoreError> {
        if self.fails_endings.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("down".into()));
        }
        self.store.end_sessions(user, identity, keep, end).await
    }
}

impl DisturbedRepo {
    async fn let_it_happen(&self) {
        let happening = self.runs_after_a_write.lock().unwrap().take();
        if let Some(happening) = happening {
            happening().await;
        }
    }

    fn corrupt(&self, session: &mut Session) {
        if self.corrupts_replays.load(Ordering::SeqCst) {
            session.refresh.issued_at = session.refresh.issued_at + Duration::from_secs(1);
        }
    }
}

/// The idempotency records, which may miss one.
struct Records(Arc<InterposedRepo<DisturbedRepo>>);

#[async_trait]
impl IdempotencyRecords for Records {
    async fn reserve(
        &self,
        request: &IdempotencyKey,
        holder: &Holder,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Reserved, StoreError> {
        let disturbed = &self.0.0;
        if disturbed.hides_an_opening.swap(false, Ordering::SeqCst) {
            return Ok(Reserved::Own);
        }
        disturbed.store.reserve(request, holder, lease, now).await
    }

    async fn release(&self, key: TokenHash, holder: &Holder) -> Result<(), StoreError> {
        self.0.0.store.release(key, holder).await
    }

    async fn find(
        &self,
        key: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(IdempotencyKey, SessionId)>, StoreError> {
        self.0.0.store.find(key, now).await
    }
}

/// Everything a session meets in its life.
pub(crate) struct Rig {
    pub(crate) store: MemoryStore,
    /// Where the users are: the same store, unless they are kept elsewhere.
    pub(crate) people: MemoryStore,
    pub(crate) disturbed: Arc<InterposedRepo<DisturbedRepo>>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) tokens: Arc<PlainTokens>,
    pub(crate) metrics: Arc<RecordingMetrics>,
    pub(crate) audit: Arc<RecordingAuditLog>,
    pub(crate) provider: Arc<AnyCode>,
    pub(crate) told: Arc<ToldRoles>,
    /// Whether the store is down whenever a provider's answer is to be kept.
    pub(crate) keeps_nothing: Arc<AtomicBool>,
    pub(crate) begin: BeginLogin,
    pub(crate) issue: IssueTokens,
    pub(crate) refresh: Arc<RefreshSession>,
    pub(crate) introspection: Introspection,
    pub(crate) own: Arc<OwnSessions>,
    pub(crate) sign_out: SignOut,
    pub(crate) app_access: AppAccess,
    pub(crate) identities: Identities,
    pub(crate) provider_logout: ProviderLogout,
}

pub(crate) fn refresh_config() -> RefreshConfig {
    RefreshConfig {
        access_ttl: Duration::from_hours(1),
        refresh_ttl: DAY * 30,
        session_ttl: DAY * 90,
        grace: GRACE,
        grace_replays: 10,
        lost_answer: LostAnswer::Grace,
        newer_token: NewerToken::Refuse,
        body_delivery: true,
        decides_roles: false,
    }
}

/// What a rig may differ in.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) config: Option<RefreshConfig>,
    pub(crate) recheck: Option<Duration>,
    /// Whether access tokens are kept.
    pub(crate) keeps_access_tokens: bool,
    /// Whether ID tokens are kept.
    pub(crate) keeps_id_tokens: bool,
    pub(crate) on_lookup_failure: Option<OnLookupFailure>,
    pub(crate) rules: Vec<RoleRule>,
    pub(crate) without_default_role: bool,
    /// Whether PKCE and nonce are required.
    pub(crate) is_strict: bool,
    /// Whether sessions and users are in two stores.
    pub(crate) keeps_users_elsewhere: bool,
}

impl Setup {
    fn requirement(&self) -> Requirement {
        if self.is_strict { Requirement::Required } else { Requirement::Auto }
    }

    fn role_decider(self, told: &Arc<ToldRoles>) -> RoleDecider {
        let default = if self.without_default_role { vec![] } else { vec![Role::new("user")] };
        RoleDecider {
            policy: RolePolicy { default, rules: self.rules },
            lookup: self
                .on_lookup_failure
                .map(|on_failure| RoleLookup { directory: told.clone(), on_failure }),
        }
    }
}

/// Runs work beside its caller, who has no more patience than work needs that never really waits.
struct Impatient(Arc<ManualClock>);

#[async_trait]
impl Background for Impatient {
    /// Nobody who asks for a token is patient either: no lease is so short.
    async fn run(&self, work: Pin<Box<dyn Future<Output = ()> + Send>>, patience: Duration) {
        let is_refresh = patience < Duration::from_secs(1);
        assert!(is_refresh || patience == LEASE, "a refresh waits for less than a second");
        let task = tokio::spawn(work);
        for _ in 0..100 {
            if task.is_finished() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn pause(&self, time: Duration) {
        self.0.advance(time);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

/// How long one caller has a refresh token for itself.
pub(crate) const LEASE: Duration = Duration::from_mins(1);

/// The provider as it is registered: `corp` lets clients choose parameters; `other` has two redirect
/// URIs, and its logout tokens are about people; `hub` has no ID tokens and is never asked again.
fn policy(id: &str, setup: &Setup) -> ProviderPolicy {
    let requirement = setup.requirement();
    let mut redirect_uris = vec![AllowedUri::redirect_uri(format!("https://app.example.com/{id}"))];
    if id == "other" {
        redirect_uris.push(AllowedUri::redirect_uri("https://app.example.com/second"));
    }
    ProviderPolicy {
        id: ProviderId::new(id),
        issuers: vec![format!("https://{id}.example.com"), "https://idp.example.com".to_owned()],
        redirect_uris,
        pkce: requirement,
        nonce: match requirement {
            Requirement::Auto => NonceRule::Auto,
            Requirement::Required => NonceRule::Required,
        },
        login: LoginRequest {
            display_name: id.to_owned(),
            preset: "oidc".to_owned(),
            client_id: "mintgate".to_owned(),
            scopes: vec!["openid".to_owned()],
            parameters: vec![("prompt".to_owned(), "select account".to_owned())],
            client_parameters: match id {
                "corp" => LoginParameter::ALL.map(|one| (one, one.field().to_owned())).into(),
                _ => vec![],
            },
            offline: Some(OfflineScope { scope: "email".to_owned(), with_consent: false }),
            has_id_tokens: id != "hub",
        },
        logout_scope: if id == "other" { LogoutScope::Person } else { LogoutScope::Session },
        logout: LogoutRequest {
            redirect_uris: vec!["https://app.example.com/bye".to_owned()],
            redirect_parameter: "post_logout_redirect_uri".to_owned(),
            keeps_id_token: setup.keeps_id_tokens,
        },
        recheck: setup
            .recheck
            .filter(|_| id != "hub")
            .map(|every| RecheckRule { every, lease: LEASE }),
        access: setup
            .keeps_access_tokens
            .then_some(AccessRule { lease: LEASE })
            .filter(|_| id != "hub"),
    }
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(refresh_config())
    }

    /// With another configuration of refreshes.
    pub(crate) fn with(config: RefreshConfig) -> Self {
        Self::set_up(Setup { config: Some(config), ..Setup::default() })
    }

    /// With whatever is different; the providers `corp`, `other` and (without ID tokens) `hub` are
    /// the same one.
    #[expect(clippy::too_many_lines, reason = "it wires every use case once")]
    pub(crate) fn set_up(setup: Setup) -> Self {
        let config = setup.config.clone().unwrap_or_else(refresh_config);
        let store = if setup.keeps_users_elsewhere {
            MemoryStore::of_sessions_alone()
        } else {
            MemoryStore::default()
        };
        let people =
            if setup.keeps_users_elsewhere { MemoryStore::default() } else { store.clone() };
        let disturbed = Arc::new(InterposedRepo(DisturbedRepo::quiet(store.clone())));
        let sessions = Sessions {
            repo: disturbed.clone(),
            users: Arc::new(people.clone()),
            marks: Arc::new(store.clone()),
            idempotency: Arc::new(Records(disturbed.clone())),
        };
        let clock = Arc::new(ManualClock::default());
        let tokens = Arc::new(PlainTokens::default());
        let metrics = Arc::new(RecordingMetrics::default());
        let audit = Arc::new(RecordingAuditLog::default());
        let provider = Arc::new(AnyCode::default());
        let registered = ["corp", "other", "hub"]
            .map(|id| RegisteredProvider { policy: policy(id, &setup), adapter: provider.clone() });
        let providers = registered.into_iter().collect();
        let sign_in = Arc::new(SignIn::new(providers, LOGIN_TTL, clock.clone(), metrics.clone()));
        let told = Arc::new(ToldRoles::default());
        let keeps_nothing = Arc::new(AtomicBool::new(false));
        let recheck = setup.recheck;
        let keeps = recheck.is_some() || setup.keeps_id_tokens || setup.keeps_access_tokens;
        let roles = setup.role_decider(&told);
        let refuses = Arc::clone(&keeps_nothing);
        let repo = Arc::new(RefusesToKeep { store: store.clone(), refuses });
        let kept = keeps.then(|| KeptTokens { repo, seal: Arc::new(PlainSeal) });
        let renewals = kept.clone().map(|kept| {
            let ports = RenewalPorts {
                sessions: disturbed.clone(),
                kept,
                background: Arc::new(Impatient(clock.clone())),
                metrics: metrics.clone(),
                audit: audit.clone(),
            };
            Arc::new(Renewals::new(ports))
        });
        let app_access = AppAccess {
            sessions: sessions.clone(),
            sign_in: Arc::clone(&sign_in),
            renewals: renewals.clone(),
            roles: roles.policy.clone(),
            background: Arc::new(Impatient(clock.clone())),
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        let recheck =
            renewals.map(|renewals| Arc::new(Recheck::new(Arc::clone(&sign_in), renewals)));
        let issue = IssueTokens::new(
            IssueTokensPorts {
                sign_in: Arc::clone(&sign_in),
                roles: roles.clone(),
                kept: kept.clone(),
                sessions: sessions.clone(),
                people: Arc::new(people.clone()),
                signer: tokens.clone(),
                cookies: Arc::new(PlainCookies),
                clock: clock.clone(),
                entropy: Arc::new(SeededEntropy::new(1)),
                metrics: metrics.clone(),
                audit: audit.clone(),
            },
            IssueTokensConfig {
                access_ttl: config.access_ttl,
                refresh_ttl: DAY * 30,
                session_ttl: DAY * 90,
                body_delivery: true,
                extra_claims: vec![],
                former_ids_claim: Some("former_ids".to_owned()),
                admission: Admission::Open,
                profile: ProfileClaims(ProfileClaim::ALL.into()),
            },
        );
        let refresh = RefreshSession::new(
            RefreshPorts {
                sessions: sessions.clone(),
                roles,
                recheck,
                verifier: tokens.clone(),
                signer: tokens.clone(),
                cookies: Arc::new(PlainCookies),
                clock: clock.clone(),
                entropy: Arc::new(SeededEntropy::new(2)),
                metrics: metrics.clone(),
                audit: audit.clone(),
            },
            config,
        );
        let own = Arc::new(OwnSessions {
            sessions: sessions.clone(),
            verifier: tokens.clone(),
            clock: clock.clone(),
            profile: ProfileClaims(ProfileClaim::ALL.into()),
            metrics: metrics.clone(),
            audit: audit.clone(),
        });
        let refresh = Arc::new(refresh);
        let introspection =
            Introspection { own_sessions: Arc::clone(&own), refresh_session: Arc::clone(&refresh) };
        let begin = BeginLogin {
            sign_in: Arc::clone(&sign_in),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(3)),
        };
        let identities = Identities {
            own_sessions: Arc::clone(&own),
            sign_in: Arc::clone(&sign_in),
            sessions: sessions.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            audit: audit.clone(),
        };
        let sign_out =
            SignOut { own_sessions: Arc::clone(&own), sign_in: Arc::clone(&sign_in), kept };
        let provider_logout = ProviderLogout {
            sign_in,
            sessions,
            clock: clock.clone(),
            metrics: metrics.clone(),
            audit: audit.clone(),
        };
        Self {
            store,
            people,
            disturbed,
            clock,
            tokens,
            metrics,
            audit,
            provider,
            told,
            keeps_nothing,
            begin,
            issue,
            refresh,
            introspection,
            own,
            sign_out,
            app_access,
            identities,
            provider_logout,
        }
    }

    /// Signs in with a code; its part before the dash is the person.
    pub(crate) async fn sign_in(&self, code: &str) -> IssuedTokens {
        self.issue.issue(&request(code, None)).await.expect("a session")
    }

    /// Presents a refresh token.
    pub(crate) async fn refresh(&self, token: &SignedToken) -> Result<IssuedTokens, AuthError> {
        self.refresh.refresh(&presented(token), TokenDelivery::Body, None).await
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

    /// What came of asking providers again, by the names that is counted under.
    pub(crate) fn rechecks(&self) -> Vec<&'static str> {
        let events = self.metrics.events();
        let results = events.iter().filter_map(|event| match event {
            MetricEvent::ProviderRecheck { result, .. } => Some(result.name()),
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
        sign_in: with_code(code),
        delivery: TokenDelivery::Body,
        client: ClientInfo::default(),
        idempotency: idempotency.map(|(key, body)| IdempotencyKey {
            key: TokenHash::of(key),
            body: TokenHash::of(body),
        }),
    }
}

/// A sign-in by code at `corp` and nothing more; the code's part before the dash is the person.
pub(crate) fn with_code(code: &str) -> SignInRequest {
    SignInRequest {
        provider: Some("corp".to_owned()),
        credential: Credential::Code(AuthorizationCode::new(code)),
        redirect_uri: None,
        code_verifier: None,
        nonce: None,
        state: None,
        issuer: None,
        logins: vec![],
        callback: None,
        purpose: LoginPurpose::SignIn,
    }
}

/// A token of ours as somebody presents it.
pub(crate) fn presented(token: &SignedToken) -> PresentedToken {
    PresentedToken::new(token.expose())
}
