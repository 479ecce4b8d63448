//! What a call costs, and that it is timed.

use std::sync::Arc;
use std::time::Duration;

use crate::harness::{config, migrated};
use mintgate_domain::ports::{
    OpenOutcome, RefreshTokenRepo, StoreHealth, StoreOperation, UserDirectory,
};
use mintgate_store_postgres::PgStore;
use mintgate_testkit::cut_proxy::CutProxy;
use mintgate_testkit::openings::{Openings, consumed, identity};
use mintgate_testkit::{ManualClock, MetricEvent, RecordingMetrics};

#[tokio::test]
async fn every_call_is_one_round_trip_once_its_statement_is_prepared() {
    let database = migrated().await;
    let proxy = CutProxy::start(database.host_and_port()).await;
    let mut config = config(database.url_through(proxy.address()));
    config.pool_size = 1;
    let store = crate::harness::store(&config);
    let openings = Openings::default();
    let first = openings.new_user(identity("ada"));
    store.find_user(&identity("ada")).await.unwrap();
    store.open_session(&first).await.unwrap();
    let ada = first.owner.user_id();

    let mut replayed = openings.existing(ada);
    replayed.consumed = Some(consumed("ada"));
    let mut again = openings.existing(ada);
    again.consumed = replayed.consumed;
    for (opening, outcome) in [
        (openings.existing(ada), OpenOutcome::Opened),
        (openings.new_user(identity("bob")), OpenOutcome::Opened),
        (openings.new_user(identity("ada")), OpenOutcome::IdentityTaken),
        (replayed, OpenOutcome::Opened),
        (again, OpenOutcome::IdTokenReplayed),
        (first, OpenOutcome::Opened),
    ] {
        let before = proxy.round_trips();
        assert_eq!(store.open_session(&opening).await, Ok(outcome));
        assert_eq!(proxy.round_trips() - before, 1, "{outcome:?}");
    }
    for subject in ["ada", "nobody"] {
        let before = proxy.round_trips();
        store.find_user(&identity(subject)).await.unwrap();
        assert_eq!(proxy.round_trips() - before, 1);
    }
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn each_call_is_timed_under_its_name() {
    let database = migrated().await;
    let metrics = Arc::new(RecordingMetrics::default());
    let clock = Arc::new(ManualClock::default());
    let store = PgStore::connect(&config(database.url()), metrics.clone(), clock).unwrap();
    store.find_user(&identity("ada")).await.unwrap();
    store.open_session(&Openings::default().new_user(identity("ada"))).await.unwrap();
    let took = Duration::ZERO;
    let expected = [StoreOperation::FindUser, StoreOperation::OpenSession]
        .map(|operation| MetricEvent::StoreQuery { operation, took });
    assert_eq!(metrics.events(), expected);
}

#[tokio::test]
async fn the_pool_tells_its_state() {
    let database = migrated().await;
    let store = crate::harness::store(&config(database.url()));
    assert_eq!((store.pool_state().idle, store.pool_state().in_use), (0, 0));
    store.check().await.unwrap();
    assert_eq!((store.pool_state().idle, store.pool_state().in_use), (1, 0));
}
