//! Work that one of several processes does at a time.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::model::Timestamp;

/// Work that one of several processes does at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Duty {
    /// To delete what has expired ([`Housekeeping`](super::Housekeeping)).
    Sweep,
    /// To delete old entries of the audit log ([`AuditStore`](super::AuditStore)).
    AuditPruning,
    /// To seal anew, under the current key-encryption key, what is sealed under a former one.
    Reseal,
}

impl Duty {
    /// The name that the duty is stored under.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sweep => "sweep",
            Self::AuditPruning => "audit",
            Self::Reseal => "reseal",
        }
    }
}

/// Which process holds which duty. The users' store keeps this, which all processes share.
///
/// Every method returns [`StoreError::Unavailable`] when the store cannot be asked, or did not say
/// whether the call took effect.
#[async_trait]
pub trait Duties: Send + Sync {
    /// Takes the duty for `lease` from `now` on; `false` if another holds it, or ended a round less than
    /// `every` ago. Exactly one of several callers MUST get it.
    async fn claim_duty(
        &self,
        duty: Duty,
        now: Timestamp,
        lease: Duration,
        every: Duration,
    ) -> Result<bool, StoreError>;

    /// Gives the duty back after a round.
    async fn end_duty(&self, duty: Duty, now: Timestamp) -> Result<(), StoreError>;

    /// When the last round ended; `None` if there never was one.
    async fn duty_ended_at(&self, duty: Duty) -> Result<Option<Timestamp>, StoreError>;
}
