//! What the keys of one use need next, decided from how they stand.

use std::collections::HashSet;
use std::time::Duration;

use mintgate_domain::model::{KeyId, KeyUse, Timestamp};

use super::snapshot::{Entry, current_index};
use crate::Algorithm;

/// How much longer than its last token a key is kept: for replicas that notice a rotation late
/// (`keys.reload_secs` is 5 minutes at most), and clocks that differ by as much.
const KEPT_LONGER: Duration = Duration::from_mins(10);
/// With this many keys, another algorithm waits for a rotation by hand or by the calendar: replicas
/// that are configured differently would else go on replacing each other's keys.
const MANY_KEYS: usize = 8;

/// Something to ask of the repository.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make a key and add it.
    Add { number: u32, activates_at: Option<Timestamp> },
    /// Have this key sign from now on.
    Activate(KeyId),
    /// Remove this key, whose tokens have all expired.
    Remove(KeyId),
    /// Remove this key unless a session depends on it.
    RemoveUnlessInUse(KeyId),
}

/// How the keys of a use are to be looked after.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) algorithm: Algorithm,
    pub(super) publish_ahead: Duration,
    pub(super) rotate_every: Option<Duration>,
    /// The life of the tokens these keys sign.
    pub(super) token_ttl: Duration,
}

/// The keys of one use at one moment.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) keys: &'a [Entry],
    pub(super) now: Timestamp,
}

impl<'a> Line<'a> {
    pub(super) fn current(self) -> Option<&'a Entry> {
        self.keys.get(current_index(self.keys, self.now)?)
    }

    /// Those behind the current one, in order.
    pub(super) fn above(self) -> &'a [Entry] {
        let from = current_index(self.keys, self.now).map_or(0, |current| current + 1);
        self.keys.get(from..).unwrap_or_default()
    }

    /// The one whose time is set and has not come.
    pub(super) fn scheduled(self) -> Option<&'a Entry> {
        self.above().iter().find(|key| key.activates_at.is_some())
    }

    /// The one that a rotation takes next.
    pub(super) fn standing_by(self, algorithm: Algorithm) -> Option<&'a Entry> {
        let stands_by = |key: &&Entry| key.activates_at.is_none() && key.algorithm() == algorithm;
        self.above().iter().find(stands_by)
    }

    /// What is missing: a key that signs, and behind it one that stands by.
    pub(super) fn to_be_complete(self, rules: &Rules) -> Option<Step> {
        let number = self.keys.last().map_or(0, |key| key.number).saturating_add(1);
        match (self.keys.first(), self.current()) {
            (None, _) => Some(Step::Add { number, activates_at: Some(self.now) }),
            (Some(first), None) => Some(Step::Activate(first.id().clone())),
            (Some(_), Some(_)) if self.standing_by(rules.algorithm).is_none() => {
                Some(Step::Add { number, activates_at: None })
            }
            (Some(_), Some(_)) => None,
        }
    }

    /// The rotation that is due.
    pub(super) fn to_rotate(self, rules: &Rules) -> Option<Step> {
        let (current, next) = (self.current()?, self.standing_by(rules.algorithm)?);
        if self.scheduled().is_some() || self.now < next.created_at + rules.publish_ahead {
            return None;
        }
        let since = current.activates_at?;
        let by_calendar = rules.rotate_every.is_some_and(|every| since + every <= self.now);
        let other_algorithm = current.algorithm() != rules.algorithm && self.keys.len() < MANY_KEYS;
        (by_calendar || other_algorithm).then(|| Step::Activate(next.id().clone()))
    }

    /// The first former key that may go, besides those known to be in use.
    pub(super) fn to_remove(self, rules: &Rules, in_use: &HashSet<KeyId>) -> Option<Step> {
        let current = current_index(self.keys, self.now)?;
        let former = self.keys.iter().take(current).enumerate();
        former.filter(|(_, key)| !in_use.contains(key.id())).find_map(|(index, key)| {
            let id = key.id().clone();
            if key.activates_at.is_none() {
                return Some(Step::Remove(id)); // It was passed over, and has signed nothing.
            }
            let later = self.keys.iter().skip(index + 1);
            let superseded_at = later.filter_map(|key| key.activates_at).min()?;
            if self.now <= superseded_at + rules.token_ttl + KEPT_LONGER {
                return None;
            }
            Some(match key.key_use {
                KeyUse::Access => Step::Remove(id),
                KeyUse::Refresh => Step::RemoveUnlessInUse(id),
            })
        })
    }
}
