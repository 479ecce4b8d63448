//! Sign-in requests that may be repeated.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::TokenHash;
use crate::model::{IdempotencyKey, SessionId, Timestamp};

/// The process that reserves an idempotency key: 128 random bits, drawn when it starts.
pub type Holder = [u8; 16];

/// The result of reserving an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// The key is the holder's, durably; nobody else gets it before the lease ends.
    Own,
    /// Another process holds the key; nothing was written. The body's hash is that of its request,
    /// if the store could tell.
    ByAnother(Option<TokenHash>),
    /// A request with this key has opened a session; nothing was written.
    Opened(IdempotencyKey, SessionId),
}

/// Reserves `Idempotency-Key`s before a provider is asked, and finds the sessions that requests with
/// one have opened. The record of an opened session is stored with the session
/// ([`SessionOpening::idempotency`](crate::model::SessionOpening::idempotency)).
#[async_trait]
pub trait IdempotencyRecords: Send + Sync {
    /// Reserves a key for a process, unless another one holds it or a request with it has opened a
    /// session whose record has not expired at `now`.
    ///
    /// The lease runs by the store's own clock. MUST be one round trip, and repeating it MUST be
    /// harmless: whoever holds the key with this body gets it again. MUST NOT return
    /// [`Reserved::Own`] after a session was opened with the key, even where that happens at the same
    /// time.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn reserve(
        &self,
        request: &IdempotencyKey,
        holder: &Holder,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Reserved, StoreError>;

    /// Gives a key back whose request was refused. Writes nothing if the process does not hold it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn release(&self, key: TokenHash, holder: &Holder) -> Result<(), StoreError>;

    /// The request that used this key, and the session it opened, if the record has not expired at
    /// `now`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    async fn find(
        &self,
        key: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(IdempotencyKey, SessionId)>, StoreError>;
}
