//! `[cookies]` and `[cors]`: the cookies that browsers keep, and the pages that may send them.

use mintgate_config_reader::{Invalid, Section, invalid, key};
use url::{Host, Url};

use crate::rules;
use crate::types::{CookieSettings, CorsSettings, SameSite};

/// The endpoint that needs the refresh cookie, below the path of the public URL.
const REFRESH_ENDPOINT: &str = "/api/v1/auth/refresh";

/// The name of the readable cookie.
const HINT_NAME: &str = "Auth-Session";

/// The attributes of a cookie that a prefix of its name restricts (RFC 6265bis §4.1.3).
struct CookieShape<'a> {
    secure: bool,
    domain: Option<&'a str>,
    path: &'a str,
}

/// Reads the section `[cookies]`.
pub(crate) fn cookies(s: &mut Section<'_>, public_url: Option<&Url>) -> Option<CookieSettings> {
    let access_name = s.text(
        key(
            "access_name",
            "The name of the access cookie, prefix included. The prefix `__Host-` is allowed only \
             without `domain`, `__Secure-` always.",
        )
        .default("Auth-Access-Token"),
        "cookie name",
        cookie_name,
    );
    let refresh_name = s.text(
        key(
            "refresh_name",
            "The name of the refresh cookie, prefix included. The prefix `__Host-` is allowed only \
             with `refresh_path = \"/\"` and without `domain`, `__Secure-` always.",
        )
        .default("Auth-Refresh-Token"),
        "cookie name",
        cookie_name,
    );
    let same_site = s.choice(
        key(
            "same_site",
            "The attribute `SameSite` of both cookies. Pages of another site need `None`, and in many \
             browsers `partitioned` too.",
        )
        .default("Lax"),
        &[("Strict", SameSite::Strict), ("Lax", SameSite::Lax), ("None", SameSite::None)],
    );
    let domain_given = s.is_given("domain");
    let domain = s.text(
        key(
            "domain",
            "The attribute `Domain` of both cookies: the host of `server.public_url`, or a parent \
             domain of it. Every host of that domain then receives the cookies.",
        )
        .optional("none: this host alone"),
        "domain name",
        |text| cookie_domain(text, public_url),
    );
    let partitioned = s.flag(
        key(
            "partitioned",
            "Whether both cookies have the attribute `Partitioned` (CHIPS): browsers then keep them \
             apart for each top-level site.",
        )
        .default(false),
    );
    let prefix = public_url.map_or("", rules::path_prefix);
    let endpoint = format!("{prefix}{REFRESH_ENDPOINT}");
    let refresh_path = s.text(
        key(
            "refresh_path",
            "The attribute `Path` of the refresh cookie. The refresh endpoint must be under it.",
        )
        .default_from(
            "`/api/v1/auth/refresh` below the path of `server.public_url`",
            Some(endpoint.as_str()),
        ),
        "path",
        |path| refresh_path(path, &endpoint),
    );
    let secure = s.flag(
        key(
            "secure",
            "Whether both cookies have the attribute `Secure`. `false` is allowed only where \
             `server.public_url` is on a loopback host.",
        )
        .default(true),
    );
    let (hint, hint_domain) = hint(s, public_url).unzip();
    check_names(s, [&access_name, &refresh_name], hint == Some(true));
    if secure == Some(false) {
        check_insecure(s, public_url, same_site, partitioned);
    }
    // A domain that is not valid is a domain still, as far as the prefixes are concerned.
    let domain_shown = domain.as_deref().or(domain_given.then_some("…"));
    if let (Some(secure), Some(path)) = (secure, refresh_path.as_deref()) {
        for (key, name, path) in
            [("access_name", &access_name, "/"), ("refresh_name", &refresh_name, path)]
        {
            let shape = CookieShape { secure, domain: domain_shown, path };
            if let Some(Err(invalid)) = name.as_deref().map(|name| prefix_allows(name, &shape)) {
                s.reject(key, invalid);
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
        hint: hint?,
        hint_domain: hint_domain?,
    })
}

/// Reads the keys of the readable cookie.
fn hint(s: &mut Section<'_>, public_url: Option<&Url>) -> Option<(bool, Option<String>)> {
    let hint = s.flag(
        key(
            "hint",
            "Whether a third cookie, `Auth-Session=1`, comes and goes with the refresh cookie. Scripts can read it: it tells \
             a page that there is a session, without a request.",
        )
        .default(false),
    );
    let hint_domain = s.text(
        key(
            "hint_domain",
            "The attribute `Domain` of the cookie `Auth-Session`: the host of `server.public_url`, or a parent domain of it, \
             so that pages on other hosts of that domain can read it.",
        )
        .optional("none: this host alone"),
        "domain name",
        |text| cookie_domain(text, public_url),
    );

    Some((hint?, hint_domain))
}

/// Reports names that two cookies have, as far as browsers care.
fn check_names(
    s: &mut Section<'_>,
    [access_name, refresh_name]: [&Option<String>; 2],
    has_hint: bool,
) {
    if let (Some(access), Some(refresh)) = (access_name, refresh_name)
        && access.eq_ignore_ascii_case(refresh)
    {
        let problem = "Both cookies have this name, as far as browsers care.";
        s.reject("refresh_name", invalid(problem, "choose another name for one of them"));
    }
    for (key, name) in [("access_name", access_name), ("refresh_name", refresh_name)] {
        let is_taken = name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(HINT_NAME));
        if has_hint && is_taken {
            let problem = "The readable cookie has this name.";
            s.reject(key, invalid(problem, "choose another name, or write hint = false"));
        }
    }
}

/// Reports what browsers do not accept, or nobody should use, without `Secure`.
fn check_insecure(
    s: &mut Section<'_>,
    public_url: Option<&Url>,
    same_site: Option<SameSite>,
    partitioned: Option<bool>,
) {
    if public_url.is_some_and(|url| !rules::is_loopback(url)) {
        let problem = "Without Secure, cookies travel in clear.";
        let fix = "remove it, or use it on a loopback public_url alone";
        s.reject("secure", invalid(problem, fix));
    }
    if same_site == Some(SameSite::None) {
        let problem = "Browsers drop SameSite=None cookies without Secure.";
        s.reject("same_site", invalid(problem, "write \"Lax\", or set secure = true"));
    }
    if partitioned == Some(true) {
        let problem = "Browsers drop Partitioned cookies without Secure.";
        s.reject("partitioned", invalid(problem, "write false, or set secure = true"));
    }
}

/// Reads the section `[cors]`.
pub(crate) fn cors(s: &mut Section<'_>) -> Option<CorsSettings> {
    let allowed_origins = s.list(
        key(
            "allowed_origins",
            "The origins whose pages may call with cookies, in addition to the origin of \
             `server.public_url`: those of the web, and of apps such as `capacitor://localhost`. \
             `https://*.preview.example.com` allows every label in place of `*`.",
        )
        .default([]),
        "list of origins",
        rules::origin,
    );
    Some(CorsSettings { allowed_origins: allowed_origins? })
}

/// A cookie's name: a token (RFC 6265 §4.1.1, RFC 9110 §5.6.2).
fn cookie_name(name: &str) -> Result<String, Invalid> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || name.len() > 128 || !name.chars().all(token) {
        let problem =
            "This cannot be a cookie's name: 1 to 128 letters, digits and !#$%&'*+-.^_`|~";
        return Err(invalid(format!("{problem}."), "write for example \"Auth-Access-Token\""));
    }
    Ok(name.to_owned())
}

/// Whether a cookie with this name may have these attributes. Browsers match prefixes in any case.
fn prefix_allows(name: &str, cookie: &CookieShape<'_>) -> Result<(), Invalid> {
    let lower = name.to_ascii_lowercase();
    let is_host = lower.starts_with("__host-");
    if !is_host && !lower.starts_with("__secure-") && !lower.starts_with("__http-") {
        return Ok(());
    }
    let prefix = &name[..name.find('-').map_or(0, |at| at + 1)];
    let refused = |why: &str, fix: &str| {
        Err(invalid(format!("Browsers drop a {prefix} cookie {why}."), fix.to_owned()))
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

fn cookie_domain(text: &str, public_url: Option<&Url>) -> Result<String, Invalid> {
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
        return Err(invalid(problem, fix));
    }
    Ok(domain)
}

/// A path that the refresh endpoint matches (RFC 6265 §5.1.4).
fn refresh_path(path: &str, endpoint: &str) -> Result<String, Invalid> {
    let fix = format!("write \"{endpoint}\", or a path above it");
    if !path.starts_with('/') || path.bytes().any(|b| !b.is_ascii_graphic() || b == b';') {
        return Err(invalid("This cannot be a cookie's path.", fix));
    }
    let matches = endpoint
        .strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || path.ends_with('/'));
    if !matches {
        let problem = format!("Browsers would not send this cookie to {endpoint}.");
        return Err(invalid(problem, fix));
    }
    Ok(path.to_owned())
}
