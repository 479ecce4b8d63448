//! The signature algorithms, and the kind of key that each of them needs.

use std::fmt;

/// A signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// `ES256`: ECDSA on P-256 with SHA-256 (RFC 7518 §3.4).
    Es256,
    /// `ES384`: ECDSA on P-384 with SHA-384 (RFC 7518 §3.4).
    Es384,
    /// `EdDSA`: Ed25519 (RFC 8037 §3.1).
    EdDsa,
    /// `RS256`: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
    Rs256,
    /// `PS256`: RSASSA-PSS with SHA-256 (RFC 7518 §3.5).
    Ps256,
    /// `HS256`: HMAC with SHA-256 (RFC 7518 §3.2).
    Hs256,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 6] =
        [Self::Es256, Self::Es384, Self::EdDsa, Self::Rs256, Self::Ps256, Self::Hs256];

    /// The algorithm's name, as the `alg` of a JWS header has it (RFC 7515 §4.1.1).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Hs256 => "HS256",
        }
    }

    /// The algorithm with this `alg`; `None` if this version does not know it.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Whether signing equal input always gives an equal signature.
    pub const fn is_deterministic(self) -> bool {
        match self {
            Self::EdDsa | Self::Rs256 | Self::Hs256 => true,
            Self::Es256 | Self::Es384 | Self::Ps256 => false,
        }
    }

    /// The kind of key that the algorithm needs, in words.
    pub(crate) const fn needed_key(self) -> &'static str {
        match self {
            Self::Es256 => "an EC key on P-256",
            Self::Es384 => "an EC key on P-384",
            Self::EdDsa => "an Ed25519 key",
            Self::Rs256 | Self::Ps256 => "an RSA key of at least 2048 bits",
            Self::Hs256 => "a symmetric JWK (\"kty\":\"oct\") of at least 32 bytes",
        }
    }

    /// A shell command that prints a key for the algorithm.
    pub(crate) const fn recipe(self) -> &'static str {
        match self {
            Self::Es256 => "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            Self::Es384 => "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384",
            Self::EdDsa => "openssl genpkey -algorithm ED25519",
            Self::Rs256 | Self::Ps256 => {
                "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072"
            }
            Self::Hs256 => {
                r#"printf '{"kty":"oct","k":"%s"}' "$(openssl rand -base64 32 | tr '+/' '-_' | tr -d '=\n')""#
            }
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
