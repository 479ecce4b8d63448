//! After a backup was restored: every session that was opened before ends, whatever is asked of it.

use mintgate_domain::model::{AuditKind, RevokeReason};
use mintgate_domain::ports::StoreError;
use mintgate_domain::{AdministrationError, AuthError, SignedToken};
use mintgate_testkit::StoreUnderTest as _;

use super::administration::{administration, rigs};
use super::introspection::client;
use super::rig::{AUDIENCE, Rig, presented, request};

const RESTORED: AuthError = AuthError::SessionRevoked(RevokeReason::Restored);

async fn is_active(rig: &Rig, token: &SignedToken) -> bool {
    let (client, token) = (client(AUDIENCE, true), presented(token));
    rig.introspection.introspect(&client, &token).await.expect("an answer").is_some()
}

#[tokio::test]
async fn nothing_of_a_session_before_the_restore_works() {
    for rig in rigs() {
        let repeatable = request("ada-1", Some(("key", "body")));
        let first = rig.issue.issue(&repeatable).await.unwrap();
        let second = rig.refresh(&first.refresh).await.unwrap();
        let bob = rig.sign_in("bob-1").await;
        rig.clock.advance(std::time::Duration::from_secs(1));
        let done = administration(&rig).restore_done().await.unwrap();
        assert_eq!((done.at, done.ended, done.is_counted), (rig.now(), 2, true));
        assert_eq!(rig.revocations(), [("restored", 2)]);

        for token in [&first.refresh, &second.refresh, &bob.refresh] {
            assert_eq!(rig.refresh(token).await.unwrap_err(), RESTORED);
            assert!(!is_active(&rig, token).await);
        }
        assert_eq!(rig.issue.issue(&repeatable).await.unwrap_err(), RESTORED);
        let access = presented(&second.access);
        assert_eq!(rig.own.me(&access).await.unwrap_err(), RESTORED);
        assert_eq!(rig.own.list(&access).await.unwrap_err(), RESTORED);
        assert!(!is_active(&rig, &second.access).await);
        assert_eq!(administration(&rig).show(first.user).await.unwrap().sessions, []);

        let later = rig.sign_in("ada-2").await;
        assert!(is_active(&rig, &later.access).await);
        rig.refresh(&later.refresh).await.unwrap();
        assert_eq!(rig.own.list(&presented(&later.access)).await.unwrap().1.len(), 1);
    }
}

#[tokio::test]
async fn a_restore_is_noted_under_an_id_that_says_when() {
    let rig = Rig::new();
    rig.sign_in("ada-1").await;
    let done = administration(&rig).restore_done().await.unwrap();
    let event = rig.audit.events().pop().expect("an event");
    assert_eq!((event.kind, event.at), (AuditKind::StoreRestored, done.at));
    assert_eq!(event.details["sessions_ended"], "1");
    let id = format!("restore-{}", done.at.as_unix());
    assert_eq!(event.request_id, Some(id));
}

#[tokio::test]
async fn sessions_that_cannot_be_counted_have_ended_all_the_same() {
    let [_, rig] = rigs();
    let ada = rig.sign_in("ada-1").await;
    let down = StoreError::Unavailable("down".into());
    rig.store.set_fault(Some(down.clone()));
    let done = administration(&rig).restore_done().await.unwrap();
    assert_eq!((done.ended, done.is_counted), (0, false));
    rig.store.set_fault(None);
    assert_eq!(rig.refresh(&ada.refresh).await.unwrap_err(), RESTORED);
    // Its row does not say so, and it is not live for an operator either.
    let record = administration(&rig).session(ada.session).await.unwrap().unwrap();
    assert_eq!(record.session.end, None);
    let end = record.end.expect("an end");
    assert_eq!((end.at, end.reason), (Some(done.at), RevokeReason::Restored));

    let before = rig.people.dump().await;
    rig.people.set_fault(Some(down));
    let refused = administration(&rig).restore_done().await;
    assert!(matches!(refused, Err(AdministrationError::InDoubt(_))), "{refused:?}");
    rig.people.set_fault(None);
    assert_eq!(rig.people.dump().await, before);
}
