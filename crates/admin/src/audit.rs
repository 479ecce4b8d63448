//! `mintgate audit` and `mintgate explain`.

use std::io::{self, Write};

use mintgate_domain::model::{AuditQuery, ExportedHead, PersonName};
use mintgate_domain::ports::StoreError;
use mintgate_domain::{AdministrationError, AuditReview, Explain};

use crate::json::{AuditEntryBody, AuditHeadBody, AuditVerdictBody, EntriesBody, RefusalBody};
use crate::reply::Reply;
use crate::words;

/// How many entries are read at once: an export needs no more memory for a large log.
const PAGE: u32 = 500;

/// The subcommands of `mintgate audit`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum AuditCommand {
    /// Print the entries as JSON, one a line, the oldest first; the last line is the end of the log.
    Export {
        /// Begin behind this entry: the sequence number of the last one that was exported before.
        #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
        after: u64,
    },
    /// Say whether the log is as it was written; the exit code is 1 if it is not.
    Verify {
        /// An end of the log that was kept elsewhere: the `head` of an export, of a log line, or of an earlier
        /// check. May be given several times.
        #[arg(long, value_name = "SEQUENCE:PROOF", value_parser = head)]
        head: Vec<ExportedHead>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

fn head(text: &str) -> Result<ExportedHead, &'static str> {
    ExportedHead::parse(text).ok_or("this is not SEQUENCE:PROOF")
}

/// Why an export broke off.
#[derive(Debug)]
pub enum ExportError {
    /// The store cannot be asked.
    Store(StoreError),
    /// What was read cannot be written.
    Output(io::Error),
}

impl std::fmt::Display for ExportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(error) => {
                write!(f, "the store cannot be asked: {}", mintgate_domain::chain(error))
            }
            Self::Output(error) => write!(f, "the export cannot be written: {error}"),
        }
    }
}

impl std::error::Error for ExportError {}

impl AuditCommand {
    /// Carries the command out. An export is written to `out` as it is read; the reply is what comes after it.
    ///
    /// # Errors
    /// [`ExportError`]
    pub async fn run(
        &self,
        review: &AuditReview,
        out: &mut (impl Write + Send),
    ) -> Result<Reply, ExportError> {
        match self {
            Self::Export { after } => {
                export(review, *after, out).await?;
                Ok(Reply::nothing())
            }
            Self::Verify { head, json } => Ok(match review.verify(head).await {
                Ok(verdict) => {
                    let is_clean = verdict.fault.is_none();
                    let body = AuditVerdictBody::from(&verdict);
                    Reply {
                        is_done: is_clean,
                        ..Reply::done(*json, &body, || words::verdict(&verdict))
                    }
                }
                Err(error) => Reply::of(*json, Err(AdministrationError::Store(error))),
            }),
        }
    }
}

async fn export(
    review: &AuditReview,
    after: u64,
    out: &mut (impl Write + Send),
) -> Result<(), ExportError> {
    let head = review.head().await.map_err(ExportError::Store)?;
    let mut after = after;
    while after < head.sequence {
        let page = review.page(&AuditQuery::All, after, PAGE).await.map_err(ExportError::Store)?;
        let Some(last) = page.last() else { break };
        after = last.sequence;
        for entry in page.iter().filter(|entry| entry.sequence <= head.sequence) {
            write_line(out, &AuditEntryBody::from(entry))?;
        }
    }
    write_line(out, &AuditHeadBody::from(&head))
}

fn write_line(out: &mut impl Write, body: &impl serde::Serialize) -> Result<(), ExportError> {
    // Texts, numbers and maps with texts as keys: nothing that JSON cannot say.
    let line = serde_json::to_string(body).unwrap_or_default();
    writeln!(out, "{line}").map_err(ExportError::Output)
}

/// The arguments of `mintgate explain`.
#[derive(Debug, Clone, clap::Args)]
pub struct ExplainCommand {
    /// The id of a request, which its answer and its log line name; or ISSUER SUBJECT of somebody who was
    /// denied a login.
    #[arg(required = true, value_name = "REQUEST_ID")]
    what: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl ExplainCommand {
    /// Carries the command out.
    pub async fn run(&self, explain: &Explain) -> Reply {
        let text = self.what.join(" ");
        let found = match PersonName::parse(&text) {
            PersonName::Identity(identity) => explain.identity(&identity).await,
            PersonName::Id(_) | PersonName::Text(_) => explain.request(text.trim()).await,
        };
        match found {
            Ok(entries) if entries.is_empty() => {
                let message = "the audit log knows nothing of this".to_owned();
                let body = RefusalBody { error: "not_found", message, candidates: vec![] };
                Reply::not_done(self.json, &body, "")
            }
            Ok(entries) => {
                let body = EntriesBody::from(entries.as_slice());
                Reply::done(self.json, &body, || words::entries(&entries))
            }
            Err(error) => Reply::of(self.json, Err(error)),
        }
    }
}
