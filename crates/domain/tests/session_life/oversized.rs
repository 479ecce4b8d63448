//! Tokens that outgrow their cookie between two refreshes: the session stays as it was.

use mintgate_domain::model::Role;
use mintgate_domain::ports::RefreshTokenRepo as _;
use mintgate_domain::{AuthError, OnLookupFailure, RefreshConfig, TokenDelivery};
use mintgate_testkit::StoreUnderTest as _;

use super::rig::{GRACE, Rig, Setup, presented, refresh_config};

fn many_roles() -> Vec<Role> {
    (0..400).map(|n| Role::new(format!("a-role-with-a-name-{n}"))).collect()
}

/// Roles come from a directory at each sign-in, and at each refresh if so decided.
fn rig(decides_roles: bool, keeps_users_elsewhere: bool) -> Rig {
    Rig::set_up(Setup {
        config: Some(RefreshConfig { decides_roles, ..refresh_config() }),
        on_lookup_failure: Some(OnLookupFailure::Refuse),
        keeps_users_elsewhere,
        ..Setup::default()
    })
}

fn is_too_large(error: &AuthError) -> bool {
    matches!(error, AuthError::TokenTooLarge { claim, .. } if claim == "roles")
}

#[tokio::test]
async fn roles_that_have_grown_too_large_cost_no_session() {
    for keeps_users_elsewhere in [false, true] {
        let rig = rig(true, keeps_users_elsewhere);
        let first = rig.sign_in("ada").await;
        let token = presented(&first.refresh);
        *rig.told.roles.lock().unwrap() = many_roles();
        let before = rig.store.dump().await;
        for _ in 0..12 {
            let error = rig.refresh.refresh(&token, TokenDelivery::Cookie, None).await.unwrap_err();
            assert!(is_too_large(&error), "{error:?}");
        }
        assert_eq!(rig.store.dump().await, before);
        rig.clock.advance(GRACE * 2);
        *rig.told.roles.lock().unwrap() = vec![Role::new("one")];
        rig.refresh.refresh(&token, TokenDelivery::Cookie, None).await.unwrap();
    }
}

/// As after a change of the configuration, only the row knows how long the token is.
#[tokio::test]
async fn claims_that_nobody_has_looked_at_are_found_too_large_before_the_exchange() {
    for keeps_users_elsewhere in [false, true] {
        let rig = rig(false, keeps_users_elsewhere);
        *rig.told.roles.lock().unwrap() = many_roles();
        let first = rig.sign_in("ada").await;
        let token = presented(&first.refresh);
        let before = rig.store.dump().await;
        let error = rig.refresh.refresh(&token, TokenDelivery::Cookie, None).await.unwrap_err();
        assert!(is_too_large(&error), "{error:?}");
        assert_eq!(rig.store.dump().await, before);
        rig.clock.advance(GRACE * 2);
        rig.refresh(&first.refresh).await.expect("a body has room");
    }
}

#[tokio::test]
async fn a_replay_that_is_too_large_is_not_counted() {
    let rig = rig(false, false);
    *rig.told.roles.lock().unwrap() = many_roles();
    let first = rig.sign_in("ada").await;
    let second = rig.refresh(&first.refresh).await.unwrap();
    for _ in 0..12 {
        let token = presented(&first.refresh);
        let error = rig.refresh.refresh(&token, TokenDelivery::Cookie, None).await.unwrap_err();
        assert!(is_too_large(&error), "{error:?}");
    }
    let again = rig.refresh(&first.refresh).await.unwrap();
    assert_eq!(again.refresh.expose(), second.refresh.expose());
}

/// Roles of a length between what fits for certain and what does not fit take a second look, and fit.
#[tokio::test]
async fn claims_that_may_not_fit_are_looked_at_and_exchanged() {
    let rig = rig(false, false);
    let roles: Vec<_> = (0..90).map(|n| Role::new(format!("a-role-with-a-name-{n}"))).collect();
    *rig.told.roles.lock().unwrap() = roles;
    let first = rig.sign_in("ada").await;
    let token = presented(&first.refresh);
    let second = rig.refresh.refresh(&token, TokenDelivery::Cookie, None).await.unwrap();
    let session = rig.store.load(first.session).await.unwrap().expect("a session").session;
    assert_eq!(session.refresh.generation, 1);
    assert!(second.access.expose().len() > 2_000);
}
