//! The providers' tokens that are kept beside sessions: their store together with their encryption.

use std::sync::Arc;

use crate::model::{SealedToken, SessionId};
use crate::ports::{SealError, TokenSeal, UpstreamTokenKind, UpstreamTokenRepo};
use crate::{IdTokenText, ProviderRefreshToken, SecretText};

/// The store and the encryption of providers' tokens.
#[derive(Clone)]
pub struct KeptTokens {
    /// The store of the sealed tokens.
    pub repo: Arc<dyn UpstreamTokenRepo>,
    /// The encryption of the tokens.
    pub seal: Arc<dyn TokenSeal>,
}

impl KeptTokens {
    /// Encrypts a refresh token for its session.
    pub(crate) fn seal_refresh(
        &self,
        session: SessionId,
        token: &ProviderRefreshToken,
    ) -> Result<SealedToken, SealError> {
        self.seal.seal(session, UpstreamTokenKind::Refresh, &SecretText::new(token.expose()))
    }

    /// Decrypts a refresh token.
    pub(crate) fn open_refresh(
        &self,
        session: SessionId,
        sealed: &SealedToken,
    ) -> Result<ProviderRefreshToken, SealError> {
        let token = self.seal.open(session, UpstreamTokenKind::Refresh, sealed)?;
        Ok(ProviderRefreshToken::new(token.expose()))
    }

    /// Encrypts an ID token for its session.
    pub(crate) fn seal_id(
        &self,
        session: SessionId,
        token: &IdTokenText,
    ) -> Result<SealedToken, SealError> {
        self.seal.seal(session, UpstreamTokenKind::Id, &SecretText::new(token.expose()))
    }

    /// Decrypts an ID token.
    pub(crate) fn open_id(
        &self,
        session: SessionId,
        sealed: &SealedToken,
    ) -> Result<IdTokenText, SealError> {
        let token = self.seal.open(session, UpstreamTokenKind::Id, sealed)?;
        Ok(IdTokenText::new(token.expose()))
    }
}
