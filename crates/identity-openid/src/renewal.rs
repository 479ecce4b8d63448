//! The result of a refresh at a provider (RFC 6749 §6, OIDC Core §12).

use mintgate_domain::model::{ClaimSet, ProviderId};
use mintgate_domain::ports::{ProviderError, Renewal};
use mintgate_domain::{ProviderRefreshToken, chain};

/// Why an answer about another person is refused.
pub(crate) const OTHER_PERSON: &str = "it is about another person than before";

/// The error for an identity of another issuer, whose refresh token must not be sent to this provider.
pub(crate) fn foreign_identity() -> ProviderError {
    ProviderError::IdTokenRefused("the identity has another issuer".into())
}

/// The renewed claims, with the refresh token that replaces the one that was sent.
///
/// Many providers accept a refresh token once. If the provider issued a new refresh token and its claims
/// then failed to arrive, the failure is only logged: an error would lose the new token, and the next
/// refresh would end the session. An answer about another person is refused all the same.
pub(crate) fn settle(
    provider: &ProviderId,
    claims: Result<Option<ClaimSet>, ProviderError>,
    refresh_token: Option<ProviderRefreshToken>,
) -> Result<Renewal, ProviderError> {
    use ProviderError::{Misbehaved, TimedOut, Unreachable};
    match claims {
        Err(error @ (Misbehaved(..) | TimedOut(_) | Unreachable(_))) if refresh_token.is_some() => {
            let error = chain(&error);
            tracing::warn!(%provider, %error, "refreshed at the provider, but without claims");
            Ok(Renewal { claims: None, refresh_token })
        }
        claims => Ok(Renewal { claims: claims?, refresh_token }),
    }
}
