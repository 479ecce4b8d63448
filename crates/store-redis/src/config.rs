//! Where the sessions are kept, as the configuration says it.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use mintgate_domain::{Cause, SecretText};
use percent_encoding::percent_decode_str;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};
use url::Url;

/// How sessions are kept in Redis.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// The address: `redis://user:password@host:port/database`, or `rediss://` for TLS. With
    /// `?sentinel=NAME`, the hosts are Sentinels, which know the primary of that name; with
    /// `?cluster=true`, they are nodes of a cluster. `ca_file=PATH` names the certificates that the certificate
    /// of one server is checked against, instead of those of the system.
    pub url: SecretText,
    /// The longest that a connection may take to open.
    pub connect_timeout: Duration,
    /// The longest that a call may take; what waits for replicas may take [`wait`](Self::wait) longer.
    pub timeout: Duration,
    /// How many replicas must have confirmed a sign-in or an end before it counts as done.
    pub replicas: u32,
    /// How long replicas may take to confirm.
    pub wait: Duration,
    /// How long an ended session is kept, so that its end can be explained.
    pub keep_ended: Duration,
}

/// The address of the session engine cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("sessions.url cannot be used")]
pub struct UnusableAddress(#[source] pub Cause);

/// A parsed address.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) kind: Kind,
    /// The hosts, in the order of the configuration; at least one.
    pub(crate) hosts: Vec<ConnectionAddr>,
    pub(crate) login: RedisConnectionInfo,
    pub(crate) is_tls: bool,
    pub(crate) ca_file: Option<PathBuf>,
}

/// What listens at the hosts of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One server.
    Server,
    /// Sentinels, which know the primary of this name.
    Sentinel(String),
    /// Nodes of a cluster.
    Cluster,
}

impl Address {
    /// Reads an address.
    pub(crate) fn parse(text: &SecretText) -> Result<Self, UnusableAddress> {
        parse(text.expose()).map_err(|reason| UnusableAddress(reason.into()))
    }

    /// What is needed to connect to one of the hosts.
    pub(crate) fn connection_info(
        &self,
        host: ConnectionAddr,
    ) -> redis::RedisResult<ConnectionInfo> {
        Ok(host.into_connection_info()?.set_redis_settings(self.login.clone()))
    }
}

fn parse(text: &str) -> Result<Address, &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or("it has no scheme; write redis://host")?;
    let is_tls = match scheme {
        "redis" => false,
        "rediss" => true,
        _ => return Err("its scheme is neither redis nor rediss"),
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let hosts = hosts.split(',').map(|host| self::host(host, is_tls));
    let hosts = hosts.collect::<Result<Vec<_>, _>>()?;
    // Several hosts are no URL; the rest of it is one.
    let url = Url::parse(&format!(
        "redis://{login}{}host{path}",
        if login.is_empty() { "" } else { "@" }
    ))
    .map_err(|_| "percent-encode / ? # and @ in the password")?;
    let (mut kind, mut ca_file) = (Kind::Server, None);
    for (name, value) in url.query_pairs() {
        match (&*name, &*value) {
            ("sentinel", value) if !value.is_empty() && kind == Kind::Server => {
                kind = Kind::Sentinel(value.to_owned());
            }
            ("cluster", "true") if kind == Kind::Server => kind = Kind::Cluster,
            ("ca_file", value) if !value.is_empty() && is_tls => ca_file = Some(value.into()),
            _ => {
                return Err(
                    "its options are sentinel=NAME or cluster=true, and with rediss ca_file=PATH",
                );
            }
        }
    }
    if kind != Kind::Server && ca_file.is_some() {
        // The library takes certificates for single servers alone.
        return Err(
            "ca_file is for one server; the certificates of Sentinels and clusters must be the system's",
        );
    }
    if kind == Kind::Server && hosts.len() > 1 {
        return Err(
            "several hosts are Sentinels or nodes of a cluster: add ?sentinel=NAME or ?cluster=true",
        );
    }
    let database = url.path().trim_start_matches('/');
    let database = if database.is_empty() { Some(0) } else { database.parse().ok() };
    let database: i64 = database.ok_or("its path is not the number of a database")?;
    if kind == Kind::Cluster && database != 0 {
        return Err("a cluster has database 0 alone");
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(Cow::into_owned);
    let undecoded = "its user or password is not percent-encoded UTF-8";
    let mut info = RedisConnectionInfo::default().set_db(database);
    if !url.username().is_empty() {
        info = info.set_username(decoded(url.username()).map_err(|_| undecoded)?);
    }
    if let Some(password) = url.password() {
        info = info.set_password(decoded(password).map_err(|_| undecoded)?);
    }
    Ok(Address { kind, hosts, login: info, is_tls, ca_file })
}

fn host(text: &str, is_tls: bool) -> Result<ConnectionAddr, &'static str> {
    const PORT: u16 = 6379;
    let (host, port) = match text.rsplit_once(':') {
        // The colons of an IPv6 address are inside brackets.
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse().map_err(|_| "a port is not a number")?)
        }
        _ => (text, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err("a host is missing");
    }
    Ok(if is_tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Address, &'static str> {
        parse(text)
    }

    #[test]
    fn an_address_names_a_server_sentinels_or_a_cluster() {
        let server = parsed("rediss://ada:p%40ss@redis.example.com/3?ca_file=/etc/ca.pem").unwrap();
        assert_eq!(server.kind, Kind::Server);
        assert_eq!(server.login.db(), 3);
        assert_eq!((server.login.username(), server.login.password()), (Some("ada"), Some("p@ss")));
        assert!(server.is_tls);
        assert_eq!(server.ca_file, Some("/etc/ca.pem".into()));
        let hosts: Vec<_> = server.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["redis.example.com:6379"]);

        let sentinels = parsed("redis://a:26379,[::1]:26380,c/0?sentinel=main").unwrap();
        assert_eq!(sentinels.kind, Kind::Sentinel("main".to_owned()));
        assert_eq!(sentinels.hosts.len(), 3);
        assert_eq!(sentinels.hosts[1], ConnectionAddr::Tcp("::1".to_owned(), 26380));
        let cluster = parsed("redis://:secret@a,b:7000?cluster=true").unwrap();
        assert_eq!(cluster.kind, Kind::Cluster);
        assert_eq!(cluster.login.password(), Some("secret"));
    }

    #[test]
    fn an_address_that_means_nothing_is_refused() {
        for address in [
            "redis.example.com",
            "http://a",
            "redis://",
            "redis://a:port",
            "redis://a,b",
            "redis://a/x",
            "redis://a/1?cluster=true",
            "redis://a?cluster=yes",
            "redis://a?sentinel=",
            "redis://a?sentinel=x&cluster=true",
            "redis://a?ca_file=/x",
            "redis://a?timeout=3",
        ] {
            assert!(parsed(address).is_err(), "{address}");
        }
    }
}
