//! Checks the invariants of docs/reliability.md from the journal and the store alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::journal::{Answered, Exchange, Kind, Purpose, Record, Request, Sent, exchanges};

/// An invariant of docs/reliability.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Invariant {
    /// Every session that its client did not end still refreshes when the faults are over.
    SessionsLive,
    /// Each generation of a session has had one refresh token.
    OneTokenAGeneration,
    /// A client that did nothing wrong is refused by nothing but 503 and 504.
    NoFalseRefusal,
    /// After an acknowledged logout nothing of the session works.
    LogoutHolds,
    /// The store has all sessions that were acknowledged, and no others but those of logins without
    /// an answer.
    StoreAgrees,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SessionsLive => "I1",
            Self::OneTokenAGeneration => "I2",
            Self::NoFalseRefusal => "I3",
            Self::LogoutHolds => "I4",
            Self::StoreAgrees => "I5",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) invariant: Invariant,
    /// How many times the invariant was broken.
    pub(super) times: usize,
    /// The records that broke the invariant the first time.
    pub(super) example: String,
}

/// The sessions in the store at the end.
#[derive(Debug, Clone, Default)]
pub(super) struct Stored {
    /// The sessions by their `sid`, and whether each has ended.
    pub(super) sessions: BTreeMap<String, bool>,
    /// Whether `sessions` has only the live ones.
    pub(super) only_live: bool,
}

/// Looks for violations of I1 to I5 in the journal of a run and the sessions that the store has.
pub(super) fn check(records: &[Record], stored: &Stored) -> Vec<Violation> {
    let run = Run::of(records);
    let mut found = Found::default();
    run.sessions_live(&mut found);
    run.one_token_a_generation(&mut found);
    run.no_false_refusal(&mut found);
    run.logout_holds(stored, &mut found);
    run.store_agrees(stored, &mut found);
    found.0.into_values().collect()
}

/// Whether an answer is a refusal that is correct: after a logout, or for a spent code.
pub(super) fn is_deserved_refusal(sent: &Sent, answer: &Answered, attempt: usize) -> bool {
    match sent.request.kind {
        // An earlier attempt, whose outcome is unknown, may have spent the code.
        Kind::Login => {
            attempt > 1
                && answer.status == 401
                && answer.code.as_deref() == Some("INVALID_AUTH_CODE")
        }
        Kind::Refresh | Kind::Me => sent.request.purpose == Purpose::Probe && answer.status == 401,
        Kind::Logout => false,
    }
}

#[derive(Default)]
struct Found(BTreeMap<Invariant, Violation>);

impl Found {
    fn add(&mut self, invariant: Invariant, example: impl FnOnce() -> String) {
        self.0
            .entry(invariant)
            .and_modify(|violation| violation.times += 1)
            .or_insert_with(|| Violation { invariant, times: 1, example: example() });
    }
}

/// A session as its client knows it: the numbers of the client and of the login.
type SessionKey = (u32, u32);

struct Run<'a> {
    sessions: BTreeMap<SessionKey, Vec<Exchange<'a>>>,
}

impl<'a> Run<'a> {
    fn of(records: &'a [Record]) -> Self {
        let mut sessions: BTreeMap<SessionKey, Vec<Exchange<'a>>> = BTreeMap::new();
        for exchange in exchanges(records) {
            let Request { client, login, .. } = exchange.sent.request;
            sessions.entry((client, login)).or_default().push(exchange);
        }
        Self { sessions }
    }

    fn sessions_live(&self, found: &mut Found) {
        for ((client, login), exchanges) in &self.sessions {
            let opened = exchanges.iter().any(|it| it.is(Kind::Login) && it.is_good());
            let logged_out = exchanges.iter().any(|it| it.is(Kind::Logout));
            let refreshes_at_last = exchanges.iter().any(|it| {
                it.is(Kind::Refresh) && it.sent.request.purpose == Purpose::Last && it.is_good()
            });
            if opened && !logged_out && !refreshes_at_last {
                found.add(Invariant::SessionsLive, || {
                    format!("client {client} session {login} does not refresh at the end")
                });
            }
        }
    }

    fn one_token_a_generation(&self, found: &mut Found) {
        let mut tokens: BTreeMap<(&str, u64), &str> = BTreeMap::new();
        let answers = self.sessions.values().flatten().filter_map(|exchange| exchange.answer);
        for answer in answers {
            let Some(token) = &answer.token else { continue };
            let of_generation = (token.sid.as_str(), token.generation);
            let first = tokens.entry(of_generation).or_insert(&token.hash);
            if *first != token.hash {
                found.add(Invariant::OneTokenAGeneration, || {
                    let (sid, generation) = of_generation;
                    format!("session {sid} has two tokens of gen {generation}")
                });
            }
        }
    }

    fn no_false_refusal(&self, found: &mut Found) {
        for exchanges in self.sessions.values() {
            let logout = exchanges.iter().find(|it| it.is(Kind::Logout)).map(|it| it.sent.at);
            let mut logins = 0;
            for exchange in exchanges {
                logins += usize::from(exchange.is(Kind::Login));
                let Some(answer) = exchange.answer else { continue };
                let of_ended = logout.is_some_and(|at| at < answer.at);
                let must_succeed = match exchange.sent.request.kind {
                    Kind::Refresh | Kind::Me => !of_ended,
                    Kind::Login | Kind::Logout => true,
                };
                let is_fine = matches!(answer.status, 200 | 503 | 504)
                    || is_deserved_refusal(exchange.sent, answer, logins);
                if must_succeed && !is_fine {
                    found.add(Invariant::NoFalseRefusal, || exchange.to_string());
                }
            }
        }
    }

    fn logout_holds(&self, stored: &Stored, found: &mut Found) {
        for exchanges in self.sessions.values() {
            let acknowledged = exchanges
                .iter()
                .filter(|it| it.is(Kind::Logout) && it.is_good())
                .filter_map(|it| it.answer.map(|answer| answer.at))
                .min();
            let Some(acknowledged) = acknowledged else { continue };
            for exchange in exchanges {
                let used = exchange.is(Kind::Refresh) || exchange.is(Kind::Me);
                if used && exchange.sent.at > acknowledged && exchange.is_good() {
                    found.add(Invariant::LogoutHolds, || format!("{exchange} after its logout"));
                }
            }
            for sid in sids(exchanges) {
                if stored.sessions.get(sid) == Some(&false) {
                    found.add(Invariant::LogoutHolds, || {
                        format!("session {sid} lives in the store after its logout")
                    });
                }
            }
        }
    }

    fn store_agrees(&self, stored: &Stored, found: &mut Found) {
        let mut acknowledged: BTreeSet<&str> = BTreeSet::new();
        let mut unknown = 0;
        for ((client, login), exchanges) in &self.sessions {
            let opened = sids(exchanges);
            if opened.len() > 1 {
                found.add(Invariant::StoreAgrees, || {
                    format!("login {login} of client {client} opened {} sessions", opened.len())
                });
            }
            let logged_out = exchanges.iter().any(|it| it.is(Kind::Logout));
            for sid in &opened {
                let may_be_hidden = stored.only_live && logged_out;
                if !may_be_hidden && !stored.sessions.contains_key(*sid) {
                    found.add(Invariant::StoreAgrees, || {
                        format!("session {sid} was acknowledged and is not stored")
                    });
                }
            }
            acknowledged.extend(&opened);
            let refused = |it: &Exchange<'_>| {
                it.answer.is_some_and(|answer| (400..500).contains(&answer.status))
            };
            let logins = || exchanges.iter().filter(|it| it.is(Kind::Login));
            if opened.is_empty() && logins().next().is_some() && !logins().any(refused) {
                unknown += 1;
            }
        }
        let unasked: Vec<&String> =
            stored.sessions.keys().filter(|sid| !acknowledged.contains(sid.as_str())).collect();
        for sid in unasked.iter().skip(unknown) {
            found.add(Invariant::StoreAgrees, || {
                let more = unasked.len();
                format!("{more} stored sessions, {sid} among them, for {unknown} logins without an answer")
            });
        }
    }
}

/// The sessions that a login was answered with; more than one is an error.
fn sids<'a>(exchanges: &[Exchange<'a>]) -> BTreeSet<&'a str> {
    exchanges
        .iter()
        .filter(|it| it.is(Kind::Login) && it.is_good())
        .filter_map(|it| it.answer.and_then(|answer| answer.token.as_ref()))
        .map(|token| token.sid.as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::journal::Token;
    use super::*;

    /// A journal made by hand; each line is one nanosecond later.
    #[derive(Default)]
    struct Story {
        records: Vec<Record>,
        stored: Stored,
        at: u64,
        id: u64,
    }

    const LOGIN: (Kind, Purpose) = (Kind::Login, Purpose::Usual);
    const REFRESH: (Kind, Purpose) = (Kind::Refresh, Purpose::Usual);
    const ME: (Kind, Purpose) = (Kind::Me, Purpose::Usual);
    const LOGOUT: (Kind, Purpose) = (Kind::Logout, Purpose::Usual);
    const PROBE: (Kind, Purpose) = (Kind::Refresh, Purpose::Probe);
    const LAST: (Kind, Purpose) = (Kind::Refresh, Purpose::Last);

    fn token(sid: &str, generation: u64, hash: &str) -> Token {
        Token { sid: sid.into(), generation, hash: hash.into() }
    }

    impl Story {
        fn at(&mut self) -> u64 {
            self.at += 1;
            self.at
        }

        fn sent(&mut self, login: u32, (kind, purpose): (Kind, Purpose)) -> u64 {
            let (at, id) = (self.at(), self.id + 1);
            self.id = id;
            let request = Request { client: 1, login, kind, purpose, token: None };
            self.records.push(Record::Sent(Sent { id, at, request }));
            id
        }

        fn answered(&mut self, id: u64, status: u16, code: Option<&str>, token: Option<Token>) {
            let (at, code) = (self.at(), code.map(str::to_owned));
            self.records.push(Record::Answered(Answered { id, at, status, code, token }));
        }

        fn good(&mut self, login: u32, what: (Kind, Purpose), token: Option<Token>) {
            let id = self.sent(login, what);
            self.answered(id, 200, None, token);
        }

        fn refused(&mut self, login: u32, what: (Kind, Purpose), status: u16, code: &str) {
            let id = self.sent(login, what);
            self.answered(id, status, Some(code), None);
        }

        fn lost(&mut self, login: u32, what: (Kind, Purpose)) {
            let id = self.sent(login, what);
            let at = self.at();
            self.records.push(Record::Unanswered { id, at, why: "cut".into() });
        }

        fn stored(&mut self, sid: &str, ended: bool) {
            self.stored.sessions.insert(sid.into(), ended);
        }

        /// Two sessions through some trouble; the second is logged out.
        fn clean() -> Self {
            let mut story = Self::default();
            story.lost(1, LOGIN);
            story.good(1, LOGIN, Some(token("a", 0, "a0")));
            story.lost(1, REFRESH);
            story.refused(1, REFRESH, 503, "STORE_UNAVAILABLE");
            story.good(1, REFRESH, Some(token("a", 1, "a1")));
            story.good(1, REFRESH, Some(token("a", 1, "a1")));
            story.good(1, ME, None);
            story.good(2, LOGIN, Some(token("b", 0, "b0")));
            story.good(2, LOGOUT, None);
            story.refused(2, PROBE, 401, "SESSION_REVOKED");
            story.lost(3, LOGIN);
            story.refused(4, LOGIN, 504, "PROVIDER_TIMEOUT");
            story.refused(4, LOGIN, 401, "INVALID_AUTH_CODE");
            story.good(1, LAST, Some(token("a", 2, "a2")));
            story.stored("a", false);
            story.stored("b", true);
            story
        }

        fn broken(&self) -> Vec<Invariant> {
            let violations = check(&self.records, &self.stored);
            violations.iter().map(|violation| violation.invariant).collect()
        }
    }

    #[test]
    fn a_clean_run_passes() {
        let mut story = Story::clean();
        assert_eq!(check(&story.records, &story.stored), []);
        // The login without an answer may have opened a session.
        story.stored("c", false);
        assert_eq!(story.broken(), []);
    }

    #[test]
    fn a_store_that_hides_ended_sessions_agrees_too() {
        let mut story = Story::clean();
        story.stored.sessions.remove("b");
        assert_eq!(story.broken(), [Invariant::StoreAgrees]);
        story.stored.only_live = true;
        assert_eq!(story.broken(), []);
    }

    #[test]
    fn i1_a_session_that_does_not_refresh_at_the_end() {
        let mut story = Story::clean();
        story.good(5, LOGIN, Some(token("e", 0, "e0")));
        story.good(5, REFRESH, Some(token("e", 1, "e1")));
        story.refused(5, LAST, 503, "STORE_UNAVAILABLE");
        story.stored("e", false);
        assert_eq!(story.broken(), [Invariant::SessionsLive]);
    }

    #[test]
    fn i2_two_tokens_of_one_generation() {
        let mut story = Story::clean();
        story.good(1, REFRESH, Some(token("a", 1, "another")));
        assert_eq!(story.broken(), [Invariant::OneTokenAGeneration]);
    }

    #[test]
    fn i2_a_repeated_login_with_another_token() {
        let mut story = Story::clean();
        story.good(1, LOGIN, Some(token("a", 0, "another")));
        assert_eq!(story.broken(), [Invariant::OneTokenAGeneration]);
    }

    #[test]
    fn i3_a_refusal_of_a_client_that_did_nothing_wrong() {
        for (status, code) in [
            (401, "REFRESH_TOKEN_REUSED"),
            (401, "SESSION_REVOKED"),
            (401, "INVALID_REFRESH_TOKEN"),
            (500, "INTERNAL_ERROR"),
        ] {
            for what in [REFRESH, LAST, ME] {
                let mut story = Story::clean();
                story.refused(1, what, status, code);
                assert_eq!(story.broken(), [Invariant::NoFalseRefusal], "{what:?} {code}");
            }
        }
        let mut story = Story::clean();
        story.refused(2, LOGOUT, 401, "INVALID_ACCESS_TOKEN");
        assert_eq!(story.broken(), [Invariant::NoFalseRefusal]);
    }

    #[test]
    fn i3_a_refusal_before_the_logout() {
        let mut story = Story::clean();
        story.good(5, LOGIN, Some(token("e", 0, "e0")));
        story.refused(5, ME, 401, "SESSION_REVOKED");
        story.good(5, LOGOUT, None);
        story.stored("e", true);
        assert_eq!(story.broken(), [Invariant::NoFalseRefusal]);
    }

    #[test]
    fn i3_a_fresh_code_that_is_refused() {
        let mut story = Story::clean();
        story.refused(5, LOGIN, 401, "INVALID_AUTH_CODE");
        assert_eq!(story.broken(), [Invariant::NoFalseRefusal]);
    }

    #[test]
    fn i4_a_session_that_works_after_its_logout() {
        for what in [PROBE, (Kind::Me, Purpose::Probe), REFRESH] {
            let mut story = Story::clean();
            story.good(2, what, None);
            assert_eq!(story.broken(), [Invariant::LogoutHolds], "{what:?}");
        }
    }

    #[test]
    fn i4_what_was_sent_before_the_logout_was_acknowledged_may_still_succeed() {
        let mut story = Story::clean();
        story.good(5, LOGIN, Some(token("e", 0, "e0")));
        let early = story.sent(5, REFRESH);
        story.good(5, LOGOUT, None);
        story.answered(early, 200, None, Some(token("e", 1, "e1")));
        story.stored("e", true);
        assert_eq!(story.broken(), []);
    }

    #[test]
    fn i4_a_session_that_lives_in_the_store_after_its_logout() {
        let mut story = Story::clean();
        story.stored("b", false);
        assert_eq!(story.broken(), [Invariant::LogoutHolds]);
    }

    #[test]
    fn i5_an_acknowledged_session_that_is_not_stored() {
        let mut story = Story::clean();
        story.stored.sessions.remove("a");
        assert_eq!(story.broken(), [Invariant::StoreAgrees]);
    }

    #[test]
    fn i5_more_stored_sessions_than_unanswered_logins() {
        let mut story = Story::clean();
        story.stored("c", false);
        story.stored("d", false);
        assert_eq!(story.broken(), [Invariant::StoreAgrees]);
    }

    #[test]
    fn i5_one_login_that_opened_two_sessions() {
        let mut story = Story::clean();
        story.good(1, LOGIN, Some(token("f", 0, "f0")));
        story.stored("f", false);
        assert_eq!(story.broken(), [Invariant::StoreAgrees]);
    }
}
