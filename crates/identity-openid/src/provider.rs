//! The adapter: a provider behind the port.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{ClaimSet, ExternalIdentity, Timestamp, VerifiedIdentity};
use mintgate_domain::ports::{
    Clock, CodeGrant, IdentityProvider, Metrics, ProviderError, ProviderTokens,
};
use mintgate_domain::{IdTokenText, Nonce, TokenHash};
use openidconnect::core::{CoreIdToken, CoreIdTokenVerifier};
use openidconnect::{ClaimsVerificationError, SignatureVerificationError};
use url::Url;

use crate::claims;
use crate::client_auth::Authenticator;
use crate::config::{Checked, OpenIdConfig, OpenIdConfigError};
use crate::dialect::Dialect;
use crate::exchange::{Exchange, Wanted};
use crate::http::BoundedClient;
use crate::metadata::{MetadataCache, Snapshot};
use crate::quirks::entra;
use crate::text::excerpt;
use crate::token::UnverifiedToken;
use crate::userinfo;

/// An OpenID Connect provider.
///
/// [`IdentityProvider::verify`] names a token by the hash of what is signed, not of its whole text,
/// so that an altered but still valid signature does not make it another token.
pub struct OpenIdProvider {
    checked: Arc<Checked>,
    http: Arc<BoundedClient>,
    metadata: Arc<MetadataCache>,
    clock: Arc<dyn Clock>,
}

impl OpenIdProvider {
    /// Sets a provider up. Connects to nobody: a provider that is down now is asked when it is
    /// needed.
    ///
    /// # Errors
    /// If the configuration cannot work; see [`OpenIdConfigError`].
    pub fn new(
        config: OpenIdConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<dyn Metrics>,
    ) -> Result<Self, OpenIdConfigError> {
        Self::with_dialect(config, Dialect::default(), clock, metrics)
    }

    /// Sets a provider up that does some things in its own way.
    ///
    /// # Errors
    /// If the configuration cannot work; see [`OpenIdConfigError`].
    pub fn with_dialect(
        config: OpenIdConfig,
        dialect: Dialect,
        clock: Arc<dyn Clock>,
        metrics: Arc<dyn Metrics>,
    ) -> Result<Self, OpenIdConfigError> {
        let checked = Arc::new(Checked::new(config, dialect)?);
        let OpenIdConfig { id, connect_timeout, timeout, .. } = &checked.config;
        let http = BoundedClient::new(
            id.clone(),
            checked.policy,
            *connect_timeout,
            *timeout,
            Arc::clone(&clock),
            Arc::clone(&metrics),
        );
        let http = http.map_err(|error| OpenIdConfigError::HttpClient(error.to_string()))?;
        let http = Arc::new(http);
        let metadata = Arc::new(MetadataCache::new(
            Arc::clone(&checked),
            Arc::clone(&http),
            Arc::clone(&clock),
            metrics,
        ));
        Ok(Self { checked, http, metadata, clock })
    }

    /// Where people are sent to sign in (OIDC Core §3.1.2), as the discovery document says.
    ///
    /// # Errors
    /// If the document cannot be had, or names a place no provider can be at.
    pub async fn authorization_endpoint(&self) -> Result<Url, ProviderError> {
        let snapshot = self.within_timeout(self.metadata.current()).await?;
        let endpoint = &snapshot.endpoints.authorization;
        let checked = self.http.check_url(endpoint);
        checked.map_err(|error| error.at_place("authorization endpoint"))?;
        Ok(endpoint.clone())
    }

    async fn redeem_unbounded(
        &self,
        grant: &CodeGrant<'_>,
    ) -> Result<ProviderTokens, ProviderError> {
        let snapshot = self.metadata.current().await?;
        let Checked { config, dialect, .. } = &*self.checked;
        let authenticator = Authenticator {
            authentication: &dialect.client_authentication,
            client_id: &config.client_id,
            client_secret: config.client_secret.as_ref(),
            issuer: &config.issuer,
            clock: &*self.clock,
        };
        let authenticated = authenticator.prepare(&snapshot.endpoints.token)?;
        let exchange = Exchange {
            provider: &config.id,
            wanted: Wanted::IdToken,
            authenticated,
            parameters: &dialect.token_parameters,
        };
        exchange.redeem(&self.http, grant).await
    }

    async fn verify_unbounded(
        &self,
        tokens: &ProviderTokens,
        nonce: Option<&Nonce>,
    ) -> Result<VerifiedIdentity, ProviderError> {
        let Checked { config, dialect, .. } = &*self.checked;
        let refused = ProviderError::IdTokenRefused;
        let text = tokens.id_token.as_ref().map_or("", IdTokenText::expose);
        // All that can be told without the provider comes first: nothing is fetched for garbage.
        let token = UnverifiedToken::parse(text, &config.id_token_algorithms).map_err(refused)?;
        let now = Timestamp::from(self.clock.now());
        let issuer = entra::expected_issuer(&dialect.issuer, &config.issuer, &token.claims)
            .map_err(refused)?;
        let checked =
            claims::check(&token.claims, &issuer, &config.client_id, now).map_err(refused)?;
        claims::check_required(&token.claims, &dialect.required_claims).map_err(refused)?;

        let snapshot = self.prove(&token, nonce).await?;
        let signed_for = snapshot.key_issuers.check(&dialect.issuer, token.kid.as_deref(), &issuer);
        signed_for.map_err(refused)?;

        let id_token = Some((token.hash(), checked.expires_at));
        let endpoint = snapshot.endpoints.userinfo.as_ref().filter(|_| config.userinfo);
        let claims = match (endpoint, &tokens.access_token) {
            (Some(endpoint), Some(access_token)) => {
                userinfo::add_claims(&self.http, endpoint, access_token, token.claims).await?
            }
            _ => token.claims,
        };
        let access_token = tokens.access_token.as_ref();
        let overage = &dialect.group_overage;
        let claims = entra::complete_groups(overage, &self.http, access_token, claims).await?;
        Ok(VerifiedIdentity {
            identity: ExternalIdentity { issuer, subject: checked.subject },
            claims: ClaimSet::new(claims),
            auth_time: checked.auth_time,
            acr: checked.acr,
            amr: checked.amr,
            id_token,
        })
    }

    /// Verifies the signature and what openidconnect checks besides, with newer keys if need be.
    async fn prove(
        &self,
        token: &UnverifiedToken<'_>,
        nonce: Option<&Nonce>,
    ) -> Result<Arc<Snapshot>, ProviderError> {
        let mut snapshot = self.metadata.current().await?;
        let mut proof = verify(token, &snapshot.verifier, nonce);
        if let Err(Unproven::UnknownKey) = proof
            && let Some(newer) = self.metadata.newer_keys(&snapshot).await
        {
            proof = verify(token, &newer.verifier, nonce);
            snapshot = newer;
        }
        match proof {
            Ok(()) => Ok(snapshot),
            Err(Unproven::UnknownKey) => Err(ProviderError::IdTokenRefused(
                "no key of this provider fits its key id and algorithm".to_owned(),
            )),
            Err(Unproven::Refused(reason)) => Err(ProviderError::IdTokenRefused(reason)),
        }
    }

    /// Bounds a call as a whole: one that has to load the metadata first makes three requests.
    async fn within_timeout<T>(
        &self,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        within(self.checked.config.timeout, call).await
    }
}

/// Gives up on a call after so long.
pub(crate) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, ProviderError> {
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
        Err(ProviderError::TimedOut(format!("nothing for {} ms", limit.as_millis())))
    })
}

#[async_trait]
impl IdentityProvider for OpenIdProvider {
    async fn redeem(&self, grant: &CodeGrant<'_>) -> Result<ProviderTokens, ProviderError> {
        self.within_timeout(self.redeem_unbounded(grant)).await
    }

    async fn verify(
        &self,
        tokens: &ProviderTokens,
        nonce: Option<&Nonce>,
    ) -> Result<VerifiedIdentity, ProviderError> {
        self.within_timeout(self.verify_unbounded(tokens, nonce)).await
    }
}

enum Unproven {
    /// None of the keys is the one; newer ones might be.
    UnknownKey,
    Refused(String),
}

fn verify(
    token: &UnverifiedToken<'_>,
    verifier: &CoreIdTokenVerifier<'static>,
    nonce: Option<&Nonce>,
) -> Result<(), Unproven> {
    use ClaimsVerificationError::SignatureVerification;
    let refused = |reason: String| Unproven::Refused(excerpt(&reason));
    let id_token = CoreIdToken::from_str(token.text).map_err(|error| refused(error.to_string()))?;
    let same_nonce = |claimed: Option<&openidconnect::Nonce>| check_nonce(claimed, nonce);
    match id_token.claims(verifier, same_nonce) {
        Ok(_) => Ok(()),
        Err(SignatureVerification(SignatureVerificationError::NoMatchingKey)) => {
            Err(Unproven::UnknownKey)
        }
        Err(SignatureVerification(error)) => Err(refused(format!("its signature: {error}"))),
        Err(error) => Err(refused(error.to_string())),
    }
}

/// Both or none, and then the same. Hashes are compared, so that time tells nothing.
fn check_nonce(
    claimed: Option<&openidconnect::Nonce>,
    expected: Option<&Nonce>,
) -> Result<(), String> {
    let claimed = claimed.map(|nonce| TokenHash::of(nonce.secret()));
    let expected = expected.map(|nonce| TokenHash::of(nonce.expose()));
    if claimed == expected { Ok(()) } else { Err("not that of the request".to_owned()) }
}
