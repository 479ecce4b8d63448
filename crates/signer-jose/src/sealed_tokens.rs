//! Encryption of providers' refresh tokens, each bound to its session.

use mintgate_domain::model::{SealedToken, SessionId};
use mintgate_domain::ports::{SealError as PortError, TokenSeal};
use mintgate_domain::{Cause, ProviderRefreshToken};

use crate::seal::{KeyEncryptionKey, Label, SealError};

/// The longest provider's refresh token that is sealed, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Room for a token of [`MAX_TOKEN_BYTES`] in base64url with header, initialization vector and tag.
const MAX_SEALED_BYTES: usize = 12 * 1024;
const PURPOSE: &str = "provider-refresh-token";

/// Seals providers' refresh tokens as compact JWEs (`dir`, A256GCM). The protected header names the
/// purpose and the session, so that neither a signing key nor another session's token opens instead.
#[derive(Debug)]
pub struct SealedTokens(KeyEncryptionKey);

impl SealedTokens {
    /// Makes the seal from the key that encrypts tokens.
    pub fn new(key: KeyEncryptionKey) -> Self {
        Self(key)
    }
}

impl TokenSeal for SealedTokens {
    fn seal(
        &self,
        session: SessionId,
        token: &ProviderRefreshToken,
    ) -> Result<SealedToken, PortError> {
        let token = token.expose();
        if token.len() > MAX_TOKEN_BYTES {
            return Err(failed(SealError::TooLong(MAX_TOKEN_BYTES)));
        }
        let sealed = self.0.seal(label(session), token.as_bytes()).map_err(failed)?;
        Ok(SealedToken(sealed))
    }

    fn open(
        &self,
        session: SessionId,
        SealedToken(sealed): &SealedToken,
    ) -> Result<ProviderRefreshToken, PortError> {
        if sealed.len() > MAX_SEALED_BYTES {
            return Err(failed(SealError::TooLong(MAX_SEALED_BYTES)));
        }
        let token = self.0.open(&label(session), sealed).map_err(failed)?;
        Ok(ProviderRefreshToken::new(token.expose()))
    }
}

fn label(session: SessionId) -> Label {
    Label::new([("purpose", PURPOSE.into()), ("session", session.to_string().into())])
}

fn failed(error: SealError) -> PortError {
    PortError(Cause::from_error(error.to_string(), error))
}
