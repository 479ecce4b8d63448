//! The operations listener of a running service, as commands on its machine ask it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use mintgate_settings::OpsSettings;
use mintgate_tls::PairFiles;
use reqwest::tls::TlsInfo;
use reqwest::{Client, RequestBuilder, Response, redirect};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often, and after which pause, a listener is asked again that presents another certificate than its file
/// holds: the service looks at the file every 5 s.
const ATTEMPTS: u32 = 24;
const PAUSE: Duration = Duration::from_millis(500);

/// The operations listener at `ops.listen`.
///
/// Over TLS, an answer is believed if the listener presents exactly the certificate in `ops.tls_cert_file`: it
/// need not be for the address that is listened on, nor by an authority that this machine knows. What is sent to
/// it MUST NOT be secret.
pub struct OperationsListener {
    address: SocketAddr,
    tls: Option<PairFiles>,
    client: Client,
}

impl OperationsListener {
    /// The listener of this configuration. A request may take this long.
    ///
    /// # Errors
    /// If no request can be made at all.
    pub fn of(ops: &OpsSettings, timeout: Duration) -> reqwest::Result<Self> {
        let client = Client::builder()
            .user_agent(concat!("mintgate/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            // A connection keeps the certificate that was presented at its beginning.
            .pool_max_idle_per_host(0)
            .tls_info(true)
            // `verify` compares the certificate itself.
            .tls_danger_accept_invalid_certs(ops.tls.is_some())
            .build()?;
        Ok(Self { address: reachable(ops.listen), tls: ops.tls.clone(), client })
    }

    /// The address at which the listener is reached on this machine.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The answer to a request that `make` makes of a client and the origin of the listener.
    ///
    /// # Errors
    /// If there is no answer, or one of something else than this listener.
    pub async fn ask(
        &self,
        make: impl Fn(&Client, &str) -> RequestBuilder,
    ) -> anyhow::Result<Response> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let answer = make(&self.client, &format!("{scheme}://{}", self.address)).send().await;
        let answer = answer.map_err(reqwest::Error::without_url)?;
        if let Some(files) = &self.tls {
            verify(files, &answer)?;
        }
        Ok(answer)
    }

    /// The same as [`ask`](Self::ask); if the listener presents another certificate than its file holds, it is
    /// asked again until it has noticed, for 12 seconds at most.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub async fn ask_patiently(
        &self,
        make: impl Fn(&Client, &str) -> RequestBuilder,
    ) -> anyhow::Result<Response> {
        for _ in 1..ATTEMPTS {
            match self.ask(&make).await {
                Err(error) if error.is::<OtherCertificate>() => tokio::time::sleep(PAUSE).await,
                asked => return asked,
            }
        }
        self.ask(&make).await
    }
}

/// The listener presents another certificate than its file holds.
#[derive(Debug)]
struct OtherCertificate(String);

impl std::error::Error for OtherCertificate {}

impl std::fmt::Display for OtherCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn verify(files: &PairFiles, answer: &Response) -> anyhow::Result<()> {
    let expected = files.certificate().context("ops.tls_cert_file")?;
    let presented = answer.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate);
    if presented == Some(&expected[..]) {
        return Ok(());
    }
    let file = files.certificates.display();
    let why = match files.read() {
        Err(error) => format!(": {error}"),
        Ok(_) => ": is it another service, or one that was started with another configuration?"
            .to_owned(),
    };
    let text =
        format!("it presents another certificate than {file} (ops.tls_cert_file) holds{why}");
    Err(OtherCertificate(text).into())
}

/// The address at which a listener that listens everywhere is reached on its own machine.
pub(crate) fn reachable(mut listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    listen
}
