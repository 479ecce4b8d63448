//! A real PgBouncer between the store and Postgres.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mintgate_domain::RotateOutcome;
use mintgate_domain::ports::{
    IdempotencyRecords, OpenOutcome, Reserved, StoreHealth, UserDirectory,
};
use mintgate_store_postgres::{PgConfig, PgStore, Pooling};
use mintgate_testkit::StoreCalls;
use mintgate_testkit::openings::{NOW, Openings, identity, repeatable};
use mintgate_testkit::pgbouncer::PgBouncer;
use mintgate_testkit::postgres::TestDatabase;
use mintgate_testkit::rotations::rotation;

use crate::harness::{PATIENCE, config, empty, migrated, read, session, store};

/// A PgBouncer in front of the server of this database; `None`, and a line about it, if there is none here.
async fn pooler(database: &TestDatabase, mode: &str) -> Option<PgBouncer> {
    let Some(program) = PgBouncer::program() else {
        let notice = "SKIPPED: the tests with PgBouncer; there is none in PATH or /usr/sbin.";
        drop(writeln!(std::io::stderr(), "{notice}"));
        return None;
    };
    Some(PgBouncer::start(&program, &database.url(), mode, 8).await)
}

fn through(pooler: &PgBouncer, database: &TestDatabase, pooling: Pooling) -> PgConfig {
    PgConfig { pool_size: 12, pooling, ..config(pooler.url(&database.url())) }
}

/// What a service does all day, by many callers at once: more of them than there are server processes.
async fn everyday(store: &Arc<PgStore>) {
    let openings = Openings::default();
    let callers = (0..48).map(|n| {
        let (store, openings) = (Arc::clone(store), &openings);
        async move {
            let name = format!("caller {n}");
            let request = repeatable(&name).request;
            let reserved = store.reserve(&request, &[1; 16], Duration::from_mins(1), NOW).await;
            assert_eq!(reserved, Ok(Reserved::Own));
            let mut opening = openings.new_user(identity(&name));
            opening.idempotency = Some(repeatable(&name));
            assert_eq!(store.open_session(&opening).await, Ok(OpenOutcome::Opened));
            let mut again = openings.existing_with(opening.user_id(), identity(&name));
            again.idempotency = opening.idempotency;
            let taken = Ok(OpenOutcome::IdempotencyKeyTaken);
            assert_eq!(store.open_session(&again).await, taken);
            for _ in 0..5 {
                let seen = read(&store, opening.session.id).await;
                let rotated = store.rotate(&rotation(&seen, NOW)).await.unwrap();
                assert!(matches!(rotated, RotateOutcome::Rotated(_)), "{rotated:?}");
            }
            let (user, reason) = (opening.user_id(), mintgate_domain::model::RevokeReason::Logout);
            assert_eq!(store.end_user_sessions(user, reason, NOW).await, Ok(1));
            store.check().await.unwrap();
        }
    });
    join_all(callers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_by_transaction_is_found_out_and_works() {
    for pooling in [Pooling::Auto, Pooling::Transaction] {
        let database = migrated().await;
        let Some(pooler) = pooler(&database, "transaction").await else { return };
        everyday(&store(&through(&pooler, &database, pooling))).await;
    }
}

/// Another replica uses the same server processes meanwhile. The pooling is configured: a pooler whose
/// processes are busy from the start may be found out by a call that fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_behind_a_pooler_by_transaction_do_not_disturb_each_other() {
    let database = migrated().await;
    let Some(pooler) = pooler(&database, "transaction").await else { return };
    let config = through(&pooler, &database, Pooling::Transaction);
    let (one, two) = (store(&config), store(&config));
    let looking = async {
        for n in 0..200 {
            two.check().await.unwrap();
            two.find_user(&identity(&format!("caller {n}"))).await.unwrap();
        }
    };
    tokio::join!(everyday(&one), looking);
}

/// A write that is refused because another caller was faster ends its transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_many_first_sign_ins_of_one_person_find_one_user() {
    let database = migrated().await;
    let Some(pooler) = pooler(&database, "transaction").await else { return };
    let store = store(&through(&pooler, &database, Pooling::Transaction));
    let openings = Openings::default();
    let at_once = (0..20).map(|_| {
        let (store, new) = (Arc::clone(&store), openings.new_user(identity("ada")).new_user());
        async move { store.find_or_create(&new).await.unwrap().user.id }
    });
    let users = join_all(at_once).await;
    assert!(users.iter().all(|user| *user == users[0]), "{users:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_by_session_works_as_if_it_were_not_there() {
    let database = migrated().await;
    let Some(pooler) = pooler(&database, "session").await else { return };
    let config = PgConfig { pool_size: 6, ..through(&pooler, &database, Pooling::Auto) };
    everyday(&store(&config)).await;
}

#[tokio::test]
async fn behind_a_pooler_the_schema_is_made_and_no_lock_is_left() {
    for mode in ["transaction", "session"] {
        let database = empty().await;
        let Some(pooler) = pooler(&database, mode).await else { return };
        let store = store(&through(&pooler, &database, Pooling::Auto));
        assert!(!store.migrate(PATIENCE, &|_| ()).await.unwrap().is_empty());
        assert_eq!(store.migrate(PATIENCE, &|_| ()).await.unwrap(), [""; 0]);
        store.check().await.unwrap();
        let held = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND database =
            (SELECT oid FROM pg_database WHERE datname = current_database())";
        assert!(database.client().await.query(held, &[]).await.unwrap().is_empty(), "{mode}");
    }
}

/// A first host that accepts a connection and says nothing takes its share of the time alone.
#[tokio::test]
async fn a_silent_first_host_leaves_time_for_the_second() {
    let database = migrated().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let both = format!("{},{}", silent.local_addr().unwrap(), database.host_and_port());
    let mut config = config(database.url_through(both));
    config.connect_timeout = Duration::from_secs(4);
    store(&config).check().await.unwrap();
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "it is what a measurement is for")]
#[ignore = "a measurement: run it with --ignored --nocapture"]
async fn how_long_a_rotation_takes_by_session_and_by_transaction() {
    for (mode, pooling) in [("session", Pooling::Session), ("transaction", Pooling::Transaction)] {
        let database = migrated().await;
        let Some(pooler) = pooler(&database, mode).await else { return };
        let store = store(&through(&pooler, &database, pooling));
        let mut seen = session(&store, &Openings::default(), "ada").await;
        let mut took = Duration::ZERO;
        for n in 0..600 {
            let began = tokio::time::Instant::now();
            let RotateOutcome::Rotated(next) = store.rotate(&rotation(&seen, NOW)).await.unwrap()
            else {
                panic!("not rotated")
            };
            if n >= 100 {
                took += began.elapsed();
            }
            seen = *next;
        }
        println!("{mode}: {:?} a rotation", took / 500);
    }
}
