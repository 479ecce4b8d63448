//! `cargo xtask foreign`: the service with providers that are not written here, each fetched on its first
//! run. They need the network, and each its own language, so `cargo xtask test` does not run them.

mod browser;
mod canaille;
mod django_oauth_toolkit;
mod fetch;
mod idpyoidc;
mod keycloak;
mod oidc_provider;
mod pyop;
mod sample;
mod site;
mod spring;
mod zitadel;

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use tokio::time::Instant;

use crate::process::tail;
use crate::rig::{Binaries, REDIRECT_URI, Service, listeners};
use crate::say;

/// How long fetching and building a provider may take.
const FETCH_LIMIT: Duration = Duration::from_mins(10);
/// How long a provider may take to start.
const START_LIMIT: Duration = Duration::from_mins(5);
const PASSWORD: &str = "correct horse battery staple";
/// Where a provider sends the browser after a sign-out.
const AFTER_LOGOUT: &str = "https://app.example.com/goodbye";

#[derive(Args)]
pub(crate) struct Options {
    /// The providers, one after the other
    #[arg(required = true)]
    names: Vec<Name>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// Keycloak: needs Java 17
    Keycloak,
    /// oidc-provider: needs Node.js and npm
    OidcProvider,
    /// Spring Authorization Server: needs a JDK 17 and Maven
    Spring,
    /// zitadel/oidc: needs Go
    Zitadel,
    /// django-oauth-toolkit: needs Python
    DjangoOauthToolkit,
    /// idpyoidc: needs Python
    Idpyoidc,
    /// Canaille: needs Python
    Canaille,
    /// pyop: needs Python
    Pyop,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let binaries = Binaries::build().await?;
    let mut failed = Vec::new();
    for name in &options.names {
        let value = name.to_possible_value().context("a name")?;
        let called = value.get_name();
        say::line(&format!("foreign: {called}"));
        let ran = match name {
            Name::Keycloak => keycloak::run(&binaries).await,
            Name::OidcProvider => oidc_provider::SAMPLE.run(&binaries).await,
            Name::Spring => spring::SAMPLE.run(&binaries).await,
            Name::Zitadel => zitadel::SAMPLE.run(&binaries).await,
            Name::DjangoOauthToolkit => django_oauth_toolkit::SAMPLE.run(&binaries).await,
            Name::Idpyoidc => idpyoidc::SAMPLE.run(&binaries).await,
            Name::Canaille => canaille::SAMPLE.run(&binaries).await,
            Name::Pyop => pyop::SAMPLE.run(&binaries).await,
        };
        if let Err(error) = ran {
            say::error(&format!("{called}: {error:#}"));
            failed.push(called.to_owned());
        }
    }
    if !failed.is_empty() {
        bail!("it failed with {}", failed.join(", "));
    }
    say::line(&format!("foreign: ok ({} providers)", options.names.len()));
    Ok(())
}

/// A service that asks the provider again at each refresh a second after the last; `lines` says who the
/// provider is.
fn configure(
    binaries: &Binaries,
    dir: &Path,
    addresses @ [public, _]: [SocketAddr; 2],
    id: &str,
    lines: &str,
) -> Result<Service> {
    let config = listeners(addresses, &format!("http://{public}"))
        + &format!(
            "[store]\nurl = \"sqlite://mintgate.db\"\n\n\
             [keys]\ndir = \"keys\"\nencryption_key = \"{}\"\n\n\
             [[providers]]\nid = \"{id}\"\n{lines}\
             redirect_uris = [\"{REDIRECT_URI}\"]\npost_logout_redirect_uris = [\"{AFTER_LOGOUT}\"]\n\
             recheck_secs = 1\n",
            "0f".repeat(32),
        );
    Service::configure("mintgate", &binaries.service, dir, &config, addresses)
}

async fn step<T>(name: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let started = Instant::now();
    let done = work.await.with_context(|| format!("step “{name}”"));
    let mark = if done.is_ok() { "✓" } else { "✗" };
    say::line(&format!("  {mark} {name}, {} ms", started.elapsed().as_millis()));
    done
}

/// Prints the ends of the logs if it failed.
fn explained(walked: Result<()>, service: &Service, provider: &str) -> Result<()> {
    if walked.is_err() {
        for (whose, log) in [("the service", service.log().as_str()), ("the provider", provider)] {
            say::error(&format!("--- the end of the log of {whose}\n{}", tail(log)));
        }
    }
    walked
}
