//! Gives the duty of sweeping back.

use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::Timestamp;

use crate::error::Failure;
use crate::pool::Statement;
use crate::sql::{Sql, Value};
use crate::time::to_postgres;

const TEXT: &str = "UPDATE duties SET held_until = NULL, ended_at = $now WHERE name = 'sweep'";

/// Notes that a whole round has ended.
pub(crate) struct EndSweep(pub(crate) Timestamp);

impl Statement for EndSweep {
    type Output = ();

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<(), Failure> {
        let values = [("now", Value::At(to_postgres(self.0, "ended_at")?))];
        Sql::new(TEXT, values).execute(connection).await?;
        Ok(())
    }
}
