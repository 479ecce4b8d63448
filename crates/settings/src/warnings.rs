//! What is allowed in a configuration but rarely intended: keys that a second replica would not have,
//! pages whose cookies browsers do not send, an admin API that is read on the way.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mintgate_domain::model::AllowedUri;
use url::{Host, Url};

use crate::rules;
use crate::types::{KeyLocation, SameSite, Settings, StoreUrl};

/// The shortest `keys.publish_ahead_secs` without a warning: verifiers may cache the JWKS for 300
/// seconds, and clocks may differ by a minute.
const LEAST_PUBLISH_AHEAD: Duration = Duration::from_mins(6);

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
    /// The admin API can be reached from other machines, and its tokens are sent without TLS.
    AdminWithoutTls {
        /// The address of the operations listener.
        listen: SocketAddr,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeysInDirectory { dir } => write!(
                f,
                "the signing keys are in the directory {} (keys.dir) and not in the store: a second \
                 process with a directory of its own is refused at its start, since each would refuse what \
                 the other has signed; set keys.encryption_key before there is a second replica",
                dir.display()
            ),
            Self::ShortPublication { publish_ahead } => write!(
                f,
                "keys.publish_ahead_secs = {} is short: verifiers may cache the JWKS for 300 seconds, \
                 and after a rotation refuse tokens until they fetch it again; {} or more is safe",
                publish_ahead.as_secs(),
                LEAST_PUBLISH_AHEAD.as_secs()
            ),
            Self::OtherSite { origin, same_site } => write!(
                f,
                "pages of {origin} (cors.allowed_origins) are on another site than \
                 server.public_url: browsers do not send them the cookies, as cookies.same_site is \
                 {same_site:?}; serve both below one domain, or set cookies.same_site = \"None\" and \
                 cookies.partitioned = true, or let the app use tokenDelivery \"body\""
            ),
            Self::NotPartitioned { origin } => write!(
                f,
                "pages of {origin} (cors.allowed_origins) are on another site than \
                 server.public_url: many browsers drop their cookies although cookies.same_site is \
                 None; set cookies.partitioned = true, or serve both below one domain"
            ),
            Self::AdminWithoutTls { listen } => write!(
                f,
                "the admin API (admin.tokens) listens on {listen} (ops.listen) without TLS: whoever can \
                 read the traffic can use its tokens; listen on 127.0.0.1, or put a proxy with TLS and a \
                 private network before it"
            ),
            Self::LoopbackNames { origin, host } => write!(
                f,
                "pages of {origin} (cors.allowed_origins) and server.public_url name this machine \
                 differently, which makes them two sites for browsers, and the cookies are not sent; \
                 write {host} in both"
            ),
        }
    }
}

impl Settings {
    /// What is allowed in this configuration but rarely intended.
    pub fn warnings(&self) -> Vec<Warning> {
        let keys = self.key_warnings();
        let own = &self.server.public_url;
        let pages = self.cors.allowed_origins.iter();
        let pages = pages.filter_map(|origin| self.warning(own, origin));
        let listen = self.ops.listen;
        let is_exposed = !self.admin.tokens.is_empty() && !listen.ip().is_loopback();
        let exposed = is_exposed.then_some(Warning::AdminWithoutTls { listen });
        keys.chain(pages).chain(exposed).collect()
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

/// The site of an address as browsers judge it (RFC 6265bis §5.2): the scheme with the domain that
/// somebody can register, or with the host where there is none.
fn site(url: &Url) -> (&str, &str) {
    let host = url.host_str().unwrap_or_default();
    let domain = match url.host() {
        Some(Host::Domain(name)) => psl::domain_str(name),
        _ => None,
    };
    (url.scheme(), domain.unwrap_or(host))
}
