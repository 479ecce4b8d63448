//! The use case: callers end their session, and learn where they sign out at its provider too.

use std::sync::Arc;

use url::Url;

use crate::model::{ProviderId, SessionId, UserId};
use crate::ports::{Misbehaviour, ProviderError};
use crate::{AuthError, Cause, OwnSessions, SessionProof, SignIn};

/// The use case of callers who sign out here and at their provider (OIDC RP-Initiated Logout).
pub struct SignOut {
    /// Ends the session here.
    pub own_sessions: Arc<OwnSessions>,
    /// The configured providers.
    pub sign_in: Arc<SignIn>,
}

/// What a caller asks for who wants to sign out at the provider too.
#[derive(Debug, Clone, Default)]
pub struct SignOutRequest {
    /// Where the provider sends the browser afterwards; `None` leaves it on a page of the provider's.
    pub redirect_uri: Option<String>,
    /// A text that the browser brings there.
    pub state: Option<String>,
}

/// A session that has ended here.
#[derive(Debug)]
pub struct SignedOut {
    /// The user whose session it was.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// The provider of the session, if it is known.
    pub provider: Option<ProviderId>,
}

impl SignOut {
    /// Ends the session a token belongs to, as [`OwnSessions::log_out`] does, if `request` may be made of
    /// the session's provider.
    ///
    /// # Errors
    /// As [`OwnSessions::log_out`], and [`AuthError::RedirectUriNotAllowed`]; nothing has ended then.
    pub async fn end(
        &self,
        proof: &SessionProof,
        request: &SignOutRequest,
    ) -> Result<SignedOut, AuthError> {
        let (user, session) = self.own_sessions.owner(proof).await?;
        let found = self.own_sessions.sessions.find(session).await?;
        let found = found.filter(|found| found.session.user == user);
        let provider = found.map(|found| found.session.provider);
        if let Some(uri) = &request.redirect_uri {
            // Of a session that is gone nobody knows the provider: any may have been it.
            let mut providers = self.sign_in.providers().iter().map(|one| &one.policy);
            let is_allowed = providers.any(|policy| {
                provider.as_ref().is_none_or(|id| *id == policy.id)
                    && policy.logout.redirect_uris.contains(uri)
            });
            if !is_allowed {
                return Err(AuthError::RedirectUriNotAllowed);
            }
        }
        self.own_sessions.end_one(session, user).await?;
        Ok(SignedOut { user, session, provider })
    }

    /// Where the browser goes to sign out at the provider; `None` if that is not known, or the provider has
    /// no such address.
    ///
    /// # Errors
    /// That the provider could not be asked. The session has ended here all the same.
    pub async fn logout_url(
        &self,
        signed_out: &SignedOut,
        request: &SignOutRequest,
    ) -> Result<Option<String>, AuthError> {
        let id = signed_out.provider.as_ref();
        let provider = id.and_then(|id| self.sign_in.providers().find(id.as_str()));
        let Some(provider) = provider else { return Ok(None) };
        let Some(endpoint) = provider.adapter.end_session_endpoint().await? else {
            return Ok(None);
        };
        let mut url = Url::parse(&endpoint).map_err(|error| {
            let cause = Cause::from_error("its end-session endpoint is not a URL", error);
            AuthError::Provider(ProviderError::Misbehaved(Misbehaviour::BadAnswer, cause))
        })?;
        let policy = &provider.policy;
        let mut query = url.query_pairs_mut();
        query.append_pair("client_id", &policy.login.client_id);
        if let Some(uri) = &request.redirect_uri {
            query.append_pair(&policy.logout.redirect_parameter, uri);
            if let Some(state) = &request.state {
                query.append_pair("state", state);
            }
        }
        drop(query);
        Ok(Some(url.into()))
    }
}
