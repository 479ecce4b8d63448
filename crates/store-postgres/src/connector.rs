//! Makes connections: address, TLS and the limits every connection has.

use std::fmt;
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use mintgate_domain::{Cause, SecretText};
use postgres_openssl::MakeTlsConnector;
use tokio::time::timeout;
use tokio_postgres::{Config, NoTls};

use crate::config::{InvalidPgConfig, PgConfig};
use crate::tls::TlsMode;

/// A connection that idles is probed, so that a firewall that forgot it is noticed.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// How long a migration waits: for another replica that migrates, before it begins.
const MIGRATION_LOCK_TIMEOUT: Duration = Duration::from_mins(1);

/// The address of the database and how to speak to it.
#[derive(Clone)]
pub(crate) struct Connector {
    config: Config,
    tls: Option<MakeTlsConnector>,
    connect_timeout: Duration,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector([redacted])")
    }
}

impl Connector {
    pub(crate) fn new(settings: &PgConfig) -> Result<Self, InvalidPgConfig> {
        let url = ConnectionUrl::parse(&settings.url)?;
        let mut config: Config = url.rest.expose().parse().map_err(|_| unreadable())?;
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
        let tls = url.tls_mode.connector(url.root_certificate.as_deref())?;
        let connector = Self { config, tls, connect_timeout: settings.connect_timeout };
        // Half of the time for a lock, so that the log says it was a lock.
        Ok(connector.limited(settings.statement_timeout, settings.statement_timeout / 2))
    }

    /// The same connector without a statement timeout, for migrations.
    pub(crate) fn for_migrations(&self) -> Self {
        self.clone().limited(Duration::ZERO, MIGRATION_LOCK_TIMEOUT)
    }

    /// Has the server itself keep the limits, and the isolation level that the statements are
    /// written for. The last setting of a name counts.
    fn limited(mut self, statement_timeout: Duration, lock_timeout: Duration) -> Self {
        let given = self.config.get_options().unwrap_or_default().to_owned();
        self.config.options(format!(
            "{given} -c statement_timeout={} -c lock_timeout={} \
             -c default_transaction_isolation=read\\ committed",
            statement_timeout.as_millis(),
            lock_timeout.as_millis()
        ));
        self
    }

    /// Makes a connection within the connect timeout, name resolution and TLS included.
    ///
    /// # Errors
    /// Why there is none; holds no password and no value of a row.
    pub(crate) async fn establish(&self) -> Result<AsyncPgConnection, Cause> {
        timeout(self.connect_timeout, self.establish_unbounded()).await.unwrap_or_else(|_| {
            let millis = self.connect_timeout.as_millis();
            Err(Cause::new(format!("the server did not answer within {millis} ms")))
        })
    }

    async fn establish_unbounded(&self) -> Result<AsyncPgConnection, Cause> {
        let refused = |e| Cause::from_error("the connection is refused", e);
        let made = match &self.tls {
            None => {
                let (client, connection) = self.config.connect(NoTls).await.map_err(refused)?;
                AsyncPgConnection::try_from_client_and_connection(client, connection).await
            }
            Some(tls) => {
                let connected = self.config.connect(tls.clone()).await;
                let (client, connection) = connected.map_err(refused)?;
                AsyncPgConnection::try_from_client_and_connection(client, connection).await
            }
        };
        made.map_err(|e| Cause::from_error("the connection cannot be set up", e))
    }
}

/// An address apart from what tokio-postgres does not understand.
struct ConnectionUrl {
    rest: SecretText,
    tls_mode: TlsMode,
    root_certificate: Option<String>,
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
        let mut root_certificate = None;
        let mut others = Vec::new();
        for parameter in query.split('&').filter(|p| !p.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", mode)) => tls_mode = TlsMode::parse(mode)?,
                Some(("sslrootcert", file)) => root_certificate = Some(percent_decoded(file)?),
                _ => others.push(parameter),
            }
        }
        let rest = SecretText::new(format!("{base}?{}", others.join("&")));
        Ok(Self { rest, tls_mode, root_certificate })
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
         percent-encoded, followed by no parameters but those of tokio-postgres, sslmode and \
         sslrootcert"
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
        assert_eq!(made.config.get_password(), Some(b"hunter?2?sslmode=".as_slice()));
        assert!(!format!("{made:?}").contains("hunter"));
        for broken in ["postgres://u:hunter2@h:port/d", "mysql://u:hunter2@h/d", "hunter2"] {
            let error = connector(broken).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn limits_come_after_the_options_of_the_address() {
        let made = connector("postgres://u@h/d?options=-c%20statement_timeout%3D0").unwrap();
        let options = made.config.get_options().unwrap();
        assert!(options.starts_with("-c statement_timeout=0 -c statement_timeout=5000"));
    }

    #[test]
    fn a_root_certificate_that_cannot_be_used_is_an_error_at_the_start() {
        let missing = connector("postgres://u@h/d?sslmode=verify-full&sslrootcert=/no/such%20file");
        let error = missing.unwrap_err().to_string();
        assert!(error.contains("sslrootcert") && error.contains("/no/such file"), "{error}");
    }
}
