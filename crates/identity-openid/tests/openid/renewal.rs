//! Somebody who has signed in is asked about again: what a refresh may bring, and who is signed out.

use std::time::Duration;

use mintgate_domain::model::{ClaimValue, ExternalIdentity};
use mintgate_domain::ports::{IdentityProvider, Misbehaviour, ProviderError, Renewal};
use mintgate_domain::{ProviderRefreshToken, SecretText};
use mintgate_identity_openid::OpenIdConfig;
use mintgate_mock_idp::{
    FaultKind, Faults, Habit, IdTokenAlg, IdTokenRecipe, MockIdp, Refusal, SignIn, SignWith,
};
use serde_json::{Value, json};

use crate::support::{Adapter, CLIENT_SECRET, fetched, logged, start_with};
use crate::variants::{now_secs, object};

/// Soon enough for a test, late enough for a busy machine.
const TIMEOUT: Duration = Duration::from_millis(1500);

fn pinned(config: &mut OpenIdConfig) {
    config.id_token_algorithms = vec!["EdDSA".to_owned()];
}

/// Somebody has signed in and left a refresh token.
struct Left {
    idp: MockIdp,
    adapter: Adapter,
    identity: ExternalIdentity,
    token: ProviderRefreshToken,
}

impl Left {
    async fn new(change: impl FnOnce(&mut OpenIdConfig)) -> Self {
        let idp = start_with(IdTokenAlg::EdDsa).await;
        let adapter = Adapter::new(idp.issuer(), |config| {
            pinned(config);
            change(config);
        });
        let (identity, token) = sign_in(&idp, &adapter).await;
        Self { idp, adapter, identity, token }
    }

    async fn renew(&self) -> Result<Renewal, ProviderError> {
        self.adapter.provider.renew(&self.token, &self.identity).await
    }

    /// The same with a fresh token, under these faults: a refresh may have used the last one up.
    async fn renew_under(&mut self, faults: Faults) -> Result<Renewal, ProviderError> {
        self.idp.control().clear_faults();
        (self.identity, self.token) = sign_in(&self.idp, &self.adapter).await;
        self.idp.control().set_faults(faults);
        self.renew().await
    }

    /// Requests to the token endpoint so far.
    fn sent(&self) -> u64 {
        self.idp.control().stats().token
    }
}

async fn sign_in(idp: &MockIdp, adapter: &Adapter) -> (ExternalIdentity, ProviderRefreshToken) {
    let scope = "openid offline_access".to_owned();
    let code = idp.control().issue_code(SignIn { scope, ..SignIn::default() });
    let tokens = adapter.redeem(&code, None).await.unwrap();
    let identity = adapter.provider.verify(&tokens, None).await.unwrap().identity;
    (identity, tokens.refresh_token.expect("the scope asks for one"))
}

fn answering(changes: &Value) -> Faults {
    Faults { token_merge: object(changes), ..Faults::default() }
}

fn id_token(recipe: IdTokenRecipe) -> Faults {
    Faults { id_token: Some(recipe), ..Faults::default() }
}

fn claiming(claims: &Value) -> IdTokenRecipe {
    IdTokenRecipe { claims: object(claims), ..IdTokenRecipe::default() }
}

#[tokio::test]
async fn a_refresh_says_who_somebody_is_now_and_brings_the_next_token() {
    let mut left = Left::new(|_| {}).await;
    assert_eq!(left.identity.subject, "mock|alice");
    for groups in [["engineering"], ["retired"]] {
        left.idp.control().set_faults(id_token(claiming(&json!({ "groups": groups }))));
        let sent = left.sent();
        let renewal = left.renew().await.unwrap();
        assert_eq!(left.sent(), sent + 1);
        let claims = renewal.claims.unwrap();
        let expected = groups.map(|group| ClaimValue::Text(group.to_owned())).to_vec();
        assert_eq!(claims.find("groups"), Some(&ClaimValue::List(expected)));
        let next = renewal.refresh_token.expect("this provider rotates");
        assert!(next != left.token);
        // The one that was shown is no good any more.
        let again = left.renew().await;
        assert!(matches!(again, Err(ProviderError::RefreshRefused(_))), "{again:?}");
        left.token = next;
    }
    assert_eq!(left.idp.control().stats().refreshes, 2);
    assert_eq!(fetched(&left.idp), (1, 1));
}

#[tokio::test]
async fn a_provider_that_keeps_its_tokens_gives_no_other() {
    let mut left = Left::new(|_| {}).await;
    for without in [json!({ "refresh_token": null }), json!({ "refresh_token": "" })] {
        let renewal = left.renew_under(answering(&without)).await.unwrap();
        assert!(renewal.refresh_token.is_none() && renewal.claims.is_some(), "{without}");
    }
}

#[tokio::test]
async fn without_an_id_token_the_word_that_somebody_may_sign_in_is_all_there_is() {
    let mut left = Left::new(|_| {}).await;
    let renewal = left.renew_under(answering(&json!({ "id_token": null }))).await.unwrap();
    assert!(renewal.claims.is_none() && renewal.refresh_token.is_some());
    assert_eq!(left.idp.control().stats().userinfo, 0);
}

#[tokio::test]
async fn userinfo_is_asked_again_where_it_was_asked_before() {
    let mut left = Left::new(|config| config.userinfo = true).await;
    for id_token in [json!({}), json!({ "id_token": null })] {
        let faults = Faults {
            userinfo_merge: object(&json!({ "department": "R&D" })),
            ..answering(&id_token)
        };
        let before = left.idp.control().stats().userinfo;
        let claims = left.renew_under(faults).await.unwrap().claims.unwrap();
        let text = |text: &str| ClaimValue::Text(text.to_owned());
        assert_eq!(claims.find("department"), Some(&text("R&D")));
        assert_eq!(claims.find("sub"), Some(&text("mock|alice")));
        let asked = left.idp.control().stats().userinfo - before;
        assert_eq!(asked, 2, "at the sign-in and at the refresh");
    }
}

#[tokio::test]
async fn case_25_userinfo_about_somebody_else_is_refused_at_a_refresh() {
    let mut left = Left::new(|config| config.userinfo = true).await;
    for id_token in [json!({}), json!({ "id_token": null })] {
        for sub in [json!("mock|bob"), json!(""), json!(7), Value::Null] {
            let userinfo_merge = object(&json!({ "sub": sub }));
            let faults = Faults { userinfo_merge, ..answering(&id_token) };
            let refused = left.renew_under(faults).await;
            assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{sub} {refused:?}");
        }
    }
}

#[tokio::test]
async fn somebody_who_may_not_sign_in_any_more_is_refused_by_the_provider() {
    let left = Left::new(|_| {}).await;
    left.idp.control().disable_user("alice");
    let refused = left.renew().await;
    assert!(matches!(refused, Err(ProviderError::RefreshRefused(_))), "{refused:?}");
    left.idp.control().enable_user("alice");
    let token = left.renew().await.unwrap().refresh_token.unwrap();
    left.idp.control().revoke_refresh_tokens("alice");
    let refused = left.adapter.provider.renew(&token, &left.identity).await;
    assert!(matches!(refused, Err(ProviderError::RefreshRefused(_))), "{refused:?}");
}

#[tokio::test]
async fn a_refused_client_is_our_fault_and_signs_nobody_out() {
    let left = Left::new(|_| {}).await;
    let wrong = Adapter::new(left.idp.issuer(), |config| {
        pinned(config);
        config.client_secret = Some(SecretText::new("wrong-secret"));
    });
    let failed = wrong.provider.renew(&left.token, &left.identity).await.unwrap_err();
    assert_eq!(failed, ProviderError::Misbehaved(Misbehaviour::ClientRefused, "".into()));
    assert!(!logged(&failed).contains("wrong-secret"));
    for refusal in [Refusal::Client, Refusal::ExpiredClient, Refusal::Request, Refusal::GrantType] {
        left.idp.control().set_faults(Faults { refusal: Some(refusal), ..Faults::default() });
        let failed = left.renew().await;
        assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{refusal:?}: {failed:?}");
    }
    left.idp.control().clear_faults();
    left.renew().await.unwrap();
}

#[tokio::test]
async fn a_refresh_that_is_about_somebody_else_is_refused() {
    let mut left = Left::new(|_| {}).await;
    for subject in ["mock|bob", "MOCK|ALICE"] {
        let recipe = claiming(&json!({ "sub": subject }));
        let refused = left.renew_under(id_token(recipe)).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{subject}: {refused:?}");
    }
}

/// The provider has said yes by taking the refresh token; what it says besides is not believed.
#[tokio::test]
async fn an_id_token_of_a_refresh_is_believed_no_more_easily_than_one_of_a_sign_in() {
    let now = now_secs();
    let mut recipes: Vec<_> = [
        ("no subject", json!({ "sub": null })),
        ("expired", json!({ "exp": now - 1 })),
        ("no exp", json!({ "exp": null })),
        ("no iat", json!({ "iat": null })),
        ("of the next hour", json!({ "iat": now + 3600 })),
        ("of the day before yesterday", json!({ "iat": now - 2 * 24 * 3600 })),
        ("a nonce that is none", json!({ "nonce": 7 })),
        ("a logout token", json!({ "events": {} })),
    ]
    .map(|(name, claims)| (name, claiming(&claims)))
    .into();
    for sign in [
        SignWith::Unsigned,
        SignWith::AttackerKeySameKid,
        SignWith::AttackerKeyWithJwk,
        SignWith::HmacWithClientSecret,
        SignWith::HmacWithPublicKeyPem,
        SignWith::Garbage,
    ] {
        recipes.push(("a forged one", IdTokenRecipe { sign, ..IdTokenRecipe::default() }));
    }
    let mut left = Left::new(|_| {}).await;
    for (name, recipe) in recipes {
        let renewed = left.renew_under(id_token(recipe)).await;
        let is_unheard = match &renewed {
            Ok(renewal) => {
                renewal.doubt.is_some()
                    && renewal.claims.is_none()
                    && renewal.refresh_token.is_some()
            }
            Err(error) => matches!(error, ProviderError::Misbehaved(..)),
        };
        assert!(is_unheard, "{name}: {renewed:?}");
    }
    assert_eq!(fetched(&left.idp), (1, 2), "once for all bad signatures");
    // The nonce of the sign-in may be repeated (OIDC Core §12.2); nobody has kept it.
    left.renew_under(id_token(claiming(&json!({ "nonce": "n-0S6_WzA2Mj" })))).await.unwrap();
}

#[tokio::test]
async fn an_answer_for_another_client_or_of_another_issuer_is_refused() {
    let mut left = Left::new(|_| {}).await;
    for claims in [
        json!({ "iss": "https://other.example.com" }),
        json!({ "iss": null }),
        json!({ "aud": "other" }),
        json!({ "aud": ["mintgate", "other"] }),
        json!({ "azp": "other" }),
    ] {
        let refused = left.renew_under(id_token(claiming(&claims))).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{claims}: {refused:?}");
    }
}

#[tokio::test]
async fn a_new_refresh_token_is_kept_however_odd_the_rest_of_the_answer_is() {
    let mut left = Left::new(|_| {}).await;
    for odd in [
        json!({ "token_type": null }),
        json!({ "token_type": 7, "expires_in": {}, "scope": [] }),
        json!({ "token_type": "N_A", "access_token": 7 }),
        json!({ "access_token": null, "id_token": null }),
        json!({ "id_token": 7 }),
        json!({ "id_token": "not.a.token" }),
        json!({ "error": "" }),
    ] {
        let renewal = left.renew_under(answering(&odd)).await;
        let renewal = renewal.unwrap_or_else(|error| panic!("{odd}: {error}"));
        let next = renewal.refresh_token.unwrap_or_else(|| panic!("{odd}: it is lost"));
        left.idp.control().clear_faults();
        left.adapter.provider.renew(&next, &left.identity).await.unwrap();
    }
    for habits in [vec![Habit::PlainText], vec![Habit::FormAnswer], vec![Habit::NullMembers]] {
        let renewal = left.renew_under(Faults { habits, ..Faults::default() }).await.unwrap();
        assert!(renewal.doubt.is_none() && renewal.claims.is_some());
    }
    // But an answer without any token confirms nobody.
    let nothing = json!({ "access_token": null, "id_token": null, "refresh_token": null });
    let failed = left.renew_under(answering(&nothing)).await;
    assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{failed:?}");
}

#[tokio::test]
async fn a_refresh_token_is_shown_to_its_own_issuer_alone() {
    let left = Left::new(|_| {}).await;
    let sent = left.sent();
    for issuer in ["https://other.example.com", &format!("{}/", left.identity.issuer), ""] {
        let identity = ExternalIdentity { issuer: issuer.to_owned(), ..left.identity.clone() };
        let refused = left.adapter.provider.renew(&left.token, &identity).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{issuer}: {refused:?}");
    }
    assert_eq!(left.sent(), sent);
    // What comes back about another subject is refused, though the provider took the token.
    let identity = ExternalIdentity { subject: "mock|bob".to_owned(), ..left.identity.clone() };
    let refused = left.adapter.provider.renew(&left.token, &identity).await;
    assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{refused:?}");
}

#[tokio::test]
async fn a_provider_in_trouble_signs_nobody_out_and_is_asked_once() {
    let left = Left::new(|_| {}).await;
    let status = |status, body: &str| FaultKind::Status { status, body: body.to_owned() };
    for kind in [
        status(500, ""),
        status(503, r#"{"error":"temporarily_unavailable"}"#),
        status(500, r#"{"error":"invalid_grant"}"#),
        status(429, r#"{"error":"slow_down"}"#),
        status(404, "<html>"),
        status(200, "{}"),
        status(200, ""),
        FaultKind::Close,
        FaultKind::Huge { bytes: None },
        FaultKind::Redirect { to: format!("{}/token", left.idp.issuer()) },
    ] {
        let sent = left.sent();
        let faults = Faults { token: Some(kind.clone().into()), ..Faults::default() };
        left.idp.control().set_faults(faults);
        let failed = left.renew().await;
        assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{kind:?}: {failed:?}");
        assert_eq!(left.sent(), sent + 1, "{kind:?}");
    }
    left.idp.control().clear_faults();
    left.renew().await.unwrap();
}

#[tokio::test]
async fn case_17_a_provider_that_hangs_is_given_up_and_not_asked_again() {
    let left = Left::new(|config| config.network.timeout = TIMEOUT).await;
    let sent = left.sent();
    let hang = Faults { token: Some(FaultKind::Hang.into()), ..Faults::default() };
    left.idp.control().set_faults(hang);
    let limit = tokio::time::timeout(TIMEOUT * 4, left.renew());
    let failed = limit.await.expect("the call is bounded");
    assert!(matches!(failed, Err(ProviderError::TimedOut(_))), "{failed:?}");
    assert_eq!(left.sent(), sent + 1);

    let (idp, token, identity) = (left.idp, left.token, left.identity);
    idp.stop().await;
    let failed = left.adapter.provider.renew(&token, &identity).await;
    let down = [
        matches!(failed, Err(ProviderError::Unreachable(_))),
        matches!(failed, Err(ProviderError::Misbehaved(..))),
    ];
    assert!(down.contains(&true), "{failed:?}");
}

#[tokio::test]
async fn a_new_refresh_token_is_not_lost_because_the_claims_cannot_be_had() {
    let mut left = Left::new(|config| {
        config.userinfo = true;
        config.network.timeout = TIMEOUT;
    })
    .await;
    for kind in [
        FaultKind::Status { status: 503, body: String::new() },
        FaultKind::Status { status: 401, body: String::new() },
        FaultKind::Close,
        FaultKind::Hang,
    ] {
        let at_userinfo = || Faults { userinfo: Some(kind.clone().into()), ..Faults::default() };
        let renewal = left.renew_under(at_userinfo()).await.unwrap();
        assert!(renewal.claims.is_none(), "{kind:?}");
        let next = renewal.refresh_token.expect("the provider has replaced the old one");
        left.idp.control().clear_faults();
        left.adapter.provider.renew(&next, &left.identity).await.unwrap();

        // Where the old one stays good, the question can be asked again.
        let refresh_token = json!({ "refresh_token": null });
        let faults = Faults { token_merge: object(&refresh_token), ..at_userinfo() };
        let failed = left.renew_under(faults).await;
        let failures = [
            matches!(failed, Err(ProviderError::Misbehaved(..))),
            matches!(failed, Err(ProviderError::TimedOut(_))),
        ];
        assert_eq!(failures, [kind != FaultKind::Hang, kind == FaultKind::Hang], "{failed:?}");
    }
}

#[tokio::test]
async fn an_error_text_never_repeats_the_refresh_token() {
    let left = Left::new(|_| {}).await;
    let echo = json!({
        "error": "invalid_grant",
        "error_description": format!("{} {CLIENT_SECRET}", left.token.expose()),
    });
    let kind = FaultKind::Status { status: 400, body: echo.to_string() };
    left.idp.control().set_faults(Faults { token: Some(kind.into()), ..Faults::default() });
    let refused = left.renew().await.unwrap_err();
    assert!(matches!(refused, ProviderError::RefreshRefused(_)), "{refused:?}");
    let text = logged(&refused);
    assert!(text.contains("[redacted]"), "{text}");
    assert!(!text.contains(left.token.expose()) && !text.contains(CLIENT_SECRET), "{text}");
}
