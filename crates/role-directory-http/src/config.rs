//! The configuration of role lookups.

use std::time::Duration;

use mintgate_domain::SecretText;
use reqwest::header::HeaderValue;
use url::{Host, Url};

/// The configuration of [`HttpRoleDirectory`](crate::HttpRoleDirectory).
#[derive(Debug, Clone)]
pub struct RoleDirectoryConfig {
    /// The URL that requests are posted to: `https`, or `http` for loopback; without user information.
    pub url: Url,
    /// The bearer token that is sent (RFC 6750 §2.1), if any.
    pub token: Option<SecretText>,
    /// How long a lookup may take, from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// How long an answer is used again after its lookup started; zero switches the cache off.
    pub cache: Duration,
}

/// Why roles cannot be looked up as configured. No variant holds the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleDirectoryError {
    /// The URL is not allowed; the text completes the sentence "the URL …".
    #[error("the URL for role lookups {0}")]
    Url(&'static str),
    /// The token cannot be sent in a header.
    #[error("the token for role lookups is empty or has characters that no header can hold")]
    Token,
    /// The HTTP client cannot be set up.
    #[error("the HTTP client for role lookups cannot be set up: {0}")]
    Client(String),
}

impl RoleDirectoryConfig {
    /// Checks that the URL protects the token and the roles that are sent over it.
    pub(crate) fn check_url(&self) -> Result<(), RoleDirectoryError> {
        let url = &self.url;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RoleDirectoryError::Url("holds a user or password; use the token"));
        }
        match url.scheme() {
            "https" => Ok(()),
            "http" if is_loopback(url) => Ok(()),
            "http" => Err(RoleDirectoryError::Url("is plain http to another machine; use https")),
            _ => Err(RoleDirectoryError::Url("is not a web address")),
        }
    }

    /// Makes the value of the header `Authorization`; `None` without a token.
    ///
    /// # Errors
    /// [`RoleDirectoryError::Token`]
    pub(crate) fn authorization(&self) -> Result<Option<HeaderValue>, RoleDirectoryError> {
        let Some(token) = &self.token else { return Ok(None) };
        let token = token.expose();
        if token.is_empty() {
            return Err(RoleDirectoryError::Token);
        }
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.map_err(|_| RoleDirectoryError::Token)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str, token: Option<&str>) -> RoleDirectoryConfig {
        RoleDirectoryConfig {
            url: Url::parse(url).unwrap(),
            token: token.map(SecretText::new),
            timeout: Duration::from_secs(2),
            cache: Duration::ZERO,
        }
    }

    #[test]
    fn a_url_is_https_or_on_this_machine() {
        for url in [
            "https://users.example.com/roles?v=1",
            "https://10.0.0.1/roles",
            "http://127.0.0.1:9000/roles",
            "http://[::1]/roles",
            "http://localhost/roles",
        ] {
            assert_eq!(config(url, None).check_url(), Ok(()), "{url}");
        }
        for url in [
            "http://users.example.com/roles",
            "http://10.0.0.1/roles",
            "http://localhost.example.com/",
            "ftp://127.0.0.1/roles",
            "file:///etc/passwd",
            "https://hunter2@users.example.com/",
            "https://user:hunter2@users.example.com/",
        ] {
            let error = config(url, None).check_url().unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_token_is_a_bearer_token_and_never_shown() {
        let config = |token| config("https://users.example.com", token);
        assert_eq!(config(None).authorization(), Ok(None));
        let value = config(Some("s3cret")).authorization().unwrap().unwrap();
        assert_eq!(value, "Bearer s3cret");
        let shown = format!("{value:?} {:?}", config(Some("s3cret")));
        assert!(!shown.contains("s3cret"), "{shown}");
        for token in ["", "s3cret\n", "s3cret\u{0}"] {
            let error = config(Some(token)).authorization().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"));
        }
    }
}
