//! The mock provider as a process of its own.

use std::net::SocketAddr;

use clap::Parser;
use mintgate_mock_idp::{MockClient, MockConfig, MockIdp};
use tokio::signal::unix::{SignalKind, signal};

/// A small real OpenID provider for development. Anyone may sign in as anyone.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// The issuer, if not http://ADDRESS of the listener.
    #[arg(long)]
    issuer: Option<String>,
    /// The client's id.
    #[arg(long)]
    client_id: Option<String>,
    /// The client's secret; empty for a public client.
    #[arg(long)]
    client_secret: Option<String>,
    /// A redirect URI of the client, instead of the default ones; may be repeated.
    #[arg(long)]
    redirect_uri: Vec<String>,
    /// Serve /control/*, which orders faults, codes and tokens.
    #[arg(long)]
    control: bool,
}

impl Arguments {
    fn into_config(self) -> MockConfig {
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
        MockConfig {
            clients: clients.collect(),
            listen: self.listen,
            issuer: self.issuer,
            control: self.control,
            ..MockConfig::default()
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let config = Arguments::parse().into_config();
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

#[expect(clippy::print_stdout, reason = "whoever started it waits for this line")]
fn announce(issuer: &str) {
    println!("mock identity provider: {issuer}");
}
