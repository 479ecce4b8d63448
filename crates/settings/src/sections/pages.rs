//! `[pages]`: the pages to which a login that is two links returns, and those that are served here.

use mintgate_config_reader::{Section, key};
use mintgate_domain::model::{AllowedUri, ReturnOrigins};
use url::Url;

use super::hosted::hosted;
use crate::rules;
use crate::types::{CorsSettings, PageSettings, Settings};

/// The path at which a login begins, before the provider's id.
const START: &str = "/api/v1/auth/start/";
/// The path of the hosted login page.
const LOGIN: &str = "/login";
/// The path of the callback, before the provider's id.
const CALLBACK: &str = "/api/v1/auth/callback/";

impl Settings {
    /// The address at which logins that `start` begins come back from a provider: the redirect URI to be
    /// registered there.
    pub fn callback(&self, provider: &str) -> String {
        self.own_address(&format!("{CALLBACK}{provider}"))
    }

    /// The address at which a login begins for callers of a gateway, without the parameter `returnTo`; `None`
    /// if it is not known.
    pub fn login_address(&self) -> Option<Url> {
        if let Some(page) = &self.pages.login_url {
            return Some(page.clone());
        }
        if self.pages.hosted.is_some() {
            return Url::parse(&self.own_address(LOGIN)).ok();
        }
        let [only] = &self.providers[..] else { return None };
        let id = only.policy.id.as_str();
        Url::parse(&self.own_address(&format!("{START}{id}"))).ok()
    }

    /// The public address of a path of ours.
    fn own_address(&self, path: &str) -> String {
        let url = &self.server.public_url;
        let origin = url.origin().ascii_serialization();
        format!("{origin}{}{path}", rules::path_prefix(url))
    }
}

/// Reads the section `[pages]`.
pub(crate) fn pages(
    s: &mut Section<'_>,
    public_url: Option<&Url>,
    cors: Option<&CorsSettings>,
) -> Option<PageSettings> {
    let own = public_url.map(|url| url.origin().ascii_serialization());
    let default: Option<Vec<&str>> = own.as_deref().zip(cors).map(|(own, cors)| {
        let allowed = cors.allowed_origins.iter().filter(|origin| !origin.has_free_label());
        let web = allowed.map(AllowedUri::as_str).filter(|it| rules::web_origin(it).is_ok());
        std::iter::once(own).chain(web).collect()
    });
    let return_origins = s.list(
        key(
            "return_origins",
            "The origins to whose pages `start`, `initiate` and `refresh/return` may send the browser. \
             The pages must be on the site of `server.public_url`. A `returnTo` that begins with `/` is \
             an address of the only one of them; with several, it is refused.",
        )
        .default_from(
            "the origin of `server.public_url`, and those of `cors.allowed_origins` that are of the web \
             and have no `*`",
            default.as_deref(),
        ),
        "list of origins",
        rules::web_origin,
    );
    let login_url = s.text(
        key(
            "login_url",
            "The address of a page where people choose how to sign in, for callers of a gateway who are not \
             signed in. It gets the parameter `returnTo`.",
        )
        .optional(
            "`/login` if `hosted` is set, or else `start` of the only provider; none if there are several",
        ),
        "URL",
        rules::web_address,
    );
    let return_origins = return_origins.map(ReturnOrigins::new);
    let (is_hosted, hosted) = hosted(s, public_url, return_origins.as_ref())?;
    let hosted = is_hosted.then_some(hosted);
    Some(PageSettings { return_origins: return_origins?, login_url, hosted })
}
