//! Every row of a store as text, to compare before and after.

use std::path::Path;

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

pub(crate) fn sqlite(path: &Path) -> Dump {
    let url = path.to_str().expect("a plain path");
    let mut connection = SqliteConnection::establish(url).expect("the store opens");
    let mut dump = Dump::default();
    for table in Dump::TABLES {
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

pub(crate) async fn postgres(client: &Client) -> Dump {
    let mut dump = Dump::default();
    for table in Dump::TABLES {
        let rows = client.query(&format!("SELECT t::text FROM {table} t"), &[]).await;
        let rows = rows.expect("the store can be read");
        dump.insert(table, rows.iter().map(|row| row.get(0)).collect());
    }
    dump
}
