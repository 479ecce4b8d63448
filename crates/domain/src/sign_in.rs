//! A sign-in, from what the client brings to what the provider vouches for.

use std::sync::Arc;
use std::time::Duration;

use crate::memory::Bounded;
use crate::model::{
    LoginPurpose, LoginTransaction, ProviderId, SingleUse, Timestamp, VerifiedIdentity,
};
use crate::ports::{
    Clock, CodeGrant, Metrics, Misbehaviour, Phase, ProviderAccess, ProviderError, ProviderTokens,
    RecheckResult, TokenSource,
};
use crate::{
    AuthError, AuthorizationCode, Cause, CodeVerifier, FieldError, FieldRule, IdTokenText, Nonce,
    ProviderRefreshToken, ProviderRegistry, RegisteredProvider, TokenHash,
};

/// Longer than any code lives: RFC 6749 §4.1.2 recommends ten minutes at most.
const CODES_KEPT_FOR: Duration = Duration::from_mins(15);

/// How far the clocks of two replicas may differ, of which one begins a login and one finishes it.
pub(crate) const CLOCKS_DIFFER_BY: Duration = Duration::from_mins(10);

/// The client's proof of a sign-in, which it has from the provider.
#[derive(Debug)]
pub enum Credential {
    /// An authorization code, which Mintgate exchanges (RFC 6749 §4.1).
    Code(AuthorizationCode),
    /// An ID token that the client obtained from the provider itself.
    IdToken(IdTokenText),
    /// None: the provider's error in its place (RFC 6749 §4.1.2.1), such as `access_denied`.
    Declined(String),
}

/// A client's request to accept a sign-in, its syntax checked.
#[derive(Debug)]
pub struct SignInRequest {
    /// The provider's configured name, as the client sent it. May be left out for a login that was
    /// begun here.
    pub provider: Option<String>,
    /// The proof of the sign-in.
    pub credential: Credential,
    /// The redirect URI of the authorization request.
    pub redirect_uri: Option<String>,
    /// The PKCE verifier (RFC 7636), if the client has one.
    pub code_verifier: Option<CodeVerifier>,
    /// The nonce of the authentication request, if it had one (OIDC Core §3.1.2.1).
    pub nonce: Option<Nonce>,
    /// The `state` of the authorization response, if the client passes it on (RFC 6749 §4.1.2).
    pub state: Option<String>,
    /// The `iss` of the authorization response (RFC 9207).
    pub issuer: Option<String>,
    /// The logins that the browser has begun here, as its cookies say.
    pub logins: Vec<LoginTransaction>,
    /// The address of our own callback, if the provider's response came there. It finishes the logins that
    /// were begun for it, and no other request does.
    pub callback: Option<String>,
    /// What the sign-in is for. It finishes no login that was begun for something else.
    pub purpose: LoginPurpose,
}

/// Proves sign-ins: admits a request by its provider's policy, exchanges the code, and has the ID
/// token verified.
pub struct SignIn {
    providers: ProviderRegistry,
    login_ttl: Duration,
    clock: Arc<dyn Clock>,
    metrics: Arc<dyn Metrics>,
    /// Authorization codes that this process has taken to their provider. Replicas do not share it:
    /// between them the provider's own single use decides (RFC 6749 §4.1.2).
    used_codes: Bounded<TokenHash, ()>,
}

/// A request that may be taken to its provider.
pub(crate) struct Admitted<'a> {
    pub(crate) provider: &'a RegisteredProvider,
    request: &'a SignInRequest,
    redirect_uri: &'a str,
    login: Option<&'a LoginTransaction>,
}

impl Admitted<'_> {
    /// Whether the sign-in was protected by something that only this client has: a login begun here,
    /// or a code verifier.
    pub(crate) fn is_bound_to_client(&self) -> bool {
        self.login.is_some() || self.request.code_verifier.is_some()
    }
}

/// A sign-in that a provider has authenticated.
#[derive(Debug, Clone)]
pub(crate) struct ProvenSignIn {
    pub(crate) identity: VerifiedIdentity,
    /// The mark that it has been used, where it counts once by itself.
    pub(crate) single_use: Option<SingleUse>,
    /// The provider's refresh token, where it is wanted and given.
    pub(crate) refresh_token: Option<ProviderRefreshToken>,
    /// The verified ID token, where it is to be kept.
    pub(crate) id_token: Option<IdTokenText>,
    /// The provider's access token, where it is to be kept, and when it was asked for.
    pub(crate) access: Option<(ProviderAccess, Timestamp)>,
}

impl SignIn {
    /// How many codes are remembered as used.
    const CODE_MEMORY: usize = 100_000;

    /// Makes the proof of sign-ins at these providers. `login_ttl` is the longest time from the beginning
    /// of a login to its end, which the person spends at the provider.
    pub fn new(
        providers: ProviderRegistry,
        login_ttl: Duration,
        clock: Arc<dyn Clock>,
        metrics: Arc<dyn Metrics>,
    ) -> Self {
        Self {
            providers,
            login_ttl,
            clock,
            metrics,
            used_codes: Bounded::new(Self::CODE_MEMORY, CODES_KEPT_FOR),
        }
    }

    /// The configured providers.
    pub fn providers(&self) -> &ProviderRegistry {
        &self.providers
    }

    /// The longest time from the beginning of a login to its end.
    pub fn login_ttl(&self) -> Duration {
        self.login_ttl
    }

    /// The provider a request is about: the one it names, else that of the login it finishes.
    ///
    /// # Errors
    /// [`AuthError::UnknownProvider`], or that the request names none.
    pub(crate) fn provider_of(
        &self,
        request: &SignInRequest,
    ) -> Result<&RegisteredProvider, AuthError> {
        let begun_with = || self.login_of(request).map(|login| login.provider.as_str());
        let Some(name) = request.provider.as_deref().or_else(begun_with) else {
            if request.state.as_deref().is_some_and(LoginTransaction::is_state) {
                return Err(unknown_state());
            }
            let error = FieldError::new("provider", FieldRule::RequiredWithoutLogin);
            return Err(AuthError::InvalidRequest(vec![error]));
        };
        self.providers.named(name)
    }

    /// The login, begun in this browser and under way, whose `state` the request brings.
    fn login_of<'a>(&self, request: &'a SignInRequest) -> Option<&'a LoginTransaction> {
        Self::begun_login_of(request).filter(|login| self.is_under_way(login))
    }

    /// The same, also if it has expired.
    fn begun_login_of(request: &SignInRequest) -> Option<&LoginTransaction> {
        let state = request.state.as_deref()?;
        let asked = TokenHash::of(state);
        // Digests are compared, so that time tells nothing.
        let is_it = |login: &&LoginTransaction| {
            TokenHash::of(&login.state()) == asked
                && login.return_to.is_some() == request.callback.is_some()
                && login.purpose == request.purpose
        };
        request.logins.iter().find(is_it)
    }

    /// Decides whether the provider is asked at all.
    ///
    /// # Errors
    /// The refusal; nothing has been sent out.
    pub(crate) fn admit<'a>(
        &self,
        provider: &'a RegisteredProvider,
        request: &'a SignInRequest,
    ) -> Result<Admitted<'a>, AuthError> {
        let login = self.login_of(request);
        let id = &provider.policy.id;
        match login {
            Some(login) if login.provider != *id => {
                let text = "the login was begun with another provider";
                return Err(AuthError::InvalidState(text.into()));
            }
            // Its mark would be the login's, and the token could be posted again without it.
            Some(_) if matches!(request.credential, Credential::IdToken(_)) => {
                let error = FieldError::new("idToken", FieldRule::NotInLogin);
                return Err(AuthError::InvalidRequest(vec![error]));
            }
            None if request.callback.is_some() => {
                let has_expired = Self::begun_login_of(request).is_some();
                return Err(if has_expired { AuthError::LoginExpired } else { unknown_state() });
            }
            None if request.state.as_deref().is_some_and(LoginTransaction::is_state) => {
                return Err(unknown_state());
            }
            // A login of this browser with this provider is under way: its response has a state, so
            // a code without one comes from elsewhere.
            None if matches!(request.credential, Credential::Code(_))
                && request.code_verifier.is_none()
                && request
                    .logins
                    .iter()
                    .any(|one| one.provider == *id && self.is_under_way(one)) =>
            {
                let text = "this browser has begun a login, and this is not its response";
                return Err(AuthError::InvalidState(text.into()));
            }
            _ => {}
        }
        let redirect_uri = provider.policy.admit(request, login)?;
        Ok(Admitted { provider, request, redirect_uri, login })
    }

    /// Whether a login has not expired. Who has a login's cookie can write any expiry into it, but not
    /// one later than a login begun now would have.
    fn is_under_way(&self, login: &LoginTransaction) -> bool {
        let now = Timestamp::from(self.clock.now());
        now < login.expires_at && login.expires_at <= now + self.login_ttl + CLOCKS_DIFFER_BY
    }

    /// Redeems the code, if the sign-in has one, and verifies the ID token.
    ///
    /// # Errors
    /// If the provider fails or refuses, or if the code was used before.
    pub(crate) async fn prove(&self, admitted: &Admitted<'_>) -> Result<ProvenSignIn, AuthError> {
        let Admitted { provider, request, redirect_uri, login } = admitted;
        let id = &provider.policy.id;
        let asked_at = Timestamp::from(self.clock.now());
        let mut tokens = match &request.credential {
            Credential::IdToken(token) => ProviderTokens {
                source: TokenSource::Client,
                id_token: Some(token.clone()),
                access_token: None,
                expires_in: None,
                scope: None,
                refresh_token: None,
            },
            Credential::Declined(error) => return Err(declined(error)),
            Credential::Code(code) => {
                let started = self.clock.monotonic();
                let mark = TokenHash::of_parts(&[id.as_str(), code.expose()]);
                if !self.used_codes.insert_new(mark, (), started) {
                    return Err(AuthError::InvalidAuthCode("it was posted before".into()));
                }
                let begun_here = login.map(LoginTransaction::code_verifier);
                let code_verifier = begun_here.as_ref().or(request.code_verifier.as_ref());
                let grant = CodeGrant { code, redirect_uri, code_verifier };
                let redeemed = provider.adapter.redeem(&grant).await;
                self.observe(id, Phase::Exchange, started);
                if redeemed.as_ref().is_err_and(ProviderError::was_not_asked) {
                    self.used_codes.remove(&mark, started);
                }
                redeemed.map_err(AuthError::Provider)?
            }
        };
        let begun_here = login.filter(|_| provider.policy.login.has_id_tokens);
        let begun_here = begun_here.map(LoginTransaction::nonce);
        let nonce = begun_here.as_ref().or(request.nonce.as_ref());
        let started = self.clock.monotonic();
        let verified = provider.adapter.verify(&tokens, nonce).await;
        self.observe(id, Phase::Verify, started);
        let identity = verified.map_err(|error| match (error, &request.credential) {
            // The code is spent: whoever is told so would send it again.
            (ProviderError::Unreachable(text) | ProviderError::Busy(text), Credential::Code(_)) => {
                AuthError::Provider(ProviderError::TimedOut(text))
            }
            (error, _) => AuthError::Provider(error),
        })?;
        if let Some(login) = login {
            let met = login.requirements.check(&identity, self.clock.now().into());
            met.map_err(AuthError::InvalidIdToken)?;
        }
        let single_use = match (&request.credential, login, identity.id_token) {
            (_, Some(login), _) => Some(login.single_use()),
            (Credential::IdToken(_), None, Some((hash, expires_at))) => {
                Some(SingleUse { hash, expires_at })
            }
            _ => None,
        };
        let keeps_access = provider.policy.access.is_some();
        let access = tokens.take_access().filter(|_| keeps_access);
        let access = access.map(|access| (access, asked_at));
        let rechecks = provider.policy.recheck.is_some();
        let refresh_token = tokens.refresh_token.take().filter(|_| rechecks || keeps_access);
        if rechecks && refresh_token.is_none() {
            self.metrics.provider_recheck(id, RecheckResult::Impossible);
        }
        let keeps_id_token = provider.policy.logout.keeps_id_token;
        let id_token = tokens.id_token.take().filter(|_| keeps_id_token);
        Ok(ProvenSignIn { identity, single_use, refresh_token, id_token, access })
    }

    fn observe(&self, provider: &ProviderId, phase: Phase, started: Duration) {
        let took = self.clock.monotonic().saturating_sub(started);
        self.metrics.token_generation_phase(provider, phase, took);
    }
}

/// The refusal of a login that the provider has answered with this error (RFC 6749 §4.1.2.1, OIDC Core
/// §3.1.2.6).
fn declined(error: &str) -> AuthError {
    let cause = Cause::quoting(error);
    match error {
        // The last two: Apple and LinkedIn.
        "access_denied"
        | "login_required"
        | "interaction_required"
        | "consent_required"
        | "account_selection_required"
        | "user_cancelled_authorize"
        | "user_cancelled_login" => AuthError::LoginCancelled(cause),
        "temporarily_unavailable" => ProviderError::Unreachable(cause).into(),
        "server_error" => ProviderError::Misbehaved(Misbehaviour::FailedRequest, cause).into(),
        _ => ProviderError::Misbehaved(Misbehaviour::ClientRefused, cause).into(),
    }
}

fn unknown_state() -> AuthError {
    AuthError::InvalidState("no login with this state is under way in this browser".into())
}
