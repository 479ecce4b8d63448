//! A person as every source yields them.

use mintgate_domain::model::{Ban, Timestamp};

/// The most ids that one person may have had.
pub(crate) const MAX_IDS: usize = 16;
/// The most identities that one person may have.
const MAX_IDENTITIES: usize = 64;

/// Somebody of another system, in that system's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImportedPerson {
    /// Where the record is, for messages: a line, or nothing where the id says it.
    pub(crate) place: Option<String>,
    /// All ids, never empty; first the one that the applications know.
    pub(crate) ids: Vec<String>,
    pub(crate) identities: Vec<SourceIdentity>,
    pub(crate) email: Option<String>,
    pub(crate) email_verified: bool,
    pub(crate) name: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) picture: Option<String>,
    /// The names of roles there.
    pub(crate) roles: Vec<String>,
    pub(crate) ban: Option<Ban>,
    /// `None` if it is not known.
    pub(crate) created_at: Option<Timestamp>,
    /// Why this is nobody who signs in.
    pub(crate) skip: Option<Skip>,
}

/// An account at a provider, as the other system keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceIdentity {
    /// The name that the other system has for the provider.
    pub(crate) provider: String,
    /// What that system keeps as the subject.
    pub(crate) subject: String,
    /// The issuer, if that system says it. Only compared with what the mapping says.
    pub(crate) issuer: Option<String>,
}

/// Why a record is nobody who signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Skip {
    Deleted,
    Anonymous,
    ServiceAccount,
}

impl Skip {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Deleted => "deleted there",
            Self::Anonymous => "anonymous",
            Self::ServiceAccount => "service account",
        }
    }
}

/// What a source has found.
#[derive(Debug)]
pub(crate) enum Found {
    Person(ImportedPerson),
    /// A record that cannot be used.
    Invalid(InvalidRecord),
}

/// A record that cannot be used, and costs nobody else anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidRecord {
    /// The line or the id.
    pub(crate) place: String,
    /// The person's id, if it can be read: whoever has it is not gone.
    pub(crate) id: Option<String>,
    /// What is wrong, without the value.
    pub(crate) problem: String,
}

impl ImportedPerson {
    /// Somebody of whom only the id is known.
    pub(crate) fn new(id: impl Into<String>) -> Self {
        Self {
            place: None,
            ids: vec![id.into()],
            identities: vec![],
            email: None,
            email_verified: false,
            name: None,
            username: None,
            picture: None,
            roles: vec![],
            ban: None,
            created_at: None,
            skip: None,
        }
    }

    /// The id that the applications know.
    pub(crate) fn id(&self) -> &str {
        self.ids.first().map_or("", String::as_str)
    }

    /// Adds an id that is not there yet.
    pub(crate) fn add_id(&mut self, id: String) {
        if !self.ids.contains(&id) {
            self.ids.push(id);
        }
    }

    /// What cannot be stored of this person, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let is_odd = |id: &String| {
            id.is_empty()
                || id.len() > mintgate_domain::model::MAX_FORMER_ID_BYTES
                || id.contains(char::is_control)
        };
        if self.ids.iter().any(is_odd) {
            return Some("an id is empty, has a control character, or more than 255 bytes".into());
        }
        if self.ids.len() > MAX_IDS || self.identities.len() > MAX_IDENTITIES {
            let problem = format!("more than {MAX_IDS} ids or {MAX_IDENTITIES} identities");
            return Some(problem);
        }
        None
    }

    /// What messages call this record.
    pub(crate) fn called(&self) -> String {
        match &self.place {
            Some(place) => format!("{place}, id {}", self.id()),
            None => self.id().to_owned(),
        }
    }
}
