//! Providers' refresh tokens under the key-encryption key, each for its session.

use mintgate_domain::ProviderRefreshToken;
use mintgate_domain::model::{SealedToken, SessionId};
use mintgate_domain::ports::{SealError as PortError, TokenSeal};

use crate::seal::{KeyEncryptionKey, Label, SealError};

/// No provider's refresh token is longer, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Such a token in base64url, with its header, initialization vector and tag.
const MAX_SEALED_BYTES: usize = 12 * 1024;
const PURPOSE: &str = "provider-refresh-token";

/// Seals providers' refresh tokens as compact JWEs (`dir`, A256GCM), like
/// [`KeySeal`](crate::KeySeal) does keys. The protected header names the purpose and the session, so
/// that neither a key nor another session's token opens in its place.
#[derive(Debug)]
pub struct SealedTokens(KeyEncryptionKey);

impl SealedTokens {
    /// Seals under this key.
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
            return Err(PortError(format!("it is longer than {MAX_TOKEN_BYTES} bytes").into()));
        }
        let sealed = self.0.seal(label(session), token.as_bytes()).map_err(explained)?;
        Ok(SealedToken(sealed))
    }

    fn open(
        &self,
        session: SessionId,
        SealedToken(sealed): &SealedToken,
    ) -> Result<ProviderRefreshToken, PortError> {
        if sealed.len() > MAX_SEALED_BYTES {
            return Err(PortError("it is too long to be one".into()));
        }
        let token = self.0.open(&label(session), sealed).map_err(explained)?;
        Ok(ProviderRefreshToken::new(token.expose()))
    }
}

fn label(session: SessionId) -> Label {
    Label::new([("purpose", PURPOSE.into()), ("session", session.to_string().into())])
}

fn explained(error: SealError) -> PortError {
    PortError(match error {
        // The remedy that it tells of is for keys.
        SealError::OtherKey { sealed_under, configured } => format!(
            "it is sealed under the key-encryption key {sealed_under}, and the configured one is \
             {configured}"
        )
        .into(),
        error => error.to_string().into(),
    })
}
