//! One experiment: start, load, faults, recovery, check.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mintgate_testkit::SeededEntropy;
use tokio::time::sleep;

use super::api::{Api, Grant};
use super::checker::{self, Stored};
use super::client::{Behaviour, Clients};
use super::faults::{StoppedProcesses, TakenConnections};
use super::isolation;
use super::journal::{self, Journal};
use super::overload;
use super::plan::{Fault, Plan, Store};
use super::report::Row;
use super::rig::{Deployment, Shared};
use crate::postgres::connect;
use crate::process::until;

/// The longest time an experiment may take.
const LIMIT: Duration = Duration::from_mins(10);
/// How long the service may take to recover when a fault is over.
pub(super) const RECOVERY_LIMIT: Duration = Duration::from_mins(1);
/// How many answers 200 are waited for before the first fault.
const WARM_UP: u64 = 40;
/// How many answers 200 are waited for between two faults.
const BETWEEN: u64 = 5;

fn behaviour(plan: &Plan) -> Behaviour {
    let tabs_in_step = plan.short_window;
    Behaviour { clients: 10, sessions: 3, tabs: 200, logouts: 50, pause: 60, tabs_in_step }
}

/// Runs an experiment; returns its row of the table.
pub(super) async fn run(shared: &mut Shared, plan: &Plan, dir: &Path) -> Result<Row> {
    let mut deployment = Deployment::start(shared, plan, dir).await?;
    let ran = tokio::time::timeout(LIMIT, run_on(shared, plan, &mut deployment, dir)).await;
    let ran = ran.unwrap_or_else(|_| bail!("not done within {LIMIT:?}"));
    let ran =
        ran.with_context(|| format!("the end of the service's log:\n{}\n", deployment.tail()));
    let removed = deployment.remove().await;
    let row = ran?;
    removed?;
    Ok(row)
}

async fn run_on(
    shared: &mut Shared,
    plan: &Plan,
    deployment: &mut Deployment,
    dir: &Path,
) -> Result<Row> {
    if let Fault::OneProviderPaused { during } = plan.fault {
        return isolation::run(shared, plan, during, deployment, dir).await;
    }
    if let Fault::Overload { by, during } = plan.fault {
        return overload::run(shared, plan, by, during, deployment, dir).await;
    }
    let file = dir.join("journal.jsonl");
    let journal = Arc::new(Journal::create(&file)?);
    let providers = [shared.mock.issuer.clone(), shared.paused.issuer.clone()];
    let api = Arc::new(Api::new(deployment.urls(), providers, Arc::clone(&journal))?);
    let mut clients = Clients::start(&api, behaviour(plan), shared.seed);
    let injected = tokio::select! {
        injected = inject(shared, plan, deployment, &journal) => injected?,
        ended = clients.watch() => { ended?; bail!("the clients ended early") }
    };
    for replica in &mut deployment.replicas {
        replica.service.ready().await?;
    }
    let grants = clients.conclude().await?;
    let stored = stored(deployment, &api, &grants).await?;
    let records = journal::read(&file)?;
    let violations = checker::check(&records, &stored);
    Ok(Row::new(plan, injected, &records, violations))
}

/// The sessions in the store. SQLite's are listed by the service.
async fn stored(deployment: &Deployment, api: &Api, grants: &[Grant]) -> Result<Stored> {
    if let Some(database) = &deployment.database {
        return Ok(Stored { sessions: database.ended_sessions().await?, only_live: false });
    }
    let mut stored = Stored { only_live: true, ..Stored::default() };
    for grant in grants {
        let live = api.live_sessions(grant).await.context("the list of sessions")?;
        stored.sessions.extend(live.into_iter().map(|sid| (sid, false)));
    }
    Ok(stored)
}

/// Warms up, injects the faults and waits for recovery; returns what was injected, in words.
async fn inject(
    shared: &mut Shared,
    plan: &Plan,
    deployment: &mut Deployment,
    journal: &Journal,
) -> Result<String> {
    good_answers(journal, WARM_UP).await.context("before the first fault")?;
    let rng = SeededEntropy::sequence(shared.seed, 2000);
    let injected = match plan.fault {
        Fault::AnswersLost { per_mille, during } => {
            for replica in &deployment.replicas {
                replica.front.lose(per_mille);
            }
            sleep(during).await;
            format!("{} answers", lost(deployment)?)
        }
        Fault::CutAfterCommit { per_mille, during } => {
            deployment.store_proxy.as_ref().context("there is no Postgres")?.lose(per_mille);
            sleep(during).await;
            format!("{} cuts", lost(deployment)?)
        }
        Fault::ServiceKilled { times } => {
            for _ in 0..times {
                kill_and_restart(deployment, 0, &rng, journal).await?;
                good_answers(journal, BETWEEN).await?;
            }
            counted(times, "kill")
        }
        Fault::PostgresRestarted { times, down: [least, most] } => {
            for _ in 0..times {
                sleep(rng.millis(0, 200)).await;
                shared.postgres_mut()?.crash().await?;
                sleep(rng.millis(least, most)).await;
                shared.postgres_mut()?.restart().await?;
                journal.fault_ended()?;
                good_answers(journal, BETWEEN).await?;
            }
            counted(times, "restart")
        }
        Fault::PostgresPaused { times, during } => {
            for _ in 0..times {
                let stopped = StoppedProcesses::with_children(shared.postgres_mut()?.pid()?)?;
                ensure!(stopped.count() > 1, "Postgres has no processes");
                sleep(during).await;
                drop(stopped);
                journal.fault_ended()?;
                good_answers(journal, BETWEEN).await?;
            }
            counted(times, "pause")
        }
        Fault::ConnectionsTaken { times, during } => {
            for _ in 0..times {
                take_connections(shared, deployment, during).await?;
                journal.fault_ended()?;
                good_answers(journal, BETWEEN).await?;
            }
            counted(times, "time")
        }
        Fault::OneProviderPaused { .. } | Fault::Overload { .. } => bail!("not injected here"),
        Fault::ProviderPaused { during } => {
            let stopped = StoppedProcesses::with_children(shared.mock.process().pid())?;
            sleep(during).await;
            drop(stopped);
            journal.fault_ended()?;
            "1 pause".to_owned()
        }
        Fault::ReplicaKilled { times, per_mille, during } => {
            for replica in &deployment.replicas {
                replica.front.lose(per_mille);
            }
            for _ in 0..times {
                let victim = rng.index(deployment.replicas.len());
                kill_and_restart(deployment, victim, &rng, journal).await?;
                good_answers(journal, BETWEEN).await?;
            }
            sleep(during).await;
            format!("{times} kills, {} answers", lost(deployment)?)
        }
        Fault::LongOutage { times, during } => {
            for number in 0..times {
                long_outage(deployment, during, number).await;
                journal.fault_ended()?;
                good_answers(journal, WARM_UP).await?;
            }
            counted(times, "outage")
        }
        Fault::DiskFull { times, during } => {
            for _ in 0..times {
                let disk = deployment.disk.as_ref().context("there is no disk to fill")?;
                disk.fill()?;
                sleep(during).await;
                disk.make_room()?;
                journal.fault_ended()?;
                good_answers(journal, BETWEEN).await?;
            }
            counted(times, "time")
        }
    };
    for proxy in deployment.proxies() {
        proxy.restore();
    }
    good_answers(journal, WARM_UP).await.context("after the last fault")?;
    Ok(injected)
}

fn counted(times: u64, what: &str) -> String {
    format!("{times} {what}{}", if times == 1 { "" } else { "s" })
}

/// How many requests or answers got lost; an error if none did.
fn lost(deployment: &Deployment) -> Result<u64> {
    let lost = deployment.lost();
    ensure!(lost > 0, "nothing got lost");
    Ok(lost)
}

/// Kills and restarts a replica at a random moment.
async fn kill_and_restart(
    deployment: &mut Deployment,
    victim: usize,
    rng: &SeededEntropy,
    journal: &Journal,
) -> Result<()> {
    sleep(rng.millis(0, 150)).await;
    let replica = deployment.replicas.get_mut(victim).context("there is no such replica")?;
    replica.service.kill().await?;
    replica.service.spawn()?;
    journal.fault_ended()?;
    replica.service.ready().await
}

async fn take_connections(
    shared: &Shared,
    deployment: &Deployment,
    during: Duration,
) -> Result<()> {
    let database = deployment.database.as_ref().context("there is no Postgres")?;
    // Connected first: afterwards no connection is free.
    let operator = connect(shared.postgres()?.url()).await?;
    let mut taken = TakenConnections::default();
    taken.take_all(shared.postgres()?.url()).await?;
    // The service's connections are cut, and whoever connects first has the free ones.
    let taking = async {
        loop {
            taken.take_all(shared.postgres()?.url()).await?;
            sleep(Duration::from_millis(20)).await;
        }
    };
    let cut = async {
        const TIMES: u32 = 20;
        for _ in 0..TIMES {
            database.disconnect_all(&operator).await?;
            sleep(during / TIMES).await;
        }
        Ok(())
    };
    tokio::select! {
        failed = taking => failed,
        cut = cut => cut,
    }
}

/// Cuts the clients' connections if `number` is even, lets them hang if it is odd.
async fn long_outage(deployment: &Deployment, during: Duration, number: u64) {
    const ANSWERS_LOST_FOR: Duration = Duration::from_millis(300);
    for replica in &deployment.replicas {
        replica.front.lose(1000);
    }
    sleep(ANSWERS_LOST_FOR).await;
    for replica in &deployment.replicas {
        if number.is_multiple_of(2) {
            replica.front.cut();
        } else {
            replica.front.pause();
        }
    }
    sleep(during).await;
    for replica in &deployment.replicas {
        replica.front.restore();
    }
}

/// Waits for this many more answers 200.
async fn good_answers(journal: &Journal, more: u64) -> Result<()> {
    let enough = journal.good() + more;
    until(RECOVERY_LIMIT, || async {
        let good = journal.good();
        ensure!(good >= enough, "{good} good answers so far, {enough} are waited for");
        Ok(())
    })
    .await
}

/// Fails, saying why, if this machine cannot run the experiment.
pub(super) fn can_run(plan: &Plan, dir: &Path) -> Result<()> {
    if let Fault::Overload { by, .. } = plan.fault {
        overload::can_cause(by)?;
    }
    match plan.store {
        Store::SqliteOnDiskOfItsOwn => super::faults::Disk::can_mount(dir),
        Store::Postgres | Store::Sqlite => Ok(()),
    }
}
