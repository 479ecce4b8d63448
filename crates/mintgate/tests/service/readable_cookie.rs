//! The cookie `Auth-Session`, which tells a page's script that there is a session.

use crate::common::session::{LOGOUT, REFRESH, access_cookie, cookies};
use crate::common::{Options, Store, TestService, assert_error, bare};
use crate::on_both_stores;
use reqwest::{Response, StatusCode};
use serde_json::json;

const SET: &str = "Auth-Session=1; Path=/; Secure; SameSite=Lax; Max-Age=2592000";
const CLEARED: &str = "Auth-Session=; Path=/; Secure; SameSite=Lax; Max-Age=0";

async fn start(store: Store) -> TestService {
    let more = "[tokens]\nbody_delivery = true\n[cookies]\nhint = true".to_owned();
    TestService::start_with(store, Options { more, ..Options::default() }).await
}

fn hints(answer: &Response) -> Vec<String> {
    cookies(answer).into_iter().filter(|cookie| cookie.starts_with("Auth-Session=")).collect()
}

on_both_stores! {
    async fn it_comes_with_the_refresh_cookie_and_goes_with_it(store: Store) {
        let service = start(store).await;
        let answer = service.login(&service.code()).await;
        assert_eq!(hints(&answer), [SET]);
        let set = cookies(&answer);
        let token = set[1].strip_prefix("Auth-Refresh-Token=").unwrap().split(';').next().unwrap();
        let answer = service.refresh(token).send().await.unwrap();
        assert_eq!((answer.status(), hints(&answer)), (StatusCode::OK, vec![SET.to_owned()]));
        let set = cookies(&answer);
        let access = set[0].strip_prefix("Auth-Access-Token=").unwrap().split(';').next().unwrap();
        let out = service.client.post(service.url(LOGOUT)).header("cookie", access_cookie(access));
        let answer = out.send().await.unwrap();
        assert_eq!((answer.status(), hints(&answer)), (StatusCode::OK, vec![CLEARED.to_owned()]));
        // The session has ended: whatever says otherwise is cleared, but not the cookies of a token.
        let answer = service.refresh(token).send().await.unwrap();
        assert_eq!(cookies(&answer), [CLEARED]);
        assert_error(answer, StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
    }

    async fn it_is_cleared_where_it_says_what_is_not_so(store: Store) {
        let service = start(store).await;
        let nothing = service.client.post(service.url(REFRESH)).header("cookie", "Auth-Session=1");
        let answer = nothing.send().await.unwrap();
        assert_eq!(cookies(&answer), [CLEARED]);
        assert_error(answer, StatusCode::UNAUTHORIZED, "INVALID_REFRESH_TOKEN").await;
        // A cookie that anybody can write is no credential.
        let me = service.client.get(service.url("/api/v1/auth/me")).header("cookie", "Auth-Session=1");
        assert_error(me.send().await.unwrap(), StatusCode::UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
    }

    async fn tokens_in_the_body_bring_none(store: Store) {
        let service = start(store).await;
        let mut body = bare(&service.code());
        body["tokenDelivery"] = json!("body");
        let answer = service.post(&body).send().await.unwrap();
        assert_eq!((answer.status(), cookies(&answer)), (StatusCode::OK, vec![]));
    }

    async fn there_is_none_unless_it_is_configured(store: Store) {
        let service = TestService::start(store).await;
        let answer = service.login(&service.code()).await;
        assert_eq!((answer.status(), hints(&answer)), (StatusCode::OK, vec![]));
        let nothing = service.client.post(service.url(REFRESH)).header("cookie", "Auth-Session=1");
        assert_eq!(cookies(&nothing.send().await.unwrap()), Vec::<String>::new());
    }
}

/// A store in doubt says nothing about the session.
#[tokio::test]
async fn a_store_that_cannot_be_reached_leaves_it_alone() {
    if !mintgate_testkit::postgres::is_given() {
        return;
    }
    let more = "[cookies]\nhint = true".to_owned();
    let options =
        Options { more, behind_a_line: true, store_timeout_ms: 1000, ..Options::default() };
    let service = TestService::start_with(Store::Postgres, options).await;
    let tokens = service.signed_in().await;
    service.line().cut();
    let answer = service.refresh(&tokens.refresh).send().await.unwrap();
    assert_eq!((answer.status(), cookies(&answer)), (StatusCode::SERVICE_UNAVAILABLE, vec![]));
}
