//! What becomes of a refresh at a provider (RFC 6749 §6, OIDC Core §12).

use mintgate_domain::ProviderRefreshToken;
use mintgate_domain::model::{ClaimSet, ProviderId};
use mintgate_domain::ports::{ProviderError, Renewal};

pub(crate) const SOMEBODY_ELSE: &str = "it is about somebody else than before";

/// That an identity is not one of this provider's: its refresh token is nobody's business here.
pub(crate) fn foreign() -> ProviderError {
    ProviderError::IdTokenRefused("the identity asked about is another issuer's".into())
}

/// What was learnt, with the refresh token that takes the place of the one that was shown.
///
/// Many providers take a refresh token once. If such a one has given a new token and could then not
/// say more, the new token is worth more than the rest: without it the person would be signed out the
/// next time. So that counts as the word that they may still sign in. What was said about somebody
/// else, or is no proper ID token, is refused all the same.
pub(crate) fn settle(
    provider: &ProviderId,
    claims: Result<Option<ClaimSet>, ProviderError>,
    refresh_token: Option<ProviderRefreshToken>,
) -> Result<Renewal, ProviderError> {
    use ProviderError::{Misbehaved, TimedOut, Unreachable};
    match claims {
        Err(error @ (Misbehaved(..) | TimedOut(_) | Unreachable(_))) if refresh_token.is_some() => {
            tracing::warn!(%provider, error = %mintgate_domain::chain(&error), "renewed, but the claims could not be had");
            Ok(Renewal { claims: None, refresh_token })
        }
        claims => Ok(Renewal { claims: claims?, refresh_token }),
    }
}
