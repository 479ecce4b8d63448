//! `/login`: its links, where they lead, what it says, and what it does for whoever has a session.

use reqwest::StatusCode;

use super::{OWN, options, service};
use crate::common::browser::{Browser, location, navigating, path_of, return_to};
use crate::common::session::{cookies, refresh_cookie};
use crate::common::{Options, Store, TestService};
use crate::links::APP;
use crate::links::start::refused_queries;
use crate::on_both_stores;

/// The page as somebody sees it who has no session and was not sent to look for one.
fn settled(query: &str) -> String {
    let joint = if query.is_empty() { '?' } else { '&' };
    format!("/login{query}{joint}mintgate_result=signed_out")
}

#[tokio::test]
async fn the_page_has_a_link_for_each_provider_and_the_link_signs_in() {
    let service = service(Store::Sqlite).await;
    let mut browser = Browser::new(&service);
    let answer = browser.goes_to(&settled(&return_to("/orders?tab=2#top"))).await;
    assert_eq!((answer.status(), cookies(&answer).len()), (StatusCode::OK, 0));
    let page = answer.text().await.unwrap();
    let link = "/api/v1/auth/start/corp?returnTo=https%3A%2F%2Fapp%2Eexample%2Ecom%2Forders%3Ftab%3D2%23top";
    assert!(page.contains(&format!("href=\"{link}\"")), "{page}");
    assert_eq!(page.matches("/api/v1/auth/start/").count(), 1);
    for text in ["Sign in with &lt;b&gt;Corp &amp; &quot;Co&quot;", "Example &lt;Co&gt;</title>"] {
        assert!(page.contains(text), "{page}");
    }
    for markup in ["<b>", "<Co>", "<script", "style=\"", "role=\"alert\""] {
        assert!(!page.contains(markup), "{markup}: {page}");
    }
    let url = location(&browser.goes_to(link).await);
    let callback = service.sent_back(&url, "alice").await;
    let reached = location(&browser.goes_to(&callback).await);
    assert_eq!(reached, format!("{APP}/orders?tab=2&mintgate_result=signed_in#top"));
}

#[tokio::test]
async fn a_page_that_start_would_refuse_is_refused_here_too_and_has_no_link() {
    let service = service(Store::Sqlite).await;
    for query in refused_queries() {
        let request = navigating(service.client.get(service.url(&format!("/login{query}"))));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let page = answer.text().await.unwrap();
        assert!(
            page.contains("RETURN_TO_NOT_ALLOWED") && page.contains("role=\"alert\""),
            "{page}"
        );
        assert!(!page.contains("/auth/start/") && !page.contains("evil"), "{page}");
    }
}

on_both_stores! {
    async fn who_has_a_session_that_can_be_refreshed_is_sent_on_without_a_question(store: Store) {
        let service = service(store).await;
        let tokens = service.signed_in().await;
        let mut browser = Browser::new(&service);
        let answer = browser.goes_to("/login?returnTo=/a%3Fb").await;
        let round = location(&answer);
        assert!(round.starts_with("/api/v1/auth/refresh/return?to="), "{round}");
        let request = navigating(service.client.get(service.url(&round)));
        let answer = browser.send(request.header("cookie", refresh_cookie(&tokens.refresh))).await;
        let back = location(&answer);
        assert_eq!(back, format!("{OWN}/login?returnTo=/a%3Fb&mintgate_result=signed_in"));
        let answer = browser.goes_to(&path_of(&back)).await;
        assert_eq!(location(&answer), format!("{APP}/a?b"));
        // Who comes again is asked: an app that sends people here must not make them go round in circles.
        let answer = browser.goes_to("/login?returnTo=/a").await;
        assert_eq!(answer.status(), StatusCode::OK);
        let page = answer.text().await.unwrap();
        assert!(page.contains("signed in as Alice Admin"), "{page}");
        assert!(page.contains(&format!("class=\"button\" href=\"{APP}/a\"")), "{page}");
        assert!(page.contains("href=\"/account\"") && page.contains("/auth/start/corp"), "{page}");
    }

    async fn who_has_none_is_shown_the_page_after_one_round(store: Store) {
        let service = service(store).await;
        let mut browser = Browser::new(&service);
        let round = location(&browser.goes_to("/login?returnTo=/a").await);
        let back = location(&browser.goes_to(&round).await);
        assert_eq!(back, format!("{OWN}/login?returnTo=/a&mintgate_result=signed_out"));
        let answer = browser.goes_to(&path_of(&back)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(!answer.text().await.unwrap().contains("class=\"message"));
    }
}

#[tokio::test]
async fn how_an_earlier_attempt_has_ended_is_told_in_words() {
    let service = service(Store::Sqlite).await;
    let mut browser = Browser::new(&service);
    for (code, words) in [
        ("LOGIN_CANCELLED", "cancelled"),
        ("LOGIN_EXPIRED", "took too long"),
        ("ACCESS_DENIED", "no access"),
        ("INVALID_STATE", "not begun in this browser"),
        ("PROVIDER_UNAVAILABLE", "cannot be used at the moment"),
        ("RATE_LIMITED", "too many attempts"),
        ("SESSION_REVOKED", "has ended"),
        ("signed_in", "did not keep the cookies"),
        ("%3Cscript%3E", "did not work"),
    ] {
        // By the app, and by a gateway that sends people here from the page that they were returned to.
        let here = format!("/login?mintgate_result={code}");
        let there = format!("/login?returnTo=/a%3Fmintgate_result%3D{code}");
        for path in [here, there].iter().take(if code == "signed_in" { 1 } else { 2 }) {
            let answer = browser.goes_to(path).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            let page = answer.text().await.unwrap();
            assert!(page.contains("role=\"alert\" tabindex=\"-1\" autofocus"), "{path}: {page}");
            assert!(page.contains(words) && !page.contains("<script"), "{path}: {page}");
            assert!(page.contains("/auth/start/corp"), "{path}: {page}");
        }
    }
    for path in [settled(""), settled("?returnTo=/a%3Fmintgate_result%3Dunavailable")] {
        let page = browser.goes_to(&path).await.text().await.unwrap();
        assert!(!page.contains("class=\"message"), "{page}");
    }
    // A gateway's page, whose cookies the browser has not kept.
    let query = "?returnTo=/a%3Fmintgate_result%3Dsigned_in";
    let page = browser.goes_to(&settled(query)).await.text().await.unwrap();
    assert!(page.contains("did not keep the cookies"), "{page}");
}

#[tokio::test]
async fn without_a_page_one_goes_to_the_app_or_to_the_account() {
    let service = service(Store::Sqlite).await;
    let page = Browser::new(&service).goes_to(&settled("")).await.text().await.unwrap();
    assert!(
        page.contains("start/corp?returnTo=http%3A%2F%2Flocalhost%3A8080%2Faccount\""),
        "{page}"
    );
    let more =
        options().more.replace("hosted", "home_url = \"https://app.example.com/home\"\nhosted");
    let service = TestService::start_with(Store::Sqlite, Options { more, ..options() }).await;
    let page = Browser::new(&service).goes_to(&settled("")).await.text().await.unwrap();
    let link = "start/corp?returnTo=https%3A%2F%2Fapp%2Eexample%2Ecom%2Fhome\"";
    assert!(
        page.contains(link)
            && page.contains("class=\"brand\" href=\"https://app.example.com/home\""),
        "{page}"
    );
}

#[tokio::test]
async fn what_is_not_a_navigation_is_sent_nowhere() {
    let service = service(Store::Sqlite).await;
    for path in ["/login", "/account"] {
        let request = navigating(service.client.get(service.url(path)));
        let answer = request.header("sec-purpose", "prefetch").send().await.unwrap();
        let is_page = path == "/login";
        assert_eq!(answer.status() == StatusCode::OK, is_page, "{path}");
    }
}

#[tokio::test]
async fn a_gateway_sends_people_to_the_page() {
    let service = service(Store::Sqlite).await;
    let check = service.client.get(service.url("/api/v1/auth/check")).send().await.unwrap();
    assert_eq!(check.headers()["x-auth-login"], format!("{OWN}/login"));
}

#[tokio::test]
async fn where_the_pages_are_not_served_there_are_none() {
    let service = TestService::start_with(Store::Sqlite, crate::links::options()).await;
    let paths = ["/login", "/account", "/api/v1/auth/pages/hosted.css", "/api/v1/auth/pages/logo"];
    for path in paths {
        let request = service.client.get(service.url(path));
        service.refused(request, StatusCode::NOT_FOUND, "NOT_FOUND").await;
    }
    let posts = ["/account/link", "/account/end-all", "/api/v1/auth/refresh/sign-out"];
    for path in posts {
        let request = service.client.post(service.url(path)).header("origin", OWN);
        service.refused(request, StatusCode::NOT_FOUND, "NOT_FOUND").await;
    }
    let to = "/api/v1/auth/start/corp?returnTo=http%3A%2F%2Flocalhost%3A8080%2Faccount";
    let request = service.client.get(service.url(to));
    service.refused(request, StatusCode::BAD_REQUEST, "RETURN_TO_NOT_ALLOWED").await;
}
