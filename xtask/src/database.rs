//! A database of a command's own, and direct queries to it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use reqwest::Url;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::postgres::connect;

/// A database of this run alone, on a server that may have others.
pub(crate) struct Database {
    server_url: String,
    name: String,
    pub(crate) url: String,
}

impl Database {
    /// Creates a database whose name contains its purpose.
    pub(crate) async fn create(server_url: &str, purpose: &str) -> Result<Self> {
        let name = format!("mintgate_{purpose}_{}", std::process::id());
        let mut url = Url::parse(server_url).context("the server's address is no URL")?;
        url.set_path(&name);
        connect(server_url).await?.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        Ok(Self { server_url: server_url.to_owned(), name, url: url.into() })
    }

    pub(crate) async fn remove(&self) -> Result<()> {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        Ok(connect(&self.server_url).await?.batch_execute(&drop).await?)
    }

    pub(crate) async fn sessions(&self) -> Result<i64> {
        let row = connect(&self.url).await?.query_one("SELECT count(*) FROM sessions", &[]).await?;
        Ok(row.try_get(0)?)
    }

    /// The id of each session, and true if the session has ended.
    pub(crate) async fn ended_sessions(&self) -> Result<BTreeMap<String, bool>> {
        let sql = "SELECT id::text, revoked_at IS NOT NULL FROM sessions";
        let rows = connect(&self.url).await?.query(sql, &[]).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// Cuts all connections to the database, by a connection to the server.
    pub(crate) async fn disconnect_all(&self, by: &Client) -> Result<()> {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        by.query(sql, &[&self.name]).await?;
        Ok(())
    }

    /// The given sessions that are not in the database.
    pub(crate) async fn missing(&self, sessions: &[String]) -> Result<Vec<String>> {
        let sql = "SELECT wanted FROM unnest($1::text[]) AS wanted
                   WHERE NOT EXISTS (SELECT FROM sessions WHERE id::text = wanted)";
        let rows = connect(&self.url).await?.query(sql, &[&sessions]).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    /// Every row of every table, as text.
    pub(crate) async fn dump(&self) -> Result<String> {
        let client = connect(&self.url).await?;
        let tables = client
            .query("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'", &[])
            .await?;
        let mut dump = String::new();
        for table in tables {
            let table: String = table.try_get(0)?;
            let rows = client.simple_query(&format!("SELECT t::text FROM {table} t")).await?;
            for row in rows {
                if let SimpleQueryMessage::Row(row) = row {
                    dump.push_str(row.get(0).unwrap_or_default());
                    dump.push('\n');
                }
            }
        }
        Ok(dump)
    }
}
