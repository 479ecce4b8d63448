//! Providers as they really are, over HTTP: each habit of the mock provider is one that was seen at a
//! real one.

use mintgate_mock_idp::{FaultKind, Faults, Habit, IdTokenRecipe, LogoutOrder, SignIn};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::common::{Options, REDIRECT_URI, Store, TestService, Tokens, bare, claims, sign_in};
use crate::on_both_stores;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

async fn with(provider: &'static str) -> TestService {
    TestService::start_with(Store::Sqlite, Options { provider, ..Options::default() }).await
}

fn habits(habits: &[Habit]) -> Faults {
    Faults { habits: habits.to_vec(), ..Faults::default() }
}

/// Signs in at a service that has asked its provider for nothing yet.
async fn fresh_login(provider: &'static str, habit: Habit) -> Tokens {
    let service = with(provider).await;
    service.idp().control().set_faults(habits(&[habit]));
    Tokens::of(service.login(&service.code()).await).await
}

#[tokio::test]
async fn a_provider_with_any_of_these_habits_signs_people_in_by_default() {
    for habit in Habit::ALL {
        let told = [Habit::NoNonce, Habit::ProjectAudience, Habit::OtherParty];
        if !told.contains(habit) {
            fresh_login("", *habit).await;
        }
    }
}

#[tokio::test]
async fn case_24_other_audiences_and_parties_need_a_word_of_the_configuration() {
    const TRUSTING: &str = "trusted_audiences = [\"384775745420918788\"]\n\
        authorized_parties = [\"android.apps.example\"]";
    for habit in [Habit::ProjectAudience, Habit::OtherParty] {
        fresh_login(TRUSTING, habit).await;
        let strict = with("").await;
        strict.idp().control().set_faults(habits(&[habit]));
        let login = strict.post(&bare(&strict.code()));
        strict.refused(login, StatusCode::UNAUTHORIZED, "INVALID_ID_TOKEN").await;
    }
    let service = with(TRUSTING).await;
    let alice = service.signed_in_as("alice").await;
    service.idp().control().set_faults(habits(&[Habit::ProjectAudience]));
    let order = LogoutOrder { sign_in: sign_in("alice"), ..LogoutOrder::default() };
    let token = service.idp().control().logout_token(&order);
    let url = service.url("/api/v1/auth/backchannel-logout/corp");
    let answer = service.client.post(url).form(&[("logout_token", token)]).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let refresh = service.refresh(&alice.refresh);
    service.refused(refresh, StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
}

#[tokio::test]
async fn case_25_a_provider_that_never_returns_the_nonce_signs_in_by_pkce() {
    let service = with("nonce = \"off\"").await;
    service.idp().control().set_faults(habits(&[Habit::NoNonce]));
    // A login that is begun here has a nonce, a verifier and a state.
    let (response, cookie) = service.response_for("alice").await;
    Tokens::of(service.finish(&response, &cookie).send().await.unwrap()).await;
    let (response, cookie) = service.response_for("alice").await;
    let without_state = service.post(&bare(&response["code"])).header("cookie", &cookie);
    service.refused(without_state, StatusCode::UNAUTHORIZED, "INVALID_STATE").await;

    let code = |challenge: Option<&str>| {
        let (nonce, code_challenge) = (Some("n-0S6".to_owned()), challenge.map(str::to_owned));
        service.idp().control().issue_code(SignIn { nonce, code_challenge, ..sign_in("alice") })
    };
    let body = |code: &str, more: Value| {
        let mut body = json!({ "authCode": code, "provider": "corp", "redirectUri": REDIRECT_URI });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let protected = body(&code(Some(CHALLENGE)), json!({ "nonce": "x", "codeVerifier": VERIFIER }));
    Tokens::of(service.post(&protected).send().await.unwrap()).await;
    let bare = service.post(&body(&code(None), json!({ "nonce": "n-0S6" })));
    service.refused(bare, StatusCode::UNAUTHORIZED, "INVALID_ID_TOKEN").await;
    let posted =
        service.idp().control().issue_id_token(&sign_in("alice"), &IdTokenRecipe::default());
    let posted = service.post(&json!({ "idToken": posted, "provider": "corp" }));
    service.refused(posted, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
    // One that is there must be the one.
    service.idp().control().clear_faults();
    let wrong = body(&code(Some(CHALLENGE)), json!({ "nonce": "x", "codeVerifier": VERIFIER }));
    service.refused(service.post(&wrong), StatusCode::UNAUTHORIZED, "INVALID_ID_TOKEN").await;

    let strict = with("").await;
    strict.idp().control().set_faults(habits(&[Habit::NoNonce]));
    let (response, cookie) = strict.response_for("alice").await;
    let login = strict.finish(&response, &cookie);
    strict.refused(login, StatusCode::UNAUTHORIZED, "INVALID_ID_TOKEN").await;
}

#[tokio::test]
async fn case_51_two_changes_of_the_key_within_a_second_sign_in_whatever_strangers_post() {
    let service = with("").await;
    service.signed_in_as("alice").await;
    let made_up = IdTokenRecipe {
        header: json!({ "kid": "made-up" }).as_object().unwrap().clone(),
        ..IdTokenRecipe::default()
    };
    for _ in 0..3 {
        let token = service.idp().control().issue_id_token(&sign_in("alice"), &made_up);
        let posted = service.post(&json!({ "idToken": token, "provider": "corp" }));
        service.refused(posted, StatusCode::UNAUTHORIZED, "INVALID_ID_TOKEN").await;
        service.idp().control().rotate_keys();
        service.signed_in_as("alice").await;
    }
    assert_eq!(service.idp().control().stats().jwks, 5);
}

#[tokio::test]
async fn codes_that_make_a_provider_fail_close_its_logins_to_nobody() {
    let service = with("circuit_failures = 3").await;
    service.signed_in_as("alice").await;
    let failing = FaultKind::Status { status: 500, body: "<html>Internal error".to_owned() };
    let faults = Faults { token: Some(failing.times(20)), ..Faults::default() };
    service.idp().control().set_faults(faults);
    for i in 0..20 {
        let login = service.post(&bare(&format!("odd-code-{i}")));
        service.refused(login, StatusCode::BAD_GATEWAY, "PROVIDER_ERROR").await;
    }
    service.signed_in_as("alice").await;
}

#[tokio::test]
async fn what_is_missing_is_named_in_the_log() {
    crate::common::log::keep();
    let service = with("userinfo = true").await;
    for (habit, word) in [(Habit::NoAccessToken, "no access_token")] {
        service.idp().control().set_faults(habits(&[habit]));
        let login = service.post(&bare(&service.code()));
        let body = service.refused(login, StatusCode::BAD_GATEWAY, "PROVIDER_ERROR").await;
        let line = crate::common::log::line(body["requestId"].as_str().unwrap());
        assert!(line.to_string().contains(word), "{line}");
    }
}

#[tokio::test]
async fn a_logout_token_about_one_session_ends_all_of_the_person_where_that_is_configured() {
    for (provider, lives_on) in [("", true), ("logout_sid = \"person\"", false)] {
        let service = with(provider).await;
        let of = |sid: &str| SignIn { sid: Some(sid.to_owned()), ..sign_in("alice") };
        let mut ours = Vec::new();
        for sid in ["laptop", "phone"] {
            let code = service.idp().control().issue_code(of(sid));
            ours.push(Tokens::of(service.login(&code).await).await);
        }
        let order = LogoutOrder { sign_in: of("laptop"), ..LogoutOrder::default() };
        let token = service.idp().control().logout_token(&order);
        let url = service.url("/api/v1/auth/backchannel-logout/corp");
        let logout = service.client.post(url).form(&[("logout_token", token)]);
        assert_eq!(logout.send().await.unwrap().status(), StatusCode::OK);
        let refresh = service.refresh(&ours[0].refresh).send().await.unwrap();
        assert_eq!(refresh.status(), StatusCode::UNAUTHORIZED);
        let refresh = service.refresh(&ours[1].refresh).send().await.unwrap();
        assert_eq!(refresh.status() == StatusCode::OK, lives_on, "{provider}");
    }
}

#[tokio::test]
async fn long_codes_and_tokens_with_many_groups_fit() {
    let service = with("").await;
    let refused = service.post(&bare(&"c".repeat(8192)));
    service.refused(refused, StatusCode::UNAUTHORIZED, "INVALID_AUTH_CODE").await;
    let too_long = service.post(&bare(&"c".repeat(8193)));
    service.refused(too_long, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
    let groups: Vec<_> = (0..190).map(|i| format!("72f988bf-86f1-41af-91ab-{i:012}")).collect();
    let recipe = IdTokenRecipe {
        claims: json!({ "groups": groups }).as_object().unwrap().clone(),
        ..IdTokenRecipe::default()
    };
    let token = service.idp().control().issue_id_token(&sign_in("alice"), &recipe);
    assert!(token.len() > 10_000, "{}", token.len());
    let posted = service.post(&json!({ "idToken": token, "provider": "corp" }));
    Tokens::of(posted.send().await.unwrap()).await;
}

#[tokio::test]
async fn our_jwks_is_served_under_every_name_it_goes_by() {
    let service = with("").await;
    let get = |accept: &'static str| {
        let url = service.url("/.well-known/jwks.json");
        service.client.get(url).header("accept", accept)
    };
    for (accept, media_type) in [
        ("application/jwk-set+json", "application/jwk-set+json"),
        ("application/jwk-set+json, application/json;q=0.5", "application/json"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("application/jwk-set+json, */*;q=0.1", "application/json"),
    ] {
        let answer = get(accept).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{accept}");
        assert_eq!(answer.headers()["content-type"], media_type, "{accept}");
        let vary: Vec<_> = answer.headers().get_all("vary").iter().collect();
        assert!(vary.iter().any(|vary| *vary == "Accept"), "{vary:?}");
        let keys: Value = answer.json().await.unwrap();
        assert!(keys["keys"].as_array().is_some_and(|keys| !keys.is_empty()));
    }
    service.refused(get("text/html"), StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE").await;
    let elsewhere = service.client.get(service.url("/api/v1/auth/me"));
    let elsewhere = elsewhere.header("accept", "application/jwk-set+json");
    service.refused(elsewhere, StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE").await;
}

#[tokio::test]
async fn a_provider_that_posts_a_logout_token_may_accept_whatever_it_likes() {
    let service = with("").await;
    let alice = service.signed_in_as("alice").await;
    let order = LogoutOrder { sign_in: sign_in("alice"), ..LogoutOrder::default() };
    let token = service.idp().control().logout_token(&order);
    let url = service.url("/api/v1/auth/backchannel-logout/corp");
    let logout = service.client.post(url).header("accept", "text/html");
    let answer = logout.form(&[("logout_token", token)]).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let refresh = service.refresh(&alice.refresh);
    service.refused(refresh, StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
}

on_both_stores! {
    async fn a_session_id_of_any_length_and_with_any_characters_ends_its_own_session(store: Store) {
        for sid in ["x".repeat(304), "a\u{0}b".to_owned(), "x".repeat(4000)] {
            let service = TestService::start(store).await;
            let of = |sid: &str| SignIn { sid: Some(sid.to_owned()), ..sign_in("alice") };
            let mut ours = Vec::new();
            for sid in [sid.clone(), format!("{sid}x")] {
                let code = service.idp().control().issue_code(of(&sid));
                ours.push(Tokens::of(service.login(&code).await).await);
            }
            service.idp().control().set_faults(habits(&[Habit::LogoutWithoutExp]));
            let order = LogoutOrder { sign_in: of(&sid), without_sub: true, ..LogoutOrder::default() };
            let token = service.idp().control().logout_token(&order);
            let logout = || {
                let url = service.url("/api/v1/auth/backchannel-logout/corp");
                service.client.post(url).form(&[("logout_token", &token)])
            };
            let answer = logout().send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            service.refused(logout(), StatusCode::BAD_REQUEST, "INVALID_LOGOUT_TOKEN").await;
            let refresh = service.refresh(&ours[0].refresh);
            service.refused(refresh, StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
            let next = service.refreshed(&ours[1].refresh).await;
            assert_eq!(claims(&next.access)["sid"], claims(&ours[1].access)["sid"]);
        }
    }
}
