//! `[cookies]` and `[cors]`: what browsers keep, and which pages may send it.

use url::{Host, Url};

use crate::settings::key::key;
use crate::settings::mistakes::{Flaw, flaw};
use crate::settings::reader::Section;
use crate::settings::rules;
use crate::settings::types::{CookieSettings, CorsSettings, SameSite};

/// Where the refresh cookie is wanted.
const REFRESH_ENDPOINT: &str = "/api/v1/auth/refresh";

/// What the prefix of a cookie's name demands (RFC 6265bis §4.1.3).
struct CookieShape<'a> {
    secure: bool,
    domain: Option<&'a str>,
    path: &'a str,
}

/// Reads `[cookies]`.
pub(in crate::settings) fn cookies(
    s: &mut Section<'_>,
    public_url: Option<&Url>,
) -> Option<CookieSettings> {
    let access_name = s.text(
        key(
            "access_name",
            "Name of the access cookie, its prefix included: `__Host-` without `domain` only, \
             `__Secure-` with it.",
        )
        .or("Auth-Access-Token"),
        "cookie name",
        cookie_name,
    );
    let refresh_name = s.text(
        key(
            "refresh_name",
            "Name of the refresh cookie, its prefix included: `__Secure-`, for `__Host-` needs \
             the path `/`.",
        )
        .or("Auth-Refresh-Token"),
        "cookie name",
        cookie_name,
    );
    let same_site = s.choice(
        key("same_site", "`SameSite` of both. `None` is for pages of another site.").or("Lax"),
        &[("Strict", SameSite::Strict), ("Lax", SameSite::Lax), ("None", SameSite::None)],
    );
    let domain_given = s.is_given("domain");
    let domain = s.text(
        key("domain", "`Domain` of both: the host of `server.public_url`, or a parent of it.")
            .or_nothing("none: this host alone"),
        "domain name",
        |text| cookie_domain(text, public_url),
    );
    let partitioned =
        s.flag(key("partitioned", "`Partitioned` (CHIPS), for use in frames.").or(false));
    let refresh_path = s.text(
        key("refresh_path", "`Path` of the refresh cookie; the refresh endpoint is under it.")
            .or(REFRESH_ENDPOINT),
        "path",
        refresh_path,
    );
    let secure = s.flag(
        key("secure", "`Secure`. `false` only where `server.public_url` is on a loopback host.")
            .or(true),
    );

    if let (Some(access), Some(refresh)) = (&access_name, &refresh_name)
        && access.eq_ignore_ascii_case(refresh)
    {
        let problem = "Both cookies have this name, as far as browsers care.";
        s.blame("refresh_name", flaw(problem, "choose another name for one of them"));
    }
    if secure == Some(false) {
        if public_url.is_some_and(|url| !rules::is_loopback(url)) {
            let problem = "Without Secure, cookies travel in clear.";
            s.blame("secure", flaw(problem, "remove it, or use it on a loopback public_url alone"));
        }
        if same_site == Some(SameSite::None) {
            let problem = "Browsers drop SameSite=None cookies without Secure.";
            s.blame("same_site", flaw(problem, "write \"Lax\", or set secure = true"));
        }
        if partitioned == Some(true) {
            let problem = "Browsers drop Partitioned cookies without Secure.";
            s.blame("partitioned", flaw(problem, "write false, or set secure = true"));
        }
    }
    // A domain that is itself mistaken still is one, for the prefixes.
    let domain_shown = domain.as_deref().or(domain_given.then_some("…"));
    if let (Some(secure), Some(path)) = (secure, refresh_path.as_deref()) {
        for (key, name, path) in
            [("access_name", &access_name, "/"), ("refresh_name", &refresh_name, path)]
        {
            let shape = CookieShape { secure, domain: domain_shown, path };
            if let Some(Err(flaw)) = name.as_deref().map(|name| prefix_allows(name, &shape)) {
                s.blame(key, flaw);
            }
        }
    }
    Some(CookieSettings {
        access_name: access_name?,
        refresh_name: refresh_name?,
        same_site: same_site?,
        domain,
        partitioned: partitioned?,
        refresh_path: refresh_path?,
        secure: secure?,
    })
}

/// Reads `[cors]`.
pub(in crate::settings) fn cors(s: &mut Section<'_>) -> Option<CorsSettings> {
    let allowed_origins = s.list(
        key("allowed_origins", "The pages of other origins that may call with credentials.").or([]),
        "list of origins",
        rules::origin,
    );
    Some(CorsSettings { allowed_origins: allowed_origins? })
}

/// A token of RFC 9110 §5.6.2, as RFC 6265 §4.1.1 wants it.
fn cookie_name(name: &str) -> Result<String, Flaw> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || name.len() > 128 || !name.chars().all(token) {
        let problem =
            "This cannot be a cookie's name: 1 to 128 letters, digits and !#$%&'*+-.^_`|~";
        return Err(flaw(format!("{problem}."), "write for example \"Auth-Access-Token\""));
    }
    Ok(name.to_owned())
}

/// Browsers take the prefixes in any case, so they are judged in any case.
fn prefix_allows(name: &str, cookie: &CookieShape<'_>) -> Result<(), Flaw> {
    let lower = name.to_ascii_lowercase();
    let is_host = lower.starts_with("__host-");
    if !is_host && !lower.starts_with("__secure-") && !lower.starts_with("__http-") {
        return Ok(());
    }
    let prefix = &name[..name.find('-').map_or(0, |at| at + 1)];
    let refused = |why: &str, fix: &str| {
        Err(flaw(format!("Browsers drop a {prefix} cookie {why}."), fix.to_owned()))
    };
    if !cookie.secure {
        return refused("without Secure", "set secure = true, or take the prefix off the name");
    }
    if is_host && cookie.domain.is_some() {
        return refused("with a Domain", "write __Secure- instead, or remove cookies.domain");
    }
    if is_host && cookie.path != "/" {
        let why = format!("with a Path other than / (here {})", cookie.path);
        return refused(&why, "write __Secure- instead, or set cookies.refresh_path = \"/\"");
    }
    Ok(())
}

fn cookie_domain(text: &str, public_url: Option<&Url>) -> Result<String, Flaw> {
    let domain = rules::domain_name(text)?;
    let Some(url) = public_url else { return Ok(domain) };
    let host = url.host_str().unwrap_or_default();
    let covers = matches!(url.host(), Some(Host::Domain(_)))
        && host
            .strip_suffix(domain.as_str())
            .is_some_and(|sub| sub.is_empty() || sub.ends_with('.'));
    if !covers {
        let problem =
            format!("Browsers refuse this domain from {host}, the host of server.public_url.");
        let fix = "write that host or a parent domain of it, or remove the key";
        return Err(flaw(problem, fix));
    }
    Ok(domain)
}

/// The refresh endpoint must path-match it (RFC 6265 §5.1.4).
fn refresh_path(path: &str) -> Result<String, Flaw> {
    let fix = "write \"/api/v1/auth/refresh\", or a path above it such as \"/api/v1/auth\"";
    if !path.starts_with('/') || path.bytes().any(|b| !b.is_ascii_graphic() || b == b';') {
        return Err(flaw("This cannot be a cookie's path.", fix));
    }
    let matches = REFRESH_ENDPOINT
        .strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || path.ends_with('/'));
    if !matches {
        let problem = format!("Browsers would not send this cookie to {REFRESH_ENDPOINT}.");
        return Err(flaw(problem, fix));
    }
    Ok(path.to_owned())
}
