//! The use case: callers end their session, and learn where they sign out at its provider too.

use std::sync::Arc;

use url::Url;

use crate::model::{Actor, AuditKind, ProviderId, SessionId, SingleUse, Timestamp, UserId};
use crate::ports::{EndOutcome, ID_TOKEN_MAX_AGE, Misbehaviour, ProviderError, SealError};
use crate::sign_in::CLOCKS_DIFFER_BY;
use crate::{AuthError, Cause, IdTokenText, KeptTokens, OwnSessions, SessionProof, SignIn};

/// The use case of callers who sign out here and at their provider (OIDC RP-Initiated Logout).
pub struct SignOut {
    /// Ends the session here.
    pub own_sessions: Arc<OwnSessions>,
    /// The configured providers.
    pub sign_in: Arc<SignIn>,
    /// The providers' tokens that are kept; `None` if those of no provider are.
    pub kept: Option<KeptTokens>,
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
    /// The session's newest ID token, if it is kept and this call has ended the session. No sign-in can be
    /// made of it any more. An error says that it could not be decrypted, which prevents no sign-out.
    pub id_token: Result<Option<IdTokenText>, SealError>,
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
        let is_usable = found.as_ref().is_some_and(|found| found.require_usable().is_ok());
        let provider = found.map(|found| found.session.provider);
        if let Some(uri) = &request.redirect_uri {
            // Of a session that is gone nobody knows the provider: any may have been it.
            let mut providers = self.sign_in.providers().iter().map(|one| &one.policy);
            let is_allowed = providers.any(|policy| {
                provider.as_ref().is_none_or(|id| *id == policy.id)
                    && policy.logout.redirect_uris.contains(uri)
            });
            if !is_allowed {
                return Err(AuthError::RedirectUriNotAllowed(Cause::quoting(uri)));
            }
        }
        let mut id_token = match &provider {
            Some(provider) if is_usable => self.id_token(provider, session).await?,
            _ => Ok(None),
        };
        if self.own_sessions.end_one(session, user, AuditKind::Logout, Actor::User).await?
            != EndOutcome::Ended
        {
            id_token = Ok(None);
        }
        Ok(SignedOut { user, session, provider, id_token })
    }

    /// The ID token that is kept for a session, marked as used: it leaves this service in a URL, and
    /// whoever reads that must not be able to sign in with it ([`Credential::IdToken`](crate::Credential)).
    async fn id_token(
        &self,
        provider: &ProviderId,
        session: SessionId,
    ) -> Result<Result<Option<IdTokenText>, SealError>, AuthError> {
        let provider = self.sign_in.providers().find(provider.as_str());
        let is_kept = provider.is_some_and(|one| one.policy.logout.keeps_id_token);
        let Some(kept) = self.kept.as_ref().filter(|_| is_kept) else { return Ok(Ok(None)) };
        let Some(sealed) = kept.repo.load_upstream(session).await?.id else { return Ok(Ok(None)) };
        let token = match kept.open_id(session, &sealed) {
            Ok(token) => token,
            Err(error) => return Ok(Err(error)),
        };
        let now = Timestamp::from(self.own_sessions.clock.now());
        let expires_at = now + ID_TOKEN_MAX_AGE + CLOCKS_DIFFER_BY;
        let mark = SingleUse { hash: token.hash(), expires_at };
        self.own_sessions.sessions.marks.claim(&mark).await?;
        Ok(Ok(Some(token)))
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
        if let Ok(Some(token)) = &signed_out.id_token {
            query.append_pair("id_token_hint", token.expose());
        }
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
