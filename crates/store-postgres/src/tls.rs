//! TLS to the database, with libpq's modes.

use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslVerifyMode};
use postgres_openssl::MakeTlsConnector;
use tokio_postgres::config::SslMode;

use crate::config::InvalidPgConfig;

/// The files of certificates, in PEM.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    /// The authorities that the server's certificate may come from; `system` for those of the system.
    pub(crate) root: Option<String>,
    /// The certificate that is shown to the server, with the chain it needs.
    pub(crate) own: Option<String>,
    /// The private key of that certificate.
    pub(crate) own_key: Option<String>,
}

/// How far the server's certificate is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsMode {
    /// The connection never uses TLS.
    Disable,
    /// The connection uses TLS if the server offers it, and does not check the certificate.
    Prefer,
    /// Always TLS; the certificate is checked only if there is a root certificate to check it with.
    Require,
    /// The certificate must come from a trusted authority.
    VerifyCa,
    /// As `verify-ca`, and the certificate must be for the host that is connected to.
    VerifyFull,
}

impl TlsMode {
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidPgConfig> {
        match text {
            "disable" => Ok(Self::Disable),
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-ca" => Ok(Self::VerifyCa),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err(InvalidPgConfig(
                "sslmode must be disable, prefer, require, verify-ca or verify-full".to_owned(),
            )),
        }
    }

    /// What tokio-postgres has to know: whether to ask for TLS, and whether to go on without.
    pub(crate) fn negotiation(self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => SslMode::Require,
        }
    }

    /// The TLS side of a connection; `None` where there is none.
    pub(crate) fn connector(
        self,
        certificates: &Certificates,
    ) -> Result<Option<MakeTlsConnector>, InvalidPgConfig> {
        let root_certificate = certificates.root.as_deref();
        // libpq: a root certificate makes `require` check it.
        let mode = match self {
            Self::Disable if certificates.own.is_some() => {
                let text = "sslcert is shown over TLS alone; sslmode must not be disable";
                return Err(InvalidPgConfig(text.to_owned()));
            }
            Self::Disable => return Ok(None),
            Self::Require if root_certificate.is_some() => Self::VerifyCa,
            other => other,
        };
        let mut builder =
            SslConnector::builder(SslMethod::tls_client()).map_err(|e| unusable(&e))?;
        if matches!(mode, Self::VerifyCa | Self::VerifyFull) {
            trust(&mut builder, root_certificate)?;
        } else {
            builder.set_verify(SslVerifyMode::NONE);
        }
        identify(&mut builder, certificates)?;
        let mut connector = MakeTlsConnector::new(builder.build());
        connector.set_callback(move |connection, _| {
            connection.set_verify_hostname(mode == Self::VerifyFull);
            Ok(())
        });
        Ok(Some(connector))
    }
}

/// Shows the server a certificate, if there is one.
fn identify(
    builder: &mut openssl::ssl::SslConnectorBuilder,
    certificates: &Certificates,
) -> Result<(), InvalidPgConfig> {
    let (certificate, key) = match (&certificates.own, &certificates.own_key) {
        (None, None) => return Ok(()),
        (Some(certificate), Some(key)) => (certificate, key),
        _ => return Err(InvalidPgConfig("sslcert and sslkey belong together".to_owned())),
    };
    let unreadable = |name: &str, file: &str, error: &ErrorStack| {
        InvalidPgConfig(format!("{name} {file} cannot be used: {error}"))
    };
    builder
        .set_certificate_chain_file(certificate)
        .map_err(|e| unreadable("sslcert", certificate, &e))?;
    builder
        .set_private_key_file(key, SslFiletype::PEM)
        .map_err(|e| unreadable("sslkey", key, &e))?;
    builder.check_private_key().map_err(|e| unreadable("sslkey", key, &e))
}

/// Trusts the given certificate alone, or else the system's authorities: an OpenSSL that is built
/// into the program does not know where this system keeps them.
fn trust(
    builder: &mut openssl::ssl::SslConnectorBuilder,
    root_certificate: Option<&str>,
) -> Result<(), InvalidPgConfig> {
    if let Some(file) = root_certificate.filter(|file| *file != "system") {
        let mut store = openssl::x509::store::X509StoreBuilder::new().map_err(|e| unusable(&e))?;
        let pem = std::fs::read(file)
            .map_err(|e| InvalidPgConfig(format!("sslrootcert {file} cannot be read: {e}")))?;
        let certificates = openssl::x509::X509::stack_from_pem(&pem).map_err(|e| unusable(&e))?;
        if certificates.is_empty() {
            return Err(InvalidPgConfig(format!("sslrootcert {file} holds no certificate")));
        }
        for certificate in certificates {
            store.add_cert(certificate).map_err(|e| unusable(&e))?;
        }
        builder.set_cert_store(store.build());
        return Ok(());
    }
    let system = openssl_probe::probe();
    let directory = system.cert_dir.first().map(std::path::PathBuf::as_path);
    if system.cert_file.is_some() || directory.is_some() {
        builder
            .load_verify_locations(system.cert_file.as_deref(), directory)
            .map_err(|e| unusable(&e))?;
    }
    Ok(())
}

fn unusable(error: &ErrorStack) -> InvalidPgConfig {
    InvalidPgConfig(format!("TLS cannot be set up: {error}"))
}
