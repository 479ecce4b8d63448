//! The providers' tokens that are kept beside sessions: their store together with their encryption.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{KeptAccess, SealedToken, SessionId, Timestamp};
use crate::ports::{ProviderAccess, SealError, TokenSeal, UpstreamTokenKind, UpstreamTokenRepo};
use crate::{IdTokenText, ProviderAccessToken, ProviderRefreshToken, SecretText};

/// How long before its expiry an access token is replaced, unless half of its life is shorter.
const RENEWED_BEFORE: Duration = Duration::from_mins(1);

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

    /// Encrypts an access token for its session. `at` is the time at which it was asked for.
    pub(crate) fn seal_access(
        &self,
        session: SessionId,
        access: &ProviderAccess,
        at: Timestamp,
    ) -> Result<KeptAccess, SealError> {
        let token = SecretText::new(access.token.expose());
        Ok(KeptAccess {
            sealed: self.seal.seal(session, UpstreamTokenKind::Access, &token)?,
            scope: access.scope.clone(),
            expires_at: access.expires_in.map(|life| at + life),
            due_at: access
                .expires_in
                .map(|life| at + life.saturating_sub(RENEWED_BEFORE.min(life / 2))),
        })
    }

    /// Decrypts an access token.
    pub(crate) fn open_access(
        &self,
        session: SessionId,
        sealed: &SealedToken,
    ) -> Result<ProviderAccessToken, SealError> {
        let token = self.seal.open(session, UpstreamTokenKind::Access, sealed)?;
        Ok(ProviderAccessToken::new(token.expose()))
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
