//! The adapter: a provider behind the port.

use std::sync::Arc;

use async_trait::async_trait;
use mintgate_domain::model::{ClaimSet, ClaimValue, ExternalIdentity, Timestamp, VerifiedIdentity};
use mintgate_domain::ports::{
    AuthorizationEndpoint, Clock, CodeGrant, Entropy, IdentityProvider, LogoutOrder, Metrics,
    Misbehaviour, ProviderError, ProviderTokens, Renewal,
};
use mintgate_domain::{Cause, IdTokenText, LogoutTokenText, Nonce, ProviderRefreshToken};

use crate::claims;
use crate::client_auth::Authenticator;
use crate::config::{Checked, OpenIdConfig, OpenIdConfigError};
use crate::deadline::{Deadline, within};
use crate::dialect::Dialect;
use crate::exchange::{Exchange, Wanted};
use crate::http::BoundedClient;
use crate::json::Members;
use crate::keys::Unproven;
use crate::logout;
use crate::metadata::{Endpoints, MetadataCache, Snapshot};
use crate::quirks::entra;
use crate::renewal::{self, settle};
use crate::token::{Kind, UnverifiedToken};
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
    entropy: Arc<dyn Entropy>,
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
        entropy: Arc<dyn Entropy>,
        metrics: Arc<dyn Metrics>,
    ) -> Result<Self, OpenIdConfigError> {
        Self::with_dialect(config, Dialect::default(), clock, entropy, metrics)
    }

    /// Sets a provider up that does some things in its own way.
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
        let OpenIdConfig { id, network, .. } = &checked.config;
        let http = BoundedClient::new(
            id.clone(),
            checked.policy,
            network.connect_timeout,
            network.timeout,
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
        Ok(Self { checked, http, metadata, clock, entropy })
    }

    async fn endpoint(&self) -> Result<AuthorizationEndpoint, ProviderError> {
        let snapshot = self.metadata.current().await?;
        let Endpoints { authorization, names_issuer, .. } = &*snapshot.endpoints;
        let checked = self.http.check_url(authorization);
        checked.map_err(|error| error.at_endpoint_named("authorization endpoint"))?;
        let url = authorization.to_string();
        Ok(AuthorizationEndpoint { url, names_issuer: *names_issuer })
    }

    /// A request to the token endpoint, as this provider wants it.
    fn exchange(
        &self,
        endpoints: &Endpoints,
        wanted: Wanted,
    ) -> Result<Exchange<'_>, ProviderError> {
        let Checked { config, dialect, .. } = &*self.checked;
        let authenticator = Authenticator {
            authentication: &dialect.client_authentication,
            client_id: &config.client_id,
            client_secret: config.client_secret.as_ref(),
            issuer: &config.issuer,
            clock: &*self.clock,
            entropy: &self.entropy,
        };
        Ok(Exchange {
            provider: &config.id,
            wanted,
            authenticated: authenticator.prepare(&endpoints.token)?,
            parameters: &dialect.token_parameters,
        })
    }

    async fn redeem_unbounded(
        &self,
        grant: &CodeGrant<'_>,
    ) -> Result<ProviderTokens, ProviderError> {
        let snapshot = self.metadata.current().await?;
        self.exchange(&snapshot.endpoints, Wanted::IdToken)?.redeem(&self.http, grant).await
    }

    async fn verify_unbounded(
        &self,
        tokens: &ProviderTokens,
        awaited: Awaited<'_>,
    ) -> Result<VerifiedIdentity, ProviderError> {
        let Checked { config, dialect, .. } = &*self.checked;
        let refused = ProviderError::IdTokenRefused;
        // A token that came unasked is as likely forged as broken; one that came for a refresh token,
        // from the provider itself, is only broken, or signed with a key that cannot be had now.
        let broken: fn(Cause) -> ProviderError = match awaited {
            Awaited::SignIn(_) => refused,
            Awaited::Again(_) => bad_answer,
        };
        let text = tokens.id_token.as_ref().map_or("", IdTokenText::expose);
        // All that can be told without the provider comes first: nothing is fetched for garbage.
        let token = UnverifiedToken::parse(text, &config.id_token_algorithms, Kind::IdToken)
            .map_err(broken)?;
        let now = Timestamp::from(self.clock.now());
        let issuer = entra::expected_issuer(&dialect.issuer, &config.issuer, &token.claims)
            .map_err(refused)?;
        let checked =
            claims::check(&token.claims, &issuer, &config.client_id, now).map_err(broken)?;
        claims::check_required(&token.claims, &dialect.required_claims).map_err(refused)?;
        let identity = ExternalIdentity { issuer, subject: checked.subject };
        match awaited {
            Awaited::SignIn(nonce) => claims::check_nonce(&token.claims, nonce),
            Awaited::Again(known) if *known != identity => Err(renewal::OTHER_PERSON.into()),
            Awaited::Again(_) => Ok(()),
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

    /// Adds what is asked for with the access token.
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
                userinfo::add_claims(&self.http, endpoint, access_token, claims).await?
            }
            _ => claims,
        };
        entra::complete_groups(&dialect.group_overage, &self.http, access_token, claims).await
    }

    /// Verifies the signature, with newer keys if need be, and that its key signs for this issuer.
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
        self.exchange(&snapshot.endpoints, Wanted::IdTokenIfAny)?.renew(&self.http, token).await
    }

    /// What came with a refresh says of somebody, if it says anything.
    async fn claims_again(
        &self,
        tokens: &ProviderTokens,
        identity: &ExternalIdentity,
    ) -> Result<Option<ClaimSet>, ProviderError> {
        if tokens.id_token.is_some() {
            let verified = self.verify_unbounded(tokens, Awaited::Again(identity)).await?;
            return Ok(Some(verified.claims));
        }
        if !self.checked.config.userinfo || tokens.access_token.is_none() {
            return Ok(None);
        }
        let snapshot = self.metadata.current().await?;
        if snapshot.endpoints.userinfo.is_none() {
            return Ok(None);
        }
        // Userinfo must be about this subject, as it must be about that of an ID token.
        let known = ClaimValue::Text(identity.subject.clone());
        let claims = Members::from([("sub".to_owned(), known)]);
        self.complete(&snapshot, tokens, claims).await.map(|claims| Some(ClaimSet::new(claims)))
    }

    async fn verify_logout_unbounded(
        &self,
        token: &LogoutTokenText,
    ) -> Result<LogoutOrder, ProviderError> {
        let Checked { config, dialect, .. } = &*self.checked;
        let refused = ProviderError::LogoutTokenRefused;
        // As with ID tokens: nothing is fetched for garbage. What an ID token must claim besides
        // (Google's `hd`, Cognito's `token_use`), a logout token has not.
        let algorithms = &config.id_token_algorithms;
        let token = UnverifiedToken::parse(token.expose(), algorithms, Kind::LogoutToken)
            .map_err(refused)?;
        let now = Timestamp::from(self.clock.now());
        let issuer = entra::expected_issuer(&dialect.issuer, &config.issuer, &token.claims)
            .map_err(refused)?;
        let order =
            logout::check(&token.claims, &issuer, &config.client_id, now).map_err(refused)?;
        self.prove(&token, &issuer, refused).await?;
        Ok(order)
    }

    /// Bounds a call as a whole: one that has to load the metadata first makes three requests.
    async fn within_timeout<T>(
        &self,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        within(self.checked.config.network.timeout, call).await
    }
}

/// What is known of an ID token before it is read.
#[derive(Clone, Copy)]
enum Awaited<'a> {
    /// It proves a sign-in, whose request had this nonce or none.
    SignIn(Option<&'a Nonce>),
    /// It is about somebody who has signed in before. It should have no nonce then, or else that of
    /// the sign-in (OIDC Core §12.2), which nobody has kept.
    Again(&'a ExternalIdentity),
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
        self.within_timeout(self.verify_unbounded(tokens, Awaited::SignIn(nonce))).await
    }

    async fn authorization_endpoint(&self) -> Result<AuthorizationEndpoint, ProviderError> {
        self.within_timeout(self.endpoint()).await
    }

    async fn renew(
        &self,
        token: &ProviderRefreshToken,
        identity: &ExternalIdentity,
    ) -> Result<Renewal, ProviderError> {
        let config = &self.checked.config;
        let mut deadline = Deadline::after(config.network.timeout);
        let tokens = deadline.bound(self.refresh(token, identity)).await?;
        let claims = deadline.bound(self.claims_again(&tokens, identity)).await;
        settle(&config.id, claims, tokens.refresh_token)
    }

    async fn verify_logout(&self, token: &LogoutTokenText) -> Result<LogoutOrder, ProviderError> {
        self.within_timeout(self.verify_logout_unbounded(token)).await
    }
}

fn bad_answer(cause: Cause) -> ProviderError {
    ProviderError::Misbehaved(Misbehaviour::BadAnswer, cause)
}
