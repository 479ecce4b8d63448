//! The rules of refresh token rotation (RFC 9700 §4.14.2), as a decision about one session.
//!
//! The stores that can run code inside a transaction use [`Rotation::judge`] itself; Postgres says
//! the same in SQL, and the contract suite holds it to that.

use std::time::Duration;

use super::{RefreshState, RevokeReason, Session, SessionId, Timestamp, UserId};
use crate::TokenHash;

/// What a refresh asks of the store.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The session, the token's `sid`.
    pub session: SessionId,
    /// The token's `sub`; the session must be this user's.
    pub user: UserId,
    /// The token that was presented; its signature and its `exp` are checked.
    pub presented: PresentedRefresh,
    /// The token that is to take its place, made for a session that is as expected.
    pub successor: RefreshState,
    /// When a token made now expires if the session's absolute limit does not come first.
    pub idle_expires_at: Timestamp,
    /// Now.
    pub now: Timestamp,
    /// How the predecessor of the current token is treated.
    pub replay: ReplayRule,
}

/// A refresh token that somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresentedRefresh {
    /// Its `gen`.
    pub generation: u64,
    /// SHA-256 of the whole token.
    pub hash: TokenHash,
}

/// How long, and how often, the token before the current one is answered with the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayRule {
    /// For less than this after it was superseded.
    pub window: Duration,
    /// At most this often.
    pub limit: u16,
    /// Whether this time counts. It does not where several requests came at once.
    pub counted: bool,
    /// And after that.
    pub lost_answer: LostAnswer,
}

/// What a predecessor means when it comes too late, or too often, to be answered with its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LostAnswer {
    /// Somebody else has it: reuse.
    #[default]
    Grace,
    /// Its successor never arrived, as long as nobody has used that: another takes its place.
    UntilUsed,
}

/// What becomes of a presented refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the current one: the successor takes its place.
    Rotate,
    /// It is the one before, in time: it is answered with the current one; counts, if it counts.
    Replay,
    /// It is the one before, and the current one was lost: the successor takes that one's place.
    Supersede,
    /// The successor was made for another state of the session: make it anew.
    Remint,
    /// It was superseded: the session ends.
    Reuse,
    /// The user is disabled: the session ends.
    UserDisabled,
    /// The session has ended.
    Revoked(RevokeReason),
    /// The session has idled too long, or reached its absolute limit.
    Expired,
    /// The session never had it: the store has been set back.
    Ahead,
    /// The session is another user's.
    Unknown,
}

impl Rotation {
    /// Decides by the session as it is, under a lock. `user_disabled` is about its user.
    pub fn judge(&self, session: &Session, user_disabled: bool) -> Verdict {
        if session.user != self.user {
            return Verdict::Unknown;
        }
        if let Some(end) = session.end {
            return Verdict::Revoked(end.reason);
        }
        if user_disabled {
            return Verdict::UserDisabled;
        }
        if session.refresh.expires_at <= self.now {
            return Verdict::Expired;
        }
        if session.refresh.hash == self.presented.hash {
            return if self.fits(session) { Verdict::Rotate } else { Verdict::Remint };
        }
        match session.previous {
            Some(previous) if previous.hash == self.presented.hash => {
                let in_time = self.now < previous.rotated_at + self.replay.window;
                let too_often = self.replay.counted && previous.replays >= self.replay.limit;
                match self.replay.lost_answer {
                    _ if in_time && !too_often => Verdict::Replay,
                    LostAnswer::Grace => Verdict::Reuse,
                    LostAnswer::UntilUsed if self.fits(session) => Verdict::Supersede,
                    LostAnswer::UntilUsed => Verdict::Remint,
                }
            }
            _ if self.presented.generation >= session.refresh.generation => Verdict::Ahead,
            _ => Verdict::Reuse,
        }
    }

    /// Whether the successor is what this session's next token has to be.
    fn fits(&self, session: &Session) -> bool {
        self.successor.generation == session.refresh.generation + 1
            && self.successor.expires_at == self.idle_expires_at.min(session.absolute_expires_at)
    }
}
