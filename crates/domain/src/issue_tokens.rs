//! The use case: a sign-in at a provider becomes a session.

mod repeats;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::identities::finished_before;
use crate::minting::{Mint, Subject};
use crate::model::{
    AccessGrant, Actor, AuditEvent, AuditKind, ClaimSet, ClaimValue, ClientInfo, IdempotencyKey,
    IdempotencyRecord, LoginPurpose, NewSession, NewUser, Person, ProfileClaims, ProviderId,
    RevokeReason, SessionId, SessionOpening, Timestamp, UpstreamTokens, UserId, VerifiedIdentity,
    stored_sid,
};
use crate::ports::{
    AuditLog, Clock, CookiePolicy, Entropy, Metrics, OpenOutcome, PeopleImport, Phase,
    RoleQuestion, SealError, StoreError, TokenSigner,
};
use crate::sign_in::{Credential, ProvenSignIn, SignIn, SignInRequest};
use crate::{
    Admission, AuthError, FieldError, FieldRule, IssuedTokens, KeptTokens, RegisteredProvider,
    RoleDecider, Sessions, TokenDelivery, chain,
};
use repeats::{REPEATABLE_FOR, Repeats};

/// How often a first sign-in looks again when the same person is being created elsewhere.
const IDENTITY_ATTEMPTS: usize = 3;

/// A request for tokens, its syntax checked.
#[derive(Debug)]
pub struct TokenRequest {
    /// The client's proof of a sign-in: a code or an ID token, with what belongs to it.
    pub sign_in: SignInRequest,
    /// Whether the tokens go into cookies or into the body of the answer.
    pub delivery: TokenDelivery,
    /// The user agent and the network of the caller, which the session keeps.
    pub client: ClientInfo,
    /// The `Idempotency-Key` by which a repetition of this request is recognised, and the hash of
    /// the body.
    pub idempotency: Option<IdempotencyKey>,
}

/// The configuration of [`IssueTokens`].
#[derive(Debug, Clone)]
pub struct IssueTokensConfig {
    /// The life of an access token.
    pub access_ttl: Duration,
    /// The life of a refresh token: a session that is not refreshed for so long has ended.
    pub refresh_ttl: Duration,
    /// The life of a session, however often it is refreshed: its absolute limit.
    pub session_ttl: Duration,
    /// Whether tokens may be delivered in the body.
    pub body_delivery: bool,
    /// Claims copied into access tokens: our name, and the path of the provider's claim.
    pub extra_claims: Vec<(String, String)>,
    /// The claim of access tokens with the ids that the user had in other systems; `None` for no such claim.
    pub former_ids_claim: Option<String>,
    /// Whom sign-ins are open to.
    pub admission: Admission,
    /// The claims that are kept of whoever signs in.
    pub profile: ProfileClaims,
}

/// The ports and parts that [`IssueTokens`] uses.
#[derive(Clone)]
pub struct IssueTokensPorts {
    /// Proves sign-ins at the configured providers.
    pub sign_in: Arc<SignIn>,
    /// Determines the roles of the user who signs in.
    pub roles: RoleDecider,
    /// Encrypts the providers' tokens that are kept; `None` if those of no provider are.
    pub kept: Option<KeptTokens>,
    /// The stores of sessions and of their users.
    pub sessions: Sessions,
    /// The ids that users had in other systems.
    pub people: Arc<dyn PeopleImport>,
    /// The signer of access and refresh tokens.
    pub signer: Arc<dyn TokenSigner>,
    /// Builds the cookies that carry the tokens.
    pub cookies: Arc<dyn CookiePolicy>,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// The source of the random bits in ids of users, sessions and access tokens.
    pub entropy: Arc<dyn Entropy>,
    /// The counters and timers of events.
    pub metrics: Arc<dyn Metrics>,
    /// Where sign-ins are noted, and those that were denied.
    pub audit: Arc<dyn AuditLog>,
}

/// The use case of a sign-in: issues tokens to a user whom a provider has authenticated.
pub struct IssueTokens {
    ports: IssueTokensPorts,
    config: IssueTokensConfig,
    mint: Mint,
    repeats: Repeats,
}

/// A session that is ready to be stored, and the tokens that are to be answered then.
struct Minted {
    tokens: IssuedTokens,
    opening: SessionOpening,
    /// Whether the user has to be created first.
    is_new_user: bool,
}

impl IssueTokens {
    /// Makes the use case from its ports and its configuration.
    pub fn new(ports: IssueTokensPorts, config: IssueTokensConfig) -> Self {
        let mint = Mint {
            signer: Arc::clone(&ports.signer),
            cookies: Arc::clone(&ports.cookies),
            entropy: Arc::clone(&ports.entropy),
            access_ttl: config.access_ttl,
            refresh_ttl: config.refresh_ttl,
            bare_access_bytes: OnceLock::new(),
        };
        let repeats = Repeats::new(ports.entropy.bytes());
        Self { ports, config, mint, repeats }
    }

    /// The provider that a request names, or whose begun login it finishes; `None` if there is
    /// none.
    pub fn provider_id(&self, request: &SignInRequest) -> Option<ProviderId> {
        let provider = self.ports.sign_in.provider_of(request);
        provider.ok().map(|provider| provider.policy.id.clone())
    }

    /// Turns a sign-in into a session, or refuses and leaves nothing behind.
    ///
    /// # Errors
    /// See [`AuthError`]; on every error no row was written. After [`AuthError::SignInUnderWay`], which
    /// only a request with an idempotency key gets, the same request may be made again soon.
    pub async fn issue(&self, request: &TokenRequest) -> Result<IssuedTokens, AuthError> {
        let provider = match self.ports.sign_in.provider_of(&request.sign_in) {
            Ok(provider) => provider,
            Err(refusal) => {
                self.ports.metrics.token_generation(None, refusal.code().as_str());
                return Err(refusal);
            }
        };
        let id = &provider.policy.id;
        let started = self.ports.clock.monotonic();
        let result = self.issue_with(provider, request).await;
        if let Err(AuthError::SignInUnderWay) = result {
            return result;
        }
        let outcome = result.as_ref().map_or_else(|error| error.code().as_str(), |_| "success");
        self.ports.metrics.token_generation(Some(id), outcome);
        self.observe(id, Phase::Total, started);
        result
    }

    async fn issue_with(
        &self,
        provider: &RegisteredProvider,
        request: &TokenRequest,
    ) -> Result<IssuedTokens, AuthError> {
        if request.sign_in.purpose != LoginPurpose::SignIn {
            return Err(AuthError::InvalidState("the login was begun to link an identity".into()));
        }
        if request.delivery == TokenDelivery::Body && !self.config.body_delivery {
            let error = FieldError::new("tokenDelivery", FieldRule::NotInBody);
            return Err(AuthError::InvalidRequest(vec![error]));
        }
        // First of all: whoever finishes a login begun here shows that it is theirs, also the second time.
        let admitted = self.ports.sign_in.admit(provider, &request.sign_in)?;
        if let Some(asked) = request.idempotency {
            return self.issue_once(provider, request, &admitted, asked).await;
        }
        let proven = self.ports.sign_in.prove(&admitted).await?;
        self.store(provider, request, &proven).await
    }

    /// Opens a session for an authenticated user; records in the audit log if the user is refused.
    async fn store(
        &self,
        provider: &RegisteredProvider,
        request: &TokenRequest,
        proven: &ProvenSignIn,
    ) -> Result<IssuedTokens, AuthError> {
        let mut known = None;
        let result = self.open_for(provider, request, proven, &mut known).await;
        if let Err(AuthError::AccessDenied(reason)) = &result {
            let event = self.event(AuditKind::LoginDenied, provider, proven);
            let event = AuditEvent { user: known, ..event.with("reason", chain(reason)) };
            self.ports.audit.record(event);
        }
        result
    }

    fn event(
        &self,
        kind: AuditKind,
        provider: &RegisteredProvider,
        proven: &ProvenSignIn,
    ) -> AuditEvent {
        AuditEvent::new(kind, self.ports.clock.now().into(), Actor::User)
            .of_identity(&proven.identity.identity)
            .with("provider", &provider.policy.id)
    }

    /// Opens a session, and says which user it would be for, as soon as that is known.
    async fn open_for(
        &self,
        provider: &RegisteredProvider,
        request: &TokenRequest,
        proven: &ProvenSignIn,
        known: &mut Option<UserId>,
    ) -> Result<IssuedTokens, AuthError> {
        // A first sign-in may find that the same person was just created by another request; then
        // everything from the look-up on is done again with the user's real id.
        for _ in 0..IDENTITY_ATTEMPTS {
            let mut minted = self.mint(provider, request, proven, known).await?;
            let started = self.ports.clock.monotonic();
            let outcome = self.open(&mut minted, provider, proven).await;
            self.observe(&provider.policy.id, Phase::Store, started);
            let Some(outcome) = outcome? else { continue };
            match outcome {
                OpenOutcome::Opened => {
                    let IssuedTokens { user, session, .. } = minted.tokens;
                    let event = self.event(AuditKind::Login, provider, proven);
                    self.ports.audit.record(event.of_user(user).of_session(session));
                    return Ok(minted.tokens);
                }
                OpenOutcome::Replayed => {
                    let refusal = match request.sign_in.credential {
                        Credential::Code(_) | Credential::Declined(_) => finished_before(),
                        Credential::IdToken(_) => {
                            AuthError::InvalidIdToken("it has opened a session before".into())
                        }
                    };
                    return self.repeat(request).await?.ok_or(refusal);
                }
                OpenOutcome::IdempotencyKeyTaken => {
                    if let Some(repeated) = self.repeat(request).await? {
                        return Ok(repeated);
                    }
                }
                OpenOutcome::PersonChanged => {
                    return Err(self.changed(&minted.opening.session).await?);
                }
            }
        }
        Err(StoreError::Unavailable("the identity is taken and not found, again and again".into())
            .into())
    }

    /// Stores a session, and its user before it where the person signs in for the first time; `None`
    /// if the person turns out to be known under another id.
    ///
    /// Nothing can be refused any more when a user is created, but for the races that the store
    /// decides: a user without a session is harmless.
    async fn open(
        &self,
        minted: &mut Minted,
        provider: &RegisteredProvider,
        proven: &ProvenSignIn,
    ) -> Result<Option<OpenOutcome>, AuthError> {
        let session = &mut minted.opening.session;
        if minted.is_new_user {
            let new = NewUser {
                id: session.user,
                identity: proven.identity.identity.clone(),
                provider: provider.policy.id.clone(),
                now: session.created_at,
            };
            let person = self.ports.sessions.users.find_or_create(&new).await?;
            if person.user.id != session.user {
                return Ok(None);
            }
            session.epochs = person.epochs();
        }
        Ok(Some(self.ports.sessions.open(&minted.opening).await?))
    }

    /// Why a user who was changed during the sign-in gets no session.
    async fn changed(&self, session: &NewSession) -> Result<AuthError, AuthError> {
        let found = self.ports.sessions.users.find_person(session.user, &session.identity).await?;
        let is_disabled = found.is_some_and(|person| person.user.disabled_at.is_some());
        Ok(if is_disabled {
            AuthError::user_disabled()
        } else {
            AuthError::SessionRevoked(RevokeReason::Other)
        })
    }

    /// Admits the person, finds the user, decides the roles, and signs; everything a session is before it is stored.
    async fn mint(
        &self,
        provider: &RegisteredProvider,
        request: &TokenRequest,
        proven: &ProvenSignIn,
        user: &mut Option<UserId>,
    ) -> Result<Minted, AuthError> {
        let verified = &proven.identity;
        self.config.admission.judge(&verified.identity, &verified.claims)?;
        let id = &provider.policy.id;
        let started = self.ports.clock.monotonic();
        let known = self.ports.sessions.users.find_user(&verified.identity).await;
        self.observe(id, Phase::Store, started);
        let known = known?;
        *user = known.as_ref().map(|person| person.user.id);
        if known.as_ref().is_some_and(|person| person.user.disabled_at.is_some()) {
            return Err(AuthError::user_disabled());
        }
        let instant = self.ports.clock.now();
        let now = Timestamp::from(instant);
        let granted = known.as_ref().map_or(&[][..], |person| &person.user.granted_roles);
        let subject = match &known {
            Some(person) => person.user.id,
            None => UserId::generate(instant, self.ports.entropy.bytes()),
        };
        let claimed_roles = self.ports.roles.policy.claimed(id, &verified.claims);
        let question = RoleQuestion { user: subject, provider: id, identity: &verified.identity };
        let decided = self.ports.roles.decide(question, &claimed_roles, granted).await?;
        let roles = decided.roles;
        if roles.is_empty() {
            return Err(AuthError::AccessDenied("no role rule lets this person in".into()));
        }
        let session = SessionId::generate(instant, self.ports.entropy.bytes());
        let absolute_expires_at = now + self.config.session_ttl;
        let grant = AccessGrant {
            roles,
            auth_time: verified.auth_time.unwrap_or(now),
            acr: verified.acr.clone(),
            amr: verified.amr.clone(),
            extra: self.extra_claims(verified, known.as_ref()).await?,
        };

        let started = self.ports.clock.monotonic();
        let (refresh_token, refresh) =
            self.mint.refresh(subject, session, 0, absolute_expires_at, now)?;
        let epochs = known.as_ref().map(Person::epochs).unwrap_or_default();
        let signed_for = Subject {
            user: subject,
            session,
            provider: id,
            epoch: epochs.user,
            grant: &grant,
            absolute_expires_at,
        };
        let expires_at = refresh.expires_at;
        let tokens =
            self.mint.deliver(signed_for, refresh_token, expires_at, request.delivery, now)?;
        self.observe(id, Phase::Sign, started);

        let upstream = self.sealed(session, proven)?;
        let idempotency = request
            .idempotency
            .map(|request| IdempotencyRecord { request, expires_at: now + REPEATABLE_FOR });
        let session = NewSession {
            id: session,
            user: subject,
            epochs,
            provider: id.clone(),
            identity: verified.identity.clone(),
            upstream_sid: upstream_sid(&verified.claims),
            claimed_roles,
            refresh,
            absolute_expires_at,
            grant,
            client: request.client.clone(),
            created_at: now,
        };
        let single_use = proven.single_use;
        let kept = known.as_ref().map(|person| person.user.profile.clone()).unwrap_or_default();
        let profile = Some(self.config.profile.of(&verified.claims)).filter(|now| *now != kept);
        let opening = SessionOpening { session, single_use, upstream, profile, idempotency };
        Ok(Minted { tokens, opening, is_new_user: known.is_none() })
    }

    /// The provider's tokens that are kept with a session.
    fn sealed(
        &self,
        session: SessionId,
        proven: &ProvenSignIn,
    ) -> Result<UpstreamTokens, SealError> {
        let Some(kept) = &self.ports.kept else { return Ok(UpstreamTokens::default()) };
        let refresh = proven.refresh_token.as_ref();
        let id = proven.id_token.as_ref();
        let access = proven.access.as_ref();
        Ok(UpstreamTokens {
            refresh: refresh.map(|token| kept.seal_refresh(session, token)).transpose()?,
            id: id.map(|token| kept.seal_id(session, token)).transpose()?,
            // One that is too long is not kept, and costs nobody the sign-in.
            access: access.and_then(|(access, at)| kept.seal_access(session, access, *at).ok()),
        })
    }

    /// The claims of the provider that are copied, and the ids that the user had elsewhere.
    async fn extra_claims(
        &self,
        verified: &VerifiedIdentity,
        known: Option<&Person>,
    ) -> Result<BTreeMap<String, ClaimValue>, StoreError> {
        let found = self.config.extra_claims.iter().filter_map(|(name, path)| {
            verified.claims.find(path).map(|value| (name.clone(), value.clone()))
        });
        let mut claims: BTreeMap<_, _> = found.collect();
        if let (Some(name), Some(person)) = (&self.config.former_ids_claim, known) {
            let former = self.ports.people.former_ids(person.user.id).await?;
            if !former.is_empty() {
                let ids = former.into_iter().map(|former| ClaimValue::Text(former.id));
                claims.insert(name.clone(), ClaimValue::List(ids.collect()));
            }
        }
        Ok(claims)
    }

    fn observe(&self, provider: &ProviderId, phase: Phase, started: Duration) {
        let took = self.ports.clock.monotonic().saturating_sub(started);
        self.ports.metrics.token_generation_phase(provider, phase, took);
    }
}

/// The session at the provider, if it names one.
fn upstream_sid(claims: &ClaimSet) -> Option<String> {
    let sid = claims.find("sid")?.as_text().filter(|sid| !sid.is_empty())?;
    Some(stored_sid(sid))
}
