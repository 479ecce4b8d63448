//! A refresh by a link, for pages that a server renders.

use mintgate_testkit::http::RequestBuilder;
use reqwest::{Method, StatusCode};

use super::{APP, service};
use crate::common::browser::{location, navigating};
use crate::common::session::{cookies, refresh_cookie};
use crate::common::{Store, TestService, Tokens, assert_error};
use crate::on_both_stores;

const RETURN: &str = "/api/v1/auth/refresh/return";

impl TestService {
    /// The navigation of a browser with this refresh token.
    fn round(&self, query: &str, refresh: &str) -> RequestBuilder {
        let request = navigating(self.client.get(self.url(&format!("{RETURN}{query}"))));
        request.header("cookie", refresh_cookie(refresh))
    }
}

on_both_stores! {
    async fn a_round_below_the_refresh_cookies_path_renews_the_cookies_and_comes_back(store: Store) {
        let service = service(store).await;
        let tokens = service.signed_in().await;
        let answer = service.round("?to=/orders%3Ftab=2%23top", &tokens.refresh).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        assert_eq!(location(&answer), format!("{APP}/orders?tab=2&mintgate_result=signed_in#top"));
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let set = cookies(&answer);
        assert_eq!(set.len(), 2);
        let value = |at: usize| set[at].split(['=', ';']).nth(1).unwrap().to_owned();
        let renewed = Tokens { access: value(0), refresh: value(1) };
        assert_eq!((renewed.sid(), renewed.generation()), (tokens.sid(), 1));
        // Several tabs at once get the same successor.
        let again = service.round("?to=/", &tokens.refresh).send().await.unwrap();
        assert!(cookies(&again)[1].starts_with(&format!("Auth-Refresh-Token={}", renewed.refresh)));

        // An address that has been here is sent back as it is: no round follows a round.
        let before = service.dump().await;
        let to = "?to=/a%3Fmintgate_result=signed_in%26b";
        let answer = service.round(to, &renewed.refresh).send().await.unwrap();
        assert_eq!(location(&answer), format!("{APP}/a?b&mintgate_result=unavailable"));
        assert_eq!(cookies(&answer), Vec::<String>::new());
        assert_eq!(service.dump().await, before);

        service.log_out(&renewed.access).send().await.unwrap();
        let answer = service.round("?to=/", &renewed.refresh).send().await.unwrap();
        assert_eq!(location(&answer), format!("{APP}/?mintgate_result=signed_out"));
        assert_eq!(cookies(&answer), Vec::<String>::new(), "no cookie of a token is cleared");
    }
}

#[tokio::test]
async fn without_a_session_the_page_is_told_so() {
    let service = service(Store::Sqlite).await;
    let none = navigating(service.client.get(service.url(&format!("{RETURN}?to=/a"))));
    let answer = none.send().await.unwrap();
    assert_eq!(location(&answer), format!("{APP}/a?mintgate_result=signed_out"));
    for token in ["x", "a.b.c"] {
        let answer = service.round("", token).send().await.unwrap();
        assert_eq!(location(&answer), format!("{APP}/?mintgate_result=signed_out"));
    }
}

#[tokio::test]
async fn only_the_navigation_of_a_tab_to_one_of_our_pages_refreshes() {
    let service = service(Store::Sqlite).await;
    let tokens = service.signed_in().await;
    let with_cookie = |query: &str| {
        let request = service.client.get(service.url(&format!("{RETURN}{query}")));
        request.header("cookie", refresh_cookie(&tokens.refresh))
    };
    for (request, code) in [
        (with_cookie("?to=//evil.test"), "RETURN_TO_NOT_ALLOWED"),
        (with_cookie("?to=https://app.example.com.evil.test"), "RETURN_TO_NOT_ALLOWED"),
        (with_cookie("?to=/&to=/"), "RETURN_TO_NOT_ALLOWED"),
        (with_cookie("?to=/").header("sec-fetch-mode", "cors"), "INVALID_REQUEST"),
        (with_cookie("?to=/").header("sec-purpose", "prefetch"), "INVALID_REQUEST"),
        (with_cookie("?to=/").header("sec-fetch-dest", "iframe"), "INVALID_REQUEST"),
    ] {
        service.refused(request, StatusCode::BAD_REQUEST, code).await;
    }
    let url = service.url(&format!("{RETURN}?to=/"));
    let head = service.client.request(Method::HEAD, &url);
    let head = head.header("cookie", refresh_cookie(&tokens.refresh)).send().await.unwrap();
    assert_eq!((head.status(), cookies(&head).len()), (StatusCode::BAD_REQUEST, 0));
    let posted = service.client.post(&url).send().await.unwrap();
    assert_error(posted, StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED").await;
    assert_eq!(service.refreshed(&tokens.refresh).await.generation(), 1, "the first refresh");
}

#[tokio::test]
async fn no_trouble_signs_anybody_out() {
    let service = service(Store::Sqlite).await;
    let tokens = service.signed_in().await;
    let doubled = format!("{0}; {0}", refresh_cookie(&tokens.refresh));
    let request = service.client.get(service.url(&format!("{RETURN}?to=/")));
    let answer = navigating(request).header("cookie", doubled).send().await.unwrap();
    assert_eq!(location(&answer), format!("{APP}/?mintgate_result=unavailable"));
    if let Some(mut service) = TestService::behind_a_line().await {
        let origins = format!("[pages]\nreturn_origins = [\"{APP}\"]\n");
        service.restart_with(|text| format!("{origins}{text}"));
        let tokens = service.signed_in().await;
        service.line().cut();
        let answer = service.round("?to=/", &tokens.refresh).send().await.unwrap();
        assert_eq!(location(&answer), format!("{APP}/?mintgate_result=unavailable"));
        assert_eq!(cookies(&answer), Vec::<String>::new());
    }
}
