//! One experiment from its beginning to its verdict.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::sleep;

use super::api::{Api, Grant};
use super::checker::{self, Stored};
use super::client::{Crowd, Habits};
use super::faults::{Frozen, Hogs};
use super::journal::{self, Journal};
use super::plan::{Fault, Plan, Store};
use super::report::Row;
use super::rig::{Lab, Site};
use super::rng::Rng;
use crate::postgres::connect;
use crate::process::until;

/// No experiment may take longer.
const LIMIT: Duration = Duration::from_mins(10);
/// How long anything may take to go on when its fault is over.
const RECOVERY_LIMIT: Duration = Duration::from_mins(1);
/// Good answers there must be before the first fault, and between two.
const WARM_UP: u64 = 40;
const BETWEEN: u64 = 5;

fn habits(plan: &Plan) -> Habits {
    let tabs_in_step = plan.short_window;
    Habits { clients: 10, sessions: 3, tabs: 200, logouts: 50, pause: 60, tabs_in_step }
}

/// Runs it; its row of the table.
pub(super) async fn run(lab: &mut Lab, plan: &Plan, dir: &Path) -> Result<Row> {
    let mut site = Site::set(lab, plan, dir).await?;
    let ran = tokio::time::timeout(LIMIT, on_site(lab, plan, &mut site, dir)).await;
    let ran = ran.unwrap_or_else(|_| bail!("not done within {LIMIT:?}"));
    let ran = ran.with_context(|| format!("the end of the service's log:\n{}\n", site.tail()));
    let cleared = site.clear().await;
    let row = ran?;
    cleared?;
    Ok(row)
}

async fn on_site(lab: &mut Lab, plan: &Plan, site: &mut Site, dir: &Path) -> Result<Row> {
    let file = dir.join("journal.jsonl");
    let journal = Arc::new(Journal::create(&file)?);
    let replicas = site.replicas.iter().map(super::rig::Replica::url).collect();
    let api = Arc::new(Api::new(replicas, lab.mock.issuer.clone(), Arc::clone(&journal))?);
    let mut crowd = Crowd::start(&api, habits(plan), lab.seed);
    let injected = tokio::select! {
        injected = trouble(lab, plan, site, &journal) => injected?,
        ended = crowd.watch() => { ended?; bail!("the clients ended early") }
    };
    for replica in &mut site.replicas {
        replica.ready().await?;
    }
    let grants = crowd.conclude().await?;
    let stored = stored(site, &api, &grants).await?;
    let records = journal::read(&file)?;
    let violations = checker::check(&records, &stored);
    Ok(Row::new(plan, injected, &records, violations))
}

/// What the store says of the sessions; SQLite's is asked through the service.
async fn stored(site: &Site, api: &Api, grants: &[Grant]) -> Result<Stored> {
    if let Some(database) = &site.database {
        return Ok(Stored { sessions: database.ended_sessions().await?, only_live: false });
    }
    let mut stored = Stored { only_live: true, ..Stored::default() };
    for grant in grants {
        let live = api.live_sessions(grant).await.context("the list of sessions")?;
        stored.sessions.extend(live.into_iter().map(|sid| (sid, false)));
    }
    Ok(stored)
}

/// Warms up, injects the faults, and sees that all goes on; what was injected.
async fn trouble(lab: &mut Lab, plan: &Plan, site: &mut Site, journal: &Journal) -> Result<String> {
    good_answers(journal, WARM_UP).await.context("before the first fault")?;
    let mut rng = Rng::of(lab.seed, 2000);
    let injected = match plan.fault {
        Fault::AnswersLost { per_mille, during } => {
            for replica in &site.replicas {
                replica.front.lose(per_mille);
            }
            sleep(during).await;
            format!("{} answers", lost(site)?)
        }
        Fault::CutAfterCommit { per_mille, during } => {
            site.store_line.as_ref().context("there is no Postgres")?.lose(per_mille);
            sleep(during).await;
            format!("{} cuts", lost(site)?)
        }
        Fault::ServiceKilled { times } => {
            for _ in 0..times {
                kill_and_restart(site, 0, &mut rng, journal).await?;
                good_answers(journal, BETWEEN).await?;
            }
            counted(times, "kill")
        }
        Fault::PostgresRestarted { times, down: [least, most] } => {
            for _ in 0..times {
                sleep(rng.millis(0, 200)).await;
                lab.postgres.crash().await?;
                sleep(rng.millis(least, most)).await;
                lab.postgres.restart().await?;
                journal.fault_ended()?;
                good_answers(journal, BETWEEN).await?;
            }
            counted(times, "restart")
        }
        Fault::PostgresPaused { times, during } => {
            for _ in 0..times {
                let frozen = Frozen::with_children(lab.postgres.pid()?)?;
                ensure!(frozen.count() > 1, "Postgres has no processes");
                sleep(during).await;
                drop(frozen);
                journal.fault_ended()?;
                good_answers(journal, BETWEEN).await?;
            }
            counted(times, "pause")
        }
        Fault::ConnectionsTaken { times, during } => {
            for _ in 0..times {
                take_connections(lab, site, during).await?;
                journal.fault_ended()?;
                good_answers(journal, BETWEEN).await?;
            }
            counted(times, "time")
        }
        Fault::ProviderPaused { during } => {
            let frozen = Frozen::with_children(lab.mock.process().pid())?;
            sleep(during).await;
            drop(frozen);
            journal.fault_ended()?;
            "1 pause".to_owned()
        }
        Fault::ReplicaKilled { times, per_mille, during } => {
            for replica in &site.replicas {
                replica.front.lose(per_mille);
            }
            for _ in 0..times {
                let victim = rng.index(site.replicas.len());
                kill_and_restart(site, victim, &mut rng, journal).await?;
                good_answers(journal, BETWEEN).await?;
            }
            sleep(during).await;
            format!("{times} kills, {} answers", lost(site)?)
        }
        Fault::LongOutage { times, during } => {
            for number in 0..times {
                long_outage(site, during, number).await;
                journal.fault_ended()?;
                good_answers(journal, WARM_UP).await?;
            }
            counted(times, "outage")
        }
        Fault::DiskFull { times, during } => {
            for _ in 0..times {
                let disk = site.disk.as_ref().context("there is no disk to fill")?;
                disk.fill()?;
                sleep(during).await;
                disk.make_room()?;
                journal.fault_ended()?;
                good_answers(journal, BETWEEN).await?;
            }
            counted(times, "time")
        }
    };
    let fronts = site.replicas.iter().map(|replica| &replica.front);
    for line in fronts.chain(&site.store_line) {
        line.restore();
    }
    good_answers(journal, WARM_UP).await.context("after the last fault")?;
    Ok(injected)
}

fn counted(times: u64, what: &str) -> String {
    format!("{times} {what}{}", if times == 1 { "" } else { "s" })
}

/// How many answers, or requests, have got lost.
fn lost(site: &Site) -> Result<u64> {
    let lost = site.lost();
    ensure!(lost > 0, "nothing got lost");
    Ok(lost)
}

/// At a moment that is as good as any other.
async fn kill_and_restart(
    site: &mut Site,
    victim: usize,
    rng: &mut Rng,
    journal: &Journal,
) -> Result<()> {
    sleep(rng.millis(0, 150)).await;
    let replica = site.replicas.get_mut(victim).context("there is no such replica")?;
    replica.kill().await?;
    replica.spawn()?;
    journal.fault_ended()?;
    replica.ready().await
}

async fn take_connections(lab: &Lab, site: &Site, during: Duration) -> Result<()> {
    let database = site.database.as_ref().context("there is no Postgres")?;
    // Afterwards there is no place for another one.
    let operator = connect(lab.postgres.url()).await?;
    let mut hogs = Hogs::default();
    hogs.take_all(lab.postgres.url()).await?;
    // The service loses its own, and whoever comes first has the places: keep coming.
    let coming = async {
        loop {
            hogs.take_all(lab.postgres.url()).await?;
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
        failed = coming => failed,
        cut = cut => cut,
    }
}

/// The first is a line that is dead, the second one that hangs, and so on.
async fn long_outage(site: &Site, during: Duration, number: u64) {
    const ANSWERS_LOST_FOR: Duration = Duration::from_millis(300);
    for replica in &site.replicas {
        replica.front.lose(1000);
    }
    sleep(ANSWERS_LOST_FOR).await;
    for replica in &site.replicas {
        if number.is_multiple_of(2) {
            replica.front.cut();
        } else {
            replica.front.pause();
        }
    }
    sleep(during).await;
    for replica in &site.replicas {
        replica.front.restore();
    }
}

/// Waits for so many more answers 200.
async fn good_answers(journal: &Journal, more: u64) -> Result<()> {
    let enough = journal.good() + more;
    until(RECOVERY_LIMIT, || async {
        let good = journal.good();
        ensure!(good >= enough, "{good} good answers so far, {enough} are waited for");
        Ok(())
    })
    .await
}

/// Whether this machine lets it run; the error says why not.
pub(super) fn can_run(plan: &Plan, dir: &Path) -> Result<()> {
    match plan.store {
        Store::SqliteOnDiskOfItsOwn => super::faults::Disk::can_mount(dir),
        Store::Postgres | Store::Sqlite => Ok(()),
    }
}
