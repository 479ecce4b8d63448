//! The link that begins a login: who may be returned to, and what begins nothing.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde_json::json;
use url::Url;

use super::{APP, CALLBACK, options, service};
use crate::common::browser::{Browser, location, navigating, path_of, return_to, start};
use crate::common::session::cookies;
use crate::common::{Options, Store, TestService, assert_error, claims};
use crate::on_both_stores;

on_both_stores! {
    async fn two_links_make_a_session_and_lead_back_to_the_page(store: Store) {
        let service = service(store).await;
        let mut browser = Browser::new(&service);
        let answer = browser.goes_to(&start(&return_to("/orders?tab=2#top"))).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let [set] = cookies(&answer).try_into().unwrap();
        assert!(set.starts_with("__Host-Auth-Start-"), "{set}");
        assert!(set.ends_with("; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=87000"), "{set}");
        let url = location(&answer);
        let query: BTreeMap<_, _> = Url::parse(&url).unwrap().query_pairs().into_owned().collect();
        assert_eq!(query["redirect_uri"], CALLBACK);
        assert_eq!((query["code_challenge_method"].as_str(), query["nonce"].len()), ("S256", 43));

        let callback = service.sent_back(&url, "alice").await;
        let answer = browser.goes_to(&callback).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        assert_eq!(location(&answer), format!("{APP}/orders?tab=2&mintgate_result=signed_in#top"));
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.headers()["referrer-policy"], "no-referrer");
        let names: Vec<_> = cookies(&answer).iter().map(|it| it.split('=').next().unwrap().to_owned()).collect();
        assert_eq!(names[..2], ["Auth-Access-Token", "Auth-Refresh-Token"]);
        assert_eq!(names.len(), 3);
        let said = claims(browser.access());
        assert_eq!((&said["idp"], &said["roles"]), (&json!("corp"), &json!(["admin", "staff", "user"])));
        assert_eq!(service.sessions().await, 1);
        assert_eq!(service.me(browser.access()).send().await.unwrap().status(), StatusCode::OK);
        let metrics = service.metrics().await;
        let counted = "mintgate_token_generation_total{outcome=\"success\",provider=\"corp\"} 1";
        assert!(metrics.contains(counted), "{metrics}");
    }
}

/// Queries with a `returnTo` that is no page of the app, or that browsers might read as another one.
pub(crate) fn refused_queries() -> Vec<String> {
    let long = format!("{APP}/{}", "a".repeat(2048));
    let pages = [
        "//evil.test",
        "///evil.test",
        "/\\evil.test",
        "\\\\evil.test",
        "\\/evil.test",
        "/\t/evil.test",
        "/\n/evil.test",
        "\r\n//evil.test",
        "https:evil.test",
        "https:/evil.test",
        "https:app.example.com",
        "https:/app.example.com",
        "https:///app.example.com",
        "https://evil.test",
        "https://evil.test/https://app.example.com",
        "https://evil.test?https://app.example.com",
        "https://evil.test#https://app.example.com",
        "https://app.example.com.evil.test",
        "https://app.example.com.",
        "https://evilapp.example.com",
        "https://example.com",
        "https://app.example.com@evil.test",
        "https://app.example.com:x@evil.test",
        "https://app.example.com%40evil.test",
        "https://ada@app.example.com",
        "https://app.example.com\\@evil.test",
        "https://evil.test\\@app.example.com",
        "https://app.example.com\\.evil.test",
        "http://app.example.com",
        "ftp://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com:80",
        "https://app.example.com\t.evil.test",
        "https://app.example.com/a\r\nSet-Cookie: a=b",
        "https://app.example.com/\0",
        "https://app.example.com/a b",
        " https://app.example.com",
        "https://app.example.com ",
        "https://app%2Eexample.com",
        "https://app。example.com",
        "http://localhost:8080/",
        "javascript:alert(1)",
        "javascript://app.example.com/%0Aalert(1)",
        "data:text/html,x",
        "blob:https://app.example.com/1",
        "app.example.com",
        "orders",
        "?tab=2",
        "#top",
        "",
        &long,
    ];
    assert!(pages.len() >= 40);
    let queries = pages.iter().map(|page| return_to(page));
    let raw = [
        "?returnTo=/a&returnTo=/a",
        "?returnTo=/a&return%54o=//evil.test",
        "?returnTo=%5C%5Cevil.test",
        "?returnTo=/%5Cevil.test",
        "?returnTo=/%09/evil.test",
        "?returnTo=%252F%252Fevil.test",
        "?returnTo=/%FF",
    ];
    queries.chain(raw.map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_page_that_is_not_ours_is_refused_before_anything_begins() {
    let service = service(Store::Sqlite).await;
    for query in refused_queries() {
        let answer = service.client.get(service.url(&start(&query))).send().await.unwrap();
        assert_eq!(cookies(&answer), Vec::<String>::new(), "{query}");
        assert_error(answer, StatusCode::BAD_REQUEST, "RETURN_TO_NOT_ALLOWED").await;
    }
    assert_eq!(service.idp().control().stats().discovery, 0, "nothing was sent out");
}

#[tokio::test]
async fn the_page_is_kept_byte_for_byte_and_the_result_stands_before_the_fragment() {
    let service = service(Store::Sqlite).await;
    for (page, expected) in [
        ("/#/orders?tab=2", "/?mintgate_result=signed_in#/orders?tab=2"),
        ("/?q=a%26b&r=x+y", "/?q=a%26b&r=x+y&mintgate_result=signed_in"),
        // A header has no characters beyond ASCII; browsers show the same address.
        ("/straße", "/stra%C3%9Fe?mintgate_result=signed_in"),
        ("/stra%C3%9Fe", "/stra%C3%9Fe?mintgate_result=signed_in"),
        ("/?error=mine&code=7&state=z", "/?error=mine&code=7&state=z&mintgate_result=signed_in"),
        ("/?mintgate_result=LOGIN_EXPIRED", "/?mintgate_result=signed_in"),
    ] {
        for page in [page.to_owned(), format!("{APP}{page}")] {
            let reached = Browser::new(&service).signs_in(&return_to(&page), "alice").await;
            assert_eq!(reached, format!("{APP}{expected}"));
        }
    }
    let raw = Browser::new(&service).signs_in("?returnTo=/?r=x+y", "alice").await;
    assert_eq!(raw, format!("{APP}/?r=x+y&mintgate_result=signed_in"));
}

#[tokio::test]
async fn without_a_page_the_browser_goes_to_the_first_page_of_the_only_origin() {
    let service = service(Store::Sqlite).await;
    let reached = Browser::new(&service).signs_in("", "alice").await;
    assert_eq!(reached, format!("{APP}/?mintgate_result=signed_in"));

    let more = format!("[cors]\nallowed_origins = [\"{APP}\"]\n");
    let service = TestService::start_with(Store::Sqlite, Options { more, ..options() }).await;
    for query in ["", &return_to("/a")] {
        let request = service.client.get(service.url(&start(query)));
        service.refused(request, StatusCode::BAD_REQUEST, "RETURN_TO_NOT_ALLOWED").await;
    }
    for page in [APP, "http://localhost:8080/own"] {
        Browser::new(&service).signs_in(&return_to(page), "alice").await;
    }
}

#[tokio::test]
async fn what_is_not_the_navigation_of_a_tab_begins_nothing_and_is_told_so() {
    let service = service(Store::Sqlite).await;
    let (mode, dest) = ("sec-fetch-mode", "sec-fetch-dest");
    for (headers, field) in [
        (&[("sec-purpose", "prefetch"), (mode, "navigate")][..], "Sec-Purpose"),
        (&[("sec-purpose", "prefetch;prerender"), (mode, "navigate")], "Sec-Purpose"),
        (&[("purpose", "prefetch")], "Sec-Purpose"),
        (&[(mode, "cors"), (dest, "empty")], "Sec-Fetch-Mode"),
        (&[(mode, "no-cors"), (dest, "image")], "Sec-Fetch-Mode"),
        (&[(mode, "navigate"), (dest, "iframe")], "Sec-Fetch-Dest"),
        (&[(mode, "navigate"), (dest, "object")], "Sec-Fetch-Dest"),
    ] {
        let mut request = service.client.get(service.url(&start("")));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(cookies(&answer), Vec::<String>::new());
        let body = assert_error(answer, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
        assert_eq!(body["details"][0]["field"], field, "{headers:?}");
    }
    let head = service.client.request(Method::HEAD, service.url(&start("")));
    let answer = head.send().await.unwrap();
    assert_eq!((answer.status(), cookies(&answer).len()), (StatusCode::BAD_REQUEST, 0));
    let post = service.client.post(service.url(&start("")));
    service.refused(post, StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED").await;
    assert_eq!(service.idp().control().stats().discovery, 0, "nothing was sent out");
    // A page of the app may read why.
    let cors = format!("[cors]\nallowed_origins = [\"{APP}\"]\n");
    let service = TestService::start_with(Store::Sqlite, Options { more: cors, ..options() }).await;
    let fetched = service.client.get(service.url(&start(""))).header(mode, "cors");
    let answer = fetched.header("origin", APP).send().await.unwrap();
    assert_eq!(answer.headers()["access-control-allow-origin"], APP);
    // Neither an older browser nor curl says anything.
    let plain = service.client.get(service.url(&start(&return_to(APP)))).send().await.unwrap();
    assert_eq!(plain.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_login_that_cannot_begin_is_shown_as_a_page_with_a_way_to_try_again() {
    let mut service = service(Store::Sqlite).await;
    service.stop_provider().await;
    let request = service.client.get(service.url(&start(&return_to("/a?b=\"<c>\""))));
    let answer = navigating(request).send().await.unwrap();
    assert!(answer.status().is_server_error(), "{}", answer.status());
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let policy = answer.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    let page = answer.text().await.unwrap();
    let link =
        "href=\"../start/corp?returnTo=https%3A%2F%2Fapp%2Eexample%2Ecom%2Fa%3Fb%3D%22%3Cc%3E%22\"";
    assert!(page.contains(link), "{page}");
    let unknown = service.client.get(service.url("/api/v1/auth/start/%3Cscript%3E"));
    let page = navigating(unknown).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("UNKNOWN_PROVIDER") && !page.contains("<script"), "{page}");
}

#[tokio::test]
async fn the_cookie_is_lax_whatever_the_session_cookies_are() {
    for cookies_section in ["same_site = \"Strict\"", "same_site = \"None\"\npartitioned = true"] {
        let more = format!("{}[cookies]\n{cookies_section}\n", options().more);
        let service = TestService::start_with(Store::Sqlite, Options { more, ..options() }).await;
        let answer = Browser::new(&service).goes_to(&start("")).await;
        let [set] = cookies(&answer).try_into().unwrap();
        assert!(set.contains("; SameSite=Lax;") && !set.contains("Partitioned"), "{set}");
    }
}

#[tokio::test]
async fn the_callback_is_no_redirect_uri_for_clients() {
    let service = service(Store::Sqlite).await;
    let body = json!({ "provider": "corp", "redirectUri": CALLBACK });
    let request = service.login_request(&body);
    service.refused(request, StatusCode::BAD_REQUEST, "REDIRECT_URI_NOT_ALLOWED").await;
    let mut browser = Browser::new(&service);
    let callback = browser.is_sent_back("", "alice").await;
    let response: BTreeMap<String, String> =
        Url::parse(&format!("http://a{callback}")).unwrap().query_pairs().into_owned().collect();
    // The only configured redirect URI is still the only one.
    let (_, other_cookie) = service.response_for("alice").await;
    let own = browser.cookies.iter().next().map(|(name, value)| format!("{name}={value}")).unwrap();
    let renamed = own.replace("Auth-Start-", "Auth-Login-");
    for cookie in [own, renamed, other_cookie] {
        let request = service.finish(&response, &cookie);
        service.refused(request, StatusCode::UNAUTHORIZED, "INVALID_STATE").await;
    }
    // And a login of a client cannot be finished by the callback.
    let (response, cookie) = service.response_for("alice").await;
    let query =
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&response).finish();
    for cookie in [cookie.clone(), cookie.replace("Auth-Login-", "Auth-Start-")] {
        let url = service.url(&format!("/api/v1/auth/callback/corp?{query}"));
        let request = service.client.get(url).header("cookie", cookie);
        service.refused(request, StatusCode::UNAUTHORIZED, "INVALID_STATE").await;
    }
    assert_eq!(service.idp().control().stats().token, 0, "no code was sent anywhere");
}

#[tokio::test]
async fn below_a_path_the_callback_and_the_links_are_below_it_too() {
    let options = Options { real_address: true, path: "/auth", ..Options::default() };
    let service = TestService::start_with(Store::Sqlite, options).await;
    let mut browser = Browser::new(&service);
    let answer = browser.goes_to(&format!("/auth{}", start(""))).await;
    let url = Url::parse(&location(&answer)).unwrap();
    let uri = url.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1;
    assert_eq!(uri, service.url("/auth/api/v1/auth/callback/corp"));
    assert_eq!(path_of(&uri), "/auth/api/v1/auth/callback/corp?");
}

#[tokio::test]
async fn the_check_of_a_configuration_says_what_to_register_and_warns_of_pages_elsewhere() {
    let service = service(Store::Sqlite).await;
    let path = service.config_file();
    let check = |path: &std::path::Path| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mintgate"));
        let output = command.arg("--config").arg(path).args(["config", "check"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let said = check(&path);
    assert!(said.contains(CALLBACK), "{said}");
    assert!(said.contains(&format!("Warning: {APP} (pages.return_origins)")), "{said}");
    let changed = service.config_with(|text| text.replace(APP, "http://localhost:3000"));
    assert!(!check(&changed).contains("pages.return_origins"));
}
