//! Roles that change while a session lives, and providers that are asked again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use mintgate_domain::model::{ClaimSet, ClaimValue, Role};
use mintgate_domain::ports::{Misbehaviour, ProviderError, StoreError};
use mintgate_domain::{OnLookupFailure, RefreshConfig, RoleCondition, RoleRule};
use mintgate_testkit::StoreUnderTest as _;

use crate::rig::{Rig, Setup, refresh_config, request};

const HOUR: Duration = Duration::from_hours(1);

fn groups(names: &[&str]) -> ClaimSet {
    let names = names.iter().map(|name| ClaimValue::Text((*name).to_owned())).collect();
    ClaimSet::new([("groups".to_owned(), ClaimValue::List(names))].into())
}

/// The group `g-admin` makes an `admin`.
fn rules() -> Vec<RoleRule> {
    vec![RoleRule {
        provider: None,
        claim: "groups".to_owned(),
        condition: RoleCondition::Equals("g-admin".to_owned()),
        grant: vec![Role::new("admin")],
    }]
}

fn deciding_again() -> RefreshConfig {
    RefreshConfig { decides_roles: true, ..refresh_config() }
}

fn rechecking() -> Rig {
    Rig::set_up(Setup { recheck: Some(HOUR), rules: rules(), ..Setup::default() })
}

fn roles_in(access: &str) -> &str {
    access.split('|').nth(4).unwrap()
}

#[tokio::test]
async fn roles_granted_later_arrive_with_the_next_refresh_where_they_are_decided_again() {
    for (config, expected) in [(Some(deciding_again()), "auditor,user"), (None, "user")] {
        let rig = Rig::set_up(Setup { config, ..Setup::default() });
        let ada = rig.sign_in("ada").await;
        rig.store.grant_roles(ada.user, &["auditor"]).await;
        let next = rig.refresh(&ada.refresh).await.unwrap();
        assert_eq!(roles_in(next.access.expose()), expected);
        let replayed = rig.refresh(&ada.refresh).await.unwrap();
        assert_eq!(roles_in(replayed.access.expose()), expected, "a replay says the same");
        let stored = rig.store.sessions().remove(0);
        assert_eq!(stored.grant.roles.len(), expected.split(',').count());
    }
}

#[tokio::test]
async fn what_the_rules_gave_at_the_sign_in_is_kept_when_roles_are_decided_again() {
    let rig =
        Rig::set_up(Setup { config: Some(deciding_again()), rules: rules(), ..Setup::default() });
    *rig.provider.claims.lock().unwrap() = groups(&["g-admin"]);
    let ada = rig.sign_in("ada").await;
    assert_eq!(roles_in(ada.access.expose()), "admin,user");
    rig.store.grant_roles(ada.user, &["auditor"]).await;
    let next = rig.refresh(&ada.refresh).await.unwrap();
    assert_eq!(roles_in(next.access.expose()), "admin,auditor,user");
    rig.store.grant_roles(ada.user, &[]).await;
    let next = rig.refresh(&next.refresh).await.unwrap();
    assert_eq!(roles_in(next.access.expose()), "admin,user");
}

#[tokio::test]
async fn case_32_somebody_without_any_role_left_is_refused_and_the_token_stays_good() {
    let rig = Rig::set_up(Setup {
        config: Some(deciding_again()),
        on_lookup_failure: Some(OnLookupFailure::Refuse),
        without_default_role: true,
        ..Setup::default()
    });
    *rig.told.roles.lock().unwrap() = vec![Role::new("guest")];
    let ada = rig.sign_in("ada").await;
    rig.told.roles.lock().unwrap().clear();
    let before = rig.store.dump().await;
    assert_eq!(rig.refresh(&ada.refresh).await.unwrap_err().code().as_str(), "ACCESS_DENIED");
    assert_eq!(rig.store.dump().await, before);
    assert_eq!(
        rig.issue.issue(&request("ada-2", None)).await.unwrap_err().code().as_str(),
        "ACCESS_DENIED"
    );
    *rig.told.roles.lock().unwrap() = vec![Role::new("guest")];
    rig.refresh(&ada.refresh).await.expect("as good as before");
}

#[tokio::test]
async fn a_user_system_that_is_down_lets_nobody_in_or_goes_without_as_is_configured() {
    let refusing = |config| {
        let on_lookup_failure = Some(OnLookupFailure::Refuse);
        Rig::set_up(Setup { config, on_lookup_failure, ..Setup::default() })
    };
    let rig = refusing(Some(deciding_again()));
    let ada = rig.sign_in("ada").await;
    rig.told.is_down.store(true, Ordering::SeqCst);
    let before = rig.store.dump().await;
    let keyed = || request("bob-1", Some(("key", "body")));
    for refusal in
        [rig.issue.issue(&keyed()).await.unwrap_err(), rig.refresh(&ada.refresh).await.unwrap_err()]
    {
        assert_eq!(refusal.code().as_str(), "ROLES_UNAVAILABLE");
    }
    let after = rig.store.dump().await;
    for table in ["users", "sessions", "single_use_marks", "idempotency_keys"] {
        assert_eq!(after.rows(table), before.rows(table), "nothing was written");
    }
    // The provider has vouched, and this process alone can finish the sign-in.
    assert_eq!(after.rows("idempotency_reservations").len(), 1);
    rig.told.is_down.store(false, Ordering::SeqCst);
    rig.refresh(&ada.refresh).await.expect("the token is as good as before");
    rig.issue.issue(&keyed()).await.expect("the sign-in was kept for its idempotency key");

    let rig = Rig::set_up(Setup {
        config: Some(deciding_again()),
        on_lookup_failure: Some(OnLookupFailure::Ignore),
        ..Setup::default()
    });
    *rig.told.roles.lock().unwrap() = vec![Role::new("editor")];
    let ada = rig.sign_in("ada").await;
    assert_eq!(roles_in(ada.access.expose()), "editor,user");
    rig.told.is_down.store(true, Ordering::SeqCst);
    let bob = rig.sign_in("bob").await;
    assert_eq!(roles_in(bob.access.expose()), "user", "without what could not be looked up");
    let next = rig.refresh(&ada.refresh).await.unwrap();
    assert_eq!(roles_in(next.access.expose()), "editor,user", "with what the session has");
}

#[tokio::test]
async fn refreshes_that_decide_nothing_ask_nobody() {
    let on_lookup_failure = Some(OnLookupFailure::Refuse);
    let rig = Rig::set_up(Setup { on_lookup_failure, ..Setup::default() });
    let ada = rig.sign_in("ada").await;
    rig.told.is_down.store(true, Ordering::SeqCst);
    rig.refresh(&ada.refresh).await.expect("no lookup");
    assert_eq!(rig.told.asked.load(Ordering::SeqCst), 1);
    assert!(rig.provider.renewed_with.lock().unwrap().is_empty());
}

#[tokio::test]
async fn somebody_disabled_at_the_provider_loses_the_session_once_it_is_asked_again() {
    let rig = rechecking();
    let ada = rig.sign_in("ada").await;
    let refused = ProviderError::RefreshRefused("disabled".into());
    *rig.provider.renewal_fails.lock().unwrap() = Some(refused);
    rig.clock.advance(Duration::from_secs(3599));
    let next = rig.refresh(&ada.refresh).await.expect("its word is not old enough");
    rig.clock.advance(Duration::from_secs(1));
    let refusal = rig.refresh(&next.refresh).await.unwrap_err();
    assert_eq!(refusal.code().as_str(), "SESSION_REVOKED");
    assert_eq!(rig.revocations(), [("provider_refused", 1)]);
    *rig.provider.renewal_fails.lock().unwrap() = None;
    assert_eq!(rig.refresh(&next.refresh).await.unwrap_err().code().as_str(), "SESSION_REVOKED");
}

#[tokio::test]
async fn somebody_who_may_not_sign_in_here_any_more_loses_the_session_too() {
    let rig = rechecking();
    let ada = rig.sign_in("ada").await;
    let elsewhere = ProviderError::IdTokenRefused("another tenant".into());
    *rig.provider.renewal_fails.lock().unwrap() = Some(elsewhere);
    rig.clock.advance(HOUR);
    assert_eq!(rig.refresh(&ada.refresh).await.unwrap_err().code().as_str(), "SESSION_REVOKED");
    assert_eq!(rig.revocations(), [("provider_refused", 1)]);
    assert_eq!(rig.rechecks(), ["refused"]);
}

#[tokio::test]
async fn a_new_refresh_token_of_the_provider_survives_a_store_that_is_down() {
    let rig = rechecking();
    let ada = rig.sign_in("ada").await;
    rig.clock.advance(HOUR);
    rig.keeps_nothing.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(
            rig.refresh(&ada.refresh).await.unwrap_err().code().as_str(),
            "STORE_UNAVAILABLE"
        );
    }
    rig.keeps_nothing.store(false, Ordering::SeqCst);
    let next = rig.refresh(&ada.refresh).await.expect("a refresh");
    rig.clock.advance(HOUR);
    rig.refresh(&next.refresh).await.expect("a refresh");
    assert_eq!(*rig.provider.renewed_with.lock().unwrap(), ["ada-0", "ada-1"]);
}

#[tokio::test]
async fn what_the_provider_takes_away_is_gone_also_while_the_user_system_is_down() {
    let rig = Rig::set_up(Setup {
        recheck: Some(HOUR),
        rules: rules(),
        on_lookup_failure: Some(OnLookupFailure::Ignore),
        ..Setup::default()
    });
    *rig.provider.claims.lock().unwrap() = groups(&["g-admin"]);
    *rig.told.roles.lock().unwrap() = vec![Role::new("editor")];
    let ada = rig.sign_in("ada").await;
    assert_eq!(roles_in(ada.access.expose()), "admin,editor,user");
    *rig.provider.renewed_claims.lock().unwrap() = Some(groups(&[]));
    rig.told.is_down.store(true, Ordering::SeqCst);
    rig.clock.advance(HOUR);
    let next = rig.refresh(&ada.refresh).await.unwrap();
    assert_eq!(roles_in(next.access.expose()), "editor,user");
}

#[tokio::test]
async fn what_the_provider_says_now_decides_the_roles() {
    let rig = rechecking();
    *rig.provider.claims.lock().unwrap() = groups(&["g-admin"]);
    let ada = rig.sign_in("ada").await;
    assert_eq!(roles_in(ada.access.expose()), "admin,user");
    *rig.provider.renewed_claims.lock().unwrap() = Some(groups(&[]));
    rig.clock.advance(HOUR);
    let next = rig.refresh(&ada.refresh).await.unwrap();
    assert_eq!(roles_in(next.access.expose()), "user");
    let stored = rig.store.sessions().remove(0);
    assert!(stored.claimed_roles.is_empty());

    *rig.provider.renewed_claims.lock().unwrap() = None;
    rig.clock.advance(HOUR);
    let next = rig.refresh(&next.refresh).await.unwrap();
    assert_eq!(
        roles_in(next.access.expose()),
        "user",
        "a provider that says nothing changes nothing"
    );
    let shown = rig.provider.renewed_with.lock().unwrap().clone();
    assert_eq!(shown, ["ada-0", "ada-1"], "each time with the token it gave last");
}

#[tokio::test]
async fn a_provider_that_is_down_signs_nobody_out_and_is_asked_again_a_minute_later() {
    let failures = [
        ProviderError::Unreachable(String::new().into()),
        ProviderError::TimedOut(String::new().into()),
        ProviderError::Misbehaved(Misbehaviour::BadAnswer, "".into()),
    ];
    for failure in failures {
        let rig = rechecking();
        let ada = rig.sign_in("ada").await;
        *rig.provider.renewal_fails.lock().unwrap() = Some(failure);
        rig.clock.advance(HOUR);
        let mut token = rig.refresh(&ada.refresh).await.expect("a refresh").refresh;
        rig.clock.advance(Duration::from_secs(59));
        token = rig.refresh(&token).await.expect("a refresh").refresh;
        assert_eq!(rig.provider.renewed_with.lock().unwrap().len(), 1);
        *rig.provider.renewal_fails.lock().unwrap() = None;
        rig.clock.advance(Duration::from_secs(1));
        rig.refresh(&token).await.expect("a refresh");
        assert_eq!(*rig.provider.renewed_with.lock().unwrap(), ["ada-0", "ada-0"]);
    }
}

#[tokio::test]
async fn an_answer_that_confirms_nothing_is_asked_for_again_with_the_token_it_brought() {
    let rig = rechecking();
    *rig.provider.claims.lock().unwrap() = groups(&["g-admin"]);
    let ada = rig.sign_in("ada").await;
    let doubt = ProviderError::Misbehaved(Misbehaviour::BadAnswer, "its signature".into());
    *rig.provider.renewal_doubt.lock().unwrap() = Some(doubt);
    rig.clock.advance(HOUR);
    let next = rig.refresh(&ada.refresh).await.expect("a doubt signs nobody out");
    assert_eq!(roles_in(next.access.expose()), "admin,user");
    assert_eq!(rig.rechecks(), ["failed"]);
    *rig.provider.renewal_doubt.lock().unwrap() = None;
    rig.clock.advance(Duration::from_secs(59));
    let next = rig.refresh(&next.refresh).await.expect("a refresh");
    assert_eq!(rig.rechecks(), ["failed"], "in a minute");
    rig.clock.advance(Duration::from_secs(1));
    rig.refresh(&next.refresh).await.expect("a refresh");
    assert_eq!(rig.rechecks(), ["failed", "confirmed"]);
    assert_eq!(*rig.provider.renewed_with.lock().unwrap(), ["ada-0", "ada-1"]);
}

#[tokio::test]
async fn a_slow_provider_holds_no_refresh_up_and_its_answer_is_kept_when_it_comes() {
    let rig = rechecking();
    *rig.provider.claims.lock().unwrap() = groups(&["g-admin"]);
    *rig.provider.renewed_claims.lock().unwrap() = Some(groups(&[]));
    let ada = rig.sign_in("ada").await;
    rig.provider.renewal_hangs.store(true, Ordering::SeqCst);
    rig.clock.advance(HOUR);
    let next = rig.refresh(&ada.refresh).await.expect("it goes on without the answer");
    assert_eq!(roles_in(next.access.expose()), "admin,user");
    assert!(rig.rechecks().is_empty(), "nothing is known yet");
    let next = rig.refresh(&next.refresh).await.expect("one question at a time");
    rig.provider.go_on.notify_one();
    until(|| rig.rechecks() == ["confirmed"]).await;
    until(|| rig.store.sessions().remove(0).claimed_roles.is_empty()).await;
    rig.provider.renewal_hangs.store(false, Ordering::SeqCst);
    rig.clock.advance(HOUR);
    let next = rig.refresh(&next.refresh).await.expect("a refresh");
    assert_eq!(roles_in(next.access.expose()), "user");
    assert_eq!(*rig.provider.renewed_with.lock().unwrap(), ["ada-0", "ada-1"]);
}

#[tokio::test]
async fn a_refusal_that_comes_late_ends_the_session_all_the_same() {
    let rig = rechecking();
    let ada = rig.sign_in("ada").await;
    let refused = ProviderError::RefreshRefused("disabled".into());
    *rig.provider.renewal_fails.lock().unwrap() = Some(refused);
    rig.provider.renewal_hangs.store(true, Ordering::SeqCst);
    rig.clock.advance(HOUR);
    let next = rig.refresh(&ada.refresh).await.expect("it goes on without the answer");
    rig.provider.go_on.notify_one();
    until(|| rig.revocations() == [("provider_refused", 1)]).await;
    let refusal = rig.refresh(&next.refresh).await.unwrap_err();
    assert_eq!(refusal.code().as_str(), "SESSION_REVOKED");
}

/// Lets other tasks go on until a condition holds.
async fn until(condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never holds");
}

#[tokio::test]
async fn case_41_fifty_refreshes_at_once_ask_the_provider_once() {
    let rig = rechecking();
    *rig.provider.claims.lock().unwrap() = groups(&["g-admin"]);
    let ada = rig.sign_in("ada").await;
    *rig.provider.renewed_claims.lock().unwrap() = Some(groups(&[]));
    rig.clock.advance(HOUR);
    let refreshed = join_all((0..50).map(|_| rig.refresh(&ada.refresh))).await;
    let tokens: std::collections::HashSet<String> =
        refreshed.into_iter().map(|one| one.unwrap().refresh.expose().to_owned()).collect();
    assert_eq!(tokens.len(), 1, "one and the same successor");
    assert_eq!(rig.provider.renewed_with.lock().unwrap().len(), 1);
    let token = mintgate_domain::SignedToken::new(tokens.into_iter().next().unwrap());
    let next = rig.refresh(&token).await.unwrap();
    assert_eq!(roles_in(next.access.expose()), "user", "the claims count, whoever brought them");
}

#[tokio::test]
async fn a_superseded_or_foreign_token_asks_no_provider() {
    let rig = rechecking();
    let ada = rig.sign_in("ada").await;
    let next = rig.refresh(&ada.refresh).await.unwrap();
    rig.clock.advance(HOUR);
    assert_eq!(
        rig.refresh(&ada.refresh).await.unwrap_err().code().as_str(),
        "REFRESH_TOKEN_REUSED"
    );
    assert!(rig.provider.renewed_with.lock().unwrap().is_empty());
    drop(next);
}

#[tokio::test]
async fn a_store_in_doubt_while_a_provider_is_asked_signs_nobody_out() {
    let rig = rechecking();
    let ada = rig.sign_in("ada").await;
    rig.clock.advance(HOUR);
    rig.store.set_fault(Some(StoreError::Unavailable("down".into())));
    assert_eq!(rig.refresh(&ada.refresh).await.unwrap_err().code().as_str(), "STORE_UNAVAILABLE");
    rig.store.set_fault(None);
    rig.refresh(&ada.refresh).await.expect("as good as before");
}

#[tokio::test]
async fn a_provider_that_is_not_to_be_asked_again_is_not_and_its_token_not_kept() {
    let rig = Rig::set_up(Setup {
        recheck: Some(HOUR),
        on_lookup_failure: Some(OnLookupFailure::Refuse),
        ..Setup::default()
    });
    rig.sign_in("ada").await;
    assert_eq!(rig.store.dump().await.rows("upstream_tokens").len(), 1);
    let mut at_hub = request("bob", None);
    at_hub.sign_in.provider = Some("hub".to_owned());
    let bob = rig.issue.issue(&at_hub).await.unwrap();
    assert_eq!(rig.store.dump().await.rows("upstream_tokens").len(), 1, "ada's alone");
    assert!(rig.rechecks().is_empty());
    rig.clock.advance(HOUR);
    let asked = rig.told.asked.load(Ordering::SeqCst);
    rig.refresh(&bob.refresh).await.expect("a refresh");
    assert!(rig.provider.renewed_with.lock().unwrap().is_empty());
    assert_eq!(rig.told.asked.load(Ordering::SeqCst), asked, "nor are roles decided");
}

#[tokio::test]
async fn without_rechecks_no_token_of_a_provider_is_kept() {
    let rig = Rig::new();
    rig.sign_in("ada").await;
    assert!(rig.store.dump().await.rows("upstream_tokens").is_empty());
}
