//! The signer of our tokens.

use std::fmt;
use std::sync::Arc;

use josekit::jws::{JwsHeader, JwsSigner, serialize_compact};
use mintgate_domain::SignedToken;
use mintgate_domain::model::{AccessClaims, KeyId, RefreshClaims};
use mintgate_domain::ports::{JwksDocument, PublicKeys, SigningError, TokenSigner};
use serde::Serialize;

use crate::payload::{AccessPayload, RefreshPayload};
use crate::{Algorithm, SigningKey, jwks};

/// A payload's usual size; one with many roles grows past it.
const PAYLOAD_CAPACITY: usize = 768;

/// What a signer is made of.
#[derive(Debug)]
pub struct SignerConfig {
    /// `iss` of every token.
    pub issuer: String,
    /// `aud` of access tokens; a text if it is one, an array if there are several.
    pub audience: Vec<String>,
    /// Signs access tokens.
    pub access: SigningKey,
    /// Signs refresh tokens; a deterministic algorithm's.
    pub refresh: SigningKey,
}

/// Why keys cannot sign together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// Refresh tokens must be the same bytes each time they are minted.
    #[error("{0} gives another signature each time; refresh tokens need HS256, EdDSA or RS256")]
    NotDeterministic(Algorithm),
    /// One key would make each kind of token pass for the other.
    #[error("access and refresh tokens are signed with one and the same key; give each its own")]
    SameKey,
    /// Two keys under one name cannot be told apart.
    #[error(
        "the access key and the refresh key are both called {0}; give each a \"kid\" of its own"
    )]
    SameKeyId(KeyId),
    /// An access token is for somebody (RFC 9068 §2.2).
    #[error("access tokens need an audience")]
    NoAudience,
}

/// Signs tokens with josekit and publishes the access key's public half.
pub struct JoseTokenSigner {
    issuer: String,
    audience: Vec<String>,
    access: Stamp,
    refresh: Stamp,
    jwks: Arc<JwksDocument>,
}

impl JoseTokenSigner {
    /// Takes the keys over.
    ///
    /// # Errors
    /// See [`SignerError`].
    pub fn new(config: SignerConfig) -> Result<Self, SignerError> {
        let SignerConfig { issuer, audience, access, refresh } = config;
        if !refresh.algorithm().is_deterministic() {
            return Err(SignerError::NotDeterministic(refresh.algorithm()));
        }
        if access.is_same_key(&refresh) {
            return Err(SignerError::SameKey);
        }
        if access.id() == refresh.id() {
            return Err(SignerError::SameKeyId(access.id().clone()));
        }
        if audience.is_empty() {
            return Err(SignerError::NoAudience);
        }
        Ok(Self {
            issuer,
            audience,
            jwks: Arc::new(jwks::document(&[&access])),
            access: Stamp::new(access, "at+jwt"),
            refresh: Stamp::new(refresh, "rt+jwt"),
        })
    }
}

impl TokenSigner for JoseTokenSigner {
    fn sign_access(&self, claims: &AccessClaims<'_>) -> Result<SignedToken, SigningError> {
        self.access.sign(&AccessPayload { issuer: &self.issuer, audience: &self.audience, claims })
    }

    fn refresh_key_id(&self) -> Result<KeyId, SigningError> {
        Ok(self.refresh.key_id.clone())
    }

    fn sign_refresh(&self, claims: &RefreshClaims<'_>) -> Result<SignedToken, SigningError> {
        if *claims.key_id != self.refresh.key_id {
            return Err(SigningError::Failed(format!(
                "no refresh key is called {}",
                claims.key_id
            )));
        }
        self.refresh.sign(&RefreshPayload { issuer: &self.issuer, claims })
    }
}

impl PublicKeys for JoseTokenSigner {
    fn jwks(&self) -> Option<Arc<JwksDocument>> {
        Some(Arc::clone(&self.jwks))
    }
}

impl fmt::Debug for JoseTokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoseTokenSigner")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("access_key", &self.access.key_id)
            .field("refresh_key", &self.refresh.key_id)
            .finish_non_exhaustive()
    }
}

/// A key with the header its tokens carry.
struct Stamp {
    key_id: KeyId,
    header: JwsHeader,
    signer: Box<dyn JwsSigner>,
}

impl Stamp {
    fn new(key: SigningKey, token_type: &str) -> Self {
        let key_id = key.id().clone();
        // In alphabetical order, which is how they are written whether or not
        // serde_json keeps the order of insertion: the header is part of a token's bytes.
        let mut header = JwsHeader::new();
        header.set_algorithm(key.algorithm().name());
        header.set_key_id(key_id.as_str());
        header.set_token_type(token_type);
        Self { key_id, header, signer: key.into_signer() }
    }

    fn sign(&self, payload: &impl Serialize) -> Result<SignedToken, SigningError> {
        let mut bytes = Vec::with_capacity(PAYLOAD_CAPACITY);
        serde_json::to_writer(&mut bytes, payload)
            .map_err(|e| SigningError::Failed(e.to_string()))?;
        let token = serialize_compact(&bytes, &self.header, &*self.signer);
        token.map(SignedToken::new).map_err(|e| SigningError::Failed(e.to_string()))
    }
}
