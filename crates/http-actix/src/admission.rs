//! How many requests are worked on at once.
//!
//! Each kind of work has places of its own, so that one which waits, for a slow client or for a
//! provider that hangs, takes none from the others. A request takes its place once its body has
//! arrived, and its work holds it to the end. What neither asks the store nor a provider (the JWKS,
//! the metadata, refusals) needs none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::Limits;
use mintgate_domain::ErrorCode;

use crate::error::ApiError;

/// The places of every kind.
#[derive(Debug)]
pub(crate) struct Admission {
    /// For what asks the store alone: refreshes, sign-outs, the caller's own sessions and identities.
    pub(crate) sessions: Places,
    /// For what may wait for a provider: logins that begin, sign-ins, the list of providers.
    pub(crate) sign_ins: Places,
    /// For logout tokens, which may wait for a provider too, and must be heard while sign-ins are
    /// not.
    pub(crate) provider_logouts: Places,
    /// For requests for providers' access tokens, which may wait for a provider, and are those of a
    /// back end, not of people who sign in.
    pub(crate) provider_tokens: Places,
    /// For back ends' questions about tokens and orders to revoke them, which ask the store alone and may
    /// be as many as an app's requests.
    pub(crate) introspections: Places,
    /// For streams about revocations, each of which is open as long as its client likes.
    pub(crate) revocation_streams: Places,
    /// For bodies that did not arrive along with their heads.
    pub(crate) slow_bodies: Places,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            sessions: Places::new("limits.max_in_flight", limits.max_in_flight),
            sign_ins: Places::new("limits.max_sign_ins", limits.max_sign_ins),
            provider_logouts: Places::new("limits.max_sign_ins", limits.max_sign_ins),
            provider_tokens: Places::new("limits.max_sign_ins", limits.max_sign_ins),
            introspections: Places::new("limits.max_in_flight", limits.max_in_flight),
            revocation_streams: Places::new(
                "limits.max_revocation_streams",
                limits.max_revocation_streams,
            ),
            slow_bodies: Places::new("limits.max_slow_bodies", limits.max_slow_bodies),
        }
    }
}

/// The places of one kind.
#[derive(Debug)]
pub(crate) struct Places {
    taken: Arc<AtomicUsize>,
    most: usize,
    /// The setting that says how many there are.
    setting: &'static str,
}

impl Places {
    fn new(setting: &'static str, most: usize) -> Self {
        Self { taken: Arc::default(), most, setting }
    }

    /// Takes a place; never waits for one.
    ///
    /// # Errors
    /// `OVERLOADED` if all are taken.
    pub(crate) fn take(&self) -> Result<Place, ApiError> {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&self.taken));
        if before < self.most {
            Ok(place)
        } else {
            let cause = format!("all places are taken ({} = {})", self.setting, self.most);
            Err(ApiError::new(ErrorCode::Overloaded).because(cause))
        }
    }
}

/// One of the [`Places`]; free again when this is dropped.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_beyond_the_last_is_refused_until_one_is_free_again() {
        let places = Places::new("limits.some", 2);
        let first = places.take().unwrap();
        let _second = places.take().unwrap();
        for _ in 0..3 {
            let error = places.take().unwrap_err();
            assert_eq!(error.kind(), ErrorCode::Overloaded.into());
            let cause = error.reason().unwrap().to_string();
            assert!(cause.contains("limits.some = 2"), "{cause}");
        }
        drop(first);
        let _third = places.take().unwrap();
        assert!(places.take().is_err());
    }
}
