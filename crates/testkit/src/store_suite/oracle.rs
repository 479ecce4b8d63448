//! Histories at random, each step judged by the rules themselves.

use std::time::Duration;

use mintgate_domain::model::{
    LostAnswer, NewerToken, PresentedRefresh, PreviousToken, ReplayRule, RevokeReason, Role,
    Rotation, Session, SessionEnd, Standing, Timestamp, UserId, Verdict,
};
use mintgate_domain::{RotateOutcome, TokenHash};
use uuid::Uuid;

use super::rotation::succeeded;
use super::{again, ended, rotate, stored};
use crate::entropy::SeededEntropy;
use crate::openings::{NOW, Openings, identity};
use crate::rotations::{IDLE, WINDOW, presenting, token_of};
use crate::store_under_test::StoreUnderTest;

const SEEDS: u64 = 8;
const STEPS: usize = 120;
/// Two thirds of a window are in it, and a whole one is not, with minutes to spare on both sides:
/// a store that measures by its own clock agrees.
const AGE: Duration = Duration::from_mins(45);

/// What is known of a session besides its row.
struct Life {
    session: Session,
    /// Every token that was ever proposed for it, issued or not.
    tokens: Vec<PresentedRefresh>,
    /// For how long its last rotation has been made to seem past.
    aged: Duration,
    is_disabled: bool,
}

struct History<'a> {
    store: &'a dyn StoreUnderTest,
    dice: SeededEntropy,
    openings: Openings,
    now: Timestamp,
    lives: Vec<Life>,
    /// How often each verdict came.
    verdicts: Vec<&'static str>,
}

/// After any history, the outcome of a rotation is the verdict of [`Rotation::judge`] on the row,
/// and the row is what that verdict writes.
pub async fn random_histories_agree_with_the_rules(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let dice = SeededEntropy::new(1);
    let (lives, verdicts) = (vec![], vec![]);
    let mut history = History { store, dice, openings, now: NOW, lives, verdicts };
    for seed in 1..=SEEDS {
        history.dice = SeededEntropy::new(seed);
        history.now = NOW;
        history.lives.clear();
        for n in 0..3 {
            history.sign_in(&format!("seed {seed} user {n}")).await;
        }
        for n in 0..STEPS {
            history.step(&format!("seed {seed} step {n}")).await;
        }
    }
    for verdict in [
        "rotate",
        "replay",
        "supersede",
        "follow",
        "remint",
        "reuse",
        "disabled",
        "revoked",
        "expired",
        "ahead",
        "unknown",
    ] {
        assert!(history.verdicts.contains(&verdict), "no history came to {verdict}");
    }
}

impl History<'_> {
    async fn sign_in(&mut self, subject: &str) {
        let mut opening = self.openings.new_user(identity(subject));
        opening.session.absolute_expires_at = self.now + self.dice.pick(&[IDLE * 3, IDLE]);
        opening.session.refresh.expires_at = self.now + IDLE;
        let session = stored(self.store, &opening).await;
        let tokens = vec![token_of(&session.refresh)];
        self.lives.push(Life { session, tokens, aged: Duration::ZERO, is_disabled: false });
    }

    async fn step(&mut self, name: &str) {
        let chosen = self.dice.index(self.lives.len());
        match self.dice.below(20) {
            0 => self.now = self.now + Duration::from_secs(1),
            1..=3 => self.age(chosen).await,
            4 if self.dice.one_in(4) => self.disable(chosen).await,
            5 if self.dice.one_in(2) => self.end(chosen).await,
            _ => self.refresh(chosen, name).await,
        }
        // Let somebody else come in where one is over for good.
        let life = &self.lives[chosen];
        if !life.session.is_live(self.now) && self.dice.one_in(4) {
            self.lives.remove(chosen);
            self.sign_in(name).await;
        }
    }

    async fn age(&mut self, chosen: usize) {
        let life = &mut self.lives[chosen];
        if life.session.previous.is_some() {
            self.store.age_rotation(life.session.id, AGE).await;
            life.aged += AGE;
            life.session = again(self.store, &life.session).await;
        }
    }

    async fn disable(&mut self, chosen: usize) {
        let life = &mut self.lives[chosen];
        self.store.disable_user(life.session.user, self.now).await;
        life.is_disabled = true;
    }

    async fn end(&mut self, chosen: usize) {
        let life = &mut self.lives[chosen];
        let reason = self.dice.pick(&RevokeReason::ALL);
        let (id, user) = (life.session.id, life.session.user);
        self.store
            .store()
            .sessions
            .repo
            .end_session(id, user, reason, self.now)
            .await
            .expect("an outcome");
        life.session = again(self.store, &life.session).await;
    }

    async fn refresh(&mut self, chosen: usize, name: &str) {
        let rotation = self.proposal(chosen, name);
        let life = &mut self.lives[chosen];
        let before = &life.session;
        assert_eq!(again(self.store, before).await, *before, "{name}: changed between two steps");

        let standing = if life.is_disabled { Standing::Disabled } else { Standing::Good };
        let verdict = rotation.judge(before, standing, life.aged);
        let outcome = rotate(self.store, &rotation).await;
        let after = again(self.store, before).await;
        let whole = || Box::new(after.clone());
        let end = |reason| ended(before, SessionEnd { at: self.now, reason });
        let (verdict_name, expected, expected_row) = match verdict {
            Verdict::Rotate | Verdict::Supersede => {
                let rotated_at = after.previous.map_or(NOW, |previous| previous.rotated_at);
                let kind = if verdict == Verdict::Rotate { "rotate" } else { "supersede" };
                life.aged = Duration::ZERO;
                let row = succeeded(before, &rotation, rotated_at);
                (kind, RotateOutcome::Rotated(whole()), row)
            }
            Verdict::Follow => {
                let rotated_at = after.previous.map_or(NOW, |previous| previous.rotated_at);
                life.aged = Duration::ZERO;
                let row = succeeded(before, &rotation, rotated_at);
                ("follow", RotateOutcome::Followed(whole()), row)
            }
            Verdict::Replay => {
                let counted = u16::from(rotation.replay.counted);
                let replayed = |previous: PreviousToken| PreviousToken {
                    replays: previous.replays + counted,
                    ..previous
                };
                let previous = before.previous.map(replayed);
                let row = Session { previous, ..before.clone() };
                ("replay", RotateOutcome::Replayed(whole()), row)
            }
            Verdict::Remint => ("remint", RotateOutcome::Remint(whole()), before.clone()),
            Verdict::Reuse => ("reuse", RotateOutcome::Reused, end(RevokeReason::Reuse)),
            Verdict::UserDisabled => {
                let is_live = before.is_live(self.now);
                let row = if is_live { end(RevokeReason::UserDisabled) } else { before.clone() };
                ("disabled", RotateOutcome::UserDisabled { ended: is_live.into() }, row)
            }
            Verdict::Revoked(reason) => ("revoked", RotateOutcome::Revoked(reason), before.clone()),
            Verdict::Expired => ("expired", RotateOutcome::Expired, before.clone()),
            Verdict::Ahead => ("ahead", RotateOutcome::Ahead, before.clone()),
            Verdict::Unknown => ("unknown", RotateOutcome::Unknown, before.clone()),
        };
        assert_eq!(outcome, expected, "{name}: {rotation:?} on {before:?}");
        assert_eq!(after, expected_row, "{name}: {rotation:?} on {before:?}");
        self.verdicts.push(verdict_name);
        life.session = after;
    }

    /// A rotation as a client might ask for it: mostly of the current or the previous token.
    fn proposal(&mut self, chosen: usize, name: &str) -> Rotation {
        let dice = &self.dice;
        let life = &mut self.lives[chosen];
        let session = &life.session;
        let known = match dice.below(4) {
            0 | 1 => token_of(&session.refresh),
            2 => session.previous.map_or(life.tokens[0], |previous| PresentedRefresh {
                generation: session.refresh.generation - 1,
                hash: previous.hash,
            }),
            _ => dice.pick(&life.tokens),
        };
        let mut rotation = presenting(session, known, self.now);
        rotation.successor.hash = TokenHash::of(name);
        if dice.one_in(12) {
            let generation = dice.below(9);
            rotation.presented = PresentedRefresh { generation, hash: TokenHash::of("foreign") };
            rotation.successor.generation = rotation.next_generation(session);
        }
        if dice.one_in(4) {
            // Runs out a few steps of the clock from here, if it is taken.
            rotation.idle_expires_at = self.now + Duration::from_secs(1);
            rotation.successor.expires_at = rotation.idle_expires_at;
        }
        if dice.one_in(10) {
            rotation.successor.generation = dice.below(9);
        }
        if dice.one_in(12) {
            rotation.successor.expires_at = rotation.successor.expires_at - Duration::from_secs(5);
        }
        if dice.one_in(3) {
            rotation.roles = Some(vec![Role::new("user"), Role::new(name)]);
        }
        if dice.one_in(30) {
            rotation.user = UserId::from_uuid(Uuid::from_u128(0xdead));
        }
        rotation.replay = ReplayRule {
            window: dice.pick(&[WINDOW, WINDOW, WINDOW, Duration::ZERO]),
            limit: dice.pick(&[0, 1, 2, 2, 2]),
            counted: dice.one_in(2),
            lost_answer: dice.pick(&[LostAnswer::Grace, LostAnswer::UntilUsed]),
            newer_token: dice.pick(&[NewerToken::Follow, NewerToken::Refuse]),
        };
        life.tokens.push(token_of(&rotation.successor));
        rotation
    }
}
