//! The service with a session store that checks first and writes then: for `cargo xtask chaos
//! --sabotage`, which must notice. Never to be deployed. Postgres only.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use clap::{Parser, Subcommand};
use mintgate::app::Application;
use mintgate::settings::{Settings, StoreUrl};
use mintgate::signals;
use mintgate::system::OsEntropy;
use mintgate_domain::model::{Rotation, Session, Standing, Verdict};
use mintgate_domain::ports::{Entropy, LoadedSession, RefreshTokenRepo, StoreError};
use mintgate_testkit::{Interposed, InterposedRepo};
use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls};

/// The longest time between the check and the write: over a second, so that tokens of one generation
/// are issued in different seconds and differ.
const PAUSE_MILLIS: u64 = 1500;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the sabotaged service.
    Serve {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Command::Serve { config } = Cli::parse().command;
    let settings = Settings::load(Some(&config), std::env::vars_os())?;
    let _last_lines = mintgate_log_writer::start(&settings.log.filter, settings.log.format, None)?;
    let StoreUrl::Postgres(url) = &settings.store.url else {
        anyhow::bail!("the sabotage is written for Postgres");
    };
    let database = url.expose().to_owned();
    let application = Application::builder(settings).wrap_sessions(move |inner| {
        Arc::new(InterposedRepo(CheckThenUpdate { inner, database, client: Mutex::new(None) }))
    });
    let application = application.build().await?;
    let (stop, at_once) = signals::stop_signals()?;
    application.run_until(stop, at_once).await
}

/// Decides about a rotation by a session it has read before, and not by the one it writes to.
struct CheckThenUpdate {
    inner: Arc<dyn RefreshTokenRepo>,
    database: String,
    client: Mutex<Option<Client>>,
}

impl CheckThenUpdate {
    async fn pause() {
        let random = (&OsEntropy as &dyn Entropy).bytes();
        let millis = u64::from(u16::from_le_bytes(random)) % PAUSE_MILLIS;
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    /// Writes, whatever the session has become meanwhile.
    async fn write(&self, rotation: &Rotation) -> anyhow::Result<()> {
        let Rotation { session, presented, successor, now, .. } = rotation;
        let sql = "UPDATE sessions SET gen = $2, cur_hash = $3, cur_kid = $4,
                       cur_iat = to_timestamp($5::bigint), cur_exp = to_timestamp($6::bigint),
                       prev_hash = $7, prev_replays = 0, rotated_at = clock_timestamp(),
                       last_used_at = to_timestamp($8::bigint)
                   WHERE id = $1::text::uuid";
        let generation = i64::try_from(successor.generation)?;
        let mut client = self.client.lock().await;
        if client.as_ref().is_none_or(Client::is_closed) {
            let (fresh, connection) = tokio_postgres::connect(&self.database, NoTls).await?;
            tokio::spawn(connection);
            *client = Some(fresh);
        }
        let client = client.as_ref().context("there is no connection")?;
        client
            .execute(
                sql,
                &[
                    &session.to_string(),
                    &generation,
                    &successor.hash.as_bytes().as_slice(),
                    &successor.key_id.as_str(),
                    &successor.issued_at.as_unix(),
                    &successor.expires_at.as_unix(),
                    &presented.hash.as_bytes().as_slice(),
                    &now.as_unix(),
                ],
            )
            .await?;
        Ok(())
    }
}

#[async_trait]
impl Interposed for CheckThenUpdate {
    fn store(&self) -> &dyn RefreshTokenRepo {
        &*self.inner
    }

    async fn exchange(
        &self,
        rotation: &Rotation,
        _: Option<u32>,
    ) -> Result<Option<Box<Session>>, StoreError> {
        let Some(LoadedSession { session: read, rotated_ago, .. }) =
            self.inner.load(rotation.session).await?
        else {
            return Ok(None);
        };
        if rotation.judge(&read, Standing::Good, rotated_ago) != Verdict::Rotate {
            return Ok(None);
        }
        Self::pause().await;
        self.write(rotation)
            .await
            .map_err(|error| StoreError::Unavailable(format!("{error:#}").into()))?;
        Ok(Some(Box::new(Session { refresh: rotation.successor.clone(), ..read })))
    }
}
