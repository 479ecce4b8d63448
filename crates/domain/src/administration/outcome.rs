//! What an operator is told.

use crate::Cause;
use crate::model::{Account, KnownEnd, Session, Timestamp};
use crate::ports::StoreError;

/// Why an operator's request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdministrationError {
    /// There is no such user; nothing was changed.
    #[error("there is no such person")]
    Nobody,
    /// There is no such session; nothing was changed.
    #[error("there is no such session")]
    NoSuchSession,
    /// The name does not select exactly one user; nothing was changed.
    #[error("the name stands for no person alone")]
    Ambiguous {
        /// At most ten users that match the complete name, or otherwise a part of it.
        candidates: Vec<Account>,
    },
    /// The text has more than 320 bytes or a control character.
    #[error("the text cannot be searched for: it has more than 320 bytes, or a control character")]
    NotSearchable,
    /// The text cannot be the name of a role.
    #[error("a role has 1 to 64 visible ASCII characters, without spaces and commas")]
    InvalidRole,
    /// The store cannot be asked; nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The change gives rights, and could not be noted in the audit log first; nothing was changed.
    #[error("the change could not be noted in the audit log, so it was not made")]
    NotNoted(#[source] StoreError),
    /// The store did not say whether the change took effect. The same call may be made again.
    #[error("the store did not say whether the change took effect")]
    InDoubt(#[source] Cause),
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T, C> {
    /// The entries of the page.
    pub entries: Vec<T>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<C>,
}

/// A session, and its end as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRecord {
    /// The session as it is stored.
    pub session: Session,
    /// The end of the session; `None` if it is live.
    pub end: Option<KnownEnd>,
}

/// A user with sessions.
#[derive(Debug, Clone, PartialEq)]
pub struct PersonRecord {
    /// The user that was found.
    pub account: Account,
    /// Sessions of the user.
    pub sessions: Vec<SessionRecord>,
}

/// The result of deleting a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedUser {
    /// How many live sessions were ended.
    pub ended: u64,
    /// The time from which on nothing of the person is left, after the next clean-up.
    pub forget_after: Timestamp,
    /// Whether the audit log knows the person no more either. If not, it could not be written yet: the
    /// service goes on trying.
    pub is_forgotten: bool,
}
