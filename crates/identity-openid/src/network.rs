//! How a provider is reached, and how long that may take.

use std::time::Duration;

use url::Url;

use crate::proxy::Proxies;

/// How a provider's endpoints are reached, and the time that requests to them may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Whether endpoints may resolve to private, link-local and loopback addresses although the
    /// configured issuer (for OAuth 2.0 the token endpoint) does not name such an address.
    pub allow_private_network: bool,
    /// Where requests go in place of the origin of the issuer (for OAuth 2.0 of the token endpoint): scheme,
    /// host and port. It may be plain `http`, and at a private address. Browsers are never sent there.
    pub internal_url: Option<Url>,
    /// The forward proxies that requests go through.
    pub proxies: Proxies,
    /// The certificate authorities that are trusted besides the system's.
    pub authorities: Authorities,
    /// The longest that connecting to an endpoint may take.
    pub connect_timeout: Duration,
    /// The longest that one request may take, and the longest that one call of the port may take in
    /// all.
    pub timeout: Duration,
}

impl Default for Network {
    /// Public addresses, reached directly within 2 seconds and asked for 5.
    fn default() -> Self {
        Self {
            allow_private_network: false,
            internal_url: None,
            proxies: Proxies::default(),
            authorities: Authorities::default(),
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
        }
    }
}

/// Certificates of certificate authorities; the default is none.
#[derive(Debug, Clone, Default)]
pub struct Authorities {
    certificates: Vec<reqwest::Certificate>,
    /// The same in DER form, by which they are compared.
    der: Vec<Vec<u8>>,
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Authorities {}

/// The reason why a text holds no certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthoritiesError {
    /// There is no certificate in it.
    #[error("there is no certificate in PEM form in it")]
    Empty,
    /// A certificate in it cannot be read.
    #[error("a certificate in it is damaged")]
    Damaged,
}

impl Authorities {
    /// Reads certificates in PEM form, one or more. Text around them is ignored.
    ///
    /// # Errors
    /// If there is none, or one of them cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, AuthoritiesError> {
        let damaged = |_| AuthoritiesError::Damaged;
        let certificates = openssl::x509::X509::stack_from_pem(pem).map_err(damaged)?;
        if certificates.is_empty() {
            return Err(AuthoritiesError::Empty);
        }
        let mut authorities = Self::default();
        for certificate in certificates {
            let der = certificate.to_der().map_err(damaged)?;
            let certificate = reqwest::Certificate::from_der(&der);
            authorities.certificates.push(certificate.map_err(|_| AuthoritiesError::Damaged)?);
            authorities.der.push(der);
        }
        Ok(authorities)
    }

    /// The certificates as the HTTP client takes them.
    pub(crate) fn for_client(&self) -> impl Iterator<Item = reqwest::Certificate> + '_ {
        self.certificates.iter().cloned()
    }
}
