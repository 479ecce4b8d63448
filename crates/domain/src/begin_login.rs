//! The use case: a login begins, with everything that protects it made here.

use std::sync::Arc;

use url::Url;

use crate::login_parameters::combine;
use crate::model::{LoginPurpose, LoginTransaction, ReturnTo, Timestamp};
use crate::ports::{AuthorizationEndpoint, Clock, Entropy, Misbehaviour, ProviderError};
use crate::registry::several_redirect_uris;
use crate::{AuthError, Cause, LoginParameter, ProviderPolicy, RegisteredProvider, SignIn};

/// The use case that begins a login: it makes the authorization request that a browser takes to the
/// provider.
pub struct BeginLogin {
    /// The configured providers, and the proof of sign-ins at them.
    pub sign_in: Arc<SignIn>,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// The source of each login's secret, 32 random bytes.
    pub entropy: Arc<dyn Entropy>,
}

/// A login that has begun: where the browser goes, and what it keeps.
#[derive(Debug)]
pub struct BegunLogin {
    /// The URL of the authorization request, where the browser goes (OIDC Core §3.1.2.1).
    pub authorization_url: String,
    /// The login that the browser keeps in a cookie until it comes back with the response.
    pub transaction: LoginTransaction,
}

impl BeginLogin {
    /// Every configured provider, in the order of the configuration.
    pub fn providers(&self) -> impl Iterator<Item = &RegisteredProvider> {
        self.sign_in.providers().iter()
    }

    /// Makes an authorization request (OIDC Core §3.1.2.1) with state, nonce and PKCE, and with the
    /// parameters that are `asked` for this one login.
    ///
    /// # Errors
    /// [`AuthError::UnknownProvider`], [`AuthError::RedirectUriNotAllowed`], a redirect URI that has to
    /// be given and is not, a parameter that this provider's configuration does not allow, or that the
    /// provider does not say where its logins begin.
    pub async fn begin(
        &self,
        provider: &str,
        redirect_uri: Option<&str>,
        asked: &[(LoginParameter, String)],
    ) -> Result<BegunLogin, AuthError> {
        let provider = self.sign_in.providers().named(provider)?;
        let policy = &provider.policy;
        let redirect_uri = match redirect_uri {
            Some(uri) => policy.allowing(uri).map(|_| uri)?,
            None => policy.only_redirect_uri().ok_or_else(several_redirect_uris)?,
        };
        self.begin_at(provider, redirect_uri, None, asked).await
    }

    /// Makes an authorization request whose response comes to our own `callback`, from where the browser
    /// goes on to a page. The callback is none of the provider's configured redirect URIs. `asked` are the
    /// parameters for this one login.
    ///
    /// # Errors
    /// As [`begin`](Self::begin), but for the redirect URI.
    pub async fn begin_at_callback(
        &self,
        provider: &str,
        callback: &str,
        return_to: &ReturnTo,
        purpose: LoginPurpose,
        asked: &[(LoginParameter, String)],
    ) -> Result<BegunLogin, AuthError> {
        let provider = self.sign_in.providers().named(provider)?;
        self.begin_at(provider, callback, Some((return_to, purpose)), asked).await
    }

    async fn begin_at(
        &self,
        provider: &RegisteredProvider,
        redirect_uri: &str,
        end: Option<(&ReturnTo, LoginPurpose)>,
        asked: &[(LoginParameter, String)],
    ) -> Result<BegunLogin, AuthError> {
        let policy = &provider.policy;
        let (parameters, requirements) = combine(&policy.login, asked)?;
        let endpoint = provider.adapter.authorization_endpoint().await;
        let endpoint = endpoint.map_err(AuthError::Provider)?;
        let begun = LoginTransaction::begin(
            self.entropy.bytes(),
            policy.id.clone(),
            redirect_uri.to_owned(),
            endpoint.names_issuer,
            Timestamp::from(self.clock.now()) + self.sign_in.login_ttl(),
            requirements,
        );
        let transaction = match end {
            None => begun,
            Some((page, purpose)) => begun.returning_to(page).with_purpose(purpose),
        };
        let authorization_url = authorization_url(&endpoint, policy, parameters, &transaction)?;
        Ok(BegunLogin { authorization_url, transaction })
    }
}

fn authorization_url(
    endpoint: &AuthorizationEndpoint,
    policy: &ProviderPolicy,
    parameters: Vec<(String, String)>,
    transaction: &LoginTransaction,
) -> Result<String, AuthError> {
    let unusable = |error: url::ParseError| {
        let cause = Cause::from_error("its authorization endpoint is not a URL", error);
        AuthError::Provider(ProviderError::Misbehaved(Misbehaviour::BadAnswer, cause))
    };
    let mut url = Url::parse(&endpoint.url).map_err(unusable)?;
    let login = &policy.login;
    let (scopes, parameters) = login.completed(parameters, endpoint.scopes.as_deref());
    let mut query = url.query_pairs_mut();
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", &login.client_id)
        .append_pair("redirect_uri", &transaction.redirect_uri)
        .append_pair("scope", &scopes.join(" "))
        .append_pair("state", &transaction.state());
    if login.has_id_tokens {
        query.append_pair("nonce", transaction.nonce().expose());
    }
    query
        .append_pair("code_challenge", &transaction.code_challenge())
        .append_pair("code_challenge_method", "S256");
    for (name, value) in parameters {
        query.append_pair(&name, &value);
    }
    drop(query);
    Ok(url.into())
}
