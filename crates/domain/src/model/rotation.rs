//! The rules of refresh token rotation (RFC 9700 §4.14.2), as a decision about one session.
//!
//! They are written here and nowhere else. A store carries out the usual case, the exchange of the
//! current token, in one conditional update; in every other case the session is loaded, judged by
//! [`Rotation::judge`], and written if nothing has changed since.

use std::time::Duration;

use super::{RefreshState, RevokeReason, Role, Session, SessionId, Standing, Timestamp, UserId};
use crate::TokenHash;

/// The exchange of a presented refresh token for its successor.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The `sid` claim of the presented token: the session.
    pub session: SessionId,
    /// The `sub` claim of the presented token; the session must be this user's.
    pub user: UserId,
    /// The token that was presented; its signature and its `exp` have been checked.
    pub presented: PresentedRefresh,
    /// The token that is to become the current one, signed for the generation that is expected.
    pub successor: RefreshState,
    /// The roles of the session's access tokens from now on, if they were decided again; stored
    /// together with the successor.
    pub roles: Option<Vec<Role>>,
    /// The expiry of a token issued now, unless the session's absolute limit comes first.
    pub idle_expires_at: Timestamp,
    /// The time at which the token was presented.
    pub now: Timestamp,
    /// How a replay of the previous token is treated.
    pub replay: ReplayRule,
}

/// A refresh token that a client presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresentedRefresh {
    /// The token's `gen` claim: its generation within the session, from 0.
    pub generation: u64,
    /// The SHA-256 hash of the whole token.
    pub hash: TokenHash,
}

/// How long, and how often, the previous token is answered with the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayRule {
    /// How long after a rotation the previous token is answered with the current one.
    pub window: Duration,
    /// How many counted replays of the previous token are answered within `window`.
    pub limit: u16,
    /// Whether this presentation counts towards `limit`. Simultaneous requests do not count.
    pub counted: bool,
    /// The rule for the previous token after `window`, or beyond `limit`.
    pub lost_answer: LostAnswer,
    /// The rule for a token that is newer than the session.
    pub newer_token: NewerToken,
}

/// The rule for a genuine token that is newer than the session: the store has lost what it had acknowledged, because
/// a backup was restored or a failover has undone the last writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NewerToken {
    /// The session goes on from that token: its owner had it last.
    #[default]
    Follow,
    /// The token is refused, and the session stays as it is.
    Refuse,
}

/// The rule for the previous token when it is presented after the window, or more often than the
/// limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LostAnswer {
    /// The token was stolen: reuse, which ends the session.
    #[default]
    Grace,
    /// The answer with its successor was lost, as long as nobody has used the successor: a new
    /// successor replaces it.
    UntilUsed,
}

/// The decision about a presented refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The current token: the successor becomes the current one.
    Rotate,
    /// The previous token within the window: answer with the current token; increment the replay
    /// count if the presentation counts.
    Replay,
    /// The previous token, whose successor was lost: the new successor replaces the current token,
    /// and the previous token stays the previous one.
    Supersede,
    /// The successor was signed for another state of the session: sign another one.
    Remint,
    /// A superseded token that is not replayed by the rules: it is taken for stolen, and the
    /// session ends (RFC 9700 §4.14.2).
    Reuse,
    /// The user is disabled: the session ends.
    UserDisabled,
    /// The session had ended before, for this reason.
    Revoked(RevokeReason),
    /// The session has idled too long, or reached its absolute limit.
    Expired,
    /// The token is newer than the session, because the store has lost what it had acknowledged: the session goes
    /// on from it. The successor becomes the current token, and the presented one the previous one.
    Follow,
    /// The same, where such a token is refused.
    Ahead,
    /// The session belongs to another user than the token's `sub`.
    Unknown,
}

impl Rotation {
    /// Decides what a presented token means for a session as it was loaded. `rotated_ago` is the time
    /// since the session's last rotation, by the store's clock; `standing` is that of its person.
    pub fn judge(&self, session: &Session, standing: Standing, rotated_ago: Duration) -> Verdict {
        if session.user != self.user {
            return Verdict::Unknown;
        }
        if let Some(end) = session.end {
            return Verdict::Revoked(end.reason);
        }
        match standing {
            Standing::Good => {}
            Standing::Disabled => return Verdict::UserDisabled,
            Standing::Ended => return Verdict::Revoked(RevokeReason::Other),
            Standing::Restored => return Verdict::Revoked(RevokeReason::Restored),
        }
        if session.absolute_expires_at <= self.now {
            return Verdict::Expired;
        }
        let follows = self.replay.newer_token == NewerToken::Follow && self.is_newer_than(session);
        // The idle limit of the session is as old as the session; that of the token has been checked.
        if follows {
            return if self.fits(session) { Verdict::Follow } else { Verdict::Remint };
        }
        if session.refresh.expires_at <= self.now {
            return Verdict::Expired;
        }
        if session.refresh.hash == self.presented.hash {
            return if self.fits(session) { Verdict::Rotate } else { Verdict::Remint };
        }
        match session.previous {
            Some(previous) if previous.hash == self.presented.hash => {
                let in_time = rotated_ago < self.replay.window;
                let too_often = self.replay.counted && previous.replays >= self.replay.limit;
                match self.replay.lost_answer {
                    _ if in_time && !too_often => Verdict::Replay,
                    LostAnswer::Grace => Verdict::Reuse,
                    LostAnswer::UntilUsed if self.fits(session) => Verdict::Supersede,
                    LostAnswer::UntilUsed => Verdict::Remint,
                }
            }
            _ if self.is_newer_than(session) => Verdict::Ahead,
            _ => Verdict::Reuse,
        }
    }

    /// What an access token is made of, as it is once the successor is the session's current token.
    pub(crate) fn rotated(&self, session: &Session) -> Session {
        let mut rotated = session.clone();
        rotated.refresh = self.successor.clone();
        if let Some(roles) = &self.roles {
            rotated.grant.roles.clone_from(roles);
        }
        rotated
    }

    /// Whether the token is newer than the session, or of the same generation and another one.
    fn is_newer_than(&self, session: &Session) -> bool {
        let is = |hash: TokenHash| hash == self.presented.hash;
        self.presented.generation >= session.refresh.generation
            && !is(session.refresh.hash)
            && !session.previous.is_some_and(|previous| is(previous.hash))
    }

    /// The generation that follows both the session's current token and the presented one.
    pub fn next_generation(&self, session: &Session) -> u64 {
        session.refresh.generation.max(self.presented.generation).saturating_add(1)
    }

    /// Whether the successor is what this session's next token has to be.
    fn fits(&self, session: &Session) -> bool {
        self.successor.generation == self.next_generation(session)
            && self.successor.expires_at == self.idle_expires_at.min(session.absolute_expires_at)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::{
        AccessGrant, ClientInfo, ExternalIdentity, KeyId, PreviousToken, ProviderId, SessionEnd,
        SessionEpochs,
    };

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const MINUTE: Duration = Duration::from_mins(1);

    fn user(n: u128) -> UserId {
        UserId::from_uuid(Uuid::from_u128(n))
    }

    fn state(generation: u64, token: &str, expires_at: Timestamp) -> RefreshState {
        RefreshState {
            generation,
            hash: TokenHash::of(token),
            key_id: KeyId::new("k"),
            issued_at: NOW - MINUTE,
            expires_at,
        }
    }

    /// In its fifth generation, rotated a moment ago.
    fn session() -> Session {
        Session {
            id: SessionId::from_uuid(Uuid::from_u128(7)),
            user: user(1),
            epochs: SessionEpochs::default(),
            provider: ProviderId::new("corp"),
            identity: ExternalIdentity { issuer: "i".to_owned(), subject: "s".to_owned() },
            upstream_sid: None,
            claimed_roles: vec![],
            refresh: state(5, "current", NOW + MINUTE * 10),
            previous: Some(PreviousToken {
                hash: TokenHash::of("previous"),
                rotated_at: NOW - Duration::from_secs(10),
                replays: 3,
            }),
            absolute_expires_at: NOW + MINUTE * 60,
            grant: AccessGrant {
                roles: vec![Role::new("user")],
                auth_time: NOW - MINUTE * 60,
                acr: None,
                amr: vec![],
                extra: [].into(),
            },
            client: ClientInfo::default(),
            created_at: NOW - MINUTE * 60,
            last_used_at: NOW - MINUTE,
            end: None,
        }
    }

    fn rotation(generation: u64, token: &str) -> Rotation {
        let idle_expires_at = NOW + MINUTE * 15;
        Rotation {
            session: session().id,
            user: user(1),
            presented: PresentedRefresh { generation, hash: TokenHash::of(token) },
            successor: state(6, "successor", idle_expires_at),
            roles: None,
            idle_expires_at,
            now: NOW,
            replay: ReplayRule {
                window: Duration::from_secs(30),
                limit: 10,
                counted: true,
                lost_answer: LostAnswer::Grace,
                newer_token: NewerToken::Refuse,
            },
        }
    }

    fn judge(rotation: &Rotation, session: &Session, standing: Standing) -> Verdict {
        let ago = session.previous.map_or(0, |p| NOW.as_unix() - p.rotated_at.as_unix());
        let ago = Duration::from_secs(ago.try_into().unwrap());
        rotation.judge(session, standing, ago)
    }

    fn verdict(change: impl FnOnce(&mut Rotation, &mut Session)) -> Verdict {
        let (mut rotation, mut session) = (rotation(5, "current"), session());
        change(&mut rotation, &mut session);
        judge(&rotation, &session, Standing::Good)
    }

    fn verdict_of_previous(change: impl FnOnce(&mut Rotation, &mut Session)) -> Verdict {
        let (mut rotation, mut session) = (rotation(4, "previous"), session());
        change(&mut rotation, &mut session);
        judge(&rotation, &session, Standing::Good)
    }

    #[test]
    fn the_current_token_is_rotated_if_the_successor_fits() {
        assert_eq!(verdict(|_, _| ()), Verdict::Rotate);
        assert_eq!(verdict(|r, _| r.successor.generation = 7), Verdict::Remint);
        assert_eq!(verdict(|r, _| r.successor.expires_at = NOW + MINUTE * 16), Verdict::Remint);
        let near_its_limit = |s: &mut Session| s.absolute_expires_at = NOW + MINUTE * 12;
        assert_eq!(verdict(|_, s| near_its_limit(s)), Verdict::Remint);
        let fits = verdict(|r, s| {
            near_its_limit(s);
            r.successor.expires_at = s.absolute_expires_at;
        });
        assert_eq!(fits, Verdict::Rotate);
    }

    #[test]
    fn the_token_before_is_answered_in_time_and_not_too_often() {
        let rotated = |s: &mut Session, ago: u64, replays: u16| {
            let previous = s.previous.as_mut().unwrap();
            previous.rotated_at = NOW - Duration::from_secs(ago);
            previous.replays = replays;
        };
        assert_eq!(verdict_of_previous(|_, s| rotated(s, 29, 9)), Verdict::Replay);
        assert_eq!(verdict_of_previous(|_, s| rotated(s, 30, 9)), Verdict::Reuse);
        assert_eq!(verdict_of_previous(|_, s| rotated(s, 29, 10)), Verdict::Reuse);
        let crowded = verdict_of_previous(|r, s| {
            rotated(s, 29, 10);
            r.replay.counted = false;
        });
        assert_eq!(crowded, Verdict::Replay);
        let no_window = verdict_of_previous(|r, s| {
            rotated(s, 0, 0);
            r.replay.window = Duration::ZERO;
        });
        assert_eq!(no_window, Verdict::Reuse);
    }

    #[test]
    fn until_used_the_token_before_gets_another_successor_after_the_window() {
        let late = |r: &mut Rotation, s: &mut Session| {
            r.replay.lost_answer = LostAnswer::UntilUsed;
            s.previous.as_mut().unwrap().rotated_at = NOW - MINUTE;
        };
        assert_eq!(verdict_of_previous(late), Verdict::Supersede);
        let misfit = verdict_of_previous(|r, s| {
            late(r, s);
            r.successor.generation = 5;
        });
        assert_eq!(misfit, Verdict::Remint);
    }

    #[test]
    fn an_older_token_is_reuse_and_a_newer_one_is_not() {
        assert_eq!(judge(&rotation(3, "older"), &session(), Standing::Good), Verdict::Reuse);
        assert_eq!(
            judge(&rotation(5, "of a lost timeline"), &session(), Standing::Good),
            Verdict::Ahead
        );
        assert_eq!(judge(&rotation(6, "newer"), &session(), Standing::Good), Verdict::Ahead);
        let first = verdict(|r, s| {
            s.previous = None;
            r.presented = PresentedRefresh { generation: 4, hash: TokenHash::of("older") };
        });
        assert_eq!(first, Verdict::Reuse);
    }

    #[test]
    fn a_newer_token_is_followed_unless_the_session_or_its_person_refuses() {
        let newer = |generation| {
            let mut rotation = rotation(generation, "of a lost timeline");
            rotation.replay.newer_token = NewerToken::Follow;
            rotation.successor.generation = generation + 1;
            rotation
        };
        let good =
            |rotation: &Rotation, session: &Session| judge(rotation, session, Standing::Good);
        assert_eq!(good(&newer(5), &session()), Verdict::Follow);
        assert_eq!(good(&newer(9), &session()), Verdict::Follow);
        assert_eq!(good(&newer(4), &session()), Verdict::Reuse);
        let misfit = Rotation { successor: newer(8).successor, ..newer(9) };
        assert_eq!(good(&misfit, &session()), Verdict::Remint);
        let idle = Session { refresh: state(5, "current", NOW), ..session() };
        assert_eq!(good(&newer(6), &idle), Verdict::Follow);
        let over = Session { absolute_expires_at: NOW, ..session() };
        assert_eq!(good(&newer(6), &over), Verdict::Expired);
        let end = Some(SessionEnd { at: NOW, reason: RevokeReason::Logout });
        let ended = Session { end, ..session() };
        assert_eq!(good(&newer(6), &ended), Verdict::Revoked(RevokeReason::Logout));
        for (standing, verdict) in [
            (Standing::Disabled, Verdict::UserDisabled),
            (Standing::Ended, Verdict::Revoked(RevokeReason::Other)),
            (Standing::Restored, Verdict::Revoked(RevokeReason::Restored)),
        ] {
            assert_eq!(judge(&newer(6), &session(), standing), verdict);
        }
    }

    #[test]
    fn what_has_ended_expired_or_is_anothers_is_told_before_anything_else() {
        assert_eq!(verdict(|r, _| r.user = user(2)), Verdict::Unknown);
        let end = Some(SessionEnd { at: NOW, reason: RevokeReason::Logout });
        assert_eq!(verdict(|_, s| s.end = end), Verdict::Revoked(RevokeReason::Logout));
        assert_eq!(verdict(|_, s| s.refresh.expires_at = NOW), Verdict::Expired);
        assert_eq!(
            judge(&rotation(5, "current"), &session(), Standing::Disabled),
            Verdict::UserDisabled
        );
        assert_eq!(
            judge(&rotation(3, "older"), &session(), Standing::Disabled),
            Verdict::UserDisabled
        );
        let restored = judge(&rotation(4, "previous"), &session(), Standing::Restored);
        assert_eq!(restored, Verdict::Revoked(RevokeReason::Restored));
        let older_and_ended = verdict(|r, s| {
            r.presented = PresentedRefresh { generation: 3, hash: TokenHash::of("older") };
            s.end = end;
        });
        assert_eq!(older_and_ended, Verdict::Revoked(RevokeReason::Logout));
    }
}
