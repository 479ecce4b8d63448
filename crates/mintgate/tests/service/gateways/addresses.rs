//! Where a caller who is not signed in is sent, and comes back.

use super::*;

const START: &str = "http://localhost:8080/api/v1/auth/start/corp";

/// The login that leads back to a page, which is written as a query has it.
fn leading_to(page: &str) -> String {
    format!("{START}?returnTo={page}")
}

async fn refused(service: &TestService, path: &str, sent: &[(&str, &str)]) -> Response {
    let mut request = service.ask(Method::GET, path);
    for (name, value) in sent {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn the_login_leads_back_to_the_whole_address_that_the_gateway_names() {
    let service = TestService::start_with(Store::Sqlite, options()).await;
    let page = leading_to("https%3A%2F%2Fapp.example.com%2Fsearch%3Fq%3Da%2526b%26x%3D1");
    let forwarded = |scheme| {
        [
            ("x-forwarded-proto", scheme),
            ("x-forwarded-host", "app.example.com"),
            ("x-forwarded-uri", "/search?q=a%26b&x=1"),
            ("x-forwarded-method", "GET"),
        ]
    };
    for sent in [
        &[("x-original-url", "https://app.example.com/search?q=a%26b&x=1")][..],
        &[("x-original-url", "wss://app.example.com/search?q=a%26b&x=1")],
        &forwarded("https"),
        &forwarded("wss"),
    ] {
        let answer = refused(&service, CHECK, sent).await;
        assert_uncached(&answer);
        assert_eq!(header(&answer, "x-auth-login"), Some(page.as_str()), "{sent:?}");
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn no_address_is_guessed_and_none_that_is_not_on_the_list_is_led_to() {
    let service = TestService::start_with(Store::Sqlite, options()).await;
    let of = |url| [("x-original-url", url)];
    for sent in [
        &[][..],
        &[("host", "app.example.com")],
        &of("https://evil.example/"),
        &of("https://app.example.com.evil.example/"),
        &of("https://app.example.com@evil.example/"),
        &of("https://evil.example\\@app.example.com/"),
        &of("http://app.example.com/"),
        &of("https://app.example.com:8443/"),
        &of("//app.example.com/"),
        &of("/\\evil"),
        &of("javascript://app.example.com/%0aalert(1)"),
        &[of("https://app.example.com/")[0], of("https://app.example.com/")[0]],
        &[
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-uri", "/"),
        ],
        &[
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "app.example.com"),
            ("x-forwarded-uri", ".evil.example/"),
        ],
        &[("x-forwarded-proto", "https"), ("x-forwarded-host", "app.example.com")],
    ] {
        for path in [CHECK, "/api/v1/auth/check?login=redirect&returnTo=https://evil.example/"] {
            let sent: Vec<_> =
                sent.iter().copied().chain([("sec-fetch-mode", "navigate")]).collect();
            let answer = refused(&service, path, &sent).await;
            assert_eq!(header(&answer, "x-auth-login"), Some(START), "{sent:?}");
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "no redirect leads nowhere");
        }
    }
}

#[tokio::test]
async fn only_a_trusted_gateway_is_believed() {
    let options = Options { server: "", ..options() };
    let service = TestService::start_with(Store::Sqlite, options).await;
    let sent = [("x-original-url", "https://app.example.com/"), ("sec-fetch-mode", "navigate")];
    let answer = refused(&service, "/api/v1/auth/check?login=redirect", &sent).await;
    assert_eq!(header(&answer, "x-auth-login"), Some(START));
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn navigations_are_redirected_where_that_is_asked_for_and_nothing_else_is() {
    let service = TestService::start_with(Store::Sqlite, options()).await;
    let page = ("x-original-url", "https://app.example.com/orders");
    let login = leading_to("https%3A%2F%2Fapp.example.com%2Forders");
    let navigates = ("sec-fetch-mode", "navigate");
    let office = "/api/v1/auth/gateway/office/orders";
    for path in ["/api/v1/auth/check?login=redirect", office] {
        for mode in [navigates, ("accept", "text/html,*/*;q=0.8")] {
            let answer = refused(&service, path, &[page, mode]).await;
            assert_uncached(&answer);
            assert_eq!(answer.status(), StatusCode::FOUND, "{path} {mode:?}");
            assert_eq!(header(&answer, "location"), Some(login.as_str()));
        }
        for sent in [
            &[page][..],
            &[page, ("accept", "application/json")],
            &[page, ("sec-fetch-mode", "cors"), ("accept", "text/html")],
            &[page, navigates, ("x-forwarded-method", "POST")],
        ] {
            let answer = refused(&service, path, sent).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path} {sent:?}");
            assert_eq!(header(&answer, "x-auth-login"), Some(login.as_str()));
        }
        let posted = service.ask(Method::POST, path).header(page.0, page.1);
        let answer = posted.header(navigates.0, navigates.1).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    for path in [CHECK, SHOP, "/api/v1/auth/check?login=yes", "/api/v1/auth/gateway/other"] {
        let answer = refused(&service, path, &[page, navigates]).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    // Another login would not help.
    let bob = service.signed_in_as("bob").await.access;
    let request = service.ask(Method::GET, office).header("cookie", access_cookie(&bob));
    let answer = request.header(page.0, page.1).header(navigates.0, navigates.1).send().await;
    assert_eq!(answer.unwrap().status(), StatusCode::FORBIDDEN);
}
