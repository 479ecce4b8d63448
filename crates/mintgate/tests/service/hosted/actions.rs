//! The forms of the account page: what they do, for whom, and from which pages.

use reqwest::StatusCode;

use super::{OWN, account, form, ids, press, service};
use crate::common::browser::{Browser, location, navigating};
use crate::common::session::{ME, refresh_cookie};
use crate::common::{Store, TestService};
use crate::links::APP;
use crate::on_both_stores;

const SIGN_OUT: &str = "/api/v1/auth/refresh/sign-out";

async fn lives(service: &TestService, access: &str) -> bool {
    let answer = service.client.get(service.url(ME)).bearer_auth(access).send().await.unwrap();
    answer.status() == StatusCode::OK
}

fn telling(notice: &str) -> String {
    format!("{OWN}/account?notice={notice}")
}

on_both_stores! {
    async fn other_sessions_are_ended_one_by_one_or_all_at_once(store: Store) {
        let service = service(store).await;
        let mut browser = Browser::new(&service);
        browser.signs_in("", "alice").await;
        let others = [service.signed_in().await, service.signed_in().await, service.signed_in().await];
        let page = account(&mut browser).await;
        let listed = ids(&page, "/account/end-session");
        assert_eq!(listed.len(), 3);
        assert!(listed.contains(&others[0].sid()));
        let answer = press(&service, &mut browser, "/account/end-session", &others[0].sid()).await;
        assert_eq!((answer.status(), location(&answer)), (StatusCode::SEE_OTHER, telling("session_ended")));
        assert!(!lives(&service, &others[0].access).await);
        assert!(lives(&service, &others[1].access).await);
        let page = browser.goes_to("/account?notice=session_ended").await.text().await.unwrap();
        assert!(page.contains("role=\"status\">That device is signed out."), "{page}");

        let answer = press(&service, &mut browser, "/account/end-others", "").await;
        assert_eq!(location(&answer), telling("others_ended"));
        assert!(!lives(&service, &others[1].access).await && !lives(&service, &others[2].access).await);
        let page = account(&mut browser).await;
        assert!(ids(&page, "/account/end-session").is_empty() && !page.contains("end-others"), "{page}");

        let more = service.signed_in().await;
        let own = browser.access().to_owned();
        let answer = press(&service, &mut browser, "/account/end-all", "").await;
        assert_eq!(location(&answer), "/login?notice=signed_out_everywhere");
        assert!(!browser.cookies.contains_key("Auth-Access-Token"));
        assert!(!lives(&service, &more.access).await && !lives(&service, &own).await);
        let page = browser.goes_to("/login?notice=signed_out_everywhere").await.text().await.unwrap();
        assert!(page.contains("signed out on all devices"), "{page}");
    }

    async fn the_own_session_is_ended_also_by_the_refresh_cookie_alone(store: Store) {
        let service = service(store).await;
        let mut browser = Browser::new(&service);
        browser.signs_in("", "alice").await;
        let own = browser.access().to_owned();
        let answer = press(&service, &mut browser, SIGN_OUT, "").await;
        assert_eq!(location(&answer), "/login?notice=signed_out");
        assert!(!browser.cookies.contains_key("Auth-Access-Token"));
        assert!(!lives(&service, &own).await);

        let tokens = service.signed_in().await;
        let request = form(&service, &Browser::new(&service), SIGN_OUT, "", Some(OWN));
        let answer = request.header("cookie", refresh_cookie(&tokens.refresh)).send().await.unwrap();
        assert_eq!(location(&answer), "/login?notice=signed_out");
        assert!(!lives(&service, &tokens.access).await);
        // Pressed twice, or by nobody: the person is signed out all the same.
        for cookie in [refresh_cookie(&tokens.refresh), "Auth-Access-Token=x".to_owned(), "a=b".to_owned()] {
            let request = form(&service, &Browser::new(&service), SIGN_OUT, "", Some(OWN));
            let answer = request.header("cookie", cookie).send().await.unwrap();
            assert_eq!(location(&answer), "/login?notice=signed_out");
        }
    }

    async fn nobody_can_end_the_session_or_take_the_identity_of_somebody_else(store: Store) {
        let service = service(store).await;
        let alice = service.signed_in_as("alice").await;
        let mut bob = Browser::new(&service);
        bob.signs_in("", "bob").await;
        let mut ada = Browser::new(&service);
        ada.cookies.insert("Auth-Access-Token".to_owned(), alice.access.clone());
        let before = service.dump().await;
        for (path, id) in [
            ("/account/end-session", alice.sid()),
            ("/account/end-session", "x".to_owned()),
            ("/account/end-session", String::new()),
            ("/account/unlink", "0".repeat(32)),
            ("/account/unlink", "x".to_owned()),
        ] {
            let answer = press(&service, &mut bob, path, &id).await;
            assert_eq!(location(&answer), telling("NOT_FOUND"), "{path} {id}");
        }
        assert_eq!(service.dump().await, before);
        assert!(lives(&service, &alice.access).await);
        let page = bob.goes_to("/account?notice=NOT_FOUND").await.text().await.unwrap();
        assert!(page.contains("role=\"alert\"") && page.contains("gone already"), "{page}");
    }

    async fn no_form_of_another_page_changes_anything(store: Store) {
        let service = service(store).await;
        let mut browser = Browser::new(&service);
        browser.signs_in("", "alice").await;
        let other = service.signed_in().await;
        let before = service.dump().await;
        let paths = ["end-session", "end-others", "end-all", "link", "unlink"].map(|it| format!("/account/{it}"));
        for path in paths.iter().map(String::as_str).chain([SIGN_OUT]) {
            let id = if path.ends_with("link") { "corp".to_owned() } else { other.sid() };
            // An origin that may call the API, ours included under another name, is not the page itself.
            for origin in ["https://evil.test", "null", APP, "http://127.0.0.1:8080", "https://localhost:8080"] {
                let request = form(&service, &browser, path, &id, Some(origin));
                let answer = browser.send(request).await;
                assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path} {origin}");
                assert!(answer.text().await.unwrap().contains("CSRF_REJECTED"));
            }
            for (origin, site) in [(None, "cross-site"), (None, "same-site"), (Some(OWN), "cross-site"), (Some(OWN), "same-site")] {
                let request = form(&service, &browser, path, &id, origin).header("sec-fetch-site", site);
                let answer = browser.send(request).await;
                assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path} {origin:?} {site}");
            }
            // A link, or a picture, does nothing either.
            let answer = browser.goes_to(path).await;
            assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        }
        assert_eq!(service.dump().await, before);
        assert!(lives(&service, &other.access).await && lives(&service, browser.access()).await);
    }
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_is_not_the_account_page() {
    let more = format!("{}[cors]\nallowed_origins = [\"{APP}\"]\n", super::options().more);
    let options = crate::common::Options { more, ..super::options() };
    let service = TestService::start_with(Store::Sqlite, options).await;
    let mut browser = Browser::new(&service);
    browser.signs_in("?returnTo=https%3A%2F%2Fapp.example.com%2F", "alice").await;
    for path in ["/account/link", "/account/end-all", SIGN_OUT] {
        let request = form(&service, &browser, path, "corp", Some(APP));
        assert_eq!(browser.send(request).await.status(), StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test]
async fn a_form_without_a_session_or_of_the_wrong_kind_changes_nothing() {
    let service = service(Store::Sqlite).await;
    let mut nobody = Browser::new(&service);
    for path in ["/account/end-all", "/account/link", "/account/unlink"] {
        let answer = press(&service, &mut nobody, path, "corp").await;
        assert_eq!(location(&answer), telling("repeat"), "{path}");
        assert!(nobody.cookies.is_empty());
    }
    let answer = press(&service, &mut nobody, "/account/other", "").await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    let post = || navigating(service.client.post(service.url("/account/end-session")));
    let answer = post().header("origin", OWN).json(&serde_json::json!({})).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let twice = post().header("origin", OWN).form(&[("id", "a"), ("id", "b")]);
    assert_eq!(twice.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    let mut known = Browser::new(&service);
    known.signs_in("", "alice").await;
    let page = known.goes_to("/account?notice=%3Cb%3E").await.text().await.unwrap();
    assert!(!page.contains("class=\"message"), "{page}");
}
