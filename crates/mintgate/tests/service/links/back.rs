//! The Back button, and responses that come to a login that is over.

use reqwest::StatusCode;

use super::{APP, service};
use crate::common::Store;
use crate::common::browser::{Browser, location, start};
use crate::on_both_stores;

on_both_stores! {
    async fn back_at_the_response_leads_on_to_the_page_while_there_is_a_session(store: Store) {
        let service = service(store).await;
        let mut browser = Browser::new(&service);
        let url = browser.starts("?returnTo=/a").await;
        let callback = service.sent_back(&url, "alice").await;
        browser.goes_to(&callback).await;
        let token = browser.access().to_owned();
        // The same response, and another one that the provider gives at once for the same request.
        for path in [callback.clone(), service.sent_back(&url, "alice").await] {
            let answer = browser.goes_to(&path).await;
            assert_eq!(location(&answer), format!("{APP}/a?mintgate_result=signed_in"));
            assert_eq!(browser.access(), token, "the session is the same");
        }
        assert_eq!(service.idp().control().stats().exchanges, 1);
        assert_eq!(service.sessions().await, 1);

        // Signed out: one sentence, and the link to begin again.
        service.log_out(&token).send().await.unwrap();
        for has_cookie in [true, false] {
            if !has_cookie {
                browser.cookies.remove("Auth-Access-Token");
            }
            let answer = browser.goes_to(&callback).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
            let page = answer.text().await.unwrap();
            let link = "href=\"../start/corp?returnTo=https%3A%2F%2Fapp%2Eexample%2Ecom%2Fa\"";
            assert!(page.contains(link) && page.contains("INVALID_STATE"), "{page}");
        }
        assert_eq!(service.idp().control().stats().exchanges, 1);
    }
}

#[tokio::test]
async fn back_at_the_provider_and_another_sign_in_works() {
    let service = service(Store::Sqlite).await;
    let mut browser = Browser::new(&service);
    let abandoned = browser.starts("?returnTo=/a").await;
    browser.signs_in("?returnTo=/b", "alice").await;
    let callback = service.sent_back(&abandoned, "bob").await;
    let answer = browser.goes_to(&callback).await;
    assert_eq!(location(&answer), format!("{APP}/a?mintgate_result=signed_in"));
}

#[tokio::test]
async fn five_logins_at_once_are_the_most_and_the_oldest_gives_way() {
    let service = service(Store::Sqlite).await;
    let mut browser = Browser::new(&service);
    for _ in 0..8 {
        browser.goes_to(&start("")).await;
    }
    assert_eq!(browser.cookies.len(), 5);
}
