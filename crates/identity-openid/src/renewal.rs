//! The result of a refresh at a provider (RFC 6749 §6, OIDC Core §12).

use async_trait::async_trait;
use mintgate_domain::model::{ClaimSet, ExternalIdentity, ProviderId};
use mintgate_domain::ports::{ProviderError, ProviderTokens, Renewal};
use mintgate_domain::{ProviderRefreshToken, chain};

use crate::deadline::Deadline;
use crate::provider_client::ProviderClient;

/// Why a response about another user is refused.
pub(crate) const OTHER_PERSON: &str = "it is about another person than before";

/// The error for an identity of another issuer, whose refresh token must not be sent to this provider.
pub(crate) fn foreign_identity() -> ProviderError {
    ProviderError::IdTokenRefused("the identity has another issuer".into())
}

/// A provider whose refresh tokens renew claims.
#[async_trait]
pub(crate) trait Renew: Sync {
    /// The client that bounds the whole renewal.
    fn client(&self) -> &ProviderClient;

    /// Sends the refresh token, once.
    async fn refresh(
        &self,
        token: &ProviderRefreshToken,
        identity: &ExternalIdentity,
    ) -> Result<ProviderTokens, ProviderError>;

    /// The claims that come with a refresh or that the new access token gives; `None` if there are none.
    async fn renewed_claims(
        &self,
        tokens: &ProviderTokens,
        identity: &ExternalIdentity,
    ) -> Result<Option<ClaimSet>, Unrenewed>;

    /// Implements [`IdentityProvider::renew`](mintgate_domain::ports::IdentityProvider::renew).
    async fn renew_within_timeout(
        &self,
        token: &ProviderRefreshToken,
        identity: &ExternalIdentity,
    ) -> Result<Renewal, ProviderError> {
        let client = self.client();
        let mut deadline = Deadline::after(client.network.timeout);
        let tokens = deadline.bound(self.refresh(token, identity)).await?;
        let claims = async { Ok(self.renewed_claims(&tokens, identity).await) };
        let claims = deadline.bound(claims).await;
        let claims = claims.unwrap_or_else(|timed_out| Err(Unrenewed::Unproven(timed_out)));
        settle(&client.id, claims, tokens)
    }
}

/// Why a refresh brought no claims.
pub(crate) enum Unrenewed {
    /// The ID token of the answer is not verified, or not in time: the answer confirms nothing.
    Unproven(ProviderError),
    /// The provider has accepted the refresh token, but its claims could not be had.
    NoClaims(ProviderError),
}

/// The renewed claims, with the refresh token that replaces the one that was sent.
///
/// Many providers accept a refresh token once. If the provider issued a new one, an error would lose it,
/// and the next refresh would end the session; so it is kept, whatever else is wrong with the answer. An
/// answer about another person is refused all the same.
fn settle(
    provider: &ProviderId,
    claims: Result<Option<ClaimSet>, Unrenewed>,
    mut tokens: ProviderTokens,
) -> Result<Renewal, ProviderError> {
    use ProviderError::{Misbehaved, TimedOut, Unreachable};
    let access = tokens.take_access();
    let ProviderTokens { refresh_token, id_token, .. } = tokens;
    let (error, is_doubtful) = match claims {
        Ok(claims) => return Ok(Renewal { doubt: None, claims, refresh_token, id_token, access }),
        Err(Unrenewed::Unproven(error)) => (error, true),
        Err(Unrenewed::NoClaims(error)) => (error, false),
    };
    match error {
        Misbehaved(..) | TimedOut(_) | Unreachable(_) if refresh_token.is_some() => {
            if !is_doubtful {
                let error = chain(&error);
                tracing::warn!(%provider, %error, "refreshed at the provider, but without claims");
            }
            Ok(Renewal {
                doubt: is_doubtful.then_some(error),
                claims: None,
                refresh_token,
                id_token: id_token.filter(|_| !is_doubtful),
                access: access.filter(|_| !is_doubtful),
            })
        }
        error => Err(error),
    }
}
