//! Signing what other services are told of revocations.

use super::SigningError;
use crate::SignedToken;
use crate::model::RevocationStatement;

/// Signs statements about the log of revocations.
///
/// They MUST be signed with the current access key, which every service knows, and have the `typ`
/// `revocations+jwt`, so that none passes for an access token.
pub trait RevocationSigner: Send + Sync {
    /// Signs a statement about revocations as a compact JWS (RFC 7515 §7.1).
    ///
    /// # Errors
    /// [`SigningError::Failed`] if the key is one that nobody else has (HS256), and
    /// [`SigningError::KeysUnavailable`] before keys have been loaded.
    fn sign_revocations(
        &self,
        statement: &RevocationStatement<'_>,
    ) -> Result<SignedToken, SigningError>;
}
