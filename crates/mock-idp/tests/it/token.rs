//! The token endpoint, and userinfo after it.

use mintgate_mock_idp::{MockConfig, SignIn};
use serde_json::{Value, json};

use crate::support::{
    CLIENT, REDIRECT_URI, VERIFIER, challenge, grant, mock, mock_with_public_client, part, refusal,
    sign_in, start,
};

#[tokio::test]
async fn a_code_becomes_tokens_once() {
    let mock = mock().await;
    let code = mock.idp.control().issue_code(sign_in());
    let answer = mock.exchange(&code).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let tokens: Value = answer.json().await.unwrap();
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(part(tokens["id_token"].as_str().unwrap(), 1)["sub"], "mock|alice");

    assert_eq!(refusal(mock.exchange(&code).await, 400).await, "invalid_grant");
    let stats = mock.idp.control().stats();
    assert_eq!((stats.exchanges, stats.second_uses, stats.refused_codes), (1, 1, 1));
    assert_eq!(stats.token, 2);
}

#[tokio::test]
async fn a_second_use_takes_back_what_the_first_gave() {
    let mock = mock().await;
    let code = mock.idp.control().issue_code(sign_in());
    let tokens: Value = mock.exchange(&code).await.json().await.unwrap();
    let access = tokens["access_token"].as_str().unwrap();
    let userinfo = || mock.http.get(mock.url("/userinfo")).bearer_auth(access).send();
    assert_eq!(userinfo().await.unwrap().status(), 200);
    mock.exchange(&code).await;
    assert_eq!(userinfo().await.unwrap().status(), 401);
}

#[tokio::test]
async fn twenty_at_once_get_one_exchange() {
    let mock = mock().await;
    let code = mock.idp.control().issue_code(sign_in());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let request = mock.http.post(mock.url("/token")).basic_auth(CLIENT.0, Some(CLIENT.1));
        let request = request.form(&grant(&code));
        tasks.spawn(async move { request.send().await.unwrap().status().as_u16() });
    }
    let statuses = tasks.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1);
    assert_eq!(mock.idp.control().stats().second_uses, 19);
}

#[tokio::test]
async fn a_challenged_code_needs_its_verifier() {
    let mock = mock().await;
    let control = mock.idp.control();
    let challenged = || SignIn { code_challenge: Some(challenge()), ..sign_in() };
    let with_verifier = |code: &str, verifier: &str| {
        let mut form: Vec<(String, String)> =
            grant(code).into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        form.push(("code_verifier".into(), verifier.into()));
        mock.http.post(mock.url("/token")).basic_auth(CLIENT.0, Some(CLIENT.1)).form(&form).send()
    };
    let right = with_verifier(&control.issue_code(challenged()), VERIFIER).await.unwrap();
    assert_eq!(right.status(), 200);

    let wrong = with_verifier(&control.issue_code(challenged()), &"x".repeat(43)).await.unwrap();
    assert_eq!(refusal(wrong, 400).await, "invalid_grant");
    let missing = mock.exchange(&control.issue_code(challenged())).await;
    assert_eq!(refusal(missing, 400).await, "invalid_grant");
    let needless = with_verifier(&control.issue_code(sign_in()), VERIFIER).await.unwrap();
    assert_eq!(refusal(needless, 400).await, "invalid_grant");
    assert_eq!(control.stats().exchanges, 1);
    assert_eq!(control.stats().refused_codes, 3);
}

#[tokio::test]
async fn a_code_is_bound_to_its_redirect_uri() {
    let mock = mock().await;
    for uri in ["https://app.example.com/callback/", "http://localhost:3000/callback", ""] {
        let code = mock.idp.control().issue_code(sign_in());
        let mut form = grant(&code);
        form[2].1 = uri;
        assert_eq!(refusal(mock.token(&form).await, 400).await, "invalid_grant", "{uri}");
    }
}

#[tokio::test]
async fn a_code_is_bound_to_its_client() {
    let mock = mock_with_public_client().await;
    let code = mock.idp.control().issue_code(SignIn { client_id: "app".into(), ..sign_in() });
    assert_eq!(refusal(mock.exchange(&code).await, 400).await, "invalid_grant");

    let mut form = grant(&code);
    form.push(("client_id", "app"));
    let own = mock.http.post(mock.url("/token")).form(&form).send().await.unwrap();
    assert_eq!(own.status(), 200);
}

#[tokio::test]
async fn an_unknown_code_is_refused() {
    let mock = mock().await;
    assert_eq!(refusal(mock.exchange("nonsense").await, 400).await, "invalid_grant");
    assert_eq!(mock.idp.control().stats().refused_codes, 1);
}

#[tokio::test]
async fn a_client_may_send_its_secret_in_the_body() {
    let mock = mock().await;
    let code = mock.idp.control().issue_code(sign_in());
    let mut form = grant(&code);
    form.extend([("client_id", CLIENT.0), ("client_secret", CLIENT.1)]);
    let answer = mock.http.post(mock.url("/token")).form(&form).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn basic_credentials_are_form_encoded() {
    let mut config = MockConfig::default();
    config.clients[0].id = "a:b".into();
    config.clients[0].secret = Some("p%4 +&=ü".into());
    let mock = start(config).await;
    let code = mock.idp.control().issue_code(SignIn { client_id: "a:b".into(), ..sign_in() });
    let answer = mock
        .http
        .post(mock.url("/token"))
        .basic_auth("a%3Ab", Some("p%254+%2B%26%3D%C3%BC"))
        .form(&grant(&code))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_client_that_does_not_prove_itself_is_refused_and_the_code_lives_on() {
    let mock = mock().await;
    let code = mock.idp.control().issue_code(sign_in());
    let post = || mock.http.post(mock.url("/token"));
    let mut named = grant(&code);
    named.push(("client_id", CLIENT.0));
    let mut wrong = named.clone();
    wrong.push(("client_secret", "wrong"));
    for request in [
        post().form(&grant(&code)),
        post().form(&named),
        post().form(&wrong),
        post().form(&grant(&code)).basic_auth(CLIENT.0, Some("wrong")),
        post().form(&grant(&code)).basic_auth("other", Some(CLIENT.1)),
        post().form(&grant(&code)).bearer_auth("x"),
    ] {
        let answer = request.send().await.unwrap();
        assert!(answer.headers().contains_key("www-authenticate"));
        assert_eq!(refusal(answer, 401).await, "invalid_client");
    }
    assert_eq!(mock.exchange(&code).await.status(), 200);
}

#[tokio::test]
async fn malformed_requests_are_refused_and_the_code_lives_on() {
    let mock = mock().await;
    let code = mock.idp.control().issue_code(sign_in());
    let twice = [grant(&code), vec![("code", "other")]].concat();
    assert_eq!(refusal(mock.token(&twice).await, 400).await, "invalid_request");
    assert_eq!(refusal(mock.token(&grant(&code)[1..]).await, 400).await, "invalid_request");
    assert_eq!(refusal(mock.token(&grant(&code)[..1]).await, 400).await, "invalid_request");
    let other = [("grant_type", "password"), ("code", code.as_str())];
    assert_eq!(refusal(mock.token(&other).await, 400).await, "unsupported_grant_type");
    let both = [grant(&code), vec![("client_secret", CLIENT.1)]].concat();
    assert_eq!(refusal(mock.token(&both).await, 400).await, "invalid_request");
    let json = mock.http.post(mock.url("/token")).basic_auth(CLIENT.0, Some(CLIENT.1));
    let json = json.json(&json!({ "code": code, "redirect_uri": REDIRECT_URI })).send().await;
    assert_eq!(refusal(json.unwrap(), 400).await, "invalid_request");
    assert_eq!(mock.exchange(&code).await.status(), 200);
}

#[tokio::test]
async fn without_the_openid_scope_there_is_no_id_token() {
    let mock = mock().await;
    let code = mock.idp.control().issue_code(SignIn { scope: "profile".into(), ..sign_in() });
    let tokens: Value = mock.exchange(&code).await.json().await.unwrap();
    assert_eq!(tokens["scope"], "profile");
    assert!(tokens["access_token"].is_string() && tokens.get("id_token").is_none());
}

#[tokio::test]
async fn userinfo_knows_the_bearer_of_an_access_token_alone() {
    let mock = mock().await;
    let access = mock.tokens().await["access_token"].as_str().unwrap().to_owned();
    let request = || mock.http.get(mock.url("/userinfo"));
    let info: Value = request().bearer_auth(&access).send().await.unwrap().json().await.unwrap();
    assert_eq!(info["sub"], "mock|alice");
    assert_eq!(info["email"], "alice@example.com");
    assert_eq!(request().send().await.unwrap().status(), 401);
    assert_eq!(request().bearer_auth("x").send().await.unwrap().status(), 401);
    let other_scheme = request().header("authorization", format!("Basic {access}"));
    assert_eq!(other_scheme.send().await.unwrap().status(), 401);
}
