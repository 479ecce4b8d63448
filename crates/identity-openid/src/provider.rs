//! OpenID Connect providers: the order of the checks, from discovery to verified claims.

use std::sync::Arc;

use async_trait::async_trait;
use mintgate_domain::model::{ClaimSet, ClaimValue, ExternalIdentity, VerifiedIdentity};
use mintgate_domain::ports::{
    AuthorizationEndpoint, Clock, CodeGrant, Entropy, IdentityProvider, LogoutOrder, Metrics,
    Misbehaviour, ProviderError, ProviderTokens, Renewal,
};
use mintgate_domain::{Cause, IdTokenText, LogoutTokenText, Nonce, ProviderRefreshToken};

use crate::claims;
use crate::client_auth::Authenticator;
use crate::config::{Checked, OpenIdConfig, OpenIdConfigError};
use crate::dialect::Dialect;
use crate::exchange::Wanted;
use crate::json::Members;
use crate::keys::Unproven;
use crate::logout;
use crate::metadata::{Endpoints, MetadataCache, Snapshot};
use crate::provider_client::ProviderClient;
use crate::quirks::entra;
use crate::renewal::{self, Renew};
use crate::token::{Kind, UnverifiedToken};
use crate::userinfo;

/// An OpenID Connect provider.
///
/// [`IdentityProvider::verify`] identifies a token by the hash of its signed part, not of its whole
/// text, so that an altered but still valid signature does not make it another token.
pub struct OpenIdProvider {
    checked: Arc<Checked>,
    client: ProviderClient,
    metadata: Arc<MetadataCache>,
}

impl OpenIdProvider {
    /// Sets a provider up without connecting, so that a provider that is down does not prevent a start.
    ///
    /// # Errors
    /// If the configuration cannot work; see [`OpenIdConfigError`].
    pub fn new(
        config: OpenIdConfig,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        metrics: Arc<dyn Metrics>,
    ) -> Result<Self, OpenIdConfigError> {
        Self::with_dialect(config, Dialect::default(), clock, entropy, metrics)
    }

    /// Sets a provider up that differs from the standard as its dialect says.
    ///
    /// # Errors
    /// If the configuration cannot work; see [`OpenIdConfigError`].
    pub fn with_dialect(
        config: OpenIdConfig,
        dialect: Dialect,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        metrics: Arc<dyn Metrics>,
    ) -> Result<Self, OpenIdConfigError> {
        let checked = Arc::new(Checked::new(config, dialect)?);
        let Checked { config, dialect, policy, .. } = &*checked;
        let authenticator = Authenticator {
            authentication: dialect.client_authentication.clone(),
            client_id: config.client_id.clone(),
            client_secret: config.client_secret.clone(),
            issuer: config.issuer.clone(),
            entropy,
        };
        let client = ProviderClient::new(
            config.id.clone(),
            (config.network, *policy),
            authenticator,
            dialect.token_parameters.clone(),
            Arc::clone(&clock),
            Arc::clone(&metrics),
        );
        let client = client.map_err(|error| OpenIdConfigError::HttpClient(error.to_string()))?;
        let http = Arc::clone(&client.http);
        let metadata = Arc::new(MetadataCache::new(Arc::clone(&checked), http, clock, metrics));
        Ok(Self { checked, client, metadata })
    }

    async fn endpoint(&self) -> Result<AuthorizationEndpoint, ProviderError> {
        let snapshot = self.metadata.current().await?;
        let Endpoints { authorization, names_issuer, .. } = &*snapshot.endpoints;
        let checked = self.client.http.check_url(authorization);
        checked.map_err(|error| error.at_endpoint_named("authorization endpoint"))?;
        let url = authorization.to_string();
        Ok(AuthorizationEndpoint { url, names_issuer: *names_issuer })
    }

    async fn redeem_unbounded(
        &self,
        grant: &CodeGrant<'_>,
    ) -> Result<ProviderTokens, ProviderError> {
        let snapshot = self.metadata.current().await?;
        self.client.exchange(&snapshot.endpoints.token, Wanted::IdToken)?.redeem(grant).await
    }

    async fn verify_unbounded(
        &self,
        tokens: &ProviderTokens,
        expected: Expected<'_>,
    ) -> Result<VerifiedIdentity, ProviderError> {
        let Checked { config, dialect, .. } = &*self.checked;
        let refused = ProviderError::IdTokenRefused;
        // A posted token may be forged. A token that the provider itself sent for a refresh token is only
        // broken, or signed with a key that cannot be fetched now; that must not end a session.
        let broken: fn(Cause) -> ProviderError = match expected {
            Expected::SignIn(_) => refused,
            Expected::Refresh(_) => bad_answer,
        };
        let text = tokens.id_token.as_ref().map_or("", IdTokenText::expose);
        // Checks that need no request come first, so that nothing is fetched for an invalid token.
        let token = UnverifiedToken::parse(text, &config.id_token_algorithms, Kind::IdToken)
            .map_err(broken)?;
        let now = self.client.now();
        let issuer = entra::expected_issuer(&dialect.issuer, &config.issuer, &token.claims)
            .map_err(refused)?;
        let checked =
            claims::check(&token.claims, &issuer, &config.client_id, now).map_err(broken)?;
        claims::check_required(&token.claims, &dialect.required_claims).map_err(refused)?;
        let identity = ExternalIdentity { issuer, subject: checked.subject };
        match expected {
            Expected::SignIn(nonce) => claims::check_nonce(&token.claims, nonce),
            Expected::Refresh(known) if *known != identity => Err(renewal::OTHER_PERSON.into()),
            Expected::Refresh(_) => Ok(()),
        }
        .map_err(refused)?;

        let snapshot = self.prove(&token, &identity.issuer, broken).await?;
        let id_token = Some((token.hash(), checked.expires_at));
        let claims = self.complete(&snapshot, tokens, token.claims).await?;
        Ok(VerifiedIdentity {
            identity,
            claims: ClaimSet::new(claims),
            auth_time: checked.auth_time,
            acr: checked.acr,
            amr: checked.amr,
            id_token,
        })
    }

    /// Adds the claims that need the access token.
    async fn complete(
        &self,
        snapshot: &Snapshot,
        tokens: &ProviderTokens,
        claims: Members,
    ) -> Result<Members, ProviderError> {
        let Checked { config, dialect, .. } = &*self.checked;
        let endpoint = snapshot.endpoints.userinfo.as_ref().filter(|_| config.userinfo);
        let access_token = tokens.access_token.as_ref();
        let claims = match (endpoint, access_token) {
            (Some(endpoint), Some(access_token)) => {
                userinfo::add_claims(&self.client.http, endpoint, access_token, claims).await?
            }
            _ => claims,
        };
        entra::complete_groups(&dialect.group_overage, &self.client.http, access_token, claims)
            .await
    }

    /// Verifies the signature, with newer keys if no known key fits, and that its key may sign for the
    /// issuer.
    async fn prove(
        &self,
        token: &UnverifiedToken<'_>,
        issuer: &str,
        refused: fn(Cause) -> ProviderError,
    ) -> Result<Arc<Snapshot>, ProviderError> {
        let mut snapshot = self.metadata.current().await?;
        let mut proof = snapshot.keys.verify(token);
        if let Err(Unproven::UnknownKey) = proof
            && let Some(newer) = self.metadata.newer_keys(&snapshot).await
        {
            proof = newer.keys.verify(token);
            snapshot = newer;
        }
        proof.map_err(|unproven| match unproven {
            Unproven::UnknownKey => {
                refused("no key of this provider fits its key id and algorithm".into())
            }
            Unproven::Refused(reason) => refused(reason),
        })?;
        let rule = &self.checked.dialect.issuer;
        snapshot.keys.issuers.check(rule, token.kid.as_deref(), issuer).map_err(refused)?;
        Ok(snapshot)
    }

    async fn verify_logout_unbounded(
        &self,
        token: &LogoutTokenText,
    ) -> Result<LogoutOrder, ProviderError> {
        let Checked { config, dialect, .. } = &*self.checked;
        let refused = ProviderError::LogoutTokenRefused;
        // As for ID tokens, checks that need no request come first. The required claims of ID tokens
        // (Google's `hd`, Cognito's `token_use`) are not in logout tokens.
        let algorithms = &config.id_token_algorithms;
        let token = UnverifiedToken::parse(token.expose(), algorithms, Kind::LogoutToken)
            .map_err(refused)?;
        let now = self.client.now();
        let issuer = entra::expected_issuer(&dialect.issuer, &config.issuer, &token.claims)
            .map_err(refused)?;
        let order =
            logout::check(&token.claims, &issuer, &config.client_id, now).map_err(refused)?;
        self.prove(&token, &issuer, refused).await?;
        Ok(order)
    }
}

/// The sign-in or refresh that an ID token must belong to.
#[derive(Clone, Copy)]
enum Expected<'a> {
    /// A sign-in, whose request had this nonce or none.
    SignIn(Option<&'a Nonce>),
    /// A refresh for this identity. The token should have no nonce, or that of the sign-in (OIDC Core
    /// §12.2), which is not stored, so the nonce is not checked.
    Refresh(&'a ExternalIdentity),
}

#[async_trait]
impl Renew for OpenIdProvider {
    fn client(&self) -> &ProviderClient {
        &self.client
    }

    async fn refresh(
        &self,
        token: &ProviderRefreshToken,
        identity: &ExternalIdentity,
    ) -> Result<ProviderTokens, ProviderError> {
        let Checked { config, dialect, .. } = &*self.checked;
        if !entra::is_issuer(&dialect.issuer, &config.issuer, &identity.issuer) {
            return Err(renewal::foreign_identity());
        }
        let snapshot = self.metadata.current().await?;
        self.client.exchange(&snapshot.endpoints.token, Wanted::IdTokenIfAny)?.renew(token).await
    }

    async fn renewed_claims(
        &self,
        tokens: &ProviderTokens,
        identity: &ExternalIdentity,
    ) -> Result<Option<ClaimSet>, ProviderError> {
        if tokens.id_token.is_some() {
            let verified = self.verify_unbounded(tokens, Expected::Refresh(identity)).await?;
            return Ok(Some(verified.claims));
        }
        if !self.checked.config.userinfo || tokens.access_token.is_none() {
            return Ok(None);
        }
        let snapshot = self.metadata.current().await?;
        if snapshot.endpoints.userinfo.is_none() {
            return Ok(None);
        }
        // Userinfo must be about this subject, as it must be about the subject of an ID token.
        let known = ClaimValue::Text(identity.subject.clone());
        let claims = Members::from([("sub".to_owned(), known)]);
        self.complete(&snapshot, tokens, claims).await.map(|claims| Some(ClaimSet::new(claims)))
    }
}

#[async_trait]
impl IdentityProvider for OpenIdProvider {
    async fn redeem(&self, grant: &CodeGrant<'_>) -> Result<ProviderTokens, ProviderError> {
        self.client.within_timeout(self.redeem_unbounded(grant)).await
    }

    async fn verify(
        &self,
        tokens: &ProviderTokens,
        nonce: Option<&Nonce>,
    ) -> Result<VerifiedIdentity, ProviderError> {
        self.client.within_timeout(self.verify_unbounded(tokens, Expected::SignIn(nonce))).await
    }

    async fn authorization_endpoint(&self) -> Result<AuthorizationEndpoint, ProviderError> {
        self.client.within_timeout(self.endpoint()).await
    }

    async fn renew(
        &self,
        token: &ProviderRefreshToken,
        identity: &ExternalIdentity,
    ) -> Result<Renewal, ProviderError> {
        self.renew_within_timeout(token, identity).await
    }

    async fn verify_logout(&self, token: &LogoutTokenText) -> Result<LogoutOrder, ProviderError> {
        self.client.within_timeout(self.verify_logout_unbounded(token)).await
    }
}

fn bad_answer(cause: Cause) -> ProviderError {
    ProviderError::Misbehaved(Misbehaviour::BadAnswer, cause)
}
