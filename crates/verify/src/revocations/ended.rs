//! What has ended, in little memory: 21 to 42 bytes a session.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock};

use ring::digest::{SHA256, digest};

use super::statement::{Event, Revoked};
use crate::Claims;

/// So that forgetting what has expired locks a small part at a time.
const SHARDS: usize = 64;

/// A session or user: the bytes of a UUID, else a part of a digest.
type Id = [u8; 16];

/// The tokens that are refused although they have not expired.
pub(super) struct Ended {
    /// When each ended session can be forgotten.
    sessions: Vec<RwLock<HashMap<Id, u32>>>,
    /// The lowest epoch of a user's tokens that is accepted, and when this can be forgotten.
    users: RwLock<HashMap<Id, (u64, u32)>>,
    /// Tokens issued before this time are refused: a backup was restored then.
    issued_before: AtomicI64,
}

impl Default for Ended {
    fn default() -> Self {
        let sessions = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { sessions, users: RwLock::default(), issued_before: AtomicI64::new(i64::MIN) }
    }
}

impl Ended {
    /// Adds events; an event that is added twice counts once.
    pub(super) fn add(&self, events: &[Event<'_>]) {
        for Event { revoked, forget_after } in events {
            let forget_after = u32::try_from((*forget_after).max(0)).unwrap_or(u32::MAX);
            match revoked {
                Revoked::Session(sid) => {
                    let id = id(sid);
                    let mut shard = write(self.shard(&id));
                    let known = shard.entry(id).or_default();
                    *known = forget_after.max(*known);
                }
                Revoked::User { sub, epoch } => {
                    let mut users = write(&self.users);
                    let known = users.entry(id(sub)).or_default();
                    *known = ((*epoch).max(known.0), forget_after.max(known.1));
                }
                Revoked::IssuedBefore(time) => {
                    self.issued_before.fetch_max(*time, Ordering::Relaxed);
                }
            }
        }
    }

    /// Whether the token with these claims is refused.
    pub(super) fn covers(&self, claims: &Claims) -> bool {
        let session_ended = claims.sid.as_deref().map(id).is_some_and(|sid| {
            self.shard(&sid).read().unwrap_or_else(PoisonError::into_inner).contains_key(&sid)
        });
        if session_ended || claims.issued_at < self.issued_before.load(Ordering::Relaxed) {
            return true;
        }
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        // A token without the claim is older than the claim.
        let epoch = claims.epoch.unwrap_or(0);
        !users.is_empty() && users.get(&id(&claims.sub)).is_some_and(|(least, _)| epoch < *least)
    }

    /// Forgets what ended so long ago that no token of it is left.
    pub(super) fn forget(&self, now: i64) {
        let now = u32::try_from(now.max(0)).unwrap_or(u32::MAX);
        for shard in &self.sessions {
            let mut shard = write(shard);
            shard.retain(|_, forget_after| *forget_after > now);
            shrink(&mut shard);
        }
        let mut users = write(&self.users);
        users.retain(|_, (_, forget_after)| *forget_after > now);
        shrink(&mut users);
    }

    /// How many sessions and users are remembered.
    pub(super) fn counts(&self) -> (usize, usize) {
        let count = |shard: &RwLock<HashMap<Id, u32>>| {
            shard.read().unwrap_or_else(PoisonError::into_inner).len()
        };
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner).len();
        (self.sessions.iter().map(count).sum(), users)
    }

    fn shard(&self, id: &Id) -> &RwLock<HashMap<Id, u32>> {
        // The end of a UUIDv7 is random.
        &self.sessions[usize::from(id[15]) % SHARDS]
    }
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn shrink<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if map.capacity() > 4 * map.len() {
        map.shrink_to_fit();
    }
}

fn id(text: &str) -> Id {
    uuid(text).unwrap_or_else(|| {
        let mut id = Id::default();
        id.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
        id
    })
}

/// The bytes of a UUID in its usual form (RFC 9562 §4).
fn uuid(text: &str) -> Option<Id> {
    let text = text.as_bytes();
    if text.len() != 36 {
        return None;
    }
    let mut id = Id::default();
    let mut digits = 0;
    for (index, byte) in text.iter().enumerate() {
        if matches!(index, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        id[digits / 2] = (id[digits / 2] << 4) | digit;
        digits += 1;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn sid(number: u64) -> String {
        // UUIDs of version 7: only their end is random.
        let end = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let (high, low) = (((end >> 48) & 0xFFF) | 0x8000, end & 0xFFFF_FFFF_FFFF);
        format!("01920000-0000-7000-{high:04x}-{low:012x}")
    }

    fn add(ended: &Ended, numbers: std::ops::Range<u64>, forget_after: i64) {
        for number in numbers {
            let revoked = Revoked::Session(Cow::Owned(sid(number)));
            ended.add(&[Event { revoked, forget_after }]);
        }
    }

    #[test]
    fn what_has_expired_is_forgotten_and_the_latest_time_counts() {
        let ended = Ended::default();
        add(&ended, 0..500, 100);
        add(&ended, 400..1000, 200);
        add(&ended, 400..500, 50);
        let revoked = Revoked::User { sub: "alice".into(), epoch: 1 };
        ended.add(&[Event { revoked, forget_after: 100 }]);
        ended.forget(99);
        assert_eq!(ended.counts(), (1000, 1));
        ended.forget(100);
        assert_eq!(ended.counts(), (600, 0));
        ended.forget(200);
        assert_eq!(ended.counts(), (0, 0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_million_ended_sessions_take_less_than_50_megabytes() {
        let resident = || {
            let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
            pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let before = resident();
        let ended = Ended::default();
        add(&ended, 0..1_000_000, i64::from(u32::MAX));
        let taken = resident() - before;
        assert_eq!(ended.counts().0, 1_000_000);
        assert!(taken < 50_000_000, "{taken} bytes");
    }
}
