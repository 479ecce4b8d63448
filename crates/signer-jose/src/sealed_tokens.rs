//! Encryption of providers' tokens, each bound to its session and its kind.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintgate_domain::model::{SealedToken, SessionId};
use mintgate_domain::ports::{SealError as PortError, TokenSeal, UpstreamTokenKind};
use mintgate_domain::{Cause, SecretText};

use crate::seal::{EncryptionKeys, Label, SealError};

/// Seals providers' tokens as compact JWEs (`dir`, A256GCM). The protected header names the purpose and
/// the session, so that neither a signing key, nor a token of another kind or another session, opens instead.
#[derive(Debug)]
pub struct SealedTokens(Arc<EncryptionKeys>);

impl SealedTokens {
    /// Makes the seal from the keys that encrypt and decrypt tokens.
    pub fn new(keys: Arc<EncryptionKeys>) -> Self {
        Self(keys)
    }
}

impl TokenSeal for SealedTokens {
    fn seal(
        &self,
        session: SessionId,
        kind: UpstreamTokenKind,
        token: &SecretText,
    ) -> Result<SealedToken, PortError> {
        let (token, limit) = (token.expose(), max_token_bytes(kind));
        if token.len() > limit {
            return Err(failed(SealError::TooLong(limit)));
        }
        let sealed =
            self.0.current().seal(label(session, kind), token.as_bytes()).map_err(failed)?;
        Ok(SealedToken(sealed))
    }

    /// The members before and with the name of the key come first in the header, in alphabetical order.
    fn mark(&self) -> String {
        let name = self.0.current().name();
        // 54 bytes, a multiple of three: what follows does not change their base64.
        URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"dir","enc":"A256GCM","kid":"{name}","#))
    }

    fn open(
        &self,
        session: SessionId,
        kind: UpstreamTokenKind,
        SealedToken(sealed): &SealedToken,
    ) -> Result<SecretText, PortError> {
        // Room for the longest token in base64url with header, initialization vector and tag.
        let limit = max_token_bytes(kind) / 2 * 3;
        if sealed.len() > limit {
            return Err(failed(SealError::TooLong(limit)));
        }
        self.0.open(&label(session, kind), sealed).map_err(failed)
    }
}

/// The longest token that is sealed, in bytes.
fn max_token_bytes(kind: UpstreamTokenKind) -> usize {
    match kind {
        UpstreamTokenKind::Refresh => 8 * 1024,
        UpstreamTokenKind::Id | UpstreamTokenKind::Access => 16 * 1024,
    }
}

fn label(session: SessionId, kind: UpstreamTokenKind) -> Label {
    let purpose = match kind {
        UpstreamTokenKind::Refresh => "provider-refresh-token",
        UpstreamTokenKind::Id => "provider-id-token",
        UpstreamTokenKind::Access => "provider-access-token",
    };
    Label::new([("purpose", purpose.into()), ("session", session.to_string().into())])
}

fn failed(error: SealError) -> PortError {
    PortError(Cause::from_error(error.to_string(), error))
}
