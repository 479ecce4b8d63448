//! How a provider is reached: its addresses, proxies, certificate authorities, and the time for that.

use std::fs;

use mintgate_config_reader::{Invalid, Section, Unit, invalid, key};
use mintgate_identity_openid::{Authorities, Network, Proxies, ProxyUrl, ProxyUrlError};

use super::sentence;
use crate::rules;

/// The largest file of certificates that is read, in bytes.
const CERTIFICATES_BYTES: u64 = 1 << 20;

/// The proxies that the environment names: those, or the variable that names none.
pub(crate) type EnvironmentProxies = Result<Proxies, &'static str>;

/// Reads how the provider is reached.
pub(super) fn network(s: &mut Section<'_>, environment: &EnvironmentProxies) -> Option<Network> {
    let allow_private_network = s.flag(
        key(
            "allow_private_network",
            "Whether the provider's endpoints may be at private, link-local or loopback addresses \
             although its issuer (for OAuth 2.0 its token endpoint) names no such address.",
        )
        .default(false),
    );
    let internal_url = s.text(
        key(
            "internal_url",
            "Where Mintgate reaches the provider, if that is not where browsers do: scheme, host and \
             port, for example `http://keycloak:8080`. Requests to the origin of the issuer (for \
             OAuth 2.0 of the token endpoint) go there, paths as they are. It may be plain `http`, and \
             at a private address.",
        ),
        "URL",
        rules::internal_origin,
    );
    let proxies = proxies(s, environment);
    let authorities = s.text(
        key(
            "ca_file",
            "The path of a file with certificates of certificate authorities, in PEM form, that are \
             trusted for this provider besides the system's.",
        ),
        "path",
        authorities,
    );
    let connect_timeout = s.millis(
        key(
            "connect_timeout_ms",
            "The longest that connecting to the provider may take, in milliseconds.",
        )
        .default(2000),
        1..=30_000,
    );
    let timeout = s.millis(
        key(
            "timeout_ms",
            "The longest that one request to the provider may take, connecting included, in \
             milliseconds.",
        )
        .default(5000),
        1..=120_000,
    );
    s.in_order(
        Unit::Millis,
        ("connect_timeout_ms", connect_timeout),
        ("timeout_ms", timeout),
        "The whole request would have less time than connecting alone.",
    );
    Some(Network {
        allow_private_network: allow_private_network?,
        internal_url,
        proxies: proxies?,
        authorities: authorities.unwrap_or_default(),
        connect_timeout: connect_timeout?,
        timeout: timeout?,
    })
}

/// Reads `proxy` and `proxy_file`, which take the place of the environment's proxies.
fn proxies(s: &mut Section<'_>, environment: &EnvironmentProxies) -> Option<Proxies> {
    let is_given = s.is_given("proxy") || s.is_given("proxy_file");
    let proxy = s.text_or_file(
        key(
            "proxy",
            "The forward proxy that every request to the provider goes through, with user and \
             password if it wants them: `http://user:password@proxy.example.com:3128`. `\"\"`: none.",
        )
        .secret()
        .or_empty()
        .optional("what `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say"),
        "URL",
        |text| if text.is_empty() { Ok(Proxies::default()) } else { proxy(text).map(Proxies::all) },
    );
    if is_given {
        return proxy;
    }
    match environment {
        Ok(proxies) => Some(proxies.clone()),
        Err(variable) => {
            let problem =
                format!("The environment variable {variable} is not the address of a proxy.");
            let fix = format!("correct {variable}, or set this key (\"\" means no proxy)");
            s.reject("proxy", invalid(problem, fix));
            None
        }
    }
}

fn proxy(text: &str) -> Result<ProxyUrl, Invalid> {
    text.parse().map_err(|ProxyUrlError| {
        let problem = "This is not the address of an HTTP proxy.";
        invalid(problem, "write for example \"http://proxy.example.com:3128\", or \"\" for none")
    })
}

fn authorities(path: &str) -> Result<Authorities, Invalid> {
    let unreadable =
        |problem: String| invalid(problem, "write the path of a PEM file that this user may read");
    let cannot = |error: std::io::Error| unreadable(format!("The file cannot be read: {error}."));
    let file = fs::metadata(path).map_err(cannot)?;
    if !file.is_file() || file.len() > CERTIFICATES_BYTES {
        return Err(unreadable("This is not a file of at most 1 MiB.".to_owned()));
    }
    let pem = fs::read(path).map_err(cannot)?;
    Authorities::from_pem(&pem).map_err(|error| {
        let fix = "write the certificates into it, each from -----BEGIN CERTIFICATE----- on";
        invalid(sentence(&error), fix)
    })
}
