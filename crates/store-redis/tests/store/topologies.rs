//! Sentinel and clusters.

use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::model::{RevokeReason, Session, SessionId};
use mintgate_domain::ports::{EndOutcome, OpenOutcome, RefreshTokenRepo as _, StoreHealth as _};
use mintgate_store_redis::{RedisConfig, RedisStore};
use mintgate_testkit::openings::{NOW, Openings, identity, repeatable, single_use};
use mintgate_testkit::redis::{RedisServer, program_or_exit, until};
use mintgate_testkit::rotations::rotation;

use crate::harness::{config, open};

async fn stored(store: &RedisStore, openings: &Openings) -> Session {
    let opening = openings.new_user(identity("ada"));
    assert_eq!(store.open(&opening).await, Ok(OpenOutcome::Opened));
    found(store, opening.session.id).await
}

async fn found(store: &RedisStore, id: SessionId) -> Session {
    store.load(id).await.unwrap().expect("a session").session
}

fn through(url: &str) -> Arc<RedisStore> {
    let (replicas, wait) = (1, Duration::from_secs(2));
    open(&RedisConfig { replicas, wait, timeout: Duration::from_secs(5), ..config(url) })
}

/// The primary is found again by its name, without a restart of ours; what a replica has confirmed is there.
#[tokio::test]
async fn the_primary_that_sentinel_names_is_followed() {
    program_or_exit();
    let mut primary = RedisServer::start(&["--repl-diskless-sync-delay", "0"]).await;
    let port = primary.address().port().to_string();
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &port]).await;
    until(async || primary.command("INFO replication").await.contains("state=online")).await;
    let sentinel = RedisServer::sentinel(primary.address()).await;
    until(async || {
        sentinel.command("SENTINEL MASTER main").await.contains("num-slaves\r\n$1\r\n1")
    })
    .await;
    let url = format!("redis://{}?sentinel=main", sentinel.address());
    let store = through(&url);
    let session = stored(&store, &Openings::default()).await;
    let (id, user, reason) = (session.id, session.user, RevokeReason::Logout);
    assert_eq!(store.end_session(id, user, reason, NOW).await, Ok(EndOutcome::Ended));

    primary.kill();
    until(async || replica.says("ROLE", "master").await).await;
    until(async || store.load(id).await.is_ok()).await;
    assert_eq!(found(&store, id).await.end.map(|end| end.reason), Some(reason));
}

/// Sessions are spread; each works, and an end waits for the replica of its own shard alone.
#[tokio::test]
async fn sessions_of_a_cluster_are_spread_and_follow_a_failover() {
    program_or_exit();
    let mut nodes = RedisServer::cluster().await;
    let hosts = [&nodes[0], &nodes[1]].map(|node| node.address().to_string()).join(",");
    let store = through(&format!("redis://{hosts}?cluster=true"));
    assert_eq!(store.check().await, Ok(()));
    assert_eq!(store.connected_replicas().await, Ok(1));
    let openings = Openings::default();
    let mut sessions = vec![];
    for n in 0..12 {
        let mut opening = openings.new_user(identity("ada"));
        opening.single_use = Some(single_use(&n.to_string()));
        opening.idempotency = Some(repeatable(&n.to_string()));
        assert_eq!(store.open(&opening).await, Ok(OpenOutcome::Opened));
        let session = found(&store, opening.session.id).await;
        let rotated = store.exchange(&rotation(&session, NOW), None).await.unwrap();
        sessions.push(*rotated.expect("it was exchanged"));
    }
    for node in &nodes[..3] {
        assert!(node.command("KEYS mg:{????????-*").await.starts_with('*'));
        assert!(!node.command("KEYS mg:{????????-*").await.starts_with("*0"));
    }
    let user = sessions[0].user;
    let ended = store.end_session(sessions[0].id, user, RevokeReason::Logout, NOW).await;
    assert_eq!(ended, Ok(EndOutcome::Ended));

    // The shards of the others are not asked.
    nodes[0].kill();
    until(async || nodes[3].says("ROLE", "master").await).await;
    for session in &sessions[1..] {
        until(async || store.load(session.id).await.is_ok()).await;
        assert_eq!(found(&store, session.id).await, *session);
    }
    let found = found(&store, sessions[0].id).await;
    assert_eq!(found.end.map(|end| end.reason), Some(RevokeReason::Logout));
}
