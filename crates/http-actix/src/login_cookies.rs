//! The cookies of begun logins: each holds one [`LoginTransaction`] until the login is finished.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use mintgate_domain::model::LoginTransaction;
use mintgate_domain::{LoginCookie, SetCookie, SignInRequest};

use crate::config::CookieConfig;
use crate::cookies::{Attributes, pairs};
use crate::error::ApiError;

/// How many logins a browser may have begun at the same time, abandoned ones included.
pub(crate) const MAX_BEGUN: usize = 5;

/// Writes and reads the cookies of begun logins. Each cookie has a name of its own, so that logins in
/// several tabs do not disturb each other.
///
/// Where cookies are `Secure` their names begin with `__Host-`, so that no sibling host can plant a
/// cookie, and with it a login, of its own (RFC 6265bis §4.1.3.2).
#[derive(Debug)]
pub(crate) struct LoginCookies {
    prefix: &'static str,
    attributes: Attributes,
}

impl LoginCookies {
    pub(crate) fn new(config: &CookieConfig) -> Self {
        Self::named(if config.secure { "__Host-Auth-Login-" } else { "Auth-Login-" }, config)
    }

    /// The same with another prefix of the names.
    pub(crate) fn named(prefix: &'static str, config: &CookieConfig) -> Self {
        Self { prefix, attributes: Attributes::new("/", None, config) }
    }

    /// The logins that the browser has begun.
    pub(crate) fn begun(&self, headers: &HeaderMap) -> Vec<LoginTransaction> {
        let read = |text| LoginTransaction::from_cookie(&LoginCookie::new(text));
        self.values(headers).into_iter().filter_map(read).collect()
    }

    /// The values of all these cookies. A cookie name that comes twice counts for nothing: one of the two
    /// cookies was planted.
    pub(crate) fn values<'a>(&'a self, headers: &'a HeaderMap) -> Vec<&'a str> {
        let all: Vec<(&str, &[u8])> = self.all(headers).collect();
        let is_alone = |name: &str| all.iter().filter(|(other, _)| *other == name).count() == 1;
        let alone = all.iter().filter(|(name, _)| is_alone(name));
        alone.filter_map(|(_, value)| std::str::from_utf8(value).ok()).collect()
    }

    /// The cookie that keeps `login` in the browser for `ttl`.
    pub(crate) fn keep(&self, login: &LoginTransaction, ttl: Duration) -> SetCookie {
        self.write(&login.state(), login.to_cookie().expose(), ttl)
    }

    /// Clears the begun logins that are too many once another one begins: those that expire first.
    pub(crate) fn make_room(&self, headers: &HeaderMap) -> Vec<SetCookie> {
        let mut begun = self.begun(headers);
        begun.sort_by_key(|login| std::cmp::Reverse(login.expires_at));
        let surplus = begun.iter().skip(MAX_BEGUN - 1);
        surplus.map(|login| self.clear(&login.state())).collect()
    }

    /// The begun login that `sign_in` finishes, whose cookie has to be cleared with the answer.
    pub(crate) fn finished_by(&self, sign_in: &SignInRequest) -> FinishedLogin {
        let state = sign_in.state.as_deref();
        let is_it = |login: &&LoginTransaction| state == Some(login.state().as_str());
        let finished = sign_in.logins.iter().find(is_it);
        FinishedLogin(finished.map(|login| self.clear(&login.state())))
    }

    pub(crate) fn clear(&self, state: &str) -> SetCookie {
        self.write(state, "", Duration::ZERO)
    }

    pub(crate) fn write(&self, state: &str, value: &str, max_age: Duration) -> SetCookie {
        let name = format!("{}{}", self.prefix, LoginTransaction::tag(state));
        self.attributes.set_cookie(&name, value, max_age.as_secs())
    }

    fn all<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        pairs(headers).filter_map(|(name, value)| {
            let name = std::str::from_utf8(name).ok()?;
            name.starts_with(self.prefix).then_some((name, value))
        })
    }
}

/// Clears the cookie of the login that a sign-in finishes, if it finishes one.
pub(crate) struct FinishedLogin(Option<SetCookie>);

impl FinishedLogin {
    /// Clears the cookie along with the answer to a sign-in that succeeded.
    pub(crate) fn clear_with(self, mut response: HttpResponse) -> HttpResponse {
        if let Some(value) = self.0.and_then(|cookie| HeaderValue::from_str(cookie.expose()).ok()) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
        response
    }

    /// Clears the cookie along with a refusal that ends the login. The cookie stays after any other
    /// refusal: the client can try again.
    pub(crate) fn clear_if_final(self, refusal: ApiError) -> ApiError {
        match self.0 {
            Some(cookie) if refusal.kind().ends_login() => refusal.clearing(vec![cookie]),
            _ => refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use mintgate_domain::model::{AuthenticationRequirements, ProviderId, Timestamp};

    use super::*;
    use crate::config::SameSite;

    fn cookies(secure: bool, same_site: SameSite) -> LoginCookies {
        LoginCookies::new(&CookieConfig {
            access_name: "a".to_owned(),
            refresh_name: "r".to_owned(),
            same_site,
            domain: Some("example.com".to_owned()),
            partitioned: same_site == SameSite::None,
            refresh_path: "/".to_owned(),
            secure,
            hint: None,
        })
    }

    fn login(n: u8) -> LoginTransaction {
        LoginTransaction::begin(
            [n; 32],
            ProviderId::new("corp"),
            "https://app.example.com/callback".to_owned(),
            false,
            Timestamp::from_unix(1_800_000_000 + i64::from(n)),
            AuthenticationRequirements::default(),
        )
    }

    /// As the browser sends them back.
    fn sent_back(cookies: &LoginCookies, logins: &[LoginTransaction]) -> HeaderMap {
        let pairs = logins.iter().map(|login| {
            let cookie = cookies.keep(login, Duration::from_mins(10));
            cookie.expose().split(';').next().unwrap_or_default().to_owned()
        });
        let mut headers = HeaderMap::new();
        let value = pairs.collect::<Vec<_>>().join("; ");
        headers.append(header::COOKIE, HeaderValue::from_str(&value).unwrap());
        headers
    }

    #[test]
    fn a_login_is_kept_for_this_host_alone() {
        let login = login(1);
        let state = login.state();
        let (tag, value) = (LoginTransaction::tag(&state), login.to_cookie());
        let ttl = Duration::from_mins(10);
        assert_eq!(
            cookies(true, SameSite::Lax).keep(&login, ttl).expose(),
            format!(
                "__Host-Auth-Login-{tag}={}; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=600",
                value.expose()
            )
        );
        assert_eq!(
            cookies(true, SameSite::None).clear(&state).expose(),
            format!(
                "__Host-Auth-Login-{tag}=; Path=/; HttpOnly; Secure; SameSite=None; Max-Age=0; Partitioned"
            )
        );
        let on_loopback = cookies(false, SameSite::Lax).keep(&login, ttl);
        assert!(on_loopback.expose().starts_with(&format!("Auth-Login-{tag}=")));
        assert!(!on_loopback.expose().contains("Secure"));
    }

    #[test]
    fn logins_of_several_tabs_are_told_apart_and_a_doubled_one_counts_for_nothing() {
        let cookies = cookies(true, SameSite::Lax);
        let both = [login(1), login(2)];
        assert_eq!(cookies.begun(&sent_back(&cookies, &both)), both);
        let doubled = [login(1), login(2), login(1)];
        assert_eq!(cookies.begun(&sent_back(&cookies, &doubled)), [login(2)]);
        let mut foreign = HeaderMap::new();
        let value = format!("Auth-Login-x={}", login(1).to_cookie().expose());
        foreign.append(header::COOKIE, HeaderValue::from_str(&value).unwrap());
        assert_eq!(cookies.begun(&foreign), [], "not of the name that sibling hosts cannot set");
    }

    #[test]
    fn the_newest_of_many_logins_is_found_too() {
        let cookies = cookies(true, SameSite::Lax);
        let logins: Vec<_> = (1..=20).map(login).collect();
        assert_eq!(cookies.begun(&sent_back(&cookies, &logins)), logins);
    }

    #[test]
    fn abandoned_logins_make_room_the_oldest_first() {
        let cookies = cookies(true, SameSite::Lax);
        let logins: Vec<_> = (1..=6).map(login).collect();
        let cleared = cookies.make_room(&sent_back(&cookies, &logins));
        let names: Vec<_> =
            cleared.iter().map(|cookie| cookie.expose().split('=').next().unwrap()).collect();
        let of = |n: u8| format!("__Host-Auth-Login-{}", LoginTransaction::tag(&login(n).state()));
        assert_eq!(names, [of(2), of(1)]);
        assert!(cookies.make_room(&sent_back(&cookies, &logins[..4])).is_empty());
    }
}
