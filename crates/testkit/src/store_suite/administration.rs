//! What operators see of people and sessions, and what they decide.

use std::time::Duration;

use mintgate_domain::RotateOutcome;
use mintgate_domain::model::{
    Account, DeletedSession, LinkedIdentity, NewIdentity, ProviderId, RevokeReason, Role,
    SealedToken, SessionEnd, SessionId, Timestamp, UserId,
};
use mintgate_domain::ports::{OpenOutcome, SweepStep, UserChange};

use super::finding::{person, profile};
use super::{
    CALLERS, again, at_once, ended, find, find_session, known_user, open, rotate, rotated, soon,
    stored, writes_nothing,
};
use crate::openings::{NOW, Openings, identity, repeatable, single_use};
use crate::rotations::rotation;
use crate::store_under_test::{StoreCalls, StoreUnderTest};

const SECOND: Duration = Duration::from_secs(1);
/// How long access tokens are valid.
const ACCESS: Duration = Duration::from_hours(1);

async fn account(store: &dyn StoreUnderTest, user: UserId) -> Option<Account> {
    store.store().users.account(user).await.expect("an answer")
}

/// The oldest identity comes first.
pub async fn an_account_is_told_with_its_identities(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let kept = profile("Ada", "ada", "ada@example.com");
    let ada = person(store, &openings, "ada", kept.clone()).await;
    known_user(store, &openings, "bob").await;
    let linked = NewIdentity {
        identity: identity("a second"),
        provider: ProviderId::new("other"),
        now: soon(),
    };
    store.store().sessions.link(ada, &linked, None).await.expect("an outcome");
    store.grant_roles(ada, &["auditor"]).await;
    let found = account(store, ada).await.expect("an account");
    assert_eq!((found.user.id, found.created_at, &found.user.profile), (ada, NOW, &kept));
    assert_eq!((found.user.disabled_at, found.user.session_epoch), (None, 0));
    assert_eq!(found.user.granted_roles, [Role::new("auditor")]);
    let first = LinkedIdentity {
        identity: identity("ada"),
        provider: ProviderId::new("corp"),
        linked_at: NOW,
    };
    let NewIdentity { identity, provider, now } = linked;
    assert_eq!(found.identities, [first, LinkedIdentity { identity, provider, linked_at: now }]);
    let all = store.store().users.find_accounts(None, None, 10).await.expect("people");
    assert_eq!(all.first(), Some(&found));
}

/// Enabled again, the person signs in anew; what ended stays ended.
pub async fn a_disabled_user_has_no_session_and_opens_none_until_enabled(
    store: &dyn StoreUnderTest,
) {
    let openings = Openings::default();
    let ada = stored(store, &openings.new_user(identity("ada"))).await;
    let second = stored(store, &openings.existing(ada.user)).await;
    let bob = stored(store, &openings.new_user(identity("bob"))).await;
    let under_way = openings.existing(ada.user);
    let disabled = store.store().disable_user(ada.user, soon()).await;
    assert_eq!(disabled, Ok((UserChange::Changed, 2)));
    let end = SessionEnd { at: soon(), reason: RevokeReason::UserDisabled };
    for session in [&ada, &second] {
        assert_eq!(again(store, session).await, ended(session, end));
        let revoked = RotateOutcome::Revoked(RevokeReason::UserDisabled);
        writes_nothing(store, &rotation(session, soon()), &revoked).await;
    }
    assert_eq!(open(store, &openings.existing(ada.user)).await, OpenOutcome::PersonChanged);
    let found = account(store, ada.user).await.expect("an account").user;
    assert_eq!((found.disabled_at, found.session_epoch), (Some(soon()), 1));
    rotated(store, &rotation(&bob, soon())).await;

    assert_eq!(store.store().users.enable_user(ada.user).await, Ok(UserChange::Changed));
    assert_eq!(store.store().users.enable_user(ada.user).await, Ok(UserChange::AsBefore));
    assert_eq!(account(store, ada.user).await.expect("an account").user.disabled_at, None);
    // With the epoch that it read before all this.
    assert_eq!(
        store.store().sessions.open(&under_way.opening).await,
        Ok(OpenOutcome::PersonChanged)
    );
    let later = stored(store, &openings.existing(ada.user)).await;
    rotated(store, &rotation(&later, soon())).await;
    let outcome = rotate(store, &rotation(&ada, soon())).await;
    assert_eq!(outcome, RotateOutcome::Revoked(RevokeReason::UserDisabled));
}

/// As where the table was changed by hand.
pub async fn disabling_again_ends_what_an_operator_left_and_keeps_the_time(
    store: &dyn StoreUnderTest,
) {
    let openings = Openings::default();
    let ada = stored(store, &openings.new_user(identity("ada"))).await;
    store.disable_user(ada.user, NOW).await;
    let disabled = store.store().disable_user(ada.user, soon()).await;
    assert_eq!(disabled, Ok((UserChange::AsBefore, 1)));
    assert_eq!(account(store, ada.user).await.expect("one").user.disabled_at, Some(NOW));
    let end = SessionEnd { at: soon(), reason: RevokeReason::UserDisabled };
    assert_eq!(again(store, &ada).await.end, Some(end));
}

/// The order is that in which they were granted.
pub async fn roles_are_granted_once_and_taken_away(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let bob = known_user(store, &openings, "bob").await;
    let roles = async || account(store, ada).await.expect("an account").user.granted_roles;
    let (auditor, admin) = (Role::new("auditor"), Role::new("admin"));
    let calls = at_once(store, 0..CALLERS, |store, _| async move {
        store.users.grant_role(ada, &Role::new("auditor")).await.expect("a change")
    });
    assert_eq!(super::count(&calls.await, &UserChange::Changed), 1);
    assert_eq!(store.store().users.grant_role(ada, &admin).await, Ok(UserChange::Changed));
    assert_eq!(store.store().users.grant_role(ada, &auditor).await, Ok(UserChange::AsBefore));
    assert_eq!(roles().await, [auditor.clone(), admin.clone()]);
    assert_eq!(store.store().users.revoke_role(ada, &auditor).await, Ok(UserChange::Changed));
    assert_eq!(store.store().users.revoke_role(ada, &auditor).await, Ok(UserChange::AsBefore));
    assert_eq!(roles().await, [admin]);
    assert_eq!(account(store, bob).await.expect("an account").user.granted_roles, []);
    assert_eq!(find(store, &identity("ada")).await, Some(ada));
}

/// As somebody has written it into the table by hand.
pub async fn a_role_that_no_command_grants_can_be_taken_away(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    store.grant_roles(ada, &["bad role", "good", "o'brien \"\u{e9}\","]).await;
    let found = account(store, ada).await.expect("an account").user.granted_roles;
    assert_eq!(found.len(), 3);
    stored(store, &openings.existing(ada)).await;
    for role in ["bad role", "o'brien \"\u{e9}\","] {
        let revoked = store.store().users.revoke_role(ada, &Role::new(role)).await;
        assert_eq!(revoked, Ok(UserChange::Changed), "{role}");
    }
    let found = account(store, ada).await.expect("an account").user.granted_roles;
    assert_eq!(found, [Role::new("good")]);
}

/// Each says that there is nobody.
pub async fn an_operators_changes_of_nobody_change_nothing(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    known_user(store, &openings, "ada").await;
    let nobody = openings.new_user(identity("bob")).user_id();
    let before = store.dump().await;
    let ports = store.store();
    assert_eq!(ports.disable_user(nobody, soon()).await, Ok((UserChange::Unknown, 0)));
    assert_eq!(ports.users.enable_user(nobody).await, Ok(UserChange::Unknown));
    let role = Role::new("admin");
    assert_eq!(ports.users.grant_role(nobody, &role).await, Ok(UserChange::Unknown));
    assert_eq!(ports.users.revoke_role(nobody, &role).await, Ok(UserChange::Unknown));
    assert_eq!(ports.delete_user(nobody, NOW, NOW + ACCESS).await, Ok((UserChange::Unknown, 0)));
    assert_eq!(ports.users.account(nobody).await, Ok(None));
    assert_eq!(ports.session_records.user_sessions(nobody, None, 10).await, Ok(vec![]));
    assert_eq!(store.dump().await, before);
}

/// Sign-ins and a refresh race with an operator's act: whichever comes first, nothing works after it.
async fn races(
    store: &dyn StoreUnderTest,
    openings: &Openings,
    user: UserId,
    now: Timestamp,
    act: impl AsyncFnOnce(),
) {
    let current = stored(store, &openings.existing(user)).await;
    let person = store.store().sessions.users.find_user(&identity("ada")).await.expect("an answer");
    let epochs = person.expect("a person").epochs();
    let mut opening: Vec<_> = (0..CALLERS).map(|_| openings.existing(user)).collect();
    for opening in &mut opening {
        opening.session.epochs = epochs;
    }
    let ids: Vec<SessionId> = opening.iter().map(|opening| opening.session.id).collect();
    let opened = at_once(store, opening, |store, opening| async move {
        store.sessions.open(&opening.opening).await.expect("an outcome")
    });
    let refreshed = at_once(store, [rotation(&current, now)], |store, refresh| async move {
        store.rotate(&refresh).await.expect("an outcome")
    });
    let (opened, refreshed, ()) = futures_util::future::join3(opened, refreshed, act()).await;
    let refused = |outcome: &RotateOutcome| {
        matches!(
            outcome,
            RotateOutcome::Revoked(_) | RotateOutcome::Unknown | RotateOutcome::UserDisabled { .. }
        )
    };
    for outcome in &refreshed {
        assert!(matches!(outcome, RotateOutcome::Rotated(_)) || refused(outcome), "{outcome:?}");
    }
    assert!(
        opened
            .iter()
            .all(|outcome| { [OpenOutcome::Opened, OpenOutcome::PersonChanged].contains(outcome) })
    );
    for id in ids.into_iter().chain([current.id]) {
        let Some(session) = find_session(store, id).await else { continue };
        let outcome = rotate(store, &rotation(&session, now)).await;
        assert!(refused(&outcome), "{outcome:?}");
    }
    let live = store.store().sessions.list(user, now, 100).await;
    assert_eq!(live, Ok(vec![]));
}

/// The person is enabled again between the rounds.
pub async fn after_an_acknowledged_disabling_nothing_of_the_user_works(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    for round in 0..8 {
        let now = soon() + SECOND * round;
        let ports = store.store();
        races(store, &openings, ada, now, async move || {
            ports.disable_user(ada, now).await.expect("a change");
        })
        .await;
        store.store().users.enable_user(ada).await.expect("a change");
    }
}

/// Nor does anything of it stay, whichever sign-in came last.
pub async fn after_an_acknowledged_deletion_nothing_of_the_user_works(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    for round in 0..8 {
        let now = soon() + SECOND * round;
        let ada = known_user(store, &openings, "ada").await;
        let ports = store.store();
        races(store, &openings, ada, now, async move || {
            let deleted = ports.delete_user(ada, now, now + ACCESS).await.expect("a deletion");
            assert_eq!(deleted.0, UserChange::Changed);
        })
        .await;
        assert_eq!(account(store, ada).await, None);
        assert_eq!(store.dump().await.counts(), [0; 4]);
    }
}

/// With a cursor nobody is listed twice, also if a session is opened meanwhile.
pub async fn sessions_are_listed_the_last_opened_first_also_when_ended(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let first = stored(store, &openings.new_user(identity("ada"))).await;
    let ada = first.user;
    let mut own = vec![first];
    for _ in 0..4 {
        own.push(stored(store, &openings.existing(ada)).await);
    }
    stored(store, &openings.new_user(identity("bob"))).await;
    let reason = RevokeReason::Admin;
    store.store().sessions.repo.end_session(own[3].id, ada, reason, soon()).await.expect("an end");
    own[3] = ended(&own[3], SessionEnd { at: soon(), reason });
    own.reverse();
    let list = async |before: Option<SessionId>, limit| {
        store.store().session_records.user_sessions(ada, before, limit).await.expect("sessions")
    };
    assert_eq!(list(None, 100).await, own);
    let page = list(None, 2).await;
    assert_eq!(page, own[..2]);
    stored(store, &openings.existing(ada)).await;
    assert_eq!(list(Some(own[1].id), 2).await, own[2..4]);
    assert_eq!(list(Some(own[3].id), 2).await, own[4..]);
    assert_eq!(list(Some(own[4].id), 2).await, []);
}

/// Everything else is gone, and the identity makes a new user.
pub async fn a_deleted_user_leaves_the_ids_of_what_may_have_access_tokens(
    store: &dyn StoreUnderTest,
) {
    let openings = Openings::default();
    let mut first = openings.new_user(identity("ada"));
    first.idempotency = Some(repeatable("ada"));
    first.upstream.refresh = Some(SealedToken("sealed".to_owned()));
    first.profile = Some(profile("Ada", "ada", "ada@example.com"));
    first.single_use = Some(single_use("ada"));
    let live = stored(store, &first).await;
    let ada = live.user;
    let now = NOW + ACCESS * 3;
    let end = async |ago: Duration| {
        let session = stored(store, &openings.existing(ada)).await;
        let reason = RevokeReason::Logout;
        store
            .store()
            .sessions
            .repo
            .end_session(session.id, ada, reason, now - ago)
            .await
            .expect("an end");
        session.id
    };
    let (recent, over) = (end(ACCESS).await, end(ACCESS + SECOND).await);
    let expire = async |at: Timestamp| {
        let mut opening = openings.existing(ada);
        opening.session.refresh.expires_at = at;
        stored(store, &opening).await.id
    };
    let (expired, long_expired) = (expire(now - SECOND).await, expire(NOW + SECOND).await);
    let bob = stored(store, &openings.new_user(identity("bob"))).await;

    let forget_after = now + ACCESS;
    let deleted = store.store().delete_user(ada, now, forget_after).await;
    assert_eq!(deleted, Ok((UserChange::Changed, 1)));
    let left = async |id: SessionId| {
        store.store().session_records.deleted_session(id).await.expect("an answer")
    };
    let kept = |ended_at, reason| Some(DeletedSession { ended_at, reason, forget_after });
    assert_eq!(left(live.id).await, kept(now, RevokeReason::UserDeleted));
    assert_eq!(left(recent).await, kept(now - ACCESS, RevokeReason::Logout));
    assert_eq!(left(expired).await, kept(now - SECOND, RevokeReason::ExpiredIdle));
    for id in [over, long_expired, bob.id] {
        assert_eq!(left(id).await, None);
    }
    assert_eq!(account(store, ada).await, None);
    assert_eq!(find(store, &identity("ada")).await, None);
    let dump = store.dump().await;
    // Bob's rows, and the mark of a sign-in that must not count again.
    assert_eq!(dump.counts(), [1, 1, 1, 1]);
    for table in ["idempotency_keys", "upstream_tokens"] {
        assert_eq!(dump.rows(table).len(), 0, "{table}");
    }
    assert!(!format!("{dump:?}").to_lowercase().contains("@example.com"), "{dump:?}");
    assert_eq!(rotate(store, &rotation(&live, now)).await, RotateOutcome::Unknown);
    assert_ne!(known_user(store, &openings, "ada").await, ada);
    rotated(store, &rotation(&bob, soon())).await;
}

/// The clean-up does it, not before the time and not too many at once.
pub async fn the_ids_of_deleted_sessions_are_forgotten_in_time(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    for _ in 0..4 {
        stored(store, &openings.existing(ada)).await;
    }
    let until = NOW + ACCESS;
    store.store().delete_user(ada, NOW, until).await.expect("a deletion");
    let keep_ended = Duration::from_hours(24);
    for (now, left) in [(until - SECOND, 5), (until, 3), (until, 1), (until, 0), (until, 0)] {
        let step = SweepStep { after: None, limit: 2, now, keep_ended };
        store.store().housekeeping.sweep(&step).await.expect("what it did");
        assert_eq!(store.dump().await.rows("deleted_sessions").len(), left);
    }
}
