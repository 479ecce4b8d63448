//! The journal of a run: one JSON line before a request is sent, and one when its outcome is known.
//! The checker reads only this and the store.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// A line of the journal. All times are nanoseconds since its beginning, by a monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(super) enum Record {
    /// A request is about to be sent.
    Sent(Sent),
    /// An answer has arrived whole.
    Answered(Answered),
    /// No whole answer will arrive.
    Unanswered { id: u64, at: u64, why: String },
    /// A fault has ended: from here on, everything could work again.
    FaultEnded { at: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    pub(super) id: u64,
    pub(super) at: u64,
    #[serde(flatten)]
    pub(super) request: Request,
}

/// A request. Of a token only its digest is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) client: u32,
    /// The number of the login that began the session; all attempts at one login share it.
    pub(super) login: u32,
    pub(super) kind: Kind,
    pub(super) purpose: Purpose,
    /// The refresh token that is sent, or that the session has while another request is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<Token>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Login,
    Refresh,
    Me,
    Logout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Purpose {
    /// A request of the usual load.
    Usual,
    /// A request after an acknowledged logout, which shows whether the session has ended.
    Probe,
    /// When all faults are over, to see whether the session lives.
    Last,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Token {
    pub(super) sid: String,
    #[serde(rename = "gen")]
    pub(super) generation: u64,
    /// The SHA-256 hash of the token, in hexadecimal.
    pub(super) hash: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answered {
    pub(super) id: u64,
    pub(super) at: u64,
    pub(super) status: u16,
    /// The `errorCode` of an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    /// The refresh token in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<Token>,
}

/// A journal that is being written.
pub(super) struct Journal {
    file: Mutex<File>,
    begun: Instant,
    last_id: AtomicU64,
    good: AtomicU64,
}

impl Journal {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        Ok(Self {
            file: Mutex::new(file),
            begun: Instant::now(),
            last_id: AtomicU64::new(0),
            good: AtomicU64::new(0),
        })
    }

    /// Writes that a request is about to be sent; returns its id.
    pub(super) fn sent(&self, request: Request) -> Result<u64> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        self.write(|at| Record::Sent(Sent { id, at, request }))?;
        Ok(id)
    }

    pub(super) fn answered(
        &self,
        id: u64,
        status: u16,
        code: Option<String>,
        token: Option<Token>,
    ) -> Result<()> {
        self.write(|at| Record::Answered(Answered { id, at, status, code, token }))?;
        if status == 200 {
            self.good.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(super) fn unanswered(&self, id: u64, why: String) -> Result<()> {
        self.write(|at| Record::Unanswered { id, at, why })
    }

    pub(super) fn fault_ended(&self) -> Result<()> {
        self.write(|at| Record::FaultEnded { at })
    }

    /// How many answers were 200 so far.
    pub(super) fn good(&self) -> u64 {
        self.good.load(Ordering::Relaxed)
    }

    /// A line goes to the operating system in one piece, so that it is there whatever happens to
    /// this process next. Its time is taken under the same lock: lines are in the order of time.
    fn write(&self, record: impl FnOnce(u64) -> Record) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let at = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut line = serde_json::to_vec(&record(at))?;
        line.push(b'\n');
        file.write_all(&line).context("the journal cannot be written")
    }
}

/// Everything in a journal.
pub(super) fn read(path: &Path) -> Result<Vec<Record>> {
    let lines = BufReader::new(File::open(path)?).lines();
    lines
        .map(|line| {
            let line = line?;
            serde_json::from_str(&line).with_context(|| format!("in the journal: {line}"))
        })
        .collect()
}

/// A request and its answer, if there was one.
pub(super) struct Exchange<'a> {
    pub(super) sent: &'a Sent,
    pub(super) answer: Option<&'a Answered>,
}

impl Exchange<'_> {
    pub(super) fn is(&self, kind: Kind) -> bool {
        self.sent.request.kind == kind
    }

    pub(super) fn is_good(&self) -> bool {
        self.answer.is_some_and(|answer| answer.status == 200)
    }
}

impl fmt::Display for Exchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { client, login, kind, token, .. } = &self.sent.request;
        write!(f, "request {}, {kind:?} of client {client} session {login}", self.sent.id)?;
        if let Some(token) = token {
            write!(f, " with gen {}", token.generation)?;
        }
        if let Some(answer) = self.answer {
            write!(f, ": {} {}", answer.status, answer.code.as_deref().unwrap_or_default())?;
        }
        Ok(())
    }
}

/// The requests in the order in which they were sent, with their answers.
pub(super) fn exchanges(records: &[Record]) -> Vec<Exchange<'_>> {
    let mut answers: BTreeMap<u64, &Answered> = BTreeMap::new();
    let mut requests = Vec::new();
    for record in records {
        match record {
            Record::Sent(sent) => requests.push(sent),
            Record::Answered(answer) => drop(answers.insert(answer.id, answer)),
            Record::Unanswered { .. } | Record::FaultEnded { .. } => {}
        }
    }
    let answer_to = |sent: &Sent| answers.get(&sent.id).copied();
    requests.into_iter().map(|sent| Exchange { sent, answer: answer_to(sent) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_read_as_it_was_written_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let journal = Journal::create(&path).unwrap();
        let token = Token { sid: "s".into(), generation: 3, hash: "ab".into() };
        let request = Request {
            client: 1,
            login: 2,
            kind: Kind::Refresh,
            purpose: Purpose::Usual,
            token: Some(token.clone()),
        };
        let first = journal.sent(request.clone()).unwrap();
        let second = journal.sent(request.clone()).unwrap();
        journal.answered(second, 200, None, Some(token)).unwrap();
        journal.unanswered(first, "cut".into()).unwrap();
        journal.fault_ended().unwrap();

        let records = read(&path).unwrap();
        assert_eq!(records.len(), 5);
        assert_ne!(first, second);
        assert!(matches!(&records[0], Record::Sent(sent) if sent.request == request));
        assert!(matches!(&records[2], Record::Answered(it) if it.id == second));
        let times: Vec<u64> = records.iter().map(at).collect();
        assert!(times.is_sorted(), "{times:?}");
        assert_eq!(journal.good(), 1);
    }

    fn at(record: &Record) -> u64 {
        match record {
            Record::Sent(it) => it.at,
            Record::Answered(it) => it.at,
            Record::Unanswered { at, .. } | Record::FaultEnded { at } => *at,
        }
    }
}
