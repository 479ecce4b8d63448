//! Logins that must be refused: the answer, and that nothing was written or sent out.

use crate::common::{Options, REDIRECT_URI, Store, TestService, assert_error, bare, sign_in};
use crate::on_both_stores;
use mintgate_mock_idp::{Fault, FaultKind, Faults, IdTokenRecipe, SignIn};
use mintgate_testkit::http::RequestBuilder;
use reqwest::StatusCode;
use serde_json::{Value, json};

/// Requests the provider has seen: discovery, JWKS, token, userinfo.
fn asked(service: &TestService) -> u64 {
    let stats = service.idp().control().stats();
    stats.discovery + stats.jwks + stats.token + stats.userinfo
}

fn raw(service: &TestService, body: &[u8]) -> RequestBuilder {
    service
        .client
        .post(service.url("/api/v1/auth/token"))
        .header("content-type", "application/json")
        .body(body.to_vec())
}

on_both_stores! {
    async fn case_01_what_is_not_one_json_object_is_400(store: Store) {
        let service = TestService::start(store).await;
        let valid = bare(&service.code()).to_string();
        let doubled = valid.clone() + &valid;
        let duplicate = format!("{{\"provider\":\"corp\",{}", &valid[1..]);
        let bodies = [
            "", "{", "null", "[]", "\"x\"", "7", &valid[..valid.len() - 1], &doubled, &duplicate,
        ];
        for body in bodies {
            let request = raw(&service, body.as_bytes());
            let answer = service.refused(request, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
            assert_eq!(answer["details"][0]["field"], "body", "{answer}");
        }
        assert_eq!(asked(&service), 0);
    }

    async fn case_02_a_bad_field_is_named_and_its_value_is_not_repeated(store: Store) {
        let service = TestService::start(store).await;
        let long = "x".repeat(8193);
        let cases: &[(&str, Value)] = &[
            ("authCode", json!(null)), ("authCode", json!("")), ("authCode", json!(4_242_424_242_u64)),
            ("authCode", json!(["secret-value"])), ("authCode", json!(long)),
            ("authCode", json!("secret\u{0}value")), ("provider", json!(null)),
            ("provider", json!("")), ("provider", json!({"secret": "value"})),
            ("redirectUri", json!(7)), ("redirectUri", json!("")), ("codeVerifier", json!(true)),
            ("nonce", json!([])), ("state", json!("\u{7}")), ("iss", json!(1)),
            ("tokenDelivery", json!("secret-value")),
        ];
        for (field, value) in cases {
            let mut body = bare("code");
            body[field] = value.clone();
            let request = service.post(&body);
            let answer = service.refused(request, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
            let details = answer["details"].as_array().unwrap();
            assert_eq!(details.len(), 1, "{answer}");
            assert_eq!(details[0]["field"], *field);
            assert!(!answer.to_string().contains("secret"), "{answer}");
        }
        for body in [
            &br#"{"authCode":"\ud800","provider":"corp"}"#[..],
            b"{\"authCode\":\"\xff\",\"provider\":\"corp\"}",
        ] {
            service.refused(raw(&service, body), StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
        }
        assert_eq!(asked(&service), 0);
    }

    async fn case_10_only_the_exact_provider_id_is_known(store: Store) {
        let service = TestService::start(store).await;
        for provider in ["other", "CORP", "Corp", "corp/", "../corp", "corp%00", "https://idp"] {
            let mut body = bare("code");
            body["provider"] = json!(provider);
            service.refused(service.post(&body), StatusCode::BAD_REQUEST, "UNKNOWN_PROVIDER").await;
        }
        assert_eq!(asked(&service), 0);
        let metrics = service.metrics().await;
        assert!(!metrics.contains("CORP"), "an unknown provider makes no series");
        assert!(metrics.contains(r#"mintgate_token_generation_total{outcome="unknown_provider",provider="unknown"} 7"#));
    }

    async fn case_11_a_redirect_uri_is_compared_character_for_character(store: Store) {
        let service = TestService::start(store).await;
        for uri in [
            "http://localhost:3000/callback/", "http://localhost:3000/Callback",
            "http://localhost:3001/callback", "http://localhost/callback",
            "http://user@localhost:3000/callback", "http://localhost:3000/callback#x",
            "http://localhost:3000/callback?x=1", "https://localhost:3000/callback",
            "HTTP://localhost:3000/callback", "http://localhost:3000/../callback",
            "http://localhost.evil.test:3000/callback",
        ] {
            let mut body = bare("code");
            body["redirectUri"] = json!(uri);
            let request = service.post(&body);
            service.refused(request, StatusCode::BAD_REQUEST, "REDIRECT_URI_NOT_ALLOWED").await;
        }
        assert_eq!(asked(&service), 0);
    }

    async fn case_14_a_required_verifier_or_nonce_is_asked_for_before_anything_is_sent(store: Store) {
        let service = TestService::start_with(store, Options {
            provider: "pkce = \"required\"\nnonce = \"required\"", ..Options::default()
        }).await;
        let request = service.post(&bare("code"));
        let answer = service.refused(request, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
        assert_eq!(answer["details"][0]["field"], "codeVerifier");
        assert_eq!(answer["details"][1]["field"], "nonce");
        for verifier in ["short".to_owned(), "v".repeat(129), "+".repeat(43)] {
            let mut body = bare("code");
            body["nonce"] = json!("nonce");
            body["codeVerifier"] = json!(verifier);
            let request = service.post(&body);
            let answer = service.refused(request, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
            assert_eq!(answer["details"][0]["field"], "codeVerifier");
        }
        assert_eq!(asked(&service), 0);
    }

    async fn case_14_no_downgrade_from_pkce_or_nonce(store: Store) {
        let service = TestService::start(store).await;
        let challenged = || service.idp().control().issue_code(SignIn {
            code_challenge: Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned()),
            ..sign_in("alice")
        });
        let with_nonce = || service.idp().control().issue_code(SignIn {
            nonce: Some("the-nonce".to_owned()), ..sign_in("alice")
        });
        let unauthorized = StatusCode::UNAUTHORIZED;
        let without = service.post(&bare(&challenged()));
        service.refused(without, unauthorized, "INVALID_AUTH_CODE").await;
        let mut wrong = bare(&challenged());
        wrong["codeVerifier"] = json!("w".repeat(43));
        service.refused(service.post(&wrong), unauthorized, "INVALID_AUTH_CODE").await;
        let mut unasked = bare(&service.code());
        unasked["codeVerifier"] = json!("w".repeat(43));
        service.refused(service.post(&unasked), unauthorized, "INVALID_AUTH_CODE").await;

        let without = service.post(&bare(&with_nonce()));
        service.refused(without, unauthorized, "INVALID_ID_TOKEN").await;
        let mut wrong = bare(&with_nonce());
        wrong["nonce"] = json!("another-nonce");
        service.refused(service.post(&wrong), unauthorized, "INVALID_ID_TOKEN").await;
        let mut unasked = bare(&service.code());
        unasked["nonce"] = json!("a-nonce");
        service.refused(service.post(&unasked), unauthorized, "INVALID_ID_TOKEN").await;
    }

    async fn case_15_a_code_works_once_and_is_exchanged_once(store: Store) {
        let service = TestService::start(store).await;
        let code = service.code();
        assert_eq!(service.login(&code).await.status(), StatusCode::OK);
        let again = service.post(&bare(&code));
        service.refused(again, StatusCode::UNAUTHORIZED, "INVALID_AUTH_CODE").await;
        assert_eq!(service.idp().control().stats().token, 1);
    }

    async fn case_15_twenty_posts_of_one_code_at_once_open_one_session(store: Store) {
        let service = TestService::start(store).await;
        let code = service.code();
        let answers = futures_util::future::join_all((0..20).map(|_| service.login(&code))).await;
        let mut accepted = 0;
        for answer in answers {
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

    async fn case_16_an_error_under_http_200_is_no_success(store: Store) {
        let service = TestService::start(store).await;
        for error in ["bad_verification_code", "invalid_grant"] {
            let body = json!({ "error": error, "error_description": "The code is wrong." });
            service.idp().control().set_faults(Faults {
                token: Some(FaultKind::Body {
                    body: body.to_string(), content_type: "application/json".to_owned(),
                }.into()),
                ..Faults::default()
            });
            let request = service.post(&bare(&service.code()));
            service.refused(request, StatusCode::UNAUTHORIZED, "INVALID_AUTH_CODE").await;
        }
        service.idp().control().set_faults(Faults {
            token_merge: json!({ "id_token": null }).as_object().unwrap().clone(),
            ..Faults::default()
        });
        let request = service.post(&bare(&service.code()));
        service.refused(request, StatusCode::BAD_GATEWAY, "PROVIDER_ERROR").await;
    }

    async fn case_18_an_answer_of_another_issuer_is_refused_before_anything_is_sent(store: Store) {
        let service = TestService::start(store).await;
        let issuer = service.idp().issuer().to_owned();
        for iss in ["https://evil.test".to_owned(), format!("{issuer}/")] {
            let mut body = bare("code");
            body["iss"] = json!(iss);
            service.refused(service.post(&body), StatusCode::UNAUTHORIZED, "INVALID_STATE").await;
        }
        assert_eq!(asked(&service), 0);
    }

    async fn case_25_one_id_token_posted_by_many_at_once_opens_one_session(store: Store) {
        let service = TestService::start(store).await;
        let token = service.idp().control()
            .issue_id_token(&sign_in("alice"), &IdTokenRecipe::default());
        let body = json!({ "idToken": token, "provider": "corp" });
        let posts = (0..10).map(|_| async { service.post(&body).send().await.unwrap().status() });
        let statuses = futures_util::future::join_all(posts).await;
        assert_eq!(statuses.iter().filter(|s| **s == StatusCode::OK).count(), 1, "{statuses:?}");
        assert_eq!(service.sessions().await, 1);
    }

    async fn nobody_gets_in_whom_no_role_rule_lets_in(store: Store) {
        let service = TestService::start_with(store, Options {
            more: "[roles]\ndefault = []".to_owned(), ..Options::default()
        }).await;
        let request = service.post(&bare(&service.code_for("carol")));
        service.refused(request, StatusCode::FORBIDDEN, "ACCESS_DENIED").await;
        assert_eq!(service.login(&service.code()).await.status(), StatusCode::OK);
    }

    async fn body_delivery_is_refused_where_it_is_not_allowed(store: Store) {
        let service = TestService::start(store).await;
        let mut body = bare("code");
        body["tokenDelivery"] = json!("body");
        let answer =
            service.refused(service.post(&body), StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
        assert_eq!(answer["details"][0]["field"], "tokenDelivery");
        assert_eq!(asked(&service), 0);
    }

    async fn a_redirect_uri_is_required_where_there_are_several(store: Store) {
        let service = TestService::start_with(store, Options {
            redirect_uris: vec![REDIRECT_URI.to_owned(), "http://localhost:3000/other".to_owned()],
            ..Options::default()
        }).await;
        let request = service.post(&json!({ "authCode": "code", "provider": "corp" }));
        let answer = service.refused(request, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
        assert_eq!(answer["details"][0]["field"], "redirectUri");
    }

    async fn case_31_a_token_too_large_for_a_cookie_is_an_error_before_anything_is_stored(store: Store) {
        let service = TestService::start_with(store, Options {
            more: "[tokens.extra_claims]\nteams = \"groups\"".to_owned(), ..Options::default()
        }).await;
        let groups: Vec<_> = (0..500).map(|i| format!("group-{i}")).collect();
        service.idp().control().set_faults(Faults {
            id_token: Some(IdTokenRecipe {
                claims: json!({ "groups": groups }).as_object().unwrap().clone(),
                ..IdTokenRecipe::default()
            }),
            ..Faults::default()
        });
        let request = service.post(&bare(&service.code()));
        service.refused(request, StatusCode::INTERNAL_SERVER_ERROR, "TOKEN_TOO_LARGE").await;
    }
}

/// Faults of the provider's answers, each a refusal that burns the code and stores nothing.
#[tokio::test]
async fn case_12_13_17_a_provider_that_misbehaves_is_502() {
    let service = TestService::start(Store::Sqlite).await;
    let elsewhere = TestService::start(Store::Sqlite).await;
    let token = |kind: FaultKind| Faults { token: Some(Fault::from(kind)), ..Faults::default() };
    let faults = [
        token(FaultKind::Redirect { to: format!("{}/token", elsewhere.idp().issuer()) }),
        token(FaultKind::Huge { bytes: None }),
        token(FaultKind::Status { status: 500, body: "oops".to_owned() }),
        token(FaultKind::Body { body: "<html>".to_owned(), content_type: "text/html".to_owned() }),
        token(FaultKind::Close),
    ];
    for fault in faults {
        service.idp().control().set_faults(fault);
        let request = service.post(&bare(&service.code()));
        service.refused(request, StatusCode::BAD_GATEWAY, "PROVIDER_ERROR").await;
    }
    assert_eq!(asked(&elsewhere), 0, "a redirect is not followed");
    let written = service.idp().control().stats().huge_bytes;
    assert!(written < 8 * 1024 * 1024, "cut early, not after {written} bytes");
}

#[tokio::test]
async fn case_13_discovery_of_another_issuer_or_a_forbidden_jwks_uri_is_502() {
    for discovery in [
        json!({ "issuer": "https://evil.test" }),
        json!({ "jwks_uri": "http://example.com/jwks" }),
        json!({ "jwks_uri": "https://10.0.0.1/jwks" }),
        json!({ "jwks_uri": "https://169.254.169.254/jwks" }),
        json!({ "token_endpoint": "https://192.168.1.1/token" }),
    ] {
        let service = TestService::start(Store::Sqlite).await;
        service.idp().control().set_faults(Faults {
            discovery_merge: discovery.as_object().unwrap().clone(),
            ..Faults::default()
        });
        let request = service.post(&bare(&service.code()));
        service.refused(request, StatusCode::BAD_GATEWAY, "PROVIDER_ERROR").await;
    }
}
