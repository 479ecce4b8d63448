//! People who come from another system, and the ids that they had there.

use super::{ExternalIdentity, Profile, ProviderId, Role, Timestamp, UserId};

/// The longest id of another system, in bytes.
pub const MAX_FORMER_ID_BYTES: usize = 255;
/// The longest name of another system, in bytes.
pub const MAX_SOURCE_BYTES: usize = 64;

/// An id that a user had in the system that they came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FormerId {
    /// The name that the operator gave that system.
    pub source: String,
    /// The id there, compared byte for byte; at most 255 bytes.
    pub id: String,
}

/// How long somebody may not sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ban {
    /// Until this time, and shortly after it: the clean-up ends it.
    Until(Timestamp),
    /// Until an operator enables the user.
    ForEver,
}

impl Ban {
    /// The ban, unless it has ended at `now`.
    pub fn at(self, now: Timestamp) -> Option<Self> {
        match self {
            Self::Until(until) if until <= now => None,
            Self::Until(_) | Self::ForEver => Some(self),
        }
    }
}

/// A person of another system, in the terms of this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedUser {
    /// The user's id: the former one if that is a UUID, else a new one.
    pub id: UserId,
    /// All ids in the other system, never empty; first the one that the applications know.
    pub former_ids: Vec<String>,
    /// The identities that the person signs in with, each with the configured provider that it is shown
    /// with.
    pub identities: Vec<(ExternalIdentity, ProviderId)>,
    /// The roles that the person is granted in the store.
    pub roles: Vec<Role>,
    /// The part of the profile that the configuration keeps.
    pub profile: Profile,
    /// Whether the person may not sign in; a ban may have ended.
    pub ban: Option<Ban>,
    /// The time at which the person came to the other system.
    pub created_at: Timestamp,
}

/// What an import takes over of a person and keeps up to date: stored as a text, which the next import of
/// the same person is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportRecord {
    /// All ids in the other system.
    pub former_ids: Vec<String>,
    /// The identities.
    pub identities: Vec<ExternalIdentity>,
    /// The roles that are granted in the store.
    pub roles: Vec<Role>,
    /// Whether the person may not sign in.
    pub ban: Option<Ban>,
}

impl From<&ImportedUser> for ImportRecord {
    fn from(user: &ImportedUser) -> Self {
        let mut record = Self {
            former_ids: user.former_ids.clone(),
            identities: user.identities.iter().map(|(identity, _)| identity.clone()).collect(),
            roles: user.roles.clone(),
            ban: user.ban,
        };
        // A source that says the same in another order says nothing new.
        record.identities.sort_by(|a, b| (&a.issuer, &a.subject).cmp(&(&b.issuer, &b.subject)));
        record.roles.sort();
        record
    }
}

impl ImportRecord {
    /// The record as one text: a line for each value, its parts separated by tabs. No value has a control
    /// character.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |parts: &[&str]| {
            text.push_str(&parts.join("\t"));
            text.push('\n');
        };
        for id in &self.former_ids {
            line(&["id", id]);
        }
        for ExternalIdentity { issuer, subject } in &self.identities {
            line(&["identity", issuer, subject]);
        }
        for role in &self.roles {
            line(&["role", role.as_str()]);
        }
        match self.ban {
            None => {}
            Some(Ban::ForEver) => line(&["banned"]),
            Some(Ban::Until(at)) => line(&["banned", &at.as_unix().to_string()]),
        }
        text
    }

    /// Reads what [`to_text`](Self::to_text) wrote; lines of other kinds are left out.
    pub fn parse(text: &str) -> Self {
        let mut record = Self::default();
        for line in text.lines() {
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["id", id] => record.former_ids.push(id.to_owned()),
                ["identity", issuer, subject] => record.identities.push(ExternalIdentity {
                    issuer: issuer.to_owned(),
                    subject: subject.to_owned(),
                }),
                ["role", role] => record.roles.push(Role::new(role)),
                ["banned"] => record.ban = Some(Ban::ForEver),
                ["banned", at] => {
                    record.ban = at.parse().ok().map(Timestamp::from_unix).map(Ban::Until);
                }
                _ => {}
            }
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_is_written() {
        let identity = |subject: &str| ExternalIdentity {
            issuer: "https://idp.example.com".to_owned(),
            subject: subject.to_owned(),
        };
        for ban in [None, Some(Ban::ForEver), Some(Ban::Until(Timestamp::from_unix(1_800_000_000)))]
        {
            let record = ImportRecord {
                former_ids: vec!["f:1:ada l".to_owned(), "2".to_owned()],
                identities: vec![identity("a"), identity("b c")],
                roles: vec![Role::new("admin")],
                ban,
            };
            assert_eq!(ImportRecord::parse(&record.to_text()), record);
        }
        assert_eq!(ImportRecord::parse("later\tmore\n"), ImportRecord::default());
    }
}
