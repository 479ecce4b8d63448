//! The providers' access tokens that are kept, and the refresh tokens that renew them.

use mintgate_domain::model::{
    KeptAccess, SealedToken, Session, SessionId, Timestamp, UpstreamTokens,
};
use mintgate_domain::ports::{ClaimedUpstream, UpstreamDue, UpstreamRenewal};

use super::upstream::{
    LEASE, SECOND, is_not_claimed, keep, loaded, refresh, sealed, token_of, with_token,
};
use super::{CALLERS, at_once, count, soon, stored};
use crate::openings::{NOW, Openings, identity};
use crate::store_under_test::StoreUnderTest;

/// An access token that is due at `soon()`.
fn access(name: &str) -> KeptAccess {
    let (expires_at, due_at) = (Some(soon() + LEASE), Some(soon()));
    KeptAccess {
        sealed: sealed(name),
        scope: Some("openid \"x\" é".to_owned()),
        expires_at,
        due_at,
    }
}

/// Claims the refresh token because the access token is due.
async fn claim_for_access(
    store: &dyn StoreUnderTest,
    session: SessionId,
    due: Timestamp,
) -> Option<ClaimedUpstream> {
    let due = UpstreamDue::Access(due);
    store
        .store()
        .upstream_tokens
        .claim_upstream(session, due, soon(), soon() + LEASE)
        .await
        .expect("an answer")
}

/// A session of this person with a refresh token and this access token.
async fn session_of(
    store: &dyn StoreUnderTest,
    openings: &Openings,
    who: &str,
    access: Option<KeptAccess>,
) -> Session {
    let mut opening = with_token(openings.new_user(identity(who)));
    opening.upstream.access = access;
    stored(store, &opening).await
}

/// The session of Ada, whose access token is the first.
async fn adas_session(store: &dyn StoreUnderTest, openings: &Openings) -> Session {
    session_of(store, openings, "ada", Some(access("first"))).await
}

/// Every column of an access token survives, and is replaced with the others or not at all.
pub async fn an_access_token_is_kept_and_replaced_as_a_whole(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let session = adas_session(store, &openings).await;
    let kept = async || loaded(store, session.id).await.access;
    assert_eq!(kept().await, Some(access("first")));
    let renewed = async |access: Option<KeptAccess>| {
        let tokens = UpstreamTokens { access, ..UpstreamTokens::default() };
        keep(store, session.id, &UpstreamRenewal { tokens, claimed_roles: None, at: soon() }).await;
    };
    renewed(None).await;
    assert_eq!(kept().await, Some(access("first")));
    let bare = KeptAccess { scope: None, expires_at: None, due_at: None, ..access("bare") };
    renewed(Some(bare.clone())).await;
    assert_eq!(kept().await, Some(bare));
    assert_eq!(loaded(store, session.id).await.refresh, Some(token_of(&session)));

    let mut alone = openings.new_user(identity("bob"));
    alone.upstream.access = Some(access("alone"));
    let alone = stored(store, &alone).await;
    assert_eq!(loaded(store, alone.id).await.access, Some(access("alone")));
    assert_eq!(claim_for_access(store, alone.id, soon()).await, None, "nothing to ask with");
}

/// Due to the second, or missing; and whenever the provider was last asked.
pub async fn a_refresh_token_is_claimed_when_the_access_token_is_due(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let session = adas_session(store, &openings).await;
    assert_eq!(claim_for_access(store, session.id, soon() - SECOND).await, None);
    let claimed = ClaimedUpstream { refresh: token_of(&session), asked_at: session.created_at };
    assert_eq!(claim_for_access(store, session.id, soon()).await, Some(claimed));
    // One claim for both purposes.
    assert_eq!(claim_for_access(store, session.id, soon()).await, None);
    is_not_claimed(store, session.id, soon(), soon()).await;

    let tokens = UpstreamTokens {
        access: Some(KeptAccess { due_at: Some(soon() + SECOND), ..access("second") }),
        ..refresh(sealed("rotated"))
    };
    keep(store, session.id, &UpstreamRenewal { tokens, claimed_roles: None, at: soon() }).await;
    assert_eq!(claim_for_access(store, session.id, soon()).await, None, "somebody has fetched it");
    let claimed = ClaimedUpstream { refresh: sealed("rotated"), asked_at: soon() };
    assert_eq!(claim_for_access(store, session.id, soon() + SECOND).await, Some(claimed));

    let without = session_of(store, &openings, "bob", None).await;
    assert!(claim_for_access(store, without.id, NOW - LEASE).await.is_some(), "none is due");
    let endless = KeptAccess { expires_at: None, due_at: None, ..access("endless") };
    let endless = session_of(store, &openings, "cyd", Some(endless)).await;
    assert_eq!(claim_for_access(store, endless.id, soon() + LEASE * 999).await, None);
}

/// The callers of both kinds together.
pub async fn rechecks_and_renewals_at_once_claim_one_refresh_token(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let session = adas_session(store, &openings).await;
    let id = session.id;
    let claims = at_once(store, 0..CALLERS, |store, n| async move {
        let due =
            if n % 2 == 0 { UpstreamDue::Access(soon()) } else { UpstreamDue::Recheck(soon()) };
        store
            .upstream_tokens
            .claim_upstream(id, due, soon(), soon() + LEASE)
            .await
            .expect("an answer")
    })
    .await;
    assert_eq!(count(&claims, &None), CALLERS - 1, "{claims:?}");
}

/// A claim that is given back can be had at once; another token is left alone.
pub async fn a_refresh_token_that_was_not_shown_is_released(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let session = adas_session(store, &openings).await;
    assert!(claim_for_access(store, session.id, soon()).await.is_some());
    let release = async |token: SealedToken| {
        assert_eq!(
            store.store().upstream_tokens.release_upstream(session.id, &token).await,
            Ok(())
        );
    };
    release(sealed("another")).await;
    assert_eq!(claim_for_access(store, session.id, soon()).await, None);
    release(token_of(&session)).await;
    assert!(claim_for_access(store, session.id, soon()).await.is_some());
    assert_eq!(loaded(store, session.id).await.access, Some(access("first")));
}

/// The refresh token that was refused goes, with the access token; the ID token and a refresh token that
/// has come since stay.
pub async fn tokens_that_were_refused_are_forgotten(store: &dyn StoreUnderTest) {
    let mut opening = with_token(Openings::default().new_user(identity("ada")));
    opening.upstream.access = Some(access("first"));
    opening.upstream.id = Some(sealed("id"));
    let expected = opening.upstream.clone();
    let session = stored(store, &opening).await;
    let forget = async |token: SealedToken| {
        assert_eq!(store.store().upstream_tokens.forget_upstream(session.id, &token).await, Ok(()));
        loaded(store, session.id).await
    };
    assert_eq!(forget(sealed("another")).await, expected);
    let left = UpstreamTokens { id: Some(sealed("id")), ..UpstreamTokens::default() };
    assert_eq!(forget(token_of(&session)).await, left);
    assert_eq!(forget(token_of(&session)).await, left);
    assert_eq!(claim_for_access(store, session.id, soon()).await, None);
    is_not_claimed(store, session.id, soon(), soon()).await;
}

/// Each token stays until the provider gives another of its kind.
pub async fn a_renewal_replaces_the_tokens_it_brings_and_no_other(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let session = stored(store, &with_token(openings.new_user(identity("ada")))).await;
    let other = stored(store, &with_token(openings.existing(session.user))).await;
    let id = |name: &str| UpstreamTokens { id: Some(sealed(name)), ..UpstreamTokens::default() };
    for (tokens, kept_refresh, kept_id) in [
        (id("id-1"), token_of(&session), "id-1"),
        (refresh(sealed("new")), sealed("new"), "id-1"),
        (UpstreamTokens::default(), sealed("new"), "id-1"),
        (id("id-2"), sealed("new"), "id-2"),
    ] {
        keep(store, session.id, &UpstreamRenewal { tokens, claimed_roles: None, at: soon() }).await;
        let expected = UpstreamTokens { refresh: Some(kept_refresh), ..id(kept_id) };
        assert_eq!(loaded(store, session.id).await, expected);
    }
    assert_eq!(loaded(store, other.id).await, refresh(token_of(&other)));
}
