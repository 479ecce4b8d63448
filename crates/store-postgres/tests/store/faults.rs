//! Connections that die, servers that hang, networks that go.

use std::time::Duration;

use crate::harness::{config, migrated, somebody_waits_for_a_lock, store};
use futures_util::future::join_all;
use mintgate_domain::ports::{
    OpenOutcome, RefreshTokenRepo, StoreError, StoreHealth, UserDirectory,
};
use mintgate_store_postgres::{PgConfig, PgStore};
use mintgate_testkit::cut_proxy::CutProxy;
use mintgate_testkit::openings::{Openings, identity};
use mintgate_testkit::postgres::TestDatabase;
use tokio::time::timeout;

/// What a call may take beyond its timeouts on a busy machine.
const SLACK: Duration = Duration::from_secs(3);

struct BrokenNetwork {
    proxy: CutProxy,
    config: PgConfig,
    database: TestDatabase,
}

async fn broken_network() -> BrokenNetwork {
    let database = migrated().await;
    let proxy = CutProxy::start(database.host_and_port()).await;
    let mut config = config(database.url_through(proxy.address()));
    config.connect_timeout = Duration::from_secs(2);
    config.statement_timeout = Duration::from_secs(1);
    BrokenNetwork { proxy, config, database }
}

/// The call ends within its bound, give or take a busy machine.
async fn in_time<T>(bound: Duration, call: impl Future<Output = T>) -> T {
    timeout(bound + SLACK, call).await.expect("an end in time")
}

/// Fills the pool with connections that have worked.
async fn warm_up(store: &PgStore, connections: u32) {
    let nobody = identity("nobody");
    while store.pool_state().idle < connections {
        for found in join_all((0..connections).map(|_| store.find_user(&nobody))).await {
            assert_eq!(found, Ok(None));
        }
    }
}

fn is_unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable(reason)) => reason,
        other => panic!("unavailable was expected: {other:?}"),
    }
}

#[tokio::test]
async fn case_53_a_pool_full_of_dead_connections_costs_no_call() {
    let network = broken_network().await;
    let store = store(&network.config);
    warm_up(&store, 4).await;

    network.proxy.sever();
    let openings = Openings::default();
    let opening = openings.new_user(identity("ada"));
    assert_eq!(store.open_session(&opening).await, Ok(OpenOutcome::Opened));
    let found = store.find_user(&identity("ada")).await.unwrap().unwrap();
    assert_eq!(found.id, opening.owner.user_id());
    assert_eq!(network.proxy.accepted(), 5, "one new connection was enough");
}

#[tokio::test]
async fn case_53_many_calls_on_dead_connections_at_once_all_get_through() {
    let network = broken_network().await;
    let store = store(&network.config);
    warm_up(&store, 4).await;

    for _ in 0..5 {
        network.proxy.sever();
        let nobody = identity("nobody");
        for found in join_all((0..16).map(|_| store.find_user(&nobody))).await {
            assert_eq!(found, Ok(None));
        }
    }
}

#[tokio::test]
async fn case_53_connections_ended_by_the_server_are_replaced() {
    let network = broken_network().await;
    let store = store(&network.config);
    warm_up(&store, 4).await;

    let admin = network.database.client().await;
    let terminate = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'mintgate'";
    assert_eq!(admin.query(terminate, &[]).await.unwrap().len(), 4);
    assert_eq!(store.find_user(&identity("nobody")).await, Ok(None));
}

#[tokio::test]
async fn case_53_a_lost_answer_is_asked_for_again_and_leaves_one_session() {
    let network = broken_network().await;
    let store = store(&network.config);
    warm_up(&store, 4).await;
    let openings = Openings::default();
    let opening = openings.new_user(identity("ada"));

    // The statement waits for a lock; while it does, its connection goes.
    let mut admin = network.database.client().await;
    let lock = admin.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE external_identities IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let watcher = network.database.client().await;
    let call = async { store.open_session(&opening).await };
    let breaking = async {
        somebody_waits_for_a_lock(&watcher).await;
        network.proxy.sever();
        lock.rollback().await.unwrap();
    };
    let (outcome, ()) = tokio::join!(call, breaking);
    assert_eq!(outcome, Ok(OpenOutcome::Opened));
    let sessions = "SELECT FROM sessions WHERE id = $1::text::uuid";
    let id = opening.session.id.to_string();
    assert_eq!(watcher.query(sessions, &[&id]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn case_53_an_unreachable_database_is_unavailable_in_time_and_recovers() {
    let network = broken_network().await;
    let store = store(&network.config);
    warm_up(&store, 4).await;

    network.proxy.cut();
    let bound = network.config.connect_timeout * 2;
    let reason = is_unavailable(in_time(bound, store.find_user(&identity("ada"))).await);
    assert!(reason.starts_with("no connection within 2000 ms: "), "{reason}");
    is_unavailable(in_time(bound, store.check()).await);

    network.proxy.restore();
    assert_eq!(store.find_user(&identity("ada")).await, Ok(None));
    assert_eq!(store.check().await, Ok(()));
}

#[tokio::test]
async fn case_53_a_database_that_is_down_at_the_start_is_found_when_it_is_up() {
    let network = broken_network().await;
    network.proxy.cut();
    let store = store(&network.config);
    is_unavailable(store.find_user(&identity("ada")).await);
    is_unavailable(store.pending_migrations().await);
    is_unavailable(store.migrate().await);
    network.proxy.restore();
    assert_eq!(store.find_user(&identity("ada")).await, Ok(None));
}

#[tokio::test]
async fn case_53_a_hanging_database_is_unavailable_in_time_and_recovers() {
    let network = broken_network().await;
    let store = store(&network.config);
    warm_up(&store, 4).await;

    network.proxy.pause();
    let ada = identity("ada");
    let bound = network.config.statement_timeout;
    let reason = is_unavailable(in_time(bound, store.find_user(&ada)).await);
    assert_eq!(reason, "no answer within 1250 ms");
    // The others in the pool hang as well: they are replaced, not tried one by one.
    let bound = network.config.connect_timeout;
    let reason = is_unavailable(in_time(bound, store.find_user(&ada)).await);
    assert!(reason.starts_with("no connection within 2000 ms"), "{reason}");

    network.proxy.restore();
    assert_eq!(store.find_user(&ada).await, Ok(None));
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_ended_by_the_server() {
    let network = broken_network().await;
    let store = store(&network.config);
    let mut admin = network.database.client().await;
    let lock = admin.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let reason = is_unavailable(store.find_user(&identity("ada")).await);
    assert_eq!(reason, "canceling statement due to lock timeout");
    lock.rollback().await.unwrap();
    assert_eq!(store.find_user(&identity("ada")).await, Ok(None));
    assert_eq!(network.proxy.accepted(), 1, "the connection is still good");
}

#[tokio::test]
async fn a_password_that_is_wrong_is_not_in_the_error() {
    let url = "postgres://nobody:hunter2@127.0.0.1:1/nothing?sslmode=disable";
    let mut config = config(url);
    config.connect_timeout = Duration::from_millis(200);
    let reason = is_unavailable(store(&config).find_user(&identity("ada")).await);
    assert!(reason.contains("refused"), "{reason}");
    assert!(!reason.contains("hunter2"), "{reason}");
    assert!(!format!("{config:?}").contains("hunter2"));
}
