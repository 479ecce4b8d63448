//! What is counted and timed. Labels are bounded: an adapter MUST NOT make a
//! series from anything a client sent.

use std::time::Duration;

use crate::model::{ProviderId, RevokeReason, Timestamp};

/// A part of issuing tokens that is timed on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The code exchange at the provider.
    Exchange,
    /// Verification of the ID token, with any fetch of keys it needed.
    Verify,
    /// Signing the access and the refresh token.
    Sign,
    /// Store reads and writes.
    Store,
    /// Issuing tokens, from the request to the answer.
    Total,
}

/// The endpoint of a provider that a request went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderEndpoint {
    /// The discovery document.
    Discovery,
    /// The JWKS.
    Jwks,
    /// The token endpoint.
    Token,
    /// The userinfo endpoint.
    Userinfo,
}

/// A call, or group of calls, of a store that is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOperation {
    /// A call of [`UserDirectory::find_user`](super::UserDirectory::find_user).
    FindUser,
    /// A call of [`RefreshTokenRepo::open`](super::RefreshTokenRepo::open).
    OpenSession,
    /// Any call of [`IdempotencyRecords`](super::IdempotencyRecords).
    Idempotency,
    /// A call of [`RefreshTokenRepo::exchange`](super::RefreshTokenRepo::exchange).
    Rotate,
    /// A call of [`UserDirectory::identities`](super::UserDirectory::identities).
    Identities,
    /// A call of [`UserDirectory::link_identity`](super::UserDirectory::link_identity).
    LinkIdentity,
    /// A call of [`UserDirectory::unlink_identity`](super::UserDirectory::unlink_identity).
    UnlinkIdentity,
    /// A call of [`RefreshTokenRepo::end_provider_sessions`](super::RefreshTokenRepo::end_provider_sessions).
    EndProviderSessions,
    /// Any call of [`UpstreamTokenRepo`](super::UpstreamTokenRepo).
    Upstream,
    /// A call of [`RefreshTokenRepo::load`](super::RefreshTokenRepo::load).
    FindSession,
    /// A call of [`RefreshTokenRepo::live_sessions`](super::RefreshTokenRepo::live_sessions).
    LiveSessions,
    /// A call of [`RefreshTokenRepo::end_session`](super::RefreshTokenRepo::end_session).
    EndSession,
    /// A call of [`UserDirectory::end_user_sessions`](super::UserDirectory::end_user_sessions).
    EndUserSessions,
    /// Any call of [`Housekeeping`](super::Housekeeping).
    Sweep,
    /// Any call of [`KeyRepo`](super::KeyRepo).
    Keys,
    /// A call of [`UserDirectory::find_or_create`](super::UserDirectory::find_or_create).
    CreateUser,
    /// A call of [`UserDirectory::keep_profile`](super::UserDirectory::keep_profile).
    KeepProfile,
    /// A call of [`UserDirectory::end_identity_sessions`](super::UserDirectory::end_identity_sessions).
    EndIdentitySessions,
    /// Any call of [`OnceMarks`](super::OnceMarks).
    OnceMarks,
    /// Any call of [`Replicas`](super::Replicas).
    Replicas,
    /// A call of [`UserAdministration::find_accounts`](super::UserAdministration::find_accounts).
    FindAccounts,
    /// Any other call of [`UserAdministration`](super::UserAdministration) or
    /// [`SessionAdministration`](super::SessionAdministration).
    Administration,
    /// Any call of [`AuditStore`](super::AuditStore).
    Audit,
    /// Any call of [`RevocationLog`](super::RevocationLog).
    Revocations,
    /// A call of [`SharedCounts::exchange`](super::SharedCounts::exchange).
    SharedCounts,
    /// Any call of [`PeopleImport`](super::PeopleImport).
    Import,
}

impl StoreOperation {
    /// The value of the label `operation`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FindUser => "find_user",
            Self::OpenSession => "open_session",
            Self::Idempotency => "idempotency",
            Self::Rotate => "rotate",
            Self::Identities => "identities",
            Self::LinkIdentity => "link_identity",
            Self::UnlinkIdentity => "unlink_identity",
            Self::EndProviderSessions => "end_provider_sessions",
            Self::Upstream => "upstream",
            Self::FindSession => "find_session",
            Self::LiveSessions => "live_sessions",
            Self::EndSession => "end_session",
            Self::EndUserSessions => "end_user_sessions",
            Self::Sweep => "sweep",
            Self::Keys => "keys",
            Self::CreateUser => "create_user",
            Self::KeepProfile => "keep_profile",
            Self::EndIdentitySessions => "end_identity_sessions",
            Self::OnceMarks => "once_marks",
            Self::Replicas => "replicas",
            Self::FindAccounts => "find_accounts",
            Self::Administration => "administration",
            Self::Audit => "audit",
            Self::Revocations => "revocations",
            Self::SharedCounts => "shared_counts",
            Self::Import => "import",
        }
    }
}

/// The result of a recheck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecheckResult {
    /// The user may still sign in at the provider.
    Confirmed,
    /// The user may no longer sign in at the provider; the session ends.
    Refused,
    /// The provider could not be asked, or gave no proper answer; the session goes on.
    Failed,
    /// The provider gave no refresh token at the sign-in, so it can never be asked again.
    Impossible,
}

impl RecheckResult {
    /// The value of the label `outcome`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Impossible => "impossible",
        }
    }
}

/// The result of a request for a provider's access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderTokenResult {
    /// The token that was kept is good for a while.
    Kept,
    /// A new token was fetched, for this request or for another one.
    Renewed,
    /// The session has no token that works.
    Unusable,
    /// There is no such session that the client may ask about.
    Unknown,
    /// The provider, or something on our side, is down or broken.
    Failed,
}

impl ProviderTokenResult {
    /// The value of the label `outcome`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Renewed => "renewed",
            Self::Unusable => "unusable",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

/// The result of a token introspection by a back end (RFC 7662).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntrospectionResult {
    /// The token is active.
    Active,
    /// The token is not active, or the client may not see it.
    Inactive,
    /// The store or the signing keys were not available.
    Failed,
}

impl IntrospectionResult {
    /// The value of the label `outcome`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Failed => "failed",
        }
    }
}

/// The result of a token revocation by a back end (RFC 7009).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationResult {
    /// The token's session has ended.
    Ended,
    /// There was no such session, or it had ended, or the token is not the client's to see.
    Nothing,
    /// The store or the signing keys were not available.
    Failed,
}

impl RevocationResult {
    /// The value of the label `outcome`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Nothing => "nothing",
            Self::Failed => "failed",
        }
    }
}

/// The state of a provider's circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    /// The breaker lets every call through.
    Closed,
    /// One call at a time, to see whether the provider works again.
    HalfOpen,
    /// The breaker lets no call through.
    Open,
}

/// The result of a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshResult {
    /// A new refresh token was issued.
    Rotated,
    /// The current refresh token was issued again.
    Replayed,
    /// The token was newer than its session, which goes on from it: the store has lost what it had acknowledged.
    Followed,
    /// A superseded token was used; the session is revoked.
    Reused,
    /// The token or the session has expired.
    Expired,
    /// The session has been revoked, or its user is disabled.
    Revoked,
    /// The token is not a refresh token of ours, or its session does not exist.
    Invalid,
    /// The session was refreshed too often; the token stays valid.
    Limited,
    /// The store or the keys failed; the token stays valid.
    Failed,
}

impl RefreshResult {
    /// Every result that a refresh can have.
    pub const ALL: [Self; 9] = [
        Self::Rotated,
        Self::Replayed,
        Self::Followed,
        Self::Reused,
        Self::Expired,
        Self::Revoked,
        Self::Invalid,
        Self::Limited,
        Self::Failed,
    ];

    /// The value of the label `outcome`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rotated => "rotated",
            Self::Replayed => "replayed",
            Self::Followed => "followed",
            Self::Reused => "reused",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Invalid => "invalid",
            Self::Limited => "limited",
            Self::Failed => "failed",
        }
    }
}

/// The size and age of the audit log, for its metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditState {
    /// How many entries there are.
    pub entries: u64,
    /// The time of the oldest entry; `None` if there is none.
    pub oldest: Option<Timestamp>,
    /// When a process last deleted old entries successfully; `None` if never.
    pub pruned_at: Option<Timestamp>,
}

/// Counts and times events. Every method MUST return at once.
pub trait Metrics: Send + Sync {
    /// Counts a request for tokens; `provider` is `None` if the request named none that is
    /// configured, `outcome` is `success` or an error code.
    fn token_generation(&self, provider: Option<&ProviderId>, outcome: &'static str);

    /// Records how long a phase of issuing tokens took.
    fn token_generation_phase(&self, provider: &ProviderId, phase: Phase, took: Duration);

    /// Counts a refresh, and records how long it took.
    fn refresh(&self, result: RefreshResult, took: Duration);

    /// Counts `count` sessions that were ended for this reason.
    fn sessions_revoked(&self, reason: RevokeReason, count: u64);

    /// Counts a request to a provider, and records how long it took; `outcome` MUST be from a
    /// fixed, small set.
    fn provider_request(
        &self,
        provider: &ProviderId,
        endpoint: ProviderEndpoint,
        outcome: &'static str,
        took: Duration,
    );

    /// Counts a fetch of a provider's JWKS; `outcome` MUST be from a fixed, small set.
    fn jwks_refresh(&self, provider: &ProviderId, outcome: &'static str);

    /// Counts the result of a recheck.
    fn provider_recheck(&self, _provider: &ProviderId, _result: RecheckResult) {}

    /// Counts a request for a provider's access token; `provider` is `None` if it is not known which.
    fn provider_token(&self, _provider: Option<&ProviderId>, _result: ProviderTokenResult) {}

    /// Counts a token introspection.
    fn introspection(&self, _result: IntrospectionResult) {}

    /// Counts a token revocation.
    fn token_revocation(&self, _result: RevocationResult) {}

    /// Records the state of a provider's circuit breaker, which begins closed.
    fn provider_circuit(&self, _provider: &ProviderId, _state: CircuitState) {}

    /// Records how large and how old the audit log is.
    fn audit_state(&self, _state: AuditState) {}

    /// Records how many events wait to be written to the audit log.
    fn audit_queued(&self, _count: u64) {}

    /// Counts events that were lost to the audit log.
    fn audit_dropped(&self, _count: u64) {}

    /// The size of the file into which the store writes commits first, in bytes.
    fn store_log(&self, _bytes: u64) {}

    /// So many secrets in the store are sealed under a former key-encryption key, by the last complete look.
    fn sealed_under_former_keys(&self, _count: u64) {}

    /// Records how long a call of a store took.
    fn store_query(&self, operation: StoreOperation, took: Duration);
}

/// Metrics that are not kept: for commands and tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMetrics;

impl Metrics for NoMetrics {
    fn token_generation(&self, _: Option<&ProviderId>, _: &'static str) {}
    fn token_generation_phase(&self, _: &ProviderId, _: Phase, _: Duration) {}
    fn refresh(&self, _: RefreshResult, _: Duration) {}
    fn sessions_revoked(&self, _: RevokeReason, _: u64) {}
    fn provider_request(&self, _: &ProviderId, _: ProviderEndpoint, _: &'static str, _: Duration) {}
    fn jwks_refresh(&self, _: &ProviderId, _: &'static str) {}
    fn store_query(&self, _: StoreOperation, _: Duration) {}
}
