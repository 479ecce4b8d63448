//! Trouble around the service: a hanging provider, a database that goes away, a stop.

use std::time::Duration;

use crate::common::{Options, Store, TestService, assert_error, bare};
use crate::on_both_stores;
use mintgate_mock_idp::{FaultKind, Faults};
use reqwest::StatusCode;

on_both_stores! {
    async fn case_17_a_hanging_provider_is_504_in_time_while_other_requests_go_on(store: Store) {
        let service = TestService::start_with(store, Options {
            provider: "timeout_ms = 1500\nconnect_timeout_ms = 500", ..Options::default()
        }).await;
        assert_eq!(service.login(&service.code()).await.status(), StatusCode::OK);
        service.idp().control().set_faults(Faults {
            token: Some(FaultKind::Hang.times(1)), ..Faults::default()
        });
        let before = service.dump().await;
        let exchanges = service.idp().control().stats().token;
        let code = service.code();
        let (hung, others) = tokio::join!(service.login(&code), async {
            // Not before the hung request has reached the provider.
            while service.idp().control().stats().token == exchanges {
                tokio::task::yield_now().await;
            }
            let jwks = service.client.get(service.url("/.well-known/jwks.json")).send().await;
            (jwks.unwrap().status(), service.dump().await == before)
        });
        assert_eq!(others, (StatusCode::OK, true));
        assert_error(hung, StatusCode::GATEWAY_TIMEOUT, "PROVIDER_TIMEOUT").await;
        assert_eq!(service.dump().await, before);
        // The code's fate is unknown: it is not sent again.
        assert_error(service.login(&code).await, StatusCode::UNAUTHORIZED, "INVALID_AUTH_CODE").await;
        assert_eq!(service.idp().control().stats().token, exchanges + 1);
        assert_eq!(service.login(&service.code()).await.status(), StatusCode::OK);
    }

    async fn a_provider_that_is_down_is_503_and_its_code_can_be_posted_again(store: Store) {
        let mut service = TestService::start(store).await;
        assert_eq!(service.login(&service.code()).await.status(), StatusCode::OK);
        service.stop_provider().await;
        // Connections that were kept open end a moment after the provider's listener.
        for attempt in 0..1000 {
            let answer = service.login(&format!("early-{attempt}")).await;
            if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
                break;
            }
        }
        for _ in 0..2 {
            let answer = service.login("code").await;
            assert_error(answer, StatusCode::SERVICE_UNAVAILABLE, "PROVIDER_UNAVAILABLE").await;
        }
    }
}

#[tokio::test]
async fn a_database_that_goes_away_is_503_and_comes_back_without_a_restart() {
    let Some(service) = TestService::behind_a_line().await else { return };
    assert_eq!(service.login(&service.code()).await.status(), StatusCode::OK);

    service.line().cut();
    let code = service.code();
    let answer = tokio::time::timeout(Duration::from_secs(10), service.login(&code)).await;
    let answer = answer.expect("a refusal in bounded time");
    assert_error(answer, StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE").await;
    let ready = service.client.get(service.ops_url("/health/ready")).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let live = service.client.get(service.ops_url("/health/live")).send().await.unwrap();
    assert_eq!(live.status(), StatusCode::OK);
    let jwks = service.client.get(service.url("/.well-known/jwks.json")).send().await.unwrap();
    assert_eq!(jwks.status(), StatusCode::OK);

    service.line().restore();
    service.until_ready().await;
    assert_eq!(service.login(&service.code()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_store_without_its_schema_is_503_and_readiness_says_what_to_do() {
    let service = TestService::start_with(
        Store::Sqlite,
        Options { without_schema: true, ..Options::default() },
    )
    .await;
    let ready = service.client.get(service.ops_url("/health/ready")).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = ready.text().await.unwrap();
    assert!(body.contains("mintgate migrate"), "{body}");
    let answer = service.post(&bare(&service.code())).send().await.unwrap();
    assert_error(answer, StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE").await;
}

#[tokio::test]
async fn a_stop_lets_the_login_in_flight_finish_and_readiness_says_no_at_once() {
    let mut service = TestService::start(Store::Sqlite).await;
    assert_eq!(service.login(&service.code()).await.status(), StatusCode::OK);
    service.idp().control().set_faults(Faults {
        token: Some(FaultKind::Delay { ms: 1000 }.into()),
        ..Faults::default()
    });
    let seen = service.idp().control().stats().token;
    let request = service.post(&bare(&service.code()));
    let login = tokio::spawn(request.send());
    while service.idp().control().stats().token == seen {
        tokio::task::yield_now().await;
    }
    service.ask_to_stop();
    let ready_url = service.ops_url("/health/ready");
    loop {
        let ready = service.client.get(&ready_url).send().await.unwrap();
        if ready.status() == StatusCode::SERVICE_UNAVAILABLE {
            break;
        }
        assert!(!login.is_finished(), "readiness must fail while the login is in flight");
    }
    assert_eq!(login.await.unwrap().unwrap().status(), StatusCode::OK);
    service.wait_until_stopped();
}

#[tokio::test]
async fn nothing_is_acknowledged_into_a_file_that_was_deleted_and_the_service_is_not_ready() {
    let service = TestService::start(Store::Sqlite).await;
    let tokens = service.signed_in().await;
    let file = service.sqlite_file();
    let aside = file.with_extension("aside");
    std::fs::rename(&file, &aside).unwrap();
    let refused = service.login(&service.code()).await;
    assert_error(refused, StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE").await;
    let refused = service.refresh(&tokens.refresh).send().await.unwrap();
    assert_error(refused, StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE").await;
    let ready = service.client.get(service.ops_url("/health/ready")).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!file.exists(), "no new file is made");

    std::fs::rename(&aside, &file).unwrap();
    service.until_ready().await;
    service.refreshed(&tokens.refresh).await;
}
