//! Sign-ins that may be repeated.

use std::time::Duration;

use mintgate_domain::TokenHash;
use mintgate_domain::model::{
    IdempotencyKey, IdempotencyRecord, RevokeReason, Session, Timestamp, UserId,
};
use mintgate_domain::ports::{Holder, OpenOutcome, Reserved, SweepStep};

use super::{
    RACERS, again, at_once, count, find_session, is_refused, known_user, open, open_at_once,
    rotated, soon, stored,
};
use crate::openings::{NOW, Opening, Openings, identity, repeatable, single_use};
use crate::rotations::rotation;
use crate::store_under_test::StoreUnderTest;

const SECOND: Duration = Duration::from_secs(1);

async fn find(
    store: &dyn StoreUnderTest,
    record: IdempotencyRecord,
    now: Timestamp,
) -> Option<(IdempotencyKey, Session)> {
    let found =
        store.store().sessions.idempotency.find(record.request.key, now).await.expect("an answer");
    let (request, session) = found?;
    Some((request, super::find_session(store, session).await.expect("a session")))
}

/// A session of this user, by a request of this name.
fn opening_with_key(openings: &Openings, user: UserId, name: &str) -> Opening {
    let mut opening = openings.existing(user);
    opening.idempotency = Some(repeatable(name));
    opening
}

/// The same, when that key is no longer known.
fn later(openings: &Openings, user: UserId, name: &str) -> Opening {
    let mut opening = opening_with_key(openings, user, name);
    let record = repeatable(name);
    opening.session.created_at = record.expires_at;
    let body = TokenHash::of("another body");
    let request = IdempotencyKey { body, ..record.request };
    let expires_at = record.expires_at + Duration::from_mins(1);
    opening.idempotency = Some(IdempotencyRecord { request, expires_at });
    opening
}

/// The record says with which body the key was used.
pub async fn a_repeatable_opening_is_found_until_it_is_forgotten(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let record = repeatable("ada");
    assert_eq!(find(store, record, NOW).await, None);
    let mut opening = openings.new_user(identity("ada"));
    opening.idempotency = Some(record);
    let session = stored(store, &opening).await;
    let another = stored(store, &opening_with_key(&openings, session.user, "another")).await;

    let found = Some((record.request, session));
    assert_eq!(find(store, record, NOW).await, found);
    assert_eq!(find(store, record, record.expires_at - SECOND).await, found);
    assert_eq!(find(store, record, record.expires_at).await, None);
    assert_eq!(find(store, record, record.expires_at + SECOND).await, None);
    let other_record = repeatable("another");
    assert_eq!(find(store, other_record, NOW).await, Some((other_record.request, another)));
    assert_eq!(find(store, repeatable("a third"), NOW).await, None);
}

/// The session is returned as it is now, refreshed or ended.
pub async fn a_repeatable_opening_is_found_as_its_session_is_now(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let session = stored(store, &opening_with_key(&openings, ada, "ada")).await;
    let request = repeatable("ada").request;
    let session = rotated(store, &rotation(&session, soon())).await;
    assert_eq!(find(store, repeatable("ada"), soon()).await, Some((request, session.clone())));
    store
        .store()
        .sessions
        .repo
        .end_session(session.id, ada, RevokeReason::Admin, soon())
        .await
        .expect("an end");
    let session = again(store, &session).await;
    assert_eq!(session.end.map(|end| end.reason), Some(RevokeReason::Admin));
    assert_eq!(find(store, repeatable("ada"), soon()).await, Some((request, session)));
}

/// Without a key, no idempotency record is written.
pub async fn an_opening_without_a_key_is_not_found(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    known_user(store, &openings, "ada").await;
    assert_eq!(find(store, repeatable("ada"), NOW).await, None);
    assert_eq!(store.dump().await.rows("idempotency_keys").len(), 0);
}

/// This holds even if user, ID token and body of the request are new.
pub async fn a_taken_key_stores_nothing(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let first = stored(store, &opening_with_key(&openings, ada, "ada")).await;
    let mut somebody_new = openings.new_user(identity("eve"));
    somebody_new.idempotency = Some(repeatable("ada"));
    somebody_new.single_use = Some(single_use("eve"));
    let mut same_user = opening_with_key(&openings, ada, "ada");
    same_user.single_use = Some(single_use("ada"));
    let mut another_body = opening_with_key(&openings, ada, "ada");
    let mut record = repeatable("ada");
    record.request.body = TokenHash::of("another body");
    record.expires_at = record.expires_at + SECOND;
    another_body.idempotency = Some(record);
    let mut last_moment = opening_with_key(&openings, ada, "ada");
    last_moment.session.created_at = repeatable("ada").expires_at - SECOND;
    for opening in [somebody_new, same_user, another_body, last_moment] {
        is_refused(store, &opening, OpenOutcome::IdempotencyKeyTaken).await;
    }
    let found = Some((repeatable("ada").request, first));
    assert_eq!(find(store, repeatable("ada"), NOW).await, found);
}

/// An expired key can be used by another request, and then belongs to that one.
pub async fn a_forgotten_key_may_be_used_again(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let first = stored(store, &opening_with_key(&openings, ada, "ada")).await;
    let opening = later(&openings, ada, "ada");
    let second = stored(store, &opening).await;

    let record = opening.idempotency.expect("a key");
    let now = opening.session.created_at;
    assert_eq!(find(store, record, now).await, Some((record.request, second)));
    assert_eq!(find(store, record, record.expires_at).await, None);
    assert_eq!(again(store, &first).await, first, "its session lives on");
    assert_eq!(store.dump().await.rows("idempotency_keys").len(), 1);
    let third = opening_with_key(&openings, ada, "ada");
    is_refused(store, &third, OpenOutcome::IdempotencyKeyTaken).await;
}

async fn one_opens(store: &dyn StoreUnderTest, racers: Vec<Opening>, now: Timestamp) {
    let sessions = store.dump().await.rows("sessions").len();
    let record = racers[0].idempotency.expect("a key");
    let outcomes = open_at_once(store, racers.clone()).await;
    assert_eq!(count(&outcomes, &OpenOutcome::Opened), 1, "{outcomes:?}");
    let taken = count(&outcomes, &OpenOutcome::IdempotencyKeyTaken);
    assert_eq!(taken, racers.len() - 1, "{outcomes:?}");
    let winner = outcomes.iter().position(|outcome| *outcome == OpenOutcome::Opened);
    let winner = &racers[winner.expect("a winner")].session;
    let (_, session) = find(store, record, now).await.expect("an opening");
    assert_eq!(session.id, winner.id);
    assert_eq!(store.dump().await.rows("sessions").len(), sessions + 1);
    assert_eq!(store.dump().await.rows("idempotency_keys").len(), 1);
}

/// The other requests learn that the key is taken.
pub async fn one_key_many_times_at_once_opens_one_session(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let racers = (0..RACERS).map(|_| opening_with_key(&openings, ada, "ada"));
    one_opens(store, racers.collect(), NOW).await;
}

/// Of many requests that take over an expired key at once, one opens a session.
pub async fn a_forgotten_key_many_times_at_once_opens_one_session(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    stored(store, &opening_with_key(&openings, ada, "ada")).await;
    let racers: Vec<_> = (0..RACERS).map(|_| later(&openings, ada, "ada")).collect();
    let now = racers[0].session.created_at;
    one_opens(store, racers, now).await;
}

/// The other requests learn that the key is taken.
pub async fn one_key_for_many_first_sign_ins_at_once_creates_one_user(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let racers = (0..RACERS).map(|_| {
        let mut opening = openings.new_user(identity("ada"));
        opening.idempotency = Some(repeatable("ada"));
        opening
    });
    let outcomes = open_at_once(store, racers.collect()).await;
    assert_eq!(count(&outcomes, &OpenOutcome::Opened), 1, "{outcomes:?}");
    let late = count(&outcomes, &OpenOutcome::IdempotencyKeyTaken);
    assert_eq!(late, RACERS - 1, "{outcomes:?}");
    assert_eq!(store.dump().await.counts(), [1, 1, 0, 1]);
    assert_eq!(store.dump().await.rows("idempotency_keys").len(), 1);
}

/// A caller that does not know the outcome of its call repeats it, even at the same time.
pub async fn repeating_an_opening_with_a_key_changes_nothing(store: &dyn StoreUnderTest) {
    let mut opening = Openings::default().new_user(identity("ada"));
    opening.idempotency = Some(repeatable("ada"));
    opening.single_use = Some(single_use("ada"));
    let outcomes = open_at_once(store, vec![opening.clone(); RACERS]).await;
    assert_eq!(outcomes, [OpenOutcome::Opened; RACERS]);
    let before = store.dump().await;
    assert_eq!(open(store, &opening).await, OpenOutcome::Opened);
    assert_eq!(store.dump().await, before);
    let session = find_session(store, opening.session.id).await.expect("a session");
    let found = Some((repeatable("ada").request, session));
    assert_eq!(find(store, repeatable("ada"), NOW).await, found);
}

const LEASE: Duration = Duration::from_mins(1);

async fn reserve(
    store: &dyn StoreUnderTest,
    request: &IdempotencyKey,
    holder: Holder,
    lease: Duration,
) -> Reserved {
    store
        .store()
        .sessions
        .idempotency
        .reserve(request, &holder, lease, NOW)
        .await
        .expect("an outcome")
}

/// Others learn which body it is held for, and write nothing. The holder gets it again.
pub async fn a_key_is_reserved_for_one_holder_until_it_gives_it_back(store: &dyn StoreUnderTest) {
    let (ours, theirs) = ([1; 16], [2; 16]);
    let request = repeatable("ada").request;
    let another_body = IdempotencyKey { body: TokenHash::of("another body"), ..request };
    let held = Reserved::ByAnother(Some(request.body));
    assert_eq!(reserve(store, &request, ours, LEASE).await, Reserved::Own);
    let before = store.dump().await;
    assert_eq!(before.rows("idempotency_reservations").len(), 1);
    for (asked, holder) in [(&request, theirs), (&another_body, theirs), (&another_body, ours)] {
        assert_eq!(reserve(store, asked, holder, LEASE).await, held);
    }
    store.store().sessions.idempotency.release(request.key, &theirs).await.expect("an end");
    assert_eq!(store.dump().await, before);
    assert_eq!(reserve(store, &request, ours, LEASE).await, Reserved::Own);
    store.store().sessions.idempotency.release(request.key, &ours).await.expect("an end");
    assert!(store.dump().await.rows("idempotency_reservations").is_empty());
    assert_eq!(reserve(store, &another_body, theirs, LEASE).await, Reserved::Own);
}

/// By nobody, while the record of the session has not expired.
pub async fn a_reserved_key_is_found_opened_and_never_reserved_again(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let request = repeatable("ada").request;
    assert_eq!(reserve(store, &request, [1; 16], LEASE).await, Reserved::Own);
    let session = stored(store, &opening_with_key(&openings, ada, "ada")).await;
    let before = store.dump().await;
    for holder in [[1; 16], [2; 16]] {
        let opened = Reserved::Opened(request, session.id);
        assert_eq!(reserve(store, &request, holder, LEASE).await, opened);
    }
    assert_eq!(store.dump().await, before);
}

/// The others may not see yet which body it is held for.
pub async fn one_key_reserved_by_many_at_once_is_one_holders(store: &dyn StoreUnderTest) {
    let request = repeatable("ada").request;
    let holders: Vec<u8> = (0..RACERS.try_into().expect("a few")).collect();
    let outcomes = at_once(store, holders, move |store, holder| async move {
        store
            .sessions
            .idempotency
            .reserve(&request, &[holder; 16], LEASE, NOW)
            .await
            .expect("an outcome")
    })
    .await;
    assert_eq!(count(&outcomes, &Reserved::Own), 1, "{outcomes:?}");
    let others = outcomes.iter().filter(|outcome| matches!(outcome, Reserved::ByAnother(_)));
    assert_eq!(others.count(), RACERS - 1, "{outcomes:?}");
}

/// Whoever asks while a session is being opened finds the key held or the session, and never free.
pub async fn openings_and_reservations_at_once_give_no_key_twice(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    for round in 0..12 {
        let name = format!("round {round}");
        let request = repeatable(&name).request;
        assert_eq!(reserve(store, &request, [1; 16], LEASE).await, Reserved::Own);
        let opening = opening_with_key(&openings, ada, &name);
        let asking = at_once(store, vec![(); RACERS], move |store, ()| async move {
            let mut outcomes = Vec::new();
            for _ in 0..4 {
                let reserved =
                    store.sessions.idempotency.reserve(&request, &[2; 16], LEASE, NOW).await;
                outcomes.push(reserved.expect("an outcome"));
            }
            outcomes
        });
        let (opened, outcomes) = tokio::join!(open(store, &opening), asking);
        assert_eq!(opened, OpenOutcome::Opened);
        assert!(!outcomes.concat().contains(&Reserved::Own), "{outcomes:?}");
    }
}

/// A process that crashed holds its keys no longer.
pub async fn a_lease_ends_and_a_sweep_forgets_it(store: &dyn StoreUnderTest) {
    let request = repeatable("ada").request;
    let over = Duration::ZERO;
    assert_eq!(reserve(store, &request, [1; 16], over).await, Reserved::Own);
    assert_eq!(reserve(store, &request, [2; 16], over).await, Reserved::Own);
    let (decade, century) = (LEASE * 60 * 24 * 3_650, LEASE * 60 * 24 * 36_500);
    let held = repeatable("bob").request;
    assert_eq!(reserve(store, &held, [1; 16], century).await, Reserved::Own);
    let step = SweepStep { after: None, limit: 9, now: NOW + decade, keep_ended: LEASE };
    store.store().housekeeping.sweep(&step).await.expect("a sweep");
    assert_eq!(store.dump().await.rows("idempotency_reservations").len(), 1);
}
