//! What an operator wants to know of a store when something seems wrong.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::model::LiveReplica;

/// What a store says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFacts {
    /// The names of the migrations that the schema lacks.
    pub pending: Vec<String>,
    /// Whether a row could be written and deleted again; an error where the schema lacks a migration.
    pub written: Result<(), StoreError>,
    /// The processes of one issuer that live; none where the schema lacks a migration.
    pub replicas: Vec<LiveReplica>,
    /// The server that the store is on; `None` for a file.
    pub server: Option<ServerFacts>,
    /// The disk that the store is on; `None` if it is another machine's.
    pub disk: Option<DiskSpace>,
}

/// A database server, as a client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerFacts {
    /// How far the server's clock is ahead of this process's, in milliseconds; negative if it is behind.
    pub clock_ahead_millis: i64,
    /// Whether a pooler lends the same server process to two connections.
    pub is_lent: bool,
    /// Whether what is sent to the server can be read on the way: the connection leaves this machine
    /// without TLS.
    pub is_in_clear: bool,
    /// The most connections that the server accepts from this role.
    pub max_connections: u32,
}

/// The room on a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// What can still be written.
    pub free: u64,
    /// The size of the disk.
    pub size: u64,
}

/// A store that can be looked at by hand.
#[async_trait]
pub trait StoreExamination: Send + Sync {
    /// Looks at the store. Reports the processes of `issuer` that said less than `patience` ago that they
    /// live, in the order in which they were first heard of. MUST leave nothing behind, and MUST NOT make
    /// a store that is not there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the store cannot be reached.
    async fn examine(&self, issuer: &str, patience: Duration) -> Result<StoreFacts, StoreError>;
}
