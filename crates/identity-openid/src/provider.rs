//! OpenID Connect providers: the order of the checks, from discovery to verified claims.

use std::sync::Arc;

use async_trait::async_trait;
use mintgate_domain::model::{ClaimSet, ClaimValue, ExternalIdentity, VerifiedIdentity};
use mintgate_domain::ports::{
    AuthorizationEndpoint, Clock, CodeGrant, Entropy, IdentityProvider, LogoutOrder, Metrics,
    Misbehaviour, ProviderError, ProviderTokens, Renewal, TokenSource,
};
use mintgate_domain::{
    Cause, IdTokenText, LogoutTokenText, Nonce, ProviderRefreshToken, TokenHash,
};

use crate::claims::{self, CheckedClaims, Recipient};
use crate::client_auth::Authenticator;
use crate::config::{Checked, OpenIdConfig, OpenIdConfigError};
use crate::dialect::Dialect;
use crate::email;
use crate::exchange::Wanted;
use crate::json::Members;
use crate::keys::Unproven;
use crate::logout;
use crate::metadata::{MetadataCache, Snapshot};
use crate::provider_client::ProviderClient;
use crate::quirks::entra;
use crate::renewal::{self, Renew, Unrenewed};
use crate::token::{Kind, UnverifiedToken};
use crate::userinfo;

/// An OpenID Connect provider.
///
/// [`IdentityProvider::verify`] identifies a token by the hash of its signed part, not of its whole
/// text, so that an altered but still valid signature does not make it another token.
pub struct OpenIdProvider {
    pub(crate) checked: Arc<Checked>,
    pub(crate) client: ProviderClient,
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
            (config.network.clone(), policy.clone()),
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
        let endpoint = self.checked.policy.public(snapshot.endpoints.authorization()?);
        let checked = self.client.http.check_url(&endpoint);
        checked.map_err(|error| error.at_endpoint_named("authorization endpoint"))?;
        let names_issuer = snapshot.endpoints.names_issuer;
        let scopes = snapshot.endpoints.scopes.clone();
        Ok(AuthorizationEndpoint { url: endpoint.to_string(), names_issuer, scopes })
    }

    async fn end_session(&self) -> Result<Option<String>, ProviderError> {
        let snapshot = self.metadata.current().await?;
        let Some(endpoint) = &snapshot.endpoints.end_session else { return Ok(None) };
        let checked = self.client.http.check_url(endpoint);
        checked.map_err(|error| error.at_endpoint_named("end-session endpoint"))?;
        Ok(Some(endpoint.to_string()))
    }

    async fn redeem_unbounded(
        &self,
        grant: &CodeGrant<'_>,
    ) -> Result<ProviderTokens, ProviderError> {
        let snapshot = self.metadata.current().await?;
        let wanted = Wanted::IdToken { and_access_token: snapshot.endpoints.userinfo.is_some() };
        self.client.exchange(snapshot.endpoints.token()?, wanted)?.redeem(grant).await
    }

    async fn verify_unbounded(
        &self,
        tokens: &ProviderTokens,
        nonce: Option<&Nonce>,
    ) -> Result<VerifiedIdentity, ProviderError> {
        let Verified { snapshot, issuer, claims, checked, hash } =
            self.verify_id_token(tokens, Expected::SignIn(nonce)).await?;
        let id_token = Some((hash, checked.expires_at));
        let refused = ProviderError::IdTokenRefused;
        let claims = self.complete(&snapshot, &issuer, tokens, claims, refused).await?;
        Ok(VerifiedIdentity {
            identity: ExternalIdentity { issuer, subject: checked.subject },
            claims: ClaimSet::new(claims),
            auth_time: checked.auth_time,
            acr: checked.acr,
            amr: checked.amr,
            id_token,
        })
    }

    async fn verify_id_token(
        &self,
        tokens: &ProviderTokens,
        expected: Expected<'_>,
    ) -> Result<Verified, ProviderError> {
        let Checked { config, dialect, .. } = &*self.checked;
        let refused = ProviderError::IdTokenRefused;
        // A posted token may be forged. A token that the provider itself sent for a refresh token is only
        // broken, or signed with a key that cannot be fetched now; that must not end a session.
        let broken: fn(Cause) -> ProviderError = match expected {
            Expected::SignIn(_) => refused,
            Expected::Refresh(_) => bad_answer,
        };
        let absent = IdTokenText::new("");
        let id_token = tokens.id_token.as_ref().unwrap_or(&absent);
        let text = id_token.expose();
        // Checks that need no request come first, so that nothing is fetched for an invalid token.
        let token = UnverifiedToken::parse(text, &config.id_token_algorithms, Kind::IdToken)
            .map_err(broken)?;
        let now = self.client.now();
        let issuer = entra::expected_issuer(&dialect.issuer, &config.issuer, &token.claims)
            .map_err(refused)?;
        claims::check_addressee(&token.claims, &issuer, Recipient::of(&self.checked))
            .map_err(refused)?;
        let checked = claims::check(&token.claims, now).map_err(broken)?;
        claims::check_required(&token.claims, &dialect.required_claims).map_err(refused)?;
        match expected {
            Expected::SignIn(nonce) => {
                let by_pkce = tokens.source == TokenSource::TokenEndpoint { pkce: true };
                let max_age = dialect.max_age;
                claims::check_nonce(&token.claims, nonce, dialect.lacks_nonce && by_pkce).and_then(
                    |()| max_age.map_or(Ok(()), |age| claims::check_age(&checked, age, now)),
                )
            }
            Expected::Refresh(known)
                if known.issuer != issuer || known.subject != checked.subject =>
            {
                Err(renewal::OTHER_PERSON.into())
            }
            Expected::Refresh(_) => Ok(()),
        }
        .map_err(refused)?;
        let snapshot = self.prove(&token, &issuer, tokens.source, broken).await?;
        let hash = id_token.hash();
        Ok(Verified { snapshot, issuer, claims: token.claims, checked, hash })
    }

    /// Adds the claims that need the access token, and puts what the provider says about email addresses
    /// into the words of the standard.
    async fn complete(
        &self,
        snapshot: &Snapshot,
        issuer: &str,
        tokens: &ProviderTokens,
        mut claims: Members,
        broken: fn(Cause) -> ProviderError,
    ) -> Result<Members, ProviderError> {
        let dialect = &self.checked.dialect;
        email::vouch(&mut claims, dialect.email);
        let access_token = tokens.access_token.as_ref();
        if let (Some(endpoint), Some(access_token)) = (&snapshot.endpoints.userinfo, access_token) {
            let mut userinfo =
                match userinfo::ask(&self.client.http, endpoint, access_token).await? {
                    userinfo::Answer::Plain(userinfo) => userinfo,
                    userinfo::Answer::Signed(jwt) => {
                        Box::pin(self.verify_userinfo(&jwt, issuer, tokens.source, broken)).await?
                    }
                };
            email::vouch(&mut userinfo, dialect.email);
            claims = userinfo::add_claims(claims, userinfo)?;
        }
        entra::complete_groups(&dialect.group_overage, &self.client.http, access_token, claims)
            .await
    }

    async fn verify_userinfo(
        &self,
        jwt: &str,
        issuer: &str,
        source: TokenSource,
        broken: fn(Cause) -> ProviderError,
    ) -> Result<Members, ProviderError> {
        let broken = |cause: Cause| broken(Cause::from_error("signed userinfo", cause));
        let algorithms = &self.checked.config.id_token_algorithms;
        let token = UnverifiedToken::parse(jwt, algorithms, Kind::Userinfo).map_err(&broken)?;
        let (recipient, now) = (Recipient::of(&self.checked), self.client.now());
        claims::check_userinfo(&token.claims, issuer, recipient, now).map_err(&broken)?;
        self.prove(&token, issuer, source, broken).await?;
        Ok(token.claims)
    }

    /// Verifies the signature, with newer keys if no known key has made it, and that its key may sign
    /// for the issuer.
    async fn prove(
        &self,
        token: &UnverifiedToken<'_>,
        issuer: &str,
        source: TokenSource,
        refused: impl Fn(Cause) -> ProviderError,
    ) -> Result<Arc<Snapshot>, ProviderError> {
        let rule = &self.checked.dialect.issuer;
        let mut snapshot = self.metadata.current().await?;
        let mut proof = snapshot.keys.verify(token, rule, issuer);
        if let Err(Unproven::UnknownKey | Unproven::BadSignature(_)) = proof
            && let Some(newer) = self.metadata.newer_keys(&snapshot, source).await
        {
            proof = newer.keys.verify(token, rule, issuer);
            snapshot = newer;
        }
        match proof {
            Ok(()) => Ok(snapshot),
            Err(Unproven::UnknownKey) => {
                Err(refused("no key of this provider fits its key id and algorithm".into()))
            }
            Err(Unproven::BadSignature(cause) | Unproven::Refused(cause)) => Err(refused(cause)),
        }
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
        let recipient = Recipient::of(&self.checked);
        let order = logout::check(&token.claims, &issuer, recipient, now).map_err(refused)?;
        self.prove(&token, &issuer, TokenSource::Client, refused).await?;
        Ok(order)
    }
}

/// An ID token that has passed every check.
struct Verified {
    snapshot: Arc<Snapshot>,
    issuer: String,
    claims: Members,
    checked: CheckedClaims,
    hash: TokenHash,
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
        self.client.exchange(snapshot.endpoints.token()?, Wanted::IdTokenIfAny)?.renew(token).await
    }

    async fn renewed_claims(
        &self,
        tokens: &ProviderTokens,
        identity: &ExternalIdentity,
    ) -> Result<Option<ClaimSet>, Unrenewed> {
        let (snapshot, claims) = if tokens.id_token.is_some() {
            let verified = self.verify_id_token(tokens, Expected::Refresh(identity)).await;
            let verified = verified.map_err(Unrenewed::Unproven)?;
            (verified.snapshot, verified.claims)
        } else {
            let snapshot = self.metadata.current().await.map_err(Unrenewed::NoClaims)?;
            if tokens.access_token.is_none() || snapshot.endpoints.userinfo.is_none() {
                return Ok(None);
            }
            // Userinfo must be about this subject, as it must be about the subject of an ID token.
            let known = ClaimValue::Text(identity.subject.clone());
            (snapshot, Members::from([("sub".to_owned(), known)]))
        };
        let claims = self.complete(&snapshot, &identity.issuer, tokens, claims, bad_answer).await;
        claims.map(|claims| Some(ClaimSet::new(claims))).map_err(Unrenewed::NoClaims)
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
        self.client.within_timeout(self.verify_unbounded(tokens, nonce)).await
    }

    async fn authorization_endpoint(&self) -> Result<AuthorizationEndpoint, ProviderError> {
        self.client.within_timeout(self.endpoint()).await
    }

    async fn end_session_endpoint(&self) -> Result<Option<String>, ProviderError> {
        self.client.within_timeout(self.end_session()).await
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
