//! The processes that run on this file.

use std::time::Duration;

use async_trait::async_trait;
use diesel::prelude::*;
use mintgate_domain::model::{KeyId, KeySet, LiveReplica, Replica, ReplicaId, Timestamp};
use mintgate_domain::ports::{Replicas, StoreError, StoreOperation};

use crate::error::Failure;
use crate::json;
use crate::row::{Hex, Row};
use crate::schema::replicas;
use crate::store::SqliteStore;

#[async_trait]
impl Replicas for SqliteStore {
    async fn announce(
        &self,
        replica: &Replica,
        patience: Duration,
    ) -> Result<Vec<LiveReplica>, StoreError> {
        let (replica, clock) = (replica.clone(), self.clock.clone());
        let work =
            move |connection: &mut _| announce(connection, &replica, patience, clock.now().into());
        self.write(StoreOperation::Replicas, work).await
    }

    async fn withdraw(&self, id: &ReplicaId) -> Result<(), StoreError> {
        let id = *id;
        let work = move |connection: &mut _| {
            diesel::delete(replicas::table.find(id.as_slice())).execute(connection)?;
            Ok(())
        };
        self.write(StoreOperation::Replicas, work).await
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = replicas)]
struct ReplicaRow {
    id: Vec<u8>,
    name: String,
    issuer: String,
    access_kids: Option<String>,
    refresh_kids: Option<String>,
    known_since: i64,
    seen_at: i64,
}

/// Announces a process in a transaction; `now` is the store's time.
fn announce(
    connection: &mut SqliteConnection,
    replica: &Replica,
    patience: Duration,
    now: Timestamp,
) -> Result<Vec<LiveReplica>, Failure> {
    let (since, until) = ((now - patience).as_unix(), (now + patience).as_unix());
    let is_silent = replicas::seen_at.le(since).or(replicas::seen_at.ge(until));
    diesel::delete(replicas::table.filter(is_silent)).execute(connection)?;
    let known: Option<i64> = replicas::table
        .find(replica.id.as_slice())
        .select(replicas::known_since)
        .get_result(connection)
        .optional()?;
    let row = ReplicaRow {
        id: replica.id.to_vec(),
        name: replica.name.clone(),
        issuer: replica.issuer.clone(),
        access_kids: ids(&replica.access),
        refresh_kids: ids(&replica.refresh),
        known_since: known.unwrap_or(now.as_unix()),
        seen_at: now.as_unix(),
    };
    diesel::replace_into(replicas::table).values(row).execute(connection)?;
    living(connection, &replica.issuer, patience, now)
}

/// The processes of this issuer that said less than `patience` ago that they live; `now` is the store's
/// time.
pub(crate) fn living(
    connection: &mut SqliteConnection,
    issuer: &str,
    patience: Duration,
    now: Timestamp,
) -> Result<Vec<LiveReplica>, Failure> {
    let rows: Vec<ReplicaRow> = replicas::table
        .filter(replicas::issuer.eq(issuer))
        .filter(replicas::seen_at.gt((now - patience).as_unix()))
        .filter(replicas::seen_at.lt((now + patience).as_unix()))
        .order((replicas::known_since, replicas::id))
        .select(ReplicaRow::as_select())
        .load(connection)?;
    Ok(rows.into_iter().map(|row| live(row, now)).collect::<Result<_, _>>()?)
}

fn ids(keys: &KeySet) -> Option<String> {
    match keys {
        KeySet::OfStore => None,
        KeySet::Own(ids) => Some(json::texts(ids.iter().map(KeyId::as_str))),
    }
}

fn live(found: ReplicaRow, now: Timestamp) -> Result<LiveReplica, StoreError> {
    let row = Row { table: "replicas", id: &Hex(&found.id) };
    let keys = |column, ids: Option<String>| {
        Ok::<_, StoreError>(match ids {
            None => KeySet::OfStore,
            Some(ids) => {
                KeySet::Own(row.texts(column, &ids)?.into_iter().map(KeyId::new).collect())
            }
        })
    };
    let silent = now.as_unix().saturating_sub(found.seen_at);
    Ok(LiveReplica {
        id: found.id.as_slice().try_into().map_err(|_| row.corrupt("id"))?,
        name: found.name,
        access: keys("access_kids", found.access_kids)?,
        refresh: keys("refresh_kids", found.refresh_kids)?,
        // Negative where the clock was set back.
        silent_for: Duration::from_secs(silent.try_into().unwrap_or_default()),
    })
}
