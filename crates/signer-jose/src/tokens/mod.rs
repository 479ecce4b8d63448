//! Signing and verifying our tokens, and publishing their keys.

mod claims;
mod presented;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use mintgate_domain::model::{AccessClaims, KeyId, KeyUse, RefreshClaims, RevocationStatement};
use mintgate_domain::ports::{
    JwksDocument, PublicKeys, RevocationSigner, SigningError, TokenSigner, TokenVerifier,
    VerifiedAccess, VerifiedRefresh, VerifyError,
};
use mintgate_domain::{PresentedToken, SignedToken};

use crate::KeyRing;
use crate::key::is_proper_key_id;
use crate::payload::{AccessPayload, RefreshPayload, RevocationsPayload};
use claims::{ReceivedAccessClaims, ReceivedRefreshClaims};
use presented::Presented;

/// The claims that all tokens have in common.
#[derive(Debug, Clone)]
pub struct TokensConfig {
    /// The `iss` claim of every token, which presented tokens must have too.
    pub issuer: String,
    /// The `aud` of access tokens: written as a text if there is one, as an array if there are several.
    /// A presented token is accepted if it is for any of them.
    pub audience: Vec<String>,
    /// The `client_id` of access tokens (RFC 9068 §2.2).
    pub client_id: String,
}

/// Why a configuration of tokens cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokensError {
    /// An access token MUST have an `aud` (RFC 9068 §2.2).
    #[error("access tokens need an audience")]
    NoAudience,
}

/// Signs and verifies tokens with josekit and the keys of a [`KeyRing`], and publishes their public
/// halves.
pub struct JoseTokens {
    config: TokensConfig,
    ring: Arc<KeyRing>,
}

impl JoseTokens {
    /// Signs and verifies with the keys that the ring has at each moment.
    ///
    /// # Errors
    /// See [`TokensError`].
    pub fn new(config: TokensConfig, ring: Arc<KeyRing>) -> Result<Self, TokensError> {
        if config.audience.is_empty() {
            return Err(TokensError::NoAudience);
        }
        Ok(Self { config, ring })
    }

    /// Checks header and signature; answers the payload, whose claims are not checked yet.
    async fn authenticate(
        &self,
        token: &PresentedToken,
        key_use: KeyUse,
    ) -> Result<Vec<u8>, VerifyError> {
        let presented = Presented::parse(token.expose()).map_err(refused)?;
        let header = &presented.header;
        if header.typ != self.ring.token_type(key_use) {
            return Err(refused("it is another kind of token"));
        }
        // No key can have such a `kid`, so the repository need not be searched.
        if !is_proper_key_id(&header.kid) {
            return Err(refused("its \"kid\" cannot be a key's"));
        }
        let key = self.ring.find(key_use, &header.kid).await?;
        if header.alg != key.key().algorithm().name() {
            return Err(refused("its \"alg\" is not its key's"));
        }
        if !key.verifies(presented.signed.as_bytes(), &presented.signature) {
            return Err(refused("its signature is not its key's"));
        }
        Ok(presented.payload)
    }
}

fn refused(reason: &'static str) -> VerifyError {
    VerifyError::Refused(reason.into())
}

fn no_key(key_use: KeyUse) -> SigningError {
    SigningError::KeysUnavailable(format!("there is no {} key yet", key_use.name()).into())
}

impl TokenSigner for JoseTokens {
    #[tracing::instrument(level = "debug", skip_all)]
    fn sign_access(&self, claims: &AccessClaims<'_>) -> Result<SignedToken, SigningError> {
        let TokensConfig { issuer, audience, client_id } = &self.config;
        let snapshot = self.ring.snapshot();
        let key = snapshot.current(KeyUse::Access, self.ring.now());
        let key = key.ok_or_else(|| no_key(KeyUse::Access))?;
        key.sign(&AccessPayload { issuer, audience, client_id, claims })
    }

    fn refresh_key_id(&self) -> Result<KeyId, SigningError> {
        let snapshot = self.ring.snapshot();
        let key = snapshot.current(KeyUse::Refresh, self.ring.now());
        key.map(|key| key.key().id().clone()).ok_or_else(|| no_key(KeyUse::Refresh))
    }

    #[tracing::instrument(level = "debug", skip_all)]
    fn sign_refresh(&self, claims: &RefreshClaims<'_>) -> Result<SignedToken, SigningError> {
        let snapshot = self.ring.snapshot();
        match snapshot.find(KeyUse::Refresh, claims.key_id.as_str()) {
            Some(key) => key.sign(&RefreshPayload { issuer: &self.config.issuer, claims }),
            None if !self.ring.is_loaded() => Err(no_key(KeyUse::Refresh)),
            None => Err(SigningError::Failed(
                format!("no refresh key has the \"kid\" {}", claims.key_id).into(),
            )),
        }
    }
}

/// The `typ` of statements about revocations.
const REVOCATIONS: &str = "revocations+jwt";

impl RevocationSigner for JoseTokens {
    #[tracing::instrument(level = "debug", skip_all)]
    fn sign_revocations(
        &self,
        statement: &RevocationStatement<'_>,
    ) -> Result<SignedToken, SigningError> {
        let snapshot = self.ring.snapshot();
        let key = snapshot.current(KeyUse::Access, self.ring.now());
        let key = key.ok_or_else(|| no_key(KeyUse::Access))?;
        key.sign_as(REVOCATIONS, &RevocationsPayload { issuer: &self.config.issuer, statement })
    }
}

#[async_trait]
impl TokenVerifier for JoseTokens {
    #[tracing::instrument(level = "debug", skip_all)]
    async fn verify_access(&self, token: &PresentedToken) -> Result<VerifiedAccess, VerifyError> {
        let payload = self.authenticate(token, KeyUse::Access).await?;
        ReceivedAccessClaims::parse(&payload)
            .and_then(|claims| claims.check(&self.config))
            .map_err(refused)
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn verify_refresh(&self, token: &PresentedToken) -> Result<VerifiedRefresh, VerifyError> {
        let payload = self.authenticate(token, KeyUse::Refresh).await?;
        ReceivedRefreshClaims::parse(&payload)
            .and_then(|claims| claims.check(&self.config))
            .map_err(refused)
    }
}

impl PublicKeys for JoseTokens {
    fn jwks(&self) -> Option<Arc<JwksDocument>> {
        self.ring.snapshot().jwks()
    }
}

impl fmt::Debug for JoseTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoseTokens")
            .field("config", &self.config)
            .field("ring", &self.ring)
            .finish()
    }
}
