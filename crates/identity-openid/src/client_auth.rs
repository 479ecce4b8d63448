//! Client authentication at the token endpoint (RFC 6749 §2.3, OIDC Core §9).

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use josekit::JoseError;
use josekit::jws::JwsHeader;
use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::{Entropy, ProviderError};
use mintgate_domain::{Cause, SecretText};
use oauth2::{AuthType, ClientSecret};
use openssl::hash::MessageDigest;
use openssl::x509::X509;
use serde_json::json;

use crate::client_key::{AssertionAlgorithm, ClientKey, ClientKeyError};
use crate::exchange::TokenClient;
use crate::quirks::apple::AppleSecret;

/// How long a client assertion is valid: long enough for clocks that differ a little.
const ASSERTION_SECS: i64 = 5 * 60;
/// How far assertions are dated back: some providers refuse one that is dated ahead of their clock.
const BACKDATED_SECS: i64 = 10;

/// How the client authenticates at the token endpoint (OIDC Core §9).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// With the configured secret by `client_secret_basic`, or by `client_secret_post` where the
    /// discovery document offers that alone; without a secret as a public client.
    #[default]
    Negotiated,
    /// `client_secret_basic` with the configured secret (RFC 6749 §2.3.1).
    SecretBasic,
    /// `client_secret_post` with the configured secret (RFC 6749 §2.3.1).
    SecretPost,
    /// `none`: a public client, whatever secret is configured.
    Public,
    /// `private_key_jwt` (RFC 7523 §2.2, OIDC Core §9).
    PrivateKeyJwt(AssertionKey),
    /// `client_secret_post` with a secret that is a JWT signed with a key, as Apple requires.
    MintedSecret(AppleSecret),
}

impl ClientAuthentication {
    /// Whether this method requires a configured secret.
    pub(crate) fn needs_secret(&self) -> bool {
        matches!(self, Self::SecretBasic | Self::SecretPost)
    }

    /// How the client id, and the secret if there is one, are sent.
    pub(crate) fn auth_type(&self, negotiated: impl FnOnce() -> AuthType) -> AuthType {
        match self {
            Self::Negotiated => negotiated(),
            Self::SecretBasic => AuthType::BasicAuth,
            Self::SecretPost | Self::Public | Self::PrivateKeyJwt(_) | Self::MintedSecret(_) => {
                AuthType::RequestBody
            }
        }
    }
}

/// The `aud` claim of client assertions (RFC 7523 §3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AssertionAudience {
    /// The URL of the token endpoint (OIDC Core §9), which every provider accepts.
    #[default]
    TokenEndpoint,
    /// The issuer identifier, which newer providers prefer, because it prevents the use of an assertion at
    /// another provider.
    Issuer,
}

/// The key that signs client assertions, and what the assertions say.
#[derive(Clone, PartialEq, Eq)]
pub struct AssertionKey {
    key: Arc<ClientKey>,
    key_id: Option<String>,
    /// SHA-256 of the key's certificate in DER.
    thumbprint: Option<Vec<u8>>,
    audience: AssertionAudience,
}

impl AssertionKey {
    /// Reads a private key in PEM.
    ///
    /// # Errors
    /// If the text is not a private key in PEM, or the key does not fit the algorithm.
    pub fn from_pem(
        pem: &SecretText,
        algorithm: AssertionAlgorithm,
    ) -> Result<Self, ClientKeyError> {
        let key = Arc::new(ClientKey::from_pem(pem, algorithm)?);
        let audience = AssertionAudience::default();
        Ok(Self { key, key_id: None, thumbprint: None, audience })
    }

    /// Names the key to the provider: the `kid` of the header (RFC 7515 §4.1.4).
    #[must_use]
    pub fn with_key_id(self, key_id: impl Into<String>) -> Self {
        Self { key_id: Some(key_id.into()), ..self }
    }

    /// Names the key by its certificate: the `x5t#S256` of the header (RFC 7515 §4.1.8), which Entra
    /// asks for in place of a `kid`.
    ///
    /// Microsoft, "Microsoft identity platform application authentication certificate credentials":
    /// <https://learn.microsoft.com/en-us/entra/identity-platform/certificate-credentials>
    ///
    /// # Errors
    /// If the text is not a certificate in PEM, or is the certificate of another key.
    pub fn with_certificate(self, pem: &str) -> Result<Self, ClientKeyError> {
        let certificate =
            X509::from_pem(pem.as_bytes()).map_err(|_| ClientKeyError::Certificate)?;
        let certified = certificate.public_key().map_err(|_| ClientKeyError::Certificate)?;
        let digest = certificate.digest(MessageDigest::sha256());
        match digest {
            Ok(digest) if self.key.belongs_to(&certified) => {
                Ok(Self { thumbprint: Some(digest.to_vec()), ..self })
            }
            _ => Err(ClientKeyError::Certificate),
        }
    }

    /// Sets the audience of the assertions.
    #[must_use]
    pub fn with_audience(self, audience: AssertionAudience) -> Self {
        Self { audience, ..self }
    }

    /// A new assertion for one request (RFC 7523 §3).
    fn assertion(
        &self,
        client_id: &str,
        issuer: &str,
        token_endpoint: &str,
        now: Timestamp,
        entropy: &Arc<dyn Entropy>,
    ) -> Result<SecretText, JoseError> {
        let mut header = JwsHeader::new();
        header.set_token_type("JWT");
        if let Some(key_id) = &self.key_id {
            header.set_key_id(key_id);
        }
        if let Some(thumbprint) = &self.thumbprint {
            header.set_x509_certificate_sha256_thumbprint(thumbprint);
        }
        let audience = match self.audience {
            AssertionAudience::TokenEndpoint => token_endpoint,
            AssertionAudience::Issuer => issuer,
        };
        let made = now.as_unix() - BACKDATED_SECS;
        let claims = json!({
            "iss": client_id,
            "sub": client_id,
            "aud": audience,
            "jti": BASE64_URL_SAFE_NO_PAD.encode(entropy.bytes::<16>()),
            "iat": made,
            "nbf": made,
            "exp": made + ASSERTION_SECS,
        });
        self.key.sign(&header, &claims)
    }
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionKey")
            .field("key", &self.key)
            .field("key_id", &self.key_id)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

/// Authenticates us at one token endpoint.
pub(crate) struct Authenticator {
    pub(crate) authentication: ClientAuthentication,
    pub(crate) client_id: String,
    pub(crate) client_secret: Option<SecretText>,
    /// The issuer, which can be the audience of client assertions.
    pub(crate) issuer: String,
    /// Makes the identifiers of client assertions (`jti`, RFC 7519 §4.1.7).
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// A client with the credentials for one request.
pub(crate) struct Authenticated {
    pub(crate) client: TokenClient,
    pub(crate) assertion: Option<SecretText>,
    /// The client secret that is sent, configured or generated.
    pub(crate) secret: Option<SecretText>,
}

impl Authenticator {
    /// Adds the credentials for one request that is sent now.
    pub(crate) fn prepare(
        &self,
        client: &TokenClient,
        now: Timestamp,
    ) -> Result<Authenticated, ProviderError> {
        // The key was checked when it was read, so signing fails only without memory or randomness.
        let unsigned = |error| {
            ProviderError::Unreachable(Cause::from_error("the client key does not sign", error))
        };
        let client = client.clone();
        let with_secret = |client: TokenClient, secret: SecretText| Authenticated {
            client: client.set_client_secret(ClientSecret::new(secret.expose().to_owned())),
            assertion: None,
            secret: Some(secret),
        };
        Ok(match (&self.authentication, &self.client_secret) {
            (ClientAuthentication::PrivateKeyJwt(key), _) => {
                let token_endpoint = client.token_uri().as_str().to_owned();
                let Self { client_id, issuer, entropy, .. } = self;
                let assertion = key.assertion(client_id, issuer, &token_endpoint, now, entropy);
                let assertion = Some(assertion.map_err(unsigned)?);
                Authenticated { client, assertion, secret: None }
            }
            (ClientAuthentication::MintedSecret(apple), _) => {
                with_secret(client, apple.current(&self.client_id, now).map_err(unsigned)?)
            }
            (ClientAuthentication::Public, _) | (_, None) => {
                Authenticated { client, assertion: None, secret: None }
            }
            (
                ClientAuthentication::Negotiated
                | ClientAuthentication::SecretBasic
                | ClientAuthentication::SecretPost,
                Some(secret),
            ) => with_secret(client, secret.clone()),
        })
    }
}
