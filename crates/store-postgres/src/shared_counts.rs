//! What the limits of other processes have counted.

use std::time::Duration;

use async_trait::async_trait;
use diesel::sql_types::{Array, BigInt, Binary, Integer, Text};
use diesel_async::RunQueryDsl;
use mintgate_domain::model::{CountKey, CountReport, ReplicaId, SharedCount};
use mintgate_domain::ports::{SharedCounts, StoreError, StoreOperation};

use crate::error::RowName;
use crate::sql::{Sql, SqlText, Value};
use crate::store::PgStore;

/// - `forgotten` leaves rows alone that another process deletes.
/// - The last `SELECT` does not see what the statement itself has written.
/// - The order is that of the numbers of each process, so that a cut answer leaves none out.
static EXCHANGE: SqlText = SqlText::new(
    "WITH clock AS MATERIALIZED (
        SELECT clock_timestamp() AS now
    ), old AS MATERIALIZED (
        SELECT c.replica, c.number FROM shared_counts AS c, clock
        WHERE c.at <= now - interval '2 minutes' OR c.at >= now + interval '2 minutes'
        FOR UPDATE OF c SKIP LOCKED
    ), forgotten AS (
        DELETE FROM shared_counts AS c USING old
        WHERE c.replica = old.replica AND c.number = old.number
    ), passed_on AS (
        INSERT INTO shared_counts (replica, number, at, limits, keys, counts, ages)
        SELECT $replica, $number, now, $limits, $keys, $counts, $ages FROM clock
        WHERE cardinality($limits) > 0
        ON CONFLICT DO NOTHING
    )
    SELECT c.replica, c.number,
        GREATEST(extract(epoch FROM now - c.at) * 1000, 0)::bigint AS age,
        c.limits, c.keys, c.counts, c.ages
    FROM clock, shared_counts AS c
    LEFT JOIN unnest($known, $numbers) AS k (replica, number) ON k.replica = c.replica
    WHERE c.replica <> $replica AND (k.number IS NULL OR c.number > k.number)
        AND c.at > now - interval '1 minute' AND c.at < now + interval '1 minute'
    ORDER BY c.number - COALESCE(k.number, 0), c.replica LIMIT 100",
);

type Columns = (Binary, BigInt, BigInt, Array<Text>, Array<Binary>, Array<Integer>, Array<Integer>);
/// The process, the number, the age in milliseconds, and of each count the limit, the key, the number and
/// its age.
type Row = (Vec<u8>, i64, i64, Vec<String>, Vec<Vec<u8>>, Vec<i32>, Vec<i32>);

#[async_trait]
impl SharedCounts for PgStore {
    async fn exchange(
        &self,
        report: &CountReport,
        known: &[(ReplicaId, u64)],
    ) -> Result<Vec<CountReport>, StoreError> {
        let CountReport { replica, number, counts } = report;
        let limits: Vec<_> = counts.iter().map(|count| count.limit.as_str()).collect();
        let keys: Vec<_> = counts.iter().map(|count| count.key.0.as_slice()).collect();
        let numbers: Vec<_> = counts.iter().map(|count| count.count).collect();
        let ages: Vec<_> = counts.iter().map(|count| millis(count.age)).collect();
        let known_replicas: Vec<_> = known.iter().map(|(replica, _)| replica.as_slice()).collect();
        let known_numbers: Vec<_> = known.iter().map(|(_, number)| whole(*number)).collect();
        self.run(StoreOperation::SharedCounts, async |connection, _| {
            let values = [
                ("replica", Value::Bytes(replica)),
                ("number", Value::BigInt(whole(*number))),
                ("limits", Value::Texts(limits.clone())),
                ("keys", Value::ByteStrings(keys.clone())),
                ("counts", Value::Integers(numbers.clone())),
                ("ages", Value::Integers(ages.clone())),
                ("known", Value::ByteStrings(known_replicas.clone())),
                ("numbers", Value::BigInts(known_numbers.clone())),
            ];
            let rows: Vec<Row> =
                Sql::<Columns>::new(&EXCHANGE, values).get_results(connection).await?;
            Ok(rows.into_iter().map(report_of).collect::<Result<_, _>>()?)
        })
        .await
    }
}

fn whole(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

fn millis(age: Duration) -> i32 {
    age.as_millis().try_into().unwrap_or(i32::MAX)
}

fn report_of(
    (replica, number, age, limits, keys, counts, ages): Row,
) -> Result<CountReport, StoreError> {
    let row = RowName { table: "shared_counts", id: &number };
    let span = |millis: i64| Duration::from_millis(millis.try_into().unwrap_or_default());
    let lists = limits.into_iter().zip(keys).zip(counts).zip(ages);
    let counts = lists.map(|(((limit, key), count), counted_for)| {
        let key = CountKey(key.try_into().map_err(|_| row.corrupt("keys"))?);
        Ok(SharedCount { limit, key, count, age: span(age) + span(counted_for.into()) })
    });
    Ok(CountReport {
        replica: replica.try_into().map_err(|_| row.corrupt("replica"))?,
        number: number.unsigned_abs(),
        counts: counts.collect::<Result<_, StoreError>>()?,
    })
}
