//! The cookies of logins that `start` has begun.

use std::time::Duration;

use actix_web::http::header::HeaderMap;
use mintgate_domain::model::LoginTransaction;
use mintgate_domain::{LoginCookie, SetCookie, TokenHash};

use super::REMEMBERED;
use crate::config::CookieConfig;
use crate::login_cookies::{LoginCookies, MAX_BEGUN};

/// What the value of a cookie begins with once its login has been finished.
const FINISHED: &str = "finished.";
/// The most bytes that the values of all these cookies may have together when another one is added, which
/// has 3 KiB at most: proxies take a `Cookie` header of 8 KiB.
const MAX_BYTES: usize = 3072;

/// A login that `start` has begun in this browser.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) login: LoginTransaction,
    /// Whether it has ended in a session, as the browser says.
    pub(super) is_finished: bool,
    bytes: usize,
}

/// Writes and reads the cookies of begun logins. They outlive the login: they know the page to return to.
#[derive(Debug)]
pub(super) struct StartCookies(LoginCookies);

impl StartCookies {
    pub(super) fn new(config: &CookieConfig) -> Self {
        let prefix = if config.secure { "__Host-Auth-Start-" } else { "Auth-Start-" };
        Self(LoginCookies::named(prefix, config))
    }

    fn all(&self, headers: &HeaderMap) -> Vec<Started> {
        let read = |text: &str| {
            let value = text.strip_prefix(FINISHED);
            let login = LoginTransaction::from_cookie(&LoginCookie::new(value.unwrap_or(text)))?;
            let is_finished = value.is_some();
            login.return_to.is_some().then_some(Started { login, is_finished, bytes: text.len() })
        };
        self.0.values(headers).into_iter().filter_map(read).collect()
    }

    /// The login of this browser with this `state`.
    pub(super) fn find(&self, headers: &HeaderMap, state: &str) -> Option<Started> {
        let asked = TokenHash::of(state);
        // Digests are compared, so that time tells nothing.
        let is_it = |started: &Started| TokenHash::of(&started.login.state()) == asked;
        self.all(headers).into_iter().find(is_it)
    }

    /// The cookie of a login that may be finished within `ttl`.
    pub(super) fn keep(&self, login: &LoginTransaction, ttl: Duration) -> SetCookie {
        self.0.write(&login.state(), login.to_cookie().expose(), ttl + REMEMBERED)
    }

    /// The cookie of a login that has ended in a session.
    pub(super) fn finish(&self, login: &LoginTransaction) -> SetCookie {
        let value = format!("{FINISHED}{}", login.to_cookie().expose());
        self.0.write(&login.state(), &value, REMEMBERED)
    }

    pub(super) fn clear(&self, login: &LoginTransaction) -> SetCookie {
        self.0.clear(&login.state())
    }

    /// Clears the cookies that are too many, or too large together, once another one is added: first those
    /// of finished logins, then those that expire first.
    pub(super) fn make_room(&self, headers: &HeaderMap) -> Vec<SetCookie> {
        let mut all = self.all(headers);
        all.sort_by_key(|one| (one.is_finished, std::cmp::Reverse(one.login.expires_at)));
        let mut bytes = 0;
        let surplus = all.iter().enumerate().filter(|(index, one)| {
            bytes += one.bytes;
            *index >= MAX_BEGUN - 1 || bytes > MAX_BYTES
        });
        surplus.map(|(_, one)| self.clear(&one.login)).collect()
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{self, HeaderValue};
    use mintgate_domain::model::{
        AuthenticationRequirements, ProviderId, ReturnOrigins, Timestamp,
    };

    use super::*;
    use crate::config::SameSite;

    fn cookies() -> StartCookies {
        StartCookies::new(&CookieConfig {
            access_name: "a".to_owned(),
            refresh_name: "r".to_owned(),
            same_site: SameSite::Lax,
            domain: Some("example.com".to_owned()),
            hint: None,
            partitioned: false,
            refresh_path: "/".to_owned(),
            secure: true,
        })
    }

    fn login(n: u8, page: &str) -> LoginTransaction {
        let origins = ReturnOrigins::new(["https://app.example.com".to_owned()]);
        LoginTransaction::begin(
            [n; 32],
            ProviderId::new("corp"),
            "https://auth.example.com/api/v1/auth/callback/corp".to_owned(),
            false,
            Timestamp::from_unix(1_800_000_000 + i64::from(n)),
            AuthenticationRequirements::default(),
        )
        .returning_to(&origins.judge(page).unwrap())
    }

    fn sent_back(set: &[SetCookie]) -> HeaderMap {
        let pairs: Vec<_> = set.iter().map(|it| it.expose().split(';').next().unwrap()).collect();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_str(&pairs.join("; ")).unwrap());
        headers
    }

    #[test]
    fn a_login_comes_back_with_its_page_and_whether_it_was_finished() {
        let (cookies, login) = (cookies(), login(1, "/a"));
        let kept = cookies.keep(&login, Duration::from_mins(10));
        let text = kept.expose().to_owned();
        assert!(text.starts_with("__Host-Auth-Start-"), "{text}");
        assert!(
            text.ends_with("; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=87000"),
            "{text}"
        );
        for (set, is_finished) in [(kept, false), (cookies.finish(&login), true)] {
            let found = cookies.find(&sent_back(&[set]), &login.state()).unwrap();
            assert_eq!((found.login, found.is_finished), (login.clone(), is_finished));
        }
        let headers = sent_back(&[cookies.keep(&login, Duration::ZERO)]);
        assert!(cookies.find(&headers, "mg.other").is_none());
    }

    #[test]
    fn there_are_five_at_most_and_the_finished_and_the_oldest_give_way() {
        let cookies = cookies();
        let logins: Vec<_> = (1..=6).map(|n| login(n, "/a")).collect();
        let ttl = Duration::from_mins(10);
        let mut set: Vec<_> = logins.iter().map(|login| cookies.keep(login, ttl)).collect();
        let cleared = |set: &[SetCookie]| {
            let cleared = cookies.make_room(&sent_back(set));
            cleared.iter().map(|it| it.expose().to_owned()).collect::<Vec<_>>()
        };
        let clear = |n: usize| cookies.clear(&logins[n]).expose().to_owned();
        assert_eq!(cleared(&set), [clear(1), clear(0)]);
        set[5] = cookies.finish(&logins[5]);
        assert_eq!(cleared(&set), [clear(0), clear(5)]);
        assert_eq!(cleared(&set[..4]), Vec::<String>::new());
        let long = format!("/{}", "a".repeat(2000));
        let large = [login(7, &long), login(8, &long)].map(|login| cookies.keep(&login, ttl));
        assert_eq!(cleared(&large).len(), 1, "3 KiB of cookies besides the new one");
    }
}
