//! The cache of answers, and the lookups under way.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Shared, WeakShared};
use mintgate_domain::model::Role;
use mintgate_domain::ports::RoleLookupError;

use crate::lookup::Question;

/// A result that is cheap to clone.
pub(crate) type Answer = Result<Arc<[Role]>, RoleLookupError>;
/// A lookup under way. Every caller that waits for it drives it, and it ends when none is left.
pub(crate) type SharedLookup = Shared<BoxFuture<'static, Answer>>;
type WeakLookup = WeakShared<BoxFuture<'static, Answer>>;

/// A bounded number of answers, of which the oldest is removed first, and the lookups under way.
pub(crate) struct Memory {
    max_age: Duration,
    capacity: usize,
    next: u64,
    answers: HashMap<Question, CachedAnswer>,
    /// The keys of `answers` by the numbers of their lookups.
    by_age: BTreeMap<u64, Question>,
    under_way: HashMap<Question, PendingLookup>,
}

struct CachedAnswer {
    roles: Arc<[Role]>,
    number: u64,
    asked_at: Duration,
}

struct PendingLookup {
    lookup: WeakLookup,
    number: u64,
    asked_at: Duration,
}

/// Identifies a lookup: its number among all lookups, and when it started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LookupId {
    number: u64,
    at: Duration,
}

impl Memory {
    /// Keeps at most `capacity` answers, none older than `max_age`; none at all if that is zero. The age
    /// counts from the start of the lookup, because the user system may have decided right then.
    pub(crate) fn new(capacity: usize, max_age: Duration) -> Self {
        Self {
            max_age,
            capacity,
            next: 0,
            answers: HashMap::new(),
            by_age: BTreeMap::new(),
            under_way: HashMap::new(),
        }
    }

    /// The cached answer, if it is fresh.
    pub(crate) fn find_answer(&self, question: &Question, now: Duration) -> Option<Arc<[Role]>> {
        let known = self.answers.get(question)?;
        self.is_fresh(known.asked_at, now).then(|| Arc::clone(&known.roles))
    }

    /// The lookup under way for a question, if its answer will be fresh.
    pub(crate) fn find_lookup(&self, question: &Question, now: Duration) -> Option<SharedLookup> {
        let under_way = self.under_way.get(question)?;
        // Checked before the upgrade: dropping the last handle of a lookup here would run its end, which
        // takes the lock that is held.
        if !self.is_fresh(under_way.asked_at, now) {
            return None;
        }
        under_way.lookup.upgrade()
    }

    /// Numbers a lookup that starts at `at`.
    pub(crate) fn start(&mut self, at: Duration) -> LookupId {
        self.next += 1;
        LookupId { number: self.next, at }
    }

    /// Adds a lookup under way.
    pub(crate) fn insert_lookup(
        &mut self,
        question: Question,
        asked: LookupId,
        lookup: &SharedLookup,
    ) {
        if let Some(lookup) = lookup.downgrade() {
            let under_way = PendingLookup { lookup, number: asked.number, asked_at: asked.at };
            self.under_way.insert(question, under_way);
        }
    }

    /// Caches an answer, unless a later lookup has been answered already.
    pub(crate) fn insert_answer(
        &mut self,
        question: &Question,
        asked: LookupId,
        roles: &Arc<[Role]>,
        now: Duration,
    ) {
        self.remove_stale(now);
        let is_newest = self.answers.get(question).is_none_or(|known| known.number < asked.number);
        if !self.is_fresh(asked.at, now) || !is_newest {
            return;
        }
        let (number, asked_at) = (asked.number, asked.at);
        let known = CachedAnswer { roles: Arc::clone(roles), number, asked_at };
        if let Some(before) = self.answers.insert(question.clone(), known) {
            self.by_age.remove(&before.number);
        }
        self.by_age.insert(number, question.clone());
        while self.answers.len() > self.capacity && self.remove_oldest() {}
    }

    /// Removes a lookup that has ended.
    pub(crate) fn remove_lookup(&mut self, question: &Question, asked: LookupId) {
        if self.under_way.get(question).is_some_and(|other| other.number == asked.number) {
            self.under_way.remove(question);
        }
    }

    fn remove_stale(&mut self, now: Duration) {
        while let Some((_, oldest)) = self.by_age.first_key_value()
            && let Some(known) = self.answers.get(oldest)
            && !self.is_fresh(known.asked_at, now)
        {
            self.remove_oldest();
        }
    }

    fn remove_oldest(&mut self) -> bool {
        let Some((_, oldest)) = self.by_age.pop_first() else { return false };
        self.answers.remove(&oldest).is_some()
    }

    fn is_fresh(&self, asked_at: Duration, now: Duration) -> bool {
        now.saturating_sub(asked_at) < self.max_age
    }

    /// The numbers of cached answers and of lookups under way.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> (usize, usize) {
        assert_eq!(self.answers.len(), self.by_age.len());
        (self.answers.len(), self.under_way.len())
    }
}

#[cfg(test)]
mod tests {
    use mintgate_domain::model::{ExternalIdentity, ProviderId, UserId};
    use mintgate_domain::ports::RoleQuestion;
    use uuid::Uuid;

    use super::*;

    const TTL: Duration = Duration::from_mins(1);

    fn question(subject: &str) -> Question {
        RoleQuestion {
            user: UserId::from_uuid(Uuid::nil()),
            provider: &ProviderId::new("corp"),
            identity: &ExternalIdentity { issuer: "i".to_owned(), subject: subject.to_owned() },
        }
        .into()
    }

    fn roles(name: &str) -> Arc<[Role]> {
        [Role::new(name)].into()
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn remember(memory: &mut Memory, subject: &str, at: u64) {
        let asked = memory.start(secs(at));
        memory.insert_answer(&question(subject), asked, &roles(subject), secs(at));
    }

    #[test]
    fn the_oldest_answers_go_first_and_there_are_never_too_many() {
        let mut memory = Memory::new(3, TTL);
        for subject in ["a", "b", "c"] {
            remember(&mut memory, subject, 0);
        }
        remember(&mut memory, "a", 1);
        remember(&mut memory, "d", 1);
        assert_eq!(memory.counts(), (3, 0));
        assert_eq!(memory.find_answer(&question("b"), secs(1)), None);
        for subject in ["a", "c", "d"] {
            assert_eq!(memory.find_answer(&question(subject), secs(1)), Some(roles(subject)));
        }
        for number in 0..10_000 {
            remember(&mut memory, &number.to_string(), 2);
        }
        assert_eq!(memory.counts(), (3, 0));
    }

    #[test]
    fn answers_that_are_too_old_are_removed() {
        let mut memory = Memory::new(100, TTL);
        for number in 0..50 {
            remember(&mut memory, &number.to_string(), 0);
        }
        assert_eq!(memory.find_answer(&question("7"), secs(59)), Some(roles("7")));
        assert_eq!(memory.find_answer(&question("7"), secs(60)), None);
        remember(&mut memory, "new", 60);
        assert_eq!(memory.counts(), (1, 0));
    }

    #[test]
    fn the_age_counts_from_the_start_of_the_lookup() {
        let mut memory = Memory::new(100, TTL);
        let asked = memory.start(secs(0));
        memory.insert_answer(&question("a"), asked, &roles("a"), secs(59));
        assert_eq!(memory.find_answer(&question("a"), secs(60)), None);
        let asked = memory.start(secs(0));
        memory.insert_answer(&question("b"), asked, &roles("b"), secs(60));
        assert_eq!(memory.find_answer(&question("b"), secs(0)), None);
    }

    #[test]
    fn an_earlier_lookup_does_not_replace_the_answer_of_a_later_one() {
        let mut memory = Memory::new(100, TTL);
        let (early, late) = (memory.start(secs(0)), memory.start(secs(1)));
        memory.insert_answer(&question("a"), late, &roles("late"), secs(2));
        memory.insert_answer(&question("a"), early, &roles("early"), secs(3));
        assert_eq!(memory.find_answer(&question("a"), secs(3)), Some(roles("late")));
        assert_eq!(memory.counts(), (1, 0));
    }
}
