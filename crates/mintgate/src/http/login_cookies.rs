//! The cookies of logins that have begun: each holds one [`LoginTransaction`] until it is finished.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use mintgate_domain::model::LoginTransaction;
use mintgate_domain::{LoginCookie, SetCookie, SignInRequest};

use super::cookies::pairs;
use super::error::{ApiError, ErrorKind};
use crate::settings::{CookieSettings, SameSite};

/// How many logins a browser may have begun at once: one in each of some tabs, and abandoned ones.
const AT_ONCE: usize = 5;

/// How the cookies of begun logins look. Each has a name of its own, so that logins in several tabs
/// do not disturb each other.
///
/// Where cookies are `Secure` their names begin with `__Host-`: no sibling host can plant one, and
/// with it a login of its own (RFC 6265bis §4.1.3.2).
#[derive(Debug)]
pub(super) struct LoginCookies {
    prefix: &'static str,
    /// From `; Path=` up to `; Max-Age=`, which ends it.
    attributes: String,
    partitioned: &'static str,
}

impl LoginCookies {
    pub(super) fn new(settings: &CookieSettings) -> Self {
        let secure = if settings.secure { "; Secure" } else { "" };
        let same_site = match settings.same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        };
        Self {
            prefix: if settings.secure { "__Host-Auth-Login-" } else { "Auth-Login-" },
            attributes: format!("; Path=/; HttpOnly{secure}; SameSite={same_site}; Max-Age="),
            partitioned: if settings.partitioned { "; Partitioned" } else { "" },
        }
    }

    /// The logins a browser has begun. A name that comes twice holds none: one of the two was planted.
    pub(super) fn begun(&self, headers: &HeaderMap) -> Vec<LoginTransaction> {
        let all: Vec<(&str, &[u8])> = self.all(headers).collect();
        let is_alone = |name: &str| all.iter().filter(|(other, _)| *other == name).count() == 1;
        let alone = all.iter().filter(|(name, _)| is_alone(name));
        let read = |(_, value): &(&str, &[u8])| {
            let text = std::str::from_utf8(value).ok()?;
            LoginTransaction::from_cookie(&LoginCookie::new(text))
        };
        alone.filter_map(read).collect()
    }

    /// The cookie that keeps a login for so long.
    pub(super) fn keep(&self, login: &LoginTransaction, ttl: Duration) -> SetCookie {
        let state = login.state();
        let tag = LoginTransaction::tag(&state);
        self.write(&format!("{}{tag}", self.prefix), login.to_cookie().expose(), ttl.as_secs())
    }

    /// Clears what is too much once another login begins: the ones that expire first.
    pub(super) fn make_room(&self, headers: &HeaderMap) -> Vec<SetCookie> {
        let mut begun = self.begun(headers);
        begun.sort_by_key(|login| std::cmp::Reverse(login.expires_at));
        let surplus = begun.iter().skip(AT_ONCE - 1);
        surplus.map(|login| self.clear(&login.state())).collect()
    }

    /// What is over once a sign-in has been answered.
    pub(super) fn over(&self, sign_in: &SignInRequest) -> Over {
        let state = sign_in.state.as_deref();
        let is_it = |login: &&LoginTransaction| state == Some(login.state().as_str());
        let finished = sign_in.logins.iter().find(is_it);
        Over(finished.map(|login| self.clear(&login.state())))
    }

    fn clear(&self, state: &str) -> SetCookie {
        self.write(&format!("{}{}", self.prefix, LoginTransaction::tag(state)), "", 0)
    }

    fn write(&self, name: &str, value: &str, max_age_secs: u64) -> SetCookie {
        let Self { attributes, partitioned, .. } = self;
        SetCookie::new(format!("{name}={value}{attributes}{max_age_secs}{partitioned}"))
    }

    fn all<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        pairs(headers).filter_map(|(name, value)| {
            let name = std::str::from_utf8(name).ok()?;
            name.starts_with(self.prefix).then_some((name, value))
        })
    }
}

/// The cookie of a login that a request finishes; none if it finishes none.
pub(super) struct Over(Option<SetCookie>);

impl Over {
    /// The login is over.
    pub(super) fn answered(self, mut response: HttpResponse) -> HttpResponse {
        if let Some(value) = self.0.and_then(|cookie| HeaderValue::from_str(cookie.expose()).ok()) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
        response
    }

    /// The login is over if it was refused; not if it could not be finished now, or if who wanted to
    /// link it has to refresh first.
    pub(super) fn refused(self, refusal: ApiError) -> ApiError {
        const FINAL: [ErrorKind; 5] = [
            ErrorKind::INVALID_STATE,
            ErrorKind::INVALID_AUTH_CODE,
            ErrorKind::INVALID_ID_TOKEN,
            ErrorKind::ACCESS_DENIED,
            ErrorKind::IDENTITY_TAKEN,
        ];
        let is_final = FINAL.contains(&refusal.kind());
        match self.0 {
            Some(cookie) if is_final => refusal.clearing(vec![cookie]),
            _ => refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use mintgate_domain::model::{ProviderId, Timestamp};

    use super::*;

    fn cookies(secure: bool, same_site: SameSite) -> LoginCookies {
        LoginCookies::new(&CookieSettings {
            access_name: "a".to_owned(),
            refresh_name: "r".to_owned(),
            same_site,
            domain: Some("example.com".to_owned()),
            partitioned: same_site == SameSite::None,
            refresh_path: "/".to_owned(),
            secure,
        })
    }

    fn login(n: u8) -> LoginTransaction {
        LoginTransaction::begin(
            [n; 32],
            ProviderId::new("corp"),
            "https://app.example.com/callback".to_owned(),
            false,
            Timestamp::from_unix(1_800_000_000 + i64::from(n)),
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
