//! The use case on fakes: what cannot be arranged over HTTP, above all races and failures between two steps.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{
    AccessClaims, AllowedUri, ClaimSet, ClientInfo, ExternalIdentity, KeyId, LoginPurpose,
    ProfileClaims, ProviderId, RefreshClaims, Role, Timestamp, VerifiedIdentity,
};
use mintgate_domain::ports::{
    AuthorizationEndpoint, CodeGrant, CookiePolicy, CookieTooLarge, IdentityProvider, LogoutOrder,
    Misbehaviour, NoAuditLog, ProviderError, ProviderTokens, RefreshTokenRepo as _, Renewal,
    RoleDirectory, RoleLookupError, RoleQuestion, SessionTokens, SigningError, StoreError,
    TokenSigner, TokenSource, UserDirectory as _,
};
use mintgate_domain::{
    Admission, AuthError, AuthorizationCode, Credential, IssueTokens, IssueTokensConfig,
    IssueTokensPorts, LoginRequest, LogoutRequest, LogoutScope, LogoutTokenText, Nonce, NonceRule,
    OnLookupFailure, ProviderPolicy, ProviderRefreshToken, RegisteredProvider, Requirement,
    RoleDecider, RoleLookup, RolePolicy, Sessions, SetCookie, SignIn, SignInRequest, SignedToken,
    TokenDelivery, TokenHash, TokenRequest,
};
use mintgate_testkit::{
    ManualClock, MemoryStore, MetricEvent, RecordingMetrics, SeededEntropy, StoreUnderTest as _,
};
use tokio::sync::Barrier;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// A provider that vouches for one person, or fails as it is told.
#[derive(Default)]
struct FakeProvider {
    failure: Mutex<Option<ProviderError>>,
    redeemed: AtomicUsize,
}

#[async_trait]
impl IdentityProvider for FakeProvider {
    async fn redeem(&self, _: &CodeGrant<'_>) -> Result<ProviderTokens, ProviderError> {
        self.redeemed.fetch_add(1, Ordering::SeqCst);
        match self.failure.lock().unwrap().clone() {
            Some(failure) => Err(failure),
            None => Ok(ProviderTokens {
                source: TokenSource::TokenEndpoint { pkce: false },
                id_token: None,
                access_token: None,
                expires_in: None,
                scope: None,

                refresh_token: None,
            }),
        }
    }

    async fn verify(
        &self,
        _: &ProviderTokens,
        _: Option<&Nonce>,
    ) -> Result<VerifiedIdentity, ProviderError> {
        Ok(VerifiedIdentity {
            identity: person(),
            claims: ClaimSet::default(),
            auth_time: None,
            acr: None,
            amr: vec![],
            id_token: Some((TokenHash::of("id token"), NOW + Duration::from_mins(5))),
        })
    }

    async fn authorization_endpoint(&self) -> Result<AuthorizationEndpoint, ProviderError> {
        Err(ProviderError::Unreachable("not part of this".into()))
    }

    async fn renew(
        &self,
        _: &ProviderRefreshToken,
        _: &ExternalIdentity,
    ) -> Result<Renewal, ProviderError> {
        Err(ProviderError::Unreachable("not part of this".into()))
    }

    async fn verify_logout(&self, _: &LogoutTokenText) -> Result<LogoutOrder, ProviderError> {
        Err(ProviderError::Unreachable("not part of this".into()))
    }
}

/// Writes the claims where a token would be.
struct PlainSigner;

impl TokenSigner for PlainSigner {
    fn sign_access(&self, claims: &AccessClaims<'_>) -> Result<SignedToken, SigningError> {
        let life = claims.expires_at.as_unix() - claims.issued_at.as_unix();
        Ok(SignedToken::new(format!("{} {life}", claims.subject)))
    }

    fn refresh_key_id(&self) -> Result<KeyId, SigningError> {
        Ok(KeyId::new("refresh-key"))
    }

    fn sign_refresh(&self, claims: &RefreshClaims<'_>) -> Result<SignedToken, SigningError> {
        Ok(SignedToken::new(format!("{} {}", claims.subject, claims.session)))
    }
}

struct NoCookies;

impl CookiePolicy for NoCookies {
    fn session_cookies(&self, _: SessionTokens<'_>) -> Result<[SetCookie; 2], CookieTooLarge> {
        Ok([SetCookie::new("access"), SetCookie::new("refresh")])
    }

    fn longest_tokens(&self) -> [usize; 2] {
        [4096; 2]
    }

    fn clearing_cookies(&self) -> [SetCookie; 2] {
        [SetCookie::new(""), SetCookie::new("")]
    }
}

/// A role lookup in which two sign-ins meet: both have found nobody, and neither has stored anything.
struct MeetingPoint {
    barrier: Barrier,
    asked: AtomicUsize,
}

#[async_trait]
impl RoleDirectory for MeetingPoint {
    async fn roles(&self, _: RoleQuestion<'_>) -> Result<Vec<Role>, RoleLookupError> {
        if self.asked.fetch_add(1, Ordering::SeqCst) < 2 {
            self.barrier.wait().await;
        }
        Ok(vec![])
    }
}

struct Rig {
    provider: Arc<FakeProvider>,
    store: MemoryStore,
    metrics: Arc<RecordingMetrics>,
    issue: IssueTokens,
}

fn person() -> ExternalIdentity {
    ExternalIdentity { issuer: "https://idp.example.com".to_owned(), subject: "ada".to_owned() }
}

fn config() -> IssueTokensConfig {
    IssueTokensConfig {
        access_ttl: Duration::from_hours(1),
        refresh_ttl: Duration::from_hours(24),
        session_ttl: Duration::from_hours(48),
        body_delivery: false,
        admission: Admission::Open,
        profile: ProfileClaims::default(),
        extra_claims: vec![],
        former_ids_claim: None,
    }
}

fn rig() -> Rig {
    let store = MemoryStore::default();
    rig_with(store, config(), None)
}

fn rig_with(store: MemoryStore, config: IssueTokensConfig, lookup: Option<RoleLookup>) -> Rig {
    let provider = Arc::new(FakeProvider::default());
    let metrics = Arc::new(RecordingMetrics::default());
    let policy = ProviderPolicy {
        id: ProviderId::new("corp"),
        issuers: vec![person().issuer],
        redirect_uris: vec![AllowedUri::redirect_uri("https://app.example.com/callback")],
        pkce: Requirement::Auto,
        nonce: NonceRule::Auto,
        logout_scope: LogoutScope::Session,
        login: LoginRequest { has_id_tokens: true, ..LoginRequest::default() },
        logout: LogoutRequest::default(),
        recheck: None,
        access: None,
    };
    let registered = RegisteredProvider { policy, adapter: provider.clone() };
    let clock = Arc::new(ManualClock::at(NOW));
    let providers = [registered].into_iter().collect();
    let policy = RolePolicy { default: vec![Role::new("user")], rules: vec![] };
    let ports = IssueTokensPorts {
        sign_in: Arc::new(SignIn::new(
            providers,
            Duration::from_mins(10),
            clock.clone(),
            metrics.clone(),
        )),
        roles: RoleDecider { policy, lookup },
        kept: None,
        people: Arc::new(store.clone()),
        sessions: Sessions {
            repo: Arc::new(store.clone()),
            users: Arc::new(store.clone()),
            marks: Arc::new(store.clone()),
            idempotency: Arc::new(store.clone()),
        },
        signer: Arc::new(PlainSigner),
        cookies: Arc::new(NoCookies),
        clock,
        entropy: Arc::new(SeededEntropy::new(1)),
        metrics: metrics.clone(),
        audit: Arc::new(NoAuditLog),
    };
    Rig { provider, store, metrics, issue: IssueTokens::new(ports, config) }
}

fn request(code: &str) -> TokenRequest {
    TokenRequest {
        sign_in: SignInRequest {
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
        },
        delivery: TokenDelivery::Cookie,
        client: ClientInfo::default(),
        idempotency: None,
    }
}

#[tokio::test]
async fn two_first_sign_ins_of_one_person_at_once_end_as_one_user_with_two_sessions() {
    let meeting = MeetingPoint { barrier: Barrier::new(2), asked: AtomicUsize::new(0) };
    let lookup = RoleLookup { directory: Arc::new(meeting), on_failure: OnLookupFailure::Refuse };
    let rig = rig_with(MemoryStore::default(), config(), Some(lookup));

    let (here, there) = (request("code"), request("another code"));
    let (one, other) = tokio::join!(rig.issue.issue(&here), rig.issue.issue(&there));
    let (one, other) = (one.unwrap(), other.unwrap());

    assert_eq!(one.user, other.user, "the user who is there, not the one it meant to create");
    assert!(other.access.expose().starts_with(&one.user.to_string()));
    assert!(one.access.expose().starts_with(&one.user.to_string()));
    assert_eq!(rig.store.dump().await.counts(), [1, 1, 0, 2]);
    assert_eq!(rig.provider.redeemed.load(Ordering::SeqCst), 2, "no code is exchanged again");
}

#[tokio::test]
async fn case_32_a_disabled_user_is_denied_and_nothing_is_written() {
    let rig = rig();
    let user = rig.issue.issue(&request("first")).await.unwrap().user;
    rig.store.disable_user(user, NOW).await;
    let before = rig.store.dump().await;
    let refusal = rig.issue.issue(&request("second")).await.unwrap_err();
    assert_eq!(refusal.code().as_str(), "ACCESS_DENIED");
    assert_eq!(rig.store.dump().await, before);
}

#[tokio::test]
async fn roles_given_in_the_store_are_added() {
    let rig = rig();
    let user = rig.issue.issue(&request("first")).await.unwrap().user;
    rig.store.grant_roles(user, &["auditor"]).await;
    let session = rig.issue.issue(&request("second")).await.unwrap().session;
    let stored = rig.store.load(session).await.unwrap().unwrap().session;
    assert_eq!(stored.grant.roles, [Role::new("auditor"), Role::new("user")]);
}

#[tokio::test]
async fn a_store_that_is_down_is_an_error_and_never_an_unknown_user() {
    let rig = rig();
    rig.issue.issue(&request("first")).await.unwrap();
    rig.store.set_fault(Some(StoreError::Unavailable("down".into())));
    let refusal = rig.issue.issue(&request("second")).await.unwrap_err();
    assert_eq!(refusal.code().as_str(), "STORE_UNAVAILABLE");
    rig.store.set_fault(None);
    assert_eq!(rig.store.dump().await.counts(), [1, 1, 0, 1]);
    assert!(rig.store.find_user(&person()).await.unwrap().is_some());
}

#[tokio::test]
async fn case_17_only_a_code_that_never_left_may_be_posted_again() {
    for (failure, exchanges) in [
        (ProviderError::Unreachable("refused".into()), 2),
        (ProviderError::TimedOut("silence".into()), 1),
        (ProviderError::Misbehaved(Misbehaviour::BadAnswer, "nonsense".into()), 1),
        (ProviderError::CodeRefused("no".into()), 1),
    ] {
        let rig = rig();
        *rig.provider.failure.lock().unwrap() = Some(failure.clone());
        rig.issue.issue(&request("code")).await.unwrap_err();
        let again = rig.issue.issue(&request("code")).await.unwrap_err();
        assert_eq!(rig.provider.redeemed.load(Ordering::SeqCst), exchanges, "{failure}");
        if exchanges == 1 {
            assert!(matches!(again, AuthError::InvalidAuthCode(_)), "{again}");
        }
    }
}

#[tokio::test]
async fn no_token_outlives_its_session() {
    let store = MemoryStore::default();
    let config = IssueTokensConfig {
        access_ttl: Duration::from_hours(3),
        refresh_ttl: Duration::from_hours(3),
        session_ttl: Duration::from_hours(2),
        ..config()
    };
    let rig = rig_with(store, config, None);
    let tokens = rig.issue.issue(&request("code")).await.unwrap();
    assert_eq!(tokens.access_expires_in, Duration::from_hours(2));
    assert_eq!(tokens.refresh_expires_in, Duration::from_hours(2));
    assert!(tokens.access.expose().ends_with(" 7200"));
    let stored = rig.store.load(tokens.session).await.unwrap().unwrap().session;
    assert_eq!(stored.refresh.expires_at, stored.absolute_expires_at);
    assert_eq!(stored.refresh.hash, TokenHash::of(tokens.refresh.expose()));
}

#[tokio::test]
async fn every_outcome_is_counted_once_with_a_configured_provider_or_none() {
    let rig = rig();
    rig.issue.issue(&request("code")).await.unwrap();
    rig.issue.issue(&request("code")).await.unwrap_err();
    let mut unknown = request("code");
    unknown.sign_in.provider = Some("CORP".to_owned());
    rig.issue.issue(&unknown).await.unwrap_err();
    let counted: Vec<_> = rig
        .metrics
        .events()
        .into_iter()
        .filter_map(|event| match event {
            MetricEvent::TokenGeneration { provider, outcome } => Some((provider, outcome)),
            _ => None,
        })
        .collect();
    let corp = Some(ProviderId::new("corp"));
    assert_eq!(
        counted,
        [(corp.clone(), "success"), (corp, "INVALID_AUTH_CODE"), (None, "UNKNOWN_PROVIDER")]
    );
}
