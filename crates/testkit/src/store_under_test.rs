//! What the contract suite needs of a store besides its ports.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use async_trait::async_trait;
use mintgate_domain::model::{NewSession, SessionId, Timestamp, UserId};
use mintgate_domain::ports::{RefreshTokenRepo, StoreHealth, UserDirectory};

/// All the ports of a store.
pub trait Store: RefreshTokenRepo + UserDirectory + StoreHealth {}

impl<T: RefreshTokenRepo + UserDirectory + StoreHealth> Store for T {}

/// A fresh store with a current schema, and a way around its ports: into the rows themselves.
#[async_trait]
pub trait StoreUnderTest: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// Disables a user, as an operator does.
    async fn disable_user(&self, user: UserId, at: Timestamp);

    /// Gives a user these roles in the store.
    async fn grant_roles(&self, user: UserId, roles: &[&str]);

    /// Reads a session's row.
    async fn find_session(&self, id: SessionId) -> Option<StoredSession>;

    /// Everything that is stored, every column of every row.
    async fn dump(&self) -> Dump;
}

/// A session as its row has it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSession {
    /// Whose it is.
    pub user: UserId,
    /// What was stored.
    pub session: NewSession,
    /// When it was last used.
    pub last_used_at: Timestamp,
}

/// All rows as text, by table; digests and other bytes in lowercase hexadecimal.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Dump(BTreeMap<String, Vec<String>>);

impl Dump {
    /// The tables that a dump has to have.
    pub const TABLES: [&'static str; 4] =
        ["users", "external_identities", "consumed_id_tokens", "sessions"];

    /// Adds a table; the order of its rows does not matter.
    pub fn insert(&mut self, table: &str, mut rows: Vec<String>) {
        rows.sort();
        self.0.insert(table.to_owned(), rows);
    }

    /// How many rows each of [`Dump::TABLES`] has.
    pub fn counts(&self) -> [usize; 4] {
        Self::TABLES.map(|table| self.0[table].len())
    }
}

/// Bytes as a dump shows them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("memory");
        text
    })
}

impl fmt::Debug for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (table, rows) in &self.0 {
            writeln!(f, "{table}:")?;
            for row in rows {
                writeln!(f, "  {row}")?;
            }
        }
        Ok(())
    }
}
