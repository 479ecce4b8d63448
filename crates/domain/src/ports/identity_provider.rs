//! The identity provider: where people sign in.

use std::time::Duration;

use async_trait::async_trait;

use crate::TokenHash;
use crate::model::{ClaimSet, ExternalIdentity, Timestamp, VerifiedIdentity};
use crate::{
    AuthorizationCode, Cause, CodeVerifier, IdTokenText, LogoutTokenText, Nonce,
    ProviderAccessToken, ProviderRefreshToken,
};

/// An authorization code with what must accompany it (RFC 6749 §4.1.3, RFC 7636 §4.5).
#[derive(Debug)]
pub struct CodeGrant<'a> {
    /// The authorization code, unchanged.
    pub code: &'a AuthorizationCode,
    /// The redirect URI of the authorization request.
    pub redirect_uri: &'a str,
    /// The PKCE verifier, if the client brought one.
    pub code_verifier: Option<&'a CodeVerifier>,
}

/// The age at which an ID token is no longer accepted, whatever its `exp` says: it proves a recent sign-in.
pub const ID_TOKEN_MAX_AGE: Duration = Duration::from_hours(24);

/// Where tokens came from, which decides how far they are trusted before they are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenSource {
    /// The provider's own token endpoint, over TLS: nobody else can have made them.
    TokenEndpoint {
        /// Whether the request proved possession of a PKCE verifier (RFC 7636 §4.5).
        pkce: bool,
    },
    /// A client, which can post whatever it likes.
    Client,
}

/// The tokens that a provider gives for a code, not verified.
#[derive(Debug)]
pub struct ProviderTokens {
    /// Where the tokens came from.
    pub source: TokenSource,
    /// The ID token, if there is one.
    pub id_token: Option<IdTokenText>,
    /// The provider's access token, for its userinfo endpoint and for the back ends of apps.
    pub access_token: Option<ProviderAccessToken>,
    /// How long the access token is good, if the provider says so (RFC 6749 §5.1).
    pub expires_in: Option<Duration>,
    /// The scopes of the access token, as the provider wrote them; `None` if it did not.
    pub scope: Option<String>,
    /// The provider's refresh token, if there is one.
    pub refresh_token: Option<ProviderRefreshToken>,
}

/// A provider's access token with what the provider says about it (RFC 6749 §5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderAccess {
    /// The access token, which is shown as RFC 6750 says.
    pub token: ProviderAccessToken,
    /// How long the token is good, if the provider says so.
    pub expires_in: Option<Duration>,
    /// The scopes of the token, as the provider wrote them; `None` if it did not.
    pub scope: Option<String>,
}

impl ProviderTokens {
    /// Takes out the access token with what is said about it, if there is one.
    pub fn take_access(&mut self) -> Option<ProviderAccess> {
        let token = self.access_token.take()?;
        Some(ProviderAccess { token, expires_in: self.expires_in, scope: self.scope.take() })
    }
}

/// A provider's authorization endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationEndpoint {
    /// The URL of the endpoint (RFC 6749 §3.1); it may have a query.
    pub url: String,
    /// Whether every authorization response names its issuer (RFC 9207 §3).
    pub names_issuer: bool,
    /// The scopes that the provider announces (`scopes_supported`), if it announces any.
    pub scopes: Option<Vec<String>>,
}

/// A provider's answer to a renewal.
#[derive(Debug)]
pub struct Renewal {
    /// Why the answer confirms nothing, if it does not: its ID token is broken or cannot be verified
    /// (OIDC Core §12.2). Its refresh token is good for asking again all the same.
    pub doubt: Option<ProviderError>,
    /// The person's claims as they are now; `None` if the provider only said that the person may
    /// still sign in.
    pub claims: Option<ClaimSet>,
    /// The refresh token that takes the place of the one that was shown, if there is one.
    pub refresh_token: Option<ProviderRefreshToken>,
    /// The new ID token, if the provider sent one and it is verified.
    pub id_token: Option<IdTokenText>,
    /// The new access token, if the provider sent one and the answer is not in doubt.
    pub access: Option<ProviderAccess>,
}

/// A provider's word that sessions at it have ended, verified (OIDC Back-Channel Logout §2.6). At
/// least one of subject and session is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogoutOrder {
    /// The issuer of the token, character for character.
    pub issuer: String,
    /// The subject (`sub`) whose sessions at the provider have ended, if the token names one.
    pub subject: Option<String>,
    /// The session at the provider that has ended, if the token names one: the `sid` of its ID
    /// tokens, as it is stored ([`stored_sid`](crate::model::stored_sid)).
    pub session: Option<String>,
    /// The SHA-256 hash of issuer and `jti`, by which each order counts once.
    pub id: TokenHash,
    /// When the order expires by itself, so that the mark of its use can go.
    pub expires_at: Timestamp,
}

/// Why a call of a provider failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The provider refused the code: unknown, used, expired, or issued to another client.
    #[error("the provider refused the code")]
    CodeRefused(#[source] Cause),
    /// The ID token (or the userinfo answer) breaks a rule.
    #[error("the ID token is not acceptable")]
    IdTokenRefused(#[source] Cause),
    /// The provider refused the refresh token that it gave: the person may no longer sign in there,
    /// or has withdrawn consent.
    #[error("the provider refused its refresh token")]
    RefreshRefused(#[source] Cause),
    /// The logout token breaks a rule of OIDC Back-Channel Logout §2.6.
    #[error("the logout token is not acceptable")]
    LogoutTokenRefused(#[source] Cause),
    /// The provider answered, and the answer cannot be used.
    #[error("the provider's answer cannot be used")]
    Misbehaved(Misbehaviour, #[source] Cause),
    /// The provider cannot be reached; a code was certainly not sent.
    #[error("the provider cannot be reached")]
    Unreachable(#[source] Cause),
    /// As many calls of the provider are under way, and wait, as may; a code was certainly not sent.
    #[error("too many calls of the provider are under way")]
    Busy(#[source] Cause),
    /// The provider did not answer in time; whether it received the code is unknown.
    #[error("the provider did not answer in time")]
    TimedOut(#[source] Cause),
}

/// In which way a provider's answer cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misbehaviour {
    /// The provider itself is in trouble: a 5xx status, or a connection that broke before the answer
    /// was complete. Counts towards opening the circuit breaker.
    Outage,
    /// The provider failed at this request, as by status 500. It may be in trouble, or what a caller
    /// sent may be too odd for it, so this neither opens the circuit breaker nor closes it.
    FailedRequest,
    /// The provider refuses Mintgate as a client: wrong credentials, an unregistered redirect URI, a
    /// grant or scope it does not allow. An operator has to change the configuration.
    ClientRefused,
    /// The answer breaks the protocol or a bound: a redirect, a body over the limit, missing members.
    BadAnswer,
}

impl ProviderError {
    /// Whether the provider itself failed, rather than what it was asked: it cannot be reached, is
    /// too slow, or answers that it is in trouble. The circuit breaker counts these.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut(_) => true,
            Self::Misbehaved(misbehaviour, _) => *misbehaviour == Misbehaviour::Outage,
            Self::CodeRefused(_)
            | Self::IdTokenRefused(_)
            | Self::RefreshRefused(_)
            | Self::LogoutTokenRefused(_)
            | Self::Busy(_) => false,
        }
    }

    /// Whether the provider was certainly not asked, so that a code or a refresh token can be used again.
    pub fn was_not_asked(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Busy(_))
    }
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
    /// HTTP status; [`ProviderError::Unreachable`] and [`ProviderError::Busy`] that the code was not sent.
    async fn redeem(&self, grant: &CodeGrant<'_>) -> Result<ProviderTokens, ProviderError>;

    /// Verifies an ID token as OIDC Core §3.1.3.7 says, with the algorithms pinned for this provider.
    ///
    /// The token's nonce MUST equal `nonce`; a token with a nonce and a call without (or the
    /// reverse) MUST be refused, and so MUST a token that was issued longer than [`ID_TOKEN_MAX_AGE`]
    /// ago.
    ///
    /// # Errors
    /// [`ProviderError::IdTokenRefused`] for every token that is forged, broken, stale, or not for us.
    async fn verify(
        &self,
        tokens: &ProviderTokens,
        nonce: Option<&Nonce>,
    ) -> Result<VerifiedIdentity, ProviderError>;

    /// The address to which a browser is sent for a sign-in.
    ///
    /// # Errors
    /// If the provider has to be asked for that and does not answer properly.
    async fn authorization_endpoint(&self) -> Result<AuthorizationEndpoint, ProviderError>;

    /// Where a browser is sent to sign out (OIDC RP-Initiated Logout §2); it may have a query. `None` if the
    /// provider has no such address.
    ///
    /// # Errors
    /// If the provider has to be asked for that and does not answer properly.
    async fn end_session_endpoint(&self) -> Result<Option<String>, ProviderError> {
        Ok(None)
    }

    /// Asks again about somebody who has signed in, with the refresh token given then (RFC 6749 §6,
    /// OIDC Core §12).
    ///
    /// What is answered about anybody but `identity`, or for another client, MUST be refused. If the
    /// answer brings a new refresh token, that MUST NOT be lost for any other reason: the one that was
    /// sent may be used up.
    ///
    /// # Errors
    /// [`ProviderError::RefreshRefused`] MUST mean that the provider itself said no,
    /// [`ProviderError::IdTokenRefused`] that it answered about somebody else, or about somebody who
    /// may not sign in here any more: another tenant, another domain, too many groups. What may only
    /// be broken, or cannot be verified now, is [`ProviderError::Misbehaved`].
    async fn renew(
        &self,
        token: &ProviderRefreshToken,
        identity: &ExternalIdentity,
    ) -> Result<Renewal, ProviderError>;

    /// Verifies a logout token as OIDC Back-Channel Logout §2.6 says, with the algorithms pinned for
    /// this provider.
    ///
    /// # Errors
    /// [`ProviderError::LogoutTokenRefused`] for every token that is forged, broken, stale, not for
    /// us, or of another kind; and always, if the provider has no ID tokens.
    async fn verify_logout(&self, token: &LogoutTokenText) -> Result<LogoutOrder, ProviderError>;
}
