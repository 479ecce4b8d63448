//! The log of sessions and users whose access tokens must be refused.

use std::collections::HashSet;
use std::time::Duration;

use mintgate_domain::RotateOutcome;
use mintgate_domain::model::{
    Revocation, RevocationCursor, RevokeReason, Revoked, Session, SessionEnd, SessionId, Timestamp,
};
use mintgate_domain::ports::{
    LogoutOrder, ProviderLogoutOutcome, RevocationPage, SessionChange, SweepStep, UserChange,
};

use super::identities::{elsewhere, link};
use super::{RACERS, adas_session, at_once, rotate, rotated, soon, stored};
use crate::openings::{NOW, Openings, identity};
use crate::rotations::{presenting, rotation, token_of};
use crate::store_under_test::{StoreUnderTest, Stores};

const HOUR: Duration = Duration::from_hours(1);

async fn page(
    store: &Stores,
    after: Option<&RevocationCursor>,
    limit: u32,
) -> Option<RevocationPage> {
    store.revocations.revocations(after, soon(), limit).await.expect("an answer")
}

/// Everything behind `after`, read so many at a time, and the cursor behind it.
async fn follow(
    store: &Stores,
    mut after: Option<RevocationCursor>,
    limit: u32,
) -> (Vec<Revocation>, RevocationCursor) {
    let mut events = Vec::new();
    loop {
        let page = page(store, after.as_ref(), limit).await.expect("a cursor of this log");
        assert!(page.events.len() <= limit.try_into().expect("a small limit"));
        events.extend(page.events);
        if !page.more {
            return (events, page.cursor);
        }
        after = Some(page.cursor);
    }
}

async fn logged(store: &Stores) -> HashSet<Revoked> {
    let (events, _) = follow(store, None, 100).await;
    let revoked: HashSet<_> = events.iter().map(|event| event.revoked).collect();
    assert_eq!(revoked.len(), events.len(), "each once: {events:?}");
    revoked
}

fn of_sessions(sessions: &[&Session]) -> HashSet<Revoked> {
    sessions.iter().map(|session| Revoked::Session(session.id)).collect()
}

async fn end(store: &Stores, session: &Session, reason: RevokeReason) {
    let ended = store.sessions.repo.end_session(session.id, session.user, reason, soon()).await;
    ended.expect("an outcome");
}

/// A single end is logged once, whatever its reason; what has ended before, is unknown or is refreshed is
/// not.
pub async fn the_end_of_a_session_is_logged_once(store: &dyn StoreUnderTest) {
    let (stores, openings) = (store.store(), Openings::default());
    let ada = stored(store, &openings.new_user(identity("ada"))).await;
    let bob = stored(store, &openings.new_user(identity("bob"))).await;
    let ada = rotated(store, &rotation(&ada, soon())).await;
    assert_eq!(logged(&stores).await, HashSet::new());

    end(&stores, &ada, RevokeReason::Logout).await;
    end(&stores, &ada, RevokeReason::Admin).await;
    let of_another = Session { user: ada.user, ..bob.clone() };
    end(&stores, &of_another, RevokeReason::Admin).await;
    let unknown = Session { id: SessionId::from_uuid(uuid::Uuid::nil()), ..bob.clone() };
    end(&stores, &unknown, RevokeReason::Admin).await;
    assert_eq!(logged(&stores).await, of_sessions(&[&ada]));

    let seen = stores.sessions.repo.load(bob.id).await.expect("an answer").expect("a session");
    let reuse = SessionEnd { at: soon(), reason: RevokeReason::Reuse };
    for _ in 0..2 {
        let change = SessionChange::End(reuse);
        stores.sessions.repo.replace(&seen.session, change).await.expect("an answer");
    }
    assert_eq!(logged(&stores).await, of_sessions(&[&ada, &bob]));
}

/// A token of two generations before ends its session, which is logged.
pub async fn a_reused_token_is_logged(store: &dyn StoreUnderTest) {
    let first = adas_session(store).await;
    let second = rotated(store, &rotation(&first, soon())).await;
    rotated(store, &rotation(&second, soon())).await;
    let reuse = presenting(&second, token_of(&first.refresh), soon());
    assert_eq!(rotate(store, &reuse).await, RotateOutcome::Reused);
    assert_eq!(logged(&store.store()).await, of_sessions(&[&first]));
}

/// Ending all sessions of a user, disabling and deleting log the epoch that the user has from then on.
pub async fn an_end_of_all_is_logged_by_its_epoch(store: &dyn StoreUnderTest) {
    let (stores, openings) = (store.store(), Openings::default());
    let ada = stored(store, &openings.new_user(identity("ada"))).await;
    let other = stored(store, &openings.new_user(identity("bob"))).await;
    let user = |epoch| Revoked::User { user: ada.user, epoch };
    let reason = RevokeReason::Logout;
    stores.sessions.end_all(ada.user, reason, soon()).await.expect("a number");
    let mut expected = of_sessions(&[&ada]);
    expected.insert(user(1));
    assert_eq!(logged(&stores).await, expected);

    let disabled = stores.disable_user(ada.user, soon()).await.expect("an outcome");
    assert_eq!(disabled, (UserChange::Changed, 0));
    expected.insert(user(2));
    assert_eq!(logged(&stores).await, expected);

    let deleted = stores.delete_user(ada.user, soon(), soon() + HOUR).await.expect("an outcome");
    assert_eq!(deleted, (UserChange::Changed, 0));
    assert!(logged(&stores).await.is_superset(&expected));
    assert!(logged(&stores).await.contains(&user(3)));

    // The sessions of one who is deleted go with the user.
    stores.delete_user(other.user, soon(), soon() + HOUR).await.expect("an outcome");
    assert!(logged(&stores).await.contains(&Revoked::User { user: other.user, epoch: 1 }));
}

/// A provider's order and an unlinking log the sessions that they end, and no other.
pub async fn what_a_provider_or_an_unlinking_ends_is_logged(store: &dyn StoreUnderTest) {
    let (stores, openings) = (store.store(), Openings::default());
    let ada = stored(store, &openings.new_user(identity("ada"))).await;
    let mut within = openings.new_user(identity("bob"));
    within.session.upstream_sid = Some("s1".to_owned());
    let bob = stored(store, &within).await;
    stored(store, &openings.new_user(identity("eve"))).await;
    for (number, (subject, session)) in
        [(Some("ada"), None), (None, Some("s1")), (Some("ada"), None)].into_iter().enumerate()
    {
        let order = LogoutOrder {
            issuer: identity("").issuer,
            subject: subject.map(str::to_owned),
            session: session.map(str::to_owned),
            id: mintgate_domain::TokenHash::of(&number.to_string()),
            expires_at: NOW + HOUR,
        };
        let ended = stores.sessions.end_by_provider(&order, soon()).await.expect("an outcome");
        assert_eq!(ended, ProviderLogoutOutcome::Ended(u64::from(number < 2)));
    }
    assert_eq!(logged(&stores).await, of_sessions(&[&ada, &bob]));

    let again = stored(store, &openings.existing_with(ada.user, identity("ada"))).await;
    link(store, ada.user, &elsewhere("ada"), None).await;
    let kept = stored(store, &openings.existing_with(ada.user, elsewhere("ada"))).await;
    let unlinked = stores
        .sessions
        .unlink(ada.user, &identity("ada"), kept.id, RevokeReason::Logout, soon())
        .await;
    unlinked.expect("an outcome");
    assert_eq!(logged(&stores).await, of_sessions(&[&ada, &bob, &again]));
}

/// What a session's own limits end is not logged: its access tokens have expired with it.
pub async fn what_expires_is_not_logged(store: &dyn StoreUnderTest) {
    let session = adas_session(store).await;
    let (now, keep_ended) = (session.absolute_expires_at, HOUR);
    let step = SweepStep { after: None, limit: 10, now, keep_ended };
    let swept = store.store().housekeeping.sweep(&step).await.expect("a step");
    assert_eq!(swept.expired_idle, 1);
    assert_eq!(logged(&store.store()).await, HashSet::new());
}

/// However small the pages, each entry comes once and in one order; a cursor goes on where it stopped.
pub async fn the_log_is_read_in_pages(store: &dyn StoreUnderTest) {
    let (stores, openings) = (store.store(), Openings::default());
    let mut sessions = Vec::new();
    for _ in 0..7 {
        let session =
            stored(store, &openings.new_user(identity(&sessions.len().to_string()))).await;
        end(&stores, &session, RevokeReason::Logout).await;
        sessions.push(Revoked::Session(session.id));
    }
    for limit in [1, 2, 3, 7, 100] {
        let (events, cursor) = follow(&stores, None, limit).await;
        let revoked: Vec<_> = events.iter().map(|event| event.revoked).collect();
        assert_eq!(revoked, sessions, "{limit} at a time");
        assert_eq!(follow(&stores, Some(cursor.clone()), limit).await, (vec![], cursor));
    }
    let first = page(&stores, None, 3).await.expect("a page");
    assert!(first.more);
    let (rest, _) = follow(&stores, Some(first.cursor), 2).await;
    assert_eq!(rest.len(), 4);
}

/// Whatever order sessions end in at once, one who follows meanwhile misses none and sees none twice.
pub async fn one_who_follows_misses_nothing(store: &dyn StoreUnderTest) {
    let (stores, openings) = (store.store(), Openings::default());
    let mut sessions = Vec::new();
    for number in 0..RACERS {
        sessions.push(stored(store, &openings.new_user(identity(&number.to_string()))).await);
    }
    let expected = of_sessions(&sessions.iter().collect::<Vec<_>>());
    let following = tokio::spawn({
        let (stores, wanted) = (stores.clone(), expected.len());
        async move {
            let (mut seen, mut after) = (Vec::new(), None);
            while seen.len() < wanted {
                let (events, cursor) = follow(&stores, after, 3).await;
                seen.extend(events.into_iter().map(|event| event.revoked));
                after = Some(cursor);
                tokio::task::yield_now().await;
            }
            (seen, after)
        }
    });
    at_once(store, sessions, |stores, session| async move {
        end(&stores, &session, RevokeReason::Logout).await;
    })
    .await;
    let (seen, after) = following.await.expect("all of them");
    assert_eq!(seen.len(), expected.len(), "{seen:?}");
    assert_eq!(seen.into_iter().collect::<HashSet<_>>(), expected);
    assert_eq!(follow(&stores, after.clone(), 10).await.0, []);
}

/// A cursor of another log, of the future, or of no log at all is not taken for one behind which nothing is.
pub async fn a_place_that_the_log_does_not_have_is_lost(store: &dyn StoreUnderTest) {
    let stores = store.store();
    let session = adas_session(store).await;
    end(&stores, &session, RevokeReason::Logout).await;
    let (_, cursor) = follow(&stores, None, 10).await;
    let text = cursor.as_str();
    let (log, position) = text.rsplit_once('.').expect("a position");
    let later = position.parse::<u64>().expect("a number") + 1_000_000_000_000_000;
    for lost in [
        format!("{log}.{later}"),
        format!("x{text}"),
        format!("{text}0x"),
        "x".into(),
        "0.0".into(),
    ] {
        let cursor = RevocationCursor::parse(&lost).expect("a proper cursor");
        assert_eq!(page(&stores, Some(&cursor), 10).await, None, "{lost}");
    }
    assert!(page(&stores, Some(&cursor), 10).await.is_some());
}

/// After a restore every cursor is lost, and everything from before it is revoked by one entry.
pub async fn a_restore_begins_the_log_anew(store: &dyn StoreUnderTest) {
    let stores = store.store();
    let session = adas_session(store).await;
    end(&stores, &session, RevokeReason::Logout).await;
    let (_, before) = follow(&stores, None, 10).await;
    let beginning = page(&stores, None, 1).await.expect("a page").cursor;
    let epoch = stores.sessions.users.raise_restore_epoch(soon()).await.expect("an epoch");
    for cursor in [before, beginning] {
        assert_eq!(page(&stores, Some(&cursor), 10).await, None, "{cursor}");
    }
    let issued_before = Timestamp::from_unix(i64::try_from(epoch).expect("a time") + 1);
    let mut expected = of_sessions(&[&session]);
    expected.insert(Revoked::IssuedBefore(issued_before));
    assert_eq!(logged(&stores).await, expected);
    let (_, after) = follow(&stores, None, 10).await;
    assert_eq!(follow(&stores, Some(after), 10).await.0, []);
}

/// The clean-up deletes what is to be forgotten; a cursor from before goes on behind it.
pub async fn what_is_to_be_forgotten_goes_and_no_cursor_is_too_old(store: &dyn StoreUnderTest) {
    let (stores, openings) = (store.store(), Openings::default());
    let ada = stored(store, &openings.new_user(identity("ada"))).await;
    let bob = stored(store, &openings.new_user(identity("bob"))).await;
    end(&stores, &ada, RevokeReason::Logout).await;
    let first = page(&stores, None, 1).await.expect("a page");
    let forget_after = first.events[0].forget_after;
    assert!(forget_after > soon(), "{forget_after}");
    let unread = stores.revocations.revocations(None, forget_after, 10).await.expect("an answer");
    assert_eq!(unread.expect("a page").events, [], "it need not be swept to be forgotten");

    // Of what is to be kept longer, nothing goes.
    stores.revocations.keep_revocations_for(48 * HOUR).await.expect("an answer");
    end(&stores, &bob, RevokeReason::Logout).await;
    let sweep = |now| {
        let (stores, keep_ended) = (stores.clone(), 1000 * HOUR);
        async move {
            let step = SweepStep { after: None, limit: 10, now, keep_ended };
            stores.housekeeping.sweep(&step).await.expect("a step")
        }
    };
    sweep(forget_after - Duration::from_secs(1)).await;
    assert_eq!(logged(&stores).await, of_sessions(&[&ada, &bob]));
    sweep(forget_after).await;
    assert_eq!(logged(&stores).await, of_sessions(&[&bob]));
    let (events, _) = follow(&stores, Some(first.cursor), 10).await;
    assert_eq!(events.len(), 1);
}

/// How long entries are kept: as the longest time that somebody has said lately.
pub async fn the_log_keeps_as_long_as_the_longest_tokens_live(store: &dyn StoreUnderTest) {
    let (stores, openings) = (store.store(), Openings::default());
    let mut kept = Vec::new();
    for (number, lifetime) in [100 * HOUR, 200 * HOUR, 150 * HOUR].into_iter().enumerate() {
        stores.revocations.keep_revocations_for(lifetime).await.expect("an answer");
        let session = stored(store, &openings.new_user(identity(&number.to_string()))).await;
        end(&stores, &session, RevokeReason::Logout).await;
        let (events, _) = follow(&stores, None, 10).await;
        kept.push(events.last().expect("an event").forget_after.as_unix());
    }
    let hundred = i64::try_from((100 * HOUR).as_secs()).expect("a small number");
    let slack = 600;
    assert!((kept[1] - kept[0] - hundred).abs() < slack, "{kept:?}");
    assert!((kept[2] - kept[1]).abs() < slack, "{kept:?}");
}
