//! What a call costs, and that it is timed.

use std::sync::Arc;
use std::time::Duration;

use crate::harness::{config, linking, migrated, order, renewal};
use mintgate_domain::RotateOutcome;
use mintgate_domain::SecretText;
use mintgate_domain::model::{
    KeyId, KeyRecord, KeyUse, LostAnswer, RevokeReason, Role, Rotation, SealedToken, Session,
};
use mintgate_domain::ports::{
    Duties, Duty, EndOutcome, Housekeeping, IdempotencyRecords, KeyRepo, OpenOutcome,
    RefreshTokenRepo, StoreHealth, StoreOperation, SweepStep, UpstreamDue, UpstreamTokenRepo,
    UserDirectory,
};
use mintgate_store_postgres::PgStore;
use mintgate_testkit::StoreCalls;
use mintgate_testkit::fault_proxy::FaultProxy;
use mintgate_testkit::openings::{NOW, Openings, identity, repeatable, single_use};
use mintgate_testkit::rotations::{presenting, rotation, token_of};
use mintgate_testkit::{ManualClock, MetricEvent, RecordingMetrics};

#[tokio::test]
async fn every_call_is_one_round_trip_once_its_statement_is_prepared() {
    let database = migrated().await;
    let proxy = FaultProxy::start(database.host_and_port()).await;
    let mut config = config(database.url_through(proxy.address()));
    config.pool_size = 1;
    let store = crate::harness::store(&config);
    let openings = Openings::default();
    let first = openings.new_user(identity("ada"));
    store.find_user(&identity("ada")).await.unwrap();
    store.open_session(&first).await.unwrap();
    let ada = first.user_id();

    let mut replayed = openings.existing(ada);
    replayed.single_use = Some(single_use("ada"));
    let mut again = openings.existing(ada);
    again.single_use = replayed.single_use;
    let mut asked_again = openings.existing(ada);
    asked_again.upstream.refresh = Some(SealedToken("sealed".to_owned()));
    for (opening, outcome) in [
        (openings.existing(ada), OpenOutcome::Opened),
        (openings.existing_with(ada, identity("nobody's")), OpenOutcome::PersonChanged),
        (replayed, OpenOutcome::Opened),
        (asked_again, OpenOutcome::Opened),
        (again, OpenOutcome::Replayed),
        (first, OpenOutcome::Opened),
    ] {
        let before = proxy.round_trips();
        assert_eq!(store.open(&opening).await, Ok(outcome));
        assert_eq!(proxy.round_trips() - before, 1, "{outcome:?}");
    }
    let before = proxy.round_trips();
    store.find_or_create(&openings.new_user(identity("bob")).new_user()).await.unwrap();
    assert_eq!(proxy.round_trips() - before, 1);
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
    let store = Arc::new(store);
    store.find_user(&identity("ada")).await.unwrap();
    let openings = Openings::default();
    store.open_session(&openings.new_user(identity("ada"))).await.unwrap();
    let session = crate::harness::session(&store, &openings, "bob").await;
    everything_else(&store, &session).await;
    let took = Duration::ZERO;
    let expected = [
        StoreOperation::FindUser,
        StoreOperation::CreateUser,
        StoreOperation::OpenSession,
        StoreOperation::CreateUser,
        StoreOperation::OpenSession,
        StoreOperation::FindSession,
        StoreOperation::Idempotency,
        StoreOperation::Idempotency,
        StoreOperation::Idempotency,
        StoreOperation::Rotate,
        StoreOperation::LiveSessions,
        StoreOperation::EndSession,
        StoreOperation::EndUserSessions,
        StoreOperation::FindSession,
        StoreOperation::Identities,
        StoreOperation::LinkIdentity,
        StoreOperation::UnlinkIdentity,
        StoreOperation::EndProviderSessions,
        StoreOperation::EndProviderSessions,
        StoreOperation::EndProviderSessions,
        StoreOperation::Upstream,
        StoreOperation::Upstream,
        StoreOperation::Upstream,
        StoreOperation::Upstream,
        StoreOperation::Upstream,
        StoreOperation::Sweep,
        StoreOperation::Sweep,
        StoreOperation::Sweep,
        StoreOperation::Sweep,
        StoreOperation::Keys,
        StoreOperation::Keys,
        StoreOperation::Keys,
        StoreOperation::Keys,
    ]
    .map(|operation| MetricEvent::StoreQuery { operation, took });
    assert_eq!(metrics.events(), expected);
}

/// Makes each call that no other test here measures, once; returns the number of round trips.
async fn everything_else(store: &Arc<PgStore>, session: &Session) -> usize {
    let (id, user, span) = (session.id, session.user, Duration::from_mins(1));
    let key = KeyId::new("access-1");
    store.find(repeatable("ada").request.key, NOW).await.unwrap();
    let request = repeatable("reserved").request;
    store.reserve(&request, &[1; 16], span, NOW).await.unwrap();
    store.release(request.key, &[1; 16]).await.unwrap();
    store.rotate(&rotation(session, NOW)).await.unwrap();
    store.live_sessions(user, NOW, 9).await.unwrap();
    store.end_session(id, user, RevokeReason::Admin, NOW).await.unwrap();
    store.end_user_sessions(user, RevokeReason::Admin, NOW).await.unwrap();
    store.load(id).await.unwrap();
    store.identities(user).await.unwrap();
    let other = identity("linked");
    store.link_identity(user, &linking(&other), Some(single_use("link"))).await.unwrap();
    store.unlink_identity(user, &other, id, RevokeReason::Logout, NOW).await.unwrap();
    for (subject, sid) in [(Some("x"), None), (None, Some("x")), (Some("x"), Some("x"))] {
        store.end_provider_sessions(&order(subject, sid, "every shape"), NOW).await.unwrap();
    }
    store.load_upstream(id).await.unwrap();
    store.claim_upstream(id, UpstreamDue::Recheck(NOW), NOW, NOW + span).await.unwrap();
    store.release_upstream(id, &SealedToken("old".to_owned())).await.unwrap();
    store.forget_upstream(id, &SealedToken("old".to_owned())).await.unwrap();
    store.keep_upstream(id, &renewal("new", NOW)).await.unwrap();
    store.claim_duty(Duty::Sweep, NOW, span, span).await.unwrap();
    let step = SweepStep { after: None, limit: 9, now: NOW, keep_ended: span };
    store.sweep(&step).await.unwrap();
    store.refresh_key_in_use(&key, NOW).await.unwrap();
    store.end_duty(Duty::Sweep, NOW).await.unwrap();
    store.list_keys().await.unwrap();
    let record = KeyRecord {
        key_use: KeyUse::Access,
        number: 1,
        id: key.clone(),
        material: SecretText::new("sealed"),
        created_at: NOW,
        activates_at: None,
    };
    store.add_key(&record).await.unwrap();
    store.activate_key(KeyUse::Access, &key, NOW).await.unwrap();
    store.remove_key(KeyUse::Access, &key).await.unwrap();
    // The calls that end several sessions are transactions, which lock and raise before they end: one
    // of all sessions of a user, one of an unlinked identity, three of a provider.
    let in_transactions = 17;
    27 + in_transactions
}

#[tokio::test]
async fn a_rotation_takes_one_round_trip_a_replay_two_and_one_more_if_it_is_written() {
    let database = migrated().await;
    let proxy = FaultProxy::start(database.host_and_port()).await;
    let mut config = config(database.url_through(proxy.address()));
    config.pool_size = 1;
    let store = crate::harness::store(&config);
    let openings = Openings::default();
    // Once, so that every statement is prepared.
    let first = crate::harness::session(&store, &openings, "ada").await;
    everything_else(&store, &first).await;
    assert_eq!(
        store.rotate(&rotation(&first, NOW)).await,
        Ok(RotateOutcome::Revoked(RevokeReason::Admin))
    );

    let eve = crate::harness::session(&store, &openings, "eve").await.user;
    let mut opening = openings.existing_with(eve, identity("eve"));
    opening.idempotency = Some(repeatable("ada"));
    let mut taken = openings.existing_with(eve, identity("eve"));
    taken.idempotency = opening.idempotency;
    for (opening, outcome) in
        [(&opening, OpenOutcome::Opened), (&taken, OpenOutcome::IdempotencyKeyTaken)]
    {
        let before = proxy.round_trips();
        assert_eq!(store.open(opening).await, Ok(outcome));
        assert_eq!(proxy.round_trips() - before, 1);
    }
    let session = crate::harness::read(&store, opening.session.id).await;
    let before = proxy.round_trips();
    let round_trips = everything_else(&store, &session).await;
    assert_eq!(proxy.round_trips() - before, round_trips);

    let with_roles = |session: &Session| {
        let roles = Some(vec![Role::new("auditor")]);
        Rotation { roles, ..rotation(session, NOW) }
    };
    let prepared = crate::harness::session(&store, &openings, "carol").await;
    let live = crate::harness::session(&store, &openings, "bob").await;
    // The first time, so that every statement is prepared.
    for (session, is_measured) in [(prepared, false), (live, true)] {
        let measured = async |rotation: &Rotation, expected: usize| {
            let before = proxy.round_trips();
            let outcome = store.rotate(rotation).await.unwrap();
            if is_measured {
                assert_eq!(proxy.round_trips() - before, expected, "{outcome:?}");
            }
            outcome
        };
        let rotated = measured(&with_roles(&session), 1).await;
        assert!(matches!(rotated, RotateOutcome::Rotated(_)), "{rotated:?}");
        let after = crate::harness::read(&store, session.id).await;
        let replay = presenting(&after, token_of(&session.refresh), NOW);
        let mut uncounted: Rotation = replay.clone();
        uncounted.replay.counted = false;
        measured(&uncounted, 2).await;
        measured(&replay, 3).await;
        let mut lost = replay;
        lost.replay.window = Duration::ZERO;
        lost.replay.lost_answer = LostAnswer::UntilUsed;
        measured(&lost, 3).await;
    }
    let before = proxy.round_trips();
    let again = store.end_session(session.id, session.user, RevokeReason::Logout, NOW).await;
    assert_eq!(again, Ok(EndOutcome::EndedBefore));
    assert_eq!(proxy.round_trips() - before, 1);
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn the_pool_tells_its_state() {
    let database = migrated().await;
    let store = crate::harness::store(&config(database.url()));
    assert_eq!((store.pool_state().idle, store.pool_state().in_use), (0, 0));
    store.check().await.unwrap();
    assert_eq!((store.pool_state().idle, store.pool_state().in_use), (0, 0), "one of its own");
    store.list_keys().await.unwrap();
    assert_eq!((store.pool_state().idle, store.pool_state().in_use), (1, 0));
}
