//! `Idempotency-Key`: an answer that was lost can be asked for again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::{
    Options, REDIRECT_URI, Store, TestService, Tokens, assert_error, bare, sign_in,
};
use crate::on_both_stores;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use mintgate_mock_idp::{FaultKind, Faults, IdTokenRecipe};
use mintgate_testkit::http::RequestBuilder;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const KEY: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";

fn keyed(service: &TestService, body: &Value, key: &str) -> RequestBuilder {
    service.post(body).header("idempotency-key", key)
}

async fn issued(request: RequestBuilder) -> Tokens {
    Tokens::of(request.send().await.unwrap()).await
}

/// Has the provider take its time, so that something can happen meanwhile.
fn slow_exchange(service: &TestService, ms: u64) {
    service
        .idp()
        .control()
        .set_faults(Faults { token: Some(FaultKind::Delay { ms }.times(1)), ..Faults::default() });
}

async fn until_the_provider_is_asked(service: &TestService, before: u64) {
    while service.idp().control().stats().token == before {
        tokio::task::yield_now().await;
    }
}

on_both_stores! {
    async fn the_same_request_again_gets_the_same_session_and_refresh_token(store: Store) {
        let service = TestService::start(store).await;
        let body = bare(&service.code());
        let first = issued(keyed(&service, &body, KEY)).await;
        for _ in 0..3 {
            let again = issued(keyed(&service, &body, KEY)).await;
            assert!(again.refresh == first.refresh, "the same bytes");
            assert_eq!(again.sid(), first.sid());
        }
        assert_eq!(service.sessions().await, 1);
        assert_eq!(service.dump().await.rows("idempotency_keys").len(), 1);
        assert_eq!(service.idp().control().stats().token, 1, "the provider was asked once");
        // Of another process as well.
        let mut service = service;
        service.restart();
        assert!(issued(keyed(&service, &body, KEY)).await.refresh == first.refresh);
        assert_eq!(service.refreshed(&first.refresh).await.generation(), 1);
        // The answer has arrived, then; nobody else is to have its tokens.
        let late = keyed(&service, &body, KEY);
        service.refused(late, StatusCode::UNAUTHORIZED, "INVALID_AUTH_CODE").await;
    }

    async fn an_id_token_posted_again_with_its_key_gets_its_session_again(store: Store) {
        let service = TestService::start(store).await;
        let token = service.idp().control().issue_id_token(&sign_in("alice"), &IdTokenRecipe::default());
        let body = json!({ "idToken": token, "provider": "corp" });
        let first = issued(keyed(&service, &body, KEY)).await;
        assert!(issued(keyed(&service, &body, KEY)).await.refresh == first.refresh);
        let unkeyed = service.post(&body);
        service.refused(unkeyed, StatusCode::UNAUTHORIZED, "INVALID_ID_TOKEN").await;
        assert_eq!(service.sessions().await, 1);
    }

    async fn the_same_key_with_another_body_is_422(store: Store) {
        let service = TestService::start(store).await;
        let code = service.code();
        issued(keyed(&service, &bare(&code), KEY)).await;
        let spaced = bare(&code).to_string() + " ";
        let same_meaning = service.client.post(service.url("/api/v1/auth/token"))
            .header("content-type", "application/json")
            .header("idempotency-key", KEY).body(spaced);
        let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
        let other = keyed(&service, &bare(&service.code()), KEY);
        for request in [same_meaning, other] {
            service.refused(request, unprocessable, "IDEMPOTENCY_KEY_REUSED").await;
        }
        assert_eq!(service.idp().control().stats().token, 1);
    }

    async fn case_15_without_the_same_key_a_code_works_once(store: Store) {
        let service = TestService::start(store).await;
        let body = bare(&service.code());
        issued(keyed(&service, &body, KEY)).await;
        let unauthorized = StatusCode::UNAUTHORIZED;
        service.refused(service.post(&body), unauthorized, "INVALID_AUTH_CODE").await;
        let another = keyed(&service, &body, "another-key-of-enough-letters");
        service.refused(another, unauthorized, "INVALID_AUTH_CODE").await;
        let body = bare(&service.code());
        issued(service.post(&body)).await;
        service.refused(service.post(&body), unauthorized, "INVALID_AUTH_CODE").await;
        // A refusal is not remembered as the answer.
        let refused = keyed(&service, &bare("wrong"), "a-key-for-a-wrong-code");
        service.refused(refused, unauthorized, "INVALID_AUTH_CODE").await;
        assert_eq!(service.dump().await.rows("idempotency_keys").len(), 1);
    }

    async fn twenty_at_once_with_one_key_get_one_session(store: Store) {
        let service = TestService::start(store).await;
        let body = bare(&service.code());
        let all = join_all((0..20).map(|_| issued(keyed(&service, &body, KEY)))).await;
        for tokens in &all {
            assert!(tokens.refresh == all[0].refresh);
        }
        assert_eq!(service.sessions().await, 1);
        assert_eq!(service.idp().control().stats().token, 1);
    }

    async fn a_client_that_goes_away_finds_its_session_when_it_asks_again(store: Store) {
        let service = TestService::start(store).await;
        let body = bare(&service.code());
        issued(service.post(&bare(&service.code()))).await;
        slow_exchange(&service, 1000);
        let asked = service.idp().control().stats().token;
        let mut stream = TcpStream::connect(service.public).await.unwrap();
        let text = body.to_string();
        let request = format!(
            "POST /api/v1/auth/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             idempotency-key: {KEY}\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        until_the_provider_is_asked(&service, asked).await;
        // Closed with a reset, which ends the request; after a mere end of what the client sends,
        // it may still be reading.
        stream.set_zero_linger().unwrap();
        drop(stream);
        let tokens = issued(keyed(&service, &body, KEY)).await;
        assert_eq!(service.idp().control().stats().token, asked + 1, "the code was sent once");
        assert_eq!(service.sessions().await, 2);
        assert_eq!(service.refreshed(&tokens.refresh).await.generation(), 1);
    }

    async fn waiting_for_a_request_of_the_same_key_has_an_end(store: Store) {
        let service = TestService::start_with(store, Options {
            more: "[limits]\nrequest_timeout_ms = 1500".to_owned(), ..Options::default()
        }).await;
        issued(service.post(&bare(&service.code()))).await;
        slow_exchange(&service, 4000);
        let asked = service.idp().control().stats().token;
        let body = bare(&service.code());
        let (first, ()) = tokio::join!(issued(keyed(&service, &body, KEY)), async {
            until_the_provider_is_asked(&service, asked).await;
            let answer = keyed(&service, &body, KEY).send().await.unwrap();
            assert_error(answer, StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED").await;
        });
        assert!(issued(keyed(&service, &body, KEY)).await.refresh == first.refresh);
    }

    async fn two_replicas_at_once_with_one_key_get_one_session_and_exchange_one_code(store: Store) {
        const PAIRS: u32 = 180;
        let service = TestService::start(store).await;
        let replica = service.replica();
        let pair = async |n: u32| {
            let (body, key) = (bare(&service.code()), format!("the-key-of-pair-number-{n}"));
            let there = service.client.post(replica.url("/api/v1/auth/token")).json(&body);
            let there = there.header("idempotency-key", &key);
            let (here, there) = tokio::join!(issued(keyed(&service, &body, &key)), issued(there));
            assert!(here.refresh == there.refresh, "one session in pair {n}");
        };
        stream::iter(0..PAIRS).map(pair).buffer_unordered(6).collect::<()>().await;
        assert_eq!(service.idp().control().stats().token, u64::from(PAIRS));
        assert_eq!(service.sessions().await, PAIRS as usize);
    }

    async fn another_body_is_422_at_once_while_the_first_is_under_way(store: Store) {
        let service = TestService::start(store).await;
        let replica = service.replica();
        issued(service.post(&bare(&service.code()))).await;
        slow_exchange(&service, 3000);
        let asked = service.idp().control().stats().token;
        let body = bare(&service.code());
        let is_done = AtomicBool::new(false);
        let first = async {
            let tokens = issued(keyed(&service, &body, KEY)).await;
            is_done.store(true, Ordering::SeqCst);
            tokens
        };
        let (first, ()) = tokio::join!(first, async {
            until_the_provider_is_asked(&service, asked).await;
            let other = bare(&service.code());
            let there = service.client.post(replica.url("/api/v1/auth/token")).json(&other);
            for request in [keyed(&service, &other, KEY), there.header("idempotency-key", KEY)] {
                let answer = request.send().await.unwrap();
                let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
                assert_error(answer, unprocessable, "IDEMPOTENCY_KEY_REUSED").await;
            }
            assert!(!is_done.load(Ordering::SeqCst));
        });
        assert!(issued(keyed(&service, &body, KEY)).await.refresh == first.refresh);
    }

    async fn a_key_that_a_crashed_replica_holds_is_waited_for_and_freed_by_its_lease(store: Store) {
        let service = TestService::start_with(store, Options {
            more: "[limits]\nrequest_timeout_ms = 800".to_owned(), ..Options::default()
        }).await;
        let body = bare(&service.code());
        let digest = |text: &str| {
            let digest = mintgate_domain::TokenHash::of(text);
            let (high, low) = digest.as_bytes().split_at(16);
            let half = |bytes: &[u8]| u128::from_be_bytes(bytes.try_into().unwrap());
            format!("{:032x}{:032x}", half(high), half(low))
        };
        let (key, body_hash) = (digest(KEY), digest(&body.to_string()));
        service.sql(
            &format!("INSERT INTO idempotency_reservations
                VALUES (x'{key}', x'{body_hash}', zeroblob(16), unixepoch() + 60)"),
            &format!("INSERT INTO idempotency_reservations VALUES ('\\x{key}', '\\x{body_hash}',
                decode(repeat('00', 16), 'hex'), now() + interval '1 minute')"),
        ).await;
        let request = keyed(&service, &body, KEY);
        service.refused(request, StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED").await;
        assert_eq!(service.idp().control().stats().token, 0);
        service.sql(
            "UPDATE idempotency_reservations SET expires_at = unixepoch()",
            "UPDATE idempotency_reservations SET expires_at = now()",
        ).await;
        issued(keyed(&service, &body, KEY)).await;
    }

    async fn a_repeat_gives_a_person_who_was_disabled_meanwhile_no_token(store: Store) {
        let service = TestService::start(store).await;
        let body = bare(&service.code());
        issued(keyed(&service, &body, KEY)).await;
        service.sql("UPDATE users SET disabled_at = 1", "UPDATE users SET disabled_at = now()").await;
        let again = keyed(&service, &body, KEY);
        service.refused(again, StatusCode::FORBIDDEN, "ACCESS_DENIED").await;
    }

    async fn case_02_a_key_that_is_none_is_named(store: Store) {
        let service = TestService::start(store).await;
        let body = json!({ "authCode": service.code(), "provider": "corp", "redirectUri": REDIRECT_URI });
        let (short, long) = ("k".repeat(15), "k".repeat(256));
        for key in [short.as_str(), long.as_str(), "", "with spaces in between"] {
            let request = keyed(&service, &body, key);
            let answer = service.refused(request, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
            assert_eq!(answer["details"][0]["field"], "Idempotency-Key", "{answer}");
        }
        let twice = keyed(&service, &body, KEY).header("idempotency-key", KEY);
        service.refused(twice, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
        issued(keyed(&service, &body, "\"8e03978e-40d5-43dd\"")).await;
    }
}

#[tokio::test]
async fn a_sign_in_that_could_not_be_stored_is_stored_when_it_is_asked_for_again() {
    let Some(service) = TestService::behind_a_line().await else { return };
    issued(service.post(&bare(&service.code()))).await;
    slow_exchange(&service, 500);
    let asked = service.idp().control().stats().token;
    let body = bare(&service.code());
    let (answer, ()) = tokio::join!(keyed(&service, &body, KEY).send(), async {
        until_the_provider_is_asked(&service, asked).await;
        service.line().cut();
    });
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    assert_error(answer.unwrap(), unavailable, "STORE_UNAVAILABLE").await;
    let still = tokio::time::timeout(Duration::from_secs(10), keyed(&service, &body, KEY).send());
    assert_error(still.await.unwrap().unwrap(), unavailable, "STORE_UNAVAILABLE").await;
    service.line().restore();
    service.until_ready().await;
    let tokens = issued(keyed(&service, &body, KEY)).await;
    assert_eq!(service.idp().control().stats().token, asked + 1, "the code was sent once");
    assert_eq!(service.refreshed(&tokens.refresh).await.generation(), 1);
    let unkeyed = service.login(body["authCode"].as_str().unwrap()).await;
    assert_error(unkeyed, StatusCode::UNAUTHORIZED, "INVALID_AUTH_CODE").await;
}
