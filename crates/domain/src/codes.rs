//! Authorization codes this process has already taken to their provider.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::TokenHash;

/// Longer than any code lives (RFC 6749 §4.1.2 recommends ten minutes at most).
const REMEMBERED_FOR: Duration = Duration::from_mins(15);

/// A bounded memory of codes in use or used, so that posting one twice, or
/// twenty times at once, asks the provider once.
///
/// Several replicas do not share it: between them the provider's own single
/// use decides, as RFC 6749 §4.1.2 obliges it to.
#[derive(Debug)]
pub struct UsedCodes {
    capacity: usize,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    claimed_at: HashMap<TokenHash, Duration>,
    by_age: VecDeque<(Duration, TokenHash)>,
}

impl UsedCodes {
    /// A memory for at most `capacity` codes; the oldest is forgotten first.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, memory: Mutex::default() }
    }

    /// Claims a code for one exchange; `false` if it is claimed already. `now` is monotonic.
    pub fn claim(&self, code: TokenHash, now: Duration) -> bool {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(&(at, oldest)) = memory.by_age.front()
            && (now.saturating_sub(at) > REMEMBERED_FOR || memory.by_age.len() >= self.capacity)
        {
            memory.by_age.pop_front();
            // A code released and claimed again has a younger entry of its own.
            if memory.claimed_at.get(&oldest) == Some(&at) {
                memory.claimed_at.remove(&oldest);
            }
        }
        if memory.claimed_at.contains_key(&code) {
            return false;
        }
        memory.claimed_at.insert(code, now);
        memory.by_age.push_back((now, code));
        true
    }

    /// Gives a claim back, where the code certainly never left this process.
    pub fn release(&self, code: TokenHash) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.claimed_at.remove(&code);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_code_is_claimed_once_until_it_is_released() {
        let codes = UsedCodes::new(10);
        let code = TokenHash::of("code");
        assert!(codes.claim(code, SECOND));
        assert!(!codes.claim(code, SECOND));
        assert!(codes.claim(TokenHash::of("another"), SECOND));
        codes.release(code);
        assert!(codes.claim(code, SECOND * 2));
        assert!(!codes.claim(code, SECOND * 3));
    }

    #[test]
    fn a_code_is_forgotten_when_it_must_have_expired() {
        let codes = UsedCodes::new(10);
        let code = TokenHash::of("code");
        assert!(codes.claim(code, SECOND));
        assert!(!codes.claim(code, SECOND + REMEMBERED_FOR));
        assert!(codes.claim(code, SECOND * 2 + REMEMBERED_FOR));
    }

    #[test]
    fn a_flood_of_codes_stays_within_the_capacity() {
        let codes = UsedCodes::new(100);
        for i in 0..10_000 {
            assert!(codes.claim(TokenHash::of(&i.to_string()), SECOND));
        }
        let memory = codes.memory.lock().unwrap();
        assert_eq!((memory.claimed_at.len(), memory.by_age.len()), (100, 100));
    }

    #[test]
    fn a_code_claimed_again_after_a_release_is_not_forgotten_with_its_first_claim() {
        let codes = UsedCodes::new(10);
        let code = TokenHash::of("code");
        assert!(codes.claim(code, SECOND));
        codes.release(code);
        assert!(codes.claim(code, SECOND * 500));
        assert!(!codes.claim(code, SECOND * 2 + REMEMBERED_FOR));
    }
}
