//! Refresh tokens, and people disabled upstream.

use mintgate_mock_idp::{Dialect, IdTokenAlg, MockConfig, SignIn};
use reqwest::Method;
use serde_json::Value;

use crate::support::{CLIENT, Mock, mock, part, refusal, sign_in, start};

/// Token answers with a refresh token.
async fn offline(mock: &Mock, user: &str) -> Value {
    let scope = "openid email offline_access".into();
    let order = SignIn { user: user.into(), scope, nonce: Some("n".into()), ..sign_in() };
    let code = mock.idp.control().issue_code(order);
    mock.exchange(&code).await.json().await.unwrap()
}

async fn refresh(mock: &Mock, tokens: &Value) -> reqwest::Response {
    let token = tokens["refresh_token"].as_str().expect("a refresh token");
    let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
    let request = mock.http.post(&mock.idp.urls().token).basic_auth(CLIENT.0, Some(CLIENT.1));
    request.form(&form).send().await.unwrap()
}

#[tokio::test]
async fn a_refresh_token_comes_with_its_scope_and_gives_new_tokens() {
    let mock = mock().await;
    assert!(mock.tokens().await.get("refresh_token").is_none());
    let first = offline(&mock, "alice").await;
    let answer = refresh(&mock, &first).await;
    assert_eq!(answer.status(), 200);
    let second: Value = answer.json().await.unwrap();
    assert_ne!(second["access_token"], first["access_token"]);
    let before = part(first["id_token"].as_str().unwrap(), 1);
    let after = part(second["id_token"].as_str().unwrap(), 1);
    assert_eq!((before.get("nonce").is_some(), after.get("nonce")), (true, None));
    for same in ["iss", "sub", "aud", "auth_time", "sid"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert_eq!(mock.idp.control().stats().refreshes, 1);
}

#[tokio::test]
async fn a_refresh_token_is_kept_renewed_or_rotated_as_the_dialect_has_it() {
    for (dialect, gives_new, old_lives) in [
        (Dialect::Plain, true, false),
        (Dialect::Gitlab, true, false),
        (Dialect::Keycloak, true, true),
        (Dialect::Okta, false, true),
        (Dialect::Cognito, false, true),
    ] {
        let id_token_alg = IdTokenAlg::EdDsa;
        let mock = start(MockConfig { dialect, id_token_alg, ..MockConfig::default() }).await;
        let code = mock
            .idp
            .control()
            .issue_code(SignIn { scope: "openid offline_access".into(), ..sign_in() });
        let form = crate::support::grant(&code);
        let request = mock.http.post(&mock.idp.urls().token).basic_auth(CLIENT.0, Some(CLIENT.1));
        let first: Value = request.form(&form).send().await.unwrap().json().await.unwrap();
        let second: Value = refresh(&mock, &first).await.json().await.unwrap();
        assert!(second["access_token"].is_string(), "{dialect}");
        assert_eq!(second.get("refresh_token").is_some(), gives_new, "{dialect}");
        assert_eq!(refresh(&mock, &first).await.status() == 200, old_lives, "{dialect}");
        if gives_new {
            assert_eq!(refresh(&mock, &second).await.status(), 200, "{dialect}");
        }
    }
}

#[tokio::test]
async fn a_disabled_person_gets_nothing_until_enabled_again() {
    let mock = mock().await;
    let alice = offline(&mock, "alice").await;
    let bob = offline(&mock, "bob").await;
    let userinfo = async |tokens: &Value| {
        let token = tokens["access_token"].as_str().unwrap();
        mock.http.get(mock.url("/userinfo")).bearer_auth(token).send().await.unwrap().status()
    };
    let code = mock.idp.control().issue_code(sign_in());
    mock.idp.control().disable_user("alice");
    assert_eq!(refusal(refresh(&mock, &alice).await, 400).await, "invalid_grant");
    assert_eq!(refusal(mock.exchange(&code).await, 400).await, "invalid_grant");
    assert_eq!(userinfo(&alice).await, 401);
    assert_eq!(userinfo(&bob).await, 200);
    assert_eq!(refresh(&mock, &bob).await.status(), 200);

    mock.idp.control().enable_user("alice");
    assert_eq!(userinfo(&alice).await, 200);
    assert_eq!(refresh(&mock, &alice).await.status(), 200);
}

#[tokio::test]
async fn refresh_tokens_are_revoked_by_person_and_by_a_second_use_of_their_code() {
    let mock = mock().await;
    let alice = offline(&mock, "alice").await;
    let bob = offline(&mock, "bob").await;
    mock.idp.control().revoke_refresh_tokens("alice");
    assert_eq!(refusal(refresh(&mock, &alice).await, 400).await, "invalid_grant");
    assert_eq!(refresh(&mock, &bob).await.status(), 200);

    let code = mock
        .idp
        .control()
        .issue_code(SignIn { scope: "openid offline_access".into(), ..sign_in() });
    let tokens: Value = mock.exchange(&code).await.json().await.unwrap();
    mock.exchange(&code).await;
    assert_eq!(refusal(refresh(&mock, &tokens).await, 400).await, "invalid_grant");
}

#[tokio::test]
async fn a_refresh_token_is_bound_to_its_client() {
    let mock = crate::support::mock_with_public_client().await;
    let tokens = offline(&mock, "alice").await;
    let token = tokens["refresh_token"].as_str().unwrap();
    let form = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "app")];
    let answer = mock.http.post(mock.url("/token")).form(&form).send().await.unwrap();
    assert_eq!(refusal(answer, 400).await, "invalid_grant");
    assert_eq!(refresh(&mock, &tokens).await.status(), 200);
}

#[tokio::test]
async fn people_and_keys_are_managed_over_http() {
    let mock = mock().await;
    let tokens = offline(&mock, "alice").await;
    let order = async |method: Method, path: &str| {
        mock.http.request(method, mock.url(path)).send().await.unwrap().status().as_u16()
    };
    assert_eq!(order(Method::PUT, "/control/users/alice/disabled").await, 204);
    assert_eq!(refresh(&mock, &tokens).await.status(), 400);
    assert_eq!(order(Method::DELETE, "/control/users/alice/disabled").await, 204);
    assert_eq!(order(Method::DELETE, "/control/users/alice/refresh-tokens").await, 204);
    assert_eq!(refresh(&mock, &tokens).await.status(), 400);

    assert_eq!(order(Method::POST, "/control/announce-key").await, 200);
    let keys = async || mock.get_json("/jwks").await["keys"].as_array().unwrap().clone();
    let announced = keys().await;
    assert_eq!(announced.len(), 2);
    assert_eq!(order(Method::POST, "/control/take-announced-key").await, 204);
    assert_eq!(keys().await[0], announced[1]);
}
