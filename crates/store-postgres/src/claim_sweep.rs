//! Takes the duty of sweeping.

use std::time::Duration;

use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::Timestamp;

use crate::error::Failure;
use crate::pool::Statement;
use crate::sql::{Sql, Value};
use crate::time::bound;

const TEXT: &str = "UPDATE duties SET held_until = $until
    WHERE name = 'sweep' AND (held_until IS NULL OR held_until <= $now)
        AND (ended_at IS NULL OR ended_at <= $rested_since)";

/// Takes the duty for a lease, if nobody holds it and the last round ended long enough ago. A
/// caller that took it and lost the answer is told that somebody holds it: itself.
pub(crate) struct ClaimSweep {
    pub(crate) now: Timestamp,
    pub(crate) lease: Duration,
    pub(crate) every: Duration,
}

impl Statement for ClaimSweep {
    type Output = bool;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<bool, Failure> {
        let values = [
            ("now", Value::At(bound(self.now))),
            ("until", Value::At(bound(self.now + self.lease))),
            ("rested_since", Value::At(bound(self.now - self.every))),
        ];
        Ok(Sql::new(TEXT, values).execute(connection).await? == 1)
    }
}
