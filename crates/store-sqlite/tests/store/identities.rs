//! Identities, providers' orders and providers' tokens where a statement fails, or the writer is busy.

use std::time::Duration;

use mintgate_domain::TokenHash;
use mintgate_domain::model::{
    NewIdentity, ProviderId, RevokeReason, SealedToken, Session, SessionId, UpstreamTokens,
};
use mintgate_domain::ports::{
    LinkOutcome, LogoutOrder, ProviderLogoutOutcome, RefreshTokenRepo, StoreError, UnlinkOutcome,
    UpstreamDue, UpstreamRenewal, UpstreamTokenRepo, UserDirectory,
};
use mintgate_testkit::openings::{NOW, Openings, identity, single_use};
use mintgate_testkit::{StoreCalls, StoreUnderTest};
use uuid::Uuid;

use crate::harness::{SqliteUnderTest, found, fresh_store, stored};

const MINUTE: Duration = Duration::from_mins(1);

fn another_identity() -> NewIdentity {
    NewIdentity { identity: identity("another"), provider: ProviderId::new("corp"), now: NOW }
}

fn order_about(session: &Session) -> LogoutOrder {
    LogoutOrder {
        issuer: session.identity.issuer.clone(),
        subject: Some(session.identity.subject.clone()),
        session: None,
        id: TokenHash::of("an order"),
        expires_at: NOW + MINUTE,
    }
}

/// A session with a provider's token.
async fn with_token(test: &SqliteUnderTest) -> Session {
    let mut opening = Openings::default().new_user(identity("ada"));
    opening.upstream.refresh = Some(SealedToken("sealed".to_owned()));
    test.store.open_session(&opening).await.unwrap();
    found(test, opening.session.id).await
}

#[tokio::test]
async fn an_unlinking_or_an_order_that_fails_halfway_has_done_nothing() {
    let test = fresh_store().await;
    let session = stored(&test).await;
    let linked = test.store.link_identity(session.user, &another_identity(), None).await;
    assert_eq!(linked, Ok(LinkOutcome::Linked));
    test.execute(
        "CREATE TRIGGER trouble_comes AFTER UPDATE ON sessions
            BEGIN SELECT RAISE(ABORT, 'forced'); END",
    );
    let before = test.dump().await;
    let (identity, other, reason) =
        (session.identity.clone(), another_identity().identity, RevokeReason::Logout);
    let nobody = SessionId::from_uuid(Uuid::nil());
    let unlink = || test.store.unlink_identity(session.user, &identity, nobody, reason, NOW);
    let order = order_about(&session);
    unlink().await.unwrap_err();
    test.store.end_provider_sessions(&order, NOW).await.unwrap_err();
    assert_eq!(test.dump().await, before);

    test.execute("DROP TRIGGER trouble_comes");
    let carried_out = test.store.end_provider_sessions(&order, NOW).await;
    assert_eq!(carried_out, Ok(ProviderLogoutOutcome::Ended(1)));
    assert_eq!(unlink().await, Ok(UnlinkOutcome::Unlinked { ended: 0 }));
    let found = test.store.find_user(&other).await.unwrap().unwrap();
    assert_eq!(found.user.id, session.user);
}

#[tokio::test]
async fn a_linking_that_fails_does_not_use_the_sign_in_up() {
    let test = fresh_store().await;
    let session = stored(&test).await;
    test.execute(
        "CREATE TRIGGER trouble_comes AFTER INSERT ON external_identities
            BEGIN SELECT RAISE(ABORT, 'forced'); END",
    );
    let before = test.dump().await;
    let mark = Some(single_use("ada"));
    let link = || async { test.store.link_identity(session.user, &another_identity(), mark).await };
    link().await.unwrap_err();
    assert_eq!(test.dump().await, before);
    test.execute("DROP TRIGGER trouble_comes");
    assert_eq!(link().await, Ok(LinkOutcome::Linked));
}

#[tokio::test]
async fn what_is_kept_of_a_renewal_is_kept_whole_or_not_at_all() {
    let test = fresh_store().await;
    let session = with_token(&test).await;
    test.execute(
        "CREATE TRIGGER trouble_comes AFTER UPDATE ON sessions
            BEGIN SELECT RAISE(ABORT, 'forced'); END",
    );
    let before = test.dump().await;
    let renewal = UpstreamRenewal {
        tokens: UpstreamTokens {
            refresh: Some(SealedToken("new".to_owned())),
            id: None,
            access: None,
        },
        claimed_roles: Some(vec![]),
        at: NOW,
    };
    test.store.keep_upstream(session.id, &renewal).await.unwrap_err();
    assert_eq!(test.dump().await, before);
}

#[tokio::test]
async fn asking_whether_a_token_is_due_does_not_wait_for_the_writer() {
    let test = fresh_store().await;
    let session = with_token(&test).await;
    let store = test.impatient();
    let locked = StoreError::Unavailable("database is locked".into());
    let claim =
        |due| store.claim_upstream(session.id, UpstreamDue::Recheck(due), NOW, NOW + MINUTE);
    test.execute("BEGIN IMMEDIATE");
    assert_eq!(claim(NOW - MINUTE).await, Ok(None));
    assert_eq!(claim(NOW).await, Err(locked.clone()));
    let linked = store.link_identity(session.user, &another_identity(), None).await;
    assert_eq!(linked, Err(locked.clone()));
    let ended = store.end_provider_sessions(&order_about(&session), NOW).await;
    assert_eq!(ended, Err(locked));
    assert_eq!(store.identities(session.user).await.unwrap().len(), 1, "reading goes on");
    assert!(store.load(session.id).await.unwrap().is_some());
    test.execute("ROLLBACK");
    let claimed = claim(NOW).await.unwrap().map(|claimed| claimed.refresh);
    assert_eq!(claimed, Some(SealedToken("sealed".to_owned())));
}
