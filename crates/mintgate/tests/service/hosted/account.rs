//! `/account`: what it shows, to whom, and how somebody without an access token gets there.

use reqwest::StatusCode;

use super::{OWN, account, options, service};
use crate::common::browser::{Browser, location, navigating, path_of};
use crate::common::session::refresh_cookie;
use crate::common::{Options, Store, TestService, claims};
use crate::on_both_stores;

/// The access cookie of these tokens.
fn with_access<'a>(service: &'a TestService, access: &str) -> Browser<'a> {
    let mut browser = Browser::new(service);
    browser.cookies.insert("Auth-Access-Token".to_owned(), access.to_owned());
    browser
}

on_both_stores! {
    async fn the_page_shows_who_one_is_and_the_own_sessions_alone(store: Store) {
        let service = service(store).await;
        let bob = service.signed_in_as("bob").await;
        let body = crate::common::bare(&service.code());
        let evil = "\"><script>alert(1)</script>";
        service.post(&body).header("user-agent", evil).send().await.unwrap();
        let mut browser = Browser::new(&service);
        browser.signs_in("", "alice").await;
        let page = account(&mut browser).await;
        for text in [
            "Alice Admin",
            "alice@example.com",
            "admin, staff, user",
            "This device",
            "127.0.0.0/24",
            "&quot;&gt;&lt;script&gt;alert(1)",
            "with &lt;b&gt;Corp &amp; &quot;Co&quot;",
            "only way to sign in",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
        let own = claims(browser.access())["sid"].as_str().unwrap().to_owned();
        assert!(!page.contains(&bob.sid()) && !page.contains(&own), "{page}");
        assert_eq!(page.matches("action=\"/account/end-session\"").count(), 1, "{page}");
        assert!(!page.contains("action=\"/account/unlink\""), "the last one stays: {page}");
    }

    async fn without_an_access_token_one_round_leads_back_or_to_the_login(store: Store) {
        let service = service(store).await;
        let tokens = service.signed_in().await;
        let mut browser = Browser::new(&service);
        let round = location(&browser.goes_to("/account").await);
        assert_eq!(round, "/api/v1/auth/refresh/return?to=http%3A%2F%2Flocalhost%3A8080%2Faccount");
        let request = navigating(service.client.get(service.url(&round)));
        let request = request.header("cookie", refresh_cookie(&tokens.refresh));
        let back = location(&browser.send(request).await);
        assert_eq!(back, format!("{OWN}/account?mintgate_result=signed_in"));
        // The result does not stay in the address: a later reload needs a round of its own.
        let clean = location(&browser.goes_to(&path_of(&back)).await);
        assert_eq!(clean, "/account");
        assert_eq!(browser.goes_to(&clean).await.status(), StatusCode::OK);

        // Nobody: one round, and then the login page, which makes none.
        let mut nobody = Browser::new(&service);
        let back = location(&nobody.goes_to(&round).await);
        let login = location(&nobody.goes_to(&path_of(&back)).await);
        assert_eq!(login, "/login?returnTo=http%3A%2F%2Flocalhost%3A8080%2Faccount&mintgate_result=signed%5Fout");
        assert_eq!(nobody.goes_to(&login).await.status(), StatusCode::OK);

        // A session that has ended needs no round.
        service.log_out(&tokens.access).send().await.unwrap();
        let login = location(&with_access(&service, &tokens.access).goes_to("/account").await);
        assert!(login.ends_with("mintgate_result=SESSION%5FREVOKED"), "{login}");
        let page = Browser::new(&service).goes_to(&login).await.text().await.unwrap();
        assert!(page.contains("Your session has ended"), "{page}");
    }

    async fn a_store_that_cannot_say_signs_nobody_out(store: Store) {
        let service = service(store).await;
        let mut browser = Browser::new(&service);
        browser.signs_in("", "alice").await;
        let rename = |from: &str, to: &str| format!("ALTER TABLE {from} RENAME TO {to}");
        let (away, back) = (rename("sessions", "gone"), rename("gone", "sessions"));
        service.sql(&away, &away).await;
        let before = browser.cookies.clone();
        let sign_out = "/api/v1/auth/refresh/sign-out";
        let mut answers = vec![
            browser.goes_to("/login?returnTo=/a").await,
            browser.goes_to("/account").await,
            browser.goes_to("/login?returnTo=/a&mintgate_result=unavailable").await,
        ];
        for path in ["/account/end-all", "/account/end-others", "/account/link", sign_out] {
            answers.push(super::press(&service, &mut browser, path, "corp").await);
        }
        for answer in answers {
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{}", answer.url());
            assert_eq!(answer.headers()["retry-after"], "1");
            let page = answer.text().await.unwrap();
            assert!(page.contains("cannot tell at the moment") && page.contains("Try again"), "{page}");
            assert!(!page.contains("signed out") && !page.contains("/auth/start/"), "{page}");
        }
        assert_eq!(browser.cookies, before);
        service.sql(&back, &back).await;
        assert!(account(&mut browser).await.contains("Alice Admin"));
        // A round that the store could not answer: the person is not sent to sign in.
        let mut nobody = Browser::new(&service);
        let answer = nobody.goes_to("/account?mintgate_result=unavailable").await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn where_cookies_are_strict_the_page_is_loaded_once_more_by_itself() {
    let more = format!("{}[cookies]\nsame_site = \"Strict\"\n", options().more);
    let service = TestService::start_with(Store::Sqlite, Options { more, ..options() }).await;
    let ask = |path: &str, site: &'static str| {
        navigating(service.client.get(service.url(path))).header("sec-fetch-site", site).send()
    };
    for path in ["/account?a", "/login?returnTo=/a"] {
        let answer = ask(path, "cross-site").await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let page = answer.text().await.unwrap();
        assert!(
            page.contains(&format!("http-equiv=\"refresh\" content=\"0; url={path}\"")),
            "{page}"
        );
        let answer = ask(path, "same-origin").await.unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    }
}

#[tokio::test]
async fn a_doubled_cookie_is_refused_and_cleared() {
    let service = service(Store::Sqlite).await;
    for path in ["/login", "/account"] {
        let request = navigating(service.client.get(service.url(path)));
        let request = request.header("cookie", "Auth-Access-Token=a; Auth-Access-Token=b");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert!(answer.headers().contains_key("set-cookie"));
        assert!(answer.text().await.unwrap().contains("DUPLICATE_COOKIE"));
    }
}
