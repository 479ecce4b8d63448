//! The connections, and what is done when one is no longer right.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use mintgate_domain::Cause;
use mintgate_domain::ports::{PoolState, StoreError};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo, Pipeline, RedisError,
    RedisResult, TlsCertificates, TlsMode, Value,
};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;

use crate::config::{Address, Kind, RedisConfig};
use crate::error::{is_stale, unavailable};

/// How many connections wait for replicas at a time: each is one caller's for as long as it waits.
const WAITING: usize = 4;

/// A connection that many callers use at once, to one server or to each primary of a cluster.
#[derive(Clone)]
pub(crate) enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Server(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    async fn ask_all(&mut self, commands: &Pipeline, count: usize) -> RedisResult<Vec<Value>> {
        match self {
            Self::Server(connection) => connection.req_packed_commands(commands, 0, count).await,
            Self::Cluster(connection) => connection.req_packed_commands(commands, 0, count).await,
        }
    }
}

/// The connection that most calls share, and what came of opening it.
#[derive(Default)]
struct Shared {
    connection: Option<Connection>,
    /// Counts the connections that were opened, so that a stale one is dropped once.
    opened: u64,
    failure: Option<RedisError>,
}

/// The way to the primary, or to the primaries of a cluster.
pub(crate) struct Link {
    address: Address,
    connect_timeout: Duration,
    timeout: Duration,
    replicas: u32,
    wait: Duration,
    shared: Mutex<Shared>,
    /// How many attempts to open the shared connection have ended.
    attempts: AtomicU64,
    calls: AtomicU32,
    waiting: Semaphore,
    /// Open connections that nobody waits on.
    idle: Mutex<Vec<Connection>>,
    open: Arc<AtomicU32>,
}

impl Link {
    pub(crate) fn new(address: Address, config: &RedisConfig) -> Self {
        Self {
            address,
            connect_timeout: config.connect_timeout,
            timeout: config.timeout,
            replicas: config.replicas,
            wait: config.wait,
            shared: Mutex::default(),
            attempts: AtomicU64::new(0),
            calls: AtomicU32::new(0),
            waiting: Semaphore::new(WAITING),
            idle: Mutex::default(),
            open: Arc::default(),
        }
    }

    /// Whether ends and sign-ins wait for replicas.
    pub(crate) fn waits(&self) -> bool {
        self.replicas > 0
    }

    /// The longest that a call may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether the address is that of a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        self.address.kind == Kind::Cluster
    }

    /// Sends a command, whose repetition must be harmless. If the connection turns out stale, the servers are
    /// looked for anew and it is sent once more.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let asked = timeout(self.timeout, self.ask_twice(command)).await;
        self.calls.fetch_sub(1, Ordering::Relaxed);
        if let Ok(answer) = asked {
            return answer;
        }
        // The server, or the way to it, may be gone without a trace.
        self.forget(None).await;
        Err(unavailable_because(format!("Redis did not answer within {:?}", self.timeout)))
    }

    async fn ask_twice<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        for may_repeat in [true, false] {
            let (number, mut connection) = self.connection().await?;
            match connection.ask(command).await {
                Ok(answer) => return Ok(answer),
                Err(error) if is_stale(&error) => {
                    tracing::debug!(%error, "the connection to Redis is replaced");
                    self.forget(Some(number)).await;
                    if !may_repeat {
                        return Err(unavailable(error));
                    }
                }
                Err(error) => return Err(unavailable(error)),
            }
        }
        Err(StoreError::Unavailable("Redis has no connection".into()))
    }

    /// Sends a command to one server, and `WAIT` behind it on the same connection: nothing else can tell that
    /// replicas have what it wrote. Without replicas to wait for, as [`ask`](Self::ask).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if fewer replicas have confirmed it: it is written, and can be lost.
    pub(crate) async fn ask_and_wait(&self, command: &Cmd) -> Result<Value, StoreError> {
        if !self.waits() {
            return self.ask(command).await;
        }
        let limit = self.timeout + self.wait;
        let answered = timeout(limit, self.wait_twice(command)).await;
        answered.unwrap_or_else(|_| {
            Err(unavailable_because(format!(
                "Redis and its replicas did not answer within {limit:?}"
            )))
        })
    }

    async fn wait_twice(&self, command: &Cmd) -> Result<Value, StoreError> {
        let _place = self.waiting.acquire().await.map_err(|_| closed())?;
        let mut commands = Pipeline::new();
        commands.add_command(command.clone());
        commands
            .cmd("WAIT")
            .arg(self.replicas)
            .arg(u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX));
        for may_repeat in [true, false] {
            let idle = self.idle.lock().await.pop();
            let mut connection = match idle {
                Some(connection) => connection,
                None => self.connect().await.map_err(unavailable)?,
            };
            self.open.fetch_add(1, Ordering::Relaxed);
            let answered = connection.ask_all(&commands, 2).await;
            self.open.fetch_sub(1, Ordering::Relaxed);
            match answered.and_then(confirmed) {
                Ok((answer, replicas)) => {
                    self.idle.lock().await.push(connection);
                    if replicas < i64::from(self.replicas) {
                        return Err(unavailable_because(format!(
                            "{replicas} of {} replicas have confirmed the write",
                            self.replicas
                        )));
                    }
                    return Ok(answer);
                }
                Err(error) if is_stale(&error) && may_repeat => {
                    // The others were opened to the same servers.
                    self.idle.lock().await.clear();
                    self.forget(None).await;
                }
                Err(error) => return Err(unavailable(error)),
            }
        }
        Err(closed())
    }

    /// The shared connection with its number. Callers who wait while an attempt to open it fails share the
    /// failure, and do not each try for as long.
    async fn connection(&self) -> Result<(u64, Connection), StoreError> {
        let before = self.attempts.load(Ordering::Acquire);
        let mut shared = self.shared.lock().await;
        if let Some(connection) = &shared.connection {
            return Ok((shared.opened, connection.clone()));
        }
        if let Some(failure) = &shared.failure
            && self.attempts.load(Ordering::Acquire) != before
        {
            return Err(unavailable(failure.clone()));
        }
        let opened = self.connect().await;
        self.attempts.fetch_add(1, Ordering::Release);
        match opened {
            Ok(connection) => {
                shared.opened += 1;
                shared.failure = None;
                shared.connection = Some(connection.clone());
                Ok((shared.opened, connection))
            }
            Err(error) => {
                shared.failure = Some(error.clone());
                Err(unavailable(error))
            }
        }
    }

    /// Drops the shared connection, if it is still the one with this number.
    async fn forget(&self, number: Option<u64>) {
        let mut shared = self.shared.lock().await;
        if number.is_none_or(|number| number == shared.opened) {
            shared.connection = None;
        }
    }

    /// Opens a connection, by the configured names alone: nothing is remembered of where servers were.
    async fn connect(&self) -> RedisResult<Connection> {
        let opening = async {
            match &self.address.kind {
                Kind::Server => self.connect_to_server().await.map(Connection::Server),
                Kind::Sentinel(name) => {
                    self.connect_by_sentinel(name).await.map(Connection::Server)
                }
                Kind::Cluster => self.connect_to_cluster().await.map(Connection::Cluster),
            }
        };
        timeout(self.connect_timeout, opening).await.unwrap_or_else(|_| {
            let error = std::io::Error::new(std::io::ErrorKind::TimedOut, "no connection in time");
            Err(error.into())
        })
    }

    fn config(&self) -> AsyncConnectionConfig {
        // The callers have their own, longer and shorter, and no answer may come late without them.
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(None)
    }

    fn certificates(&self) -> RedisResult<Option<TlsCertificates>> {
        let Some(path) = &self.address.ca_file else { return Ok(None) };
        let root_cert = Some(fs::read(path)?);
        Ok(Some(TlsCertificates { client_tls: None, root_cert }))
    }

    async fn connect_to_server(&self) -> RedisResult<MultiplexedConnection> {
        let Some(host) = self.address.hosts.first() else { return Err(no_host()) };
        let info = self.address.connection_info(host.clone())?;
        let client = match self.certificates()? {
            None => Client::open(info)?,
            Some(certificates) => Client::build_with_tls(info, certificates)?,
        };
        client.get_multiplexed_async_connection_with_config(&self.config()).await
    }

    async fn connect_by_sentinel(&self, name: &str) -> RedisResult<MultiplexedConnection> {
        let hosts = self.address.hosts.iter().cloned();
        let infos = hosts.map(IntoConnectionInfo::into_connection_info);
        let tls = self.address.is_tls.then_some(TlsMode::Secure);
        let mut node = SentinelNodeConnectionInfo::default()
            .set_redis_connection_info(self.address.login.clone());
        if let Some(mode) = tls {
            node = node.set_tls_mode(mode);
        }
        let mut sentinels = SentinelClient::build(
            infos.collect::<RedisResult<Vec<_>>>()?,
            name.to_owned(),
            Some(node),
            SentinelServerType::Master,
        )?;
        sentinels.get_async_connection_with_config(&self.config()).await
    }

    async fn connect_to_cluster(&self) -> RedisResult<ClusterConnection> {
        let hosts = self.address.hosts.iter().cloned();
        let infos = hosts.map(|host| self.address.connection_info(host));
        let mut builder = ClusterClient::builder(infos.collect::<RedisResult<Vec<_>>>()?)
            .connection_timeout(self.connect_timeout)
            .response_timeout(self.timeout + self.wait)
            .retries(3)
            .min_retry_wait(20)
            .max_retry_wait(200);
        if self.address.is_tls {
            builder = builder.tls(TlsMode::Secure);
        }
        builder.build()?.get_async_connection().await
    }

    /// The connections at this moment: the shared one is in use while anybody waits for an answer.
    pub(crate) fn pool_state(&self) -> PoolState {
        let is_open = self.shared.try_lock().is_ok_and(|shared| shared.connection.is_some());
        let is_used = self.calls.load(Ordering::Relaxed) > 0;
        let idle = self.idle.try_lock().map_or(0, |idle| idle.len());
        let idle = u32::try_from(idle).unwrap_or(u32::MAX);
        let waiting = self.open.load(Ordering::Relaxed);
        PoolState {
            idle: idle + u32::from(is_open && !is_used),
            in_use: waiting + u32::from(is_open && is_used),
        }
    }
}

fn unavailable_because(reason: String) -> StoreError {
    StoreError::Unavailable(Cause::new(reason))
}

fn closed() -> StoreError {
    StoreError::Unavailable("Redis has no connection".into())
}

fn no_host() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::InvalidInput, "there is no host").into()
}

/// The answer of a command, and of the `WAIT` behind it.
fn confirmed(answers: Vec<Value>) -> RedisResult<(Value, i64)> {
    let mut answers = answers.into_iter().map(Value::extract_error);
    match (answers.next(), answers.next()) {
        (Some(answer), Some(replicas)) => Ok((answer?, i64::from_redis_value(replicas?)?)),
        _ => {
            Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "answers are missing").into())
        }
    }
}
