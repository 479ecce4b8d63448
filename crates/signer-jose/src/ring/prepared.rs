//! A key together with everything that signing and verifying needs, prepared once.

use std::error::Error;

use josekit::jws::{JwsHeader, JwsVerifier, serialize_compact};
use mintgate_domain::model::KeyUse;
use mintgate_domain::ports::SigningError;
use mintgate_domain::{Cause, SignedToken};
use serde::Serialize;

use crate::{KeyError, SigningKey};

/// The usual size of a payload in bytes; a payload with many roles grows beyond it.
const PAYLOAD_CAPACITY: usize = 768;

/// The `typ` of access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessTokenType {
    /// `at+jwt` (RFC 9068 §2.1).
    AtJwt,
    /// `JWT` (RFC 7519 §5.1), for verifiers that know no other.
    Jwt,
}

impl AccessTokenType {
    /// The `typ` of the tokens that keys of this use sign. Verifiers check it, so that an access token
    /// does not pass for a refresh token or the other way round.
    pub(crate) const fn of(self, key_use: KeyUse) -> &'static str {
        match (key_use, self) {
            (KeyUse::Access, Self::AtJwt) => "at+jwt",
            (KeyUse::Access, Self::Jwt) => "JWT",
            (KeyUse::Refresh, _) => "rt+jwt",
        }
    }
}

fn failed(text: &'static str, error: impl Error + Send + Sync + 'static) -> SigningError {
    SigningError::Failed(Cause::from_error(text, error))
}

/// A key, the header of its tokens, and the verifier of their signatures.
pub(crate) struct PreparedKey {
    key: SigningKey,
    header: JwsHeader,
    /// `None` for a symmetric key: its signature is made again and compared.
    verifier: Option<Box<dyn JwsVerifier>>,
}

impl PreparedKey {
    /// Prepares a key whose tokens have the header `typ` `token_type`.
    pub(crate) fn new(key: SigningKey, token_type: &str) -> Result<Self, KeyError> {
        // In alphabetical order, so that the bytes of a token do not depend on whether serde_json
        // keeps the order of insertion.
        let mut header = JwsHeader::new();
        header.set_algorithm(key.algorithm().name());
        header.set_key_id(key.id().as_str());
        header.set_token_type(token_type);
        let verifier = key.public_verifier()?;
        Ok(Self { key, header, verifier })
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    pub(crate) fn sign(&self, payload: &impl Serialize) -> Result<SignedToken, SigningError> {
        self.sign_under(&self.header, payload)
    }

    /// Signs what is not a token, for everybody to verify.
    ///
    /// # Errors
    /// [`SigningError::Failed`] if nobody else can verify it, because the key is symmetric.
    pub(crate) fn sign_as(
        &self,
        token_type: &str,
        payload: &impl Serialize,
    ) -> Result<SignedToken, SigningError> {
        if self.verifier.is_none() {
            return Err(SigningError::Failed("nobody else can verify what this key signs".into()));
        }
        let mut header = self.header.clone();
        header.set_token_type(token_type);
        self.sign_under(&header, payload)
    }

    fn sign_under(
        &self,
        header: &JwsHeader,
        payload: &impl Serialize,
    ) -> Result<SignedToken, SigningError> {
        let mut bytes = Vec::with_capacity(PAYLOAD_CAPACITY);
        serde_json::to_writer(&mut bytes, payload)
            .map_err(|e| failed("the claims cannot be written as JSON", e))?;
        let token = serialize_compact(&bytes, header, self.key.signer());
        token.map(SignedToken::new).map_err(|e| failed("the signature cannot be made", e))
    }

    /// Whether this is the key's signature of the message. Compares in constant time.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.verifier {
            Some(verifier) => verifier.verify(message, signature).is_ok(),
            None => self.key.signer().sign(message).is_ok_and(|expected| {
                expected.len() == signature.len() && openssl::memcmp::eq(&expected, signature)
            }),
        }
    }
}
