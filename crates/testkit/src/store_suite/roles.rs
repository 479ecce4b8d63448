//! Roles that are decided again at a refresh.

use std::time::Duration;

use mintgate_domain::model::{AccessGrant, ClaimValue, RevokeReason, Role, Rotation, Session};
use mintgate_domain::{RotateOutcome, TokenHash};

use super::rotation::{ends, lost_answer, replay, rotated_at, succeeded};
use super::{
    CALLERS, adas_session, again, count, rotate_at_once, rotated, soon, stored, writes_nothing,
};
use crate::openings::{Openings, identity};
use crate::rotations::{WINDOW, presenting, rotation, token_of};
use crate::store_under_test::StoreUnderTest;

/// A refresh that brings these roles.
fn with_roles(mut rotation: Rotation, roles: &[&str]) -> Rotation {
    rotation.roles = Some(roles.iter().map(|role| Role::new(*role)).collect());
    rotation
}

fn roles_of(session: &Session) -> Vec<&str> {
    session.grant.roles.iter().map(Role::as_str).collect()
}

/// They stay until others are stored; the roles that the provider's claims gave do not change.
pub async fn roles_decided_again_are_stored_with_the_successor(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let mut opening = openings.new_user(identity("ada"));
    opening.session.claimed_roles = vec![Role::new("claimed")];
    let mut session = stored(store, &opening).await;
    let other = stored(store, &openings.existing(session.user)).await;
    assert_eq!(roles_of(&session), ["user"]);
    for (roles, expected) in [
        (Some(&["admin", "\"q\", {b}", "日本"][..]), &["admin", "\"q\", {b}", "日本"][..]),
        (None, &["admin", "\"q\", {b}", "日本"]),
        (Some(&["user"]), &["user"]),
    ] {
        let mut request = rotation(&session, soon());
        if let Some(roles) = roles {
            request = with_roles(request, roles);
        }
        let after = rotated(store, &request).await;
        assert_eq!(after, succeeded(&session, &request, rotated_at(&after)));
        assert_eq!(roles_of(&after), expected);
        session = after;
    }
    assert_eq!(again(store, &other).await, other, "another session of the same user");
}

/// Whichever claim it is that takes the room. Without a limit, it is exchanged whatever it takes.
pub async fn claims_of_more_than_the_limit_are_not_exchanged_unseen(store: &dyn StoreUnderTest) {
    const LIMIT: Option<u32> = Some(500);
    let openings = Openings::default();
    let long = || "x".repeat(520);
    let claims: [fn(&mut AccessGrant, String); 4] = [
        |grant, long| grant.roles.push(Role::new(long)),
        |grant, long| grant.amr.push(long),
        |grant, long| grant.acr = Some(long),
        |grant, long| grant.extra = [("claim".to_owned(), ClaimValue::Text(long))].into(),
    ];
    let small = stored(store, &openings.new_user(identity("ada"))).await;
    for (n, grow) in claims.into_iter().enumerate() {
        let mut opening = openings.existing(small.user);
        grow(&mut opening.session.grant, long());
        let session = stored(store, &opening).await;
        let request = rotation(&session, soon());
        let exchanged =
            store.store().sessions.repo.exchange(&request, LIMIT).await.expect("an outcome");
        assert!(exchanged.is_none(), "claim {n}");
        assert_eq!(again(store, &session).await, session);
        let exchanged =
            store.store().sessions.repo.exchange(&request, None).await.expect("an outcome");
        assert!(exchanged.is_some(), "claim {n}");
    }
    let request = rotation(&small, soon());
    assert!(
        store.store().sessions.repo.exchange(&request, LIMIT).await.expect("an outcome").is_some()
    );
}

/// A successor that replaces a lost one stores its roles like any other.
pub async fn until_used_a_superseding_successor_brings_its_roles(store: &dyn StoreUnderTest) {
    let first = adas_session(store).await;
    let session = rotated(store, &with_roles(rotation(&first, soon()), &["lost"])).await;
    store.age_rotation(session.id, WINDOW).await;
    let session = again(store, &session).await;
    let kept = rotated(store, &lost_answer(&session, soon())).await;
    assert_eq!(roles_of(&kept), ["lost"], "none were decided again");
    store.age_rotation(session.id, WINDOW).await;
    let kept = again(store, &kept).await;
    let request = with_roles(lost_answer(&kept, soon()), &["found"]);
    let after = rotated(store, &request).await;
    assert_eq!(after, succeeded(&kept, &request, rotated_at(&after)));
    assert_eq!(roles_of(&after), ["found"]);
}

/// A replay, a successor that does not fit, a refusal and a reuse leave the roles as they are.
pub async fn roles_that_come_with_no_successor_are_not_stored(store: &dyn StoreUnderTest) {
    let first = adas_session(store).await;
    let session = rotated(store, &rotation(&first, soon())).await;
    let whole = || Box::new(session.clone());

    let mut uncounted = with_roles(replay(&session, soon()), &["admin"]);
    uncounted.replay.counted = false;
    writes_nothing(store, &uncounted, &RotateOutcome::Replayed(whole())).await;
    let mut misfit = with_roles(rotation(&session, soon()), &["admin"]);
    misfit.successor.generation += 1;
    writes_nothing(store, &misfit, &RotateOutcome::Remint(whole())).await;
    let mut ahead = with_roles(rotation(&session, soon()), &["admin"]);
    ahead.presented.generation += 1;
    ahead.presented.hash = TokenHash::of("of a lost timeline");
    writes_nothing(store, &ahead, &RotateOutcome::Ahead).await;
    let expired = with_roles(rotation(&session, session.refresh.expires_at), &["admin"]);
    writes_nothing(store, &expired, &RotateOutcome::Expired).await;

    let counted = with_roles(replay(&session, soon()), &["admin"]);
    let outcomes = rotate_at_once(store, vec![counted]).await;
    let replayed = again(store, &session).await;
    assert_eq!(outcomes, [RotateOutcome::Replayed(Box::new(replayed.clone()))]);
    assert_eq!(replayed.previous.expect("one before").replays, 1);
    assert_eq!(roles_of(&replayed), ["user"]);

    let now = soon() + Duration::from_secs(1);
    let later = rotated(store, &rotation(&replayed, now)).await;
    let reuse = presenting(&later, token_of(&first.refresh), soon());
    let reuse = with_roles(reuse, &["admin"]);
    ends(store, &reuse, &RotateOutcome::Reused, RevokeReason::Reuse).await;
    assert_eq!(roles_of(&again(store, &later).await), ["user"]);
}

/// All callers are answered with those roles.
pub async fn case_41_many_rotations_at_once_store_the_roles_of_the_one_that_won(
    store: &dyn StoreUnderTest,
) {
    let session = adas_session(store).await;
    let requests: Vec<_> = (0..CALLERS)
        .map(|n| {
            let mut request = with_roles(rotation(&session, soon()), &[&format!("role-{n}")]);
            request.successor.hash = TokenHash::of(&format!("proposal {n}"));
            request.replay.counted = false;
            request
        })
        .collect();
    let outcomes = rotate_at_once(store, requests.clone()).await;
    let after = again(store, &session).await;
    let rotated = RotateOutcome::Rotated(Box::new(after.clone()));
    let replayed = RotateOutcome::Replayed(Box::new(after.clone()));
    assert_eq!(count(&outcomes, &rotated), 1, "{outcomes:?}");
    assert_eq!(count(&outcomes, &replayed), CALLERS - 1, "{outcomes:?}");
    let winner = outcomes.iter().position(|outcome| *outcome == rotated).expect("a winner");
    assert_eq!(after, succeeded(&session, &requests[winner], rotated_at(&after)));
    assert_eq!(roles_of(&after), [format!("role-{winner}")]);
}
