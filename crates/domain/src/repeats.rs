//! Sign-ins that were proven and could not be stored, for the moment until they are asked for again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::TokenHash;
use crate::model::IdempotencyKey;
use crate::sign_in::ProvenSignIn;

/// A bounded memory of identities a provider vouched for while the store was down.
///
/// A code works once: when the store fails behind the exchange, the same request could never be
/// answered. With an idempotency key it can, from here.
#[derive(Debug)]
pub(crate) struct ProvenSignIns {
    capacity: usize,
    remembered_for: Duration,
    memory: Mutex<HashMap<TokenHash, Proven>>,
}

#[derive(Debug)]
struct Proven {
    body: TokenHash,
    sign_in: ProvenSignIn,
    at: Duration,
}

impl ProvenSignIns {
    pub(crate) fn new(capacity: usize, remembered_for: Duration) -> Self {
        Self { capacity, remembered_for, memory: Mutex::default() }
    }

    /// Keeps a sign-in, unless too many are kept. `now` is monotonic.
    pub(crate) fn put(&self, request: IdempotencyKey, sign_in: ProvenSignIn, now: Duration) {
        let mut memory = self.lock();
        if memory.len() >= self.capacity {
            memory.retain(|_, proven| now.saturating_sub(proven.at) < self.remembered_for);
        }
        if memory.len() < self.capacity {
            let proven = Proven { body: request.body, sign_in, at: now };
            memory.insert(request.key, proven);
        }
    }

    /// Takes out the sign-in of exactly this request, if it is not too old.
    pub(crate) fn take(&self, request: &IdempotencyKey, now: Duration) -> Option<ProvenSignIn> {
        let mut memory = self.lock();
        if memory.get(&request.key)?.body != request.body {
            return None;
        }
        let proven = memory.remove(&request.key)?;
        (now.saturating_sub(proven.at) < self.remembered_for).then_some(proven.sign_in)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenHash, Proven>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClaimSet, ExternalIdentity, VerifiedIdentity};

    const SECOND: Duration = Duration::from_secs(1);

    fn request(n: u32) -> IdempotencyKey {
        IdempotencyKey { key: TokenHash::of(&n.to_string()), body: TokenHash::of("body") }
    }

    fn sign_in() -> ProvenSignIn {
        let identity = ExternalIdentity { issuer: "i".to_owned(), subject: "s".to_owned() };
        let identity = VerifiedIdentity {
            identity,
            claims: ClaimSet::default(),
            auth_time: None,
            acr: None,
            amr: vec![],
            id_token: None,
        };
        ProvenSignIn { identity, single_use: None, refresh_token: None }
    }

    #[test]
    fn a_flood_is_kept_within_the_capacity_and_goes_with_time() {
        let proven = ProvenSignIns::new(10, SECOND * 60);
        for n in 0..100 {
            proven.put(request(n), sign_in(), SECOND);
        }
        assert_eq!(proven.lock().len(), 10);
        assert!(proven.take(&request(50), SECOND).is_none());
        proven.put(request(100), sign_in(), SECOND * 61);
        assert!(proven.take(&request(100), SECOND * 61).is_some());
        assert!(proven.lock().is_empty());
    }
}
