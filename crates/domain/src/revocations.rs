//! The use case of services that verify access tokens themselves: which of them they must refuse.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{RevocationCursor, RevocationStatement, Timestamp};
use crate::ports::{Clock, RevocationLog, RevocationPage, RevocationSigner};
use crate::{AuthError, SignedToken};

/// How many events a page has at most.
const PAGE: u32 = 1_000;
/// By how much longer than they are valid access tokens may be accepted: a minute of leeway that verifiers
/// allow, and a minute by which clocks differ.
const LEEWAY: Duration = Duration::from_mins(2);

/// The log of revocations, as other services follow it.
pub struct FollowRevocations {
    /// Stores the ends of sessions and users, in order.
    pub log: Arc<dyn RevocationLog>,
    /// Signs what is told of it.
    pub signer: Arc<dyn RevocationSigner>,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
}

impl FollowRevocations {
    /// What was logged behind this place, the first of it; from the beginning if there is none.
    ///
    /// # Errors
    /// [`AuthError::NoSuchPlace`] if the log has no such place; or if the store cannot say.
    pub async fn page(
        &self,
        after: Option<&RevocationCursor>,
    ) -> Result<RevocationPage, AuthError> {
        let page = self.log.revocations(after, self.now(), PAGE).await?;
        page.ok_or(AuthError::NoSuchPlace)
    }

    /// A page as a client is told of it, signed.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn statement(
        &self,
        audience: &str,
        after: Option<&RevocationCursor>,
        page: &RevocationPage,
    ) -> Result<SignedToken, AuthError> {
        let issued_at = self.now();
        let statement = RevocationStatement { audience, after, page, issued_at };
        Ok(self.signer.sign_revocations(&statement)?)
    }

    fn now(&self) -> Timestamp {
        self.clock.now().into()
    }
}

/// How long after an end access tokens with this life may still be accepted somewhere.
pub fn revocation_lifetime(access_ttl: Duration) -> Duration {
    access_ttl + LEEWAY
}
