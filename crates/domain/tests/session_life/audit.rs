//! What use cases note in the audit log, and what they do when it cannot be written.

use std::sync::atomic::Ordering;

use mintgate_domain::model::{Actor, AuditEvent, AuditKind, PersonalData, UserId};
use mintgate_domain::ports::{EndOutcome, UserChange};
use mintgate_domain::{AdministrationError, SessionProof};
use uuid::Uuid;

use super::administration::{administration, rigs};
use super::rig::{DAY, Rig, presented, request, with_code};

fn operator() -> Actor {
    Actor::Operator("root".to_owned())
}

/// The last event, which must be of this kind.
fn last(rig: &Rig, kind: AuditKind) -> AuditEvent {
    let event = rig.audit.events().pop().expect("an event");
    assert_eq!(event.kind, kind, "{event:?}");
    event
}

#[tokio::test]
async fn a_login_is_noted_once_with_user_session_identity_and_provider() {
    let rig = Rig::new();
    let request = request("ada-1", Some(("key", "body")));
    let tokens = rig.issue.issue(&request).await.unwrap();
    let event = last(&rig, AuditKind::Login);
    assert_eq!((event.user, event.session), (Some(tokens.user), Some(tokens.session)));
    assert_eq!(event.actor, Actor::User);
    assert_eq!(event.issuer.as_deref(), Some("https://idp.example.com"));
    assert_eq!(event.personal.subject.as_deref(), Some("ada"));
    assert_eq!(event.details["provider"], "corp");
    assert_eq!(event.at, rig.now());
    rig.issue.issue(&request).await.unwrap();
    assert_eq!(rig.audit.kinds(), [AuditKind::Login], "a repetition is no login");
}

#[tokio::test]
async fn somebody_who_is_vouched_for_and_not_let_in_is_noted_and_a_bad_code_is_not() {
    let rig = Rig::new();
    let tokens = rig.sign_in("ada-1").await;
    administration(&rig).disable(tokens.user).await.unwrap();
    let noted = rig.audit.events().len();
    rig.issue.issue(&request("ada-2", None)).await.unwrap_err();
    let event = last(&rig, AuditKind::LoginDenied);
    assert_eq!(event.user, Some(tokens.user));
    assert_eq!(event.personal.subject.as_deref(), Some("ada"));
    assert!(event.details["reason"].contains("disabled"), "{event:?}");
    rig.provider.refuses.store(true, Ordering::SeqCst);
    rig.issue.issue(&request("ada-3", None)).await.unwrap_err();
    assert_eq!(rig.audit.events().len(), noted + 1);
}

#[tokio::test]
async fn a_reused_token_is_noted_with_the_generation_shown_and_the_current_one() {
    for rig in rigs() {
        let first = rig.sign_in("ada-1").await;
        let second = rig.refresh(&first.refresh).await.unwrap();
        let third = rig.refresh(&second.refresh).await.unwrap();
        rig.refresh(&third.refresh).await.unwrap();
        assert_eq!(rig.audit.kinds(), [AuditKind::Login], "a refresh writes nothing");
        rig.clock.advance(DAY);
        rig.refresh(&second.refresh).await.unwrap_err();
        let event = last(&rig, AuditKind::RefreshReused);
        assert_eq!((event.user, event.session), (Some(first.user), Some(first.session)));
        assert_eq!(event.details["shown_generation"], "1");
        assert_eq!(event.details["current_generation"], "3");
        assert_eq!(event.details["current_since"], (rig.now() - DAY).to_string());
        rig.refresh(&second.refresh).await.unwrap_err();
        assert_eq!(rig.audit.events().len(), 2, "an ended session is not ended again");
    }
}

#[tokio::test]
async fn what_people_end_themselves_is_noted_where_something_ended() {
    let rig = Rig::new();
    let (one, two) = (rig.sign_in("ada-1").await, rig.sign_in("ada-2").await);
    let proof = SessionProof::Refresh(presented(&one.refresh));
    for _ in 0..2 {
        rig.own.log_out(&proof).await.unwrap();
    }
    let event = last(&rig, AuditKind::Logout);
    assert_eq!((event.user, event.session), (Some(one.user), Some(one.session)));
    assert_eq!(rig.audit.events().len(), 3);

    let three = rig.sign_in("ada-3").await;
    rig.own.end(&presented(&two.access), three.session).await.unwrap();
    assert_eq!(last(&rig, AuditKind::SessionEnded).session, Some(three.session));
    rig.own.log_out_everywhere(&presented(&two.access)).await.unwrap();
    let event = last(&rig, AuditKind::LogoutAll);
    assert_eq!((event.user, event.session), (Some(two.user), Some(two.session)));
    assert_eq!(event.details["sessions_ended"], "1");
}

#[tokio::test]
async fn linking_and_unlinking_are_noted_with_the_identity() {
    let rig = Rig::new();
    let ada = rig.sign_in("ada-1").await;
    let mut sign_in = with_code("second-1");
    sign_in.code_verifier = Some(mintgate_domain::CodeVerifier::new("v".repeat(43)));
    let (_, linked) = rig.identities.link(&presented(&ada.access), &sign_in).await.unwrap();
    let event = last(&rig, AuditKind::IdentityLinked);
    assert_eq!(event.user, Some(ada.user));
    assert_eq!(event.personal.subject.as_deref(), Some("second"));
    rig.identities.unlink(&presented(&ada.access), linked.identity.short_name()).await.unwrap();
    let event = last(&rig, AuditKind::IdentityUnlinked);
    assert_eq!(event.personal.subject.as_deref(), Some("second"));
}

#[tokio::test]
async fn operators_changes_are_noted_with_who_made_them_and_nothing_where_nothing_changed() {
    for rig in rigs() {
        let administration = administration(&rig);
        let ada = rig.sign_in("ada-1").await;
        let user = ada.user;
        for _ in 0..2 {
            administration.grant_role(user, "admin").await.unwrap();
        }
        let event = last(&rig, AuditKind::RoleGranted);
        assert_eq!((event.user, event.actor), (Some(user), operator()));
        assert_eq!(event.details["role"], "admin");
        for _ in 0..2 {
            administration.revoke_role(user, "admin").await.unwrap();
        }
        assert_eq!(last(&rig, AuditKind::RoleRevoked).details["role"], "admin");
        administration.enable(user).await.unwrap();
        assert_eq!(rig.audit.events().len(), 3, "nobody was disabled");

        let token = Actor::AdminToken("ops".to_owned());
        let by_token = administration.by(token.clone());
        assert_eq!(by_token.end_session(ada.session).await, Ok((user, EndOutcome::Ended)));
        by_token.end_session(ada.session).await.unwrap();
        let event = last(&rig, AuditKind::SessionEnded);
        assert_eq!((event.session, event.actor), (Some(ada.session), token));
        administration.end_all(user).await.unwrap();
        last(&rig, AuditKind::SessionsEnded);
        administration.disable(user).await.unwrap();
        last(&rig, AuditKind::UserDisabled);
        administration.enable(user).await.unwrap();
        last(&rig, AuditKind::UserEnabled);
        administration.export(user).await.unwrap();
        last(&rig, AuditKind::UserExported);
        let deleted = administration.delete(user).await.unwrap();
        assert!(deleted.is_forgotten);
        let event = last(&rig, AuditKind::UserDeleted);
        assert_eq!(event.user, Some(user));
        assert_eq!(event.personal, PersonalData::default());
        assert_eq!(rig.audit.forgotten().len(), 1);
        assert_eq!(rig.audit.events().len(), 9);
    }
}

#[tokio::test]
async fn without_an_audit_log_rights_are_taken_away_and_none_are_given() {
    for rig in rigs() {
        let administration = administration(&rig);
        let (ada, bob) = (rig.sign_in("ada-1").await, rig.sign_in("bob-1").await);
        administration.disable(bob.user).await.unwrap();
        administration.grant_role(ada.user, "admin").await.unwrap();
        rig.audit.set_unwritable();
        let refused =
            |error: AdministrationError| matches!(error, AdministrationError::NotNoted(_));

        assert!(refused(administration.grant_role(ada.user, "root").await.unwrap_err()));
        assert_eq!(last(&rig, AuditKind::ActFailed).details["act"], "role_granted");
        assert!(refused(administration.enable(bob.user).await.unwrap_err()));
        let account = administration.account(bob.user).await.unwrap();
        assert!(account.user.disabled_at.is_some());

        let changed = Ok(UserChange::Changed);
        assert_eq!(administration.revoke_role(ada.user, "admin").await, changed);
        let account = administration.account(ada.user).await.unwrap();
        assert_eq!(account.user.granted_roles, []);
        assert_eq!(
            administration.end_session(ada.session).await,
            Ok((ada.user, EndOutcome::Ended))
        );
        assert_eq!(administration.disable(ada.user).await.unwrap().0, UserChange::Changed);
        assert!(!administration.delete(ada.user).await.unwrap().is_forgotten);
        assert!(administration.account(ada.user).await.is_err());
        rig.sign_in("carol-1").await;
        last(&rig, AuditKind::Login);
    }
}

#[tokio::test]
async fn a_change_of_nobody_is_not_noted() {
    let rig = Rig::new();
    let administration = administration(&rig);
    let nobody = UserId::from_uuid(Uuid::from_u128(7));
    let refused = administration.grant_role(nobody, "admin").await;
    assert_eq!(refused, Err(AdministrationError::Nobody));
    assert_eq!(rig.audit.events(), [], "nobody is found out before");
}
