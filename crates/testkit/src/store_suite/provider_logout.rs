//! Providers' orders to end sessions.

use std::time::Duration;

use mintgate_domain::model::{
    ExternalIdentity, RevokeReason, Session, SessionEnd, SingleUse, Timestamp,
};
use mintgate_domain::ports::{
    LinkOutcome, LogoutOrder, OpenOutcome, ProviderLogoutOutcome, SweepStep,
};
use mintgate_domain::{RotateOutcome, TokenHash};

use super::identities::{elsewhere, link};
use super::sign_in::near_misses;
use super::{
    CALLERS, again, at_once, count, ended, known_user, no_refresh_works, open, rotate_at_once,
    rotated, soon, stored, writes_nothing,
};
use crate::openings::{NOW, Opening, Openings, identity, single_use};
use crate::rotations::rotation;
use crate::store_under_test::{StoreCalls as _, StoreUnderTest};

const SECOND: Duration = Duration::from_secs(1);

/// How sessions end here.
fn ordered() -> SessionEnd {
    SessionEnd { at: soon(), reason: RevokeReason::ProviderLogout }
}

/// Of the provider where [`identity`] is known.
fn order(name: &str, subject: Option<&str>, session: Option<&str>) -> LogoutOrder {
    LogoutOrder {
        issuer: identity("").issuer,
        subject: subject.map(str::to_owned),
        session: session.map(str::to_owned),
        id: TokenHash::of(&format!("logout-token-{name}")),
        expires_at: NOW + Duration::from_mins(2),
    }
}

/// Signed in within this session at the provider.
fn within(mut opening: Opening, upstream_sid: &str) -> Opening {
    opening.session.upstream_sid = Some(upstream_sid.to_owned());
    opening
}

async fn carry_out(store: &dyn StoreUnderTest, order: &LogoutOrder) -> ProviderLogoutOutcome {
    store.store().sessions.end_by_provider(order, soon()).await.expect("an outcome")
}

/// Carries it out; all those sessions end and none of the others.
async fn ends(
    store: &dyn StoreUnderTest,
    order: &LogoutOrder,
    to_end: &[&Session],
    untouched: &[&Session],
) {
    let marks = store.dump().await.rows("single_use_marks").len();
    let number = u64::try_from(to_end.len()).expect("a small number");
    assert_eq!(carry_out(store, order).await, ProviderLogoutOutcome::Ended(number), "{order:?}");
    for session in to_end {
        assert_eq!(again(store, session).await, ended(session, ordered()), "{order:?}");
        let revoked = RotateOutcome::Revoked(RevokeReason::ProviderLogout);
        writes_nothing(store, &rotation(session, soon()), &revoked).await;
    }
    for session in untouched {
        assert_eq!(again(store, session).await, **session, "{order:?}");
    }
    assert_eq!(store.dump().await.rows("single_use_marks").len(), marks + 1);
}

/// All sessions signed in with that identity end, within any session at the provider; sessions of
/// the user's other identities go on.
pub async fn an_order_about_a_subject_ends_its_live_sessions(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let first = stored(store, &openings.new_user(identity("ada"))).await;
    let user = first.user;
    assert_eq!(link(store, user, &elsewhere("ada"), None).await, LinkOutcome::Linked);
    assert_eq!(link(store, user, &identity("bob"), None).await, LinkOutcome::Linked);
    let second = stored(store, &within(openings.existing(user), "s-1")).await;
    let second = rotated(store, &rotation(&second, soon())).await;
    let elsewhere = stored(store, &openings.existing_with(user, elsewhere("ada"))).await;
    let as_bob = stored(store, &within(openings.existing_with(user, identity("bob")), "s-1")).await;
    let eve = stored(store, &openings.new_user(identity("eve"))).await;

    let untouched = [&elsewhere, &as_bob, &eve];
    ends(store, &order("1", Some("ada"), None), &[&first, &second], &untouched).await;
}

/// Sessions of any subject in that session at the provider end; not those in a session of the same
/// name at another provider, nor those without one.
pub async fn an_order_about_a_session_ends_what_was_opened_in_it(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let first = stored(store, &within(openings.new_user(identity("ada")), "s-1")).await;
    let user = first.user;
    let second = stored(store, &within(openings.existing(user), "s-1")).await;
    let second = rotated(store, &rotation(&second, soon())).await;
    let bob = stored(store, &within(openings.new_user(identity("bob")), "s-1")).await;
    let another = stored(store, &within(openings.existing(user), "s-2")).await;
    let outside = stored(store, &openings.existing(user)).await;
    assert_eq!(link(store, user, &elsewhere("ada"), None).await, LinkOutcome::Linked);
    let opening = openings.existing_with(user, elsewhere("ada"));
    let elsewhere = stored(store, &within(opening, "s-1")).await;

    let untouched = [&another, &outside, &elsewhere];
    ends(store, &order("1", None, Some("s-1")), &[&first, &second, &bob], &untouched).await;
}

/// The subject's sessions in that session at the provider end, and those of the subject whose
/// session at the provider is not known; no others.
pub async fn an_order_about_both_ends_what_is_both_or_may_be(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let both = stored(store, &within(openings.new_user(identity("ada")), "s-1")).await;
    let another = stored(store, &within(openings.existing(both.user), "s-2")).await;
    let outside = stored(store, &openings.existing(both.user)).await;
    let bob = stored(store, &within(openings.new_user(identity("bob")), "s-1")).await;
    let untouched = [&another, &bob];
    ends(store, &order("1", Some("ada"), Some("s-1")), &[&both, &outside], &untouched).await;
    ends(store, &order("2", Some("bob"), Some("s-2")), &[], &untouched).await;
}

/// The time and the reason of an earlier end stay.
pub async fn an_order_leaves_what_has_ended_or_run_out_as_it_was(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let live = stored(store, &within(openings.new_user(identity("ada")), "s-1")).await;
    let over = stored(store, &within(openings.existing(live.user), "s-1")).await;
    let (reason, at) = (RevokeReason::Admin, soon() - SECOND);
    store.store().sessions.repo.end_session(over.id, over.user, reason, at).await.expect("an end");
    let over = again(store, &over).await;
    let mut run_out = within(openings.existing(live.user), "s-1");
    run_out.session.refresh.expires_at = soon();
    let run_out = stored(store, &run_out).await;

    let untouched = [&over, &run_out];
    ends(store, &order("1", Some("ada"), Some("s-1")), &[&live], &untouched).await;
    let live = again(store, &live).await;
    for (name, subject, session) in [("2", Some("ada"), None), ("3", None, Some("s-1"))] {
        ends(store, &order(name, subject, session), &[], &[&live, &over, &run_out]).await;
    }
}

/// Whether an order that names the second session is about the first.
type IsMeant = fn(&Session, &Session) -> bool;

/// Issuer, subject and session at the provider are compared byte for byte.
pub async fn case_30_an_order_is_compared_byte_for_byte(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let sids = ["S\u{e9}ssion", "Se\u{301}ssion", "s\u{e9}ssion", "S\u{e9}ssion ", "S\u{e9}ssion/"];
    let mut sessions = vec![];
    for near in near_misses() {
        for sid in sids {
            let opening = if sid == sids[0] {
                openings.new_user(near.clone())
            } else {
                let user = super::find(store, &near).await.expect("a user");
                openings.existing_with(user, near.clone())
            };
            sessions.push(stored(store, &within(opening, sid)).await);
        }
    }
    // One order of each kind, the one about a single session first.
    let ExternalIdentity { issuer, subject } = near_misses()[0].clone();
    let orders: [(_, _, IsMeant); 3] = [
        (Some(&*subject), Some(sids[1]), |s, t| {
            s.identity == t.identity && s.upstream_sid == t.upstream_sid
        }),
        (Some(&*subject), None, |s, t| s.identity == t.identity),
        (None, Some(sids[1]), |s, t| {
            s.identity.issuer == t.identity.issuer && s.upstream_sid == t.upstream_sid
        }),
    ];
    let named = sessions[1].clone();
    for (n, (subject, session, is_meant)) in orders.into_iter().enumerate() {
        let order = order(&n.to_string(), subject, session);
        let order = LogoutOrder { issuer: issuer.clone(), ..order };
        let is_meant = |session: &Session| session.end.is_none() && is_meant(session, &named);
        let (to_end, untouched): (Vec<_>, Vec<_>) =
            sessions.iter().partition(|session| is_meant(session));
        assert!(!to_end.is_empty());
        ends(store, &order, &to_end, &untouched).await;
        for session in &mut sessions {
            *session = again(store, session).await;
        }
    }
}

/// The order's mark is stored, so that it does not end the sessions of somebody who signs in later.
pub async fn an_order_about_nobody_ends_nothing_and_counts_once(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let eve = stored(store, &openings.new_user(identity("eve"))).await;
    let order = order("1", Some("ada"), Some("s-1"));
    ends(store, &order, &[], &[&eve]).await;
    let ada = stored(store, &within(openings.new_user(identity("ada")), "s-1")).await;
    let before = store.dump().await;
    assert_eq!(carry_out(store, &order).await, ProviderLogoutOutcome::Replayed);
    assert_eq!(store.dump().await, before);
    assert_eq!(again(store, &ada).await, ada);
}

/// An order without subject and session, which no adapter lets through, does not end everything.
pub async fn an_order_that_names_nothing_ends_nothing(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = stored(store, &within(openings.new_user(identity("ada")), "s-1")).await;
    let outside = stored(store, &openings.existing(ada.user)).await;
    ends(store, &order("1", None, None), &[], &[&ada, &outside]).await;
}

/// A session that was opened after the order goes on.
pub async fn an_order_that_was_carried_out_before_writes_nothing(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let first = stored(store, &within(openings.new_user(identity("ada")), "s-1")).await;
    let order = order("1", Some("ada"), None);
    ends(store, &order, &[&first], &[]).await;
    let second = stored(store, &within(openings.existing(first.user), "s-1")).await;
    let before = store.dump().await;
    for now in [NOW, soon(), order.expires_at, order.expires_at + SECOND] {
        let outcome = store.store().sessions.end_by_provider(&order, now).await;
        assert_eq!(outcome, Ok(ProviderLogoutOutcome::Replayed));
    }
    assert_eq!(store.dump().await, before);
    // Another order about the same is another one.
    let another = LogoutOrder { id: TokenHash::of("another"), ..order };
    ends(store, &another, &[&second], &[]).await;
}

/// The other calls learn that the order has been carried out.
pub async fn an_order_many_times_at_once_is_carried_out_once(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let first = stored(store, &openings.new_user(identity("ada"))).await;
    let second = stored(store, &openings.existing(first.user)).await;
    let orders = vec![order("1", Some("ada"), None); CALLERS];
    let outcomes = at_once(store, orders, |store, order| async move {
        store.sessions.end_by_provider(&order, soon()).await.expect("an outcome")
    })
    .await;
    assert_eq!(count(&outcomes, &ProviderLogoutOutcome::Ended(2)), 1, "{outcomes:?}");
    let replayed = count(&outcomes, &ProviderLogoutOutcome::Replayed);
    assert_eq!(replayed, CALLERS - 1, "{outcomes:?}");
    for session in [first, second] {
        assert_eq!(again(store, &session).await, ended(&session, ordered()));
    }
    assert_eq!(store.dump().await.counts(), [1, 1, 1, 2]);
}

/// Where orders about subject and session overlap, the counts of ended sessions add up to what has
/// ended.
pub async fn several_orders_at_once_end_each_session_once(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let first = stored(store, &within(openings.new_user(identity("ada")), "s-0")).await;
    let mut sessions = vec![first];
    for n in 1..CALLERS {
        let opening = within(openings.existing(sessions[0].user), &format!("s-{}", n % 4));
        sessions.push(stored(store, &opening).await);
    }
    let orders = (0..CALLERS).map(|n| {
        let sid = format!("s-{}", n % 4);
        let (subject, session) =
            [(Some("ada"), None), (None, Some(sid.as_str())), (Some("ada"), Some(sid.as_str()))]
                [n % 3];
        order(&n.to_string(), subject, session)
    });
    let orders = orders.collect::<Vec<_>>();
    let outcomes = at_once(store, orders, |store, order| async move {
        store.sessions.end_by_provider(&order, soon()).await.expect("an outcome")
    })
    .await;
    let total: u64 = outcomes
        .iter()
        .map(|outcome| match outcome {
            ProviderLogoutOutcome::Ended(number) => *number,
            ProviderLogoutOutcome::Replayed => panic!("each came once: {outcomes:?}"),
        })
        .sum();
    assert_eq!(total, u64::try_from(CALLERS).expect("a small number"), "{outcomes:?}");
    for session in sessions {
        assert_eq!(again(store, &session).await, ended(&session, ordered()));
    }
}

/// Marks of sign-ins and of orders are one set: a mark that is stored counts for neither again.
pub async fn an_order_and_a_sign_in_with_one_mark_at_once_count_once(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    for round in 0..5 {
        let order = order(&round.to_string(), Some("nobody"), None);
        let mark = Some(SingleUse { hash: order.id, ..single_use("ada") });
        let sessions = store.dump().await.rows("sessions").len();
        let racers = (0..CALLERS).map(|n| {
            let mut opening = openings.existing(ada);
            opening.single_use = mark;
            if n % 2 == 0 { Ok(opening) } else { Err(order.clone()) }
        });
        let racers = racers.collect::<Vec<_>>();
        let outcomes = at_once(store, racers, |store, racer| async move {
            match racer {
                Ok(opening) => Ok(store.open_session(&opening).await.expect("an outcome")),
                Err(order) => {
                    Err(store.sessions.end_by_provider(&order, soon()).await.expect("an outcome"))
                }
            }
        })
        .await;
        let opened = count(&outcomes, &Ok(OpenOutcome::Opened));
        let carried_out = count(&outcomes, &Err(ProviderLogoutOutcome::Ended(0)));
        assert_eq!(opened + carried_out, 1, "{outcomes:?}");
        assert_eq!(store.dump().await.rows("sessions").len(), sessions + opened);
        assert_eq!(store.dump().await.rows("single_use_marks").len(), round + 1);
    }
}

/// This includes a refresh that was under way at the time.
pub async fn after_an_acknowledged_order_no_refresh_works(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let first = stored(store, &openings.new_user(identity("ada"))).await;
    let mut sessions = vec![first];
    for _ in 1..CALLERS {
        sessions.push(stored(store, &openings.existing(sessions[0].user)).await);
    }
    let requests = sessions.iter().map(|session| rotation(session, soon())).collect();
    let ordering = async {
        let outcome = carry_out(store, &order("1", Some("ada"), None)).await;
        let mut found = vec![];
        for session in &sessions {
            found.push(again(store, session).await);
        }
        (outcome, found)
    };
    let refreshing = rotate_at_once(store, requests);
    let (outcomes, (ordering, found)) = futures_util::future::join(refreshing, ordering).await;
    let all = u64::try_from(CALLERS).expect("a small number");
    assert_eq!(ordering, ProviderLogoutOutcome::Ended(all));
    for (session, outcome) in found.iter().zip(&outcomes) {
        no_refresh_works(store, session, outcome, ordered()).await;
    }
}

/// Each mark is deleted by a sweep after its own expiry.
pub async fn marks_of_links_and_orders_go_when_they_expire(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let session = stored(store, &openings.new_user(identity("ada"))).await;
    let mark = single_use("ada");
    let linked = link(store, session.user, &elsewhere("ada"), Some(mark)).await;
    assert_eq!(linked, LinkOutcome::Linked);
    let order = order("1", Some("nobody"), None);
    assert!(order.expires_at < mark.expires_at);
    assert_eq!(carry_out(store, &order).await, ProviderLogoutOutcome::Ended(0));

    let sweep = async |now: Timestamp| {
        let step = SweepStep { after: None, limit: 9, now, keep_ended: SECOND };
        store.store().housekeeping.sweep(&step).await.expect("what it did");
        store.dump().await.rows("single_use_marks").len()
    };
    assert_eq!(sweep(order.expires_at - SECOND).await, 2);
    assert_eq!(sweep(order.expires_at).await, 1);
    assert_eq!(carry_out(store, &order).await, ProviderLogoutOutcome::Ended(0), "forgotten");
    assert_eq!(sweep(mark.expires_at - SECOND).await, 1);
    let mut opening = openings.existing(session.user);
    opening.single_use = Some(mark);
    assert_eq!(open(store, &opening).await, OpenOutcome::Replayed);
    assert_eq!(sweep(mark.expires_at).await, 0);
    assert_eq!(open(store, &opening).await, OpenOutcome::Opened);
}
