//! A provider, an adapter that is configured for it, and what is needed to watch both.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mintgate_domain::model::{ProviderId, RevokeReason, VerifiedIdentity};
use mintgate_domain::ports::{
    CircuitState, Clock, CodeGrant, Entropy, IdentityProvider, LogoutOrder, Metrics, Phase,
    ProviderEndpoint, ProviderError, ProviderTokens, RefreshResult, StoreOperation, TokenSource,
};
use mintgate_domain::{
    AuthorizationCode, CodeVerifier, IdTokenText, LogoutTokenText, Nonce, SecretText, chain,
};
use mintgate_identity_openid::{Dialect, Network, OpenIdConfig, OpenIdProvider};
use mintgate_mock_idp::{IdTokenAlg, IdTokenRecipe, MockConfig, MockIdp, SignIn, Stats};
use time::OffsetDateTime;

pub(crate) const CLIENT_SECRET: &str = "mintgate-dev-secret";
pub(crate) const NONCE: &str = "n-0S6_WzA2Mj";

/// The machine's time, with a monotonic clock that stands still until it is put forward.
#[derive(Default)]
pub(crate) struct TestClock {
    monotonic_ms: AtomicU64,
}

impl TestClock {
    pub(crate) fn advance(&self, span: Duration) {
        let ms = span.as_millis().try_into().unwrap();
        self.monotonic_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    #[expect(clippy::disallowed_methods, reason = "the mock signs with the machine's clock")]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_ms.load(Ordering::SeqCst))
    }
}

/// Remembers what the adapter counted.
#[derive(Default)]
pub(crate) struct Counted {
    requests: Mutex<Vec<(ProviderEndpoint, &'static str)>>,
    refreshes: Mutex<Vec<&'static str>>,
    circuits: Mutex<Vec<CircuitState>>,
}

impl Counted {
    pub(crate) fn requests(&self) -> Vec<(ProviderEndpoint, &'static str)> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn circuits(&self) -> Vec<CircuitState> {
        self.circuits.lock().unwrap().clone()
    }

    pub(crate) fn refreshes(&self) -> Vec<&'static str> {
        self.refreshes.lock().unwrap().clone()
    }
}

impl Metrics for Counted {
    fn token_generation(&self, _: Option<&ProviderId>, _: &'static str) {}
    fn token_generation_phase(&self, _: &ProviderId, _: Phase, _: Duration) {}
    fn refresh(&self, _: RefreshResult, _: Duration) {}
    fn sessions_revoked(&self, _: RevokeReason, _: u64) {}
    fn provider_circuit(&self, provider: &ProviderId, state: CircuitState) {
        assert_eq!(provider.as_str(), "corp");
        self.circuits.lock().unwrap().push(state);
    }
    fn provider_request(
        &self,
        provider: &ProviderId,
        endpoint: ProviderEndpoint,
        outcome: &'static str,
        _: Duration,
    ) {
        assert_eq!(provider.as_str(), "corp");
        self.requests.lock().unwrap().push((endpoint, outcome));
    }
    fn jwks_refresh(&self, _: &ProviderId, outcome: &'static str) {
        self.refreshes.lock().unwrap().push(outcome);
    }
    fn store_query(&self, _: StoreOperation, _: Duration) {}
}

/// An adapter with its clock and counts.
pub(crate) struct Adapter {
    pub(crate) provider: OpenIdProvider,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) counted: Arc<Counted>,
}

/// Randomness for the identifiers of client assertions.
pub(crate) struct Random;

impl Entropy for Random {
    fn fill(&self, buffer: &mut [u8]) {
        openssl::rand::rand_bytes(buffer).unwrap();
    }
}

impl Adapter {
    /// An adapter for the provider at `issuer`, configured as the mock expects it.
    pub(crate) fn new(issuer: &str, change: impl FnOnce(&mut OpenIdConfig)) -> Self {
        Self::with_dialect(issuer, Dialect::default(), change)
    }

    /// The same for a provider with a dialect.
    pub(crate) fn with_dialect(
        issuer: &str,
        dialect: Dialect,
        change: impl FnOnce(&mut OpenIdConfig),
    ) -> Self {
        let mut config = config(issuer);
        change(&mut config);
        let clock = Arc::new(TestClock::default());
        let counted = Arc::new(Counted::default());
        let provider = OpenIdProvider::with_dialect(
            config,
            dialect,
            clock.clone(),
            Arc::new(Random),
            counted.clone(),
        )
        .unwrap();
        Self { provider, clock, counted }
    }

    /// Redeems a code bound to [`SignIn::default`]'s redirect URI.
    pub(crate) async fn redeem(
        &self,
        code: &str,
        verifier: Option<&str>,
    ) -> Result<ProviderTokens, ProviderError> {
        let code = AuthorizationCode::new(code);
        let verifier = verifier.map(CodeVerifier::new);
        let redirect_uri = SignIn::default().redirect_uri;
        let grant = CodeGrant {
            code: &code,
            redirect_uri: &redirect_uri,
            code_verifier: verifier.as_ref(),
        };
        self.provider.redeem(&grant).await
    }

    /// Verifies an ID token that was posted directly.
    pub(crate) async fn verify(
        &self,
        id_token: &str,
        nonce: Option<&str>,
    ) -> Result<VerifiedIdentity, ProviderError> {
        let tokens = ProviderTokens {
            source: TokenSource::Client,
            id_token: Some(IdTokenText::new(id_token)),
            access_token: None,
            expires_in: None,
            scope: None,

            refresh_token: None,
        };
        self.provider.verify(&tokens, nonce.map(Nonce::new).as_ref()).await
    }

    /// Verifies a logout token.
    pub(crate) async fn verify_logout(&self, token: &str) -> Result<LogoutOrder, ProviderError> {
        self.provider.verify_logout(&LogoutTokenText::new(token)).await
    }

    /// A whole sign-in by code, as the mock grants it now.
    pub(crate) async fn sign_in(
        &self,
        idp: &MockIdp,
        sign_in: SignIn,
    ) -> Result<VerifiedIdentity, ProviderError> {
        let nonce = sign_in.nonce.clone().map(Nonce::new);
        let code = idp.control().issue_code(sign_in);
        let tokens = self.redeem(&code, None).await?;
        self.provider.verify(&tokens, nonce.as_ref()).await
    }
}

/// What the mock at `issuer` expects.
pub(crate) fn config(issuer: &str) -> OpenIdConfig {
    OpenIdConfig {
        id: ProviderId::new("corp"),
        issuer: issuer.to_owned(),
        client_id: "mintgate".to_owned(),
        client_secret: Some(SecretText::new(CLIENT_SECRET)),
        id_token_algorithms: vec!["RS256".to_owned()],
        userinfo: false,
        network: Network {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            ..Network::default()
        },
    }
}

pub(crate) async fn start() -> MockIdp {
    MockIdp::start(MockConfig::default()).await.unwrap()
}

/// A mock that signs ID tokens so; elliptic curves take less time to check than RSA.
pub(crate) async fn start_with(id_token_alg: IdTokenAlg) -> MockIdp {
    MockIdp::start(MockConfig { id_token_alg, ..MockConfig::default() }).await.unwrap()
}

/// A mock and an adapter that has signed somebody in already.
pub(crate) async fn warm() -> (MockIdp, Adapter) {
    let idp = start_with(IdTokenAlg::EdDsa).await;
    let adapter = Adapter::new(idp.issuer(), |config| {
        config.id_token_algorithms = vec!["EdDSA".to_owned()];
    });
    adapter.sign_in(&idp, SignIn::default()).await.unwrap();
    assert_eq!(fetched(&idp), (1, 1));
    (idp, adapter)
}

pub(crate) fn with_nonce() -> SignIn {
    SignIn { nonce: Some(NONCE.to_owned()), ..SignIn::default() }
}

/// A genuine ID token without a nonce.
pub(crate) fn genuine(idp: &MockIdp) -> String {
    idp.control().issue_id_token(&SignIn::default(), &IdTokenRecipe::default())
}

/// How often the discovery document and the JWKS were asked for.
pub(crate) fn fetched(idp: &MockIdp) -> (u64, u64) {
    let Stats { discovery, jwks, .. } = idp.control().stats();
    (discovery, jwks)
}

/// An error as it is logged, with everything underneath it.
pub(crate) fn logged(error: &ProviderError) -> String {
    chain(error).to_string()
}

/// Waits for a condition that another task brings about.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), wait).await.is_ok(), "never: {what}");
}
