//! What the store can be told.

use std::time::Duration;

use mintgate_domain::SecretText;

/// The configuration of the Postgres store.
#[derive(Debug, Clone)]
pub struct PgConfig {
    /// The address `postgres://user:password@host:port/database`, with the parameters that
    /// tokio-postgres knows, and `sslmode=disable|prefer|require|verify-ca|verify-full` and
    /// `sslrootcert=FILE` as in libpq.
    pub url: SecretText,
    /// The most connections that are open at once; not 0.
    pub pool_size: u32,
    /// The longest that a call waits for a connection, and that making one may take; not 0.
    pub connect_timeout: Duration,
    /// The longest that one statement may take; not 0.
    pub statement_timeout: Duration,
}

/// The configuration cannot be used. The text names the rule, never the address or its password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the Postgres store cannot be configured: {0}")]
pub struct InvalidPgConfig(pub(crate) String);

impl PgConfig {
    /// The limits that the pool cannot do without.
    pub(crate) fn check(&self) -> Result<(), InvalidPgConfig> {
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
