//! Cases 50 to 52: how often the metadata and the keys are fetched, and what survives a failure.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mintgate_domain::AuthorizationCode;
use mintgate_domain::model::ProviderId;
use mintgate_domain::ports::{CodeGrant, IdentityProvider, ProviderError};
use mintgate_identity_openid::{GuardConfig, GuardedProvider};
use mintgate_mock_idp::{FaultKind, Faults, IdTokenAlg, LogoutOrder, SignIn};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Adapter, eventually, fetched, genuine, start_with, warm};

const COOLDOWN: Duration = Duration::from_secs(30);

fn at_jwks(kind: FaultKind) -> Faults {
    Faults { jwks: Some(kind.into()), ..Faults::default() }
}

/// A token under a key id that nobody knows; its signature is never come to.
fn unknown_kid(token: &str, kid: &str) -> String {
    let header = json!({ "alg": "EdDSA", "kid": kid }).to_string();
    let header = BASE64_URL_SAFE_NO_PAD.encode(header);
    format!("{header}.{}", token.split_once('.').unwrap().1)
}

#[tokio::test]
async fn case_52_five_hundred_logins_at_a_cold_start_load_the_metadata_once() {
    let idp = start_with(IdTokenAlg::EdDsa).await;
    let adapter = Arc::new(Adapter::new(idp.issuer(), |config| {
        config.id_token_algorithms = vec!["EdDSA".to_owned()];
        config.network.connect_timeout = Duration::from_mins(1);
        config.network.timeout = Duration::from_mins(2);
    }));
    let mut logins = JoinSet::new();
    for _ in 0..500 {
        let (adapter, code) = (Arc::clone(&adapter), idp.control().issue_code(SignIn::default()));
        logins.spawn(async move { adapter.redeem(&code, None).await });
    }
    for tokens in logins.join_all().await {
        adapter.verify(tokens.unwrap().id_token.unwrap().expose(), None).await.unwrap();
    }
    assert_eq!(fetched(&idp), (1, 1));
    assert_eq!(idp.control().stats().exchanges, 500);
}

#[tokio::test]
async fn case_52_those_who_wait_for_a_load_that_fails_fail_with_it() {
    let idp = Arc::new(start_with(IdTokenAlg::EdDsa).await);
    idp.control().set_faults(Faults {
        discovery: Some(FaultKind::Delay { ms: 500 }.into()),
        discovery_merge: json!({ "issuer": "https://other.example" }).as_object().unwrap().clone(),
        ..Faults::default()
    });
    let adapter = Arc::new(Adapter::new(idp.issuer(), |_| {}));
    let mut logins = JoinSet::new();
    for _ in 0..50 {
        let adapter = Arc::clone(&adapter);
        logins.spawn(async move { adapter.redeem("some-code", None).await });
    }
    for login in logins.join_all().await {
        assert!(matches!(login, Err(ProviderError::Misbehaved(..))), "{login:?}");
    }
    assert_eq!(fetched(&idp), (1, 0));
    assert!(adapter.redeem("some-code", None).await.is_err());
    assert_eq!(fetched(&idp), (2, 0), "a failure is not kept for those who come later");
}

#[tokio::test]
async fn a_load_goes_on_when_the_caller_is_gone() {
    let idp = start_with(IdTokenAlg::EdDsa).await;
    let adapter = Adapter::new(idp.issuer(), |config| {
        config.id_token_algorithms = vec!["EdDSA".to_owned()];
    });
    let delay =
        Faults { discovery: Some(FaultKind::Delay { ms: 300 }.into()), ..Faults::default() };
    idp.control().set_faults(delay);
    let impatient = Duration::from_millis(50);
    let gone = tokio::time::timeout(impatient, adapter.redeem("some-code", None)).await;
    assert!(gone.is_err());
    adapter.sign_in(&idp, SignIn::default()).await.unwrap();
    assert_eq!(fetched(&idp), (1, 1));
}

#[tokio::test]
async fn case_50_a_rotated_key_is_fetched_once_and_then_good() {
    let (idp, adapter) = warm().await;
    let old = genuine(&idp);
    idp.control().rotate_keys();
    let adapter = Arc::new(adapter);
    let idp = Arc::new(idp);
    let mut logins = JoinSet::new();
    for _ in 0..20 {
        let (idp, adapter) = (Arc::clone(&idp), Arc::clone(&adapter));
        logins.spawn(async move { adapter.sign_in(&idp, SignIn::default()).await });
    }
    for login in logins.join_all().await {
        login.unwrap();
    }
    assert_eq!(fetched(&idp), (1, 2));
    assert_eq!(adapter.counted.refreshes(), ["success"]);
    // The new set has replaced the old one as a whole.
    let refused = adapter.verify(&old, None).await;
    assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{refused:?}");
    assert_eq!(fetched(&idp), (1, 3), "a posted token has a fetch of its own");
}

#[tokio::test]
async fn case_50_a_fetch_for_a_new_key_is_not_lost_with_its_caller() {
    let (idp, adapter) = warm().await;
    idp.control().rotate_keys();
    let token = genuine(&idp);
    idp.control().set_faults(at_jwks(FaultKind::Delay { ms: 300 }));
    let gone = tokio::time::timeout(Duration::from_millis(50), adapter.verify(&token, None)).await;
    assert!(gone.is_err());
    adapter.verify(&token, None).await.unwrap();
    assert_eq!(fetched(&idp), (1, 2));
}

#[tokio::test]
async fn case_51_ten_thousand_random_kids_make_one_fetch_in_thirty_seconds() {
    let (idp, adapter) = warm().await;
    let token = genuine(&idp);
    for i in 0..10_000 {
        let refused = adapter.verify(&unknown_kid(&token, &format!("kid-{i}")), None).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))));
    }
    assert_eq!(fetched(&idp), (1, 2));
    adapter.clock.advance(COOLDOWN);
    for i in 0..10 {
        assert!(adapter.verify(&unknown_kid(&token, &i.to_string()), None).await.is_err());
    }
    assert_eq!(fetched(&idp), (1, 3));
    adapter.sign_in(&idp, SignIn::default()).await.unwrap();
}

#[tokio::test]
async fn case_51_ten_thousand_random_kids_of_logout_tokens_make_the_same_one_fetch() {
    let (idp, adapter) = warm().await;
    let id_token = genuine(&idp);
    let logout_token = idp.control().logout_token(&LogoutOrder::default());
    for i in 0..10_000 {
        let kid = format!("kid-{i}");
        let refused = adapter.verify_logout(&unknown_kid(&logout_token, &kid)).await;
        assert!(matches!(refused, Err(ProviderError::LogoutTokenRefused(_))));
        if i % 100 == 0 {
            assert!(adapter.verify(&unknown_kid(&id_token, &kid), None).await.is_err());
        }
    }
    assert_eq!(fetched(&idp), (1, 2));
    adapter.clock.advance(COOLDOWN);
    for i in 0..10 {
        let refused = adapter.verify_logout(&unknown_kid(&logout_token, &i.to_string())).await;
        assert!(matches!(refused, Err(ProviderError::LogoutTokenRefused(_))));
        assert!(adapter.verify(&unknown_kid(&id_token, &i.to_string()), None).await.is_err());
    }
    assert_eq!(fetched(&idp), (1, 3));
    adapter.verify_logout(&logout_token).await.unwrap();
    adapter.sign_in(&idp, SignIn::default()).await.unwrap();
}

#[tokio::test]
async fn case_52_five_hundred_cold_sign_ins_at_once_get_through_the_guard() {
    let idp = start_with(IdTokenAlg::EdDsa).await;
    let adapter = Adapter::new(idp.issuer(), |config| {
        config.id_token_algorithms = vec!["EdDSA".to_owned()];
        config.network.connect_timeout = Duration::from_mins(1);
        config.network.timeout = Duration::from_mins(2);
    });
    // The limits of every day, but for the patience: this machine may be slower than a provider.
    let limits = GuardConfig { max_wait: Duration::from_mins(2), ..GuardConfig::default() };
    let guard = Arc::new(GuardedProvider::new(
        ProviderId::new("corp"),
        Arc::new(adapter.provider),
        limits,
        adapter.clock,
        adapter.counted.clone(),
    ));
    let mut exchanges = JoinSet::new();
    for _ in 0..500 {
        let code = AuthorizationCode::new(idp.control().issue_code(SignIn::default()));
        let guard = Arc::clone(&guard);
        exchanges.spawn(async move {
            let redirect_uri = &SignIn::default().redirect_uri;
            guard.authorization_endpoint().await?;
            let grant = CodeGrant { code: &code, redirect_uri, code_verifier: None };
            guard.redeem(&grant).await
        });
    }
    // Only then, as unoptimized cryptography keeps this one thread from its connections.
    let mut verifications = JoinSet::new();
    for tokens in exchanges.join_all().await {
        let (guard, tokens) = (Arc::clone(&guard), tokens.unwrap());
        verifications.spawn(async move { guard.verify(&tokens, None).await });
    }
    for identity in verifications.join_all().await {
        assert_eq!(identity.unwrap().identity.subject, "mock|alice");
    }
    assert_eq!(fetched(&idp), (1, 1));
    assert_eq!(idp.control().stats().exchanges, 500);
    assert_eq!(adapter.counted.circuits(), []);
}

#[tokio::test]
async fn case_51_a_failed_or_empty_fetch_keeps_the_last_good_keys() {
    let (idp, adapter) = warm().await;
    let token = genuine(&idp);
    let mut fetches = 1;
    for (faults, outcome) in [
        (at_jwks(FaultKind::Status { status: 500, body: String::new() }), "http_error"),
        (at_jwks(FaultKind::Close), "http_error"),
        (at_jwks(FaultKind::Huge { bytes: None }), "too_large"),
        (at_jwks(FaultKind::Redirect { to: "http://127.0.0.1:9/".into() }), "redirect"),
        (Faults { jwks_replace: Some(json!({ "keys": [] })), ..Faults::default() }, "malformed"),
        (Faults { jwks_replace: Some(json!("x")), ..Faults::default() }, "malformed"),
    ] {
        idp.control().set_faults(faults);
        fetches += 1;
        for kid in ["a", "b"] {
            let refused = adapter.verify(&unknown_kid(&token, kid), None).await;
            assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{refused:?}");
            assert_eq!(fetched(&idp), (1, fetches), "a failed fetch starts the cooldown as well");
        }
        assert_eq!(adapter.counted.refreshes().last(), Some(&outcome));
        adapter.verify(&token, None).await.unwrap();
        adapter.clock.advance(COOLDOWN);
    }
    idp.control().clear_faults();
    idp.control().rotate_keys();
    adapter.sign_in(&idp, SignIn::default()).await.unwrap();
    assert_eq!(fetched(&idp), (1, fetches + 1));
}

#[tokio::test]
async fn stale_metadata_is_refreshed_behind_a_login_that_does_not_wait() {
    let (idp, adapter) = warm().await;
    adapter.clock.advance(Duration::from_mins(59));
    adapter.sign_in(&idp, SignIn::default()).await.unwrap();
    assert_eq!(fetched(&idp), (1, 1));

    adapter.clock.advance(Duration::from_mins(2));
    idp.control()
        .set_faults(Faults { discovery: Some(FaultKind::Hang.times(1)), ..Faults::default() });
    for _ in 0..5 {
        adapter.sign_in(&idp, SignIn::default()).await.unwrap();
    }
    eventually("one refresh is begun", || fetched(&idp) == (2, 1)).await;
}

#[tokio::test]
async fn stale_metadata_stays_good_while_a_refresh_fails_and_is_replaced_when_one_does_not() {
    let (idp, adapter) = warm().await;
    let refused = FaultKind::Status { status: 503, body: String::new() };
    idp.control().set_faults(at_jwks(refused));
    adapter.clock.advance(Duration::from_mins(61));
    adapter.sign_in(&idp, SignIn::default()).await.unwrap();
    eventually("the refresh has failed", || adapter.counted.refreshes() == ["http_error"]).await;
    for _ in 0..5 {
        adapter.sign_in(&idp, SignIn::default()).await.unwrap();
    }
    assert_eq!(fetched(&idp), (2, 2), "the next try waits for its time");

    idp.control().clear_faults();
    idp.control().rotate_keys();
    adapter.clock.advance(COOLDOWN);
    adapter.redeem("unknown-code", None).await.unwrap_err();
    eventually("the refresh is done", || adapter.counted.refreshes().len() == 2).await;
    // The new keys came with the refresh, so none are fetched for this login.
    adapter.sign_in(&idp, SignIn::default()).await.unwrap();
    assert_eq!(fetched(&idp), (3, 3));
}

#[tokio::test]
async fn case_52_five_hundred_tokens_posted_at_a_cold_start_load_the_metadata_once() {
    let idp = start_with(IdTokenAlg::EdDsa).await;
    let adapter = Arc::new(Adapter::new(idp.issuer(), |config| {
        config.id_token_algorithms = vec!["EdDSA".to_owned()];
        config.network.timeout = Duration::from_mins(2);
    }));
    let token = genuine(&idp);
    let mut logins = JoinSet::new();
    for _ in 0..500 {
        let (adapter, token) = (Arc::clone(&adapter), token.clone());
        logins.spawn(async move { adapter.verify(&token, None).await });
    }
    for login in logins.join_all().await {
        login.unwrap();
    }
    assert_eq!(fetched(&idp), (1, 1));
}

#[tokio::test]
async fn case_51_random_kids_all_at_once_make_one_fetch_and_hold_nobody_up() {
    let (idp, adapter) = warm().await;
    let token = genuine(&idp);
    let adapter = Arc::new(adapter);
    let mut attempts = JoinSet::new();
    for i in 0..1000 {
        let adapter = Arc::clone(&adapter);
        let forged = unknown_kid(&token, &format!("kid-{i}"));
        attempts.spawn(async move { adapter.verify(&forged, None).await });
    }
    for _ in 0..100 {
        adapter.verify(&token, None).await.unwrap();
    }
    for attempt in attempts.join_all().await {
        assert!(matches!(attempt, Err(ProviderError::IdTokenRefused(_))), "{attempt:?}");
    }
    assert_eq!(fetched(&idp), (1, 2));
}

#[tokio::test]
async fn case_51_keys_that_prove_nothing_replace_the_last_good_ones_all_the_same() {
    let (idp, adapter) = warm().await;
    let token = genuine(&idp);
    let weak = json!({ "kty": "RSA", "kid": "weak", "n": "AQAB", "e": "AQAB" });
    idp.control()
        .set_faults(Faults { jwks_replace: Some(json!({ "keys": [weak] })), ..Faults::default() });
    // The provider has taken its key back; that the new one is none is its own affair.
    assert!(adapter.verify(&unknown_kid(&token, "x"), None).await.is_err());
    assert_eq!(adapter.counted.refreshes(), ["success"]);
    assert!(adapter.verify(&token, None).await.is_err());
}
