//! Refreshes to be asked of a store: each made for one state of a session.

use std::time::Duration;

use mintgate_domain::TokenHash;
use mintgate_domain::model::{
    KeyId, LostAnswer, NewerToken, PresentedRefresh, RefreshState, ReplayRule, Rotation, Session,
    Timestamp,
};

/// The idle limit of sessions: 30 days.
pub const IDLE: Duration = Duration::from_hours(30 * 24);

/// How long the previous token is answered: 2 hours, so that no test depends on how fast it runs.
pub const WINDOW: Duration = Duration::from_hours(2);

/// How many counted replays of the previous token are answered: 3.
pub const REPLAYS: u16 = 3;

/// The replay rule with [`WINDOW`] and [`REPLAYS`], for a presentation that counts.
pub fn rule() -> ReplayRule {
    let lost_answer = LostAnswer::Grace;
    let newer_token = NewerToken::Refuse;
    ReplayRule { window: WINDOW, limit: REPLAYS, counted: true, lost_answer, newer_token }
}

/// The refresh token of this state, as a client presents it.
pub fn token_of(state: &RefreshState) -> PresentedRefresh {
    PresentedRefresh { generation: state.generation, hash: state.hash }
}

/// The state of the successor to the session's current token, made at `now`.
pub fn successor(session: &Session, now: Timestamp) -> RefreshState {
    let generation = session.refresh.generation + 1;
    let text = format!("refresh-token-of-{}-{generation}-{}", session.id, now.as_unix());
    RefreshState {
        generation,
        hash: TokenHash::of(&text),
        key_id: KeyId::new("refresh-2"),
        issued_at: now,
        expires_at: RefreshState::expiry(now, IDLE, session.absolute_expires_at),
    }
}

/// Somebody presents this token; the successor fits the session as it is here.
pub fn presenting(session: &Session, presented: PresentedRefresh, now: Timestamp) -> Rotation {
    Rotation {
        session: session.id,
        user: session.user,
        presented,
        roles: None,
        successor: successor(session, now),
        idle_expires_at: now + IDLE,
        now,
        replay: rule(),
    }
}

/// The rotation of a client that presents the session's current token.
pub fn rotation(session: &Session, now: Timestamp) -> Rotation {
    presenting(session, token_of(&session.refresh), now)
}
