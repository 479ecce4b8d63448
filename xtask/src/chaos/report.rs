//! The table of a run: one line for each experiment.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::checker::{Violation, is_deserved_refusal};
use super::journal::{Answered, Exchange, Kind, Record, exchanges};
use super::plan::Plan;

/// How many requests were answered in which way.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answers {
    requests: u64,
    good: u64,
    unavailable: u64,
    timeout: u64,
    none: u64,
    /// Refused correctly: after a logout, or with a spent code.
    refused: u64,
    other: u64,
}

/// One experiment's line.
pub(super) struct Row {
    name: &'static str,
    store: &'static str,
    injected: String,
    answers: Answers,
    violations: Vec<Violation>,
    /// The expectation of the experiment itself that was not met.
    unmet: Option<String>,
    /// More lines below the table.
    notes: Vec<String>,
    /// How long each recovery took, in nanoseconds, sorted.
    recoveries: Vec<u64>,
}

impl Row {
    pub(super) fn new(
        plan: &Plan,
        injected: String,
        records: &[Record],
        violations: Vec<Violation>,
    ) -> Self {
        let exchanges = exchanges(records);
        let answers = count(&exchanges);
        Self {
            name: plan.name,
            store: plan.store.name(),
            unmet: unmet(plan, &exchanges, &answers),
            injected,
            answers,
            violations,
            notes: Vec::new(),
            recoveries: plan
                .recovers_with
                .map(|kind| recoveries(records, kind))
                .unwrap_or_default(),
        }
    }

    /// Adds lines below the table, and an expectation that was not met.
    pub(super) fn with_notes(mut self, notes: Vec<String>, unmet: Option<String>) -> Self {
        self.notes = notes;
        self.unmet = self.unmet.or(unmet);
        self
    }

    /// Whether the experiment passed.
    pub(super) fn is_ok(&self) -> bool {
        self.violations.is_empty() && self.unmet.is_none()
    }

    /// The broken invariants.
    pub(super) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    fn verdict(&self) -> String {
        if self.violations.is_empty() {
            return if self.unmet.is_none() { "ok" } else { "NOT SHOWN" }.to_owned();
        }
        let broken = self.violations.iter().map(|it| it.invariant.to_string());
        format!("BROKEN {}", broken.collect::<Vec<_>>().join(" "))
    }

    /// The lines about it below the table.
    fn remarks(&self) -> Vec<String> {
        let broken = self.violations.iter().map(|violation| {
            let Violation { invariant, times, example } = violation;
            format!("{}: {invariant} {times} times, first: {example}", self.name)
        });
        let unmet = self.unmet.iter().map(|it| format!("{}: {it}", self.name));
        let notes = self.notes.iter().map(|note| format!("{}: {note}", self.name));
        broken.chain(unmet).chain(notes).collect()
    }
}

/// The table, and further lines about its rows.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<25} {:<8} {:>20} {:>8} {:>7} {:>6} {:>6} {:>6} {:>7} {:>5}  {:>17}  {}\n",
        "experiment",
        "store",
        "injected",
        "requests",
        "200",
        "503",
        "504",
        "none",
        "refused",
        "other",
        "recovery med/max",
        "verdict"
    );
    for row in rows {
        let Answers { requests, good, unavailable, timeout, none, refused, other } = row.answers;
        let injected = &row.injected;
        let recovery = recovery(&row.recoveries);
        let line = format!(
            "{:<25} {:<8} {injected:>20} {requests:>8} {good:>7} {unavailable:>6} {timeout:>6} \
             {none:>6} {refused:>7} {other:>5}  {recovery:>17}  {}",
            row.name,
            row.store,
            row.verdict()
        );
        let _ = writeln!(text, "{line}");
    }
    for remark in rows.iter().flat_map(Row::remarks) {
        let _ = writeln!(text, "  {remark}");
    }
    text
}

fn recovery(sorted: &[u64]) -> String {
    let (Some(median), Some(longest)) = (sorted.get(sorted.len() / 2), sorted.last()) else {
        return "-".to_owned();
    };
    let millis = |nanos: &u64| nanos / 1_000_000;
    format!("{} / {} ms", millis(median), millis(longest))
}

fn count(exchanges: &[Exchange<'_>]) -> Answers {
    let mut answers = Answers::default();
    let mut attempts: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    for Exchange { sent, answer } in exchanges {
        let attempt = attempts.entry((sent.request.client, sent.request.login)).or_default();
        *attempt += usize::from(sent.request.kind == Kind::Login);
        answers.requests += 1;
        let counter = match answer {
            None => &mut answers.none,
            Some(Answered { status: 200, .. }) => &mut answers.good,
            Some(Answered { status: 503, .. }) => &mut answers.unavailable,
            Some(Answered { status: 504, .. }) => &mut answers.timeout,
            Some(answer) if is_deserved_refusal(sent, answer, *attempt) => &mut answers.refused,
            Some(_) => &mut answers.other,
        };
        *counter += 1;
    }
    answers
}

/// The expectation of the plan that was not met. A fault that no client noticed proves nothing.
fn unmet(plan: &Plan, exchanges: &[Exchange<'_>], answers: &Answers) -> Option<String> {
    if !plan.goes_unnoticed && answers.unavailable + answers.timeout + answers.none == 0 {
        return Some("no client noticed the fault".to_owned());
    }
    if !plan.spares_sessions {
        return None;
    }
    let affected = exchanges.iter().find(|Exchange { sent, answer }| {
        let is_fine = answer.is_some_and(|answer| !matches!(answer.status, 503 | 504));
        sent.request.kind != Kind::Login && !is_fine
    });
    affected.map(|Exchange { sent, .. }| {
        let (id, kind) = (sent.id, sent.request.kind);
        format!("request {id}, {kind:?}, was affected, and only logins may be")
    })
}

/// How long it took from the end of each fault to the first 200 of this kind.
fn recoveries(records: &[Record], kind: Kind) -> Vec<u64> {
    let mut kinds: BTreeMap<u64, Kind> = BTreeMap::new();
    let mut waiting: Vec<u64> = Vec::new();
    let mut found = Vec::new();
    for record in records {
        match record {
            Record::Sent(sent) => drop(kinds.insert(sent.id, sent.request.kind)),
            Record::FaultEnded { at } => waiting.push(*at),
            Record::Answered(answer)
                if answer.status == 200 && kinds.get(&answer.id) == Some(&kind) =>
            {
                found.extend(waiting.drain(..).map(|ended| answer.at.saturating_sub(ended)));
            }
            Record::Answered(_) | Record::Unanswered { .. } => {}
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::super::checker::Invariant;
    use super::super::journal::{Purpose, Request, Sent};
    use super::super::plan::{Form, all};
    use super::*;

    fn sent(id: u64, at: u64, kind: Kind) -> Record {
        let purpose = Purpose::Usual;
        let request = Request { client: 1, login: 1, kind, purpose, token: None };
        Record::Sent(Sent { id, at, request })
    }

    fn answered(id: u64, at: u64, status: u16) -> Record {
        Record::Answered(Answered { id, at, status, code: None, token: None })
    }

    fn plan(name: &str) -> Plan {
        all(Form::Short).into_iter().find(|plan| plan.name == name).unwrap()
    }

    #[test]
    fn recovery_is_from_the_end_of_a_fault_to_the_next_good_answer_of_the_kind() {
        let records = [
            sent(1, 0, Kind::Refresh),
            answered(1, 1, 200),
            Record::FaultEnded { at: 10 },
            sent(2, 11, Kind::Refresh),
            answered(2, 12, 503),
            sent(3, 13, Kind::Me),
            answered(3, 14, 200),
            sent(4, 15, Kind::Refresh),
            answered(4, 17, 200),
            Record::FaultEnded { at: 20 },
            sent(5, 21, Kind::Refresh),
            answered(5, 23, 200),
        ];
        assert_eq!(recoveries(&records, Kind::Refresh), [3, 7]);
    }

    #[test]
    fn a_fault_that_no_client_noticed_is_not_ok() {
        let records = [sent(1, 0, Kind::Refresh), answered(1, 1, 200)];
        assert!(!Row::new(&plan("service-killed"), "3 kills".into(), &records, Vec::new()).is_ok());
        let records = [records.as_slice(), &[sent(2, 2, Kind::Refresh)]].concat();
        assert!(Row::new(&plan("service-killed"), "3 kills".into(), &records, Vec::new()).is_ok());
        let unnoticed = plan("cut-after-commit");
        assert!(Row::new(&unnoticed, "3 cuts".into(), &records[..2], Vec::new()).is_ok());
    }

    #[test]
    fn a_refresh_must_not_suffer_where_only_logins_may() {
        let login = [sent(1, 0, Kind::Login), answered(1, 1, 504)];
        let plan = plan("provider-paused");
        assert!(Row::new(&plan, "1 pauses".into(), &login, Vec::new()).is_ok());
        let refresh = [sent(2, 2, Kind::Refresh), answered(2, 3, 503)];
        let records = [login, refresh].concat();
        assert!(!Row::new(&plan, "1 pauses".into(), &records, Vec::new()).is_ok());
    }

    #[test]
    fn the_table_counts_each_answer_once_and_names_what_broke() {
        let records = [
            sent(1, 0, Kind::Login),
            answered(1, 1, 200),
            sent(2, 2, Kind::Refresh),
            answered(2, 3, 503),
            sent(3, 4, Kind::Refresh),
            answered(3, 5, 401),
            sent(4, 6, Kind::Refresh),
        ];
        let violation = Violation {
            invariant: Invariant::NoFalseRefusal,
            times: 1,
            example: "request 3".to_owned(),
        };
        let row = Row::new(&plan("service-killed"), "3 kills".into(), &records, vec![violation]);
        let expected = Answers {
            requests: 4,
            good: 1,
            unavailable: 1,
            none: 1,
            other: 1,
            ..Answers::default()
        };
        assert_eq!(row.answers, expected);
        let table = table(&[row]);
        assert!(table.contains("BROKEN I3"), "{table}");
        assert!(table.contains("service-killed: I3 1 times, first: request 3"), "{table}");
    }
}
