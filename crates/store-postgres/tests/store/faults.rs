//! Connections that die, servers that hang, networks that go.

use std::sync::Arc;
use std::time::Duration;

use crate::harness::{
    PATIENCE, config, linking, migrated, order, read, renewal, session, somebody_waits_for_a_lock,
    store,
};
use futures_util::future::join_all;
use mintgate_domain::RotateOutcome;
use mintgate_domain::model::{KeyId, KeyRecord, KeyUse, RevokeReason, SealedToken};
use mintgate_domain::ports::{
    ClaimedUpstream, Duties, Duty, EndOutcome, Housekeeping, KeyRepo, LinkOutcome, OpenOutcome,
    ProviderLogoutOutcome, RefreshTokenRepo, StoreError, StoreHealth, SweepStep, UnlinkOutcome,
    UpstreamDue, UpstreamTokenRepo, UserDirectory,
};
use mintgate_domain::{SecretText, chain};
use mintgate_store_postgres::{PgConfig, PgStore};
use mintgate_testkit::StoreCalls;
use mintgate_testkit::fault_proxy::FaultProxy;
use mintgate_testkit::openings::{NOW, Openings, identity, repeatable, single_use};
use mintgate_testkit::postgres::TestDatabase;
use mintgate_testkit::rotations::rotation;
use tokio::time::timeout;

/// What a call may take beyond its timeouts on a busy machine.
const SLACK: Duration = Duration::from_secs(3);

struct BrokenNetwork {
    proxy: FaultProxy,
    config: PgConfig,
    database: TestDatabase,
}

async fn broken_network() -> BrokenNetwork {
    let database = migrated().await;
    let proxy = FaultProxy::start(database.host_and_port()).await;
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
async fn warm_up(store: &Arc<PgStore>, connections: u32) {
    let nobody = identity("nobody");
    while store.pool_state().idle < connections {
        for found in join_all((0..connections).map(|_| store.find_user(&nobody))).await {
            assert_eq!(found, Ok(None));
        }
    }
}

fn is_unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable(reason)) => chain(&reason).to_string(),
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
    assert_eq!(found.user.id, opening.user_id());
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

impl BrokenNetwork {
    /// Has the call's statement executed and committed, and its answer lost: the connection is
    /// cut once what `is_done` asks for can be seen.
    async fn loses_the_answer<T>(
        &self,
        table: &str,
        is_done: &str,
        call: impl Future<Output = T>,
    ) -> T {
        // Locking the table itself would keep the statement from being prepared.
        let trigger = format!(
            "CREATE OR REPLACE TRIGGER wait BEFORE INSERT OR UPDATE OR DELETE ON {table}
                 FOR EACH STATEMENT EXECUTE FUNCTION wait()"
        );
        self.loses_the_answer_behind(&trigger, is_done, call).await
    }

    /// Loses the answer to the commit of a transaction that writes rows of a table.
    async fn loses_the_commit<T>(
        &self,
        table: &str,
        is_done: &str,
        call: impl Future<Output = T>,
    ) -> T {
        let trigger = format!(
            "DROP TRIGGER IF EXISTS wait ON {table};
             CREATE CONSTRAINT TRIGGER wait AFTER INSERT OR UPDATE OR DELETE ON {table}
                 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()"
        );
        self.loses_the_answer_behind(&trigger, is_done, call).await
    }

    async fn loses_the_answer_behind<T>(
        &self,
        trigger: &str,
        is_done: &str,
        call: impl Future<Output = T>,
    ) -> T {
        let admin = self.database.client().await;
        let wait = format!(
            "CREATE OR REPLACE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql
                 AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;
             {trigger};
             SELECT pg_advisory_lock(1)"
        );
        admin.batch_execute(&wait).await.unwrap();
        let watcher = self.database.client().await;
        let breaking = async {
            somebody_waits_for_a_lock(&watcher).await;
            self.proxy.pause();
            admin.batch_execute("SELECT pg_advisory_unlock(1)").await.unwrap();
            while watcher.query(is_done, &[]).await.unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            let connections = self.proxy.accepted();
            self.proxy.sever();
            while self.proxy.accepted() == connections {
                tokio::task::yield_now().await;
            }
            self.proxy.restore();
        };
        let breaking = timeout(Duration::from_secs(20), breaking);
        let (outcome, broken) = tokio::join!(call, breaking);
        broken.expect("the statement is executed");
        outcome
    }
}

#[tokio::test]
async fn case_53_a_rotation_whose_answer_is_lost_after_the_commit_is_told_again() {
    let network = broken_network().await;
    let store = store(&network.config);
    let before = session(&store, &Openings::default(), "ada").await;
    let rotation = rotation(&before, NOW);
    let done = "SELECT FROM sessions WHERE gen = 1";
    let outcome = network.loses_the_answer("sessions", done, store.rotate(&rotation)).await;
    let after = read(&store, before.id).await;
    assert_eq!(after.refresh, rotation.successor);
    assert_eq!(outcome, Ok(RotateOutcome::Replayed(Box::new(after))));
}

#[tokio::test]
async fn case_53_an_end_whose_answer_is_lost_after_the_commit_has_ended_before() {
    let network = broken_network().await;
    let store = store(&network.config);
    let openings = Openings::default();
    let done = "SELECT FROM sessions WHERE revoked_at IS NOT NULL";
    let (reason, later) = (RevokeReason::Logout, NOW + Duration::from_secs(1));
    let first = session(&store, &openings, "ada").await;
    let call = store.end_session(first.id, first.user, reason, NOW);
    let outcome = network.loses_the_answer("sessions", done, call).await;
    assert_eq!(outcome, Ok(EndOutcome::EndedBefore));
    assert_eq!(read(&store, first.id).await.end.unwrap().at, NOW);

    let done = "SELECT FROM sessions WHERE revoked_at IS NOT NULL OFFSET 1";
    let second = session(&store, &openings, "bob").await;
    let call = store.end_user_sessions(second.user, reason, later);
    assert_eq!(network.loses_the_commit("sessions", done, call).await, Ok(0));
    assert_eq!(read(&store, second.id).await.end.unwrap().at, later);
}

#[tokio::test]
async fn case_53_an_opening_with_a_key_whose_answer_is_lost_after_the_commit_is_opened() {
    let network = broken_network().await;
    let store = store(&network.config);
    let openings = Openings::default();
    let mut opening = openings.new_user(identity("ada"));
    opening.idempotency = Some(repeatable("ada"));
    let done = "SELECT FROM idempotency_keys";
    let call = store.open_session(&opening);
    let outcome = network.loses_the_answer("sessions", done, call).await;
    assert_eq!(outcome, Ok(OpenOutcome::Opened));
    // The client, who asks again, has another session made.
    let mut again = openings.existing(opening.user_id());
    again.idempotency = opening.idempotency;
    assert_eq!(store.open_session(&again).await, Ok(OpenOutcome::IdempotencyKeyTaken));
    let live = store.live_sessions(opening.user_id(), NOW, 9).await.unwrap();
    assert_eq!(live.iter().map(|session| session.id).collect::<Vec<_>>(), [opening.session.id]);
}

#[tokio::test]
async fn case_53_a_link_whose_answer_is_lost_after_the_commit_is_linked() {
    let network = broken_network().await;
    let store = store(&network.config);
    let ada = session(&store, &Openings::default(), "ada").await.user;
    let mark = Some(single_use("ada"));
    let other = linking(&identity("other"));
    let done = "SELECT FROM single_use_marks";
    let call = store.link_identity(ada, &other, mark);
    let outcome = network.loses_the_answer("external_identities", done, call).await;
    assert_eq!(outcome, Ok(LinkOutcome::LinkedBefore));
    assert_eq!(store.identities(ada).await.unwrap().len(), 2);
    // For everybody else the sign-in is used up.
    assert_eq!(store.link_identity(ada, &other, mark).await, Ok(LinkOutcome::Replayed));

    // What is not linked is not said to be.
    let third = linking(&identity("third"));
    let call = store.link_identity(ada, &third, mark);
    let outcome = network.loses_the_answer("external_identities", "SELECT", call).await;
    assert_eq!(outcome, Ok(LinkOutcome::Replayed));
    assert_eq!(store.find_user(&identity("third")).await, Ok(None));
}

#[tokio::test]
async fn case_53_an_unlinking_whose_answer_is_lost_after_the_commit_is_done_once() {
    let network = broken_network().await;
    let store = store(&network.config);
    let openings = Openings::default();
    let first = session(&store, &openings, "ada").await;
    let (ada, other, reason) = (first.user, identity("other"), RevokeReason::Logout);
    store.link_identity(ada, &linking(&other), None).await.unwrap();
    store.open_session(&openings.existing_with(ada, other.clone())).await.unwrap();
    let done = "SELECT FROM sessions WHERE revoked_at IS NOT NULL";
    let call = store.unlink_identity(ada, &other, first.id, reason, NOW);
    let outcome = network.loses_the_commit("external_identities", done, call).await;
    assert_eq!(outcome, Ok(UnlinkOutcome::Unlinked { ended: 1 }));
    // Who asks for it anew does not have it.
    let again = store.unlink_identity(ada, &other, first.id, reason, NOW).await;
    assert_eq!(again, Ok(UnlinkOutcome::Unknown));
}

#[tokio::test]
async fn case_53_an_order_whose_answer_is_lost_after_the_commit_is_carried_out_once() {
    let network = broken_network().await;
    let store = store(&network.config);
    session(&store, &Openings::default(), "ada").await;
    let done = "SELECT FROM single_use_marks";
    let first = order(Some("ada"), None, "first");
    let call = store.end_provider_sessions(&first, NOW);
    let outcome = network.loses_the_commit("sessions", done, call).await;
    assert_eq!(outcome, Ok(ProviderLogoutOutcome::Ended(1)));
    let again = store.end_provider_sessions(&first, NOW).await;
    assert_eq!(again, Ok(ProviderLogoutOutcome::Replayed));

    // Where nothing was there to be ended, nothing tells it from another's.
    let done = "SELECT FROM single_use_marks OFFSET 1";
    let second = order(Some("ada"), None, "second");
    let later = NOW + Duration::from_secs(1);
    let call = store.end_provider_sessions(&second, later);
    let outcome = network.loses_the_commit("single_use_marks", done, call).await;
    assert_eq!(outcome, Ok(ProviderLogoutOutcome::Replayed));
}

#[tokio::test]
async fn case_53_asking_a_provider_again_survives_lost_answers() {
    let network = broken_network().await;
    let store = store(&network.config);
    let mut opening = Openings::default().new_user(identity("ada"));
    opening.upstream.refresh = Some(SealedToken("old".to_owned()));
    store.open_session(&opening).await.unwrap();
    let (id, lease) = (opening.session.id, NOW + Duration::from_mins(1));
    let done = "SELECT FROM upstream_tokens WHERE claimed_until IS NOT NULL";
    let call = store.claim_upstream(id, UpstreamDue::Recheck(NOW), NOW, lease);
    // Taken, and lost: after the lease it is there again.
    assert_eq!(network.loses_the_answer("upstream_tokens", done, call).await, Ok(None));
    let claimed = store.claim_upstream(id, UpstreamDue::Recheck(NOW), lease, lease).await;
    let old = ClaimedUpstream { refresh: SealedToken("old".to_owned()), asked_at: NOW };
    assert_eq!(claimed, Ok(Some(old)));

    let done = "SELECT FROM upstream_tokens WHERE sealed = 'new'";
    let renewal = renewal("new", lease);
    let call = store.keep_upstream(id, &renewal);
    assert_eq!(network.loses_the_answer("upstream_tokens", done, call).await, Ok(()));
    assert_eq!(Some(read(&store, id).await.claimed_roles), renewal.claimed_roles);
    let claimed = store.claim_upstream(id, UpstreamDue::Recheck(lease), lease, lease).await;
    assert_eq!(claimed.unwrap().map(|claimed| claimed.refresh), renewal.tokens.refresh);
}

#[tokio::test]
async fn case_53_upkeep_whose_answer_is_lost_after_the_commit_is_done_once() {
    let network = broken_network().await;
    let store = store(&network.config);
    let lease = Duration::from_mins(1);
    let done = "SELECT FROM duties WHERE held_until IS NOT NULL";
    let call = store.claim_duty(Duty::Sweep, NOW, lease, lease);
    assert_eq!(network.loses_the_answer("duties", done, call).await, Ok(false));
    assert_eq!(store.claim_duty(Duty::Sweep, NOW + lease, lease, lease).await, Ok(true));

    let session = session(&store, &Openings::default(), "ada").await;
    let now = session.absolute_expires_at;
    let step = SweepStep { after: None, limit: 9, now, keep_ended: lease };
    let done = "SELECT WHERE NOT EXISTS (SELECT FROM sessions)";
    let swept = network.loses_the_answer("sessions", done, store.sweep(&step)).await;
    assert_eq!(swept, Ok(mintgate_domain::ports::Swept::default()));

    let record = KeyRecord {
        key_use: KeyUse::Refresh,
        number: 1,
        id: KeyId::new("refresh-1"),
        material: SecretText::new("sealed"),
        created_at: NOW,
        activates_at: None,
    };
    let done = "SELECT FROM signing_keys";
    let call = store.add_key(&record);
    assert_eq!(network.loses_the_answer("signing_keys", done, call).await, Ok(false));
    assert_eq!(store.list_keys().await, Ok(vec![record]));
}

#[tokio::test]
async fn case_53_an_unreachable_database_is_unavailable_in_time_and_recovers() {
    let network = broken_network().await;
    let store = store(&network.config);
    warm_up(&store, 4).await;

    network.proxy.cut();
    let bound = network.config.connect_timeout * 2;
    let reason = is_unavailable(in_time(bound, store.find_user(&identity("ada"))).await);
    assert!(reason.contains("2000 ms"), "{reason}");
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
    is_unavailable(store.migrate(PATIENCE, &|_| ()).await);
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
    assert!(reason.contains("1250 ms"), "{reason}");
    // The others in the pool hang as well: they are replaced, not tried one by one.
    let bound = network.config.connect_timeout;
    let reason = is_unavailable(in_time(bound, store.find_user(&ada)).await);
    assert!(reason.contains("2000 ms"), "{reason}");

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
    // The words of Postgres.
    assert!(reason.ends_with("canceling statement due to lock timeout"), "{reason}");
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
    assert!(reason.contains("os error"), "the cause is told: {reason}");
    assert!(!reason.contains("hunter2"), "{reason}");
    assert!(!format!("{config:?}").contains("hunter2"));
}
