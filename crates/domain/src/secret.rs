//! Secret texts and their digests, as types that cannot be printed.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Declares a secret text: its `Debug` is redacted, it has no `Display`, and its memory is wiped when it
/// is dropped. The documentation of each such type proves the redaction.
macro_rules! secret_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// ```
        #[doc = concat!("use mintgate_domain::", stringify!($name), ";")]
        #[doc = concat!("let secret = ", stringify!($name), "::new(\"hunter2\");")]
        #[doc = concat!("assert_eq!(format!(\"{secret:?}\"), \"", stringify!($name), "([redacted])\");")]
        /// assert_eq!(secret.expose(), "hunter2");
        /// ```
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Zeroizing<String>);

        impl $name {
            /// Makes a secret of a text.
            pub fn new(text: impl Into<String>) -> Self {
                Self(Zeroizing::new(text.into()))
            }

            /// The text itself, for the one place that sends, signs or checks it.
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
    /// No secret type implements `Display`:
    ///
    /// ```compile_fail,E0277
    /// println!("{}", mintgate_domain::SecretText::new("hunter2"));
    /// ```
    SecretText
}
secret_text! {
    /// An authorization code (RFC 6749 §4.1.2), valid for one exchange.
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
impl IdTokenText {
    /// The hash by which the token counts once: that of what is signed, all before the last dot. Anybody
    /// can turn an ECDSA signature into another valid one, and the token must remain the same.
    ///
    /// ```
    /// use mintgate_domain::IdTokenText;
    /// let hash = |text: &str| IdTokenText::new(text).hash();
    /// assert_eq!(hash("header.payload.one"), hash("header.payload.other"));
    /// assert_ne!(hash("header.payload.one"), hash("header.another.one"));
    /// ```
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.expose().rsplit_once('.').map_or(self.expose(), |(signed, _)| signed))
    }
}
secret_text! {
    /// A provider's own access token, for that provider's userinfo endpoint and for the back ends of apps.
    ProviderAccessToken
}
secret_text! {
    /// A provider's refresh token, used to ask the provider whether a user may still sign in.
    ProviderRefreshToken
}
secret_text! {
    /// A logout token as received (OIDC Back-Channel Logout §2.4): compact JWS, not verified.
    LogoutTokenText
}
secret_text! {
    /// The value of the cookie that binds a begun login to its browser.
    LoginCookie
}
secret_text! {
    /// An access or refresh token that Mintgate has signed: compact JWS.
    SignedToken
}
secret_text! {
    /// An access or refresh token that a client presents: compact JWS, not verified.
    PresentedToken
}
secret_text! {
    /// A whole `Set-Cookie` header value, which holds a token.
    SetCookie
}

/// The SHA-256 of a token or code, which is stored and compared instead of the text.
///
/// ```
/// use mintgate_domain::TokenHash;
/// assert_eq!(format!("{:?}", TokenHash::of("secret")), "TokenHash([redacted])");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The SHA-256 hash of a text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// The SHA-256 hash of bytes that need not be text.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The SHA-256 hash of several parts, each preceded by its length, so that moving text from one
    /// part to the next changes the hash.
    ///
    /// ```
    /// use mintgate_domain::TokenHash;
    /// assert_ne!(TokenHash::of_parts(&["ab", "c"]), TokenHash::of_parts(&["a", "bc"]));
    /// ```
    pub fn of_parts(parts: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        Self(digest.finalize().into())
    }

    /// The hash with these bytes, which a store kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads a hash of 64 hexadecimal digits, in either case.
    ///
    /// ```
    /// use mintgate_domain::TokenHash;
    /// let hash = TokenHash::of("secret");
    /// assert_eq!(TokenHash::from_hex(&hash.to_hex()), Some(hash));
    /// assert_eq!(TokenHash::from_hex("2bb8"), None);
    /// ```
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let digits = text.as_bytes();
        if digits.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in pair {
                let digit = char::from(*digit).to_digit(16)?;
                *byte = *byte << 4 | u8::try_from(digit).ok()?;
            }
        }
        Some(Self(bytes))
    }

    /// The hash as 64 hexadecimal digits, for a configuration.
    pub fn to_hex(&self) -> String {
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
    }

    /// Whether two hashes are the same, in a time that does not depend on where they differ.
    pub fn same_in_constant_time(&self, other: &Self) -> bool {
        let difference = self.0.iter().zip(other.0).fold(0, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(difference) == 0
    }

    /// The 32 bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash([redacted])")
    }
}
