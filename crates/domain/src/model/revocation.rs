//! What other services learn of sessions and users whose access tokens they must refuse.

use std::fmt;

use super::{SessionId, Timestamp, UserId};
use crate::ports::RevocationPage;

/// The access tokens that must be refused although they have not expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// Those of a session.
    Session(SessionId),
    /// Those of a user with an `epoch` below this one, or without any.
    User {
        /// The `sub` of the tokens.
        user: UserId,
        /// The session epoch of the user from now on.
        epoch: u64,
    },
    /// All that were issued before a time: a backup of the store was restored then.
    IssuedBefore(Timestamp),
}

/// An entry of the log of revocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Revocation {
    /// Which access tokens must be refused.
    pub revoked: Revoked,
    /// From when on all of them have expired, by the clock of the store.
    pub forget_after: Timestamp,
}

/// A place in the log of revocations: all that is before it has been read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RevocationCursor(String);

impl RevocationCursor {
    /// The longest cursor, in bytes.
    const MAX: usize = 200;

    /// Reads a cursor that somebody presents. Whether it is one of a log is for that log to say; `None` if it
    /// cannot be one of any.
    pub fn parse(text: &str) -> Option<Self> {
        let is_proper = |byte: u8| byte.is_ascii_alphanumeric() || b".~-_".contains(&byte);
        let is_one = !text.is_empty() && text.len() <= Self::MAX && text.bytes().all(is_proper);
        is_one.then(|| Self(text.to_owned()))
    }

    /// The place behind a position of the log with this identity.
    pub fn behind(log: &str, position: u64) -> Self {
        Self(format!("{log}.{position}"))
    }

    /// The position, if the cursor is one of the log with this identity.
    pub fn position_in(&self, log: &str) -> Option<u64> {
        let (identity, position) = self.0.rsplit_once('.')?;
        let position = position.parse().ok().filter(|_| identity == log)?;
        // The same place has one text.
        (Self::behind(log, position) == *self).then_some(position)
    }

    /// The cursor as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RevocationCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a client is told of the log of revocations.
#[derive(Debug, Clone, Copy)]
pub struct RevocationStatement<'a> {
    /// The `aud` claim: the id of the client.
    pub audience: &'a str,
    /// The `after` claim: the place that the client named; none if it began anew.
    pub after: Option<&'a RevocationCursor>,
    /// The claims `cursor`, `more` and `events`.
    pub page: &'a RevocationPage,
    /// The `iat` claim: when the statement was made.
    pub issued_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_of_one_log_and_has_one_text() {
        let cursor = RevocationCursor::behind("ab12", 7);
        assert_eq!(RevocationCursor::parse(cursor.as_str()), Some(cursor.clone()));
        assert_eq!(cursor.position_in("ab12"), Some(7));
        assert_eq!(cursor.position_in("ab13"), None);
        for other in ["ab12.07", "ab12.+7", "ab12.-7", "ab12.", "ab12", ".7", "ab12.7.7"] {
            let cursor = RevocationCursor::parse(other);
            assert_eq!(cursor.and_then(|cursor| cursor.position_in("ab12")), None, "{other}");
        }
        for odd in ["", "a b", "a\n", "ä", "a,b", &"a".repeat(201)] {
            assert_eq!(RevocationCursor::parse(odd), None, "{odd}");
        }
    }
}
