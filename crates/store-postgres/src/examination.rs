//! What the database server says of itself when an operator asks.

use std::time::Duration;

use async_trait::async_trait;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::ports::{Duty, ServerFacts, StoreError, StoreExamination, StoreFacts};

use crate::migrations;
use crate::replicas::living;
use crate::rights;
use crate::schema::duties;
use crate::store::PgStore;

/// By the server's clock, in milliseconds since 1970.
const TIME: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
/// A socket of this machine has no address; TLS is not needed on loopback.
const IS_IN_CLEAR: &str = "COALESCE((SELECT NOT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) \
    AND inet_client_addr() IS NOT NULL \
    AND NOT inet_client_addr() <<= ANY (ARRAY['127.0.0.0/8', '::1/128']::inet[])";
/// Those that are left to anybody, or fewer if the role has a limit of its own.
const MAX_CONNECTIONS: &str = "(SELECT LEAST(all_of_them, NULLIF(rolconnlimit, -1)) FROM pg_roles, \
    (SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int \
        AS all_of_them) AS server \
    WHERE rolname = current_user)";

#[async_trait]
impl StoreExamination for PgStore {
    async fn examine(&self, issuer: &str, patience: Duration) -> Result<StoreFacts, StoreError> {
        let ask = async |connection: &mut AsyncPgConnection, _| {
            let applied = migrations::applied(connection).await?;
            let (before, sent) = (self.clock.now(), self.clock.monotonic());
            let time: i64 = diesel::select(sql::<BigInt>(TIME)).get_result(connection).await?;
            // The server looked at its clock about half way.
            let ours = before + (self.clock.monotonic().saturating_sub(sent)) / 2;
            let facts = (sql::<Bool>(IS_IN_CLEAR), sql::<Integer>(MAX_CONNECTIONS));
            let facts: (bool, i32) = diesel::select(facts).get_result(connection).await?;
            Ok((applied, millis_ahead(time, ours), facts))
        };
        let (applied, clock_ahead_millis, (is_in_clear, most)) = self.health.run(ask).await?;
        let pending = migrations::pending(&applied);
        let server = ServerFacts {
            clock_ahead_millis,
            is_lent: self.is_lent().await,
            is_in_clear: is_in_clear && !self.connector.stays_on_this_machine(),
            max_connections: most.try_into().unwrap_or_default(),
        };
        let (written, replicas) = match migrations::require_current(&applied) {
            Err(lacks) => (Err(lacks), Vec::new()),
            Ok(()) => (self.write().await, self.living(issuer, patience).await?),
        };
        Ok(StoreFacts { pending, written, replicas, server: Some(server), disk: None })
    }
}

impl PgStore {
    /// Whether a pooler lends a second connection the server process of the first, which idles.
    async fn is_lent(&self) -> bool {
        let Ok(first) = self.connector.establish(true).await else { return false };
        let second = self.connector.establish(true).await;
        second.is_ok_and(|second| second.backend == first.backend)
    }

    /// Writes a row as it is.
    async fn write(&self) -> Result<(), StoreError> {
        let work = async |connection: &mut AsyncPgConnection, _| {
            rights::require_writable(connection).await?;
            let row = diesel::update(duties::table.find(Duty::Sweep.name()));
            row.set(duties::name.eq(Duty::Sweep.name())).execute(connection).await?;
            Ok(())
        };
        self.health.run(work).await
    }

    async fn living(
        &self,
        issuer: &str,
        patience: Duration,
    ) -> Result<Vec<mintgate_domain::model::LiveReplica>, StoreError> {
        let work = async |connection: &mut AsyncPgConnection, _| {
            living(connection, issuer, patience).await
        };
        self.health.run(work).await
    }
}

/// How far a time in milliseconds since 1970 is ahead of another.
fn millis_ahead(theirs: i64, ours: time::OffsetDateTime) -> i64 {
    let ours = i64::try_from(ours.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    theirs.saturating_sub(ours)
}
