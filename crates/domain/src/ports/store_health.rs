//! The state of a store, and how it fails.

use async_trait::async_trait;

use crate::Cause;

/// The way in which a store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, is too busy, or did not say whether the request took effect.
    #[error("the store is unavailable")]
    Unavailable(#[source] Cause),
    /// The schema is older or newer than this program.
    #[error("the store's schema does not fit this program; run `mintgate migrate`")]
    SchemaMismatch(#[source] Cause),
    /// A row holds something no version of this program writes.
    #[error("the store holds a corrupt row")]
    Corrupt(#[source] Cause),
}

/// The connections of a pool at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// How many open connections are not in use.
    pub idle: u32,
    /// How many connections are in use.
    pub in_use: u32,
}

/// What readiness checks and metrics ask of a store.
#[async_trait]
pub trait StoreHealth: Send + Sync {
    /// Whether the store answers, its schema is current, and it can be written, as far as that can be
    /// told without writing. MUST NOT wait for a connection that requests use.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::SchemaMismatch`], with what to do.
    async fn check(&self) -> Result<(), StoreError>;

    /// The pool at this moment; MUST NOT block.
    fn pool_state(&self) -> PoolState;
}
