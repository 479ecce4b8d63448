//! The processes that run on this database.

use std::time::Duration;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{Array, Binary, Double, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::{KeyId, KeySet, LiveReplica, Replica, ReplicaId};
use mintgate_domain::ports::{Replicas, StoreError, StoreOperation};

use crate::error::{Failure, RowName};
use crate::schema::replicas;
use crate::sql::{Sql, SqlText, Value};
use crate::store::PgStore;

/// - `forgotten` leaves a row alone that somebody else is writing to.
/// - The outer `SELECT` does not see what the statement itself has written: `own` brings that row.
static ANNOUNCE: SqlText = SqlText::new(
    "WITH clock AS MATERIALIZED (
        SELECT clock_timestamp() AS now, $patience * interval '1 microsecond' AS patience
    ), known AS MATERIALIZED (
        SELECT r.*, r.seen_at > now - patience AND r.seen_at < now + patience AS lives,
            extract(epoch FROM now - r.seen_at)::float8 AS silent
        FROM replicas AS r, clock
    ), old AS MATERIALIZED (
        SELECT r.id FROM replicas AS r JOIN known ON known.id = r.id
        WHERE NOT known.lives AND r.id <> $id AND r.seen_at = known.seen_at
        FOR UPDATE OF r SKIP LOCKED
    ), forgotten AS (
        DELETE FROM replicas AS r USING old WHERE r.id = old.id
    ), own AS (
        INSERT INTO replicas AS r
            (id, name, issuer, access_kids, refresh_kids, known_since, seen_at)
        SELECT $id, $name, $issuer, $access_kids, $refresh_kids, now, now FROM clock
        ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, issuer = EXCLUDED.issuer,
            access_kids = EXCLUDED.access_kids, refresh_kids = EXCLUDED.refresh_kids,
            seen_at = EXCLUDED.seen_at,
            known_since = CASE WHEN (SELECT lives FROM known WHERE known.id = $id)
                THEN r.known_since ELSE EXCLUDED.known_since END
        RETURNING r.id, r.name, r.access_kids, r.refresh_kids, r.known_since
    )
    SELECT id, name, access_kids, refresh_kids, silent FROM (
        SELECT id, name, access_kids, refresh_kids, silent, known_since FROM known
        WHERE lives AND issuer = $issuer AND id <> $id
        UNION ALL
        SELECT id, name, access_kids, refresh_kids, 0, known_since FROM own
    ) AS live
    ORDER BY known_since, id",
);

static LIVING: SqlText = SqlText::new(
    "SELECT id, name, access_kids, refresh_kids,
        extract(epoch FROM clock_timestamp() - seen_at)::float8 AS silent
    FROM replicas
    WHERE issuer = $issuer
        AND seen_at > clock_timestamp() - $patience * interval '1 microsecond'
        AND seen_at < clock_timestamp() + $patience * interval '1 microsecond'
    ORDER BY known_since, id",
);

type Columns = (Binary, Text, Nullable<Array<Text>>, Nullable<Array<Text>>, Double);
/// The id, the name, the ids of both kinds of keys, and for how many seconds it has been silent.
type Row = (Vec<u8>, String, Option<Vec<String>>, Option<Vec<String>>, f64);

#[async_trait]
impl Replicas for PgStore {
    async fn announce(
        &self,
        replica: &Replica,
        patience: Duration,
    ) -> Result<Vec<LiveReplica>, StoreError> {
        let patience = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX);
        self.run(StoreOperation::Replicas, async |connection, _| {
            let values = [
                ("id", Value::Bytes(&replica.id)),
                ("name", Value::Text(&replica.name)),
                ("issuer", Value::Text(&replica.issuer)),
                ("access_kids", Value::MaybeTexts(ids(&replica.access))),
                ("refresh_kids", Value::MaybeTexts(ids(&replica.refresh))),
                ("patience", Value::BigInt(patience)),
            ];
            let rows: Vec<Row> =
                Sql::<Columns>::new(&ANNOUNCE, values).get_results(connection).await?;
            Ok(rows.into_iter().map(live).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn withdraw(&self, id: &ReplicaId) -> Result<(), StoreError> {
        let row = replicas::table.find(id.as_slice());
        self.run(StoreOperation::Replicas, async |connection, _| {
            diesel::delete(row).execute(connection).await?;
            Ok(())
        })
        .await
    }
}

/// The processes of this issuer that said less than `patience` ago that they live.
pub(crate) async fn living(
    connection: &mut AsyncPgConnection,
    issuer: &str,
    patience: Duration,
) -> Result<Vec<LiveReplica>, Failure> {
    let patience = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX);
    let values = [("issuer", Value::Text(issuer)), ("patience", Value::BigInt(patience))];
    let rows: Vec<Row> = Sql::<Columns>::new(&LIVING, values).get_results(connection).await?;
    Ok(rows.into_iter().map(live).collect::<Result<_, _>>()?)
}

fn ids(keys: &KeySet) -> Option<Vec<&str>> {
    match keys {
        KeySet::OfStore => None,
        KeySet::Own(ids) => Some(ids.iter().map(KeyId::as_str).collect()),
    }
}

fn live((id, name, access, refresh, silent): Row) -> Result<LiveReplica, StoreError> {
    let keys = |ids: Option<Vec<String>>| match ids {
        None => KeySet::OfStore,
        Some(ids) => KeySet::Own(ids.into_iter().map(KeyId::new).collect()),
    };
    let row = RowName { table: "replicas", id: &name };
    Ok(LiveReplica {
        id: id.try_into().map_err(|_| row.corrupt("id"))?,
        access: keys(access),
        refresh: keys(refresh),
        // Negative where the store's clock was set back.
        silent_for: Duration::try_from_secs_f64(silent).unwrap_or_default(),
        name,
    })
}
