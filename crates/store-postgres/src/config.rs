//! What the store can be told.

use std::time::Duration;

use mintgate_domain::SecretText;

use crate::connector::Connector;

/// The configuration of the Postgres store.
#[derive(Debug, Clone)]
pub struct PgConfig {
    /// The address `postgres://user:password@host:port/database`, with the parameters that
    /// tokio-postgres knows, and `sslmode=disable|prefer|require|verify-ca|verify-full`,
    /// `sslrootcert=FILE`, `sslcert=FILE` and `sslkey=FILE` as in libpq.
    pub url: SecretText,
    /// The most connections that are open at once; not 0.
    pub pool_size: u32,
    /// The longest that a call waits for a connection, and that making one may take; not 0.
    pub connect_timeout: Duration,
    /// The longest that one statement may take; not 0.
    pub statement_timeout: Duration,
    /// What stands between the store and the server.
    pub pooling: Pooling,
}

/// How long a connection to Postgres keeps the server process that it was given: a pooler such as
/// PgBouncer may take it away between two transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pooling {
    /// As [`Session`](Self::Session), until a pooler is found to take server processes away.
    #[default]
    Auto,
    /// A connection keeps its server process: there is no pooler, or it pools by session.
    Session,
    /// A pooler may give every transaction another server process: each call is a transaction of its
    /// own, with more round trips, and no prepared statement outlives it.
    Transaction,
}

/// The configuration cannot be used. The text names the rule, never the address or its password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the Postgres store cannot be configured: {0}")]
pub struct InvalidPgConfig(pub(crate) String);

impl PgConfig {
    /// Checks the configuration without connecting: its address, the files that the address names, and
    /// the limits that the pool cannot do without.
    ///
    /// # Errors
    /// Those of [`PgStore::connect`](crate::PgStore::connect), in the same words.
    pub fn check(&self) -> Result<(), InvalidPgConfig> {
        self.check_limits()?;
        Connector::new(self).map(drop)
    }

    pub(crate) fn check_limits(&self) -> Result<(), InvalidPgConfig> {
        let limits = [
            ("the pool size", self.pool_size == 0),
            ("the connect timeout", self.connect_timeout.is_zero()),
            ("the statement timeout", self.statement_timeout.is_zero()),
        ];
        match limits.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((what, _)) => Err(InvalidPgConfig(format!("{what} must not be zero"))),
            None => Ok(()),
        }
    }
}
