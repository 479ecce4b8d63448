//! How tokens travel in cookies.

use std::time::Duration;

use crate::{SetCookie, SignedToken};

/// The tokens of a session and how long the client may keep them.
#[derive(Debug, Clone, Copy)]
pub struct SessionTokens<'a> {
    /// The signed access token.
    pub access: &'a SignedToken,
    /// The `Max-Age` of the access cookie.
    pub access_max_age: Duration,
    /// The signed refresh token.
    pub refresh: &'a SignedToken,
    /// The `Max-Age` of the refresh cookie.
    pub refresh_max_age: Duration,
}

/// A cookie would exceed what browsers keep (4096 bytes of name and value, RFC 6265 §6.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cookie {name} would have {bytes} bytes, over the 4096 that browsers keep")]
pub struct CookieTooLarge {
    /// The cookie's name.
    pub name: String,
    /// The length of name and value together.
    pub bytes: usize,
}

/// Builds the `Set-Cookie` header values of a session.
pub trait CookiePolicy: Send + Sync {
    /// The access cookie and the refresh cookie, in this order.
    ///
    /// # Errors
    /// [`CookieTooLarge`] if name and value of either exceed 4096 bytes.
    fn session_cookies(&self, tokens: SessionTokens<'_>) -> Result<[SetCookie; 2], CookieTooLarge>;

    /// The lengths in bytes of the longest access token and the longest refresh token that
    /// [`session_cookies`](Self::session_cookies) takes.
    fn longest_tokens(&self) -> [usize; 2];

    /// The values that clear both cookies; MUST repeat the exact attributes that set them.
    fn clearing_cookies(&self) -> [SetCookie; 2];
}
