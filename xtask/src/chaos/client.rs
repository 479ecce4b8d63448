//! Clients that behave as good front ends do: they refresh, in several tabs at once too, repeat a
//! request until they know its outcome, and log out now and then.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use mintgate_testkit::SeededEntropy;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::api::{Api, Grant, Outcome, Sender, SignIn};
use super::journal::Purpose;
use super::rig::PROVIDER;

/// How long a refresh or a logout is repeated.
const RETRY_LIMIT: Duration = Duration::from_secs(75);
/// How long a login is repeated; the service keeps its outcome for a minute.
const LOGIN_RETRY_LIMIT: Duration = Duration::from_secs(45);
/// How long the last refresh is repeated, when all faults are over.
const LAST_RETRY_LIMIT: Duration = Duration::from_secs(30);
/// A tab that has no answer looks for new tokens in the cookie jar once another tab has had its answer
/// for this long. A browser's tab sees them at once: this is harder.
const COOKIES_SEEN_AFTER: Duration = Duration::from_secs(5);
/// Tabs start within this time, long enough to be in different seconds.
const SPREAD_MILLIS: u64 = 1000;
/// How long an authorization code is kept, less than the provider accepts it.
const CODE_LIFE: Duration = Duration::from_secs(40);
const CODES_KEPT: usize = 2;

/// What clients do, and how often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Behaviour {
    pub(super) clients: u32,
    /// How many sessions a client has at once.
    pub(super) sessions: usize,
    /// How many of a thousand steps are refreshes in several tabs at once.
    pub(super) tabs: u64,
    /// How many of a thousand steps are logouts.
    pub(super) logouts: u64,
    /// The longest pause between two steps, in milliseconds.
    pub(super) pause: u64,
    /// Whether tabs start together and see another tab's new tokens at once, as a browser's do.
    pub(super) tabs_in_step: bool,
}

/// All clients of an experiment.
pub(super) struct Clients {
    clients: JoinSet<Result<Option<Grant>>>,
    over: Arc<AtomicBool>,
}

impl Clients {
    pub(super) fn start(api: &Arc<Api>, behaviour: Behaviour, seed: u64) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 1..=behaviour.clients {
            let client = Client {
                number,
                api: Arc::clone(api),
                behaviour,
                rng: SeededEntropy::sequence(seed, u64::from(number)),
                sessions: Vec::new(),
                logins: 0,
                codes: VecDeque::new(),
            };
            clients.spawn(client.live(Arc::clone(&over)));
        }
        Self { clients, over }
    }

    /// Lets all clients finish, and refresh each session once more; returns one grant of each client
    /// that still has a session.
    pub(super) async fn conclude(mut self) -> Result<Vec<Grant>> {
        self.over.store(true, Ordering::Relaxed);
        let mut grants = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            grants.extend(client??);
        }
        Ok(grants)
    }

    /// Waits until a client fails.
    pub(super) async fn watch(&mut self) -> Result<()> {
        match self.clients.join_next().await {
            Some(ended) => ended?.and_then(|_| Err(anyhow::anyhow!("a client ended early"))),
            None => std::future::pending().await,
        }
    }
}

struct Session {
    login: u32,
    grant: Grant,
}

struct Client {
    number: u32,
    api: Arc<Api>,
    behaviour: Behaviour,
    rng: SeededEntropy,
    sessions: Vec<Session>,
    logins: u32,
    codes: VecDeque<(String, Instant)>,
}

impl Client {
    async fn live(mut self, over: Arc<AtomicBool>) -> Result<Option<Grant>> {
        while !over.load(Ordering::Relaxed) {
            self.step().await?;
            let pause = self.rng.millis(5, self.behaviour.pause);
            sleep(pause).await;
        }
        self.conclude().await
    }

    async fn step(&mut self) -> Result<()> {
        if self.codes.len() < CODES_KEPT {
            let code = self.api.code(PROVIDER, self.number).await;
            self.codes.extend(code.map(|code| (code, Instant::now())));
        }
        let begins_another = self.sessions.len() < self.behaviour.sessions && self.rng.chance(300);
        if self.sessions.is_empty() || begins_another {
            return self.log_in().await;
        }
        let session = self.rng.index(self.sessions.len());
        let choice = self.rng.below(1000);
        let Behaviour { tabs, logouts, .. } = self.behaviour;
        if choice < tabs {
            let count = 2 + self.rng.index(3);
            self.refresh(session, count, Purpose::Usual).await
        } else if choice < tabs + logouts && self.sessions.len() > 1 {
            self.log_out(session).await
        } else if choice < 850 {
            self.refresh(session, 1, Purpose::Usual).await
        } else {
            self.me(session).await
        }
    }

    fn sender(&self, login: u32, purpose: Purpose) -> Sender {
        Sender { client: self.number, login, purpose }
    }

    async fn log_in(&mut self) -> Result<()> {
        self.codes.retain(|(_, got)| got.elapsed() < CODE_LIFE);
        let Some((code, _)) = self.codes.pop_front() else { return Ok(()) };
        self.logins += 1;
        let login = self.logins;
        let sign_in = SignIn::new(
            PROVIDER,
            format!("chaos-{}-{login}-{:016x}", self.number, self.rng.next_u64()),
            &code,
        );
        let sender = self.sender(login, Purpose::Usual);
        let mut retries = Retries::new(self.rng.next_u64(), LOGIN_RETRY_LIMIT);
        loop {
            let replica = self.rng.index(self.api.replicas());
            match self.api.log_in(sender, replica, &sign_in).await? {
                Outcome::Granted(grant) => {
                    self.sessions.push(Session { login, grant: *grant });
                    return Ok(());
                }
                Outcome::Unknown if retries.wait().await => {}
                // A front end would ask the person to sign in again.
                Outcome::Unknown | Outcome::Done | Outcome::Refused => return Ok(()),
            }
        }
    }

    /// Refreshes a session in this many tabs at the same time; the newest answer stays in the jar.
    async fn refresh(&mut self, index: usize, tabs: usize, purpose: Purpose) -> Result<()> {
        let session = self.sessions.get(index).context("there is no such session")?;
        let jar = Arc::new(CookieJar::default());
        let mut all = JoinSet::new();
        // The tabs start at once, or one after another.
        let in_step = self.behaviour.tabs_in_step;
        let spread = if self.rng.chance(500) && !in_step { SPREAD_MILLIS } else { 0 };
        for number in 0..tabs {
            let tab = Tab {
                begins_after: self.rng.millis(0, if number == 0 { 0 } else { spread }),
                api: Arc::clone(&self.api),
                sender: self.sender(session.login, purpose),
                grant: session.grant.clone(),
                rng: SeededEntropy::new(self.rng.next_u64()),
                jar: Arc::clone(&jar),
                jar_after: if in_step { Duration::ZERO } else { COOKIES_SEEN_AFTER },
            };
            all.spawn(tab.refresh());
        }
        let mut newest: Option<Grant> = None;
        let mut refused = false;
        while let Some(tab) = all.join_next().await {
            match tab?? {
                Refreshed::As(grant) => {
                    // Tokens of one generation are equal; if they are not, either may stay.
                    let stays = match &newest {
                        Some(known) if known.token.generation == grant.token.generation => {
                            self.rng.chance(500)
                        }
                        Some(known) => known.token.generation > grant.token.generation,
                        None => false,
                    };
                    if !stays {
                        newest = Some(*grant);
                    }
                }
                Refreshed::GivenUp => {}
                Refreshed::Refused => refused = true,
            }
        }
        match newest {
            Some(grant) => {
                if let Some(session) = self.sessions.get_mut(index) {
                    session.grant = grant;
                }
            }
            // A front end would ask the person to sign in again.
            None if refused => drop(self.sessions.swap_remove(index)),
            None => {}
        }
        Ok(())
    }

    async fn me(&mut self, index: usize) -> Result<()> {
        let session = self.sessions.get(index).context("there is no such session")?;
        let replica = self.rng.index(self.api.replicas());
        let sender = self.sender(session.login, Purpose::Usual);
        self.api.me(sender, replica, &session.grant).await.map(drop)
    }

    /// Logs out until that is acknowledged, then tries to use the session.
    async fn log_out(&mut self, index: usize) -> Result<()> {
        let Session { login, grant } = self.sessions.swap_remove(index);
        let by_refresh = self.rng.chance(500);
        let sender = self.sender(login, Purpose::Usual);
        let mut retries = Retries::new(self.rng.next_u64(), RETRY_LIMIT);
        loop {
            let replica = self.rng.index(self.api.replicas());
            match self.api.log_out(sender, replica, &grant, by_refresh).await? {
                Outcome::Done | Outcome::Granted(_) => break,
                Outcome::Unknown if retries.wait().await => {}
                Outcome::Unknown | Outcome::Refused => return Ok(()),
            }
        }
        let sender = self.sender(login, Purpose::Probe);
        for probe in 0..2 {
            let replica = self.rng.index(self.api.replicas());
            if probe == 0 {
                self.api.refresh(sender, replica, &grant).await?;
            } else {
                self.api.me(sender, replica, &grant).await?;
            }
        }
        Ok(())
    }

    async fn conclude(mut self) -> Result<Option<Grant>> {
        for index in (0..self.sessions.len()).rev() {
            self.refresh(index, 1, Purpose::Last).await?;
        }
        Ok(self.sessions.into_iter().next().map(|session| session.grant))
    }
}

/// The cookie jar that the tabs of a page share.
#[derive(Default)]
struct CookieJar {
    filled: std::sync::OnceLock<Instant>,
}

impl CookieJar {
    fn is_filled_for(&self, span: Duration) -> bool {
        self.filled.get().is_some_and(|filled| filled.elapsed() >= span)
    }
}

struct Tab {
    begins_after: Duration,
    api: Arc<Api>,
    sender: Sender,
    grant: Grant,
    rng: SeededEntropy,
    jar: Arc<CookieJar>,
    jar_after: Duration,
}

enum Refreshed {
    As(Box<Grant>),
    /// Another tab was answered meanwhile, or the time for retries is over.
    GivenUp,
    Refused,
}

impl Tab {
    /// Sends the same token until the outcome is known.
    async fn refresh(self) -> Result<Refreshed> {
        let limit = match self.sender.purpose {
            Purpose::Last => LAST_RETRY_LIMIT,
            Purpose::Usual | Purpose::Probe => RETRY_LIMIT,
        };
        let mut retries = Retries::new(self.rng.next_u64(), limit);
        sleep(self.begins_after).await;
        loop {
            let replica = self.rng.index(self.api.replicas());
            match self.api.refresh(self.sender, replica, &self.grant).await? {
                Outcome::Granted(grant) => {
                    let _ = self.jar.filled.set(Instant::now());
                    return Ok(Refreshed::As(grant));
                }
                Outcome::Unknown => {
                    if !retries.wait().await || self.jar.is_filled_for(self.jar_after) {
                        return Ok(Refreshed::GivenUp);
                    }
                }
                Outcome::Done | Outcome::Refused => return Ok(Refreshed::Refused),
            }
        }
    }
}

/// Waits longer and longer between attempts, up to a limit.
struct Retries {
    rng: SeededEntropy,
    begun: Instant,
    limit: Duration,
    attempts: u32,
}

impl Retries {
    fn new(seed: u64, limit: Duration) -> Self {
        Self { rng: SeededEntropy::new(seed), begun: Instant::now(), limit, attempts: 0 }
    }

    /// Waits before the next attempt; false if the limit is reached.
    async fn wait(&mut self) -> bool {
        if self.begun.elapsed() >= self.limit {
            return false;
        }
        let longest = 50_u64 << self.attempts.min(4);
        self.attempts += 1;
        sleep(self.rng.millis(longest / 2, longest)).await;
        true
    }
}
