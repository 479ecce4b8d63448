//! What an import found, or would do: counts, and the first of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use mintgate_domain::{ImportConflict, ImportResult};
use serde::Serialize;

/// How many records of each class are named.
const NAMED: usize = 10;
/// How many reasons are counted; names in a source could be endless.
const MAX_REASONS: usize = 200;

/// What a record is, for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Class {
    /// Somebody who can sign in here.
    #[value(skip)]
    SignIn,
    /// Somebody without an identity that can be used here: only until the moved session ends.
    MovedSession,
    /// Nobody who signs in: deleted, anonymous, a service account.
    Skipped,
    /// Somebody who cannot be stored, because of others.
    Conflict,
    /// A record that cannot be used.
    Invalid,
    /// Somebody who was imported before, and is not in the source any more.
    Gone,
}

impl Class {
    /// Every class, in the order of the report.
    const ALL: [Self; 6] = [
        Self::SignIn,
        Self::MovedSession,
        Self::Skipped,
        Self::Conflict,
        Self::Invalid,
        Self::Gone,
    ];

    /// The value of `--allow`.
    fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::MovedSession => "moved-session",
            Self::Skipped => "skipped",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Gone => "gone",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::SignIn => "can sign in here",
            Self::MovedSession => "only until the moved session ends",
            Self::Skipped => "skipped",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid record",
            Self::Gone => "gone from the source",
        }
    }
}

/// One class.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    count: u64,
    created: u64,
    changed: u64,
    unchanged: u64,
    /// Why, and how many.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    reasons: BTreeMap<String, u64>,
    /// The first ids, or lines.
    first: Vec<String>,
}

/// The report of an import.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    source: String,
    /// Whether anything was written.
    applied: bool,
    /// Why the import ended before its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    classes: BTreeMap<Class, Entry>,
    /// Identities that were left out, by the provider's name in the source and why.
    identities_left_out: BTreeMap<String, u64>,
    /// Roles that the mapping does not have.
    roles_left_out: BTreeMap<String, u64>,
    #[serde(skip)]
    allowed: BTreeSet<Class>,
}

impl Report {
    pub(crate) fn new(source: &str, applied: bool, allowed: &[Class]) -> Self {
        Self {
            source: source.to_owned(),
            applied,
            allowed: allowed.iter().copied().chain([Class::SignIn]).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn allows(&self, class: Class) -> bool {
        self.allowed.contains(&class)
    }

    /// Counts a record that is not stored.
    pub(crate) fn add(&mut self, class: Class, name: &str, reason: Option<&str>) {
        let entry = self.named(class, name);
        if let Some(reason) = reason {
            count(&mut entry.reasons, reason.to_owned());
        }
    }

    /// Counts a person with what has become of them.
    pub(crate) fn add_result(&mut self, class: Class, name: &str, result: ImportResult) {
        match result {
            ImportResult::Conflict(conflict) => {
                self.add(Class::Conflict, name, Some(conflict_words(conflict)));
            }
            ImportResult::Created => self.named(class, name).created += 1,
            ImportResult::Changed => self.named(class, name).changed += 1,
            ImportResult::Unchanged => self.named(class, name).unchanged += 1,
        }
    }

    fn named(&mut self, class: Class, name: &str) -> &mut Entry {
        let entry = self.classes.entry(class).or_default();
        entry.count += 1;
        if entry.first.len() < NAMED {
            entry.first.push(shown(name));
        }
        entry
    }

    pub(crate) fn identity_left_out(&mut self, provider: &str, why: &str) {
        count(&mut self.identities_left_out, format!("{}: {why}", shown(provider)));
    }

    pub(crate) fn role_left_out(&mut self, role: &str) {
        count(&mut self.roles_left_out, shown(role));
    }

    pub(crate) fn fail(&mut self, error: String) {
        self.error = Some(error);
    }

    /// The classes that were found and not allowed.
    fn unexpected(&self) -> Vec<Class> {
        self.classes.keys().copied().filter(|class| !self.allows(*class)).collect()
    }

    /// 0, or 1 if the import ended before its end, or 3 if a class was found that is not allowed.
    pub(crate) fn exit_code(&self) -> u8 {
        match (&self.error, self.unexpected().is_empty()) {
            (Some(_), _) => 1,
            (None, true) => 0,
            (None, false) => 3,
        }
    }

    pub(crate) fn json(&self) -> String {
        // Texts and numbers, and maps with texts as keys.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

fn count(counts: &mut BTreeMap<String, u64>, key: String) {
    let is_full = counts.len() >= MAX_REASONS && !counts.contains_key(&key);
    *counts.entry(if is_full { "others".to_owned() } else { key }).or_default() += 1;
}

/// A text of a stranger without what would act on a terminal, and not too long.
fn shown(text: &str) -> String {
    let clean = text.chars().take(300).flat_map(|c| {
        let acts = c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let escaped: String = if acts { c.escape_unicode().collect() } else { c.to_string() };
        escaped.chars().collect::<Vec<_>>()
    });
    clean.collect()
}

fn conflict_words(conflict: ImportConflict) -> &'static str {
    match conflict {
        ImportConflict::SeveralUsers => "the ids belong to several users here",
        ImportConflict::SeveralOwners => "the identities belong to several users here",
        ImportConflict::IdentityTaken => "an identity belongs to somebody else",
        ImportConflict::IdTaken => {
            "an id belongs to somebody else; of a CSV file, the lines of one person must follow one another"
        }
        ImportConflict::LastIdentity => {
            "the last identity was unlinked there; disable the user here, if that is meant"
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for class in Class::ALL {
            let Some(entry) = self.classes.get(&class) else { continue };
            let Entry { count, created, changed, unchanged, reasons, first } = entry;
            let mut line = format!("{}: {count}", class.words());
            if created + changed + unchanged > 0 {
                let _ =
                    write!(line, " (created {created}, changed {changed}, unchanged {unchanged})");
            }
            writeln!(f, "{line}")?;
            for (reason, count) in reasons {
                writeln!(f, "  {reason}: {count}")?;
            }
            writeln!(f, "  first: {}", first.join("; "))?;
        }
        for (what, counts) in [
            ("identities left out", &self.identities_left_out),
            ("roles left out", &self.roles_left_out),
        ] {
            if !counts.is_empty() {
                writeln!(f, "{what}:")?;
            }
            for (name, count) in counts {
                writeln!(f, "  {name}: {count}")?;
            }
        }
        if self.classes.is_empty() {
            writeln!(f, "There is nobody in it.")?;
        }
        if !self.applied && self.error.is_none() {
            writeln!(f, "Nothing was written; add --apply to write this.")?;
        }
        Ok(())
    }
}

impl Report {
    /// What is for standard error.
    pub(crate) fn complaint(&self) -> String {
        if let Some(error) = &self.error {
            let again = if self.applied {
                "; what was written stays, and the same command goes on from there"
            } else {
                ""
            };
            return format!("mintgate: {error}{again}\n");
        }
        let unexpected: Vec<_> = self.unexpected().into_iter().map(Class::name).collect();
        if unexpected.is_empty() {
            return String::new();
        }
        let names = unexpected.join(",");
        format!(
            "mintgate: not expected: {names}; if this is as it should be, add --allow {names}\n"
        )
    }
}
