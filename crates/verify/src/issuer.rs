//! An issuer whose tokens are accepted, as it is configured.

use http::Uri;

/// An issuer whose tokens are accepted.
///
/// ```
/// # use mintgate_verify::Issuer;
/// let issuer = Issuer::new("https://auth.example.com")
///     .jwks_url("http://mintgate:8080/.well-known/jwks.json");
/// ```
#[derive(Debug, Clone)]
pub struct Issuer {
    pub(crate) name: String,
    pub(crate) jwks_url: Option<String>,
    #[cfg(feature = "revocations")]
    pub(crate) revocations: Option<crate::Revocations>,
}

impl Issuer {
    /// The issuer with this `iss`, compared exactly. Its metadata is fetched from
    /// `{issuer}/.well-known/openid-configuration`, and names the JWKS.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            name: issuer.into(),
            jwks_url: None,
            #[cfg(feature = "revocations")]
            revocations: None,
        }
    }

    /// Fetches the JWKS from this URL, and no metadata: for a service that reaches Mintgate by another address than
    /// the users. The URL may begin with `http://`, for a network that is trusted.
    #[must_use]
    pub fn jwks_url(mut self, url: impl Into<String>) -> Self {
        self.jwks_url = Some(url.into());
        self
    }

    /// Follows the feed of ended sessions with these settings.
    #[cfg(feature = "revocations")]
    #[must_use]
    pub fn revocations(mut self, revocations: crate::Revocations) -> Self {
        self.revocations = Some(revocations);
        self
    }

    /// # Errors
    /// What is wrong with the URLs.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let is_url = |url: &str| {
            let uri: Result<Uri, _> = url.parse();
            uri.is_ok_and(|uri| {
                matches!(uri.scheme_str(), Some("https" | "http")) && uri.host().is_some()
            })
        };
        match &self.jwks_url {
            Some(url) if is_url(url) => Ok(()),
            Some(_) => Err("the URL of the JWKS is not an http or https URL"),
            None if !is_url(&self.name) => Err("the issuer is not an http or https URL"),
            None if is_protected(&self.name) => Ok(()),
            None => Err("the issuer needs https, unless it is on this host; or set `jwks_url`"),
        }
    }
}

impl From<&str> for Issuer {
    fn from(issuer: &str) -> Self {
        Self::new(issuer)
    }
}

impl From<String> for Issuer {
    fn from(issuer: String) -> Self {
        Self::new(issuer)
    }
}

/// Whether nobody on the network can change what this URL answers.
fn is_protected(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    uri.scheme_str() == Some("https") || is_loopback || host == "localhost"
}
