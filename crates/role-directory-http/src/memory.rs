//! What is remembered: answers for a while, and which questions are under way.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Shared, WeakShared};
use mintgate_domain::model::Role;
use mintgate_domain::ports::RoleLookupError;

use crate::asker::Question;

/// An answer, cheap to hand to many.
pub(crate) type Answer = Result<Arc<[Role]>, RoleLookupError>;
/// A question under way, which everybody who waits for it drives; it ends when nobody does.
pub(crate) type Flight = Shared<BoxFuture<'static, Answer>>;
type WeakFlight = WeakShared<BoxFuture<'static, Answer>>;

/// Answers by question, so many at most, the oldest out first; and the questions under way.
pub(crate) struct Memory {
    max_age: Duration,
    capacity: usize,
    next: u64,
    answers: HashMap<Question, Known>,
    /// The keys of `answers` in the order in which they were asked.
    by_age: BTreeMap<u64, Question>,
    under_way: HashMap<Question, UnderWay>,
}

struct Known {
    roles: Arc<[Role]>,
    number: u64,
    asked_at: Duration,
}

struct UnderWay {
    flight: WeakFlight,
    number: u64,
    asked_at: Duration,
}

/// A question that is being asked: its number among all of them, and when it was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    number: u64,
    at: Duration,
}

impl Memory {
    /// Remembers `capacity` answers, none older than `max_age`, and none if that is zero. An age is counted from the question,
    /// as it may have been answered at once and the answer taken its time.
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

    /// The answer, if there is one that is young enough.
    pub(crate) fn recall(&self, question: &Question, now: Duration) -> Option<Arc<[Role]>> {
        let known = self.answers.get(question)?;
        self.is_fresh(known.asked_at, now).then(|| Arc::clone(&known.roles))
    }

    /// The question under way that will be answered, if it was asked lately enough.
    pub(crate) fn join(&self, question: &Question, now: Duration) -> Option<Flight> {
        let under_way = self.under_way.get(question)?;
        // Looked at first: a flight that is taken up and let go again would end here, under the lock
        // that it needs for its end.
        if !self.is_fresh(under_way.asked_at, now) {
            return None;
        }
        under_way.flight.upgrade()
    }

    /// Gives a question its number.
    pub(crate) fn number(&mut self, at: Duration) -> Asked {
        self.next += 1;
        Asked { number: self.next, at }
    }

    /// Notes that a question is under way.
    pub(crate) fn depart(&mut self, question: Question, asked: Asked, flight: &Flight) {
        if let Some(flight) = flight.downgrade() {
            let under_way = UnderWay { flight, number: asked.number, asked_at: asked.at };
            self.under_way.insert(question, under_way);
        }
    }

    /// Notes an answer, unless a later question has been answered already.
    pub(crate) fn keep(
        &mut self,
        question: &Question,
        asked: Asked,
        roles: &Arc<[Role]>,
        now: Duration,
    ) {
        self.forget_stale(now);
        let is_newest = self.answers.get(question).is_none_or(|known| known.number < asked.number);
        if !self.is_fresh(asked.at, now) || !is_newest {
            return;
        }
        let (number, asked_at) = (asked.number, asked.at);
        let known = Known { roles: Arc::clone(roles), number, asked_at };
        if let Some(before) = self.answers.insert(question.clone(), known) {
            self.by_age.remove(&before.number);
        }
        self.by_age.insert(number, question.clone());
        while self.answers.len() > self.capacity && self.forget_oldest() {}
    }

    /// Notes that a question is under way no more.
    pub(crate) fn arrive(&mut self, question: &Question, asked: Asked) {
        if self.under_way.get(question).is_some_and(|other| other.number == asked.number) {
            self.under_way.remove(question);
        }
    }

    fn forget_stale(&mut self, now: Duration) {
        while let Some((_, oldest)) = self.by_age.first_key_value()
            && let Some(known) = self.answers.get(oldest)
            && !self.is_fresh(known.asked_at, now)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) -> bool {
        let Some((_, oldest)) = self.by_age.pop_first() else { return false };
        self.answers.remove(&oldest).is_some()
    }

    fn is_fresh(&self, asked_at: Duration, now: Duration) -> bool {
        now.saturating_sub(asked_at) < self.max_age
    }

    /// How many answers are kept, and how many questions are under way.
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
        let asked = memory.number(secs(at));
        memory.keep(&question(subject), asked, &roles(subject), secs(at));
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
        assert_eq!(memory.recall(&question("b"), secs(1)), None);
        for subject in ["a", "c", "d"] {
            assert_eq!(memory.recall(&question(subject), secs(1)), Some(roles(subject)));
        }
        for number in 0..10_000 {
            remember(&mut memory, &number.to_string(), 2);
        }
        assert_eq!(memory.counts(), (3, 0));
    }

    #[test]
    fn what_is_too_old_is_let_go() {
        let mut memory = Memory::new(100, TTL);
        for number in 0..50 {
            remember(&mut memory, &number.to_string(), 0);
        }
        assert_eq!(memory.recall(&question("7"), secs(59)), Some(roles("7")));
        assert_eq!(memory.recall(&question("7"), secs(60)), None);
        remember(&mut memory, "new", 60);
        assert_eq!(memory.counts(), (1, 0));
    }

    #[test]
    fn an_age_is_counted_from_the_question() {
        let mut memory = Memory::new(100, TTL);
        let asked = memory.number(secs(0));
        memory.keep(&question("a"), asked, &roles("a"), secs(59));
        assert_eq!(memory.recall(&question("a"), secs(60)), None);
        let asked = memory.number(secs(0));
        memory.keep(&question("b"), asked, &roles("b"), secs(60));
        assert_eq!(memory.recall(&question("b"), secs(0)), None);
    }

    #[test]
    fn an_earlier_question_does_not_overrule_a_later_one() {
        let mut memory = Memory::new(100, TTL);
        let (early, late) = (memory.number(secs(0)), memory.number(secs(1)));
        memory.keep(&question("a"), late, &roles("late"), secs(2));
        memory.keep(&question("a"), early, &roles("early"), secs(3));
        assert_eq!(memory.recall(&question("a"), secs(3)), Some(roles("late")));
        assert_eq!(memory.counts(), (1, 0));
    }
}
