//! A synchronous standby that is not there, and a primary that has become one.

use std::time::Duration;

use mintgate_domain::model::{RevokeReason, SessionId, UserId};
use mintgate_domain::ports::{EndOutcome, RefreshTokenRepo, StoreError};
use mintgate_domain::{RotateOutcome, chain};
use mintgate_store_postgres::{PgConfig, Pooling};
use mintgate_testkit::StoreCalls;
use mintgate_testkit::openings::{NOW, Openings};
use mintgate_testkit::rotations::rotation;
use tokio_postgres::{Client, NoTls};

use crate::cluster::Cluster;
use crate::harness::{PATIENCE, config, session, store};

/// Cancels the wait of the one statement whose commit waits for the standby.
async fn cancel_the_wait(admin: &Client) {
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    for _ in 0..1000 {
        if !admin.query(cancel, &[]).await.unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing waits for the standby");
}

#[tokio::test]
async fn a_commit_that_is_on_one_server_alone_is_an_unknown_outcome() {
    let settings = ["synchronous_standby_names=ghost"];
    let Some(cluster) = Cluster::start(&[], &settings).await else { return };
    let url = format!("postgres://mintgate@127.0.0.1:{}/postgres", cluster.port);
    let (admin, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let set_up = store(&config(format!("{url}?options=-c%20synchronous_commit%3Dlocal")));
    set_up.migrate(PATIENCE, &|_| ()).await.unwrap();
    let openings = Openings::default();
    let ada = session(&set_up, &openings, "ada").await;
    let bob = session(&set_up, &openings, "bob").await;
    // With and without a transaction around each call.
    let config = config(url);
    let pooled = PgConfig { pooling: Pooling::Transaction, ..config.clone() };
    let (store, pooled) = (store(&config), store(&pooled));

    for (store, session) in [(&store, &ada), (&pooled, &bob)] {
        let rotating = async { store.rotate(&rotation(session, NOW)).await };
        let (rotated, ()) = tokio::join!(rotating, cancel_the_wait(&admin));
        let error = rotated.expect_err("the answer is not known");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(chain(&error).to_string().contains("standby"), "{error:?}");
    }
    // A repeated logout finds its work done.
    let logout = async || store.end_session(ada.id, ada.user, RevokeReason::Logout, NOW).await;
    let (ended, ()) = tokio::join!(logout(), cancel_the_wait(&admin));
    assert!(matches!(ended, Err(StoreError::Unavailable(_))), "{ended:?}");
    assert_eq!(logout().await, Ok(EndOutcome::EndedBefore));
    let rotated = store.rotate(&rotation(&ada, NOW)).await;
    assert_eq!(rotated, Ok(RotateOutcome::Revoked(RevokeReason::Logout)));
}

#[tokio::test]
async fn a_server_that_has_become_a_standby_does_not_say_whether_a_session_lives() {
    let Some(mut cluster) = Cluster::start(&[], &[]).await else { return };
    let url = format!("postgres://mintgate@127.0.0.1:{}/postgres", cluster.port);
    let store = store(&config(url));
    store.migrate(PATIENCE, &|_| ()).await.unwrap();
    let ada = session(&store, &Openings::default(), "ada").await;
    assert_eq!(store.live_sessions(ada.user, NOW, 9).await.unwrap().len(), 1);

    cluster.become_standby().await;
    let unknown = SessionId::from_uuid(uuid::Uuid::from_u128(0xdead));
    for id in [ada.id, unknown] {
        let found = store.load(id).await;
        assert!(matches!(found, Err(StoreError::Unavailable(_))), "{found:?}");
    }
    for user in [ada.user, UserId::from_uuid(uuid::Uuid::from_u128(0xdead))] {
        let live = store.live_sessions(user, NOW, 9).await;
        assert!(matches!(live, Err(StoreError::Unavailable(_))), "{live:?}");
    }
}

#[tokio::test]
async fn commits_that_hang_do_not_take_all_connections_of_the_server() {
    let files = [("postgresql.auto.conf", b"synchronous_standby_names = 'ghost'".to_vec())];
    let Some(cluster) = Cluster::start(&files, &[]).await else { return };
    let url = format!("postgres://mintgate@127.0.0.1:{}/postgres", cluster.port);
    let (admin, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let set_up = store(&config(format!("{url}?options=-c%20synchronous_commit%3Dlocal")));
    set_up.migrate(PATIENCE, &|_| ()).await.unwrap();
    let openings = Openings::default();
    let mut sessions = vec![];
    for n in 0..24 {
        sessions.push(session(&set_up, &openings, &format!("user {n}")).await);
    }
    let timeouts = Duration::from_millis(400);
    let config = PgConfig { statement_timeout: timeouts, connect_timeout: timeouts, ..config(url) };
    let store = store(&config);
    // As many as the pool has, again and again.
    for sessions in sessions.chunks(4) {
        let at_once = sessions.iter().map(|session| {
            let store = &store;
            async move { store.rotate(&rotation(session, NOW)).await }
        });
        for outcome in futures_util::future::join_all(at_once).await {
            assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
        }
    }
    let hanging = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let hanging: i64 = admin.query_one(hanging, &[]).await.unwrap().get(0);
    assert!((1..=8).contains(&hanging), "{hanging}");

    for statement in ["ALTER SYSTEM SET synchronous_standby_names = ''", "SELECT pg_reload_conf()"]
    {
        admin.batch_execute(statement).await.unwrap();
    }
    let mut attempts = 0;
    while store.rotate(&rotation(&sessions[23], NOW)).await.is_err() {
        attempts += 1;
        assert!(attempts < 100, "it is well again by itself");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
