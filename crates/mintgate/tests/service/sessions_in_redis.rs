//! Sessions in Redis, users in SQL.

use mintgate_testkit::redis::{self, RedisServer};
use reqwest::StatusCode;
use serde_json::Value;

use crate::common::session::{LOGOUT_ALL, SESSIONS, Tokens};
use crate::common::{Options, Store, TestService, assert_error};
use crate::on_both_stores;

/// A service whose sessions are in this Redis; it does not wait for it for long.
async fn service(store: Store, redis: &RedisServer) -> TestService {
    let more = format!("[sessions]\nurl = \"{}\"", redis.url());
    let options = Options { more, store_timeout_ms: 2000, ..Options::default() };
    let service = TestService::start_with(store, options).await;
    service.until_ready().await;
    service
}

/// Why the service is not ready; empty if it is.
async fn not_ready(service: &TestService) -> String {
    let answer = service.client.get(service.ops_url("/health/ready")).send().await.unwrap();
    if answer.status() == StatusCode::OK { String::new() } else { answer.text().await.unwrap() }
}

async fn refused(service: &TestService, refresh: &str, status: StatusCode, code: &str) {
    assert_error(service.refresh(refresh).send().await.unwrap(), status, code).await;
}

on_both_stores! {
/// The table of sessions in SQL stays empty.
async fn a_session_lives_in_redis_from_login_to_logout(store: Store) {
    if redis::program().is_none() {
        return;
    }
    let redis = RedisServer::start(&[]).await;
    let service = service(store, &redis).await;
    let first = service.signed_in().await;
    assert_eq!(service.sessions().await, 0);
    assert!(redis.command(&format!("EXISTS mg:{{{}}}", first.sid())).await.starts_with(":1"));
    let second = service.refreshed(&first.refresh).await;
    assert_eq!(second.generation(), 1);
    let replayed = service.refreshed(&first.refresh).await;
    assert_eq!(replayed.refresh, second.refresh, "the same successor");
    let third = service.refreshed(&second.refresh).await;

    let reused = StatusCode::UNAUTHORIZED;
    refused(&service, &first.refresh, reused, "REFRESH_TOKEN_REUSED").await;
    refused(&service, &third.refresh, reused, "SESSION_REVOKED").await;

    let one = service.signed_in().await;
    let answer = service.log_out(&one.access).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    refused(&service, &one.refresh, reused, "SESSION_REVOKED").await;
    assert_eq!(service.sessions().await, 0);
}

/// The sessions are ended by the epoch, and counted.
async fn logging_out_everywhere_ends_all_sessions_of_the_user(store: Store) {
    if redis::program().is_none() {
        return;
    }
    let redis = RedisServer::start(&[]).await;
    let service = service(store, &redis).await;
    let (first, second) = (service.signed_in().await, service.signed_in().await);
    let other = service.signed_in_as("bob").await;
    let list = service.client.get(service.url(SESSIONS)).bearer_auth(&first.access);
    let list: Value = list.send().await.unwrap().json().await.unwrap();
    assert_eq!(list["sessions"].as_array().map(Vec::len), Some(2), "{list}");

    let request = service.client.post(service.url(LOGOUT_ALL)).bearer_auth(&first.access);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["sessionsEnded"], 2, "{answer}");
    for tokens in [&first, &second] {
        refused(&service, &tokens.refresh, StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
    }
    service.refreshed(&other.refresh).await;
}
}

/// A Redis that is down is no reason to sign anybody out; it is found again by itself, with all sessions.
#[tokio::test]
async fn a_redis_that_was_killed_costs_nobody_the_session() {
    if redis::program().is_none() {
        return;
    }
    let mut redis = RedisServer::start(&[]).await;
    let service = service(Store::Sqlite, &redis).await;
    let tokens = service.signed_in().await;
    redis.kill();
    let down = StatusCode::SERVICE_UNAVAILABLE;
    refused(&service, &tokens.refresh, down, "STORE_UNAVAILABLE").await;
    let login = service.login(&service.code()).await;
    assert_error(login, down, "STORE_UNAVAILABLE").await;
    let logout = service.log_out(&tokens.access).send().await.unwrap();
    assert_error(logout, down, "STORE_UNAVAILABLE").await;
    assert!(!not_ready(&service).await.is_empty());

    redis.restart().await;
    service.until_ready().await;
    let next = service.refreshed(&tokens.refresh).await;
    assert_eq!(next.generation(), 1);
    // A server that hangs is one that is down.
    redis.pause(true);
    refused(&service, &next.refresh, down, "STORE_UNAVAILABLE").await;
    redis.pause(false);
    service.refreshed(&next.refresh).await;
}

/// Such a Redis would drop live sessions without an error.
#[tokio::test]
async fn an_engine_that_evicts_is_not_ready_and_says_so() {
    if redis::program().is_none() {
        return;
    }
    let redis = RedisServer::start(&[]).await;
    let service = service(Store::Sqlite, &redis).await;
    for policy in ["allkeys-lru", "volatile-lru", "volatile-ttl"] {
        redis.command(&format!("CONFIG SET maxmemory-policy {policy}")).await;
        let reason = not_ready(&service).await;
        assert!(reason.contains(policy) && reason.contains("noeviction"), "{reason}");
    }
    redis.command("CONFIG SET maxmemory-policy noeviction").await;
    assert_eq!(not_ready(&service).await, "");
}

/// The store says where the sessions are; a process that would look elsewhere is not ready, and says which.
#[tokio::test]
async fn processes_that_look_for_sessions_elsewhere_are_not_ready() {
    if redis::program().is_none() {
        return;
    }
    let (redis, other) = (RedisServer::start(&[]).await, RedisServer::start(&[]).await);
    let mut service = service(Store::Sqlite, &redis).await;
    let tokens = service.signed_in().await;
    service.restart_with(|text| text.replace(&redis.url(), &other.url()));
    let reason = not_ready(&service).await;
    assert!(reason.contains("lacks the mark"), "{reason}");
    let line = format!("url = \"{}\"", other.url());
    service.restart_with(|text| text.replace(&line, ""));
    let reason = not_ready(&service).await;
    assert!(reason.contains("the sessions are in Redis"), "{reason}");
    service.restart_with(|text| {
        text.replace("[sessions]\n", &format!("[sessions]\nurl = \"{}\"\n", redis.url()))
    });
    service.until_ready().await;
    service.refreshed(&tokens.refresh).await;
}

/// Whoever has sessions in the store and configures a Redis would sign everybody out.
#[tokio::test]
async fn sessions_in_the_store_are_not_left_behind() {
    if redis::program().is_none() {
        return;
    }
    let redis = RedisServer::start(&[]).await;
    let mut service = TestService::start(Store::Sqlite).await;
    let tokens = service.signed_in().await;
    let section = format!("[sessions]\nurl = \"{}\"\n[server]", redis.url());
    service.restart_with(|text| text.replace("[server]", &section));
    let reason = not_ready(&service).await;
    assert!(reason.contains("the sessions are in the store"), "{reason}");
    service.restart_with(|text| text.replace(&section, "[server]"));
    service.refreshed(&tokens.refresh).await;
}

/// Everybody would be signed out at once; an operator must have meant it.
#[tokio::test]
async fn an_engine_that_came_back_empty_is_not_ready_until_an_operator_says_so() {
    if redis::program().is_none() {
        return;
    }
    let mut redis = RedisServer::start(&[]).await;
    let service = service(Store::Sqlite, &redis).await;
    let tokens = service.signed_in().await;
    redis.kill();
    redis.lose_everything();
    redis.restart().await;
    let reason = not_ready(&service).await;
    assert!(reason.contains("lost its data") && reason.contains("restore-done"), "{reason}");

    service.operate(&["restore-done", "--json"]).await.json();
    service.until_ready().await;
    refused(&service, &tokens.refresh, StatusCode::UNAUTHORIZED, "INVALID_REFRESH_TOKEN").await;
    let again: Tokens = service.signed_in().await;
    service.refreshed(&again.refresh).await;
}
