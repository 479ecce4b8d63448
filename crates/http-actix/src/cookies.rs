//! The cookies of a session: the port `CookiePolicy` by RFC 6265bis, and the readable cookie beside it.

use std::time::Duration;

use actix_web::http::header::{self, HeaderMap};
use mintgate_domain::ports::{CookiePolicy, CookieTooLarge, SessionTokens};
use mintgate_domain::{PresentedToken, SetCookie};
use url::Url;

use crate::config::{CookieConfig, SameSite};
use crate::planted_cookies::PlantedCookies;

/// Browsers drop a cookie whose name and value together are longer (RFC 6265 §6.1).
const MAX_COOKIE_BYTES: usize = 4096;

/// The name of the readable cookie that says there is a session.
const HINT_NAME: &str = "Auth-Session";

/// The cookies of a session, as the configuration says.
#[derive(Debug)]
pub struct HttpCookiePolicy {
    access: Template,
    refresh: Template,
    hint: Option<Attributes>,
    planted: PlantedCookies,
}

#[derive(Debug)]
struct Template {
    name: String,
    attributes: Attributes,
}

/// The attributes of a cookie, written once and used for every value.
#[derive(Debug)]
pub(crate) struct Attributes {
    /// The text from `; Path=` to `; Max-Age=`.
    before_max_age: String,
    partitioned: &'static str,
}

impl Attributes {
    /// The attributes in the order the documentation shows them in.
    pub(crate) fn new(path: &str, domain: Option<&str>, config: &CookieConfig) -> Self {
        let domain = domain.map_or_else(String::new, |domain| format!("; Domain={domain}"));
        let secure = if config.secure { "; Secure" } else { "" };
        let same_site = config.same_site.as_str();
        Self {
            before_max_age: format!(
                "; Path={path}{domain}; HttpOnly{secure}; SameSite={same_site}; Max-Age="
            ),
            partitioned: if config.partitioned { "; Partitioned" } else { "" },
        }
    }

    /// The attributes of a cookie that scripts can read.
    fn readable(domain: Option<&str>, secure: bool) -> Self {
        let domain = domain.map_or_else(String::new, |domain| format!("; Domain={domain}"));
        let secure = if secure { "; Secure" } else { "" };
        let same_site = SameSite::Lax.as_str();
        Self {
            before_max_age: format!("; Path=/{domain}{secure}; SameSite={same_site}; Max-Age="),
            partitioned: "",
        }
    }

    /// A `Set-Cookie` value; an age of 0 seconds clears the cookie.
    pub(crate) fn set_cookie(&self, name: &str, value: &str, max_age_secs: u64) -> SetCookie {
        let Self { before_max_age, partitioned } = self;
        SetCookie::new(format!("{name}={value}{before_max_age}{max_age_secs}{partitioned}"))
    }
}

impl HttpCookiePolicy {
    /// Makes the policy of cookies with these names and attributes. The settings have checked that
    /// browsers accept the combination.
    pub fn new(config: &CookieConfig, public_url: &Url) -> Self {
        Self {
            access: Template::new(&config.access_name, "/", config),
            refresh: Template::new(&config.refresh_name, &config.refresh_path, config),
            hint: config
                .hint
                .as_ref()
                .map(|hint| Attributes::readable(hint.domain.as_deref(), config.secure)),
            planted: PlantedCookies::new(config, public_url),
        }
    }

    /// The readable cookie that says for `max_age` that there is a session, where it is configured.
    pub(crate) fn hint(&self, max_age: Duration) -> Option<SetCookie> {
        Some(self.hint.as_ref()?.set_cookie(HINT_NAME, "1", max_age.as_secs()))
    }

    /// The value that clears the readable cookie, where it is configured.
    pub(crate) fn clearing_hint(&self) -> Option<SetCookie> {
        Some(self.hint.as_ref()?.set_cookie(HINT_NAME, "", 0))
    }

    /// The values that clear the session cookies and the readable one.
    pub(crate) fn clearing_all(&self) -> Vec<SetCookie> {
        self.clearing_cookies().into_iter().chain(self.clearing_hint()).collect()
    }

    /// The name of a session cookie that the request brings twice, if there is one.
    pub(crate) fn duplicate(&self, headers: &HeaderMap) -> Option<&str> {
        [&self.access.name, &self.refresh.name]
            .into_iter()
            .find(|name| values(headers, name).nth(1).is_some())
            .map(String::as_str)
    }

    /// Whether the request brings a session cookie, whatever its value.
    pub(crate) fn any(&self, headers: &HeaderMap) -> bool {
        let mut names = [&self.access.name, &self.refresh.name].into_iter();
        names.any(|name| values(headers, name).next().is_some())
    }

    /// The token in the request's access cookie, if there is one.
    pub(crate) fn access_token(&self, headers: &HeaderMap) -> Option<PresentedToken> {
        token(headers, &self.access.name)
    }

    /// The token in the request's refresh cookie, if there is one.
    pub(crate) fn refresh_token(&self, headers: &HeaderMap) -> Option<PresentedToken> {
        token(headers, &self.refresh.name)
    }

    /// The `Set-Cookie` values that clear what a browser may hold under the name of a cookie that came
    /// twice with a request for `path`.
    pub(crate) fn clearing_planted(&self, name: &str, path: &str) -> Vec<SetCookie> {
        self.planted.clearing(name, path)
    }
}

/// The names and values of all cookies in all `Cookie` headers (RFC 6265 §5.4).
pub(crate) fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers
        .get_all(header::COOKIE)
        .flat_map(|header| header.as_bytes().split(|byte| *byte == b';'))
        .map(|pair| {
            let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            (pair[..end].trim_ascii(), pair.get(end + 1..).unwrap_or_default().trim_ascii())
        })
}

/// The values of all cookies of this name.
fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let named = pairs(headers).filter(move |(found, _)| *found == name.as_bytes());
    named.map(|(_, value)| value)
}

/// The token in the cookie of this name; an empty one holds none.
fn token(headers: &HeaderMap, name: &str) -> Option<PresentedToken> {
    let value = values(headers, name).next().filter(|value| !value.is_empty())?;
    Some(PresentedToken::new(String::from_utf8_lossy(value)))
}

impl Template {
    fn new(name: &str, path: &str, config: &CookieConfig) -> Self {
        let attributes = Attributes::new(path, config.domain.as_deref(), config);
        Self { name: name.to_owned(), attributes }
    }

    fn holding(&self, token: &str, max_age: Duration) -> Result<SetCookie, CookieTooLarge> {
        let bytes = self.name.len() + token.len();
        if bytes > MAX_COOKIE_BYTES {
            return Err(CookieTooLarge { name: self.name.clone(), bytes });
        }
        Ok(self.attributes.set_cookie(&self.name, token, max_age.as_secs()))
    }

    fn clearing(&self) -> SetCookie {
        self.attributes.set_cookie(&self.name, "", 0)
    }
}

impl CookiePolicy for HttpCookiePolicy {
    fn session_cookies(&self, tokens: SessionTokens<'_>) -> Result<[SetCookie; 2], CookieTooLarge> {
        Ok([
            self.access.holding(tokens.access.expose(), tokens.access_max_age)?,
            self.refresh.holding(tokens.refresh.expose(), tokens.refresh_max_age)?,
        ])
    }

    fn longest_tokens(&self) -> [usize; 2] {
        [&self.access, &self.refresh]
            .map(|template| MAX_COOKIE_BYTES.saturating_sub(template.name.len()))
    }

    fn clearing_cookies(&self) -> [SetCookie; 2] {
        [self.access.clearing(), self.refresh.clearing()]
    }
}

#[cfg(test)]
mod tests {
    use mintgate_domain::SignedToken;

    use super::*;
    use crate::config::HintCookie;

    fn config() -> CookieConfig {
        CookieConfig {
            access_name: "Auth-Access-Token".to_owned(),
            refresh_name: "Auth-Refresh-Token".to_owned(),
            same_site: SameSite::Lax,
            domain: None,
            partitioned: false,
            refresh_path: "/api/v1/auth/refresh".to_owned(),
            secure: true,
            hint: None,
        }
    }

    fn policy(config: &CookieConfig) -> HttpCookiePolicy {
        HttpCookiePolicy::new(config, &Url::parse("https://auth.example.com").unwrap())
    }

    fn cookie_headers(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::COOKIE, header::HeaderValue::from_static(value));
        }
        headers
    }

    fn cookies(policy: &HttpCookiePolicy, access: &str) -> Result<[String; 2], CookieTooLarge> {
        let built = policy.session_cookies(SessionTokens {
            access: &SignedToken::new(access),
            access_max_age: Duration::from_hours(1),
            refresh: &SignedToken::new("rrr"),
            refresh_max_age: Duration::from_hours(720),
        });
        built.map(|pair| pair.map(|cookie| cookie.expose().to_owned()))
    }

    #[test]
    fn every_configuration_keeps_the_contract_of_the_port() {
        let plain_http = CookieConfig { secure: false, ..config() };
        let framed = CookieConfig {
            same_site: SameSite::None,
            domain: Some("example.com".to_owned()),
            partitioned: true,
            ..config()
        };
        for config in [config(), plain_http, framed] {
            mintgate_testkit::cookie_suite::check(&policy(&config));
        }
    }

    #[test]
    fn the_defaults_are_the_documented_headers_to_the_letter() {
        assert_eq!(
            cookies(&policy(&config()), "aaa").unwrap(),
            [
                "Auth-Access-Token=aaa; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=3600",
                "Auth-Refresh-Token=rrr; Path=/api/v1/auth/refresh; HttpOnly; Secure; SameSite=Lax; Max-Age=2592000",
            ]
        );
    }

    #[test]
    fn every_variant_appears_in_setting_and_clearing_alike() {
        let variant = CookieConfig {
            access_name: "__Secure-at".to_owned(),
            refresh_name: "__Secure-rt".to_owned(),
            same_site: SameSite::None,
            domain: Some("example.com".to_owned()),
            partitioned: true,
            refresh_path: "/api".to_owned(),
            secure: true,
            hint: Some(HintCookie { domain: Some("example.com".to_owned()) }),
        };
        let policy = policy(&variant);
        assert_eq!(
            cookies(&policy, "aaa").unwrap(),
            [
                "__Secure-at=aaa; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=None; Max-Age=3600; Partitioned",
                "__Secure-rt=rrr; Path=/api; Domain=example.com; HttpOnly; Secure; SameSite=None; Max-Age=2592000; Partitioned",
            ]
        );
        assert_eq!(
            policy.clearing_cookies().map(|cookie| cookie.expose().to_owned()),
            [
                "__Secure-at=; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=None; Max-Age=0; Partitioned",
                "__Secure-rt=; Path=/api; Domain=example.com; HttpOnly; Secure; SameSite=None; Max-Age=0; Partitioned",
            ]
        );
    }

    #[test]
    fn the_readable_cookie_holds_no_secret_and_only_where_it_is_configured() {
        assert!(policy(&config()).hint(Duration::from_hours(1)).is_none());
        assert_eq!(policy(&config()).clearing_all().len(), 2);
        let text = |cookie: Option<SetCookie>| cookie.map(|cookie| cookie.expose().to_owned());
        let with = |domain: Option<&str>, secure| {
            let hint = Some(HintCookie { domain: domain.map(str::to_owned) });
            policy(&CookieConfig { secure, hint, ..config() })
        };
        let plain = with(None, true);
        assert_eq!(
            text(plain.hint(Duration::from_hours(720))).as_deref(),
            Some("Auth-Session=1; Path=/; Secure; SameSite=Lax; Max-Age=2592000")
        );
        assert_eq!(
            text(plain.clearing_all().pop()).as_deref(),
            Some("Auth-Session=; Path=/; Secure; SameSite=Lax; Max-Age=0")
        );
        assert_eq!(
            text(with(Some("example.com"), false).hint(Duration::from_secs(5))).as_deref(),
            Some("Auth-Session=1; Path=/; Domain=example.com; SameSite=Lax; Max-Age=5")
        );
    }

    #[test]
    fn case_31_a_cookie_of_4096_bytes_passes_and_one_more_does_not() {
        let policy = policy(&config());
        let room = 4096 - "Auth-Access-Token".len();
        assert!(cookies(&policy, &"a".repeat(room)).is_ok());
        assert_eq!(
            cookies(&policy, &"a".repeat(room + 1)),
            Err(CookieTooLarge { name: "Auth-Access-Token".to_owned(), bytes: 4097 })
        );
    }

    #[test]
    fn case_48_a_cookie_given_twice_is_noticed_across_headers() {
        let policy = policy(&config());
        let find = |headers: &[&'static str]| {
            policy.duplicate(&cookie_headers(headers)).map(str::to_owned)
        };
        assert_eq!(find(&["a=1; Auth-Access-Token=x; b=2"]), None);
        assert_eq!(find(&["Auth-Access-Token=x; Auth-Refresh-Token=y"]), None);
        assert_eq!(find(&["XAuth-Access-Token=x; Auth-Access-Token=y"]), None);
        let twice = Some("Auth-Access-Token".to_owned());
        assert_eq!(find(&["Auth-Access-Token=x;Auth-Access-Token=x"]), twice);
        assert_eq!(find(&["Auth-Access-Token=x", "Auth-Access-Token=y"]), twice);
        let refresh = find(&["Auth-Refresh-Token=x; Auth-Refresh-Token"]);
        assert_eq!(refresh, Some("Auth-Refresh-Token".to_owned()));
    }

    #[test]
    fn a_token_is_found_in_the_cookie_of_exactly_its_name() {
        let policy = policy(&config());
        let access = |headers: &[&'static str]| {
            policy.access_token(&cookie_headers(headers)).map(|token| token.expose().to_owned())
        };
        assert_eq!(access(&["a=1; Auth-Access-Token=x.y=z; b=2"]).as_deref(), Some("x.y=z"));
        assert_eq!(access(&["a=1", "Auth-Access-Token=x"]).as_deref(), Some("x"));
        for none in [
            "",
            "auth-access-token=x",
            "Auth-Access-Token",
            "Auth-Access-Token=",
            "x=Auth-Access-Token=y",
        ] {
            assert_eq!(access(&[none]), None, "{none}");
        }
        let refresh = policy.refresh_token(&cookie_headers(&["Auth-Refresh-Token=r"])).unwrap();
        assert_eq!(refresh.expose(), "r");
        assert!(policy.any(&cookie_headers(&["Auth-Refresh-Token"])));
        assert!(!policy.any(&cookie_headers(&["other=1"])));
    }
}
