//! People of another system, imported once and again.

use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::model::{
    Account, AuditKind, Ban, ExternalIdentity, ImportedUser, Profile, ProviderId, Role, Timestamp,
    UserId,
};
use mintgate_domain::ports::{PeopleImport as _, UserAdministration as _};
use mintgate_domain::{ImportClaims, ImportConflict, ImportPeople, ImportResult};
use mintgate_testkit::SeededEntropy;
use uuid::Uuid;

use super::administration::{administration, rigs};
use super::rig::{DAY, Rig};

const UNCHANGED: ImportResult = ImportResult::Unchanged;

fn import(rig: &Rig) -> ImportPeople {
    ImportPeople {
        people: Arc::new(rig.people.clone()),
        administration: administration(rig),
        entropy: Arc::new(SeededEntropy::new(7)),
    }
}

fn person(n: u128, subjects: &[&str]) -> ImportedUser {
    let identity = |subject: &&str| {
        let issuer = "https://old-idp.example.com".to_owned();
        let identity = ExternalIdentity { issuer, subject: (*subject).to_owned() };
        (identity, ProviderId::new("corp"))
    };
    ImportedUser {
        id: UserId::from_uuid(Uuid::from_u128(n)),
        former_ids: vec![format!("old-{n}")],
        identities: subjects.iter().map(identity).collect(),
        roles: vec![],
        profile: Profile::default(),
        ban: None,
        created_at: Timestamp::from_unix(1_700_000_000),
    }
}

/// One run over these people.
async fn run(rig: &Rig, people: &[ImportedUser], apply: bool) -> Vec<ImportResult> {
    let mut claims = ImportClaims::default();
    import(rig).import("old", &mut people.to_vec(), &mut claims, apply).await.unwrap()
}

async fn account(rig: &Rig, former: &str) -> Account {
    let id = mintgate_domain::model::FormerId { source: "old".to_owned(), id: former.to_owned() };
    let user = rig.people.find_former(&id).await.unwrap().unwrap();
    rig.people.account(user).await.unwrap().unwrap()
}

fn conflict(conflict: ImportConflict) -> ImportResult {
    ImportResult::Conflict(conflict)
}

#[tokio::test]
async fn a_second_run_changes_nothing_and_a_dry_run_never_does() {
    for rig in rigs() {
        let people = [person(1, &["a"]), person(2, &["b"]), person(3, &[])];
        assert_eq!(run(&rig, &people, false).await, [ImportResult::Created; 3]);
        assert_eq!(rig.people.find_accounts(None, None, 10).await.unwrap(), []);
        // Killed in the middle: the first of them are stored.
        run(&rig, &people[..2], true).await;
        let again = run(&rig, &people, true).await;
        assert_eq!(again, [UNCHANGED, UNCHANGED, ImportResult::Created]);
        let before = rig.people.find_accounts(None, None, 10).await.unwrap();
        assert_eq!(run(&rig, &people, true).await, [UNCHANGED; 3]);
        assert_eq!(rig.people.find_accounts(None, None, 10).await.unwrap(), before);
    }
}

#[tokio::test]
async fn what_the_other_system_changes_is_changed_here_and_what_is_changed_here_stays() {
    for rig in rigs() {
        let mut ada = person(1, &["a", "b"]);
        ada.roles = vec![Role::new("staff"), Role::new("admin")];
        run(&rig, std::slice::from_ref(&ada), true).await;
        let user = account(&rig, "old-1").await.user.id;
        administration(&rig).revoke_role(user, "admin").await.unwrap();
        administration(&rig).grant_role(user, "auditor").await.unwrap();
        assert_eq!(run(&rig, std::slice::from_ref(&ada), true).await, [UNCHANGED]);
        assert_eq!(account(&rig, "old-1").await.user.granted_roles.len(), 2);

        ada.identities = person(1, &["b", "c"]).identities;
        ada.roles = vec![Role::new("admin"), Role::new("writer")];
        ada.former_ids.push("also".to_owned());
        ada.ban = Some(Ban::Until(rig.now() + DAY));
        assert_eq!(run(&rig, std::slice::from_ref(&ada), false).await, [ImportResult::Changed]);
        assert_eq!(account(&rig, "old-1").await.identities.len(), 2);
        assert_eq!(run(&rig, std::slice::from_ref(&ada), true).await, [ImportResult::Changed]);
        let changed = account(&rig, "also").await;
        let subjects: Vec<_> =
            changed.identities.iter().map(|it| it.identity.subject.as_str()).collect();
        assert_eq!(subjects, ["b", "c"]);
        assert!(changed.user.disabled_at.is_some());
        let mut roles = changed.user.granted_roles;
        roles.sort();
        assert_eq!(
            roles,
            [Role::new("auditor"), Role::new("writer")],
            "staff went, admin is as it was here"
        );
        let kinds: Vec<_> = rig.audit.events().iter().map(|event| event.kind).collect();
        assert!(
            kinds.contains(&AuditKind::UserDisabled) && kinds.contains(&AuditKind::RoleGranted)
        );

        assert_eq!(run(&rig, std::slice::from_ref(&ada), true).await, [UNCHANGED]);
        ada.ban = None;
        run(&rig, std::slice::from_ref(&ada), true).await;
        assert_eq!(account(&rig, "old-1").await.user.disabled_at, None);
    }
}

#[tokio::test]
async fn a_ban_that_has_ended_by_itself_is_no_reason_to_enable_anybody() {
    for rig in rigs() {
        let mut ada = person(1, &["a"]);
        ada.ban = Some(Ban::Until(rig.now() + DAY));
        run(&rig, std::slice::from_ref(&ada), true).await;
        let user = account(&rig, "old-1").await.user.id;
        administration(&rig).disable(user).await.unwrap();
        rig.clock.advance(DAY * 2);
        assert_eq!(run(&rig, std::slice::from_ref(&ada), true).await, [UNCHANGED]);
        ada.ban = None;
        assert_eq!(run(&rig, std::slice::from_ref(&ada), true).await, [ImportResult::Changed]);
        assert!(
            account(&rig, "old-1").await.user.disabled_at.is_some(),
            "an operator disabled them"
        );
    }
}

#[tokio::test]
async fn who_has_signed_in_before_the_import_keeps_the_user_and_gets_the_former_id() {
    for rig in rigs() {
        let signed_in = rig.sign_in("ada").await;
        let here = rig.people.account(signed_in.user).await.unwrap().unwrap();
        let identity = here.identities[0].identity.clone();
        let provider = here.identities[0].provider.clone();
        let mut ada = person(1, &[]);
        ada.identities = vec![(identity.clone(), provider.clone())];
        ada.roles = vec![Role::new("staff")];
        let mut eve = person(2, &["e"]);
        eve.identities.push((identity, provider));
        // In the other system, one identity can belong to two people.
        let both = [ada, eve];
        let expected = [ImportResult::Changed, conflict(ImportConflict::IdentityTaken)];
        assert_eq!(run(&rig, &both, false).await, expected);
        assert_eq!(run(&rig, &both, true).await, expected);
        let expected = [UNCHANGED, conflict(ImportConflict::IdentityTaken)];
        assert_eq!(run(&rig, &both, true).await, expected);
        // Also if each comes in a run of its own.
        assert_eq!(run(&rig, &both[1..], true).await, expected[1..]);
        let found = account(&rig, "old-1").await;
        assert_eq!((found.user.id, found.user.granted_roles.len()), (signed_in.user, 1));
    }
}

#[tokio::test]
async fn what_belongs_to_several_is_a_conflict_and_is_not_stored() {
    for rig in rigs() {
        let mut twice = person(3, &["c"]);
        twice.former_ids = vec!["old-1".to_owned()];
        let people = [person(1, &["a"]), person(2, &["b"]), twice];
        let results = run(&rig, &people, true).await;
        assert_eq!(results[2], conflict(ImportConflict::IdTaken));
        let mut merged = person(1, &["a"]);
        merged.former_ids.push("old-2".to_owned());
        assert_eq!(run(&rig, &[merged], true).await, [conflict(ImportConflict::SeveralUsers)]);
        let stolen = person(1, &["a", "b"]);
        assert_eq!(run(&rig, &[stolen], true).await, [conflict(ImportConflict::IdentityTaken)]);
        assert_eq!(
            run(&rig, &[person(1, &[])], true).await,
            [conflict(ImportConflict::LastIdentity)]
        );
        let (one, two) = (rig.sign_in("one").await, rig.sign_in("two").await);
        let mut both = person(4, &[]);
        for user in [one.user, two.user] {
            let linked = rig.people.account(user).await.unwrap().unwrap().identities.remove(0);
            both.identities.push((linked.identity, linked.provider));
        }
        assert_eq!(run(&rig, &[both], true).await, [conflict(ImportConflict::SeveralOwners)]);
        assert_eq!(account(&rig, "old-1").await.identities.len(), 1);
    }
}

#[tokio::test]
async fn an_id_that_somebody_has_is_not_kept_as_the_id_but_as_a_former_one() {
    for rig in rigs() {
        let here = rig.sign_in("ada").await;
        let mut other = person(1, &["a"]);
        other.id = here.user;
        other.former_ids = vec![here.user.to_string()];
        assert_eq!(run(&rig, &[other], true).await, [ImportResult::Created]);
        assert_ne!(account(&rig, &here.user.to_string()).await.user.id, here.user);
    }
}

#[tokio::test]
async fn a_session_that_was_opened_with_an_identity_that_is_unlinked_there_ends() {
    for rig in rigs() {
        let session = rig.sign_in("ada").await;
        let linked = rig.people.account(session.user).await.unwrap().unwrap().identities.remove(0);
        let mut ada = person(1, &["other"]);
        ada.identities.push((linked.identity, linked.provider));
        run(&rig, std::slice::from_ref(&ada), true).await;
        ada.identities.pop();
        rig.clock.advance(Duration::from_secs(1));
        assert_eq!(run(&rig, &[ada], true).await, [ImportResult::Changed]);
        let refused = rig.refresh(&session.refresh).await.unwrap_err();
        assert_eq!(refused.code().as_str(), "SESSION_REVOKED");
    }
}
