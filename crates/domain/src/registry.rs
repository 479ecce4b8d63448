//! The configured providers, and what each demands of a request before anything is sent out.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{AllowedUri, LoginTransaction, ProviderId};
use crate::ports::{AuthorizationEndpoint, IdentityProvider, ProviderError};
use crate::sign_in::{Credential, SignInRequest};
use crate::{AuthError, Cause, FieldError, FieldRule, LoginParameter, excerpt};

/// Whether a request must bring something that protects a code or an ID token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// A request may lack it, and is refused by the provider or by the ID token's check if the
    /// authorization request used it.
    Auto,
    /// A request that lacks it is refused.
    Required,
}

/// What is required of the nonce of a sign-in (OIDC Core §3.1.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonceRule {
    /// The nonce of the request and that of the ID token must be equal, or both absent.
    Auto,
    /// A request without a nonce is refused.
    Required,
    /// The provider never returns a nonce: PKCE takes its place. A posted ID token needs one all the
    /// same, as nothing else binds it to its request.
    Off,
}

/// The sessions that a provider's logout token with a `sid` ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogoutScope {
    /// The sessions that were opened in that session at the provider.
    #[default]
    Session,
    /// All sessions of the subject, if the logout token also names the subject.
    Person,
}

/// A request for a refresh token by a scope that not every provider knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfflineScope {
    /// The scope that is asked for (OIDC Core §11).
    pub scope: String,
    /// Whether `prompt=consent` comes along, without which the standard has a provider ignore it.
    pub with_consent: bool,
}

/// How a login with a provider begins (RFC 6749 §4.1.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginRequest {
    /// The provider's name on login pages.
    pub display_name: String,
    /// The name of the provider's preset, by which a login page chooses its icon.
    pub preset: String,
    /// The client id that Mintgate has at the provider.
    pub client_id: String,
    /// The scopes of the authorization request.
    pub scopes: Vec<String>,
    /// Additional parameters of the authorization request, as names and values.
    pub parameters: Vec<(String, String)>,
    /// The parameters that a client may choose for one login, each with its name at this provider.
    pub client_parameters: Vec<(LoginParameter, String)>,
    /// A scope besides, which is left out where the provider announces its scopes without it.
    pub offline: Option<OfflineScope>,
    /// Whether it answers with an ID token, so that a nonce means something.
    pub has_id_tokens: bool,
}

impl LoginRequest {
    /// The scopes, and these additional parameters completed, of a request to a provider that announces
    /// these scopes, or none (`scopes_supported`, OIDC Discovery §3).
    pub fn completed(
        &self,
        mut parameters: Vec<(String, String)>,
        announced: Option<&[String]>,
    ) -> (Vec<String>, Vec<(String, String)>) {
        let mut scopes = self.scopes.clone();
        let is_known = |scope| announced.is_none_or(|announced| announced.contains(scope));
        if let Some(OfflineScope { scope, with_consent }) = &self.offline
            && is_known(scope)
            && !scopes.contains(scope)
        {
            scopes.push(scope.clone());
            if *with_consent {
                add_consent(&mut parameters);
            }
        }
        (scopes, parameters)
    }
}

/// Asks for consent, unless that is asked for already or nothing may be asked.
fn add_consent(parameters: &mut Vec<(String, String)>) {
    match parameters.iter_mut().find(|(name, _)| name == "prompt") {
        None => parameters.push(("prompt".to_owned(), "consent".to_owned())),
        Some((_, prompt)) => {
            if !prompt.split(' ').any(|word| word == "consent" || word == "none") {
                prompt.push_str(" consent");
            }
        }
    }
}

/// How users sign out at the provider too (OIDC RP-Initiated Logout §2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogoutRequest {
    /// The addresses that the provider may send the browser to afterwards, compared character for
    /// character.
    pub redirect_uris: Vec<String>,
    /// The name of the parameter that says which.
    pub redirect_parameter: String,
    /// Whether the newest ID token of a session is kept, and shown to the provider as `id_token_hint`, so
    /// that it knows whom it signs out without asking.
    pub keeps_id_token: bool,
}

/// When a provider is called again about a user who has signed in there (`recheck_secs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecheckRule {
    /// The longest time between two questions to the provider about one session.
    pub every: Duration,
    /// For how long one caller alone may ask: longer than the longest call takes, for a refresh token
    /// that is shown twice may count as stolen. Also how long it takes until a provider that could
    /// not be asked is asked again about this session.
    pub lease: Duration,
}

/// The rule by which the provider's access token of a session is kept and renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessRule {
    /// For how long one caller alone may ask the provider, as [`RecheckRule::lease`] says.
    pub lease: Duration,
}

/// The rules that a request must satisfy before its provider is asked.
#[derive(Debug, Clone)]
pub struct ProviderPolicy {
    /// The configured name of the provider.
    pub id: ProviderId,
    /// The issuer identifiers that its authorization responses may name (RFC 9207 §2.4): its own, and
    /// those of its tenants.
    pub issuers: Vec<String>,
    /// The allowed redirect URIs.
    pub redirect_uris: Vec<AllowedUri>,
    /// Whether a code needs a PKCE verifier (RFC 7636).
    pub pkce: Requirement,
    /// Whether a sign-in needs the nonce of the authentication request (OIDC Core §3.1.2.1).
    pub nonce: NonceRule,
    /// The authorization request of logins that begin here.
    pub login: LoginRequest,
    /// The sessions that a logout token of the provider with a `sid` ends.
    pub logout_scope: LogoutScope,
    /// The request of a browser that signs out at the provider too.
    pub logout: LogoutRequest,
    /// The rule by which refreshes ask the provider again; `None` if they never do.
    pub recheck: Option<RecheckRule>,
    /// The rule by which the provider's access token of a session is kept for the back ends of apps; `None`
    /// if it is not.
    pub access: Option<AccessRule>,
}

impl ProviderPolicy {
    /// Admits a sign-in, and says which redirect URI its code belongs to
    /// (empty for an ID token posted without one).
    ///
    /// # Errors
    /// The refusal; nothing may be sent out then.
    pub(crate) fn admit<'a>(
        &'a self,
        request: &'a SignInRequest,
        login: Option<&'a LoginTransaction>,
    ) -> Result<&'a str, AuthError> {
        let (redirect_uri, needs_pkce) = self.redirect_uri(request, login)?;
        match (&request.issuer, login) {
            (Some(issuer), _) if !self.issuers.contains(issuer) => {
                let text = format!("iss is {:?}, not this provider's issuer", excerpt(issuer));
                return Err(AuthError::InvalidState(text.into()));
            }
            (None, Some(login)) if login.names_issuer => {
                let text = "iss is missing, which this provider sends along";
                return Err(AuthError::InvalidState(text.into()));
            }
            _ => {}
        }
        let mut missing = Vec::new();
        if (needs_pkce || self.pkce == Requirement::Required)
            && matches!(request.credential, Credential::Code(_))
            && request.code_verifier.is_none()
            && login.is_none()
        {
            missing.push(FieldError::new("codeVerifier", FieldRule::RequiredByProvider));
        }
        let needs_nonce = match self.nonce {
            NonceRule::Auto => false,
            NonceRule::Required => true,
            NonceRule::Off => matches!(request.credential, Credential::IdToken(_)),
        };
        if needs_nonce && request.nonce.is_none() && login.is_none() {
            missing.push(FieldError::new("nonce", FieldRule::RequiredByProvider));
        }
        if missing.is_empty() { Ok(redirect_uri) } else { Err(AuthError::InvalidRequest(missing)) }
    }

    /// The redirect URI that a code belongs to, and whether the code needs PKCE for it.
    fn redirect_uri<'a>(
        &'a self,
        request: &'a SignInRequest,
        login: Option<&'a LoginTransaction>,
    ) -> Result<(&'a str, bool), AuthError> {
        if let (Some(callback), Some(login)) = (&request.callback, login) {
            // The configuration may have changed since the login was begun.
            if *callback != login.redirect_uri {
                return Err(AuthError::InvalidState(
                    "the login was begun for another callback".into(),
                ));
            }
            return Ok((callback, false));
        }
        let posted = request.redirect_uri.as_deref();
        if let (Some(posted), Some(login)) = (posted, login)
            && posted != login.redirect_uri
        {
            self.allowing(posted)?;
            let text = "redirectUri is not the one the login was begun with";
            return Err(AuthError::InvalidState(text.into()));
        }
        // The configuration may have changed since the login was begun.
        if let Some(uri) = posted.or(login.map(|login| &*login.redirect_uri)) {
            return Ok((uri, self.allowing(uri)?.has_free_label()));
        }
        match (self.only_redirect_uri(), &request.credential) {
            (Some(only), _) => Ok((only, false)),
            (None, Credential::IdToken(_)) => Ok(("", false)),
            (None, Credential::Code(_) | Credential::Declined(_)) => Err(several_redirect_uris()),
        }
    }

    /// The configured redirect URI that allows this one; one without a free label, if there is one.
    ///
    /// # Errors
    /// [`AuthError::RedirectUriNotAllowed`] if there is none.
    pub(crate) fn allowing(&self, uri: &str) -> Result<&AllowedUri, AuthError> {
        let allowing = self.redirect_uris.iter().filter(|allowed| allowed.allows(uri));
        allowing
            .min_by_key(|allowed| allowed.has_free_label())
            .ok_or_else(|| AuthError::RedirectUriNotAllowed(Cause::quoting(uri)))
    }

    /// The redirect URI of requests that name none: the only one that is configured.
    pub(crate) fn only_redirect_uri(&self) -> Option<&str> {
        match self.redirect_uris.as_slice() {
            [only] if !only.has_free_label() => Some(only.as_str()),
            _ => None,
        }
    }
}

/// The refusal of a request without a redirect URI for a provider that has several.
pub(crate) fn several_redirect_uris() -> AuthError {
    let error = FieldError::new("redirectUri", FieldRule::RequiredAmongSeveral);
    AuthError::InvalidRequest(vec![error])
}

/// A provider with its policy and the adapter that talks to it.
#[derive(Clone)]
pub struct RegisteredProvider {
    /// The rules that a request must satisfy before the provider is asked.
    pub policy: ProviderPolicy,
    /// The adapter that talks to the provider.
    pub adapter: Arc<dyn IdentityProvider>,
}

impl RegisteredProvider {
    /// Asks the provider where its logins begin. The future borrows nothing, so that it can go on
    /// when its caller no longer waits.
    ///
    /// # Errors
    /// As [`IdentityProvider::authorization_endpoint`].
    pub fn authorization_endpoint(
        &self,
    ) -> impl Future<Output = Result<AuthorizationEndpoint, ProviderError>> + Send + use<> {
        let adapter = Arc::clone(&self.adapter);
        async move { adapter.authorization_endpoint().await }
    }
}

/// All configured providers.
#[derive(Clone, Default)]
pub struct ProviderRegistry {
    by_id: HashMap<ProviderId, RegisteredProvider>,
    order: Vec<ProviderId>,
}

impl ProviderRegistry {
    /// The provider with exactly this configured name; `None` if there is none.
    pub fn find(&self, id: &str) -> Option<&RegisteredProvider> {
        self.by_id.get(id)
    }

    /// The providers that `other` has not, or has with another adapter.
    pub fn not_in<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a ProviderId> {
        let is_same = |provider: &&RegisteredProvider| {
            let same = other.by_id.get(&provider.policy.id);
            same.is_some_and(|same| Arc::ptr_eq(&same.adapter, &provider.adapter))
        };
        self.iter().filter(move |it| !is_same(it)).map(|it| &it.policy.id)
    }

    /// The provider that a request names.
    ///
    /// # Errors
    /// [`AuthError::UnknownProvider`] if none has exactly this configured name.
    pub(crate) fn named(&self, id: &str) -> Result<&RegisteredProvider, AuthError> {
        self.find(id).ok_or_else(|| AuthError::UnknownProvider(Cause::quoting(id)))
    }

    /// Every provider, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &RegisteredProvider> {
        self.order.iter().filter_map(|id| self.by_id.get(id))
    }
}

impl FromIterator<RegisteredProvider> for ProviderRegistry {
    fn from_iter<I: IntoIterator<Item = RegisteredProvider>>(providers: I) -> Self {
        let mut registry = Self::default();
        for provider in providers {
            registry.order.push(provider.policy.id.clone());
            registry.by_id.insert(provider.policy.id.clone(), provider);
        }
        registry
    }
}
