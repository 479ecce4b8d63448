//! GitHub's dialect.

use std::collections::BTreeMap;

use mintgate_mock_idp::{Dialect, FaultKind, Faults};
use reqwest::Response;
use serde_json::{Value, json};

use super::{Pair, speaking, with_user};
use crate::support::{Mock, REDIRECT_URI};

const SCOPE: Pair<'_> = ("scope", "read:user user:email");

async fn form(answer: Response) -> BTreeMap<String, String> {
    assert_eq!(answer.status(), 200);
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(content_type.starts_with("application/x-www-form-urlencoded"), "{content_type}");
    let body = answer.bytes().await.unwrap();
    url::form_urlencoded::parse(&body).into_owned().collect()
}

async fn api(mock: &Mock, path: &str, token: &str) -> Response {
    let request = mock.http.get(mock.url(path)).header("user-agent", "mintgate");
    request.bearer_auth(token).send().await.unwrap()
}

#[tokio::test]
async fn a_token_comes_form_encoded_and_the_api_says_who_it_is() {
    let mock = speaking(Dialect::Github).await;
    let response = mock.code("alice", &[SCOPE]).await;
    assert!(!response.contains_key("iss"));
    let tokens = form(mock.redeem(&response["code"], &[]).await).await;
    assert_eq!(tokens["token_type"], "bearer");
    assert_eq!(tokens["scope"], "read:user,user:email");
    assert!(tokens["access_token"].starts_with("gho_"));
    assert!(!tokens.contains_key("id_token") && !tokens.contains_key("expires_in"));

    let user: Value = api(&mock, "/user", &tokens["access_token"]).await.json().await.unwrap();
    assert_eq!((&user["login"], &user["name"]), (&json!("alice"), &json!("Alice Admin")));
    assert_eq!(user["email"], "alice@example.com");
    assert!(user["id"].is_u64() && user.get("sub").is_none() && user.get("groups").is_none());
    let emails: Value =
        api(&mock, "/user/emails", &tokens["access_token"]).await.json().await.unwrap();
    let primary = emails.as_array().unwrap().iter().find(|it| it["primary"] == true).unwrap();
    assert_eq!((&primary["email"], &primary["verified"]), (&user["email"], &json!(true)));
    assert_eq!(mock.idp.control().stats().emails, 1);
}

#[tokio::test]
async fn a_private_address_is_null_in_the_profile_and_listed_with_its_scope() {
    let mock = with_user(Dialect::Github, |dora| {
        dora.public_email = false;
        dora.email_verified = false;
    })
    .await;
    for (scope, status) in [("read:user user:email", 200), ("read:user", 404)] {
        let code = mock.code("dora", &[("scope", scope)]).await["code"].clone();
        let token = form(mock.redeem(&code, &[]).await).await["access_token"].clone();
        let user: Value = api(&mock, "/user", &token).await.json().await.unwrap();
        assert_eq!(user.get("email"), Some(&Value::Null));
        let emails = api(&mock, "/user/emails", &token).await;
        assert_eq!(emails.status(), status, "{scope}");
        if status == 200 {
            let emails: Value = emails.json().await.unwrap();
            assert_eq!(emails[1]["email"], "dora@example.com");
            assert_eq!(emails[1]["verified"], false);
        }
    }
}

#[tokio::test]
async fn errors_come_under_200() {
    let mock = speaking(Dialect::Github).await;
    let code = mock.code("alice", &[SCOPE]).await["code"].clone();
    let wrong_secret = form(mock.redeem(&code, &[("client_secret", "wrong")]).await).await;
    assert_eq!(wrong_secret["error"], "incorrect_client_credentials");
    let elsewhere = mock.redeem(&code, &[("redirect_uri", "https://app.example.com/x")]).await;
    assert_eq!(form(elsewhere).await["error"], "redirect_uri_mismatch");
    let used = form(mock.redeem(&code, &[]).await).await;
    assert_eq!(used["error"], "bad_verification_code");
    assert_eq!(used["error_description"], "The code passed is incorrect or expired.");
    assert!(used["error_uri"].ends_with("#bad-verification-code"));
}

#[tokio::test]
async fn the_api_wants_a_user_agent_and_a_good_token() {
    let mock = speaking(Dialect::Github).await;
    let silent = mock.http.get(mock.url("/user")).bearer_auth("x").send().await.unwrap();
    assert_eq!(silent.status(), 403);
    let refused = api(&mock, "/user", "x").await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.json::<Value>().await.unwrap()["message"], "Bad credentials");
}

#[tokio::test]
async fn response_type_and_redirect_uri_may_be_left_out() {
    let mock = speaking(Dialect::Github).await;
    let request = [("client_id", "mintgate"), ("user", "bob"), ("scope", "user:email")];
    let answer = mock.http.post(&mock.idp.urls().authorize).form(&request).send().await.unwrap();
    let location = answer.headers()["location"].to_str().unwrap();
    assert!(!location.starts_with(REDIRECT_URI), "the first one registered: {location}");
    let (_, code) = location.split_once("?code=").expect("a code");
    let exchange =
        [("client_id", "mintgate"), ("client_secret", "mintgate-dev-secret"), ("code", code)];
    let answer = mock.http.post(&mock.idp.urls().token).form(&exchange).send().await.unwrap();
    assert!(form(answer).await.contains_key("access_token"));
}

#[tokio::test]
async fn there_is_no_discovery_and_the_list_of_addresses_can_fail() {
    let mock = speaking(Dialect::Github).await;
    assert_eq!(mock.get("/.well-known/openid-configuration").await.status(), 404);
    let emails = Some(FaultKind::Status { status: 502, body: String::new() }.into());
    mock.idp.control().set_faults(Faults { emails, ..Faults::default() });
    assert_eq!(api(&mock, "/user/emails", "x").await.status(), 502);
    assert_eq!(api(&mock, "/user", "x").await.status(), 401);
}
