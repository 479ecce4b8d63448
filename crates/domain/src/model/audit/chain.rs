//! The chain of entries: each entry's proof is a keyed digest of the entry and of the proof before it.
//!
//! - A changed, missing, added or moved entry breaks the chain from there on.
//! - The head is proven by itself, so that a cut tail does not pass as an earlier end.
//! - Without the key nobody can compute proofs, so that a rewritten log does not pass either.
//! - Entries that were deleted because they were old are announced by an entry of their own
//!   ([`AuditKind::EntriesPruned`]), which holds the proof that the rest begins with.
//! - Personal data are in no proof but as a salted digest, so that erasing them changes none.

use std::collections::BTreeSet;
use std::fmt;

use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{AuditEntry, AuditEvent, AuditKind, PersonalData};
use crate::SecretText;
use crate::model::UserId;

/// Detail of [`AuditKind::EntriesPruned`]: the sequence number of the last entry that is deleted.
const THROUGH: &str = "through";
/// Detail of [`AuditKind::EntriesPruned`]: the proof of that entry, in hexadecimal.
const PROOF: &str = "proof";
/// Detail of [`AuditKind::UserDeleted`]: how many entries about no user were erased with the person, whose
/// identities they are about.
const WITHOUT_USER: &str = "erased_without_user";
/// The proof before the first entry.
const ORIGIN: [u8; 32] = [0; 32];

/// A key that the audit log is proven with.
#[derive(Clone)]
pub struct AuditKey(Option<Zeroizing<[u8; 32]>>);

impl AuditKey {
    /// The key that follows from a secret of the configuration, and from nothing else.
    pub fn derived(secret: &SecretText) -> Self {
        let key = digest(secret.expose().as_bytes(), &[b"mintgate audit log"]);
        Self(Some(Zeroizing::new(key)))
    }

    /// No key: the chain still shows single changes, but whoever can write the log can write another one.
    pub fn none() -> Self {
        Self(None)
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        digest(self.0.as_ref().map_or(&[], |key| &key[..]), parts)
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "AuditKey([redacted])" } else { "AuditKey(none)" })
    }
}

/// HMAC-SHA-256 (RFC 2104) of the parts, each with its length before it.
fn digest(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // A key may have any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// The key that proves new entries, and those that have proven older ones.
#[derive(Debug, Clone)]
pub struct AuditKeys {
    /// The key for new entries.
    pub current: AuditKey,
    /// The keys before it.
    pub former: Vec<AuditKey>,
}

impl AuditKeys {
    /// Whether new entries are proven with a key at all.
    pub fn is_keyed(&self) -> bool {
        self.current.0.is_some()
    }

    fn all(&self) -> impl Iterator<Item = &AuditKey> {
        std::iter::once(&self.current).chain(&self.former)
    }

    /// Puts an event behind a head: the entry, and the head that it makes.
    pub fn seal(
        &self,
        head: &AuditHead,
        event: AuditEvent,
        is_late: bool,
        salt: [u8; 16],
    ) -> (AuditEntry, AuditHead) {
        let digest = (!event.personal.is_empty()).then(|| personal_digest(&salt, &event.personal));
        let mut entry = AuditEntry {
            sequence: head.sequence + 1,
            event,
            is_late,
            salt: digest.map(|_| salt),
            personal_digest: digest,
            mac: [0; 32],
        };
        entry.mac = entry_mac(&self.current, &head.mac, &entry);
        let is_pruning = entry.event.kind == AuditKind::EntriesPruned;
        let pruning = if is_pruning { entry.sequence } else { head.pruning };
        let mut next =
            AuditHead { sequence: entry.sequence, mac: entry.mac, pruning, proof: [0; 32] };
        next.proof = head_proof(&self.current, &next);
        (entry, next)
    }
}

/// The end of the audit log, as the store keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditHead {
    /// The sequence number of the last entry; 0 if there never was any.
    pub sequence: u64,
    /// The proof of the last entry.
    pub mac: [u8; 32],
    /// The sequence number of the last entry that says that old ones are deleted; 0 if there is none.
    pub pruning: u64,
    /// The proof of all this.
    pub proof: [u8; 32],
}

impl Default for AuditHead {
    /// The head of a log that never had any entry.
    fn default() -> Self {
        Self { sequence: 0, mac: ORIGIN, pruning: 0, proof: ORIGIN }
    }
}

/// The end of the audit log at some time, as it was written down elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportedHead {
    /// The sequence number of the entry that was the last.
    pub sequence: u64,
    /// The proof of that entry.
    pub mac: [u8; 32],
}

impl ExportedHead {
    /// Reads `SEQUENCE:PROOF`, the form in which it is written.
    pub fn parse(text: &str) -> Option<Self> {
        let (sequence, mac) = text.trim().split_once(':')?;
        Some(Self { sequence: sequence.parse().ok()?, mac: unhex(mac)? })
    }
}

impl From<&AuditHead> for ExportedHead {
    fn from(head: &AuditHead) -> Self {
        Self { sequence: head.sequence, mac: head.mac }
    }
}

impl fmt::Display for ExportedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, hex(&self.mac))
    }
}

/// Why the audit log is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    /// Entries are missing, or were moved.
    #[error("entry {expected} is missing: entry {found} stands in its place")]
    Gap {
        /// The sequence number that was to come.
        expected: u64,
        /// The sequence number that came.
        found: u64,
    },
    /// The entry, or one before it, was changed, or was proven with another key.
    #[error("entry {0} was changed, or the audit key is another one")]
    Changed(u64),
    /// The personal data are not those that were recorded.
    #[error("the personal data of entry {0} were changed")]
    PersonalDataChanged(u64),
    /// The personal data are gone although nobody was deleted whom they were about.
    #[error("the personal data of entry {0} are gone, and no deleted person explains that")]
    PersonalDataMissing(u64),
    /// The log ends before the head that the store keeps.
    #[error("the log ends with entry {found}, and there were {expected}")]
    Cut {
        /// The sequence number of the last entry that there is.
        found: u64,
        /// The sequence number of the last entry that there was.
        expected: u64,
    },
    /// The head that the store keeps was not written by Mintgate.
    #[error("the head that the store keeps was changed, or the audit key is another one")]
    HeadChanged,
    /// The entry that an exported head names is another one now.
    #[error("entry {0} is not the one whose head was exported: the log was rewritten")]
    Rewritten(u64),
    /// The entry by which old ones were deleted does not say where the rest begins.
    #[error("entry {0}, by which old entries were deleted, cannot be read")]
    BadAnchor(u64),
}

/// Reads a chain from its beginning to its head, entry by entry, in constant memory but for the people
/// who were erased.
#[derive(Debug)]
pub struct ChainReader<'a> {
    keys: &'a AuditKeys,
    head: AuditHead,
    exported: &'a [ExportedHead],
    /// The sequence number and the proof of the entry that was read last.
    sequence: u64,
    mac: [u8; 32],
    /// The first erased entry of each user who was not deleted so far.
    erased: BTreeSet<(UserId, u64)>,
    /// How many erased entries about no user there are, and the last of them.
    without_user: (u64, u64),
    deleted: BTreeSet<UserId>,
    /// How many entries about no user the deletions say that they have erased.
    explained: u64,
}

impl<'a> ChainReader<'a> {
    /// Begins to read a chain that ends with `head`. `pruning` is the entry that the head names as
    /// the last by which old ones were deleted.
    ///
    /// # Errors
    /// [`AuditFault::HeadChanged`], [`AuditFault::BadAnchor`], and [`AuditFault::Cut`] or
    /// [`AuditFault::Rewritten`] if the head lies before one that was exported.
    pub fn begin(
        keys: &'a AuditKeys,
        head: AuditHead,
        exported: &'a [ExportedHead],
        pruning: Option<&AuditEntry>,
    ) -> Result<Self, AuditFault> {
        let is_proven = |key: &AuditKey| head_proof(key, &head) == head.proof;
        if head != AuditHead::default() && !keys.all().any(is_proven) {
            return Err(AuditFault::HeadChanged);
        }
        if let Some(later) = exported.iter().find(|exported| exported.sequence > head.sequence) {
            return Err(AuditFault::Cut { found: head.sequence, expected: later.sequence });
        }
        let (sequence, mac) = match (head.pruning, pruning) {
            (0, _) => (0, ORIGIN),
            (number, Some(entry)) if entry.sequence == number => {
                anchor(&entry.event).ok_or(AuditFault::BadAnchor(number))?
            }
            (number, _) => return Err(AuditFault::BadAnchor(number)),
        };
        Ok(Self {
            keys,
            head,
            exported,
            sequence,
            mac,
            erased: BTreeSet::new(),
            without_user: (0, 0),
            deleted: BTreeSet::new(),
            explained: 0,
        })
    }

    /// The sequence number of the entry that was read last: the next one is to be read.
    pub fn position(&self) -> u64 {
        self.sequence
    }

    /// Reads the next entry.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&mut self, entry: &AuditEntry) -> Result<(), AuditFault> {
        let number = entry.sequence;
        if number != self.sequence + 1 {
            return Err(AuditFault::Gap { expected: self.sequence + 1, found: number });
        }
        let is_proven = |key: &AuditKey| entry_mac(key, &self.mac, entry) == entry.mac;
        if !self.keys.all().any(is_proven) {
            return Err(AuditFault::Changed(number));
        }
        let personal = &entry.event.personal;
        let is_intact = match (&entry.salt, &entry.personal_digest) {
            (Some(salt), Some(digest)) => personal_digest(salt, personal) == *digest,
            (None, _) => personal.is_empty(),
            (Some(_), None) => false,
        };
        if !is_intact {
            return Err(AuditFault::PersonalDataChanged(number));
        }
        let exported = self.exported.iter().find(|exported| exported.sequence == number);
        if exported.is_some_and(|exported| exported.mac != entry.mac) {
            return Err(AuditFault::Rewritten(number));
        }
        self.note_erasure(entry);
        (self.sequence, self.mac) = (number, entry.mac);
        Ok(())
    }

    fn note_erasure(&mut self, entry: &AuditEntry) {
        if entry.event.kind == AuditKind::UserDeleted {
            self.deleted.extend(entry.event.user);
            let count = entry.event.details.get(WITHOUT_USER).and_then(|count| count.parse().ok());
            self.explained = self.explained.saturating_add(count.unwrap_or(0));
        }
        if !entry.is_erased() {
            return;
        }
        match entry.event.user {
            Some(user) if self.erased.range((user, 0)..=(user, u64::MAX)).next().is_none() => {
                self.erased.insert((user, entry.sequence));
            }
            Some(_) => {}
            None => self.without_user = (self.without_user.0 + 1, entry.sequence),
        }
    }

    /// Ends with the head.
    ///
    /// # Errors
    /// [`AuditFault::Cut`], [`AuditFault::HeadChanged`], [`AuditFault::PersonalDataMissing`].
    pub fn end(self) -> Result<(), AuditFault> {
        if self.sequence != self.head.sequence {
            let (found, expected) = (self.sequence, self.head.sequence);
            return Err(AuditFault::Cut { found, expected });
        }
        if self.mac != self.head.mac {
            return Err(AuditFault::HeadChanged);
        }
        let unexplained = self.erased.iter().find(|(user, _)| !self.deleted.contains(user));
        let (count, last) = self.without_user;
        match unexplained.map(|(_, number)| *number).or((count > self.explained).then_some(last)) {
            None => Ok(()),
            Some(number) => Err(AuditFault::PersonalDataMissing(number)),
        }
    }
}

impl AuditEvent {
    /// Says that the entries up to this one are deleted from now on: the rest is proven from there.
    #[must_use]
    pub fn announcing_pruning(self, last: &AuditEntry) -> Self {
        self.with(THROUGH, last.sequence).with(PROOF, hex(&last.mac))
    }

    /// Says how many entries about no user were erased with a person, whose identities they named.
    #[must_use]
    pub fn erasing_without_user(self, count: u64) -> Self {
        self.with(WITHOUT_USER, count)
    }

    /// The sequence number of the last entry that this one says is deleted; `None` if it says nothing of the
    /// kind.
    pub fn pruned_through(&self) -> Option<u64> {
        anchor(self).map(|(through, _)| through)
    }
}

/// The sequence number of the last entry that an event says is deleted, and its proof.
fn anchor(event: &AuditEvent) -> Option<(u64, [u8; 32])> {
    let is_pruning = event.kind == AuditKind::EntriesPruned;
    let through = event.details.get(THROUGH).filter(|_| is_pruning)?.parse().ok()?;
    Some((through, unhex(event.details.get(PROOF)?)?))
}

fn entry_mac(key: &AuditKey, before: &[u8; 32], entry: &AuditEntry) -> [u8; 32] {
    let AuditEntry { sequence, event, is_late, salt: _, personal_digest, mac: _ } = entry;
    let AuditEvent { kind, at, actor, user, session, request_id, trace_id, issuer, .. } = event;
    let (sequence, at, actor) =
        (sequence.to_be_bytes(), at.as_unix().to_be_bytes(), actor.to_string());
    let (user, session) = (user.map(|id| *id.as_uuid()), session.map(|id| *id.as_uuid()));
    let (kind, is_late) = (kind.name().as_bytes(), [u8::from(*is_late)]);
    let mut parts: Vec<&[u8]> =
        vec![b"entry", before, &sequence, &at, kind, actor.as_bytes(), &is_late];
    let optional = [
        user.as_ref().map(|id| &id.as_bytes()[..]),
        session.as_ref().map(|id| &id.as_bytes()[..]),
        request_id.as_ref().map(String::as_bytes),
        trace_id.as_ref().map(String::as_bytes),
        issuer.as_ref().map(String::as_bytes),
        personal_digest.as_ref().map(|digest| &digest[..]),
    ];
    for part in optional {
        push_optional(&mut parts, part);
    }
    for (name, value) in &event.details {
        parts.extend([name.as_bytes(), value.as_bytes()]);
    }
    key.mac(&parts)
}

/// Nothing is another thing than something empty.
fn push_optional<'a>(parts: &mut Vec<&'a [u8]>, part: Option<&'a [u8]>) {
    match part {
        None => parts.push(&[0]),
        Some(part) => parts.extend([&[1][..], part]),
    }
}

fn head_proof(key: &AuditKey, head: &AuditHead) -> [u8; 32] {
    let AuditHead { sequence, mac, pruning, proof: _ } = head;
    key.mac(&[b"head", &sequence.to_be_bytes(), mac, &pruning.to_be_bytes()])
}

fn personal_digest(salt: &[u8; 16], data: &PersonalData) -> [u8; 32] {
    let PersonalData { subject, network, user_agent } = data;
    let mut parts: Vec<&[u8]> = vec![b"person"];
    for text in [subject, network, user_agent] {
        push_optional(&mut parts, text.as_ref().map(String::as_bytes));
    }
    let mut hash = Sha256::new_with_prefix(salt);
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Bytes in lowercase hexadecimal.
fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    Some(*crate::TokenHash::from_hex(text)?.as_bytes())
}

#[cfg(test)]
mod tests;
