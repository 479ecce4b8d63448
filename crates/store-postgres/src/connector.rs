//! Makes connections: address, TLS and the limits every connection has.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use diesel::QueryableByName;
use diesel::connection::CacheSize;
use diesel::dsl::sql;
use diesel::sql_types::{Array, Integer};
use diesel_async::{
    AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _,
};
use mintgate_domain::{Cause, SecretText};
use postgres_openssl::MakeTlsConnector;
use tokio::time::timeout;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{Client, Config, Connection, NoTls, SimpleQueryMessage, Socket};

use crate::config::{InvalidPgConfig, PgConfig};
use crate::driver::Driver;
use crate::error::Failure;
use crate::tls::{Certificates, TlsMode};

/// A connection that idles is probed, so that a firewall that forgot it is noticed.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// The address of the database and how to speak to it.
#[derive(Clone)]
pub(crate) struct Connector {
    /// One for each host, in the order they are tried.
    hosts: Vec<Config>,
    tls: Option<MakeTlsConnector>,
    /// The file of the client certificate that is shown, if there is one.
    shows: Option<String>,
    connect_timeout: Duration,
    statement_timeout: Duration,
}

/// A connection that was just made.
pub(crate) struct Established {
    pub(crate) connection: AsyncPgConnection,
    /// The id of the server process that has answered.
    pub(crate) backend: i32,
    pub(crate) driver: Driver,
}

/// A connection without Diesel: its errors have the SQLSTATE, and statements in one text are one message.
pub(crate) struct Plain {
    pub(crate) client: Client,
    /// The id of the server process that has answered.
    pub(crate) backend: i32,
    driver: Driver,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector([redacted])")
    }
}

impl Connector {
    pub(crate) fn new(settings: &PgConfig) -> Result<Self, InvalidPgConfig> {
        let url = ConnectionUrl::parse(&settings.url)?;
        let tls = url.tls_mode.connector(&url.certificates)?;
        let hosts = url.hosts.iter().map(|host| {
            let mut config: Config = host.expose().parse().map_err(|_| unreadable())?;
            if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
                return Err(InvalidPgConfig("the address names no host".to_owned()));
            }
            config.ssl_mode(url.tls_mode.negotiation());
            config.connect_timeout(settings.connect_timeout);
            config.keepalives_idle(KEEPALIVE_IDLE);
            // Where the network swallows what is sent, the kernel gives up as soon as we do.
            config.tcp_user_timeout(settings.connect_timeout + settings.statement_timeout);
            if config.get_application_name().is_none() {
                config.application_name("mintgate");
            }
            Ok(config)
        });
        Ok(Self {
            hosts: hosts.collect::<Result<_, _>>()?,
            tls,
            shows: url.certificates.own,
            connect_timeout: settings.connect_timeout,
            statement_timeout: settings.statement_timeout,
        })
    }

    /// Has the server itself keep the limits for one transaction, or for the session, and the isolation
    /// level that the statements are written for. Half of the time for a lock, so that the log says it
    /// was a lock.
    ///
    /// Not as parameters of the connection's start, which poolers refuse.
    fn limits(&self, scope: &str) -> String {
        let statement = self.statement_timeout.as_millis();
        let lock = (self.statement_timeout / 2).as_millis();
        format!("SET {scope} statement_timeout = {statement}; SET {scope} lock_timeout = {lock}")
    }

    /// How long a migration may wait for a lock: everybody who comes after it waits as well, and gives up after
    /// half of the statement timeout.
    pub(crate) fn brief_lock_timeout(&self) -> Duration {
        (self.statement_timeout / 20).clamp(Duration::from_millis(20), Duration::from_millis(250))
    }

    /// What begins a transaction that is pooled by itself, with its limits.
    pub(crate) fn begin_limited(&self) -> String {
        format!("BEGIN ISOLATION LEVEL READ COMMITTED; {}", self.limits("LOCAL"))
    }

    /// Whether every host of the address is this machine: its Unix sockets, or its loopback addresses,
    /// where a container's port or a tunnel may stand for a server elsewhere.
    pub(crate) fn stays_on_this_machine(&self) -> bool {
        let is_here = |host: &Host| match host {
            Host::Tcp(name) => {
                name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
            }
            Host::Unix(_) => true,
        };
        self.hosts.iter().all(|config| match config.get_hostaddrs() {
            [] => config.get_hosts().iter().all(is_here),
            addresses => addresses.iter().all(IpAddr::is_loopback),
        })
    }

    /// Makes a connection within the connect timeout, name resolution and TLS included. Each host has
    /// an equal share of the time that is left.
    ///
    /// The limits are set for the session, unless it `is_pooled` by transaction: there they would be
    /// set for whoever gets the server process next.
    ///
    /// # Errors
    /// Why there is none; holds no password and no value of a row.
    pub(crate) async fn establish(&self, is_pooled: bool) -> Result<Established, Cause> {
        let Plain { client, backend, driver } = self.begin_at_any_host(is_pooled).await?;
        let set_up = async {
            let mut connection = AsyncPgConnection::try_from(client).await.map_err(not_set_up)?;
            connection.batch_execute("COMMIT").await.map_err(not_set_up)?;
            if is_pooled {
                connection.set_prepared_statement_cache_size(CacheSize::Disabled);
            }
            Ok(Established { connection, backend, driver })
        };
        let silent = |_| no_answer(self.connect_timeout);
        timeout(self.connect_timeout, set_up).await.map_err(silent).flatten()
    }

    /// The same without Diesel, and without limits.
    ///
    /// # Errors
    /// Why there is none; holds no password and no value of a row.
    pub(crate) async fn plain(&self) -> Result<Plain, Cause> {
        let plain = self.begin_at_any_host(true).await?;
        plain.client.batch_execute("COMMIT").await.map_err(not_set_up)?;
        Ok(plain)
    }

    async fn begin_at_any_host(&self, is_pooled: bool) -> Result<Plain, Cause> {
        let mut left = self.connect_timeout;
        let mut failure = Cause::from("the address names no host");
        for (host, untried) in self.hosts.iter().zip((1..=self.hosts.len()).rev()) {
            let share = left / u32::try_from(untried).unwrap_or(u32::MAX);
            let began = tokio::time::Instant::now();
            failure = match timeout(share, self.connect_to(host, is_pooled)).await {
                Ok(Ok(made)) => return Ok(made),
                Ok(Err(failure)) => failure,
                Err(_) => no_answer(share),
            };
            left = left.saturating_sub(began.elapsed());
        }
        Err(failure)
    }

    /// Connects, and begins a transaction that sets the connection up.
    async fn connect_to(&self, host: &Config, is_pooled: bool) -> Result<Plain, Cause> {
        let refused = |e: tokio_postgres::Error| {
            let why = self.about_certificates(&e);
            Cause::from_error(format!("the connection is refused{why}"), e)
        };
        match &self.tls {
            None => {
                let (client, connection) = host.connect(NoTls).await.map_err(refused)?;
                self.set_up(client, connection, is_pooled).await
            }
            Some(tls) => {
                let connected = host.connect(tls.clone()).await;
                let (client, connection) = connected.map_err(refused)?;
                self.set_up(client, connection, is_pooled).await
            }
        }
    }

    /// What an operator has to know besides the server's own words, which do not say what it was shown.
    fn about_certificates(&self, error: &tokio_postgres::Error) -> String {
        let is_about_user = error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
        match &self.shows {
            Some(file) => format!(" (it was shown the client certificate {file}, sslcert)"),
            None if is_about_user => {
                " (it was shown no client certificate; sslcert and sslkey in store.url name one)"
                    .to_owned()
            }
            None => String::new(),
        }
    }

    /// Begins to set a connection up, in one transaction: a pooler may give the next one another server process,
    /// and Diesel prepares statements to set its own options.
    async fn set_up<T>(
        &self,
        client: Client,
        mut connection: Connection<Socket, T>,
        is_pooled: bool,
    ) -> Result<Plain, Cause>
    where
        T: TlsStream + Unpin + Send + 'static,
    {
        let limits = if is_pooled {
            String::new()
        } else {
            let isolation = "SET default_transaction_isolation = 'read committed'";
            format!("{}; {isolation}", self.limits("SESSION"))
        };
        let statements = format!("BEGIN; SELECT pg_backend_pid(); {limits}");
        let began = tokio::select! {
            biased;
            began = client.simple_query(&statements) => began.map_err(not_set_up)?,
            ended = &mut connection => {
                ended.map_err(not_set_up)?;
                return Err("the connection was closed".into());
            }
        };
        let backend = began.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        });
        let backend = backend.ok_or("the server does not say its process id")?;
        Ok(Plain { client, backend, driver: Driver::start(connection) })
    }
}

fn not_set_up(error: impl std::error::Error + Send + Sync + 'static) -> Cause {
    Cause::from_error("the connection cannot be set up", error)
}

fn no_answer(within: Duration) -> Cause {
    Cause::new(format!("the server did not answer within {} ms", within.as_millis()))
}

/// A server process.
#[derive(QueryableByName)]
struct Backend {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

/// Those of these server processes that have not ended.
pub(crate) async fn living_backends(
    connection: &mut AsyncPgConnection,
    pids: Vec<i32>,
) -> Result<Vec<i32>, Failure> {
    let ask = diesel::sql_query("SELECT pid FROM pg_stat_activity WHERE pid = ANY ($1)");
    let living: Vec<Backend> = ask.bind::<Array<Integer>, _>(pids).load(connection).await?;
    Ok(living.into_iter().map(|backend| backend.pid).collect())
}

/// The id of the server process that answers on a connection.
pub(crate) async fn answering_backend(connection: &mut AsyncPgConnection) -> Result<i32, Failure> {
    let backend = diesel::select(sql::<Integer>("pg_backend_pid()"));
    Ok(backend.get_result(connection).await?)
}

/// An address apart from what tokio-postgres does not understand.
struct ConnectionUrl {
    /// The address of each host, whole.
    hosts: Vec<SecretText>,
    tls_mode: TlsMode,
    certificates: Certificates,
}

impl ConnectionUrl {
    fn parse(url: &SecretText) -> Result<Self, InvalidPgConfig> {
        let url = url.expose();
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(unreadable());
        }
        // As tokio-postgres reads it: credentials end at the first @, whatever they hold.
        let after_credentials = url.find('@').unwrap_or_default();
        let query = url[after_credentials..].find('?').map(|at| after_credentials + at);
        let (base, query) = query.map_or((url, ""), |at| (&url[..at], &url[at + 1..]));

        let mut tls_mode = TlsMode::Prefer;
        let mut certificates = Certificates::default();
        let mut others = Vec::new();
        for parameter in query.split('&').filter(|p| !p.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", mode)) => tls_mode = TlsMode::parse(mode)?,
                Some(("sslrootcert", file)) => certificates.root = Some(percent_decoded(file)?),
                Some(("sslcert", file)) => certificates.own = Some(percent_decoded(file)?),
                Some(("sslkey", file)) => certificates.own_key = Some(percent_decoded(file)?),
                _ => others.push(parameter),
            }
        }
        // The hosts stand between the credentials, if there are any, and the database.
        let start = if after_credentials > 0 {
            after_credentials + 1
        } else {
            base.find("://").map_or(0, |at| at + 3)
        };
        let end = base[start..].find('/').map_or(base.len(), |at| start + at);
        let (before, after) = (&base[..start], &base[end..]);
        let hosts = base[start..end].split(',');
        let hosts = hosts.map(|host| format!("{before}{host}{after}?{}", others.join("&")));
        let hosts = hosts.map(SecretText::new).collect();
        Ok(Self { hosts, tls_mode, certificates })
    }
}

fn percent_decoded(text: &str) -> Result<String, InvalidPgConfig> {
    let bytes = percent_encoding::percent_decode_str(text);
    let decoded = bytes.decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| unreadable())
}

/// Says nothing of the text: a part of the password may have been taken for something else.
fn unreadable() -> InvalidPgConfig {
    InvalidPgConfig(
        "the address must be postgres://user:password@host:port/database, reserved characters \
         percent-encoded, followed by no parameters but those of tokio-postgres, sslmode, \
         sslrootcert, sslcert and sslkey"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(url: &str) -> Result<Connector, InvalidPgConfig> {
        Connector::new(&PgConfig {
            url: SecretText::new(url),
            pool_size: 1,
            connect_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(5),
            pooling: crate::config::Pooling::Auto,
        })
    }

    #[test]
    fn every_tls_mode_of_libpq_is_understood_and_others_are_refused() {
        for (mode, tls) in [
            ("disable", false),
            ("prefer", true),
            ("require", true),
            ("verify-ca", true),
            ("verify-full", true),
        ] {
            let made = connector(&format!("postgres://u@h/d?sslmode={mode}&connect_timeout=1"));
            assert_eq!(made.unwrap().tls.is_some(), tls, "{mode}");
        }
        assert!(connector("postgres://u@h/d?sslmode=allow").is_err());
    }

    #[test]
    fn a_password_is_taken_whole_and_never_shown() {
        let made = connector("postgres://u:hunter%3F2?sslmode=@h/d?sslmode=require").unwrap();
        assert_eq!(made.hosts[0].get_password(), Some(b"hunter?2?sslmode=".as_slice()));
        assert!(!format!("{made:?}").contains("hunter"));
        for broken in ["postgres://u:hunter2@h:port/d", "mysql://u:hunter2@h/d", "hunter2"] {
            let error = connector(broken).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn only_loopback_addresses_and_sockets_are_this_machine() {
        for (url, is_here) in [
            ("postgres://u@127.0.0.1/d", true),
            ("postgres://u@127.8.0.1:6432,localhost,[::1]/d", true),
            ("postgres:///d?host=/run/postgresql&user=u", true),
            ("postgres://u@localhost/d?hostaddr=10.0.0.1", false),
            ("postgres://u@127.0.0.1,10.0.0.1/d", false),
            ("postgres://u@localhost.example.com/d", false),
            ("postgres://u@db/d", false),
        ] {
            assert_eq!(connector(url).unwrap().stays_on_this_machine(), is_here, "{url}");
        }
    }

    #[test]
    fn each_host_has_a_configuration_of_its_own() {
        for (url, hosts) in [
            ("postgres://u:p%2C@a,b:6432,[::1]:7/d?sslmode=disable", &["a", "b", "::1"][..]),
            ("postgres://a,b/d", &["a", "b"]),
            ("postgres://u@a", &["a"]),
        ] {
            let made = connector(url).unwrap();
            let named = made.hosts.iter().map(|config| match config.get_hosts() {
                [tokio_postgres::config::Host::Tcp(host)] => host.as_str(),
                hosts => panic!("{hosts:?}"),
            });
            assert_eq!(named.collect::<Vec<_>>(), hosts, "{url}");
        }
        let made = connector("postgres:///d?host=/run/postgresql&user=u").unwrap();
        assert_eq!(made.hosts.len(), 1);
        let ports = connector("postgres://u@a:1,b:2/d").unwrap();
        let ports: Vec<_> = ports.hosts.iter().map(|config| config.get_ports().to_vec()).collect();
        assert_eq!(ports, [[1], [2]]);
    }

    #[test]
    fn a_root_certificate_that_cannot_be_used_is_an_error_at_the_start() {
        let missing = connector("postgres://u@h/d?sslmode=verify-full&sslrootcert=/no/such%20file");
        let error = missing.unwrap_err().to_string();
        assert!(error.contains("sslrootcert") && error.contains("/no/such file"), "{error}");
    }
}
