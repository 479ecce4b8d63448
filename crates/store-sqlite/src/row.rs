//! Columns as the types they stand for.

use std::fmt;

use mintgate_domain::TokenHash;
use mintgate_domain::model::Role;
use mintgate_domain::ports::StoreError;
use uuid::Uuid;

use crate::json;

/// A row that is being read. Its name is all that an error says about it; values are left out.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) table: &'static str,
    pub(crate) id: &'a dyn fmt::Display,
}

impl Row<'_> {
    /// The error for a column that holds something no version of this program writes.
    pub(crate) fn corrupt(&self, column: &str) -> StoreError {
        StoreError::Corrupt(
            format!("{}.{column} cannot be read in row {}", self.table, self.id).into(),
        )
    }

    /// Reads an identifier of 16 bytes.
    pub(crate) fn uuid(&self, column: &str, bytes: &[u8]) -> Result<Uuid, StoreError> {
        Uuid::from_slice(bytes).map_err(|_| self.corrupt(column))
    }

    /// Reads a SHA-256 hash of 32 bytes.
    pub(crate) fn hash(&self, column: &str, bytes: &[u8]) -> Result<TokenHash, StoreError> {
        bytes.try_into().map(TokenHash::from_bytes).map_err(|_| self.corrupt(column))
    }

    /// Reads a number, which must be in the range of `T`.
    pub(crate) fn number<T: TryFrom<i64>>(
        &self,
        column: &str,
        number: i64,
    ) -> Result<T, StoreError> {
        number.try_into().map_err(|_| self.corrupt(column))
    }

    /// Reads a JSON array of texts.
    pub(crate) fn texts(&self, column: &str, json: &str) -> Result<Vec<String>, StoreError> {
        json::read_texts(json).ok_or_else(|| self.corrupt(column))
    }

    /// Roles from the JSON array of their names.
    pub(crate) fn roles(&self, column: &str, json: &str) -> Result<Vec<Role>, StoreError> {
        Ok(self.texts(column, json)?.into_iter().map(Role::new).collect())
    }
}

/// Bytes in lowercase hexadecimal, as in SQL's `x'…'`.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
