//! Text and digests that cannot be printed by accident.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Declares a string newtype whose `Debug` is redacted, that has no `Display`,
/// and whose memory is wiped when it is dropped.
macro_rules! secret_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Zeroizing<String>);

        impl $name {
            /// Takes the text over.
            pub fn new(text: impl Into<String>) -> Self {
                Self(Zeroizing::new(text.into()))
            }

            /// The text itself, for the one place that sends or signs it.
            pub fn expose(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "([redacted])"))
            }
        }
    };
}

secret_text! {
    /// A secret from the configuration: a client secret, a key, a password.
    ///
    /// ```
    /// use mintgate_domain::SecretText;
    /// let secret = SecretText::new("hunter2");
    /// assert_eq!(format!("{secret:?}"), "SecretText([redacted])");
    /// ```
    SecretText
}
secret_text! {
    /// An authorization code (RFC 6749 §4.1.2), good for one exchange.
    ///
    /// ```
    /// use mintgate_domain::AuthorizationCode;
    /// let code = AuthorizationCode::new("SplxlOBeZQQYbYS6WxSbIA");
    /// assert_eq!(format!("{code:?}"), "AuthorizationCode([redacted])");
    /// ```
    AuthorizationCode
}
secret_text! {
    /// A PKCE code verifier (RFC 7636 §4.1).
    CodeVerifier
}
secret_text! {
    /// The nonce of an authentication request (OIDC Core §3.1.2.1).
    Nonce
}
secret_text! {
    /// An ID token as received: compact JWS, not verified.
    IdTokenText
}
secret_text! {
    /// The provider's own access token, used for its userinfo endpoint alone.
    ProviderAccessToken
}
secret_text! {
    /// The provider's refresh token: asked with it, the provider says whether somebody may still sign in.
    ProviderRefreshToken
}
secret_text! {
    /// A logout token as received (OIDC Back-Channel Logout §2.4): compact JWS, not verified.
    LogoutTokenText
}
secret_text! {
    /// The cookie in which a browser keeps a login it has begun.
    LoginCookie
}
secret_text! {
    /// A token signed by us: compact JWS.
    ///
    /// ```
    /// use mintgate_domain::SignedToken;
    /// let token = SignedToken::new("eyJhbGciOiJFUzI1NiJ9.e30.c2ln");
    /// assert_eq!(format!("{token:?}"), "SignedToken([redacted])");
    /// ```
    SignedToken
}
secret_text! {
    /// A token that somebody presents as one of ours: compact JWS, not verified.
    PresentedToken
}
secret_text! {
    /// A whole `Set-Cookie` header value; it carries a token.
    SetCookie
}

/// The SHA-256 of a token or code: what is stored and compared in its place.
///
/// ```
/// use mintgate_domain::TokenHash;
/// assert_eq!(format!("{:?}", TokenHash::of("secret")), "TokenHash([redacted])");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Hashes the whole text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Hashes bytes that need not be text.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Hashes several parts unambiguously: each part is preceded by its length.
    pub fn of_parts(parts: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        Self(digest.finalize().into())
    }

    /// Restores a digest read from a store.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash([redacted])")
    }
}
