//! What operators do, on one store and on two, and what they are told where a store fails.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{
    Account, Actor, PersonName, Profile, RevokeReason, Role, SearchText, Timestamp, UserId,
};
use mintgate_domain::ports::{
    EndOutcome, RefreshTokenRepo as _, StoreError, UserAdministration, UserChange, UserDirectory,
};
use mintgate_domain::{Administration, AdministrationError, Sessions};
use mintgate_testkit::{MemoryStore, StoreUnderTest};

use super::rig::{DAY, Rig, Setup, presented};

const ACCESS: Duration = Duration::from_hours(1);

fn administration_by(rig: &Rig, users: Arc<dyn UserAdministration>) -> Administration {
    Administration {
        sessions: Sessions {
            repo: Arc::new(rig.store.clone()),
            users: Arc::new(rig.people.clone()),
            marks: Arc::new(rig.store.clone()),
            idempotency: Arc::new(rig.store.clone()),
        },
        users,
        session_records: Arc::new(rig.store.clone()),
        access_ttl: ACCESS,
        clock: rig.clock.clone(),
        metrics: rig.metrics.clone(),
        audit: rig.audit.clone(),
        actor: Actor::Operator("root".to_owned()),
    }
}

pub(crate) fn administration(rig: &Rig) -> Administration {
    administration_by(rig, Arc::new(rig.people.clone()))
}

/// A rig on one store, and one whose users are in another.
pub(crate) fn rigs() -> [Rig; 2] {
    [false, true].map(|keeps_users_elsewhere| {
        Rig::set_up(Setup { keeps_users_elsewhere, ..Setup::default() })
    })
}

#[tokio::test]
async fn disabling_ends_every_session_wherever_they_are_kept() {
    for rig in rigs() {
        let administration = administration(&rig);
        let (first, second) = (rig.sign_in("ada-1").await, rig.sign_in("ada-2").await);
        let disabled = administration.disable(first.user).await;
        assert_eq!(disabled, Ok((UserChange::Changed, 2)));
        assert_eq!(rig.revocations(), [("user_disabled", 2)]);
        for session in [&first, &second] {
            let refused = rig.refresh(&session.refresh).await.unwrap_err();
            assert_eq!(refused.code().as_str(), "ACCESS_DENIED");
            let refused = rig.own.caller(&presented(&session.access)).await.unwrap_err();
            assert!(["ACCESS_DENIED", "SESSION_REVOKED"].contains(&refused.code().as_str()));
        }
        let shown = administration.show(first.user).await.unwrap();
        assert_eq!(shown.sessions, []);
        assert_eq!(shown.account.user.disabled_at, Some(rig.now()));
        let listed = administration.sessions(first.user, None, 10).await.unwrap();
        let reasons: Vec<_> =
            listed.entries.iter().map(|record| record.end.map(|end| end.reason)).collect();
        assert_eq!(reasons, [Some(RevokeReason::UserDisabled); 2]);
    }
}

#[tokio::test]
async fn deleting_leaves_nothing_but_the_ids_of_sessions_wherever_they_are_kept() {
    for rig in rigs() {
        let administration = administration(&rig);
        let ada = rig.sign_in("ada").await;
        let deleted = administration.delete(ada.user).await.unwrap();
        assert_eq!(deleted.ended, 1);
        assert_eq!(deleted.forget_after, rig.now() + ACCESS + Duration::from_mins(1));
        assert_eq!(rig.revocations(), [("user_deleted", 1)]);
        let [users, identities, _, _] = rig.people.dump().await.counts();
        let [.., sessions] = rig.store.dump().await.counts();
        assert_eq!([users, identities, sessions], [0; 3]);
        let left = administration.session(ada.session).await.unwrap().unwrap_err();
        assert_eq!((left.ended_at, left.forget_after), (rig.now(), deleted.forget_after));
        let refused = rig.refresh(&ada.refresh).await.unwrap_err();
        assert_eq!(refused.code().as_str(), "INVALID_REFRESH_TOKEN");
        assert_eq!(administration.delete(ada.user).await, Err(AdministrationError::Nobody));
        assert_eq!(administration.show(ada.user).await.unwrap_err(), AdministrationError::Nobody);
    }
}

/// With the users elsewhere, the row of a session says nothing.
#[tokio::test]
async fn the_end_of_a_session_is_told_whatever_has_ended_it() {
    for rig in rigs() {
        let administration = administration(&rig);
        let ada = rig.sign_in("ada").await;
        let end = async || {
            administration.session(ada.session).await.unwrap().unwrap().end.map(|end| end.reason)
        };
        assert_eq!(end().await, None);
        StoreUnderTest::disable_user(&rig.people, ada.user, rig.now()).await;
        assert_eq!(end().await, Some(RevokeReason::UserDisabled));
        administration.enable(ada.user).await.unwrap();
        assert_eq!(end().await, None);
        rig.people.end_user_sessions(ada.user, RevokeReason::Admin, rig.now()).await.unwrap();
        assert!(end().await.is_some());
        rig.clock.advance(DAY * 31);
        let expected = [RevokeReason::ExpiredIdle, RevokeReason::Admin];
        assert!(end().await.is_some_and(|reason| expected.contains(&reason)));
    }
}

#[tokio::test]
async fn one_session_is_ended_whoevers_and_once() {
    for rig in rigs() {
        let administration = administration(&rig);
        let ada = rig.sign_in("ada").await;
        let ended = administration.end_session(ada.session).await;
        assert_eq!(ended, Ok((ada.user, EndOutcome::Ended)));
        let ended = administration.end_session(ada.session).await;
        assert_eq!(ended, Ok((ada.user, EndOutcome::EndedBefore)));
        assert_eq!(rig.revocations(), [("admin", 1)]);
        let all = administration.end_all(ada.user).await;
        assert_eq!(all, Ok(0));
    }
}

/// Looks like the store behind it, and never says whether a change took effect.
struct Doubtful(MemoryStore);

#[async_trait]
impl UserAdministration for Doubtful {
    async fn find_accounts(
        &self,
        search: Option<&SearchText>,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<Account>, StoreError> {
        self.0.find_accounts(search, after, limit).await
    }

    async fn account(&self, user: UserId) -> Result<Option<Account>, StoreError> {
        self.0.account(user).await
    }

    async fn disable_user(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<(UserChange, u64), StoreError> {
        UserAdministration::disable_user(&self.0, user, now).await?;
        Err(StoreError::Unavailable("no answer".into()))
    }

    async fn enable_user(&self, _: UserId) -> Result<UserChange, StoreError> {
        Err(StoreError::Unavailable("no answer".into()))
    }

    async fn grant_role(&self, _: UserId, _: &Role) -> Result<UserChange, StoreError> {
        Err(StoreError::SchemaMismatch("an older schema".into()))
    }

    async fn revoke_role(&self, _: UserId, _: &Role) -> Result<UserChange, StoreError> {
        Err(StoreError::Unavailable("no answer".into()))
    }

    async fn delete_user(
        &self,
        _: UserId,
        _: Timestamp,
        _: Timestamp,
    ) -> Result<(UserChange, u64), StoreError> {
        Err(StoreError::Unavailable("no answer".into()))
    }
}

#[tokio::test]
async fn what_may_have_been_done_is_told_apart_from_what_was_not() {
    let rig = Rig::new();
    let administration = administration_by(&rig, Arc::new(Doubtful(rig.people.clone())));
    let ada = rig.sign_in("ada").await.user;
    let doubt = || AdministrationError::InDoubt("no answer".into());
    assert_eq!(administration.disable(ada).await, Err(doubt()));
    assert_eq!(administration.enable(ada).await, Err(doubt()));
    assert_eq!(administration.revoke_role(ada, "admin").await, Err(doubt()));
    assert_eq!(administration.delete(ada).await, Err(doubt()));
    let refused = administration.grant_role(ada, "admin").await.unwrap_err();
    assert!(matches!(refused, AdministrationError::Store(_)), "{refused:?}");
    assert!(administration.account(ada).await.unwrap().user.disabled_at.is_some());

    let unavailable = StoreError::Unavailable("it is down".into());
    rig.store.set_fault(Some(unavailable.clone()));
    let down = AdministrationError::Store(unavailable);
    assert_eq!(administration.end_all(ada).await, Err(down.clone()));
    assert_eq!(administration.find(None, None, 10).await, Err(down));
}

#[tokio::test]
async fn a_name_must_be_the_whole_name_of_one_person_alone() {
    let rig = Rig::new();
    let administration = administration(&rig);
    let ann = rig.sign_in("ann").await.user;
    let joann = rig.sign_in("joann").await.user;
    for (user, name, email) in [(ann, "Ann", "a@example.com"), (joann, "Joann", "j@example.com")] {
        let profile = Profile {
            name: Some(name.to_owned()),
            email: Some(email.to_owned()),
            ..Profile::default()
        };
        rig.people.keep_profile(user, &profile).await.unwrap();
    }
    let person = async |name: &str| {
        let found = administration.person(&PersonName::parse(name)).await;
        found.map(|account| account.user.id)
    };
    let candidates = async |name: &str| match person(name).await {
        Err(AdministrationError::Ambiguous { candidates }) => {
            candidates.iter().map(|account| account.user.id).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(person("ANN").await, Ok(ann));
    assert_eq!(person("J@EXAMPLE.COM").await, Ok(joann));
    assert_eq!(person(&joann.to_string()).await, Ok(joann));
    assert_eq!(candidates("oan").await, [joann]);
    let mut both = candidates("example.com").await;
    both.sort();
    assert_eq!(both.len(), 2);
    assert_eq!(person("nobody").await, Err(AdministrationError::Nobody));
    assert_eq!(person("").await, Err(AdministrationError::Nobody));
    assert_eq!(person("a\0b").await, Err(AdministrationError::NotSearchable));
    let strange = PersonName::parse("https://idp.example.com a\0b");
    let found = administration.person(&strange).await;
    assert_eq!(found, Err(AdministrationError::NotSearchable));
    // Of two with one name, none.
    let same = Profile { name: Some("Ann".to_owned()), ..Profile::default() };
    rig.people.keep_profile(joann, &same).await.unwrap();
    assert_eq!(candidates("ann").await.len(), 2);
}

#[tokio::test]
async fn pages_are_so_long_at_most_and_say_where_the_next_begins() {
    let rig = Rig::new();
    let administration = administration(&rig);
    for n in 0..5 {
        rig.sign_in(&format!("person{n}")).await;
    }
    let (mut seen, mut after) = (vec![], None);
    loop {
        let page = administration.find(Some(" "), after, 2).await.unwrap();
        assert!(page.entries.len() <= 2);
        seen.extend(page.entries.iter().map(|account| account.user.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut sorted = seen.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!((seen.len(), &sorted), (5, &seen));
    // A limit beyond the bounds is the nearest one.
    assert_eq!(administration.find(None, None, 0).await.unwrap().entries.len(), 1);
    assert_eq!(administration.find(None, None, u32::MAX).await.unwrap().entries.len(), 5);
    let session = rig.store.sessions()[0].clone();
    let loaded = rig.store.load(session.id).await.unwrap();
    assert!(loaded.is_some());
}
