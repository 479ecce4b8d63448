//! A user as an operator sees them.

use super::{ExternalIdentity, FormerId, LinkedIdentity, RevokeReason, Timestamp, User, UserId};

/// A user with the identities they are known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user: roles, profile, whether disabled.
    pub user: User,
    /// The time of the sign-in that created the user.
    pub created_at: Timestamp,
    /// The identities that are linked to the user, the oldest first.
    pub identities: Vec<LinkedIdentity>,
    /// The ids that the user had in other systems, by system, the first one of each first.
    pub former_ids: Vec<FormerId>,
}

/// The name by which an operator selects one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PersonName {
    /// By the user's id.
    Id(UserId),
    /// By an identity at a provider, compared byte for byte.
    Identity(ExternalIdentity),
    /// By a whole name, user name, email address or subject; neither case nor Unicode form matters.
    Text(String),
}

impl PersonName {
    /// Reads one text: a UUID with hyphens is a user's id, an issuer and a subject with a space between
    /// are an identity, everything else is a name or an address.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        if let Some(id) = UserId::parse(text) {
            return Self::Id(id);
        }
        match text.split_once(' ') {
            Some((issuer, subject)) if issuer.contains("://") && !subject.is_empty() => {
                Self::Identity(ExternalIdentity {
                    issuer: issuer.to_owned(),
                    subject: subject.to_owned(),
                })
            }
            _ => Self::Text(text.to_owned()),
        }
    }
}

/// The end of a session, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownEnd {
    /// The time since which nothing of the session works; `None` if the session's own row does not say,
    /// because its user or identity ended it.
    pub at: Option<Timestamp>,
    /// The reason of the end.
    pub reason: RevokeReason,
}

/// The id of a session that was deleted with its user, kept until its access tokens have expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedSession {
    /// The time since which nothing of the session works.
    pub ended_at: Timestamp,
    /// The reason of the end: that of the session itself, if it had ended before its user was deleted.
    pub reason: RevokeReason,
    /// The time from which on no access token of the session is valid, and the id can be forgotten.
    pub forget_after: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_named_by_id_by_identity_or_by_any_text() {
        let id = "0192f0c1-2b3c-7def-8abc-0123456789ab";
        assert_eq!(PersonName::parse(id), PersonName::Id(UserId::parse(id).unwrap()));
        let identity = PersonName::Identity(ExternalIdentity {
            issuer: "https://idp.example.com".to_owned(),
            subject: "a b".to_owned(),
        });
        assert_eq!(PersonName::parse(" https://idp.example.com a b "), identity);
        for text in ["ada@example.com", "Ada Lovelace", "https://idp.example.com", "0192f0c1"] {
            assert_eq!(PersonName::parse(text), PersonName::Text(text.to_owned()));
        }
    }
}
