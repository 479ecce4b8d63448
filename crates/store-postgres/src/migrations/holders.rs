//! Who holds the locks that a migration waits for.

use std::fmt;

use mintgate_domain::Cause;
use mintgate_domain::ports::StoreError;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

/// A transaction of somebody else that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pid: String,
    /// The transaction's identity within the server.
    transaction: String,
    /// How long it has been going on, in seconds. Roles without the right to know do not learn it.
    age: Option<String>,
    /// What it last did, shortened.
    query: Option<String>,
    /// The mode in which it holds the lock, in words.
    pub(super) mode: String,
    /// The table that it holds, as an OID.
    pub(super) table: String,
}

impl Holder {
    /// Whether it is the same transaction; ages differ.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.transaction == other.transaction
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}", self.pid)?;
        if let Some(age) = &self.age {
            write!(f, ", for {age} s")?;
        }
        match &self.query {
            Some(query) if !query.is_empty() => write!(f, ": {query}"),
            _ => Ok(()),
        }
    }
}

/// The columns of a [`Holder`], of the locks `l`.
const HOLDERS: &str = "SELECT l.pid, l.virtualtransaction,
        floor(extract(epoch FROM clock_timestamp() - a.xact_start))::bigint,
        left(regexp_replace(a.query, '\\s+', ' ', 'g'), 80), l.mode, l.relation
    FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a USING (pid)";

fn unknown(error: tokio_postgres::Error) -> StoreError {
    StoreError::Unavailable(Cause::from_error("the server did not say who holds locks", error))
}

/// The rows that a statement answers with.
pub(super) async fn rows(
    client: &Client,
    statement: &str,
) -> Result<Vec<SimpleQueryRow>, StoreError> {
    let answer = client.simple_query(statement).await.map_err(unknown)?;
    let rows = answer.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(rows.collect())
}

async fn holders(client: &Client, which: &str) -> Result<Vec<Holder>, StoreError> {
    // Within a transaction, the server would show the activity as it was at the first look.
    client.simple_query("SELECT pg_stat_clear_snapshot()").await.map_err(unknown)?;
    let statement = format!("{HOLDERS} WHERE {which}");
    let rows = rows(client, &statement);
    let text = |row: &SimpleQueryRow, at| row.get(at).map(str::to_owned);
    let holder = |row: &SimpleQueryRow| Holder {
        pid: text(row, 0).unwrap_or_else(|| "unknown".to_owned()),
        transaction: text(row, 1).unwrap_or_default(),
        age: text(row, 2),
        query: text(row, 3),
        mode: text(row, 4).unwrap_or_default(),
        table: text(row, 5).unwrap_or_default(),
    };
    let mut holders: Vec<Holder> = Vec::new();
    for holder in rows.await?.iter().map(holder) {
        if !holders.iter().any(|other| other.is(&holder) && other.table == holder.table) {
            holders.push(holder);
        }
    }
    Ok(holders)
}

/// Those that the server process `backend` waits for.
pub(super) async fn in_the_way_of(
    client: &Client,
    backend: i32,
) -> Result<Vec<Holder>, StoreError> {
    let pids = format!(
        "l.pid = ANY (pg_blocking_pids({backend})) AND l.locktype = 'virtualxid' AND l.granted"
    );
    holders(client, &pids).await
}

/// Those that hold this advisory lock in this database.
pub(super) async fn of_advisory_lock(client: &Client, key: i64) -> Result<Vec<Holder>, StoreError> {
    let (high, low) = (key >> 32, key & 0xffff_ffff);
    let which = format!(
        "l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid = {high} AND l.objid = {low} \
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    );
    holders(client, &which).await
}

/// Those that hold a lock of another session on this table.
pub(super) async fn of_table(client: &Client, table: &str) -> Result<Vec<Holder>, StoreError> {
    let which = format!(
        "l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid() AND l.relation = to_regclass('{table}')"
    );
    holders(client, &which).await
}

/// Whether any of these transactions goes on.
pub(super) async fn any_goes_on(client: &Client, of: &[Holder]) -> Result<bool, StoreError> {
    let is_plain = |it: &str| it.bytes().all(|byte| byte.is_ascii_digit() || byte == b'/');
    let ids = of.iter().map(|holder| &holder.transaction).filter(|id| is_plain(id));
    let ids: Vec<_> = ids.map(|id| format!("'{id}'")).collect();
    if ids.is_empty() {
        return Ok(false);
    }
    let ids = ids.join(", ");
    let which = format!("SELECT 1 FROM pg_locks WHERE virtualtransaction IN ({ids}) LIMIT 1");
    Ok(!rows(client, &which).await?.is_empty())
}
