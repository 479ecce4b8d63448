//! Ends and sign-ins that count only when replicas have them.

use std::time::Duration;

use mintgate_domain::model::{RevokeReason, Session, SessionId};
use mintgate_domain::ports::{
    EndOutcome, IdempotencyRecords as _, OpenOutcome, RefreshTokenRepo as _, RevocationLog as _,
    StoreError,
};
use mintgate_store_redis::{RedisConfig, RedisStore};
use mintgate_testkit::openings::{NOW, Openings, identity, repeatable};
use mintgate_testkit::redis::{RedisServer, program_or_exit, until};
use mintgate_testkit::rotations::rotation;
use tokio::time::Instant;

use crate::harness::{config, open};

/// A primary and a replica that has caught up.
async fn pair() -> (RedisServer, RedisServer) {
    program_or_exit();
    let primary = RedisServer::start(&["--repl-diskless-sync-delay", "0"]).await;
    let port = primary.address().port().to_string();
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &port]).await;
    until(async || primary.command("INFO replication").await.contains("state=online")).await;
    (primary, replica)
}

fn waiting(primary: &RedisServer, replicas: u32, wait_ms: u64) -> RedisConfig {
    let wait = Duration::from_millis(wait_ms);
    RedisConfig { replicas, wait, timeout: Duration::from_secs(5), ..config(&primary.url()) }
}

async fn stored(store: &RedisStore) -> Session {
    let opening = Openings::default().new_user(identity("ada"));
    assert_eq!(store.open(&opening).await, Ok(OpenOutcome::Opened));
    store.load(opening.session.id).await.unwrap().expect("a session").session
}

/// The end is written and not confirmed; repeated, it is confirmed once the replica has it, and not before.
#[tokio::test]
async fn an_end_counts_when_a_replica_has_it() {
    let (primary, replica) = pair().await;
    let (store, patient) = (open(&waiting(&primary, 1, 100)), open(&waiting(&primary, 1, 20_000)));
    let session = stored(&patient).await;
    replica.pause(true);
    let (id, user, reason) = (session.id, session.user, RevokeReason::Logout);
    for _ in 0..3 {
        let ended = store.end_session(id, user, reason, NOW).await;
        assert!(matches!(ended, Err(StoreError::Unavailable(_))), "{ended:?}");
    }
    let opening = Openings::default().new_user(identity("bob"));
    let mut other = opening.clone();
    other.idempotency = Some(repeatable("bob"));
    other.session.id = SessionId::parse("0192f0c1-2b3c-7def-8abc-0123456789ab").unwrap();
    let opened = store.open(&other).await;
    assert!(matches!(opened, Err(StoreError::Unavailable(_))), "{opened:?}");
    // A repeated request gets what the first one did not.
    let key = repeatable("bob").request.key;
    let repeated = store.find(key, NOW).await;
    assert!(matches!(repeated, Err(StoreError::Unavailable(_))), "{repeated:?}");
    // What does not wait goes on.
    assert!(store.load(session.id).await.unwrap().expect("a session").session.end.is_some());

    replica.pause(false);
    assert_eq!(patient.end_session(id, user, reason, NOW).await, Ok(EndOutcome::EndedBefore));
    assert_eq!(patient.open(&other).await, Ok(OpenOutcome::Opened));
    assert!(patient.find(key, NOW).await.is_ok_and(|found| found.is_some()));
    let page = store.revocations(None, NOW, 10).await.unwrap().expect("a page");
    assert_eq!(page.events.len(), 1, "the end is logged, once");
    let key = format!("EXISTS mg:{{{}}}", session.id);
    assert!(replica.command(&key).await.starts_with(":1"));
}

/// More replicas than there are never confirm.
#[tokio::test]
async fn replicas_that_do_not_exist_confirm_nothing() {
    let (primary, _replica) = pair().await;
    let store = open(&waiting(&primary, 2, 100));
    assert_eq!(store.connected_replicas().await, Ok(1));
    let opened = store.open(&Openings::default().new_user(identity("ada"))).await;
    assert!(matches!(opened, Err(StoreError::Unavailable(_))), "{opened:?}");
}

/// Waiting happens on connections of its own.
#[tokio::test]
async fn refreshes_do_not_wait_behind_ends_that_do() {
    let (primary, replica) = pair().await;
    let store = open(&waiting(&primary, 1, 500));
    let session = stored(&open(&waiting(&primary, 1, 20_000))).await;
    replica.pause(true);
    let ends =
        (0..20).map(|_| store.end_session(session.id, session.user, RevokeReason::Logout, NOW));
    let ends = futures_util::future::join_all(ends);
    let refreshing = async {
        let started = Instant::now();
        for _ in 0..100 {
            store.load(session.id).await.unwrap().expect("a session");
        }
        store.exchange(&rotation(&session, NOW), None).await.unwrap();
        started.elapsed()
    };
    let (ends, took) = futures_util::future::join(ends, refreshing).await;
    assert!(ends.iter().all(Result::is_err), "{ends:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}
