//! A further identity is linked on the account page, into the session that asks for it and no other.

use mintgate_domain::LoginCookie;
use mintgate_domain::model::{LoginPurpose, LoginTransaction};
use reqwest::StatusCode;

use super::{OWN, account, ids, press, service};
use crate::common::browser::{Browser, location};
use crate::common::{Store, TestService, claims};
use crate::on_both_stores;

const START: &str = "__Host-Auth-Start-";

fn telling(notice: &str) -> String {
    format!("{OWN}/account?notice={notice}")
}

/// Presses the button, and signs in at the provider; the path of the callback.
async fn is_sent_back(service: &TestService, browser: &mut Browser<'_>, user: &str) -> String {
    let answer = press(service, browser, "/account/link", "corp").await;
    assert_eq!(answer.status(), StatusCode::OK);
    let page = answer.text().await.unwrap();
    let url = page.split("content=\"0; url=").nth(1).unwrap().split('"').next().unwrap();
    assert!(page.contains(&format!("class=\"button\" href=\"{url}\"")), "{page}");
    service.sent_back(&url.replace("&amp;", "&"), user).await
}

async fn signed_in<'a>(service: &'a TestService, user: &str) -> Browser<'a> {
    let mut browser = Browser::new(service);
    browser.signs_in("", user).await;
    browser
}

fn sub(access: &str) -> serde_json::Value {
    claims(access)["sub"].clone()
}

on_both_stores! {
    async fn an_identity_is_linked_used_and_removed(store: Store) {
        let service = service(store).await;
        let mut browser = signed_in(&service, "alice").await;
        let alice = browser.access().to_owned();
        let callback = is_sent_back(&service, &mut browser, "bob").await;
        assert_eq!(location(&browser.goes_to(&callback).await), telling("linked"));
        assert_eq!(browser.access(), alice, "nobody is signed in anew");
        let page = browser.goes_to("/account?notice=linked").await.text().await.unwrap();
        assert!(page.contains("role=\"status\">You can now sign in"), "{page}");
        let listed = ids(&page, "/account/unlink");
        assert_eq!(listed.len(), 2, "{page}");
        let bob = signed_in(&service, "bob").await;
        assert_eq!(sub(bob.access()), sub(&alice), "one user");

        // Once more, by the Back button or by hand: nothing happens.
        let exchanges = service.idp().control().stats().exchanges;
        assert_eq!(location(&browser.goes_to(&callback).await), format!("{OWN}/account"));
        assert_eq!(service.idp().control().stats().exchanges, exchanges);

        let answer = press(&service, &mut browser, "/account/unlink", &listed[1]).await;
        assert_eq!(location(&answer), telling("unlinked"));
        let page = account(&mut browser).await;
        assert!(ids(&page, "/account/unlink").is_empty() && page.contains("only way to sign in"), "{page}");
        // A form that has been left open.
        let answer = press(&service, &mut browser, "/account/unlink", &listed[0]).await;
        assert_eq!(location(&answer), telling("LAST_IDENTITY"));
        let page = browser.goes_to("/account?notice=LAST_IDENTITY").await.text().await.unwrap();
        assert!(page.contains("role=\"alert\""), "{page}");
    }

    async fn what_opens_another_account_is_not_taken_from_it(store: Store) {
        let service = service(store).await;
        signed_in(&service, "bob").await;
        let mut browser = signed_in(&service, "alice").await;
        browser.cookies.retain(|name, _| !name.starts_with(START));
        let before = service.dump_of(vec!["external_identities"]).await;
        let callback = is_sent_back(&service, &mut browser, "bob").await;
        assert_eq!(location(&browser.goes_to(&callback).await), telling("IDENTITY_TAKEN"));
        assert_eq!(service.dump_of(vec!["external_identities"]).await, before);
        assert!(!browser.cookies.keys().any(|name| name.starts_with(START)), "the login is over");
        let page = browser.goes_to("/account?notice=IDENTITY_TAKEN").await.text().await.unwrap();
        assert!(page.contains("opens another account here already"), "{page}");
    }

    async fn only_the_session_that_has_begun_it_can_finish_it(store: Store) {
        let service = service(store).await;
        let mut browser = signed_in(&service, "alice").await;
        let callback = is_sent_back(&service, &mut browser, "bob").await;
        let before = service.dump_of(vec!["external_identities"]).await;
        let tokens = service.idp().control().stats().token;
        let begun = browser.cookies.clone();
        // Another session of the same person, somebody else's, none, one that is no token.
        let same = service.signed_in_as("alice").await.access;
        for (access, refusal) in [
            (Some(same.as_str()), "INVALID_STATE"),
            (None, "INVALID_ACCESS_TOKEN"),
            (Some("x"), "INVALID_ACCESS_TOKEN"),
        ] {
            let mut other = Browser::new(&service);
            other.cookies = begun.clone();
            match access {
                Some(access) => other.cookies.insert("Auth-Access-Token".to_owned(), access.to_owned()),
                None => other.cookies.remove("Auth-Access-Token"),
            };
            let answer = other.goes_to(&callback).await;
            assert_eq!(location(&answer), telling(refusal));
        }
        // Another browser, with a session and without one.
        for mut other in [Browser::new(&service), signed_in(&service, "alice").await] {
            let answer = other.goes_to(&callback).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
            assert!(answer.text().await.unwrap().contains("INVALID_STATE"));
        }
        // Signed out meanwhile.
        let mut ended = browser.copy();
        press(&service, &mut browser, "/api/v1/auth/refresh/sign-out", "").await;
        let answer = ended.goes_to(&callback).await;
        assert_eq!(location(&answer), telling("SESSION_REVOKED"));
        assert_eq!(service.dump_of(vec!["external_identities"]).await, before);
        // The sign-ins above have sent theirs.
        assert!(service.idp().control().stats().token <= tokens + 2, "the code was not sent on");
        assert_ne!(sub(signed_in(&service, "bob").await.access()), sub(&same));
    }
}

/// The login in a browser's cookie.
fn login(browser: &Browser<'_>) -> (String, LoginTransaction) {
    let mut begun = browser.cookies.iter().filter(|(name, _)| name.starts_with(START));
    let read = |value: &str| LoginTransaction::from_cookie(&LoginCookie::new(value));
    begun.find_map(|(name, value)| Some((name.clone(), read(value)?))).unwrap()
}

#[tokio::test]
async fn a_login_finishes_nothing_but_what_it_was_begun_for() {
    let service = service(Store::Sqlite).await;
    let mut browser = signed_in(&service, "alice").await;
    browser.cookies.retain(|name, _| !name.starts_with(START));
    let session = browser.access().to_owned();
    let before = service.dump_of(vec!["external_identities", "sessions"]).await;
    let tokens = service.idp().control().stats().token;

    // The cookie of a link, changed into that of a sign-in or of a link in another session.
    let callback = is_sent_back(&service, &mut browser, "bob").await;
    let (name, linking) = login(&browser);
    let LoginPurpose::Link(own) = linking.purpose else { panic!("{linking:?}") };
    assert_eq!(own.to_string(), claims(&session)["sid"]);
    let other =
        mintgate_domain::model::SessionId::generate(time::OffsetDateTime::UNIX_EPOCH, [1; 10]);
    let mut changed = vec![
        (callback, name.clone(), linking.clone().with_purpose(LoginPurpose::SignIn)),
        (String::new(), name, linking.with_purpose(LoginPurpose::Link(other))),
    ];
    changed[1].0 = changed[0].0.clone();
    // The cookie of a sign-in, changed into that of a link.
    let mut starting = browser.copy();
    starting.cookies.retain(|name, _| !name.starts_with(START));
    let callback = starting.is_sent_back("", "bob").await;
    let (name, sign_in) = login(&starting);
    assert_eq!(sign_in.purpose, LoginPurpose::SignIn);
    changed.push((callback, name, sign_in.with_purpose(LoginPurpose::Link(own))));
    for (callback, name, login) in changed {
        let mut browser = Browser::new(&service);
        browser.cookies.insert("Auth-Access-Token".to_owned(), session.clone());
        browser.cookies.insert(name, login.to_cookie().expose().to_owned());
        let answer = browser.goes_to(&callback).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{:?}", login.purpose);
        assert!(answer.text().await.unwrap().contains("INVALID_STATE"));
    }
    assert_eq!(service.dump_of(vec!["external_identities", "sessions"]).await, before);
    assert_eq!(service.idp().control().stats().token, tokens, "no code was sent on");

    // A sign-in in a browser that has a session makes a session, and links nothing.
    let callback = starting.is_sent_back("", "bob").await;
    starting.goes_to(&callback).await;
    assert_ne!(sub(starting.access()), sub(&session));
}

#[tokio::test]
async fn what_the_provider_refuses_is_told_by_the_account_page() {
    let service = service(Store::Sqlite).await;
    let mut browser = signed_in(&service, "alice").await;
    let callback = is_sent_back(&service, &mut browser, "bob").await;
    let state = callback.split("state=").nth(1).unwrap().split('&').next().unwrap();
    let iss: String =
        url::form_urlencoded::byte_serialize(service.idp().issuer().as_bytes()).collect();
    let declined =
        format!("/api/v1/auth/callback/corp?error=access_denied&state={state}&iss={iss}");
    assert_eq!(location(&browser.goes_to(&declined).await), telling("LOGIN_CANCELLED"));
    let answer = press(&service, &mut browser, "/account/link", "other").await;
    assert_eq!(location(&answer), telling("UNKNOWN_PROVIDER"));
    let page = browser.goes_to("/account?notice=UNKNOWN_PROVIDER").await.text().await.unwrap();
    assert!(page.contains("role=\"alert\""), "{page}");
}
