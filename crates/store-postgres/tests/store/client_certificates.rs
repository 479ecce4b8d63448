//! A real Postgres that knows its users by their certificates.

use std::time::Duration;

use mintgate_domain::chain;
use mintgate_domain::ports::{StoreError, StoreHealth};
use openssl::x509::X509;

use crate::cluster::Cluster;
use crate::harness::{PATIENCE, config, store};
use crate::tls::{Authority, authority, certificate, key};

/// Whoever is called `mintgate` may connect, with TLS and a certificate for this name.
const RULES: &str = "hostssl all mintgate 127.0.0.1/32 cert\n";

/// What a client of this server shows.
impl Cluster {
    /// Makes a certificate for this name; the parameters of an address that shows it.
    fn shown(&self, file: &str, name: &str, by: &Authority) -> String {
        let key = key();
        let certificate: X509 = certificate(name, &key, Some(by));
        let (cert_file, key_file) =
            (self.file(&format!("{file}.crt")), self.file(&format!("{file}.key")));
        std::fs::write(&cert_file, certificate.to_pem().unwrap()).unwrap();
        std::fs::write(&key_file, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        format!("&sslcert={}&sslkey={}", cert_file.display(), key_file.display())
    }

    /// Connects with TLS, the server's own certificate checked, and makes the schema.
    async fn migrate(&self, shown: &str) -> Result<Vec<String>, StoreError> {
        let root = self.file("data/root.crt");
        let (port, root) = (self.port, root.display());
        let url = format!(
            "postgres://mintgate@localhost:{port}/postgres?sslmode=verify-full&sslrootcert={root}{shown}"
        );
        let mut config = config(url);
        config.connect_timeout = Duration::from_secs(5);
        let store = store(&config);
        let done = store.migrate(PATIENCE, &|_| ()).await?;
        store.check().await?;
        Ok(done)
    }
}

/// What the log says of a connection that was refused.
fn refusal(result: Result<Vec<String>, StoreError>) -> String {
    let error = result.expect_err("it is refused");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    chain(&error).to_string()
}

#[tokio::test]
async fn the_server_knows_its_user_by_the_certificate_and_refusals_name_the_setting() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let server_key = key();
    let own: X509 = certificate("localhost", &server_key, Some(&ours));
    let files = [
        ("server.key", server_key.private_key_to_pem_pkcs8().unwrap()),
        ("server.crt", own.to_pem().unwrap()),
        ("root.crt", ours.certificate.to_pem().unwrap()),
        ("pg_hba.conf", RULES.as_bytes().to_vec()),
    ];
    let settings = ["ssl=on", "ssl_ca_file=root.crt"];
    let Some(cluster) = Cluster::start(&files, &settings).await else { return };

    let none = refusal(cluster.migrate("").await);
    assert!(none.contains("no client certificate") && none.contains("sslcert"), "{none}");
    let other = cluster.shown("other", "somebody else", &ours);
    let another_user = refusal(cluster.migrate(&other).await);
    let file = cluster.file("other.crt").display().to_string();
    assert!(another_user.contains(&file), "{another_user}");
    let foreign = cluster.shown("foreign", "mintgate", &theirs);
    let foreign_authority = refusal(cluster.migrate(&foreign).await);
    let file = cluster.file("foreign.crt").display().to_string();
    assert!(foreign_authority.contains(&file), "{foreign_authority}");

    let own = cluster.shown("own", "mintgate", &ours);
    assert!(!cluster.migrate(&own).await.unwrap().is_empty());
    assert_eq!(cluster.migrate(&own).await, Ok(vec![]), "the schema is there");
}
