//! `mintgate restore-done`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use mintgate_domain::model::{
    Actor, AuditEntry, AuditEvent, AuditKind, AuditQuery, ExportedHead, Timestamp, UserId,
};
use mintgate_domain::{AdministrationError, AuditReview, Explain, UndoneActs};
use serde_json::Value;

use crate::json::{AuditEntryBody, RefusalBody, RestoreDoneBody};
use crate::reply::Reply;
use crate::words;

/// How many entries of the store are read at once.
const PAGE: u32 = 500;
/// How many entries before the end of the store's log are compared with the exported ones.
const COMPARED: u64 = 10_000;
/// The longest line of an export, in bytes: an entry has 8 details of 512 bytes at most.
const LONGEST_LINE: u64 = 64 * 1024;

/// The arguments of `mintgate restore-done`.
#[derive(Debug, Clone, clap::Args)]
pub struct RestoreDoneCommand {
    /// The audit log as it was exported last before the restore (`mintgate audit export`): what the
    /// restore has undone by it is listed, with the commands that do it again.
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What is known of the audit log.
#[derive(Debug, Default)]
pub(crate) struct LostEntries {
    /// The number and the time of the last entry that the store has.
    pub(crate) last_kept: Option<(u64, Timestamp)>,
    /// The first and the last entry of the export that the store does not have.
    pub(crate) lost: Option<(u64, u64)>,
    pub(crate) acts: UndoneActs,
}

/// Why an export says nothing.
enum Unusable {
    Store(AdministrationError),
    File(String),
}

impl RestoreDoneCommand {
    /// Carries the command out. Nothing is ended if the export cannot be used.
    pub async fn run(&self, explain: &Explain) -> Reply {
        let refused = |message| {
            let body = RefusalBody { error: "invalid", message, candidates: vec![] };
            Reply::not_done(self.json, &body, "")
        };
        match self.lost(&explain.review).await {
            Ok(lost) => Reply::of(self.json, self.carry_out(explain, lost).await),
            Err(Unusable::Store(error)) => Reply::of(self.json, Err(error)),
            Err(Unusable::File(why)) => {
                let name = self.audit_log.as_deref().map(Path::display);
                let name = name.map(|name| name.to_string()).unwrap_or_default();
                refused(format!("nothing was ended: {name}: {why}"))
            }
        }
    }

    async fn carry_out(
        &self,
        explain: &Explain,
        found: LostEntries,
    ) -> Result<Reply, AdministrationError> {
        let done = explain.administration.restore_done().await?;
        let LostEntries { last_kept, lost, acts } = found;
        let undone = self.audit_log.is_some().then(|| acts.finish());
        let body = RestoreDoneBody::new(&done, last_kept, lost, undone.as_deref());
        Ok(Reply::done(self.json, &body, || words::restore_done(&body)))
    }

    async fn lost(&self, review: &AuditReview) -> Result<LostEntries, Unusable> {
        let last = review.head().await.map_err(|error| Unusable::Store(error.into()))?.sequence;
        let mut kept = Kept { review, last, page: vec![] };
        let mut found = LostEntries::default();
        if let Some(entry) = kept.entry(last).await? {
            found.last_kept = Some((entry.sequence, entry.event.at));
        }
        if let Some(path) = &self.audit_log {
            let file = File::open(path).map_err(|error| unreadable(&error))?;
            read(BufReader::new(file), &mut kept, &mut found).await?;
        }
        Ok(found)
    }
}

fn unreadable(error: &io::Error) -> Unusable {
    Unusable::File(format!("it cannot be read: {error}"))
}

/// The entries that the store has, read page by page in their order.
struct Kept<'a> {
    review: &'a AuditReview,
    last: u64,
    page: Vec<AuditEntry>,
}

impl Kept<'_> {
    async fn entry(&mut self, sequence: u64) -> Result<Option<&AuditEntry>, Unusable> {
        let is_there = |page: &[AuditEntry]| page.iter().position(|it| it.sequence == sequence);
        if is_there(&self.page).is_none()
            && let Some(before) = sequence.checked_sub(1)
        {
            let page = self.review.page(&AuditQuery::All, before, PAGE).await;
            self.page = page.map_err(|error| Unusable::Store(error.into()))?;
        }
        Ok(is_there(&self.page).and_then(|index| self.page.get(index)))
    }
}

/// Collects what the store has lost of an export: everything from the first entry on that it has not, or
/// has another one in the place of, because it has gone on since it was restored.
async fn read(
    mut log: impl BufRead,
    kept: &mut Kept<'_>,
    found: &mut LostEntries,
) -> Result<(), Unusable> {
    let (mut line, mut before, mut is_same, mut has_parted) = (String::new(), 0, false, false);
    loop {
        line.clear();
        if log
            .by_ref()
            .take(LONGEST_LINE)
            .read_line(&mut line)
            .map_err(|error| unreadable(&error))?
            == 0
        {
            return Ok(());
        }
        let not_an_export = || Unusable::File("it is not what `audit export` writes".to_owned());
        let value: Value = serde_json::from_str(&line).map_err(|_| not_an_export())?;
        if value.get("head").is_some() {
            continue;
        }
        let exported = Exported::read(&value).ok_or_else(not_an_export)?;
        // Exports of several days in one file may overlap.
        if exported.sequence <= before {
            continue;
        }
        before = exported.sequence;
        if !has_parted && exported.sequence <= kept.last {
            if exported.sequence + COMPARED < kept.last {
                continue;
            }
            let Some(own) = kept.entry(exported.sequence).await? else { continue };
            if AuditEntryBody::from(own).proof == exported.proof {
                is_same = true;
                continue;
            }
            if !is_same {
                let why = "it is an export of another audit log than this store has";
                return Err(Unusable::File(why.to_owned()));
            }
            has_parted = true;
        }
        let first = found.lost.map_or(exported.sequence, |(first, _)| first);
        found.lost = Some((first, exported.sequence));
        if let Some(event) = exported.event {
            found.acts.read(&event);
        }
    }
}

/// A line of an export, as far as it matters here.
struct Exported {
    sequence: u64,
    proof: String,
    /// `None` if this version does not know what the entry is about.
    event: Option<AuditEvent>,
}

impl Exported {
    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let (sequence, proof) = (value.get("sequence")?.as_u64()?, text("proof")?.to_owned());
        ExportedHead::parse(&format!("{sequence}:{proof}"))?;
        let at = time::OffsetDateTime::parse(
            text("at")?,
            &time::format_description::well_known::Rfc3339,
        );
        let at = Timestamp::from_unix(at.ok()?.unix_timestamp());
        let (kind, actor) = (AuditKind::from_name(text("kind")?), Actor::parse(text("actor")?));
        let event = kind.zip(actor).map(|(kind, actor)| {
            let mut event = AuditEvent::new(kind, at, actor);
            event.user = text("user").and_then(UserId::parse);
            event.issuer = text("issuer").map(str::to_owned);
            let details = value.get("details").and_then(Value::as_object);
            for (name, value) in details.into_iter().flatten() {
                event = event.with(name, value.as_str().unwrap_or_default());
            }
            event
        });
        Some(Self { sequence, proof, event })
    }
}
