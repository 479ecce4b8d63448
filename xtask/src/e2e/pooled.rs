//! The service on Postgres behind a PgBouncer, which lends its connections by session or by transaction.

use std::path::Path;

use anyhow::Result;
use mintgate_testkit::pgbouncer::PgBouncer;

use super::single::Single;
use super::steps::Steps;
use crate::database::Database;
use crate::rig::{Binaries, Mock};

/// The modes, and how many connections PgBouncer has. By session the service needs all that its pool has;
/// by transaction the fewer there are, the more often they change hands.
const MODES: [(&str, u32); 2] = [("session", 12), ("transaction", 2)];

pub(super) async fn walk(
    steps: &mut Steps,
    binaries: &Binaries,
    dir: &Path,
    server_url: &str,
) -> Result<()> {
    for (mode, connections) in MODES {
        let name = format!("logins, refreshes and logouts, pooled by {mode}");
        let Some(program) = PgBouncer::program() else {
            steps.not_run(&name, "no pgbouncer in PATH; Debian: apt-get install pgbouncer");
            continue;
        };
        let dir = dir.join(mode);
        std::fs::create_dir_all(&dir)?;
        let database = Database::create(server_url, &format!("pooled_by_{mode}")).await?;
        let pooler = PgBouncer::start(&program, &database.url, mode, connections).await;
        let walked = steps.step(&name, used(binaries, &dir, &pooler.url(&database.url))).await;
        drop(pooler);
        let removed = database.remove().await;
        walked?;
        removed?;
    }
    Ok(())
}

async fn used(binaries: &Binaries, dir: &Path, store_url: &str) -> Result<()> {
    let mock = Mock::start(binaries, dir, "mock-idp").await?;
    Single::start(binaries, dir, store_url, mock, "").await?.sessions_at_once().await
}
