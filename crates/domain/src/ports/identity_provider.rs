//! The identity provider: where people sign in.

use async_trait::async_trait;

use crate::model::VerifiedIdentity;
use crate::{AuthorizationCode, CodeVerifier, IdTokenText, Nonce, ProviderAccessToken};

/// An authorization code with what must accompany it (RFC 6749 §4.1.3, RFC 7636 §4.5).
#[derive(Debug)]
pub struct CodeGrant<'a> {
    /// The code.
    pub code: &'a AuthorizationCode,
    /// The redirect URI of the authorization request.
    pub redirect_uri: &'a str,
    /// The PKCE verifier, if the client brought one.
    pub code_verifier: Option<&'a CodeVerifier>,
}

/// What a provider gives for a code, unverified.
#[derive(Debug)]
pub struct ProviderTokens {
    /// The ID token.
    pub id_token: Option<IdTokenText>,
    /// The provider's access token, for its userinfo endpoint.
    pub access_token: Option<ProviderAccessToken>,
}

/// Why a provider did not vouch for a sign-in. The text is for the log, never
/// for the client, and MUST NOT hold a code, a token or a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The provider refused the code: unknown, used, expired, or another's.
    #[error("the provider refused the code: {0}")]
    CodeRefused(String),
    /// The ID token (or userinfo) is not what it must be.
    #[error("the ID token is not acceptable: {0}")]
    IdTokenRefused(String),
    /// The provider answered something that is no proper answer, or refuses us as a client.
    #[error("the provider's answer cannot be used: {0}")]
    Misbehaved(String),
    /// The provider cannot be reached; a code was certainly not sent.
    #[error("the provider cannot be reached: {0}")]
    Unreachable(String),
    /// The provider did not answer in time; whether it got the code is unknown.
    #[error("the provider did not answer in time: {0}")]
    TimedOut(String),
}

/// A provider of identities.
///
/// An adapter MUST bound every wait and every answer, MUST NOT follow redirects,
/// MUST NOT send a code twice, and MUST NOT contact anyone but the provider.
#[async_trait]
pub trait IdentityProvider: Send + Sync {
    /// Exchanges a code at the provider's token endpoint, once.
    ///
    /// # Errors
    /// [`ProviderError::CodeRefused`] MUST mean that the provider itself said no, under whatever
    /// HTTP status; [`ProviderError::Unreachable`] that the code was not sent.
    async fn redeem(&self, grant: &CodeGrant<'_>) -> Result<ProviderTokens, ProviderError>;

    /// Verifies an ID token as OIDC Core §3.1.3.7 says, with the algorithms pinned for this provider.
    ///
    /// The token's nonce MUST equal `nonce`; a token with a nonce and a call without (or the
    /// reverse) MUST be refused.
    ///
    /// # Errors
    /// [`ProviderError::IdTokenRefused`] for every token that is forged, broken, stale, or not for us.
    async fn verify(
        &self,
        tokens: &ProviderTokens,
        nonce: Option<&Nonce>,
    ) -> Result<VerifiedIdentity, ProviderError>;
}
