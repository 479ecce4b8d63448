//! Sessions that their provider ends.

use mintgate_domain::LogoutTokenText;
use mintgate_domain::model::{ClaimSet, ClaimValue, stored_sid};
use mintgate_testkit::StoreUnderTest as _;

use crate::rig::Rig;

async fn order(rig: &Rig, provider: &str, text: &str) -> Result<u64, &'static str> {
    let ended = rig.provider_logout.end_sessions(provider, &LogoutTokenText::new(text)).await;
    ended.map(|(_, count)| count).map_err(|error| error.code().as_str())
}

fn with_sid(rig: &Rig, sid: &str) {
    let sid = ClaimValue::Text(sid.to_owned());
    *rig.provider.claims.lock().unwrap() = ClaimSet::new([("sid".to_owned(), sid)].into());
}

#[tokio::test]
async fn a_subjects_sessions_end_and_nobody_elses() {
    let rig = Rig::new();
    let (first, second) = (rig.sign_in("ada-1").await, rig.sign_in("ada-2").await);
    let bob = rig.sign_in("bob").await;
    assert_eq!(order(&rig, "corp", "ada").await, Ok(2));
    for ended in [&first, &second] {
        assert_eq!(
            rig.refresh(&ended.refresh).await.unwrap_err().code().as_str(),
            "SESSION_REVOKED"
        );
    }
    rig.refresh(&bob.refresh).await.expect("bob stays");
    assert_eq!(rig.revocations(), [("provider_logout", 2)]);
    let later = rig.sign_in("ada-3").await;
    assert_eq!(order(&rig, "corp", "ada").await, Err("INVALID_LOGOUT_TOKEN"), "it came before");
    rig.refresh(&later.refresh).await.expect("a sign-in after the order stays");
}

#[tokio::test]
async fn one_session_at_the_provider_ends_one_here() {
    let rig = Rig::new();
    with_sid(&rig, "laptop");
    let laptop = rig.sign_in("ada-1").await;
    with_sid(&rig, "phone");
    let phone = rig.sign_in("ada-2").await;
    assert_eq!(order(&rig, "corp", "sid:laptop").await, Ok(1));
    assert_eq!(rig.refresh(&laptop.refresh).await.unwrap_err().code().as_str(), "SESSION_REVOKED");
    rig.refresh(&phone.refresh).await.expect("the other one stays");
    assert_eq!(order(&rig, "corp", "sid:unknown").await, Ok(0));
}

#[tokio::test]
async fn a_sid_that_no_column_holds_is_kept_as_its_digest() {
    for odd in ["s".repeat(304), "a\0b".to_owned()] {
        let rig = Rig::new();
        with_sid(&rig, &odd);
        rig.sign_in("ada").await;
        assert_eq!(rig.store.sessions().remove(0).upstream_sid, Some(stored_sid(&odd)));
    }
    let rig = Rig::new();
    with_sid(&rig, "");
    rig.sign_in("ada").await;
    assert_eq!(rig.store.sessions().remove(0).upstream_sid, None);
}

#[tokio::test]
async fn case_26_a_refused_order_ends_nothing() {
    let rig = Rig::new();
    let ada = rig.sign_in("ada").await;
    let before = rig.store.dump().await;
    assert_eq!(order(&rig, "corp", "forged").await, Err("INVALID_LOGOUT_TOKEN"));
    assert_eq!(order(&rig, "nobody", "ada").await, Err("UNKNOWN_PROVIDER"));
    assert_eq!(rig.store.dump().await, before);
    rig.refresh(&ada.refresh).await.expect("ada stays");
}

#[tokio::test]
async fn where_the_configuration_says_so_a_session_at_the_provider_stands_for_the_person() {
    for (provider, left) in [("corp", 1), ("other", 0)] {
        let rig = Rig::new();
        with_sid(&rig, "laptop");
        rig.sign_in("ada-1").await;
        with_sid(&rig, "phone");
        let phone = rig.sign_in("ada-2").await;
        order(&rig, provider, "ada sid:laptop").await.expect("an order");
        assert_eq!(usize::from(rig.refresh(&phone.refresh).await.is_ok()), left, "{provider}");
    }
}
