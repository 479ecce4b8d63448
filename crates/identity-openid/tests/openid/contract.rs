//! The contract of the port `IdentityProvider`, which every adapter must pass: OpenID Connect and
//! OAuth 2.0, each against the mock provider.

use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::model::{ExternalIdentity, ProviderId};
use mintgate_domain::ports::{
    CodeGrant, IdentityProvider, Misbehaviour, ProviderError, ProviderTokens,
};
use mintgate_domain::{
    AuthorizationCode, LogoutTokenText, Nonce, ProviderRefreshToken, SecretText,
};
use mintgate_identity_openid::{
    ClientAuthentication, Network, OAuth2Config, OAuth2Endpoints, OAuth2Provider, OpenIdProvider,
};
use mintgate_mock_idp::{
    Dialect, FaultKind, Faults, IdTokenAlg, MockConfig, MockIdp, Refusal, SignIn, Stats,
};

use crate::support::{CLIENT_SECRET, Counted, NONCE, Random, TestClock, config, logged};

/// Soon enough for a test, late enough for a busy machine.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// An adapter with the mock provider that it is configured for.
struct Subject {
    idp: MockIdp,
    provider: Arc<dyn IdentityProvider>,
}

impl Subject {
    async fn openid() -> Self {
        let id_token_alg = IdTokenAlg::EdDsa;
        let idp =
            MockIdp::start(MockConfig { id_token_alg, ..MockConfig::default() }).await.unwrap();
        let mut config = config(idp.issuer());
        config.id_token_algorithms = vec!["EdDSA".to_owned()];
        config.network.timeout = TIMEOUT;
        let (clock, metrics) = (Arc::new(TestClock::default()), Arc::new(Counted::default()));
        let provider = OpenIdProvider::new(config, clock, Arc::new(Random), metrics).unwrap();
        Self { idp, provider: Arc::new(provider) }
    }

    async fn oauth2() -> Self {
        let dialect = Dialect::Github;
        let idp = MockIdp::start(MockConfig { dialect, ..MockConfig::default() }).await.unwrap();
        let urls = idp.urls();
        let config = OAuth2Config {
            id: ProviderId::new("corp"),
            issuer: idp.issuer().to_owned(),
            client_id: "mintgate".to_owned(),
            client_secret: Some(SecretText::new(CLIENT_SECRET)),
            client_authentication: ClientAuthentication::SecretPost,
            token_parameters: Vec::new(),
            endpoints: OAuth2Endpoints {
                authorization: urls.authorize.clone(),
                token: urls.token.clone(),
                user: urls.userinfo.clone().unwrap(),
                emails: None,
            },
            subject: "id".to_owned(),
            claims: Vec::new(),
            headers: Vec::new(),
            network: Network {
                connect_timeout: Duration::from_secs(5),
                timeout: TIMEOUT,
                ..Network::default()
            },
        };
        let (clock, metrics) = (Arc::new(TestClock::default()), Arc::new(Counted::default()));
        let provider = OAuth2Provider::new(config, clock, Arc::new(Random), metrics).unwrap();
        Self { idp, provider: Arc::new(provider) }
    }

    async fn redeem(&self, code: &str) -> Result<ProviderTokens, ProviderError> {
        let code = AuthorizationCode::new(code);
        let redirect_uri = SignIn::default().redirect_uri;
        let grant = CodeGrant { code: &code, redirect_uri: &redirect_uri, code_verifier: None };
        self.provider.redeem(&grant).await
    }

    /// Redeems a good code while the token endpoint has a fault.
    async fn redeem_with(&self, faults: Faults) -> ProviderError {
        let code = self.idp.control().issue_code(SignIn::default());
        self.idp.control().set_faults(faults);
        let error = self.redeem(&code).await.unwrap_err();
        assert!(!logged(&error).contains(&code), "{error:?}");
        error
    }

    fn stats(&self) -> Stats {
        self.idp.control().stats()
    }
}

async fn adapters() -> [Subject; 2] {
    let adapters = [Subject::openid().await, Subject::oauth2().await];
    for subject in &adapters {
        // Metadata is loaded now, so that the tests count requests to the token endpoint only.
        subject.provider.authorization_endpoint().await.unwrap();
    }
    adapters
}

fn token_fault(kind: FaultKind) -> Faults {
    Faults { token: Some(kind.into()), ..Faults::default() }
}

#[tokio::test]
async fn a_code_becomes_an_identity() {
    for subject in adapters().await {
        let code = subject.idp.control().issue_code(SignIn::default());
        let tokens = subject.redeem(&code).await.unwrap();
        let verified = subject.provider.verify(&tokens, None).await.unwrap();
        assert_eq!(verified.identity.issuer, subject.idp.issuer());
        assert!(!verified.identity.subject.is_empty());
    }
}

#[tokio::test]
async fn a_code_is_sent_once_whatever_the_answer_is() {
    for subject in adapters().await {
        for kind in [
            FaultKind::Close,
            FaultKind::Hang,
            FaultKind::Status { status: 500, body: String::new() },
            FaultKind::Status { status: 503, body: r#"{"error":"server_error"}"#.to_owned() },
            FaultKind::Body { body: "{}".to_owned(), content_type: "application/json".to_owned() },
        ] {
            let before = subject.stats().token;
            subject.redeem_with(token_fault(kind.clone())).await;
            assert_eq!(subject.stats().token, before + 1, "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = MockIdp::start(MockConfig::default()).await.unwrap();
    for subject in adapters().await {
        let kind = FaultKind::Redirect { to: other.urls().token.clone() };
        let error = subject.redeem_with(token_fault(kind)).await;
        assert_eq!(error, ProviderError::Misbehaved(Misbehaviour::BadAnswer, "".into()));
        assert_eq!(other.control().stats(), Stats::default());
    }
}

#[tokio::test]
async fn an_endless_answer_and_an_endless_wait_are_given_up() {
    for subject in adapters().await {
        let error = subject.redeem_with(token_fault(FaultKind::Huge { bytes: None })).await;
        assert_eq!(error, ProviderError::Misbehaved(Misbehaviour::BadAnswer, "".into()));
        for kind in [FaultKind::Hang, FaultKind::Drip { interval_ms: 500 }] {
            let error =
                tokio::time::timeout(TIMEOUT * 10, subject.redeem_with(token_fault(kind.clone())));
            let error = error.await.unwrap();
            assert!(matches!(error, ProviderError::TimedOut(_)), "{kind:?}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_says_by_its_kind_whose_fault_it_is() {
    for subject in adapters().await {
        let refused = subject.redeem("no-such-code").await.unwrap_err();
        assert!(matches!(refused, ProviderError::CodeRefused(_)), "{refused:?}");

        let refusal = Some(Refusal::Client);
        let error = subject.redeem_with(Faults { refusal, ..Faults::default() }).await;
        assert_eq!(error, ProviderError::Misbehaved(Misbehaviour::ClientRefused, "".into()));

        for kind in [FaultKind::Close, FaultKind::Status { status: 503, body: String::new() }] {
            let error = subject.redeem_with(token_fault(kind.clone())).await;
            assert_eq!(
                error,
                ProviderError::Misbehaved(Misbehaviour::Outage, "".into()),
                "{kind:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_provider_that_is_down_is_unreachable() {
    for subject in [Subject::openid().await, Subject::oauth2().await] {
        let Subject { idp, provider } = subject;
        idp.stop().await;
        let code = AuthorizationCode::new("some-code");
        let redirect_uri = SignIn::default().redirect_uri;
        let grant = CodeGrant { code: &code, redirect_uri: &redirect_uri, code_verifier: None };
        let error = provider.redeem(&grant).await.unwrap_err();
        assert!(matches!(error, ProviderError::Unreachable(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_nonce_that_the_tokens_do_not_prove_is_refused() {
    for subject in adapters().await {
        let code = subject.idp.control().issue_code(SignIn::default());
        let tokens = subject.redeem(&code).await.unwrap();
        let refused = subject.provider.verify(&tokens, Some(&Nonce::new(NONCE))).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_refresh_token_of_another_issuer_is_not_sent() {
    for subject in adapters().await {
        let token = ProviderRefreshToken::new("of another issuer");
        let issuer = "https://other.example.com".to_owned();
        let identity = ExternalIdentity { issuer, subject: "somebody".to_owned() };
        let refused = subject.provider.renew(&token, &identity).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{refused:?}");
        assert_eq!(subject.stats().token, 0);
    }
}

#[tokio::test]
async fn a_text_that_is_not_a_logout_token_ends_no_session() {
    for subject in adapters().await {
        let before = subject.stats();
        for text in ["", "a.b.c", "not a token"] {
            let refused = subject.provider.verify_logout(&LogoutTokenText::new(text)).await;
            assert!(matches!(refused, Err(ProviderError::LogoutTokenRefused(_))), "{refused:?}");
        }
        assert_eq!(subject.stats(), before, "nothing is fetched for it");
    }
}
