//! Sign-ins that were proven and could not be stored, for the moment until they are asked for again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::TokenHash;
use crate::model::{IdempotencyKey, VerifiedIdentity};

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
    identity: VerifiedIdentity,
    at: Duration,
}

impl ProvenSignIns {
    pub(crate) fn new(capacity: usize, remembered_for: Duration) -> Self {
        Self { capacity, remembered_for, memory: Mutex::default() }
    }

    /// Keeps a sign-in, unless too many are kept. `now` is monotonic.
    pub(crate) fn put(&self, request: IdempotencyKey, identity: VerifiedIdentity, now: Duration) {
        let mut memory = self.lock();
        if memory.len() >= self.capacity {
            memory.retain(|_, proven| now.saturating_sub(proven.at) < self.remembered_for);
        }
        if memory.len() < self.capacity {
            let proven = Proven { body: request.body, identity, at: now };
            memory.insert(request.key, proven);
        }
    }

    /// Takes out the sign-in of exactly this request, if it is not too old.
    pub(crate) fn take(&self, request: &IdempotencyKey, now: Duration) -> Option<VerifiedIdentity> {
        let mut memory = self.lock();
        if memory.get(&request.key)?.body != request.body {
            return None;
        }
        let proven = memory.remove(&request.key)?;
        (now.saturating_sub(proven.at) < self.remembered_for).then_some(proven.identity)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenHash, Proven>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
