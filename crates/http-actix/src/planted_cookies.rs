//! Cookies that somebody else has planted under one of our names, and how a browser gets rid of them.
//!
//! A sibling host can set a cookie for a parent domain, and a page of our own host for another path. A
//! browser then sends two of one name, and keeps the planted one when the genuine one is cleared: name,
//! domain, path and partition together are what it knows a cookie by (RFC 6265bis §5.7). It does not say
//! which ones it has, so each that it can have sent is cleared.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use mintgate_domain::SetCookie;
use url::Url;

use crate::config::{CookieConfig, SameSite};

/// The most bytes of `Set-Cookie` headers in one answer: proxies commonly take no more than 4 KiB of
/// headers.
const MAX_HEADER_BYTES: usize = 3 * 1024;

/// Our own paths have fewer places where the path of a cookie can end.
const MAX_PATH_ENDS: usize = 40;

/// What a header takes besides its value: `Set-Cookie: ` and the end of the line.
const HEADER_OVERHEAD: usize = 14;

/// The variants under which a browser may hold a cookie of ours that it sends to this host.
#[derive(Debug)]
pub(crate) struct PlantedCookies {
    /// The domains that a cookie for this host can have been set with; `None` is the host alone.
    domains: Vec<Option<String>>,
    /// The path of the public URL, without the slash at its end.
    prefix: String,
    /// The attributes that make browsers accept what clears: without them, a cookie of this name or from
    /// this kind of page would be ignored.
    attributes: &'static str,
    /// How many answers have cleared variants so far.
    turn: AtomicU32,
}

impl PlantedCookies {
    pub(crate) fn new(config: &CookieConfig, public_url: &Url) -> Self {
        let parents = parent_domains(public_url.host_str().unwrap_or_default());
        let domains = std::iter::once(None).chain(parents.into_iter().map(Some));
        Self {
            domains: domains.collect(),
            prefix: public_url.path().trim_end_matches('/').to_owned(),
            attributes: match config.same_site {
                SameSite::None => "; Secure; SameSite=None",
                SameSite::Strict | SameSite::Lax => "; Secure",
            },
            turn: AtomicU32::new(0),
        }
    }

    /// The `Set-Cookie` values that clear the variants of a cookie that a browser can have sent with a
    /// request for `path`, as many as fit: that of this host and of the path `/` always, the others from
    /// one answer to the next, so that a browser that tries again gets rid of all.
    pub(crate) fn clearing(&self, name: &str, path: &str) -> Vec<SetCookie> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut variants = self.variants(name, path);
        let likeliest = variants.len().min(2);
        let others = variants.len() - likeliest;
        if others > 0 {
            // Steps of the golden ratio: wherever answers to others come in between, soon all had a turn.
            let fraction = u64::from(turn.wrapping_mul(0x9E37_79B9));
            let start = (fraction * others as u64) >> 32;
            variants[likeliest..].rotate_left(usize::try_from(start).unwrap_or_default());
        }
        let mut room = MAX_HEADER_BYTES;
        let fits = variants.into_iter().take_while(|variant| {
            let bytes = variant.len() + HEADER_OVERHEAD;
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        });
        fits.map(SetCookie::new).collect()
    }

    /// Each domain, path and partition, the likeliest first.
    fn variants(&self, name: &str, path: &str) -> Vec<String> {
        // A browser takes a cookie with this prefix only for the host alone and the path `/`.
        let is_host_only = name.to_ascii_lowercase().starts_with("__host-");
        let paths = if is_host_only { vec!["/".to_owned()] } else { self.paths(path) };
        let domains = if is_host_only { &self.domains[..1] } else { &self.domains[..] };
        let mut variants = Vec::with_capacity(domains.len() * paths.len() * 2);
        for domain in domains {
            let domain = domain.as_ref().map_or_else(String::new, |it| format!("; Domain={it}"));
            for path in &paths {
                for partitioned in ["", "; Partitioned"] {
                    let attributes = self.attributes;
                    variants.push(format!(
                        "{name}=; Path={path}{domain}{attributes}; Max-Age=0{partitioned}"
                    ));
                }
            }
        }
        variants
    }

    /// The paths of cookies that are sent with a request for this one (RFC 6265 §5.1.4): `/`, and each
    /// that ends at or behind a slash, or at the end.
    fn paths(&self, path: &str) -> Vec<String> {
        // A proxy may have taken the prefix away.
        let missing = if path.starts_with(&self.prefix) { "" } else { &self.prefix };
        // A semicolon would end the attribute.
        let path = path.split(';').next().unwrap_or_default();
        let path = format!("{missing}{path}");
        let slashes = path.match_indices('/').flat_map(|(at, _)| [at, at + 1]);
        let ends =
            slashes.chain([path.len()]).take(MAX_PATH_ENDS).map(|end| path[..end].to_owned());
        let mut paths: Vec<_> = ends.filter(|path| !path.is_empty()).collect();
        paths.dedup();
        paths
    }
}

/// The host and its parent domains down to two labels, for example `a.b.example.com`,
/// `b.example.com`, `example.com`; none for an IP address. Browsers ignore those that are public
/// suffixes.
fn parent_domains(host: &str) -> Vec<String> {
    if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Vec::new();
    }
    let parents = std::iter::successors(Some(host), |host| Some(host.split_once('.')?.1));
    parents.take_while(|host| host.contains('.')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: &str = "/api/v1/auth/refresh";
    const NAME: &str = "Auth-Refresh-Token";

    fn planted_cookies(same_site: SameSite, public_url: &str) -> PlantedCookies {
        let config = CookieConfig {
            access_name: "Auth-Access-Token".to_owned(),
            refresh_name: NAME.to_owned(),
            same_site,
            domain: None,
            partitioned: false,
            refresh_path: REFRESH.to_owned(),
            secure: true,
            hint: None,
        };
        PlantedCookies::new(&config, &Url::parse(public_url).unwrap())
    }

    /// What a browser knows a cookie by.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Key {
        name: String,
        /// `None` if it is for the host alone.
        domain: Option<String>,
        path: String,
        is_partitioned: bool,
    }

    /// The cookies of a browser that talks to one host, and `com` is a public suffix.
    struct Jar {
        host: &'static str,
        cookies: Vec<Key>,
    }

    impl Jar {
        fn new(host: &'static str) -> Self {
            Self { host, cookies: Vec::new() }
        }

        /// What a `Set-Cookie` value names, as far as the browser accepts it.
        fn key(&self, set_cookie: &str) -> Option<Key> {
            let mut parts = set_cookie.split("; ");
            let name = parts.next()?.split_once('=')?.0.to_owned();
            let mut key = Key { name, domain: None, path: String::new(), is_partitioned: false };
            let mut is_secure = false;
            for attribute in parts {
                match attribute.split_once('=').unwrap_or((attribute, "")) {
                    ("Path", path) => path.clone_into(&mut key.path),
                    ("Domain", domain) => key.domain = Some(domain.to_owned()),
                    ("Partitioned", _) => key.is_partitioned = true,
                    ("Secure", _) => is_secure = true,
                    _ => {}
                }
            }
            let is_ours = |domain: &String| {
                let parent = self.host.strip_suffix(domain.as_str());
                domain != "com" && parent.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            };
            (is_secure && key.domain.as_ref().is_none_or(is_ours)).then_some(key)
        }

        fn sets(&mut self, set_cookie: &str) {
            let key = self.key(set_cookie).expect("a cookie that is accepted");
            self.cookies.retain(|held| *held != key);
            self.cookies.push(key);
        }

        fn clears(&mut self, answer: &[SetCookie]) {
            for cookie in answer {
                assert!(cookie.expose().contains("Max-Age=0"));
                if let Some(key) = self.key(cookie.expose()) {
                    self.cookies.retain(|held| *held != key);
                }
            }
        }

        /// How many cookies of this name are sent with a request.
        fn sent(&self, name: &str, path: &str) -> usize {
            let matches = |cookie: &&Key| {
                let rest = path.strip_prefix(cookie.path.as_str());
                let is_below = |rest: &str| {
                    rest.is_empty() || cookie.path.ends_with('/') || rest.starts_with('/')
                };
                cookie.name == name && rest.is_some_and(is_below)
            };
            self.cookies.iter().filter(matches).count()
        }
    }

    /// Every variant that a browser at this host can hold.
    fn everything(host: &'static str) -> Vec<String> {
        let mut domains = vec![String::new()];
        let parents = std::iter::successors(Some(host), |host| Some(host.split_once('.')?.1));
        domains.extend(
            parents.take_while(|it| it.contains('.')).map(|domain| format!("; Domain={domain}")),
        );
        let paths =
            ["/", "/api", "/api/", "/api/v1", "/api/v1/", "/api/v1/auth", "/api/v1/auth/", REFRESH];
        let mut all = Vec::new();
        for domain in &domains {
            for path in paths {
                for partitioned in ["", "; Partitioned"] {
                    all.push(format!("{NAME}=x; Path={path}{domain}; Secure{partitioned}"));
                }
            }
        }
        all
    }

    /// Tries until the cookie no longer comes twice; `between` answers go to others after each try.
    fn tries(planted: &PlantedCookies, jar: &mut Jar, between: u32) -> u32 {
        let mut tries = 0;
        while jar.sent(NAME, REFRESH) > 1 {
            let answer = planted.clearing(NAME, REFRESH);
            let bytes: usize = answer.iter().map(|it| it.expose().len() + HEADER_OVERHEAD).sum();
            assert!(bytes <= MAX_HEADER_BYTES, "{bytes}");
            jar.clears(&answer);
            for _ in 0..between {
                planted.clearing(NAME, REFRESH);
            }
            tries += 1;
            assert!(tries < 50, "it does not heal: {:?}", jar.cookies);
        }
        tries
    }

    #[test]
    fn case_48_a_browser_full_of_planted_cookies_heals_within_a_few_tries() {
        for host in ["example.com", "auth.example.com", "a.b.c.example.com"] {
            let url = format!("https://{host}");
            for (same_site, between) in
                [(SameSite::Lax, 0), (SameSite::Lax, 1), (SameSite::None, 2), (SameSite::Lax, 7)]
            {
                let planted = planted_cookies(same_site, &url);
                let mut jar = Jar::new(host);
                for cookie in everything(host) {
                    jar.sets(&cookie);
                }
                jar.sets("Auth-Access-Token=genuine; Path=/; Secure");
                let took = tries(&planted, &mut jar, between);
                assert!(took <= 12, "{took} at {host} with {between} in between");
                assert_eq!(jar.sent("Auth-Access-Token", REFRESH), 1, "the other cookie stays");
            }
        }
    }

    #[test]
    fn each_planted_cookie_goes_whatever_answers_come_before() {
        let host = "auth.example.com";
        let planted = planted_cookies(SameSite::Lax, "https://auth.example.com");
        for (n, cookie) in (0..).zip(everything(host)) {
            let mut jar = Jar::new(host);
            jar.sets(&format!("{NAME}=genuine; Path={REFRESH}; Secure"));
            jar.sets(&cookie);
            let took = tries(&planted, &mut jar, n % 5);
            assert!(took <= 6, "{took} for {cookie}");
        }
    }

    #[test]
    fn this_host_and_the_root_path_come_first_in_every_answer() {
        let planted = planted_cookies(SameSite::Lax, "https://auth.example.com");
        for _ in 0..5 {
            let first: Vec<_> = planted.clearing(NAME, REFRESH).into_iter().take(2).collect();
            assert_eq!(
                first.iter().map(SetCookie::expose).collect::<Vec<_>>(),
                [
                    "Auth-Refresh-Token=; Path=/; Secure; Max-Age=0",
                    "Auth-Refresh-Token=; Path=/; Secure; Max-Age=0; Partitioned",
                ]
            );
        }
    }

    #[test]
    fn a_cookie_that_nobody_can_plant_for_other_hosts_and_paths_has_two_variants() {
        let planted = planted_cookies(SameSite::Lax, "https://auth.example.com");
        assert_eq!(planted.clearing("__Host-rt", REFRESH).len(), 2);
    }

    #[test]
    fn a_prefix_that_a_proxy_took_away_is_in_the_paths() {
        let planted = planted_cookies(SameSite::Lax, "https://example.com/auth/");
        let expected = ["/", "/auth", "/auth/", "/auth/me"];
        assert_eq!(planted.paths("/me"), expected);
        assert_eq!(planted.paths("/auth/me"), expected);
        assert_eq!(planted.paths("/auth/me;Domain=x"), expected);
    }

    #[test]
    fn an_address_has_no_parent_domains() {
        for host in ["127.0.0.1", "[::1]", "localhost"] {
            assert_eq!(parent_domains(host), Vec::<String>::new());
        }
        assert_eq!(parent_domains("a.example.com"), ["a.example.com", "example.com"]);
    }
}
