//! Tells the first attempt at a statement from those that follow where its answer was lost.

use std::sync::atomic::{AtomicBool, Ordering};

/// The attempts of one call. A statement that counts once by a mark, or by a row that goes, meets
/// its own work when it is executed again, and must not take it for another's.
#[derive(Debug, Default)]
pub(crate) struct Attempts(AtomicBool);

impl Attempts {
    /// Begins an attempt; whether there was one before, of which nobody knows what became.
    pub(crate) fn begin(&self) -> Attempt {
        if self.0.swap(true, Ordering::Relaxed) { Attempt::Repeated } else { Attempt::First }
    }
}

/// An attempt at a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    First,
    Repeated,
}
