//! The mock provider as a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use mintgate_mock_idp::{ClientKey, Dialect, IdTokenAlg, MockClient, MockConfig, MockIdp};
use tokio::signal::unix::{SignalKind, signal};

/// A small real OpenID provider for development. Anyone may sign in as anyone.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// The issuer; http://ADDRESS of the listener if absent.
    #[arg(long)]
    issuer: Option<String>,
    /// The id of the client.
    #[arg(long)]
    client_id: Option<String>,
    /// The secret of the client; empty for a public client.
    #[arg(long)]
    client_secret: Option<String>,
    /// A redirect URI of the client, instead of the default ones; may be repeated.
    #[arg(long)]
    redirect_uri: Vec<String>,
    /// Serve the endpoints under /control, which set faults and issue codes and tokens.
    #[arg(long)]
    control: bool,
    /// The provider to behave like.
    #[arg(long, default_value_t, value_parser = dialect())]
    dialect: Dialect,
    /// A file with the public key of the client, as PEM or JWK, for `private_key_jwt` and for the
    /// client secrets of the dialect apple.
    #[arg(long)]
    client_key: Option<PathBuf>,
    /// The algorithm of that key: RS256, PS256, ES256 or EdDSA.
    #[arg(long, default_value = "ES256")]
    client_key_alg: IdTokenAlg,
    /// The `kid` that the client must name for that key.
    #[arg(long)]
    client_key_id: Option<String>,
    /// The team at Apple, which is the issuer of client secrets.
    #[arg(long)]
    team_id: Option<String>,
    /// Whether authorization responses carry `iss`; as the dialect does if absent.
    #[arg(long)]
    iss_parameter: Option<bool>,
}

/// Reads the name of a dialect; `--help` lists the names.
fn dialect() -> impl TypedValueParser<Value = Dialect> {
    PossibleValuesParser::new(Dialect::ALL.map(Dialect::name)).try_map(|name| name.parse())
}

impl Arguments {
    fn into_config(self) -> anyhow::Result<MockConfig> {
        let defaults = MockConfig::default();
        let clients = defaults.clients.into_iter().map(|client| MockClient {
            id: self.client_id.clone().unwrap_or(client.id),
            secret: self.client_secret.clone().or(client.secret).filter(|it| !it.is_empty()),
            redirect_uris: if self.redirect_uri.is_empty() {
                client.redirect_uris
            } else {
                self.redirect_uri.clone()
            },
        });
        let clients: Vec<_> = clients.collect();
        let mut client_keys = Vec::new();
        if let (Some(path), Some(client)) = (&self.client_key, clients.first()) {
            let public_key = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            client_keys.push(ClientKey {
                kid: self.client_key_id,
                team_id: self.team_id,
                ..ClientKey::new(&client.id, &public_key, self.client_key_alg)
            });
        }
        Ok(MockConfig {
            clients,
            listen: self.listen,
            issuer: self.issuer,
            control: self.control,
            dialect: self.dialect,
            client_keys,
            iss_parameter: self.iss_parameter,
            ..MockConfig::default()
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let config = Arguments::parse().into_config()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let idp = MockIdp::start(config).await?;
    announce(idp.issuer());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    idp.stop().await;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the process that started the mock waits for this line")]
fn announce(issuer: &str) {
    println!("mock identity provider: {issuer}");
}
