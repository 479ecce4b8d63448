//! The pages that call the service: whether they may, on which site they are, and which cookies each
//! browser then keeps and sends.

use mintgate_domain::model::AllowedUri;
use mintgate_settings::{SameSite, Settings, is_loopback, site};
use url::Url;

use crate::finding::Finding;

/// The browsers that are told apart, by how they treat cookies.
const BROWSERS: [(&str, Browser); 3] = [
    ("origin.cookies.chrome", Browser::Chrome),
    ("origin.cookies.firefox", Browser::Firefox),
    ("origin.cookies.safari", Browser::Safari),
];

/// A browser; Edge, Opera and Brave do as Chrome does, everything on an iPhone as Safari.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Browser {
    Chrome,
    Firefox,
    Safari,
}

/// The findings about the pages of one origin, or of every configured one.
pub(crate) fn judge(settings: &Settings, asked: Option<&Url>) -> Vec<Finding> {
    if let Some(url) = asked {
        let origin = origin_of(url);
        let mut findings = vec![cors(settings, &origin)];
        findings.extend(cookies(settings, url));
        return findings.into_iter().map(|finding| finding.about(&origin)).collect();
    }
    let origins = settings.cors.allowed_origins.iter();
    let found = origins.filter_map(|origin| {
        let findings = cookies(settings, &example(origin)?).into_iter();
        Some(findings.map(|finding| finding.about(origin)).collect::<Vec<_>>())
    });
    found.flatten().collect()
}

/// An origin as browsers write it. Schemes of apps have no origin in the standard, so it is put together.
pub(crate) fn origin_of(url: &Url) -> String {
    match url.origin().ascii_serialization() {
        opaque if opaque == "null" => {
            format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default())
        }
        origin => origin,
    }
}

/// One of the addresses that an entry stands for.
fn example(origin: &AllowedUri) -> Option<Url> {
    Url::parse(&origin.as_str().replacen("*.", "a.", 1)).ok()
}

fn cors(settings: &Settings, origin: &str) -> Finding {
    const CHECK: &str = "origin.cors";
    let own = origin_of(&settings.server.public_url);
    if origin == own {
        return Finding::good(CHECK, "the pages are of the service's own origin");
    }
    if settings.cors.allowed_origins.iter().any(|allowed| allowed.allows(origin)) {
        return Finding::good(CHECK, "the origin is in cors.allowed_origins");
    }
    Finding::wrong(
        CHECK,
        format!("{origin} is neither {own}, the service's own origin, nor in cors.allowed_origins"),
        "browsers do not let its pages read an answer, and what they send is refused with CSRF_REJECTED",
        format!("add \"{origin}\" to cors.allowed_origins"),
    )
}

fn cookies(settings: &Settings, page: &Url) -> Vec<Finding> {
    let own = &settings.server.public_url;
    let (page_site, own_site) = (site(page), site(own));
    let sites =
        format!("the page is on the site {}, the service on {}", name(page_site), name(own_site));
    let is_same = page_site == own_site;
    let mut findings = vec![if is_same {
        Finding::good("origin.site", format!("{sites}: they are one site"))
    } else if is_loopback(page) && is_loopback(own) {
        let host = page.host_str().unwrap_or_default();
        Finding::wrong(
            "origin.site",
            format!("{sites}: browsers take the two names of this machine for two sites"),
            "the cookie of the login is not sent back, and every login ends with INVALID_STATE",
            format!("write {host} in both"),
        )
    } else if is_ready_for_other_sites(settings) {
        Finding::good(
            "origin.site",
            format!("{sites}: they are two sites, and the cookies are made for that"),
        )
    } else {
        Finding::wrong(
            "origin.site",
            format!("{sites}: they are two sites"),
            "cookies of another site are kept and sent only as cookies.same_site and cookies.partitioned allow",
            "serve both below one domain; or set cookies.same_site = \"None\" and cookies.partitioned = true; or \
             let the app use tokenDelivery \"body\"",
        )
    }];
    findings.extend(
        BROWSERS.map(|(check, browser)| cookies_in(check, browser, settings, page, is_same)),
    );
    findings
}

fn is_ready_for_other_sites(settings: &Settings) -> bool {
    settings.cookies.same_site == SameSite::None && settings.cookies.partitioned
}

fn cookies_in(
    check: &'static str,
    browser: Browser,
    settings: &Settings,
    page: &Url,
    is_same_site: bool,
) -> Finding {
    let (cookies, own) = (&settings.cookies, &settings.server.public_url);
    let one_site = "serve page and service below one domain";
    if browser == Browser::Safari && own.scheme() == "http" && cookies.secure {
        return Finding::wrong(
            check,
            "Safari drops cookies with Secure that come over http, on this machine too",
            "nobody can sign in with Safari",
            "set cookies.secure = false where server.public_url is http://localhost, or develop with https",
        );
    }
    if is_same_site {
        return Finding::good(
            check,
            "the cookies are kept and sent: the request stays on one site",
        );
    }
    let schemes_differ = page.scheme() != own.scheme() && site(page).1 == site(own).1;
    if schemes_differ && browser != Browser::Chrome {
        return Finding::good(
            check,
            "the cookies are sent: this browser does not look at the scheme of a site",
        );
    }
    let same_site = cookies.same_site;
    match (same_site, cookies.partitioned, browser) {
        (SameSite::Lax | SameSite::Strict, ..) => Finding::wrong(
            check,
            format!(
                "cookies with SameSite={same_site:?} are not sent with requests from another site"
            ),
            "no login from such a page can finish, and nobody stays signed in",
            format!(
                "{one_site}, or set cookies.same_site = \"None\" and cookies.partitioned = true"
            ),
        ),
        (SameSite::None, true, Browser::Safari) => Finding::good(
            check,
            "partitioned cookies are kept and sent by Safari 18.4 and later, apart for each site of a page",
        ),
        (SameSite::None, true, _) => Finding::good(
            check,
            "partitioned cookies are kept and sent, apart for each site of a page",
        ),
        (SameSite::None, false, Browser::Firefox) => Finding::good(
            check,
            "Firefox keeps cookies of other sites apart for each site of a page, and sends them",
        ),
        (SameSite::None, false, Browser::Chrome) => Finding::wrong(
            check,
            "Chrome drops unpartitioned cookies of other sites wherever third-party cookies are blocked, as in \
             Incognito windows",
            "people with that setting cannot sign in",
            format!("set cookies.partitioned = true, or {one_site}"),
        ),
        (SameSite::None, false, Browser::Safari) => Finding::wrong(
            check,
            "Safari blocks unpartitioned cookies of other sites",
            "nobody can sign in with Safari, nor on an iPhone",
            format!("set cookies.partitioned = true, or {one_site}"),
        ),
    }
}

fn name((scheme, domain): (&str, &str)) -> String {
    format!("{scheme}://{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;

    fn settings(public_url: &str, origin: &str, cookies: &str) -> Settings {
        Settings::from_toml(&format!(
            "[server]\npublic_url = \"{public_url}\"\n[cors]\nallowed_origins = [\"{origin}\"]\n\
             [cookies]\n{cookies}\n[[providers]]\nid = \"corp\"\nissuer = \"https://idp.example.com\"\n\
             client_id = \"x\"\nredirect_uris = [\"https://app.example.com/cb\"]\n"
        ))
        .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The checks that are wrong, each by the last part of its name.
    fn wrong(public_url: &str, origin: &str, cookies: &str) -> Vec<&'static str> {
        let findings = judge(&settings(public_url, origin, cookies), None);
        let wrong = findings.iter().filter(|finding| finding.verdict == Verdict::Wrong);
        wrong.map(|finding| finding.check.rsplit('.').next().unwrap()).collect()
    }

    const OWN: &str = "https://auth.example.com";
    const NONE: &str = "same_site = \"None\"";
    const PARTITIONED: &str = "same_site = \"None\"\npartitioned = true";

    #[test]
    fn pages_of_the_same_site_get_their_cookies_in_every_browser() {
        for origin in
            ["https://app.example.com", "https://example.com:8443", "https://*.p.example.com"]
        {
            assert_eq!(wrong(OWN, origin, ""), Vec::<&str>::new(), "{origin}");
        }
        assert_eq!(
            wrong("http://localhost:1", "http://localhost:2", "secure = false"),
            Vec::<&str>::new()
        );
    }

    #[test]
    fn pages_of_another_site_get_what_each_browser_allows() {
        let other = "https://app.example.org";
        assert_eq!(wrong(OWN, other, ""), ["site", "chrome", "firefox", "safari"]);
        assert_eq!(
            wrong(OWN, other, "same_site = \"Strict\""),
            ["site", "chrome", "firefox", "safari"]
        );
        assert_eq!(wrong(OWN, other, NONE), ["site", "chrome", "safari"]);
        assert_eq!(wrong(OWN, other, PARTITIONED), Vec::<&str>::new());
        assert_eq!(wrong("https://a.vercel.app", "https://b.vercel.app", "").len(), 4);
    }

    #[test]
    fn loopback_names_and_secure_cookies_over_http_are_told() {
        let different = wrong("http://127.0.0.1:8080", "http://localhost:5173", "secure = false");
        assert_eq!(different, ["site", "chrome", "firefox", "safari"]);
        assert_eq!(wrong("http://localhost:8080", "http://localhost:5173", ""), ["safari"]);
    }

    #[test]
    fn an_origin_that_may_not_call_is_told_with_the_two_sites() {
        let settings = settings(OWN, "https://app.example.com", "");
        let of = |origin: &str| judge(&settings, Some(&Url::parse(origin).unwrap()));
        assert!(
            of("https://app.example.com/some/page").iter().all(|it| it.verdict == Verdict::Good)
        );
        assert!(of(OWN).iter().all(|it| it.verdict == Verdict::Good));
        let other = of("https://shop.example.org");
        assert_eq!(other[0].check, "origin.cors");
        assert_eq!(other[0].verdict, Verdict::Wrong);
        let sites = &other.iter().find(|it| it.check == "origin.site").unwrap().what;
        assert!(
            sites.contains("https://example.org") && sites.contains("https://example.com"),
            "{sites}"
        );
    }
}
