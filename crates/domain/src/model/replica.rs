//! The processes that run on one store, and whether they accept one another's tokens.

use std::time::Duration;

use super::KeyId;

/// How long a process may be silent until it counts as gone. One that was killed counts as alive for so
/// long.
pub const REPLICA_PATIENCE: Duration = Duration::from_secs(30);

/// A process: 128 random bits, drawn when it starts.
pub type ReplicaId = [u8; 16];

/// The keys with which a process verifies tokens of one use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySet {
    /// Those that are kept in the store itself: whoever reads it has the same ones.
    OfStore,
    /// Keys from a directory or the configuration, by their ids.
    Own(Vec<KeyId>),
}

impl KeySet {
    /// Whether tokens of one process can be verified by the other. One common key is enough: a rotation
    /// moves one key at a time, and not every process notices it at the same moment.
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::OfStore, Self::OfStore) => true,
            (Self::Own(ours), Self::Own(theirs)) => ours.iter().any(|id| theirs.contains(id)),
            _ => false,
        }
    }
}

/// What a process says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// The process that says that it lives.
    pub id: ReplicaId,
    /// How an operator finds it: its host and process id; 1 to 255 bytes.
    pub name: String,
    /// The issuer of its tokens; at most 2048 bytes.
    pub issuer: String,
    /// The keys that verify access tokens.
    pub access: KeySet,
    /// The keys that verify refresh tokens.
    pub refresh: KeySet,
}

/// A process that lives, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveReplica {
    /// The process that has said that it lives.
    pub id: ReplicaId,
    /// Its host and process id.
    pub name: String,
    /// The keys that verify access tokens.
    pub access: KeySet,
    /// The keys that verify refresh tokens.
    pub refresh: KeySet,
    /// How long ago it said that it lives, by the store's clock.
    pub silent_for: Duration,
}

impl LiveReplica {
    /// Whether the two accept one another's access and refresh tokens.
    fn accepts(&self, other: &Self) -> bool {
        self.access.meets(&other.access) && self.refresh.meets(&other.refresh)
    }
}

/// Another process has other keys: each refuses what the other has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDispute {
    /// The process that has other keys.
    pub with: LiveReplica,
    /// Whether this process has to give way: the other one, or one with the same keys as it, has lived
    /// longer than every process that has keys of this one.
    pub gives_way: bool,
}

/// Whether one of the processes that live has other keys than this one. They come in the order in which
/// they were first heard of; all that look at one list agree on who gives way.
pub fn key_dispute(own: &ReplicaId, live: &[LiveReplica]) -> Option<KeyDispute> {
    let this = live.iter().find(|replica| replica.id == *own)?;
    // The place of the one that has lived longest among those with such keys.
    let rank = |of: &LiveReplica| live.iter().position(|one| one.id == of.id || one.accepts(of));
    let others = live.iter().filter(|other| other.id != *own && !other.accepts(this));
    let first = others.min_by_key(|other| rank(other))?;
    Some(KeyDispute { gives_way: rank(first) < rank(this), with: first.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(ids: &str) -> KeySet {
        KeySet::Own(ids.split_whitespace().map(KeyId::new).collect())
    }

    /// Processes 1, 2, … in the order in which they were first heard of.
    fn live(keys: &[(KeySet, KeySet)]) -> Vec<LiveReplica> {
        let replica = |(id, (access, refresh)): (u8, &(KeySet, KeySet))| LiveReplica {
            id: [id; 16],
            name: format!("host {id}"),
            access: access.clone(),
            refresh: refresh.clone(),
            silent_for: Duration::ZERO,
        };
        (1..).zip(keys).map(replica).collect()
    }

    /// With whom each of them is in dispute, and whether it gives way.
    fn disputes(keys: &[(KeySet, KeySet)]) -> Vec<Option<(u8, bool)>> {
        let live = live(keys);
        let dispute = |one: &LiveReplica| {
            key_dispute(&one.id, &live).map(|dispute| (dispute.with.id[0], dispute.gives_way))
        };
        live.iter().map(dispute).collect()
    }

    #[test]
    fn who_shares_a_key_of_each_use_is_in_no_dispute() {
        let of_store = (KeySet::OfStore, KeySet::OfStore);
        assert_eq!(disputes(&[of_store.clone(), of_store]), [None, None]);
        // One has not noticed a rotation yet, and then the removal of a former key.
        let during = [("a b", "r s"), ("b c", "r s"), ("b c", "s t")];
        let during = during.map(|(access, refresh)| (own(access), own(refresh)));
        assert_eq!(disputes(&during), [None; 3]);
        assert_eq!(disputes(&[(own("a"), own("b"))]), [None], "alone");
    }

    #[test]
    fn who_shares_no_key_of_one_use_gives_way_to_who_has_lived_longer() {
        for later in [(own("x"), own("r")), (own("a"), own("x")), (KeySet::OfStore, own("r"))] {
            let outcome = disputes(&[(own("a"), own("r")), later]);
            assert_eq!(outcome, [Some((2, false)), Some((1, true))]);
        }
    }

    #[test]
    fn who_comes_last_stays_if_it_has_the_keys_of_the_first() {
        let [first, other] = [(own("a"), own("r")), (own("x"), own("y"))];
        let outcome = disputes(&[first.clone(), other.clone(), first, other]);
        assert_eq!(outcome, [Some((2, false)), Some((1, true)), Some((2, false)), Some((1, true))]);
    }

    #[test]
    fn a_process_that_is_not_in_the_list_is_in_no_dispute() {
        assert_eq!(key_dispute(&[9; 16], &live(&[(own("a"), own("r"))])), None);
    }
}
