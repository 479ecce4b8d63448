//! What the processes on one store tell one another about whom their limits have counted.

use std::fmt;
use std::time::Duration;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::ReplicaId;
use crate::SecretText;

/// Whom a limit counts: a network, a session, or all callers of a provider. 128 bits, which are a digest
/// where they leave the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CountKey(pub [u8; 16]);

impl CountKey {
    /// All callers together.
    pub const ALL: Self = Self([0; 16]);
}

/// Makes digests of what is counted, by which processes of one configuration mean the same, and nobody else
/// learns a network.
#[derive(Clone, PartialEq, Eq)]
pub struct CountDigest(Zeroizing<Vec<u8>>);

impl CountDigest {
    /// Digests under a key that follows from a secret of the configuration.
    pub fn derived(secret: &SecretText) -> Self {
        let key = hmac(secret.expose().as_bytes(), b"mintgate shared limits");
        Self(Zeroizing::new(key.to_vec()))
    }

    /// Digests without a secret: whoever reads one can find its IPv4 address by trying all of them.
    pub fn unkeyed() -> Self {
        Self(Zeroizing::default())
    }

    /// The digest of these bytes: the first half of HMAC-SHA-256 (RFC 2104).
    pub fn of(&self, bytes: &[u8]) -> CountKey {
        let mut key = [0; 16];
        key.copy_from_slice(&hmac(&self.0, bytes)[..16]);
        CountKey(key)
    }
}

impl fmt::Debug for CountDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() {
            "CountDigest(unkeyed)"
        } else {
            "CountDigest([redacted])"
        })
    }
}

fn hmac(key: &[u8], bytes: &[u8]) -> [u8; 32] {
    // A key may have any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(bytes);
    mac.finalize().into_bytes().into()
}

/// What one process has counted under one limit for one key since it last said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedCount {
    /// The name of the limit, 1 to 200 bytes.
    pub limit: String,
    /// Whom it was counted for.
    pub key: CountKey,
    /// How many requests; negative if more were given back than taken.
    pub count: i32,
    /// How long ago they began to be counted, in whole milliseconds.
    pub age: Duration,
}

/// What one process says at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountReport {
    /// The process.
    pub replica: ReplicaId,
    /// The number of the report: each report of a process has a higher one than those before.
    pub number: u64,
    /// At most [`CountReport::MAX_COUNTS`].
    pub counts: Vec<SharedCount>,
}

impl CountReport {
    /// How many counts a report has at most.
    pub const MAX_COUNTS: usize = 1000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_the_same_under_one_secret_alone_and_show_nothing() {
        let [one, other] = ["one", "other"].map(|it| CountDigest::derived(&SecretText::new(it)));
        assert_eq!(
            one.of(b"192.0.2.1"),
            CountDigest::derived(&SecretText::new("one")).of(b"192.0.2.1")
        );
        assert_ne!(one.of(b"192.0.2.1"), one.of(b"192.0.2.2"));
        assert_ne!(one.of(b"192.0.2.1"), other.of(b"192.0.2.1"));
        assert_ne!(one.of(b"192.0.2.1"), CountDigest::unkeyed().of(b"192.0.2.1"));
        assert_eq!(format!("{one:?}"), "CountDigest([redacted])");
    }
}
