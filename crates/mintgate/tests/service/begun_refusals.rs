//! Cases 11 to 17 for logins that begin here: the provider misbehaves, or a response is not the login's.

use crate::common::login::posted;
use crate::common::session::cookies;
use crate::common::{Options, REDIRECT_URI, Store, TestService, assert_error};
use crate::on_both_stores;
use futures_util::future::join_all;
use mintgate_mock_idp::{FaultKind, Faults, MockConfig};
use reqwest::StatusCode;
use serde_json::{Value, json};

const OTHER_REDIRECT_URI: &str = "http://localhost:3000/other";

/// No breaker gets in the way of many faults in a row.
fn unbroken() -> Options {
    Options { provider: "circuit_failures = 1000", ..Options::default() }
}

fn at_token(kind: FaultKind) -> Faults {
    Faults { token: Some(kind.into()), ..Faults::default() }
}

fn merged(changes: &Value) -> serde_json::Map<String, Value> {
    changes.as_object().unwrap().clone()
}

on_both_stores! {
    async fn case_11_a_begun_login_is_finished_with_its_own_redirect_uri(store: Store) {
        let service = TestService::start_with(store, Options {
            redirect_uris: vec![REDIRECT_URI.to_owned(), OTHER_REDIRECT_URI.to_owned()],
            ..Options::default()
        }).await;
        let body = json!({ "provider": "corp", "redirectUri": REDIRECT_URI });
        let answer = service.login_request(&body).send().await.unwrap();
        let set_cookie = cookies(&answer).pop().unwrap();
        let cookie = set_cookie.split(';').next().unwrap();
        let begun: Value = answer.json().await.unwrap();
        let url = begun["authorizationUrl"].as_str().unwrap();
        let response = service.at_provider(url, "alice").await;
        for (uri, status, code) in [
            (OTHER_REDIRECT_URI, StatusCode::UNAUTHORIZED, "INVALID_STATE"),
            ("http://localhost:3000/callback/", StatusCode::BAD_REQUEST, "REDIRECT_URI_NOT_ALLOWED"),
            ("http://LOCALHOST:3000/callback", StatusCode::BAD_REQUEST, "REDIRECT_URI_NOT_ALLOWED"),
        ] {
            let mut body = posted(&response);
            body["redirectUri"] = json!(uri);
            let request = service.post(&body).header("cookie", cookie);
            service.refused(request, status, code).await;
        }
        assert_eq!(service.idp().control().stats().token, 0, "no code was sent anywhere");
        let answer = service.finish(&response, cookie).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }

    async fn case_11_any_port_of_a_loopback_address_and_any_label_in_place_of_a_star_are_allowed(store: Store) {
        let (app, preview) = ("http://127.0.0.1:51004/cb", "https://pr-7.preview.example.com/cb");
        let mut mock = MockConfig::default();
        mock.clients[0].redirect_uris.extend([app.to_owned(), preview.to_owned()]);
        let configured = ["http://127.0.0.1/cb", "https://*.preview.example.com/cb"];
        let service = TestService::start_with(store, Options {
            mock, redirect_uris: configured.map(str::to_owned).into(), ..Options::default()
        }).await;
        for uri in [
            "http://127.0.0.1:51004/other",
            "http://localhost:51004/cb",
            "https://a.b.preview.example.com/cb",
            "https://*.preview.example.com/cb",
        ] {
            for request in [
                service.login_request(&json!({ "provider": "corp", "redirectUri": uri })),
                service.post(&json!({ "authCode": "code", "provider": "corp", "redirectUri": uri })),
            ] {
                let status = StatusCode::BAD_REQUEST;
                service.refused(request, status, "REDIRECT_URI_NOT_ALLOWED").await;
            }
        }
        // A stranger may hold the address, so a code alone proves nothing.
        let bare = service.post(&json!({ "authCode": "code", "provider": "corp", "redirectUri": preview }));
        let answer = service.refused(bare, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
        assert_eq!(answer["details"][0]["field"], "codeVerifier");
        assert_eq!(service.idp().control().stats().token, 0, "no code was sent anywhere");
        for uri in [app, preview] {
            let body = json!({ "provider": "corp", "redirectUri": uri });
            let answer = service.login_request(&body).send().await.unwrap();
            let set_cookie = cookies(&answer).pop().unwrap();
            let begun: Value = answer.json().await.unwrap();
            let url = begun["authorizationUrl"].as_str().unwrap();
            let response = service.at_provider(url, "alice").await;
            let cookie = set_cookie.split(';').next().unwrap();
            let answer = service.finish(&response, cookie).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{uri}");
        }
    }

    async fn case_14_a_code_of_another_login_does_not_finish_this_one(store: Store) {
        let service = TestService::start(store).await;
        let (mut response, cookie) = service.response_for("alice").await;
        let (others, _) = service.response_for("bob").await;
        // Bob's code in Alice's browser: her state and cookie are right, her verifier is not his.
        response.insert("code".to_owned(), others["code"].clone());
        let request = service.finish(&response, &cookie);
        service.refused(request, StatusCode::UNAUTHORIZED, "INVALID_AUTH_CODE").await;
        // A code that was begun elsewhere, without a challenge: no downgrade.
        response.insert("code".to_owned(), service.code_for("bob"));
        let request = service.finish(&response, &cookie);
        service.refused(request, StatusCode::UNAUTHORIZED, "INVALID_AUTH_CODE").await;
        let stats = service.idp().control().stats();
        assert_eq!((stats.token, stats.exchanges), (2, 0));
    }

    async fn case_15_one_response_posted_twenty_times_at_once_is_exchanged_once(store: Store) {
        let service = TestService::start(store).await;
        let (response, cookie) = service.response_for("alice").await;
        let posts = (0..20).map(|_| service.finish(&response, &cookie).send());
        let mut accepted = 0;
        for answer in join_all(posts).await {
            let answer = answer.unwrap();
            if answer.status() == StatusCode::OK {
                accepted += 1;
            } else {
                assert_error(answer, StatusCode::UNAUTHORIZED, "INVALID_AUTH_CODE").await;
            }
        }
        assert_eq!(accepted, 1);
        let stats = service.idp().control().stats();
        assert_eq!((stats.token, stats.exchanges), (1, 1));
        assert_eq!(service.sessions().await, 1);
    }

    async fn case_12_16_17_a_token_answer_that_is_none_finishes_no_login(store: Store) {
        let service = TestService::start_with(store, unbroken()).await;
        let elsewhere = TestService::start(Store::Sqlite).await;
        let refused = json!({ "error": "bad_verification_code" }).to_string();
        let body = |body: &str| FaultKind::Body {
            body: body.to_owned(), content_type: "application/json".to_owned(),
        };
        let (bad_gateway, unauthorized) = (StatusCode::BAD_GATEWAY, StatusCode::UNAUTHORIZED);
        let to = format!("{}/token", elsewhere.idp().issuer());
        let without_id_token =
            Faults { token_merge: merged(&json!({ "id_token": null })), ..Faults::default() };
        for (faults, status, code) in [
            (at_token(FaultKind::Redirect { to }), bad_gateway, "PROVIDER_ERROR"),
            (at_token(body(&refused)), unauthorized, "INVALID_AUTH_CODE"),
            (at_token(body("{}")), bad_gateway, "PROVIDER_ERROR"),
            (without_id_token, bad_gateway, "PROVIDER_ERROR"),
            (at_token(FaultKind::Huge { bytes: None }), bad_gateway, "PROVIDER_ERROR"),
            (at_token(FaultKind::Close), bad_gateway, "PROVIDER_ERROR"),
        ] {
            let (response, cookie) = service.response_for("alice").await;
            service.idp().control().set_faults(faults);
            service.refused(service.finish(&response, &cookie), status, code).await;
            service.idp().control().clear_faults();
            // Its fate is unknown or known to be bad: it is not sent again.
            let asked = service.idp().control().stats().token;
            let again = service.finish(&response, &cookie);
            service.refused(again, unauthorized, "INVALID_AUTH_CODE").await;
            assert_eq!(service.idp().control().stats().token, asked);
        }
        assert_eq!(elsewhere.idp().control().stats().token, 0, "a redirect is not followed");
        let written = service.idp().control().stats().huge_bytes;
        assert!(written < 8 * 1024 * 1024, "cut early, not after {written} bytes");
    }

    async fn case_17_a_provider_that_hangs_is_504_in_time_when_a_login_begins_and_when_it_ends(store: Store) {
        let service = TestService::start_with(store, Options {
            provider: "timeout_ms = 1500\nconnect_timeout_ms = 500\ncircuit_failures = 1000",
            ..Options::default()
        }).await;
        let timeout = StatusCode::GATEWAY_TIMEOUT;
        let hang = || Some(FaultKind::Hang.into());
        service.idp().control().set_faults(Faults { discovery: hang(), ..Faults::default() });
        let request = service.login_request(&json!({ "provider": "corp" }));
        service.refused(request, timeout, "PROVIDER_TIMEOUT").await;
        service.idp().control().clear_faults();
        let (response, cookie) = service.response_for("alice").await;
        service.idp().control().set_faults(Faults { token: hang(), ..Faults::default() });
        service.refused(service.finish(&response, &cookie), timeout, "PROVIDER_TIMEOUT").await;
        assert_eq!(service.idp().control().stats().token, 1, "the code was sent once");
    }
}

#[tokio::test]
async fn case_12_13_no_login_begins_by_metadata_that_cannot_be_the_providers() {
    let elsewhere = TestService::start(Store::Sqlite).await;
    let discovering =
        |changes: Value| Faults { discovery_merge: merged(&changes), ..Faults::default() };
    let to = |path: &str| FaultKind::Redirect { to: format!("{}{path}", elsewhere.idp().issuer()) };
    let service = TestService::start_with(Store::Sqlite, unbroken()).await;
    for faults in [
        discovering(json!({ "issuer": "https://evil.test" })),
        discovering(json!({ "issuer": format!("{}/", service.idp().issuer()) })),
        discovering(json!({ "jwks_uri": "http://example.com/jwks" })),
        discovering(json!({ "jwks_uri": "https://10.0.0.1/jwks" })),
        discovering(json!({ "token_endpoint": "https://192.168.1.1/token" })),
        Faults {
            discovery: Some(to("/.well-known/openid-configuration").into()),
            ..Faults::default()
        },
        Faults { jwks: Some(to("/jwks").into()), ..Faults::default() },
    ] {
        service.idp().control().set_faults(faults);
        let request = service.login_request(&json!({ "provider": "corp" }));
        service.refused(request, StatusCode::BAD_GATEWAY, "PROVIDER_ERROR").await;
    }
    let stats = elsewhere.idp().control().stats();
    assert_eq!((stats.discovery, stats.jwks), (0, 0), "no redirect is followed");
    service.idp().control().clear_faults();
    let (response, cookie) = service.response_for("alice").await;
    let answer = service.finish(&response, &cookie).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}
