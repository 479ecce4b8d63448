//! The use case: a sign-in at a provider becomes a session.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    AccessClaims, AccessGrant, ClientInfo, ConsumedIdToken, NewSession, NewUser, ProviderId,
    RefreshClaims, RefreshState, SessionId, SessionOpening, SessionOwner, Timestamp, UserId,
    VerifiedIdentity,
};
use crate::ports::{
    Clock, CodeGrant, CookiePolicy, Entropy, Metrics, OpenOutcome, Phase, ProviderError,
    ProviderTokens, RefreshTokenRepo, SessionTokens, TokenSigner, UserDirectory,
};
use crate::{
    AuthError, AuthorizationCode, CodeVerifier, IdTokenText, Nonce, ProviderRegistry,
    RegisteredProvider, RolePolicy, SetCookie, SignedToken, TokenHash, UsedCodes,
};

/// How often a first sign-in looks again when the same person is being created elsewhere.
const IDENTITY_ATTEMPTS: usize = 3;

/// What the client has from the provider.
#[derive(Debug)]
pub enum Credential {
    /// A code to exchange.
    Code(AuthorizationCode),
    /// An ID token it obtained itself.
    IdToken(IdTokenText),
}

/// Where the tokens go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenDelivery {
    /// Two HttpOnly cookies; the refresh token is not in the body.
    #[default]
    Cookie,
    /// The body alone, for native apps.
    Body,
}

/// A request for tokens, its syntax checked.
#[derive(Debug)]
pub struct TokenRequest {
    /// The provider's configured name, as the client sent it.
    pub provider: String,
    /// The proof of the sign-in.
    pub credential: Credential,
    /// The redirect URI of the authorization request.
    pub redirect_uri: Option<String>,
    /// The PKCE verifier.
    pub code_verifier: Option<CodeVerifier>,
    /// The nonce of the authentication request.
    pub nonce: Option<Nonce>,
    /// The `iss` of the authorization response (RFC 9207).
    pub issuer: Option<String>,
    /// Where the tokens go.
    pub delivery: TokenDelivery,
    /// Who asks.
    pub client: ClientInfo,
}

/// A new session's tokens.
#[derive(Debug)]
pub struct IssuedTokens {
    /// The provider signed in with.
    pub provider: ProviderId,
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// The access token.
    pub access: SignedToken,
    /// Its remaining life.
    pub access_expires_in: Duration,
    /// The refresh token.
    pub refresh: SignedToken,
    /// Its remaining life.
    pub refresh_expires_in: Duration,
    /// The cookies, in cookie delivery.
    pub cookies: Option<[SetCookie; 2]>,
}

/// What issuing tokens can be told.
#[derive(Debug, Clone)]
pub struct IssueTokensConfig {
    /// Life of an access token.
    pub access_ttl: Duration,
    /// Life of a refresh token: how long a session may idle.
    pub refresh_ttl: Duration,
    /// Life of a session, however often it is refreshed.
    pub session_ttl: Duration,
    /// Whether tokens may be delivered in the body.
    pub body_delivery: bool,
    /// Who gets which roles.
    pub roles: RolePolicy,
    /// Claims copied into access tokens: our name, and the path of the provider's claim.
    pub extra_claims: Vec<(String, String)>,
}

/// What issuing tokens needs.
#[derive(Clone)]
pub struct IssueTokensPorts {
    /// The providers.
    pub providers: ProviderRegistry,
    /// Who is known.
    pub users: Arc<dyn UserDirectory>,
    /// Where sessions are kept.
    pub sessions: Arc<dyn RefreshTokenRepo>,
    /// Who signs.
    pub signer: Arc<dyn TokenSigner>,
    /// How tokens become cookies.
    pub cookies: Arc<dyn CookiePolicy>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// What is counted.
    pub metrics: Arc<dyn Metrics>,
}

/// Issues tokens to people who have signed in at a provider.
pub struct IssueTokens {
    ports: IssueTokensPorts,
    config: IssueTokensConfig,
    codes: UsedCodes,
}

/// The signed half of a session, ready to be stored.
struct Minted {
    access: SignedToken,
    access_expires_at: Timestamp,
    refresh: SignedToken,
    cookies: Option<[SetCookie; 2]>,
    opening: SessionOpening,
}

impl IssueTokens {
    /// How many codes are remembered as used.
    const CODE_MEMORY: usize = 100_000;

    /// Puts the use case together.
    pub fn new(ports: IssueTokensPorts, config: IssueTokensConfig) -> Self {
        Self { ports, config, codes: UsedCodes::new(Self::CODE_MEMORY) }
    }

    /// The provider of exactly this name, if it is configured.
    pub fn provider_id(&self, name: &str) -> Option<ProviderId> {
        self.ports.providers.find(name).map(|provider| provider.policy.id.clone())
    }

    /// Turns a sign-in into a session, or refuses and leaves nothing behind.
    ///
    /// # Errors
    /// See [`AuthError`]; on every error no row was written.
    pub async fn issue(&self, request: TokenRequest) -> Result<IssuedTokens, AuthError> {
        let Some(provider) = self.ports.providers.find(&request.provider) else {
            let refusal = AuthError::UnknownProvider;
            self.ports.metrics.token_generation(None, refusal.code());
            return Err(refusal);
        };
        let id = &provider.policy.id;
        let started = self.ports.clock.monotonic();
        let result = self.issue_with(provider, &request).await;
        let outcome = result.as_ref().map_or_else(AuthError::code, |_| "success");
        self.ports.metrics.token_generation(Some(id), outcome);
        self.observe(id, Phase::Total, started);
        result
    }

    async fn issue_with(
        &self,
        provider: &RegisteredProvider,
        request: &TokenRequest,
    ) -> Result<IssuedTokens, AuthError> {
        if request.delivery == TokenDelivery::Body && !self.config.body_delivery {
            return Err(AuthError::InvalidRequest(vec![crate::FieldError::new(
                "tokenDelivery",
                "\"body\" is not allowed by this server's configuration",
            )]));
        }
        let redirect_uri = provider.policy.admit(request)?;
        let identity = self.prove(provider, request, redirect_uri).await?;

        // A first sign-in may find, at the write, that the same person was just created by
        // another; then everything from the look-up on is done again with the user's real id.
        for _ in 0..IDENTITY_ATTEMPTS {
            let minted = self.mint(provider, request, &identity).await?;
            let started = self.ports.clock.monotonic();
            let outcome = self.ports.sessions.open_session(&minted.opening).await;
            self.observe(&provider.policy.id, Phase::Store, started);
            match outcome? {
                OpenOutcome::Opened => return Ok(Self::issued(minted)),
                OpenOutcome::IdentityTaken => {}
                OpenOutcome::IdTokenReplayed => {
                    return Err(AuthError::InvalidIdToken(
                        "it has opened a session before".to_owned(),
                    ));
                }
                OpenOutcome::UserDisabled => return Err(disabled()),
            }
        }
        Err(crate::ports::StoreError::Unavailable(
            "the identity is taken and not found, again and again".to_owned(),
        )
        .into())
    }

    /// Has the provider vouch for the sign-in.
    async fn prove(
        &self,
        provider: &RegisteredProvider,
        request: &TokenRequest,
        redirect_uri: &str,
    ) -> Result<VerifiedIdentity, AuthError> {
        let id = &provider.policy.id;
        let tokens = match &request.credential {
            Credential::IdToken(token) => {
                ProviderTokens { id_token: Some(token.clone()), access_token: None }
            }
            Credential::Code(code) => {
                let started = self.ports.clock.monotonic();
                let mark = TokenHash::of_parts(&[id.as_str(), code.expose()]);
                if !self.codes.claim(mark, started) {
                    return Err(AuthError::InvalidAuthCode("it was posted before".to_owned()));
                }
                let grant =
                    CodeGrant { code, redirect_uri, code_verifier: request.code_verifier.as_ref() };
                let redeemed = provider.adapter.redeem(&grant).await;
                self.observe(id, Phase::Exchange, started);
                if let Err(ProviderError::Unreachable(_)) = redeemed {
                    self.codes.release(mark);
                }
                redeemed.map_err(AuthError::Provider)?
            }
        };
        let started = self.ports.clock.monotonic();
        let verified = provider.adapter.verify(&tokens, request.nonce.as_ref()).await;
        self.observe(id, Phase::Verify, started);
        verified.map_err(AuthError::Provider)
    }

    /// Finds the user, decides the roles, and signs; everything a session is before it is stored.
    async fn mint(
        &self,
        provider: &RegisteredProvider,
        request: &TokenRequest,
        verified: &VerifiedIdentity,
    ) -> Result<Minted, AuthError> {
        let id = &provider.policy.id;
        let started = self.ports.clock.monotonic();
        let known = self.ports.users.find_user(&verified.identity).await;
        self.observe(id, Phase::Store, started);
        let known = known?;
        if known.as_ref().is_some_and(|user| user.disabled_at.is_some()) {
            return Err(disabled());
        }
        let granted = known.as_ref().map_or(&[][..], |user| &user.granted_roles);
        let roles = self.config.roles.evaluate(id, &verified.claims, granted);
        if roles.is_empty() {
            return Err(AuthError::AccessDenied("no role rule lets this person in".to_owned()));
        }

        let instant = self.ports.clock.now();
        let now = Timestamp::from(instant);
        let owner = match known {
            Some(user) => SessionOwner::Existing(user.id),
            None => SessionOwner::New(NewUser {
                id: UserId::generate(instant, self.ports.entropy.bytes()),
                identity: verified.identity.clone(),
            }),
        };
        let subject = owner.user_id();
        let session = SessionId::generate(instant, self.ports.entropy.bytes());
        let absolute_expires_at = now + self.config.session_ttl;
        let grant = AccessGrant {
            roles,
            auth_time: verified.auth_time.unwrap_or(now),
            acr: verified.acr.clone(),
            amr: verified.amr.clone(),
            extra: self.extra_claims(verified),
        };

        let started = self.ports.clock.monotonic();
        let access_expires_at = (now + self.config.access_ttl).min(absolute_expires_at);
        let access_claims = AccessClaims {
            subject,
            session,
            token_id: u128::from_be_bytes(self.ports.entropy.bytes()),
            provider: id,
            grant: &grant,
            issued_at: now,
            expires_at: access_expires_at,
        };
        let access = self.ports.signer.sign_access(&access_claims)?;
        let key_id = self.ports.signer.refresh_key_id();
        let refresh_expires_at =
            RefreshState::expiry(now, self.config.refresh_ttl, absolute_expires_at);
        let refresh = self.ports.signer.sign_refresh(&RefreshClaims {
            subject,
            session,
            generation: 0,
            key_id: &key_id,
            issued_at: now,
            expires_at: refresh_expires_at,
        })?;
        self.observe(id, Phase::Sign, started);

        let cookies = match request.delivery {
            TokenDelivery::Body => None,
            TokenDelivery::Cookie => {
                let built = self.ports.cookies.session_cookies(SessionTokens {
                    access: &access,
                    access_max_age: span(now, access_expires_at),
                    refresh: &refresh,
                    refresh_max_age: span(now, refresh_expires_at),
                });
                Some(built.map_err(|source| {
                    let (claim, claim_bytes) = access_claims.largest();
                    AuthError::TokenTooLarge { source, claim: claim.to_owned(), claim_bytes }
                })?)
            }
        };

        let consumed = match (&request.credential, verified.id_token) {
            (Credential::IdToken(_), Some((hash, expires_at))) => {
                Some(ConsumedIdToken { hash, expires_at })
            }
            _ => None,
        };
        let session = NewSession {
            id: session,
            provider: id.clone(),
            refresh: RefreshState {
                generation: 0,
                hash: TokenHash::of(refresh.expose()),
                key_id,
                issued_at: now,
                expires_at: refresh_expires_at,
            },
            absolute_expires_at,
            grant,
            client: request.client.clone(),
            created_at: now,
        };
        let opening = SessionOpening { owner, session, consumed };
        Ok(Minted { access, access_expires_at, refresh, cookies, opening })
    }

    fn extra_claims(
        &self,
        verified: &VerifiedIdentity,
    ) -> std::collections::BTreeMap<String, crate::model::ClaimValue> {
        let found = self.config.extra_claims.iter().filter_map(|(name, path)| {
            verified.claims.find(path).map(|value| (name.clone(), value.clone()))
        });
        found.collect()
    }

    fn issued(minted: Minted) -> IssuedTokens {
        let session = minted.opening.session;
        IssuedTokens {
            user: minted.opening.owner.user_id(),
            session: session.id,
            access: minted.access,
            access_expires_in: span(session.created_at, minted.access_expires_at),
            refresh: minted.refresh,
            refresh_expires_in: span(session.created_at, session.refresh.expires_at),
            cookies: minted.cookies,
            provider: session.provider,
        }
    }

    fn observe(&self, provider: &ProviderId, phase: Phase, started: Duration) {
        let took = self.ports.clock.monotonic().saturating_sub(started);
        self.ports.metrics.token_generation_phase(provider, phase, took);
    }
}

fn disabled() -> AuthError {
    AuthError::AccessDenied("the user is disabled".to_owned())
}

fn span(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_secs(to.as_unix().saturating_sub(from.as_unix()).try_into().unwrap_or_default())
}
