//! The audit log's entries: what happened to whom, by whom, and how each entry proves the one before.

mod chain;
mod kind;

use std::collections::BTreeMap;

use super::{ExternalIdentity, SessionId, Timestamp, UserId};
pub use chain::{AuditFault, AuditHead, AuditKey, AuditKeys, ChainReader, ExportedHead};
pub use kind::{Actor, AuditKind};

/// The longest value of a detail, in bytes.
const MAX_DETAIL: usize = 512;
/// The most details of one event.
const MAX_DETAILS: usize = 8;

/// An event of the audit log. Only [`personal`](Self::personal) contains personal data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// The kind of event.
    pub kind: AuditKind,
    /// The time at which it happened, by the clock of whoever recorded it.
    pub at: Timestamp,
    /// Whoever brought the event about.
    pub actor: Actor,
    /// The user whom it is about.
    pub user: Option<UserId>,
    /// The session that it is about.
    pub session: Option<SessionId>,
    /// The request that did it, by the id in its answer. A caller may have chosen it.
    pub request_id: Option<String>,
    /// Our own id of the request's trace.
    pub trace_id: Option<String>,
    /// The issuer of the identity that it is about.
    pub issuer: Option<String>,
    /// What else there is to know, by name: at most 8 values of at most 512 bytes.
    pub details: BTreeMap<String, String>,
    /// The personal data, which can be erased.
    pub personal: PersonalData,
}

/// What an entry knows of a person. It stands beside what the entry proves, which holds a salted digest of
/// it alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PersonalData {
    /// The subject of the identity at its issuer.
    pub subject: Option<String>,
    /// The network of whoever made the request: an IPv4 /24 or an IPv6 /48.
    pub network: Option<String>,
    /// The user agent of the request, at most 256 bytes.
    pub user_agent: Option<String>,
}

impl PersonalData {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AuditEvent {
    /// An event about nobody in particular.
    pub fn new(kind: AuditKind, at: Timestamp, actor: Actor) -> Self {
        Self {
            kind,
            at,
            actor,
            user: None,
            session: None,
            request_id: None,
            trace_id: None,
            issuer: None,
            details: BTreeMap::new(),
            personal: PersonalData::default(),
        }
    }

    /// Says whom it is about.
    #[must_use]
    pub fn of_user(mut self, user: UserId) -> Self {
        self.user = Some(user);
        self
    }

    /// Says which session it is about.
    #[must_use]
    pub fn of_session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// Says which identity it is about.
    #[must_use]
    pub fn of_identity(mut self, identity: &ExternalIdentity) -> Self {
        self.issuer = Some(identity.issuer.clone());
        self.personal.subject = Some(identity.subject.clone());
        self
    }

    /// Adds a detail, which MUST NOT say who somebody is, nor hold a secret. Control characters and what
    /// is longer than 512 bytes are cut off, and so is a ninth detail.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts are given as they are")]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        if self.details.len() < MAX_DETAILS {
            let text = value.to_string();
            let clean: String = text.chars().filter(|c| !c.is_control()).collect();
            let end = clean.floor_char_boundary(MAX_DETAIL);
            self.details.insert(name.to_owned(), clean[..end].to_owned());
        }
        self
    }
}

/// An event in its place in the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// The place: 1, 2, 3 and so on, without gaps, whatever the clocks say.
    pub sequence: u64,
    /// The event that this entry is about.
    pub event: AuditEvent,
    /// Whether it was written late, because the audit log could not be written when it happened.
    pub is_late: bool,
    /// The salt of the digest of the personal data; `None` if they were erased or there never were any.
    pub salt: Option<[u8; 16]>,
    /// The salted SHA-256 of the personal data; `None` if there never were any.
    pub personal_digest: Option<[u8; 32]>,
    /// The proof of this entry and of all before it.
    pub mac: [u8; 32],
}

impl AuditEntry {
    /// Whether the entry had personal data, which were erased.
    pub fn is_erased(&self) -> bool {
        self.personal_digest.is_some() && self.salt.is_none()
    }

    /// Erases the personal data. What the entry proves stays as it is.
    pub fn erase(&mut self) {
        self.salt = None;
        self.event.personal = PersonalData::default();
    }
}

/// Which entries of the audit log are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditQuery {
    /// Every entry of the log.
    All,
    /// Those about a user.
    OfUser(UserId),
    /// Those about a session.
    OfSession(SessionId),
    /// Those of all requests with this id.
    OfRequest(String),
    /// Those about an identity, exactly as it was recorded.
    OfIdentity(ExternalIdentity),
}

/// How large the audit log is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditExtent {
    /// The sequence number of the oldest entry that is there, with its time; `None` if there is none.
    pub oldest: Option<(u64, Timestamp)>,
    /// The sequence number of the last entry; 0 if there never was any.
    pub last: u64,
}

impl AuditExtent {
    /// How many entries there are.
    pub fn entries(&self) -> u64 {
        self.oldest.map_or(0, |(first, _)| (self.last + 1).saturating_sub(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_bounded_and_have_no_control_characters() {
        let mut event = AuditEvent::new(AuditKind::Login, Timestamp::from_unix(0), Actor::User)
            .with("reason", format!("a\nb{}", "ä".repeat(400)));
        assert_eq!(event.details["reason"], format!("ab{}", "ä".repeat(255)));
        for n in 0..20 {
            event = event.with(&n.to_string(), n);
        }
        assert_eq!(event.details.len(), MAX_DETAILS);
    }

    #[test]
    fn an_audit_log_has_as_many_entries_as_its_numbers_say() {
        assert_eq!(AuditExtent::default().entries(), 0);
        let oldest = Some((11, Timestamp::from_unix(0)));
        assert_eq!(AuditExtent { oldest, last: 20 }.entries(), 10);
        assert_eq!(AuditExtent { oldest: None, last: 20 }.entries(), 0);
    }
}
