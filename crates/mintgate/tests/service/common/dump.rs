//! Every row of a store as text, to compare before and after.

use std::path::Path;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;
use mintgate_testkit::Dump;
use tokio_postgres::Client;

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

fn lines(connection: &mut SqliteConnection, query: String) -> Vec<String> {
    let rows: Vec<Line> = sql_query(query).load(connection).expect("the store can be read");
    rows.into_iter().map(|row| row.line).collect()
}

pub(crate) fn sqlite(path: &Path, tables: impl Iterator<Item = &'static str>) -> Dump {
    let mut connection = connect(path);
    let mut dump = Dump::default();
    for table in tables {
        let columns = format!("SELECT name AS line FROM pragma_table_info('{table}')");
        let quoted: Vec<_> = lines(&mut connection, columns)
            .iter()
            .map(|column| format!("quote({column})"))
            .collect();
        let rows = format!("SELECT {} AS line FROM {table}", quoted.join(" || '|' || "));
        dump.insert(table, lines(&mut connection, rows));
    }
    dump
}

pub(crate) async fn postgres(client: &Client, tables: impl Iterator<Item = &'static str>) -> Dump {
    let mut dump = Dump::default();
    for table in tables {
        let rows = client.query(&format!("SELECT t::text FROM {table} t"), &[]).await;
        let rows = rows.expect("the store can be read");
        dump.insert(table, rows.iter().map(|row| row.get(0)).collect());
    }
    dump
}

pub(crate) fn run_on_sqlite(path: &Path, statement: &str) {
    connect(path).batch_execute(statement).expect("the statement");
}

/// Takes the write lock of a store until the connection is dropped.
pub(crate) fn hold_write_lock(path: &Path) -> SqliteConnection {
    let mut connection = connect(path);
    connection.batch_execute("BEGIN IMMEDIATE").expect("the lock");
    connection
}

/// Waits its turn among the service's own connections.
fn connect(path: &Path) -> SqliteConnection {
    let url = path.to_str().expect("a plain path");
    let mut connection = SqliteConnection::establish(url).expect("the store opens");
    connection.batch_execute("PRAGMA busy_timeout = 5000").expect("a setting");
    connection
}
