//! What is allowed in a configuration but rarely intended: keys that a second replica would not have,
//! pages whose cookies browsers do not send, an admin API that is read on the way, answers that are too
//! large for a proxy's buffers, limits that are shared with nobody.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mintgate_domain::model::{AllowedUri, Role};
use url::{Host, Url};

use crate::rules;
use crate::types::{Algorithm, KeyLocation, SameSite, Settings, StoreUrl};

/// The shortest `keys.publish_ahead_secs` without a warning: verifiers may cache the JWKS for 300
/// seconds, and clocks may differ by a minute.
const LEAST_PUBLISH_AHEAD: Duration = Duration::from_mins(6);

/// How long requests in flight may take once no connection is accepted any more.
const FINISHING: Duration = Duration::from_secs(10);
/// How long a process may take to stop by default in Kubernetes (`terminationGracePeriodSeconds`).
const USUAL_PATIENCE: Duration = Duration::from_secs(30);

/// nginx's `proxy_buffer_size`, in bytes: one page of memory.
const PROXY_BUFFER: usize = 4096;
/// What the claims of a token have besides what is configured, in bytes: names, ids and times.
const FIXED_CLAIMS: usize = 330;
/// The header of a token, in bytes.
const FIXED_HEADER: usize = 90;
/// What a copied claim counts for, in bytes: a name, an address, a few groups.
const COPIED_CLAIM: usize = 256;
/// The attributes of a cookie without its `Domain`, with the name of the header, in bytes.
const ATTRIBUTES: usize = 130;
/// All other headers, in bytes.
const OTHER_HEADERS: usize = 600;

/// The length of a signature, in bytes.
fn signature(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Hs256 => 32,
        Algorithm::Es256 | Algorithm::EdDsa => 64,
        Algorithm::Es384 => 96,
        // With the usual 2048 bits.
        Algorithm::Rs256 | Algorithm::Ps256 => 256,
    }
}

/// Something that is allowed but rarely intended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// The store can have several replicas, and the keys are in a directory that one of them has.
    KeysInDirectory {
        /// The value of `keys.dir`.
        dir: PathBuf,
    },
    /// After a rotation, verifiers may refuse tokens until they fetch the JWKS again.
    ShortPublication {
        /// The value of `keys.publish_ahead_secs`.
        publish_ahead: Duration,
    },
    /// The page is on another site than the service, and the cookies stay on theirs.
    OtherSite {
        /// The page's origin.
        origin: String,
        /// The value of `cookies.same_site`.
        same_site: SameSite,
    },
    /// The page is on another site, and browsers that block third-party cookies drop unpartitioned ones.
    NotPartitioned {
        /// The page's origin.
        origin: String,
    },
    /// The page and the service name the same machine differently, which makes them two sites.
    LoopbackNames {
        /// The page's origin.
        origin: String,
        /// The host of the page, which `server.public_url` could name.
        host: String,
    },
    /// A login that is two links returns to a page of another site, which does not get the cookies.
    ReturnsToOtherSite {
        /// The page's origin.
        origin: String,
    },
    /// The admin API can be reached from other machines, and its tokens are sent without TLS.
    AdminWithoutTls {
        /// The address of the operations listener.
        listen: SocketAddr,
    },
    /// Whoever ends the process may do so before it has finished.
    LongDrain {
        /// The value of `server.drain_secs`.
        drain: Duration,
    },
    /// All processes on the store are to count together, and the store has one process.
    SharedLimitsOfOne,
    /// The headers of an answer with cookies can be larger than a proxy buffers by default.
    LargeAnswers {
        /// The length of the headers for a user with every configured role and claim, in bytes.
        bytes: usize,
    },
}

impl Warning {
    /// What is so, what comes of it, and what to do about it.
    pub fn parts(&self) -> (String, String, String) {
        let (what, why, fix) = match self {
            Self::KeysInDirectory { dir } => (
                format!(
                    "the signing keys are in the directory {} (keys.dir) and not in the store",
                    dir.display()
                ),
                "a second process with a directory of its own is refused at its start, since each would \
                 refuse what the other has signed"
                    .to_owned(),
                "set keys.encryption_key before there is a second replica".to_owned(),
            ),
            Self::ShortPublication { publish_ahead } => (
                format!("keys.publish_ahead_secs = {} is short", publish_ahead.as_secs()),
                "verifiers may cache the JWKS for 300 seconds, and after a rotation refuse tokens until \
                 they fetch it again"
                    .to_owned(),
                format!("{} or more is safe", LEAST_PUBLISH_AHEAD.as_secs()),
            ),
            Self::OtherSite { origin, same_site } => (
                format!(
                    "pages of {origin} (cors.allowed_origins) are on another site than server.public_url"
                ),
                format!(
                    "browsers do not send them the cookies, as cookies.same_site is {same_site:?}"
                ),
                "serve both below one domain, or set cookies.same_site = \"None\" and \
                 cookies.partitioned = true, or let the app use tokenDelivery \"body\""
                    .to_owned(),
            ),
            Self::NotPartitioned { origin } => (
                format!(
                    "pages of {origin} (cors.allowed_origins) are on another site than server.public_url"
                ),
                "many browsers drop their cookies although cookies.same_site is None".to_owned(),
                "set cookies.partitioned = true, or serve both below one domain".to_owned(),
            ),
            Self::ReturnsToOtherSite { origin } => (
                format!("{origin} (pages.return_origins) is on another site than server.public_url"),
                "after a login by /start and /callback browsers do not send its pages the cookies, whatever \
                 cookies.same_site and cookies.partitioned are"
                    .to_owned(),
                "serve both below one domain, or let these pages call /login and /token and set \
                 pages.return_origins without them"
                    .to_owned(),
            ),
            Self::AdminWithoutTls { listen } => (
                format!("the admin API (admin.tokens) listens on {listen} (ops.listen) without TLS"),
                "whoever can read the traffic can use its tokens".to_owned(),
                "listen on 127.0.0.1, or set ops.tls_cert_file and ops.tls_key_file"
                    .to_owned(),
            ),
            Self::LoopbackNames { origin, host } => (
                format!(
                    "pages of {origin} (cors.allowed_origins) and server.public_url name this machine \
                     differently"
                ),
                "that makes them two sites for browsers, and the cookies are not sent".to_owned(),
                format!("write {host} in both"),
            ),
            Self::SharedLimitsOfOne => (
                "limits.shared = true has no effect with SQLite".to_owned(),
                "one process serves the file, and all limits are its own".to_owned(),
                "remove limits.shared, or use Postgres for several replicas".to_owned(),
            ),
            Self::LongDrain { drain } => (
                format!(
                    "the service may take {} s to stop (server.drain_secs and {} s)",
                    (*drain + FINISHING).as_secs(),
                    FINISHING.as_secs()
                ),
                format!(
                    "Kubernetes kills it after {} s unless it is told otherwise, and Docker after 10 s",
                    USUAL_PATIENCE.as_secs()
                ),
                "give it longer there (terminationGracePeriodSeconds, stop_grace_period), or lower \
                 server.drain_secs; the systemd unit needs no change"
                    .to_owned(),
            ),
            Self::LargeAnswers { bytes } => (
                format!(
                    "the headers of an answer with cookies can have {bytes} bytes, if somebody has \
                     every role of roles.default and roles.rules and every claim of tokens.extra_claims"
                ),
                format!(
                    "a proxy with the buffers that nginx has by default, {PROXY_BUFFER} bytes, answers \
                     such a sign-in with 502"
                ),
                "set proxy_buffer_size 16k and proxy_buffers 8 16k there, or issue fewer roles and claims"
                    .to_owned(),
            ),
        };
        (what, why, fix)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, why, fix) = self.parts();
        write!(f, "{what}: {why}; {fix}")
    }
}

impl Settings {
    /// What is allowed in this configuration but rarely intended.
    pub fn warnings(&self) -> Vec<Warning> {
        let keys = self.key_warnings();
        let own = &self.server.public_url;
        let pages = self.cors.allowed_origins.iter();
        let pages = pages.filter_map(|origin| self.warning(own, origin));
        let returns = self.pages.return_origins.iter();
        let returns = returns.filter_map(|origin| returns_elsewhere(own, origin));
        let listen = self.ops.listen;
        let is_plain = self.ops.tls.is_none() && !listen.ip().is_loopback();
        let is_exposed = is_plain && !self.admin.tokens.is_empty();
        let exposed = is_exposed.then_some(Warning::AdminWithoutTls { listen });
        let bytes = self.largest_headers();
        let is_large = bytes > PROXY_BUFFER && !rules::is_loopback(own);
        let large = is_large.then_some(Warning::LargeAnswers { bytes });
        let is_of_one = self.limits.rate.shared && matches!(self.store.url, StoreUrl::Sqlite(_));
        let of_one = is_of_one.then_some(Warning::SharedLimitsOfOne);
        let drain = self.server.drain;
        let is_long = drain + FINISHING > USUAL_PATIENCE;
        let long = is_long.then_some(Warning::LongDrain { drain });
        let rest = exposed.into_iter().chain(of_one).chain(large).chain(long);
        keys.chain(pages).chain(returns).chain(rest).collect()
    }

    /// The length of the headers of an answer with both cookies, for somebody who has every role that a
    /// rule grants, and copied claims of [`COPIED_CLAIM`] bytes.
    fn largest_headers(&self) -> usize {
        let Self { tokens, roles, cookies, .. } = self;
        let granted = roles.rules.iter().flat_map(|rule| &rule.grant);
        let granted: BTreeSet<_> = granted.chain(&roles.default).map(Role::as_str).collect();
        let of_roles: usize = granted.iter().map(|role| role.len() + 3).sum();
        let audience: usize = tokens.audience.iter().map(|one| one.len() + 3).sum();
        let copied: usize =
            tokens.extra_claims.iter().map(|(name, _)| name.len() + COPIED_CLAIM).sum();
        let former = tokens.former_ids_claim.as_ref().map_or(0, |name| name.len() + COPIED_CLAIM);
        let claims =
            [FIXED_CLAIMS, tokens.issuer.len(), tokens.client_id.len(), audience, of_roles];
        let access = claims.into_iter().sum::<usize>() + copied + former;
        let refresh = FIXED_CLAIMS + tokens.issuer.len();
        let text = |claims: usize, algorithm: Algorithm| {
            (FIXED_HEADER + claims + signature(algorithm)) * 4 / 3
        };
        let attributes = cookies.domain.as_ref().map_or(0, String::len) + ATTRIBUTES;
        let names = cookies.access_name.len() + cookies.refresh_name.len();
        text(access, tokens.algorithm)
            + text(refresh, tokens.refresh_algorithm)
            + names
            + 2 * attributes
            + OTHER_HEADERS
    }

    fn key_warnings(&self) -> impl Iterator<Item = Warning> {
        let keys = &self.keys;
        let in_directory = match (keys.location(), &self.store.url) {
            (Some(KeyLocation::Directory(dir)), StoreUrl::Postgres(_)) => {
                Some(Warning::KeysInDirectory { dir: dir.to_owned() })
            }
            _ => None,
        };
        let publish_ahead = keys.publish_ahead;
        let is_short = keys.access_key.is_none() && publish_ahead < LEAST_PUBLISH_AHEAD;
        let short = is_short.then_some(Warning::ShortPublication { publish_ahead });
        in_directory.into_iter().chain(short)
    }

    fn warning(&self, own: &Url, origin: &AllowedUri) -> Option<Warning> {
        // Every label below a domain is on the domain's site.
        let page = Url::parse(&origin.as_str().replacen("*.", "a.", 1)).ok()?;
        if site(&page) == site(own) {
            return None;
        }
        let (origin, same_site) = (origin.to_string(), self.cookies.same_site);
        if rules::is_loopback(&page) && rules::is_loopback(own) {
            let host = page.host_str()?.to_owned();
            return Some(Warning::LoopbackNames { origin, host });
        }
        match same_site {
            SameSite::None if self.cookies.partitioned => None,
            SameSite::None => Some(Warning::NotPartitioned { origin }),
            SameSite::Lax | SameSite::Strict => Some(Warning::OtherSite { origin, same_site }),
        }
    }
}

/// The warning about an origin to which logins return, unless the two are names of this machine.
fn returns_elsewhere(own: &Url, origin: &str) -> Option<Warning> {
    let page = Url::parse(origin).ok()?;
    let is_same = site(&page) == site(own) || rules::is_loopback(&page) && rules::is_loopback(own);
    (!is_same).then(|| Warning::ReturnsToOtherSite { origin: origin.to_owned() })
}

/// The site of an address as browsers judge it (RFC 6265bis §5.2): the scheme with the domain that
/// somebody can register, or with the host where there is none.
pub fn site(url: &Url) -> (&str, &str) {
    let host = url.host_str().unwrap_or_default();
    let domain = match url.host() {
        Some(Host::Domain(name)) => psl::domain_str(name),
        _ => None,
    };
    (url.scheme(), domain.unwrap_or(host))
}
