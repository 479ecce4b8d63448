//! Clients as good front ends are: they refresh, in several tabs at once too, ask the same again
//! until they know the outcome, and log out now and then.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::api::{Api, Asker, Grant, Outcome, SignIn};
use super::journal::Purpose;
use super::rng::Rng;

/// How long a refresh or a logout is asked for again.
const PERSISTENCE: Duration = Duration::from_secs(75);
/// The same for a sign-in, which can be repeated for a minute.
const LOGIN_PERSISTENCE: Duration = Duration::from_secs(45);
/// When all is well again.
const LAST_PERSISTENCE: Duration = Duration::from_secs(30);
/// A tab that is still asking this long after another has been answered looks into the jar they
/// share. A browser's does at once: this is harder.
const JAR_AFTER: Duration = Duration::from_secs(5);
/// Long enough for tabs to ask in different seconds.
const SPREAD_MILLIS: u64 = 1000;
/// Less than the provider's codes live.
const CODE_LIFE: Duration = Duration::from_secs(40);
const CODES_KEPT: usize = 2;

/// What clients do how often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    pub(super) clients: u32,
    /// Sessions a client has at once.
    pub(super) sessions: usize,
    /// Of a thousand moves, how many are refreshes in several tabs at once.
    pub(super) tabs: u64,
    /// And how many are logouts.
    pub(super) logouts: u64,
    /// The longest pause between two moves, in milliseconds.
    pub(super) pause: u64,
    /// Whether tabs begin together and look at once whether another was answered, as a browser's do,
    /// and not up to seconds later.
    pub(super) tabs_in_step: bool,
}

/// All clients of an experiment.
pub(super) struct Crowd {
    clients: JoinSet<Result<Option<Grant>>>,
    over: Arc<AtomicBool>,
}

impl Crowd {
    pub(super) fn start(api: &Arc<Api>, habits: Habits, seed: u64) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 1..=habits.clients {
            let client = Client {
                number,
                api: Arc::clone(api),
                habits,
                rng: Rng::of(seed, u64::from(number)),
                sessions: Vec::new(),
                logins: 0,
                codes: VecDeque::new(),
            };
            clients.spawn(client.live(Arc::clone(&over)));
        }
        Self { clients, over }
    }

    /// Has everybody finish what they do, and refresh each session once more. A grant of each
    /// client that still has one.
    pub(super) async fn conclude(mut self) -> Result<Vec<Grant>> {
        self.over.store(true, Ordering::Relaxed);
        let mut grants = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            grants.extend(client??);
        }
        Ok(grants)
    }

    /// Fails with a client that has failed.
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
    habits: Habits,
    rng: Rng,
    sessions: Vec<Session>,
    logins: u32,
    codes: VecDeque<(String, Instant)>,
}

impl Client {
    async fn live(mut self, over: Arc<AtomicBool>) -> Result<Option<Grant>> {
        while !over.load(Ordering::Relaxed) {
            self.move_once().await?;
            let pause = self.rng.millis(5, self.habits.pause);
            sleep(pause).await;
        }
        self.conclude().await
    }

    async fn move_once(&mut self) -> Result<()> {
        if self.codes.len() < CODES_KEPT {
            let code = self.api.code(self.number).await;
            self.codes.extend(code.map(|code| (code, Instant::now())));
        }
        let begins_another = self.sessions.len() < self.habits.sessions && self.rng.chance(300);
        if self.sessions.is_empty() || begins_another {
            return self.log_in().await;
        }
        let session = self.rng.index(self.sessions.len());
        let move_of = self.rng.below(1000);
        let Habits { tabs, logouts, .. } = self.habits;
        if move_of < tabs {
            let count = 2 + self.rng.index(3);
            self.refresh(session, count, Purpose::Usual).await
        } else if move_of < tabs + logouts && self.sessions.len() > 1 {
            self.log_out(session).await
        } else if move_of < 850 {
            self.refresh(session, 1, Purpose::Usual).await
        } else {
            self.me(session).await
        }
    }

    fn asker(&self, login: u32, purpose: Purpose) -> Asker {
        Asker { client: self.number, login, purpose }
    }

    async fn log_in(&mut self) -> Result<()> {
        self.codes.retain(|(_, got)| got.elapsed() < CODE_LIFE);
        let Some((code, _)) = self.codes.pop_front() else { return Ok(()) };
        self.logins += 1;
        let login = self.logins;
        let sign_in =
            SignIn::new(format!("chaos-{}-{login}-{:016x}", self.number, self.rng.next()), &code);
        let asker = self.asker(login, Purpose::Usual);
        let mut patience = Patience::new(self.rng.next(), LOGIN_PERSISTENCE);
        loop {
            let replica = self.rng.index(self.api.replicas());
            match self.api.log_in(asker, replica, &sign_in).await? {
                Outcome::Granted(grant) => {
                    self.sessions.push(Session { login, grant: *grant });
                    return Ok(());
                }
                Outcome::Unknown if patience.lasts().await => {}
                // The person would be asked to sign in again.
                Outcome::Unknown | Outcome::Done | Outcome::Refused => return Ok(()),
            }
        }
    }

    /// Refreshes a session in so many tabs at the same time; the newest answer stays in the jar.
    async fn refresh(&mut self, index: usize, tabs: usize, purpose: Purpose) -> Result<()> {
        let session = self.sessions.get(index).context("there is no such session")?;
        let jar = Arc::new(Jar::default());
        let mut all = JoinSet::new();
        // All at once, or one after another as they wake up.
        let in_step = self.habits.tabs_in_step;
        let spread = if self.rng.chance(500) && !in_step { SPREAD_MILLIS } else { 0 };
        for number in 0..tabs {
            let tab = Tab {
                begins_after: self.rng.millis(0, if number == 0 { 0 } else { spread }),
                api: Arc::clone(&self.api),
                asker: self.asker(session.login, purpose),
                grant: session.grant.clone(),
                rng: Rng::new(self.rng.next()),
                jar: Arc::clone(&jar),
                jar_after: if in_step { Duration::ZERO } else { JAR_AFTER },
            };
            all.spawn(tab.refresh());
        }
        let mut newest: Option<Grant> = None;
        let mut refused = false;
        while let Some(tab) = all.join_next().await {
            match tab?? {
                Refreshed::As(grant) => {
                    // Equal generations are equal tokens; were they not, either may stay.
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
                Refreshed::ElsewhereOrNot => {}
                Refreshed::Refused => refused = true,
            }
        }
        match newest {
            Some(grant) => {
                if let Some(session) = self.sessions.get_mut(index) {
                    session.grant = grant;
                }
            }
            // The page would send its visitor to the sign-in.
            None if refused => drop(self.sessions.swap_remove(index)),
            None => {}
        }
        Ok(())
    }

    async fn me(&mut self, index: usize) -> Result<()> {
        let session = self.sessions.get(index).context("there is no such session")?;
        let replica = self.rng.index(self.api.replicas());
        let asker = self.asker(session.login, Purpose::Usual);
        self.api.me(asker, replica, &session.grant).await.map(drop)
    }

    /// Logs out until that is acknowledged, and sees whether it holds.
    async fn log_out(&mut self, index: usize) -> Result<()> {
        let Session { login, grant } = self.sessions.swap_remove(index);
        let by_refresh = self.rng.chance(500);
        let asker = self.asker(login, Purpose::Usual);
        let mut patience = Patience::new(self.rng.next(), PERSISTENCE);
        loop {
            let replica = self.rng.index(self.api.replicas());
            match self.api.log_out(asker, replica, &grant, by_refresh).await? {
                Outcome::Done | Outcome::Granted(_) => break,
                Outcome::Unknown if patience.lasts().await => {}
                Outcome::Unknown | Outcome::Refused => return Ok(()),
            }
        }
        let asker = self.asker(login, Purpose::Probe);
        for probe in 0..2 {
            let replica = self.rng.index(self.api.replicas());
            if probe == 0 {
                self.api.refresh(asker, replica, &grant).await?;
            } else {
                self.api.me(asker, replica, &grant).await?;
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

/// What the tabs of a page know of each other.
#[derive(Default)]
struct Jar {
    filled: std::sync::OnceLock<Instant>,
}

impl Jar {
    fn is_filled_for(&self, span: Duration) -> bool {
        self.filled.get().is_some_and(|filled| filled.elapsed() >= span)
    }
}

struct Tab {
    begins_after: Duration,
    api: Arc<Api>,
    asker: Asker,
    grant: Grant,
    rng: Rng,
    jar: Arc<Jar>,
    jar_after: Duration,
}

enum Refreshed {
    As(Box<Grant>),
    /// Another tab was answered meanwhile, or patience ran out.
    ElsewhereOrNot,
    Refused,
}

impl Tab {
    /// Presents the same token until the outcome is known.
    async fn refresh(mut self) -> Result<Refreshed> {
        let persistence = match self.asker.purpose {
            Purpose::Last => LAST_PERSISTENCE,
            Purpose::Usual | Purpose::Probe => PERSISTENCE,
        };
        let mut patience = Patience::new(self.rng.next(), persistence);
        sleep(self.begins_after).await;
        loop {
            let replica = self.rng.index(self.api.replicas());
            match self.api.refresh(self.asker, replica, &self.grant).await? {
                Outcome::Granted(grant) => {
                    let _ = self.jar.filled.set(Instant::now());
                    return Ok(Refreshed::As(grant));
                }
                Outcome::Unknown => {
                    if !patience.lasts().await || self.jar.is_filled_for(self.jar_after) {
                        return Ok(Refreshed::ElsewhereOrNot);
                    }
                }
                Outcome::Done | Outcome::Refused => return Ok(Refreshed::Refused),
            }
        }
    }
}

/// Waits longer and longer between attempts, and not for ever.
struct Patience {
    rng: Rng,
    begun: Instant,
    limit: Duration,
    attempts: u32,
}

impl Patience {
    fn new(seed: u64, limit: Duration) -> Self {
        Self { rng: Rng::new(seed), begun: Instant::now(), limit, attempts: 0 }
    }

    /// Waits for the next attempt; false if there is to be none.
    async fn lasts(&mut self) -> bool {
        if self.begun.elapsed() >= self.limit {
            return false;
        }
        let longest = 50_u64 << self.attempts.min(4);
        self.attempts += 1;
        sleep(self.rng.millis(longest / 2, longest)).await;
        true
    }
}
