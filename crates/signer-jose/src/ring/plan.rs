//! Decides what the keys of one use need next. Pure: it asks neither the repository nor a clock.

use std::collections::HashSet;
use std::time::Duration;

use mintgate_domain::model::{KeyId, KeyUse, Timestamp};

use super::snapshot::{Entry, current_index};
use crate::Algorithm;

/// How much longer than its last token a former key is kept: for replicas that notice a rotation
/// late (`keys.reload_secs` is 5 minutes at most), and for clocks that differ by as much.
const KEPT_LONGER: Duration = Duration::from_mins(10);
/// With this many keys of one use, only an operator or `rotate_every` starts a rotation to another
/// algorithm. Otherwise replicas that are configured with different algorithms would replace each
/// other's keys for ever.
const MANY_KEYS: usize = 8;

/// One change to ask of the repository.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make a key and add it under this number.
    Add { number: u32, activates_at: Option<Timestamp> },
    /// Let this key sign from now on.
    Activate(KeyId),
    /// Remove this former key; if `check_sessions`, only if no live session's refresh token is
    /// signed with the key.
    Remove { id: KeyId, check_sessions: bool },
}

/// How the keys of one use are made, rotated and removed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) algorithm: Algorithm,
    pub(super) publish_ahead: Duration,
    pub(super) rotate_every: Option<Duration>,
    /// The life of the tokens that these keys sign.
    pub(super) token_ttl: Duration,
}

/// The keys of one use, ordered by number, at one moment.
#[derive(Clone, Copy)]
pub(super) struct Timeline<'a> {
    pub(super) keys: &'a [Entry],
    /// The highest number given to any key of this use, unusable keys included; 0 if there is none.
    pub(super) highest_number: u32,
    pub(super) rules: Rules,
    pub(super) now: Timestamp,
}

impl<'a> Timeline<'a> {
    fn current(self) -> Option<&'a Entry> {
        self.keys.get(current_index(self.keys, self.now)?)
    }

    /// The keys numbered above the current one.
    pub(super) fn next_keys(self) -> &'a [Entry] {
        let from = current_index(self.keys, self.now).map_or(0, |current| current + 1);
        self.keys.get(from..).unwrap_or_default()
    }

    /// The next key whose activation time is set.
    pub(super) fn scheduled(self) -> Option<&'a Entry> {
        self.next_keys().iter().find(|key| key.activates_at.is_some())
    }

    /// The next key of the configured algorithm whose activation time is not set.
    pub(super) fn standby(self) -> Option<&'a Entry> {
        self.next_keys()
            .iter()
            .find(|key| key.activates_at.is_none() && key.algorithm() == self.rules.algorithm)
    }

    /// The first change that is due, if any. Keys in `in_use` are not removed.
    pub(super) fn due_step(self, in_use: &HashSet<KeyId>) -> Option<Step> {
        self.missing_key().or_else(|| self.due_rotation()).or_else(|| self.due_removal(in_use))
    }

    /// What is missing of a current key and a standby key.
    pub(super) fn missing_key(self) -> Option<Step> {
        let number = self.highest_number.saturating_add(1);
        match (self.keys.first(), self.current()) {
            (None, _) => Some(Step::Add { number, activates_at: Some(self.now) }),
            (Some(first), None) => Some(Step::Activate(first.id().clone())),
            (Some(_), Some(_)) if self.standby().is_none() => {
                Some(Step::Add { number, activates_at: None })
            }
            (Some(_), Some(_)) => None,
        }
    }

    /// The rotation that `rotate_every` or another configured algorithm asks for.
    fn due_rotation(self) -> Option<Step> {
        let (current, next) = (self.current()?, self.standby()?);
        if self.scheduled().is_some() || self.now < next.created_at + self.rules.publish_ahead {
            return None;
        }
        let since = current.activates_at?;
        let is_old = self.rules.rotate_every.is_some_and(|every| since + every <= self.now);
        let other_algorithm =
            current.algorithm() != self.rules.algorithm && self.keys.len() < MANY_KEYS;
        (is_old || other_algorithm).then(|| Step::Activate(next.id().clone()))
    }

    /// The first former key whose tokens have all expired.
    fn due_removal(self, in_use: &HashSet<KeyId>) -> Option<Step> {
        let current = current_index(self.keys, self.now)?;
        let former = self.keys.iter().take(current).enumerate();
        former.filter(|(_, key)| !in_use.contains(key.id())).find_map(|(index, key)| {
            let id = key.id().clone();
            if key.activates_at.is_none() {
                // A rotation passed over this key: it has signed nothing.
                return Some(Step::Remove { id, check_sessions: false });
            }
            let later = self.keys.iter().skip(index + 1);
            let superseded_at = later.filter_map(|key| key.activates_at).min()?;
            let kept_until = superseded_at + self.rules.token_ttl + KEPT_LONGER;
            let check_sessions = key.key_use == KeyUse::Refresh;
            (kept_until < self.now).then_some(Step::Remove { id, check_sessions })
        })
    }
}
