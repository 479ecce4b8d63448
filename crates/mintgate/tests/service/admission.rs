//! What waits, for a client or for a provider, takes no place of anything else.

use std::pin::pin;

use crate::common::session::REFRESH;
use crate::common::wire::{read_head, slow_body};
use crate::common::{Options, Store, TestService, assert_error, bare, dump};
use futures_util::future::{Either, select};
use mintgate_mock_idp::{FaultKind, Faults};
use reqwest::StatusCode;
use serde_json::json;

const TOKEN: &str = "/api/v1/auth/token";
const LOGIN: &str = "/api/v1/auth/login";

async fn start_with(limits: &str) -> TestService {
    let more = format!("[limits]\n{limits}\n[tokens]\nbody_delivery = true");
    let provider = "timeout_ms = 30000";
    TestService::start_with(Store::Sqlite, Options { provider, more, ..Options::default() }).await
}

async fn jwks(service: &TestService) -> StatusCode {
    service.client.get(service.url("/.well-known/jwks.json")).send().await.unwrap().status()
}

#[tokio::test]
async fn slow_bodies_take_no_place_of_other_requests() {
    let service = start_with("max_in_flight = 1\nmax_sign_ins = 1").await;
    let mut slow = Vec::new();
    for path in [TOKEN, REFRESH, LOGIN, "/api/v1/auth/logout"] {
        for _ in 0..10 {
            slow.push(slow_body(&service, path).await);
        }
    }
    assert_eq!(jwks(&service).await, StatusCode::OK);
    let tokens = service.signed_in().await;
    let tokens = service.refreshed(&tokens.refresh).await;
    let by_body = service.refresh_by_body(&tokens.refresh).send().await.unwrap();
    assert_eq!(by_body.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_slow_body_too_many_is_503_and_one_that_comes_with_its_head_is_served() {
    let service = start_with("max_slow_bodies = 1").await;
    let mut one = slow_body(&service, TOKEN).await;
    let mut other = slow_body(&service, TOKEN).await;
    // Which of them is the one too many, the service decides.
    let (answer, _waits) =
        match select(pin!(read_head(&mut one)), pin!(read_head(&mut other))).await {
            Either::Left(first) => first,
            Either::Right((answer, waits)) => (answer, waits),
        };
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: "), "{answer}");
    let tokens = service.signed_in().await;
    let by_body = service.refresh_by_body(&tokens.refresh).send().await.unwrap();
    assert_eq!(by_body.status(), StatusCode::OK);
}

#[tokio::test]
async fn codes_at_a_hanging_provider_take_no_place_of_refreshes() {
    let mut service = start_with("max_sign_ins = 1").await;
    let tokens = service.signed_in().await;
    service
        .idp()
        .control()
        .set_faults(Faults { token: Some(FaultKind::Hang.into()), ..Faults::default() });
    let seen = service.idp().control().stats().token;
    let hanging = tokio::spawn(service.post(&bare(&service.code())).send());
    while service.idp().control().stats().token == seen {
        tokio::task::yield_now().await;
    }
    let status = StatusCode::SERVICE_UNAVAILABLE;
    service.refused(service.post(&bare("another")), status, "OVERLOADED").await;
    let begin = service.client.post(service.url(LOGIN)).json(&json!({ "provider": "corp" }));
    service.refused(begin, status, "OVERLOADED").await;

    assert_eq!(jwks(&service).await, StatusCode::OK);
    let tokens = service.refreshed(&tokens.refresh).await;
    assert_eq!(service.me(&tokens.access).send().await.unwrap().status(), StatusCode::OK);
    let url = service.url("/api/v1/auth/backchannel-logout/corp");
    let logout = service.client.post(url).form(&[("logout_token", "a.b.c")]);
    service.refused(logout, StatusCode::BAD_REQUEST, "INVALID_LOGOUT_TOKEN").await;

    service.stop_provider().await;
    assert_ne!(hanging.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn refreshes_that_wait_for_the_store_take_no_place_of_the_jwks_or_of_logins() {
    let service = start_with("max_in_flight = 1").await;
    let (one, other) = (service.signed_in().await, service.signed_in().await);
    let lock = dump::hold_write_lock(&service.sqlite_file());
    let one = pin!(service.refresh(&one.refresh).send());
    let other = pin!(service.refresh(&other.refresh).send());
    let (refused, waits) = match select(one, other).await {
        Either::Left((refused, waits)) | Either::Right((refused, waits)) => (refused, waits),
    };
    assert_error(refused.unwrap(), StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED").await;
    assert_eq!(jwks(&service).await, StatusCode::OK);
    let begin = service.client.post(service.url(LOGIN)).json(&json!({ "provider": "corp" }));
    assert_eq!(begin.send().await.unwrap().status(), StatusCode::OK);
    drop(lock);
    assert_eq!(waits.await.unwrap().status(), StatusCode::OK);
}
