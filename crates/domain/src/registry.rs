//! The configured providers, and what each demands of a request before anything is sent out.

use std::collections::HashMap;
use std::sync::Arc;

use crate::issue_tokens::{Credential, TokenRequest};
use crate::model::ProviderId;
use crate::ports::IdentityProvider;
use crate::{AuthError, FieldError};

/// Whether a request must bring something that protects a code or an ID token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// Enforced where the authorization request used it.
    Auto,
    /// A request without it is refused.
    Required,
}

/// What is checked here, before a provider is asked.
#[derive(Debug, Clone)]
pub struct ProviderPolicy {
    /// The configured name.
    pub id: ProviderId,
    /// The issuer identifier.
    pub issuer: String,
    /// The allowed redirect URIs, compared character for character (RFC 9700 §2.1).
    pub redirect_uris: Vec<String>,
    /// PKCE (RFC 7636).
    pub pkce: Requirement,
    /// The nonce of the authentication request.
    pub nonce: Requirement,
}

impl ProviderPolicy {
    /// Admits a request, and says which redirect URI its code belongs to
    /// (empty for an ID token posted without one).
    ///
    /// # Errors
    /// The refusal; nothing may be sent out then.
    pub(crate) fn admit<'a>(&'a self, request: &'a TokenRequest) -> Result<&'a str, AuthError> {
        let redirect_uri = match (&request.redirect_uri, self.redirect_uris.as_slice()) {
            (Some(uri), allowed) if allowed.contains(uri) => uri.as_str(),
            (Some(_), _) => return Err(AuthError::RedirectUriNotAllowed),
            (None, [only]) => only.as_str(),
            (None, _) => match request.credential {
                Credential::IdToken(_) => "",
                Credential::Code(_) => {
                    return Err(AuthError::InvalidRequest(vec![FieldError::new(
                        "redirectUri",
                        "is required: this provider has several redirect URIs",
                    )]));
                }
            },
        };
        if let Some(issuer) = &request.issuer
            && *issuer != self.issuer
        {
            return Err(AuthError::InvalidState("iss is not this provider's issuer".to_owned()));
        }
        let mut missing = Vec::new();
        if self.pkce == Requirement::Required
            && matches!(request.credential, Credential::Code(_))
            && request.code_verifier.is_none()
        {
            missing.push(FieldError::new("codeVerifier", "is required for this provider"));
        }
        if self.nonce == Requirement::Required && request.nonce.is_none() {
            missing.push(FieldError::new("nonce", "is required for this provider"));
        }
        if missing.is_empty() { Ok(redirect_uri) } else { Err(AuthError::InvalidRequest(missing)) }
    }
}

/// A provider with its policy and the adapter that talks to it.
#[derive(Clone)]
pub struct RegisteredProvider {
    /// What is checked here.
    pub policy: ProviderPolicy,
    /// Who is asked.
    pub adapter: Arc<dyn IdentityProvider>,
}

/// All configured providers.
#[derive(Clone, Default)]
pub struct ProviderRegistry(HashMap<ProviderId, RegisteredProvider>);

impl ProviderRegistry {
    /// The provider of exactly this name.
    pub fn find(&self, id: &str) -> Option<&RegisteredProvider> {
        self.0.get(id)
    }
}

impl FromIterator<RegisteredProvider> for ProviderRegistry {
    fn from_iter<I: IntoIterator<Item = RegisteredProvider>>(providers: I) -> Self {
        Self(providers.into_iter().map(|p| (p.policy.id.clone(), p)).collect())
    }
}
