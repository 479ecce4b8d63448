//! Rules that texts must keep, one function each: addresses, origins, redirect URIs, names.

use std::net::SocketAddr;

use mintgate_config_reader::{Invalid, invalid, nearest};
use mintgate_domain::model::{AllowedUri, Role};
use mintgate_domain::{SecretText, TokenHash};
use url::{Host, Url};

/// An IP address and port to listen on.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, Invalid> {
    text.parse().map_err(|_| {
        let fix = "write for example \"127.0.0.1:8080\", \"0.0.0.0:8080\" or \"[::]:8080\"";
        invalid("This is not an IP address with a port.", fix)
    })
}

/// Accepts any text that is not empty.
pub(crate) fn non_empty(text: &str) -> Result<String, Invalid> {
    if text.trim().is_empty() {
        return Err(invalid("This is empty.", "write a value, or leave the key out"));
    }
    Ok(text.to_owned())
}

/// A pair `name=value`, neither of which is empty.
pub(crate) fn pair(text: &str) -> Result<(String, String), Invalid> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(invalid("This is not a name and a value.", "write \"name=value\"")),
    }
}

/// A GUID in any case; the result is in lower case.
pub(crate) fn guid(text: &str) -> Result<String, Invalid> {
    let is_guid = text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
    if !is_guid {
        let fix = "write a GUID such as \"72f988bf-86f1-41af-91ab-2d7cd011db47\"";
        return Err(invalid("This is not the id of a tenant.", fix));
    }
    Ok(text.to_ascii_lowercase())
}

/// Whether a host is this machine: `localhost`, 127.0.0.0/8, `::1`.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// An absolute URI written in URI characters alone (RFC 3986 §2), for the parser would
/// drop or replace others and so accept what nobody meant.
pub(crate) fn absolute_uri(text: &str) -> Result<Url, Invalid> {
    let allowed = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
    if let Some(c) = text.chars().find(|c| !allowed(*c)) {
        let problem = format!("A URL cannot hold the character {c:?}.");
        return Err(invalid(problem, "percent-encode it, or write the host name in its xn-- form"));
    }
    Url::parse(text).map_err(|e| {
        invalid(
            format!("This is not a URL: {e}."),
            "write for example \"https://auth.example.com\"",
        )
    })
}

/// An `https` URL, or an `http` one on this machine; without user, password and fragment.
fn web_url(text: &str) -> Result<Url, Invalid> {
    let url = absolute_uri(text)?;
    let Some((_, rest)) = text.split_once("://").filter(|(s, _)| ["https", "http"].contains(s))
    else {
        let fix = "write it with https:// in front, for example \"https://auth.example.com\"";
        return Err(invalid("This is not a web address.", fix));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(invalid(
            "A user or password cannot stand here.",
            "leave out what is before the @",
        ));
    }
    if url.fragment().is_some() {
        return Err(invalid(
            "A fragment cannot stand here.",
            "leave out the # and what follows it",
        ));
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        let problem = "Plain http is for this machine (localhost, 127.0.0.1, [::1]) alone.";
        return Err(invalid(problem, "write https://"));
    }
    Ok(url)
}

/// The address of an endpoint: a web address that may have a query (RFC 6749 §3.1 and §3.2).
pub(crate) fn endpoint(text: &str) -> Result<String, Invalid> {
    web_url(text).map(|_| text.to_owned())
}

/// The address of a system of the operator's that Mintgate asks over HTTP.
pub(crate) fn web_address(text: &str) -> Result<Url, Invalid> {
    web_url(text)
}

/// An origin inside the operator's network: scheme, host and port. It may be plain `http` anywhere.
pub(crate) fn internal_origin(text: &str) -> Result<Url, Invalid> {
    let url = absolute_uri(text)?;
    let is_origin = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && (url.path(), url.query(), url.fragment()) == ("/", None, None);
    if is_origin {
        return Ok(url);
    }
    let problem = "This is not a scheme, a host and a port.";
    Err(invalid(problem, "write for example \"http://keycloak:8080\", without a path"))
}

/// A host that follows `https://` in an address, with a port or a path if it has one. It may be
/// written with `http://` where it is a loopback host, and is then kept so.
pub(crate) fn host(text: &str) -> Result<String, Invalid> {
    let Some(rest) = text.strip_prefix("http://") else { return url_part(text) };
    web_url(text)?;
    match rest.trim_matches('/') {
        bare if bare == rest => Ok(text.to_owned()),
        bare => Err(slashes(&format!("http://{bare}"))),
    }
}

/// A part of an address: no scheme, no slash before or after it.
pub(crate) fn url_part(text: &str) -> Result<String, Invalid> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let problem = format!("This stands behind https:// already, without {scheme}://.");
        return Err(invalid(problem, format!("write \"{}\"", rest.trim_end_matches('/'))));
    }
    match text.trim_matches('/') {
        "" => Err(invalid("This is empty.", "write a value, or leave the key out")),
        bare if bare == text => Ok(text.to_owned()),
        bare => Err(slashes(bare)),
    }
}

fn slashes(bare: &str) -> Invalid {
    invalid("No slash stands before it or after it.", format!("write \"{bare}\""))
}

/// A bearer token (RFC 6750 §2.1), as far as a header needs it.
pub(crate) fn bearer_token(text: &str) -> Result<SecretText, Invalid> {
    if text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(SecretText::new(text));
    }
    let problem = "This cannot be sent in a header: it has spaces, or characters beyond ASCII.";
    Err(invalid(problem, "write the token alone, without Bearer in front"))
}

/// The hash of a token or secret that is configured by its hash, and which `command` makes.
pub(crate) fn token_hash(text: &str, command: &str) -> Result<TokenHash, Invalid> {
    TokenHash::from_hex(text).ok_or_else(|| {
        let remedy =
            format!("write the hash that `{command}` prints, and not what it is the hash of");
        invalid("This is not a SHA-256 of 64 hexadecimal digits.", remedy)
    })
}

/// An issuer identifier: a web address without query (OIDC Discovery §3, RFC 8414 §2),
/// kept character for character.
pub(crate) fn issuer(text: &str) -> Result<String, Invalid> {
    let url = web_url(text)?;
    if url.query().is_some() {
        return Err(invalid("An issuer has no query.", "leave out the ? and what follows it"));
    }
    Ok(text.to_owned())
}

/// The address of a server: scheme and host, and a port and a path if it has them.
pub(crate) fn server_url(text: &str) -> Result<(String, Url), Invalid> {
    let url = web_url(text)?;
    let path = url.path();
    let is_unreserved = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let is_segment = |segment: &str| !segment.is_empty() && segment.chars().all(is_unreserved);
    // The parser resolves `..`, so the text itself must have the path and nothing else behind the host.
    let authority = text.strip_suffix(path).and_then(|text| text.split_once("://"));
    let is_whole = authority.is_some_and(|(_, authority)| !authority.contains('/'));
    let is_plain = path == "/" || is_whole && path[1..].split('/').all(is_segment);
    if !is_plain || url.query().is_some() {
        let path = path.trim_end_matches('/');
        let fix = format!("write \"{}{path}\"", url.origin().ascii_serialization());
        let problem = "This must be scheme and host, and perhaps a port and a path of letters, \
                       digits, -._~ and single slashes, without one at its end.";
        return Err(invalid(problem, fix));
    }
    Ok((text.to_owned(), url))
}

/// The path of a public URL below which everything is served; empty if that is its whole host.
pub(crate) fn path_prefix(public_url: &Url) -> &str {
    public_url.path().trim_end_matches('/')
}

/// Schemes whose pages have the origin `null` or are no pages.
const NO_ORIGIN: [&str; 9] =
    ["about", "blob", "data", "file", "filesystem", "ftp", "javascript", "ws", "wss"];

/// Reads an origin, written as browsers send it (RFC 6454 §6.2); its first label may be free.
pub(crate) fn origin(text: &str) -> Result<AllowedUri, Invalid> {
    let example = with_free_label(text)?;
    exact_origin(example.as_deref().unwrap_or(text)).map(|_| AllowedUri::origin(text))
}

/// Reads the origin of pages of the web, written as browsers send it; a pattern is none.
pub(crate) fn web_origin(text: &str) -> Result<String, Invalid> {
    if app_origin(text).is_some() {
        let problem = "A browser cannot be sent to the pages of an app.";
        return Err(invalid(problem, "write an origin such as \"https://app.example.com\""));
    }
    exact_origin(text)
}

fn exact_origin(text: &str) -> Result<String, Invalid> {
    if text.contains('*') {
        let problem =
            "A wildcard would let pages of strangers act for the person who is signed in.";
        let fix = "list each origin, for example \"https://app.example.com\"; * can only be the \
                   first label below a domain of yours, as in \"https://*.preview.example.com\"";
        return Err(invalid(problem, fix));
    }
    if text == "null" {
        let problem = "Any sandboxed page has the origin null.";
        return Err(invalid(problem, "serve the page from an address, and write its origin"));
    }
    if let Some((scheme, host)) = app_origin(text) {
        let is_host = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_:".contains(c);
        if host.is_empty() || !host.chars().all(is_host) {
            let problem = "An origin is a scheme and a host in lower case, without a path.";
            return Err(invalid(problem, format!("write for example \"{scheme}://localhost\"")));
        }
        return Ok(text.to_owned());
    }
    let right = web_url(text)?.origin().ascii_serialization();
    if text != right {
        let problem = "Browsers send origins in one spelling, and this is another.";
        return Err(invalid(problem, format!("write \"{right}\"")));
    }
    Ok(right)
}

/// The scheme and the host of an app's own pages, such as `capacitor://localhost`; `None` for the
/// schemes of the web and for what may be a misspelt one.
fn app_origin(text: &str) -> Option<(&str, &str)> {
    let (scheme, host) = text.split_once("://")?;
    let is_scheme = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+.-".contains(c);
    let is_one =
        scheme.starts_with(|c: char| c.is_ascii_lowercase()) && scheme.chars().all(is_scheme);
    let like_the_web = nearest(scheme, ["http", "https"]).is_some();
    (is_one && !like_the_web && !NO_ORIGIN.contains(&scheme)).then_some((scheme, host))
}

/// An example of the addresses that are allowed where the first label is `*`; `None` where it is not.
fn with_free_label(text: &str) -> Result<Option<String>, Invalid> {
    let Some(rest) = text.strip_prefix("https://*.") else { return Ok(None) };
    let base = rest.split([':', '/', '?', '#']).next().unwrap_or_default();
    let right = domain_name(base)?;
    if right != base {
        let problem = "Browsers write host names in lower case.";
        return Err(invalid(problem, format!("write \"*.{right}\"")));
    }
    if psl::domain_str(base).is_none() {
        let problem = format!("Anybody can have a name below {base}: it is a public suffix.");
        let fix = "put * below a domain of yours, as in \"https://*.preview.example.com\"";
        return Err(invalid(problem, fix));
    }
    Ok(Some(format!("https://a.{rest}")))
}

/// A redirect URI: `https`, `http` on this machine, or a private-use scheme
/// (RFC 8252 §7.1); kept character for character. Its first label may be free.
pub(crate) fn redirect_uri(text: &str) -> Result<AllowedUri, Invalid> {
    let example = with_free_label(text)?;
    exact_redirect_uri(example.as_deref().unwrap_or(text)).map(|()| AllowedUri::redirect_uri(text))
}

/// An address for browsers, compared character for character: `https`, `http` on this machine, or a
/// private-use scheme (RFC 8252 §7.1).
pub(crate) fn exact_redirect_uri(text: &str) -> Result<(), Invalid> {
    if text.contains('*') {
        let problem = "Redirect URIs are compared character for character (RFC 9700 §2.1).";
        let fix = "list each redirect URI without *; it can only be the first label below a domain \
                   of yours, as in \"https://*.preview.example.com/callback\"";
        return Err(invalid(problem, fix));
    }
    let url = absolute_uri(text)?;
    if url.fragment().is_some() {
        let problem = "A redirect URI has no fragment (RFC 6749 §3.1.2).";
        return Err(invalid(problem, "leave out the # and what follows it"));
    }
    let scheme = text.split(':').next().unwrap_or_default();
    if !["http", "https"].contains(&scheme) {
        if !scheme.contains('.') {
            let problem = "This scheme could belong to anybody's app (RFC 8252 §7.1).";
            let fix = "use https, or a scheme made from a domain of yours such as com.example.app:/callback";
            return Err(invalid(problem, fix));
        }
        return Ok(());
    }
    web_url(text).map(|_| ())
}

/// Reads the name of a role.
pub(crate) fn role(text: &str) -> Result<Role, Invalid> {
    if Role::is_valid(text) {
        return Ok(Role::new(text));
    }
    let problem = "A role has 1 to 64 visible ASCII characters, without spaces and commas.";
    Err(invalid(problem, "choose another name for it"))
}

/// Reads a domain name: in lower case, with a dot in it.
pub(crate) fn domain_name(text: &str) -> Result<String, Invalid> {
    if text.starts_with('.') {
        return Err(invalid(
            "A domain name does not begin with a dot.",
            format!("write \"{}\"", text.trim_start_matches('.')),
        ));
    }
    let lower = text.to_ascii_lowercase();
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let example = "write for example \"example.com\"";
    if matches!(Host::parse(&lower), Ok(Host::Ipv4(_) | Host::Ipv6(_))) {
        return Err(invalid("This is an IP address, not a domain name.", example));
    }
    if lower.len() > 253 || !lower.split('.').all(label) {
        return Err(invalid("This is not a domain name.", example));
    }
    if !lower.contains('.') {
        return Err(invalid("A top-level domain belongs to everybody.", example));
    }
    Ok(lower)
}
