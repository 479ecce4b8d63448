//! People from the database of another system: one query in a read-only transaction, a row for each
//! person, as JSON.

use std::collections::BTreeMap;

use mintgate_domain::SecretText;
use openssl::ssl::{SslConnector, SslMethod};
use postgres_openssl::MakeTlsConnector;
use serde_json::Value;
use tokio::sync::mpsc::Sender;
use tokio_postgres::{Client, IsolationLevel};

use crate::person::{Found, ImportedPerson, InvalidRecord};

/// How many rows are read at once.
const PAGE: i32 = 500;

/// The tables of another system, by the names that they have in its documentation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    pub(crate) schema: String,
    pub(crate) prefix: String,
    /// Tables with names of their own.
    pub(crate) renamed: BTreeMap<String, String>,
}

impl Tables {
    /// The quoted name of a table.
    pub(crate) fn name(&self, table: &str) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.bare(table)))
    }

    /// The name of a table, without its schema.
    pub(crate) fn bare(&self, table: &str) -> String {
        let prefixed = || format!("{}{table}", self.prefix);
        self.renamed.get(table).cloned().unwrap_or_else(prefixed)
    }
}

/// An identifier, quoted.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Connects; TLS by `sslmode` in the address, the certificate checked with those that the system trusts.
///
/// # Errors
/// Why it cannot, without the password.
pub(crate) async fn connect(url: &SecretText) -> Result<Client, String> {
    let failed = |error: &dyn std::error::Error| {
        let mut text = format!("the source cannot be reached: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    };
    let config: tokio_postgres::Config =
        url.expose().trim().parse().map_err(|error: tokio_postgres::Error| failed(&error))?;
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(|e| failed(&e))?;
    let trusted = openssl_probe::probe();
    if let Some(file) = &trusted.cert_file {
        builder.set_ca_file(file).map_err(|error| failed(&error))?;
    }
    let tls = MakeTlsConnector::new(builder.build());
    let (client, connection) = config.connect(tls).await.map_err(|error| failed(&error))?;
    // Ends with the client; what went wrong is told by the client's calls.
    tokio::spawn(connection);
    Ok(client)
}

/// Reads the rows of a query, each of which is the JSON text of one person.
///
/// # Errors
/// Why it cannot be read.
pub(crate) async fn read(
    client: &mut Client,
    query: &str,
    person: impl Fn(&Value) -> Result<ImportedPerson, String>,
    found: &Sender<Found>,
) -> Result<(), String> {
    let failed = |error: tokio_postgres::Error| {
        let message = error.as_db_error().map(|error| error.message().to_owned());
        format!("the source cannot be read: {}", message.unwrap_or_else(|| error.to_string()))
    };
    // One moment for all of it, whatever is written there meanwhile.
    let begin = client.build_transaction();
    let begin = begin.isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    let transaction = begin.start().await.map_err(failed)?;
    let statement = transaction.prepare(query).await.map_err(failed)?;
    let portal = transaction.bind(&statement, &[]).await.map_err(failed)?;
    loop {
        let rows = transaction.query_portal(&portal, PAGE).await.map_err(failed)?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            let text: &str = row.try_get(0).map_err(failed)?;
            if found.send(person_of(text, &person)).await.is_err() {
                return Ok(());
            }
        }
    }
}

fn person_of(text: &str, person: &impl Fn(&Value) -> Result<ImportedPerson, String>) -> Found {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let id = value.get("id").and_then(text_of);
    match person(&value) {
        Ok(person) => Found::Person(person),
        Err(problem) => {
            let place = id.clone().unwrap_or_else(|| "a row without an id".to_owned());
            Found::Invalid(InvalidRecord { place, id, problem })
        }
    }
}

/// A text or a whole number as a text.
pub(crate) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The first of these members that has a text.
pub(crate) fn member(value: &Value, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| value.get(name).and_then(text_of))
}

/// Whether the first of these members that is there is true.
pub(crate) fn is_true(value: &Value, names: &[&str]) -> bool {
    names.iter().find_map(|name| value.get(name)).is_some_and(|value| match value {
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_i64() == Some(1),
        _ => false,
    })
}

/// The elements of a member, if it is a list.
pub(crate) fn elements<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}
