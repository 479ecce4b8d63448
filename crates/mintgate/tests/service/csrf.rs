//! What foreign pages, and cookies somebody planted, cannot do to a session.

use crate::common::session::{
    LOGOUT, LOGOUT_ALL, ME, REFRESH, SESSIONS, access_cookie, cookies, refresh_cookie,
};
use crate::common::{Options, Store, TestService, Tokens};
use crate::on_both_stores;
use mintgate_testkit::http::RequestBuilder;
use reqwest::{Method, StatusCode};
use serde_json::json;

const ORIGIN: &str = "https://app.example.com";

async fn start(store: Store) -> TestService {
    let more = format!("[cors]\nallowed_origins = [\"{ORIGIN}\"]\n[tokens]\nbody_delivery = true");
    TestService::start_with(store, Options { more, ..Options::default() }).await
}

/// Every request that changes a session and has nothing but cookies to show.
fn by_cookie(service: &TestService, tokens: &Tokens) -> Vec<RequestBuilder> {
    let (access, refresh) = (access_cookie(&tokens.access), refresh_cookie(&tokens.refresh));
    let post = |path: &str| service.client.post(service.url(path));
    let one = service.url(&format!("{SESSIONS}/{}", tokens.sid()));
    vec![
        post(REFRESH).header("cookie", &refresh),
        post(REFRESH).header("cookie", format!("{access}; {refresh}")),
        post(REFRESH).header("cookie", &refresh).json(&json!({})),
        // What a form of a foreign page can send.
        post(REFRESH).header("cookie", &refresh).header("content-type", "text/plain").body("{}"),
        post(LOGOUT).header("cookie", &access),
        post(LOGOUT).header("cookie", &refresh),
        post(LOGOUT).header("cookie", &access).header("content-type", "text/plain").body("x=y"),
        post(LOGOUT_ALL).header("cookie", &access),
        service.client.delete(&one).header("cookie", &access),
        // A scheme that is not ours changes nothing about it.
        post(LOGOUT).header("cookie", &access).header("authorization", "Basic YTpi"),
    ]
}

on_both_stores! {
    async fn case_47_a_foreign_page_cannot_act_by_cookie(store: Store) {
        let service = start(store).await;
        let tokens = service.signed_in().await;
        for headers in [
            &[("origin", "https://evil.test")][..],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "https://app.example.com.evil.test")],
            &[("origin", "https://evil-app.example.com")],
            &[("origin", "http://app.example.com")],
            &[("origin", "https://app.example.com:8443")],
            &[("origin", ORIGIN), ("origin", "https://evil.test")],
            &[("sec-fetch-site", "cross-site")],
            &[("origin", "https://evil.test"), ("sec-fetch-site", "same-origin")],
        ] {
            for request in by_cookie(&service, &tokens) {
                let request = headers.iter().fold(request, |r, (name, value)| r.header(*name, *value));
                let again = request.try_clone().unwrap();
                service.refused(request, StatusCode::FORBIDDEN, "CSRF_REJECTED").await;
                let answer = again.send().await.unwrap();
                assert!(cookies(&answer).is_empty(), "nothing is cleared either");
            }
        }
        assert_eq!(service.refreshed(&tokens.refresh).await.generation(), 1);
    }

    async fn case_47_own_and_listed_pages_and_other_programs_can(store: Store) {
        let service = start(store).await;
        for headers in [
            &[][..],
            &[("origin", ORIGIN), ("sec-fetch-site", "cross-site")],
            &[("origin", "http://localhost:8080")],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
        ] {
            let tokens = service.signed_in().await;
            let cookie = refresh_cookie(&tokens.refresh);
            for request in [
                service.client.post(service.url(REFRESH)).header("cookie", cookie),
                service.client.post(service.url(LOGOUT)).header("cookie", access_cookie(&tokens.access)),
            ] {
                let request = headers.iter().fold(request, |r, (name, value)| r.header(*name, *value));
                let answer = request.send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::OK, "{headers:?}");
                let readable = answer.headers().get("access-control-allow-origin");
                let listed = headers.contains(&("origin", ORIGIN));
                assert_eq!(readable.is_some(), listed, "{headers:?}");
            }
        }
    }

    async fn case_47_a_token_that_no_browser_adds_by_itself_needs_no_origin(store: Store) {
        let service = start(store).await;
        let tokens = service.signed_in().await;
        let foreign = |request: RequestBuilder| {
            request.header("origin", "https://elsewhere.test").header("cookie", access_cookie("planted"))
        };
        let answer = foreign(service.refresh_by_body(&tokens.refresh)).send().await.unwrap();
        let tokens = Tokens::of(answer).await;
        let answer = foreign(service.log_out(&tokens.access)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }

    async fn case_48_a_doubled_cookie_is_400_on_every_route_and_every_variant_is_cleared(store: Store) {
        let service = start(store).await;
        let tokens = service.signed_in().await;
        let one = format!("{SESSIONS}/{}", tokens.sid());
        for twice in [
            format!("Auth-Access-Token={0}; other=1; Auth-Access-Token={0}", tokens.access),
            format!("Auth-Refresh-Token={}; Auth-Refresh-Token=planted", tokens.refresh),
        ] {
            for (method, path) in [
                (Method::POST, REFRESH), (Method::POST, LOGOUT), (Method::POST, LOGOUT_ALL),
                (Method::DELETE, &one), (Method::GET, ME), (Method::GET, SESSIONS),
            ] {
                // Whatever else is shown.
                for bearer in [false, true] {
                    let request = || {
                        let request = service.client.request(method.clone(), service.url(path))
                            .header("cookie", &twice);
                        if bearer { request.bearer_auth(&tokens.access) } else { request }
                    };
                    service.refused(request(), StatusCode::BAD_REQUEST, "DUPLICATE_COOKIE").await;
                    let name = twice.split('=').next().unwrap();
                    let cleared = cookies(&request().send().await.unwrap());
                    assert!(cleared[0].starts_with(&format!("{name}=; Path=/; ")), "{cleared:?}");
                }
            }
            let request = service.refresh_by_body(&tokens.refresh).header("cookie", &twice);
            service.refused(request, StatusCode::BAD_REQUEST, "DUPLICATE_COOKIE").await;
        }
        assert_eq!(service.refreshed(&tokens.refresh).await.generation(), 1);
    }
}
