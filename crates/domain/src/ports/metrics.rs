//! What is counted and timed. Labels are bounded: an adapter MUST NOT make a
//! series from anything a client sent.

use std::time::Duration;

use crate::model::ProviderId;

/// A part of issuing tokens that is timed on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The code exchange at the provider.
    Exchange,
    /// Verification of the ID token, with any fetch of keys it needed.
    Verify,
    /// Signing our tokens.
    Sign,
    /// Store reads and writes.
    Store,
    /// All of it.
    Total,
}

/// An endpoint of a provider.
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

/// A store operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOperation {
    /// [`UserDirectory::find_user`](super::UserDirectory::find_user)
    FindUser,
    /// [`RefreshTokenRepo::open_session`](super::RefreshTokenRepo::open_session)
    OpenSession,
}

/// Where events are counted. Every method MUST return at once.
pub trait Metrics: Send + Sync {
    /// Issuing tokens ended; `provider` is `None` when the request named none that is configured,
    /// `outcome` is `success` or an error code.
    fn token_generation(&self, provider: Option<&ProviderId>, outcome: &'static str);

    /// A phase of issuing tokens took this long.
    fn token_generation_phase(&self, provider: &ProviderId, phase: Phase, took: Duration);

    /// A request to a provider ended; `outcome` is from a fixed, small set.
    fn provider_request(
        &self,
        provider: &ProviderId,
        endpoint: ProviderEndpoint,
        outcome: &'static str,
        took: Duration,
    );

    /// A provider's JWKS was fetched again, or failed to be; `outcome` as above.
    fn jwks_refresh(&self, provider: &ProviderId, outcome: &'static str);

    /// A store operation took this long.
    fn store_query(&self, operation: StoreOperation, took: Duration);
}
