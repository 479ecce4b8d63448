//! A provider's configuration as its adapter judges it: what the adapter would refuse at the start is
//! a mistake.

use mintgate_identity_openid::{OAuth2ConfigError, OpenIdConfigError};

use super::sentence;
use crate::providers::{AdapterError, check};
use crate::settings::mistakes::flaw;
use crate::settings::reader::Section;
use crate::settings::types::ProviderSettings;

/// Whether the provider's adapter accepts its configuration; reports the mistake if not.
pub(super) fn works(s: &mut Section<'_>, provider: &ProviderSettings) -> bool {
    check(provider)
        .map_err(|error| {
            let (name, fix) = explained(&error);
            s.blame(name, flaw(sentence(&error), fix));
        })
        .is_ok()
}

/// The key that is to blame, and what to do.
fn explained(error: &AdapterError) -> (&'static str, &'static str) {
    const ADDRESS: &str =
        "correct it, or set allow_private_network = true for one on a private network";
    const TLS: &str = "look at the TLS library and the CA certificates of this machine";
    match error {
        AdapterError::OpenId(error) => match error {
            OpenIdConfigError::Issuer(_) => ("issuer", ADDRESS),
            OpenIdConfigError::ClientId => ("client_id", "write it as the provider shows it"),
            OpenIdConfigError::NoAlgorithm
            | OpenIdConfigError::UnsupportedAlgorithm(_)
            | OpenIdConfigError::MixedAlgorithms
            | OpenIdConfigError::SecretRequired => ("id_token_algs", "write [\"RS256\"]"),
            OpenIdConfigError::ClientSecretRequired => {
                ("client_auth", "add client_secret_file, or write \"none\"")
            }
            OpenIdConfigError::IssuerRule(_) => ("tenants", "list the ids of tenants, GUIDs"),
            OpenIdConfigError::GroupEndpoint => ("graph", ADDRESS),
            OpenIdConfigError::HttpClient(_) => ("id", TLS),
        },
        AdapterError::OAuth2(error) => match error {
            OAuth2ConfigError::Issuer => ("issuer", "write the provider's address"),
            OAuth2ConfigError::ClientId => ("client_id", "write it as the provider shows it"),
            OAuth2ConfigError::ClientSecretRequired => {
                ("client_auth", "add client_secret_file, or write \"none\"")
            }
            OAuth2ConfigError::Subject => ("subject", "write the path to an id, mostly \"id\""),
            OAuth2ConfigError::Endpoint(name) => {
                let name = match *name {
                    "authorization" => "authorization_endpoint",
                    "token" => "token_endpoint",
                    "emails" => "emails_endpoint",
                    _ => "user_endpoint",
                };
                (name, ADDRESS)
            }
            OAuth2ConfigError::Header(_) | OAuth2ConfigError::HttpClient(_) => ("id", TLS),
        },
    }
}
