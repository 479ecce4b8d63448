//! How the pages look: languages, files, headers, the path of the public URL, the settings.

use reqwest::StatusCode;

use super::{OWN, options, service};
use crate::common::browser::{Browser, location, navigating};
use crate::common::{Options, Store, TestService};

const STYLE: &str = "/api/v1/auth/pages/hosted.css";
const OWN_STYLE: &str = "/api/v1/auth/pages/own.css";
const LOGO: &str = "/api/v1/auth/pages/logo";
const LOGIN: &str = "/login?mintgate_result=LOGIN_CANCELLED";

/// The settings with more lines in `[pages]`.
fn with(lines: &str) -> Options {
    let more = options().more.replace("hosted = true\n", &format!("hosted = true\n{lines}\n"));
    Options { more, ..options() }
}

#[tokio::test]
async fn every_page_is_private_and_may_load_nothing_from_elsewhere() {
    let service = service(Store::Sqlite).await;
    let mut browser = Browser::new(&service);
    browser.signs_in("", "alice").await;
    for path in ["/login", "/account", "/login?returnTo=//evil.test", "/account?notice=linked"] {
        let answer = browser.goes_to(path).await;
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("cache-control"), "no-store", "{path}");
        assert_eq!(header("content-type"), "text/html; charset=utf-8");
        assert_eq!(header("x-content-type-options"), "nosniff");
        // With `no-referrer`, browsers would name no origin when a form is posted.
        assert_eq!(header("referrer-policy"), "same-origin");
        assert_eq!(
            header("content-security-policy"),
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'"
        );
        assert!(header("vary").contains("Accept-Language"), "{path}");
    }
}

#[tokio::test]
async fn the_browser_chooses_the_language_and_the_provider_is_told() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("ar.json"), r#"{"dir":"rtl","sign_in":"دخول"}"#).unwrap();
    let lines = format!("language = \"fr\"\nlanguages_dir = \"{}\"", directory.path().display());
    let options = Options { provider: "login_params = [\"uiLocales\"]", ..with(&lines) };
    let service = TestService::start_with(Store::Sqlite, options).await;
    let ask = |path: &str, language: &'static str| {
        navigating(service.client.get(service.url(path))).header("accept-language", language).send()
    };
    for (language, tag, direction, words) in [
        ("de-CH, en;q=0.5", "de", "ltr", "abgebrochen"),
        ("ja", "ja", "ltr", "キャンセル"),
        ("xx", "fr", "ltr", "annulée"),
        ("ar-EG", "ar", "rtl", "دخول"),
    ] {
        let answer = ask(LOGIN, language).await.unwrap();
        assert_eq!(answer.headers()["content-language"], tag);
        let page = answer.text().await.unwrap();
        assert!(page.contains(&format!("<html lang=\"{tag}\" dir=\"{direction}\">")), "{page}");
        assert!(page.contains(words), "{page}");
        let start = "/api/v1/auth/start/corp?returnTo=/";
        let url = location(&ask(start, language).await.unwrap());
        assert!(url.contains(&format!("ui_locales={tag}")), "{url}");
        // A refusal of the links is in the same language.
        let page = ask("/api/v1/auth/start/none", language).await.unwrap().text().await.unwrap();
        assert!(
            page.contains(&format!("lang=\"{tag}\"")) && page.contains("UNKNOWN_PROVIDER"),
            "{page}"
        );
    }
}

#[tokio::test]
async fn the_files_are_cached_and_asked_for_again_by_their_tags() {
    let directory = tempfile::tempdir().unwrap();
    let (style, logo) = (directory.path().join("own.css"), directory.path().join("logo.svg"));
    std::fs::write(&style, ":root { --mintgate-accent: #123456; }").unwrap();
    std::fs::write(&logo, "<svg xmlns=\"http://www.w3.org/2000/svg\"/>").unwrap();
    let lines =
        format!("stylesheet_file = \"{}\"\nlogo_file = \"{}\"", style.display(), logo.display());
    let service = TestService::start_with(Store::Sqlite, with(&lines)).await;
    for (path, media_type) in [
        (STYLE, "text/css; charset=utf-8"),
        (OWN_STYLE, "text/css; charset=utf-8"),
        (LOGO, "image/svg+xml"),
    ] {
        let answer = service.client.get(service.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.headers()["content-type"], media_type);
        assert_eq!(answer.headers()["cache-control"], "public, max-age=300");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        if path == LOGO {
            let policy = answer.headers()["content-security-policy"].to_str().unwrap();
            assert!(
                policy.contains("default-src 'none'") && policy.ends_with("; sandbox"),
                "{policy}"
            );
        }
        let tag = answer.headers()["etag"].clone();
        let again = service.client.get(service.url(path)).header("if-none-match", tag);
        let again = again.send().await.unwrap();
        assert_eq!(
            (again.status(), again.content_length().unwrap_or_default()),
            (StatusCode::NOT_MODIFIED, 0),
            "{path}"
        );
    }
    let page = Browser::new(&service).goes_to(LOGIN).await.text().await.unwrap();
    assert!(page.contains("own.css") && page.contains("class=\"logo\" alt=\"\""), "{page}");
    let plain = TestService::start_with(Store::Sqlite, options()).await;
    let page = Browser::new(&plain).goes_to(LOGIN).await.text().await.unwrap();
    assert!(!page.contains("own.css") && !page.contains("class=\"logo\""), "{page}");
    plain.refused(plain.client.get(plain.url(OWN_STYLE)), StatusCode::NOT_FOUND, "NOT_FOUND").await;
    let icon = plain.client.get(plain.url(LOGO)).send().await.unwrap();
    assert_eq!(icon.headers()["content-type"], "image/svg+xml");
}

#[tokio::test]
async fn below_a_path_every_address_is_below_it_too() {
    let more = "[pages]\nhosted = true\n".to_owned();
    let options = Options { real_address: true, path: "/auth", more, ..Options::default() };
    let service = TestService::start_with(Store::Sqlite, options).await;
    let mut browser = Browser::new(&service);
    let round = location(&browser.goes_to("/auth/account").await);
    assert!(round.starts_with("/auth/api/v1/auth/refresh/return?to=http"), "{round}");
    for path in ["/auth/login?mintgate_result=signed_out", "/login?mintgate_result=signed_out"] {
        let page = browser.goes_to(path).await.text().await.unwrap();
        assert!(page.contains("href=\"/auth/api/v1/auth/start/corp?"), "{page}");
        assert!(page.contains("href=\"/auth/api/v1/auth/pages/hosted.css\""), "{page}");
    }
    let tokens = service.signed_in().await;
    browser.cookies.insert("Auth-Access-Token".to_owned(), tokens.access);
    let page = browser.goes_to("/auth/account").await.text().await.unwrap();
    for action in ["account/end-all", "account/link", "api/v1/auth/refresh/sign-out"] {
        assert!(page.contains(&format!("action=\"/auth/{action}\"")), "{page}");
    }
    assert!(!page.contains("=\"/a") || !page.contains("=\"/account"), "{page}");
    assert!(!page.contains(OWN));
}
