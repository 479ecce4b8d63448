//! `[server]`, `[ops]` and `[log]`: the process and its two listeners.

use mintgate_config_reader::{Invalid, Section, invalid, key};
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

use mintgate_tls::PairFiles;

use super::providers::sentence;
use crate::rules;
use crate::types::{LogFormat, LogSettings, OpsSettings, ServerSettings};

const CERT_FILE: &str = "tls_cert_file";
const KEY_FILE: &str = "tls_key_file";
const CLIENT_CA_FILE: &str = "client_ca_file";

/// Reads the section `[server]`. The text is the public URL as it is configured, which our issuer keeps.
/// `reads_files` says whether the certificate is to be read: a command that starts no listener may lack the
/// right to.
pub(crate) fn server(s: &mut Section<'_>, reads_files: bool) -> Option<(ServerSettings, String)> {
    let listen = s.text(
        key("listen", "The IP address and port that the public listener binds.")
            .default("127.0.0.1:8080"),
        "IP address and port",
        rules::listen_address,
    );
    let speaks_tls = s.is_given(CERT_FILE) || s.is_given(KEY_FILE);
    let scheme = if speaks_tls { "https" } else { "http" };
    let local = listen.filter(|l| l.ip().is_loopback()).map(|l| format!("{scheme}://{l}"));
    let given = s.is_given("public_url");
    if listen.is_some() && local.is_none() && !given {
        s.missing(
            "public_url",
            "add public_url = \"https://…\", the address clients reach this server by; \
             only on a loopback address it can be left out",
        );
    }
    let public_url = s.text(
        key(
            "public_url",
            "The server's address as clients see it: scheme, host and port, and a path if a proxy \
             serves Mintgate below one. It is `https`, or `http` on a loopback host. Requests are \
             answered with the path and without it. Pages of its origin need no entry in \
             `cors.allowed_origins`.",
        )
        .default_from(
            "`http://`, or `https://` with TLS, and `listen`, if that is a loopback address",
            local,
        ),
        "URL",
        rules::server_url,
    );
    if speaks_tls && public_url.as_ref().is_some_and(|(_, url)| url.scheme() == "http") {
        let problem =
            format!("This is http, and clients reach the listener by https ({CERT_FILE}).");
        s.reject("public_url", invalid(problem, "write https:// instead"));
    }
    let tls = tls_files(s, reads_files, HttpVersions::Both);
    let trusted_proxies = s.list(
        key(
            "trusted_proxies",
            "The networks of reverse proxies, in CIDR form. Mintgate believes `X-Forwarded-For`, and \
             `Forwarded` where there is no `X-Forwarded-For`, from these peers alone.",
        )
        .default([]),
        "list of CIDRs",
        network,
    );
    let workers = s.number(
        key(
            "workers",
            "The number of worker threads of the public listener. 0 means one for each core.",
        )
        .default(0),
        0..=1024,
    );
    let drain = s.seconds(
        key(
            "drain_secs",
            "How long the public listener still accepts connections after SIGTERM, in seconds. The readiness check \
             fails at once, and each connection is closed behind an answer (`Connection: close`). Set it to longer than the \
             load balancer takes to stop sending requests here. Requests in flight then have 10 s to finish, so \
             whoever ends the process must wait 10 s longer than this. A second SIGTERM or SIGINT ends the process \
             at once.",
        )
        .default(0),
        0..=900,
    );
    let (text, public_url) = public_url?;
    let settings = ServerSettings {
        listen: listen?,
        public_url,
        trusted_proxies: trusted_proxies?,
        workers: workers? as usize,
        drain: drain?,
        tls,
    };
    Some((settings, text))
}

/// Reads where the certificate and the private key of a listener are; `None` if it speaks no TLS, or if a
/// mistake was reported. `versions` are those of HTTP that it speaks.
fn tls_files(s: &mut Section<'_>, reads_them: bool, versions: HttpVersions) -> Option<PairFiles> {
    let given = (s.is_given(CERT_FILE), s.is_given(KEY_FILE));
    let certificates = s.text(
        key(
            CERT_FILE,
            match versions {
                HttpVersions::Both => {
                    "The path of a file with the listener's certificate in PEM form, and behind it those of \
                     the authorities between it and the root. With it, the listener speaks TLS 1.2 and 1.3, \
                     HTTP/2 and HTTP/1.1. Both files are read again on `mintgate reload`, and when they \
                     change; a pair that does not fit is not taken over."
                }
                HttpVersions::First => {
                    "The path of a file with the listener's certificate in PEM form, and behind it those of \
                     the authorities between it and the root. With it, the listener speaks TLS 1.2 and 1.3, \
                     and HTTP/1.1. All files of the listener are read again on `mintgate reload`, and when \
                     they change; what does not fit is not taken over."
                }
            },
        ),
        "path",
        rules::non_empty,
    );
    let key_file = s.text(
        key(
            KEY_FILE,
            "The path of a file with the private key of the certificate in PEM form, not encrypted.",
        ),
        "path",
        rules::non_empty,
    );
    let client_authorities = match versions {
        HttpVersions::Both => None,
        HttpVersions::First => client_authorities(s, given.0 || given.1),
    };
    let files = match given {
        (false, false) => return None,
        (true, false) => {
            s.missing(KEY_FILE, "add the path of the certificate's private key");
            return None;
        }
        (false, true) => {
            s.missing(CERT_FILE, "add the path of the certificate of this private key");
            return None;
        }
        (true, true) => PairFiles {
            certificates: certificates?.into(),
            key: key_file?.into(),
            client_authorities,
            http2: versions == HttpVersions::Both,
        },
    };
    if reads_them && let Err(error) = files.read() {
        let name = match &error {
            error if error.is_about_key() => KEY_FILE,
            error if error.is_about_authorities() => CLIENT_CA_FILE,
            _ => CERT_FILE,
        };
        let fix =
            "name files that this user may read, with certificates and the private key in PEM form";
        s.reject(name, invalid(sentence(&error), fix));
        return None;
    }
    Some(files)
}

/// The versions of HTTP that a listener speaks over TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HttpVersions {
    /// HTTP/1.1.
    First,
    /// HTTP/1.1 and HTTP/2.
    Both,
}

fn client_authorities(s: &mut Section<'_>, speaks_tls: bool) -> Option<PathBuf> {
    let is_given = s.is_given(CLIENT_CA_FILE);
    let file = s.text(
        key(
            CLIENT_CA_FILE,
            "The path of a file with the certificates, in PEM form, of the authorities that sign client \
             certificates of operators. Whoever shows such a certificate may use the console and the admin API \
             without a token of `[[admin.tokens]]`; the audit log has the name in it (common name, or else first \
             alternative name). Metrics and health need none. Let such an authority sign for operators alone.",
        ),
        "path",
        rules::non_empty,
    );
    if is_given && !speaks_tls {
        let fix = "add tls_cert_file and tls_key_file: only over TLS is a client certificate shown";
        s.reject(CLIENT_CA_FILE, invalid("The listener speaks no TLS.", fix));
    }
    file.map(PathBuf::from)
}

/// Reads the section `[ops]`. `reads_files` says whether the certificate is to be read.
pub(crate) fn ops(
    s: &mut Section<'_>,
    public: Option<SocketAddr>,
    reads_files: bool,
) -> Option<OpsSettings> {
    let listen = s.text(
        key(
            "listen",
            "The IP address and port of the operations listener, which serves metrics and health, and the \
             console and the admin API. It must differ from `server.listen`.",
        )
        .default("127.0.0.1:9464"),
        "IP address and port",
        rules::listen_address,
    );
    if let (Some(ops), Some(public)) = (listen, public)
        && collide(ops, public)
    {
        let problem = format!("server.listen has this address already ({public}).");
        s.reject("listen", invalid(problem, "choose another port for one of them"));
    }
    let tls = tls_files(s, reads_files, HttpVersions::First);
    let certificates_may_write = s.choice(
        key(
            "client_cert_scope",
            "What the client certificates by `client_ca_file` are good for. `read`: look at people and sessions. \
             `write`: change and delete them too.",
        )
        .default("read"),
        &[("read", false), ("write", true)],
    );
    let certificates_may_write = certificates_may_write?;
    Some(OpsSettings { listen: listen?, tls, certificates_may_write })
}

/// Whether two sockets cannot both be bound. Port 0 stands for any free port.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && overlap
}

/// Reads the section `[log]`.
pub(crate) fn log(s: &mut Section<'_>) -> Option<LogSettings> {
    let format = s.choice(
        key("format", "`json`: each line is a JSON object. `pretty`: lines are texts for people.")
            .default("json"),
        &[("json", LogFormat::Json), ("pretty", LogFormat::Pretty)],
    );
    let filter = s.text(
        key(
            "filter",
            "Which lines are written: a level (`error`, `warn`, `info`, `debug`, `trace`), or levels by \
             module such as `mintgate=debug,info`.",
        )
        .default("info,actix_server=warn,actix_http=off"),
        "filter",
        |text| match EnvFilter::builder().parse(text) {
            Ok(_) => rules::non_empty(text),
            Err(e) => Err(invalid(
                format!("This is not a filter: {e}."),
                "write a level (error, warn, info, debug, trace), or module=level pairs with \
                 commas between them",
            )),
        },
    );
    Some(LogSettings { format: format?, filter: filter? })
}

pub(super) fn network(text: &str) -> Result<IpNet, Invalid> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        let fix = format!("write \"{}\" for this one address", IpNet::from(address));
        return Err(invalid("This is an address, not a network.", fix));
    }
    let net: IpNet = text.parse().map_err(|_| {
        let fix = "write for example \"10.0.0.0/8\" or \"fd00::/8\"";
        invalid("This is not a network in CIDR form.", fix)
    })?;
    if net.trunc() != net {
        let problem = "This network has bits set beyond its prefix.";
        return Err(invalid(problem, format!("write \"{}\"", net.trunc())));
    }
    Ok(net)
}
