//! The contract suite of the port [`CookiePolicy`].

use std::time::Duration;

use mintgate_domain::ports::{CookiePolicy, CookieTooLarge, SessionTokens};
use mintgate_domain::{SetCookie, SignedToken};

/// The longest name and value together that browsers keep (RFC 6265 §6.1).
const MAX_BYTES: usize = 4096;

/// The parts of a `Set-Cookie` header value.
struct Parts {
    name: String,
    value: String,
    attributes: Vec<String>,
}

impl Parts {
    fn of(cookie: &SetCookie) -> Self {
        let mut parts = cookie.expose().split("; ").map(str::to_owned);
        let pair = parts.next().expect("a name and a value");
        let (name, value) = pair.split_once('=').expect("a name and a value");
        Self { name: name.to_owned(), value: value.to_owned(), attributes: parts.collect() }
    }

    /// The attributes with another `Max-Age`.
    fn with_max_age(&self, secs: u64) -> Vec<String> {
        let replace = |attribute: &String| match attribute.strip_prefix("Max-Age=") {
            Some(_) => format!("Max-Age={secs}"),
            None => attribute.clone(),
        };
        self.attributes.iter().map(replace).collect()
    }
}

/// Runs every check; panics if the adapter breaks the contract.
pub fn check(policy: &dyn CookiePolicy) {
    each_token_has_a_cookie_of_its_own_for_as_long_as_asked(policy);
    clearing_repeats_the_attributes_of_setting(policy);
    a_cookie_that_browsers_would_drop_is_refused(policy);
}

/// The access cookie comes first. Scripts can read neither cookie.
pub fn each_token_has_a_cookie_of_its_own_for_as_long_as_asked(policy: &dyn CookiePolicy) {
    let [access, refresh] = set(policy, "aaa", "rrr").expect("short tokens fit");
    for (cookie, value, max_age) in [(&access, "aaa", 3600), (&refresh, "rrr", 86_400)] {
        assert_eq!(cookie.value, value);
        let ages = cookie.attributes.iter().filter(|it| it.starts_with("Max-Age=")).count();
        assert_eq!((ages, cookie.with_max_age(max_age)), (1, cookie.attributes.clone()));
        assert!(cookie.attributes.iter().any(|attribute| attribute == "HttpOnly"));
    }
    assert_ne!(access.name, refresh.name);
}

/// Browsers delete a cookie only if name, `Path` and `Domain` are those it was set with.
pub fn clearing_repeats_the_attributes_of_setting(policy: &dyn CookiePolicy) {
    let set = set(policy, "aaa", "rrr").expect("short tokens fit");
    let cleared = policy.clearing_cookies().map(|cookie| Parts::of(&cookie));
    for (set, cleared) in set.iter().zip(&cleared) {
        assert_eq!((&cleared.name, cleared.value.as_str()), (&set.name, ""));
        assert_eq!(cleared.attributes, set.with_max_age(0));
    }
}

/// Both cookies are measured, and the error names the one that is too large.
pub fn a_cookie_that_browsers_would_drop_is_refused(policy: &dyn CookiePolicy) {
    let [access, refresh] =
        set(policy, "", "").expect("empty tokens fit").map(|cookie| cookie.name);
    let longest = |name: &str| "t".repeat(MAX_BYTES - name.len());
    let (for_access, for_refresh) = (longest(&access), longest(&refresh));
    assert_eq!(policy.longest_tokens(), [for_access.len(), for_refresh.len()]);
    assert!(set(policy, &for_access, &for_refresh).is_ok());
    let bytes = MAX_BYTES + 1;
    let too_large = set(policy, &format!("{for_access}t"), "").err();
    assert_eq!(too_large, Some(CookieTooLarge { name: access, bytes }));
    let too_large = set(policy, "", &format!("{for_refresh}t")).err();
    assert_eq!(too_large, Some(CookieTooLarge { name: refresh, bytes }));
}

fn set(
    policy: &dyn CookiePolicy,
    access: &str,
    refresh: &str,
) -> Result<[Parts; 2], CookieTooLarge> {
    let cookies = policy.session_cookies(SessionTokens {
        access: &SignedToken::new(access),
        access_max_age: Duration::from_hours(1),
        refresh: &SignedToken::new(refresh),
        refresh_max_age: Duration::from_hours(24),
    })?;
    Ok(cookies.map(|cookie| Parts::of(&cookie)))
}
