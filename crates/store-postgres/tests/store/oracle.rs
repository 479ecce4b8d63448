//! Random histories of sessions: Postgres, and the fake in memory that asks
//! [`Rotation::judge`](mintgate_domain::model::Rotation::judge), are told the same and must say
//! and hold the same.

use std::time::Duration;

use mintgate_domain::TokenHash;
use mintgate_domain::model::{
    LostAnswer, PresentedRefresh, RevokeReason, Session, SessionId, Timestamp, UserId,
};
use mintgate_domain::ports::{
    Housekeeping, OpenOutcome, RefreshTokenRepo, RotateOutcome, SweepStep,
};
use mintgate_testkit::openings::{NOW, Openings, identity};
use mintgate_testkit::rotations::{WINDOW, presenting, token_of};
use mintgate_testkit::{MemoryStore, SeededEntropy, StoreUnderTest};

use crate::harness::{PgUnderTest, fresh_store};

const DAY: Duration = Duration::from_hours(24);

/// One session, as both stores have it.
struct History<'a> {
    postgres: &'a PgUnderTest,
    memory: &'a MemoryStore,
    id: SessionId,
    user: UserId,
    now: Timestamp,
    /// Every token the session has had.
    tokens: Vec<PresentedRefresh>,
}

/// The moment of a rotation is by each store's own clock.
fn comparable(mut session: Session) -> Session {
    if let Some(previous) = &mut session.previous {
        previous.rotated_at = NOW;
    }
    session
}

fn comparable_outcome(outcome: RotateOutcome) -> RotateOutcome {
    use RotateOutcome::{Remint, Replayed, Rotated};
    match outcome {
        Rotated(session) => Rotated(Box::new(comparable(*session))),
        Replayed(session) => Replayed(Box::new(comparable(*session))),
        Remint(session) => Remint(Box::new(comparable(*session))),
        other => other,
    }
}

impl History<'_> {
    async fn session(&self) -> Session {
        let ours = self.postgres.store.find_session(self.id).await.unwrap().unwrap();
        let theirs = self.memory.find_session(self.id).await.unwrap().unwrap();
        assert_eq!(comparable(ours), comparable(theirs.clone()));
        theirs
    }

    /// Time goes by, for the database's clock too.
    async fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
        if self.session().await.previous.is_some() {
            self.postgres.age_rotation(self.id, span).await;
        }
    }

    fn token(&self, session: &Session, dice: &SeededEntropy) -> PresentedRefresh {
        let current = session.refresh.generation;
        match dice.below(12) {
            0..5 => token_of(&session.refresh),
            5..9 => self.tokens[self.tokens.len().saturating_sub(2)],
            9 => self.tokens[dice.index(self.tokens.len())],
            _ => PresentedRefresh {
                generation: dice.pick(&[0, current, current + 1, current + 9, u64::MAX]),
                hash: TokenHash::of("a token of another timeline"),
            },
        }
    }

    async fn rotate(&mut self, dice: &SeededEntropy) -> String {
        let session = self.session().await;
        let token = self.token(&session, dice);
        let mut rotation = presenting(&session, token, self.now);
        match dice.below(10) {
            0 => rotation.successor.generation = dice.pick(&[0, 1, 7, u64::MAX]),
            1 => rotation.successor.expires_at = rotation.successor.expires_at - DAY,
            2 => rotation.idle_expires_at = rotation.idle_expires_at - DAY,
            _ => {}
        }
        if dice.one_in(30) {
            rotation.user = UserId::from_uuid(uuid::Uuid::from_u128(7));
        }
        if dice.one_in(30) {
            rotation.session = SessionId::from_uuid(uuid::Uuid::from_u128(7));
        }
        rotation.replay.window = dice.pick(&[WINDOW, WINDOW, WINDOW, Duration::ZERO]);
        rotation.replay.limit = dice.pick(&[0, 1, 2, u16::MAX]);
        rotation.replay.counted = dice.one_in(2);
        if !dice.one_in(3) {
            rotation.replay.lost_answer = LostAnswer::UntilUsed;
        }
        let ours = comparable_outcome(self.postgres.store.rotate(&rotation).await.unwrap());
        let theirs = comparable_outcome(self.memory.rotate(&rotation).await.unwrap());
        assert_eq!(ours, theirs, "{rotation:?} of {session:?}");
        if let RotateOutcome::Rotated(session) = &ours {
            self.tokens.push(token_of(&session.refresh));
        }
        let outcome = format!("{ours:?}");
        outcome.split(['(', ' ']).next().unwrap().to_owned()
    }

    async fn end(&self, dice: &SeededEntropy) {
        let reason = dice.pick(&[RevokeReason::Logout, RevokeReason::Admin]);
        if dice.one_in(2) {
            let ours = self.postgres.store.end_session(self.id, self.user, reason, self.now).await;
            assert_eq!(ours, self.memory.end_session(self.id, self.user, reason, self.now).await);
        } else {
            let ours = self.postgres.store.end_user_sessions(self.user, reason, self.now).await;
            assert_eq!(ours, self.memory.end_user_sessions(self.user, reason, self.now).await);
        }
    }
}

#[tokio::test]
async fn random_histories_are_judged_as_the_domain_judges_them() {
    let postgres = fresh_store().await;
    let memory = MemoryStore::default();
    let openings = Openings::default();
    let mut outcomes = std::collections::BTreeMap::<String, usize>::new();
    let mut latest = NOW;
    for seed in 1..=60 {
        let dice = SeededEntropy::new(seed);
        let opening = openings.new_user(identity(&seed.to_string()));
        assert_eq!(postgres.store.open_session(&opening).await, Ok(OpenOutcome::Opened));
        assert_eq!(memory.open_session(&opening).await, Ok(OpenOutcome::Opened));
        let (id, user) = (opening.session.id, opening.owner.user_id());
        let tokens = vec![token_of(&opening.session.refresh)];
        let (postgres, memory) = (&postgres, &memory);
        let mut history = History { postgres, memory, id, user, now: NOW, tokens };
        for _ in 0..30 {
            match dice.below(40) {
                0 => history.end(&dice).await,
                1 if dice.one_in(2) => {
                    postgres.disable_user(user, history.now).await;
                    memory.disable_user(user, history.now).await;
                }
                2..4 => history.wait(DAY * 20).await,
                4..6 => history.wait(DAY * 31).await,
                6..12 => history.wait(WINDOW + Duration::from_mins(10)).await,
                12..14 => history.wait(Duration::from_secs(1)).await,
                _ => *outcomes.entry(history.rotate(&dice).await).or_default() += 1,
            }
            history.session().await;
        }
        let live = |sessions: Vec<Session>| sessions.into_iter().map(comparable);
        let ours = postgres.store.live_sessions(user, history.now, 5).await.unwrap();
        let theirs = memory.live_sessions(user, history.now, 5).await.unwrap();
        assert!(live(ours).eq(live(theirs)));
        latest = latest.max(history.now);
    }
    let seen: Vec<_> = outcomes.keys().map(String::as_str).collect();
    let all = [
        "Ahead",
        "Expired",
        "Remint",
        "Replayed",
        "Reused",
        "Revoked",
        "Rotated",
        "Unknown",
        "UserDisabled",
    ];
    assert_eq!(seen, all, "{outcomes:?}");

    // And the clean-up finds the same of them, page by page.
    for days in [0, 40, 80, 120] {
        let mut step =
            SweepStep { after: None, limit: 7, now: NOW + DAY * days, keep_ended: DAY * 30 };
        loop {
            let ours = postgres.store.sweep(&step).await.unwrap();
            assert_eq!(Ok(ours), memory.sweep(&step).await, "{step:?}");
            let Some(next) = ours.next else { break };
            step.after = Some(next);
        }
        for session in memory.sessions() {
            let ours = postgres.store.find_session(session.id).await.unwrap();
            assert_eq!(ours.map(comparable), Some(comparable(session)));
        }
        let left = postgres.dump().await.rows("sessions").len();
        assert_eq!(left, memory.sessions().len());
    }
    assert!(latest > NOW);
}
