//! What the HTTP adapter is told when it is built.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;
use mintgate_domain::Clients;
use mintgate_domain::model::{AllowedUri, CountDigest, ReturnOrigins, Role};
use url::Url;

/// The configuration of the public listener.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// The URL under which browsers reach this service.
    pub public_url: Url,
    /// The issuer identifier of our tokens, which the metadata documents are about.
    pub issuer: String,
    /// The origins whose pages may call this service.
    pub allowed_origins: Vec<AllowedUri>,
    /// The origins to whose pages a browser may be sent at the end of a login.
    pub return_origins: ReturnOrigins,
    /// The networks of the proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The networks of the peers whose traces are continued.
    pub trusted_callers: Vec<IpNet>,
    /// The names and attributes of all cookies.
    pub cookies: CookieConfig,
    /// What clients can use.
    pub limits: Limits,
    /// How often callers may ask.
    pub rate_limits: RateLimits,
    /// The back ends that may ask about sessions.
    pub clients: Clients,
    /// The gateways whose demands are configured here.
    pub gateways: Vec<Gateway>,
    /// The address at which a login begins, without its parameter `returnTo`; `None` if it is not known.
    pub login_address: Option<Url>,
    /// The pages that are served here; `None` if apps have their own.
    pub hosted: Option<HostedPages>,
    /// The number of worker threads; 0 for one per processor.
    pub workers: usize,
}

/// The pages where people choose how to sign in, and see their account.
#[derive(Debug, Clone)]
pub struct HostedPages {
    /// The name of whom the pages belong to.
    pub name: String,
    /// The page of an app to which one goes from here, if one came for no other: an address of one of the
    /// return origins.
    pub home: Option<String>,
    /// The tag (BCP 47) of the language for browsers that prefer none of the others.
    pub language: String,
    /// The operator's languages.
    pub languages: Vec<PageLanguage>,
    /// The operator's style sheet.
    pub stylesheet: Option<String>,
    /// The operator's logo.
    pub logo: Option<PageLogo>,
}

/// Texts of the hosted pages in a language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageLanguage {
    /// The tag of the language (BCP 47).
    pub tag: String,
    /// Each text by its key. Keys that are not known are ignored.
    pub texts: BTreeMap<String, String>,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageLogo {
    /// Its media type, such as `image/png`.
    pub media_type: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
}

/// What a gateway demands of callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// The name by which it asks.
    pub name: String,
    /// The roles that callers must have, all of them.
    pub roles: Vec<Role>,
    /// Whether navigations of callers who are not signed in are redirected to the login.
    pub redirects: bool,
}

/// What the clients of the public listener can use. Requests beyond a number of requests are refused
/// with `OVERLOADED`.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest that the head of a request may take to arrive, and then its body.
    pub request_timeout: Duration,
    /// The largest sum of a request's header names and values, in bytes; its first line may have
    /// 8 KiB more.
    pub max_header_bytes: usize,
    /// How many connections there may be. Beyond, the one that has waited longest for its client is
    /// closed for a new one.
    pub max_connections: usize,
    /// How many requests that ask the store alone are worked on at once; as many back ends' questions about
    /// tokens besides.
    pub max_in_flight: usize,
    /// How many requests that may wait for a provider are worked on at once; as many logout tokens
    /// of providers besides, and as many requests for providers' access tokens.
    pub max_sign_ins: usize,
    /// How many streams about revocations may be open.
    pub max_revocation_streams: usize,
    /// How many bodies that did not arrive along with their heads are read at once, each of up to
    /// 32 KiB.
    pub max_slow_bodies: usize,
}

/// How often one caller, an IPv4 address or an IPv6 /64, or one session may ask in a minute; 0 for any
/// number. Beyond, requests are refused with `RATE_LIMITED`. An IPv6 /48 may ask 16 times as often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimits {
    /// The logins that a caller may begin.
    pub logins_per_minute: u32,
    /// The sign-ins of a caller, and the identities that it links.
    pub sign_ins_per_minute: u32,
    /// The sign-ins of a caller whose code or ID token may be refused.
    pub refused_sign_ins_per_minute: u32,
    /// The sign-ins at one provider, of all callers together.
    pub provider_sign_ins_per_minute: u32,
    /// The refresh tokens of a caller that may be refused.
    pub refused_refreshes_per_minute: u32,
    /// The logout tokens of a caller that may be refused.
    pub refused_logout_tokens_per_minute: u32,
    /// The refreshes of a session.
    pub session_refreshes_per_minute: u32,
    /// The tokens of the admin API of a network that may be refused.
    pub refused_admin_tokens_per_minute: u32,
    /// The networks whose callers are not limited.
    pub exempt: Vec<IpNet>,
    /// Makes the digests by which the processes on one store tell one another what they have counted, if they do.
    pub shared: Option<CountDigest>,
}

/// The names and attributes of the cookies (RFC 6265bis §4.1).
#[derive(Debug, Clone)]
pub struct CookieConfig {
    /// The name of the access cookie, with its prefix.
    pub access_name: String,
    /// The name of the refresh cookie, with its prefix.
    pub refresh_name: String,
    /// The `SameSite` attribute of every cookie.
    pub same_site: SameSite,
    /// The `Domain` attribute of the session cookies; none if they are for this host alone.
    pub domain: Option<String>,
    /// Whether every cookie has the `Partitioned` attribute.
    pub partitioned: bool,
    /// The `Path` attribute of the refresh cookie.
    pub refresh_path: String,
    /// Whether every cookie has the `Secure` attribute.
    pub secure: bool,
    /// The readable cookie that says there is a session; none if there is no such cookie.
    pub hint: Option<HintCookie>,
}

/// The cookie `Auth-Session`, by which the script of a page knows that there is a session.
#[derive(Debug, Clone)]
pub struct HintCookie {
    /// Its `Domain` attribute; none if it is for this host alone.
    pub domain: Option<String>,
}

/// The values of the `SameSite` attribute (RFC 6265bis §4.1.2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// The cookie is sent with requests from pages of the same site only.
    Strict,
    /// The cookie is sent with requests from pages of the same site, and with top-level navigations
    /// from any site.
    Lax,
    /// The cookie is sent with every request.
    None,
}

impl SameSite {
    /// The value as a `Set-Cookie` header has it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}
