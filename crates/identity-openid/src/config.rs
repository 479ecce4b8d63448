//! What a provider is configured with, and what is wrong with that.

use mintgate_domain::SecretText;
use mintgate_domain::model::ProviderId;
use openidconnect::core::CoreJwsSigningAlgorithm as Alg;
use openidconnect::{IssuerUrl, JwsSigningAlgorithm as _};
use url::Url;

use crate::address::AddressPolicy;
use crate::dialect::{Dialect, GroupOverage};
use crate::network::Network;
use crate::quirks::entra;

/// The configuration of one OpenID Connect provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIdConfig {
    /// The provider's name in the configuration, in logs and in metrics.
    pub id: ProviderId,
    /// The provider's issuer identifier. The discovery document and every ID token must repeat it
    /// character for character (OIDC Discovery §4.3, OIDC Core §3.1.3.7).
    pub issuer: String,
    /// The client id that the provider has assigned to us.
    pub client_id: String,
    /// The client secret that the provider has assigned to us; `None` for a public client.
    pub client_secret: Option<SecretText>,
    /// The signature algorithms accepted on ID tokens, by their JWS names (RFC 7518 §3.1, RFC 8037
    /// §3.1): either asymmetric ones, or symmetric ones, which are keyed with the client secret.
    pub id_token_algorithms: Vec<String>,
    /// Whether the userinfo endpoint is asked in addition to the ID token.
    pub userinfo: bool,
    /// How the provider may be reached, and how long that may take.
    pub network: Network,
}

impl OpenIdConfig {
    /// Checks everything that can be checked without a network: what
    /// [`OpenIdProvider`](crate::OpenIdProvider) refuses, this refuses.
    ///
    /// # Errors
    /// The first thing that cannot work; see [`OpenIdConfigError`].
    pub fn check(&self, dialect: &Dialect) -> Result<(), OpenIdConfigError> {
        Checked::new(self.clone(), dialect.clone()).map(drop)
    }
}

/// The reason why an OpenID Connect provider cannot be set up as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenIdConfigError {
    /// The issuer is no URL that an issuer can have (OIDC Discovery §3).
    #[error("the issuer {0}")]
    Issuer(&'static str),
    /// The client id is empty.
    #[error("the client id is empty")]
    ClientId,
    /// No algorithm for ID tokens is configured.
    #[error("at least one ID token algorithm must be given; most providers use RS256")]
    NoAlgorithm,
    /// An algorithm is not known, not supported, or `none`.
    #[error("the ID token algorithm {0} is not supported")]
    UnsupportedAlgorithm(String),
    /// Symmetric and asymmetric algorithms together invite key confusion (RFC 8725 §2.1).
    #[error("symmetric and asymmetric ID token algorithms cannot be accepted together")]
    MixedAlgorithms,
    /// A symmetric algorithm is keyed with the client secret.
    #[error("a symmetric ID token algorithm needs a client secret")]
    SecretRequired,
    /// The client authentication chosen is by a secret, and there is none.
    #[error("this client authentication needs a client secret")]
    ClientSecretRequired,
    /// The rule for issuers cannot be met, or lets everybody in.
    #[error("the issuer rule cannot work: {0}")]
    IssuerRule(&'static str),
    /// The endpoint for groups is no URL that a provider can have.
    #[error(
        "the endpoint for groups must be https (plain http for loopback alone), without user information, at an address a server can have, and give at least one page"
    )]
    GroupEndpoint,
    /// The TLS library or its certificates cannot be used.
    #[error("the HTTP client cannot be set up: {0}")]
    HttpClient(String),
}

/// A configuration that has been checked.
pub(crate) struct Checked {
    pub(crate) config: OpenIdConfig,
    pub(crate) dialect: Dialect,
    pub(crate) discovery_url: Url,
    pub(crate) policy: AddressPolicy,
    pub(crate) symmetric: bool,
}

impl Checked {
    pub(crate) fn new(config: OpenIdConfig, dialect: Dialect) -> Result<Self, OpenIdConfigError> {
        if config.client_id.is_empty() {
            return Err(OpenIdConfigError::ClientId);
        }
        let issuer = IssuerUrl::new(config.issuer.clone())
            .map_err(|_| OpenIdConfigError::Issuer("is not a URL"))?;
        let policy = check_issuer(issuer.url(), &config.network)?;
        let discovery_url = issuer
            .join(".well-known/openid-configuration")
            .map_err(|_| OpenIdConfigError::Issuer("is not a URL"))?;
        let algorithms = config
            .id_token_algorithms
            .iter()
            .map(|name| {
                algorithm(name).ok_or_else(|| OpenIdConfigError::UnsupportedAlgorithm(name.clone()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let symmetric = algorithms.iter().filter(|alg| alg.uses_shared_secret()).count();
        match symmetric {
            _ if algorithms.is_empty() => return Err(OpenIdConfigError::NoAlgorithm),
            0 => {}
            some if some < algorithms.len() => return Err(OpenIdConfigError::MixedAlgorithms),
            _ if config.client_secret.is_none() => return Err(OpenIdConfigError::SecretRequired),
            _ => {}
        }
        check_dialect(&dialect, &policy, config.client_secret.is_some())?;
        let symmetric = symmetric > 0;
        Ok(Self { config, dialect, discovery_url, policy, symmetric })
    }
}

fn check_dialect(
    dialect: &Dialect,
    policy: &AddressPolicy,
    has_secret: bool,
) -> Result<(), OpenIdConfigError> {
    if dialect.client_authentication.needs_secret() && !has_secret {
        return Err(OpenIdConfigError::ClientSecretRequired);
    }
    entra::check_rule(&dialect.issuer).map_err(OpenIdConfigError::IssuerRule)?;
    if let GroupOverage::Follow(graph) = &dialect.group_overage
        && (policy.check_url(&graph.endpoint).is_err() || graph.max_pages == 0)
    {
        return Err(OpenIdConfigError::GroupEndpoint);
    }
    Ok(())
}

fn check_issuer(issuer: &Url, network: &Network) -> Result<AddressPolicy, OpenIdConfigError> {
    if issuer.query().is_some() || issuer.fragment().is_some() {
        return Err(OpenIdConfigError::Issuer("must not have a query or fragment"));
    }
    let policy = AddressPolicy::new(issuer, network);
    policy.check_url(issuer).map_err(|_| {
        OpenIdConfigError::Issuer("must be https (plain http for loopback alone), without user information, at an address a server can have")
    })?;
    Ok(policy)
}

/// The algorithms that openidconnect can verify.
pub(crate) fn algorithm(name: &str) -> Option<Alg> {
    Some(match name {
        "RS256" => Alg::RsaSsaPkcs1V15Sha256,
        "RS384" => Alg::RsaSsaPkcs1V15Sha384,
        "RS512" => Alg::RsaSsaPkcs1V15Sha512,
        "PS256" => Alg::RsaSsaPssSha256,
        "PS384" => Alg::RsaSsaPssSha384,
        "PS512" => Alg::RsaSsaPssSha512,
        "ES256" => Alg::EcdsaP256Sha256,
        "ES384" => Alg::EcdsaP384Sha384,
        "EdDSA" => Alg::EdDsa,
        "HS256" => Alg::HmacSha256,
        "HS384" => Alg::HmacSha384,
        "HS512" => Alg::HmacSha512,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut OpenIdConfig)) -> Option<OpenIdConfigError> {
        let mut config = OpenIdConfig {
            id: ProviderId::new("corp"),
            issuer: "https://idp.example.com".to_owned(),
            client_id: "mintgate".to_owned(),
            client_secret: Some(SecretText::new("secret")),
            id_token_algorithms: vec!["RS256".to_owned()],
            userinfo: false,
            network: Network::default(),
        };
        change(&mut config);
        Checked::new(config, Dialect::default()).err()
    }

    fn check_algorithms(names: &[&str]) -> Option<OpenIdConfigError> {
        check(|config| config.id_token_algorithms = names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn algorithms_are_all_asymmetric_or_all_symmetric_and_never_none() {
        use OpenIdConfigError::{MixedAlgorithms, NoAlgorithm, SecretRequired};
        assert_eq!(check_algorithms(&["RS256", "ES256", "EdDSA"]), None);
        assert_eq!(check_algorithms(&["HS256", "HS512"]), None);
        assert_eq!(check_algorithms(&[]), Some(NoAlgorithm));
        assert_eq!(check_algorithms(&["RS256", "HS256"]), Some(MixedAlgorithms));
        for name in ["none", "None", "rs256", "ES512", "ES256K", "", "RSA-OAEP"] {
            let unsupported = OpenIdConfigError::UnsupportedAlgorithm(name.to_owned());
            assert_eq!(check_algorithms(&[name]), Some(unsupported));
        }
        let without_secret = check(|config| {
            config.client_secret = None;
            config.id_token_algorithms = vec!["HS256".to_owned()];
        });
        assert_eq!(without_secret, Some(SecretRequired));
    }

    #[test]
    fn an_issuer_is_a_plain_https_url() {
        for issuer in [
            "",
            "idp.example.com",
            "http://idp.example.com",
            "https://user@idp.example.com",
            "https://idp.example.com?tenant=1",
            "https://idp.example.com#x",
            "https://0.0.0.0",
            "ftp://idp.example.com",
        ] {
            let error = check(|config| issuer.clone_into(&mut config.issuer));
            assert!(matches!(error, Some(OpenIdConfigError::Issuer(_))), "{issuer}");
        }
        for issuer in ["https://idp.example.com/t/", "http://localhost:9", "https://10.0.0.1"] {
            assert_eq!(check(|config| issuer.clone_into(&mut config.issuer)), None, "{issuer}");
        }
        let nobody = check(|config| config.client_id.clear());
        assert_eq!(nobody, Some(OpenIdConfigError::ClientId));
    }
}
