//! One service with its two providers, on one store.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use mintgate_testkit::free_addresses;

use super::login::Caller;
use super::steps::Steps;
use crate::process::tail;
use crate::rig::{Binaries, Mock, REDIRECT_URI, Service, listeners, provider};
use crate::say;

/// The id of the provider that always works.
pub(super) const PROVIDER: &str = "mock";
/// The id of the provider that is made to hang.
pub(super) const SLOW_PROVIDER: &str = "slow";
/// The timeout for calls to the provider that is made to hang.
pub(super) const SLOW_TIMEOUT: Duration = Duration::from_millis(1500);

pub(super) struct Stage {
    pub(super) mock: Mock,
    pub(super) slow: Mock,
    pub(super) service: Service,
    pub(super) caller: Caller,
    /// The JWKS of the first start.
    pub(super) jwks: String,
}

impl Stage {
    /// Starts two mock providers, migrates the store, and starts the service until it is ready.
    pub(super) async fn set(
        steps: &mut Steps,
        binaries: &Binaries,
        dir: &Path,
        store_url: &str,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut stage = steps
            .step("two mock providers start", async {
                let mock = Mock::start(binaries, dir, "mock-idp").await?;
                let slow = Mock::start(binaries, dir, "mock-idp-slow").await?;
                let service = configure(binaries, dir, store_url, [&mock, &slow])?;
                let caller = Caller::new(&service)?;
                Ok(Self { mock, slow, service, caller, jwks: String::new() })
            })
            .await?;
        steps.step("mintgate migrate", stage.service.migrate()).await?;
        steps.step("mintgate serve, until it is ready", stage.service.start()).await?;
        stage.jwks = stage.service.jwks().await?.body;
        Ok(stage)
    }

    /// Returns the result, and prints the ends of all logs if it is an error.
    pub(super) fn explain_failure<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            let service = ("mintgate", tail(&self.service.log()));
            let mocks = [&self.mock, &self.slow].map(Mock::process);
            let mocks = mocks.map(|process| (process.name(), process.tail()));
            for (name, end) in std::iter::once(service).chain(mocks) {
                say::error(&format!("--- the end of {name}'s log\n{end}"));
            }
        }
        result
    }
}

fn configure(
    binaries: &Binaries,
    dir: &Path,
    store_url: &str,
    [mock, slow]: [&Mock; 2],
) -> Result<Service> {
    let addresses @ [public, _] = free_addresses();
    let preset = format!("preset = \"oidc\"\npost_logout_redirect_uris = [\"{REDIRECT_URI}\"]\n");
    let timeouts =
        format!("{preset}timeout_ms = {}\nconnect_timeout_ms = 1000\n", SLOW_TIMEOUT.as_millis());
    let config = [
        listeners(addresses, &format!("http://{public}")),
        format!("[store]\nurl = \"{store_url}\"\n\n"),
        "[keys]\ndir = \"keys\"\npublish_ahead_secs = 1\nreload_secs = 1\n\n".to_owned(),
        "[log]\nformat = \"json\"\n".to_owned(),
        provider(PROVIDER, &mock.issuer, &[REDIRECT_URI], &preset),
        provider(SLOW_PROVIDER, &slow.issuer, &[REDIRECT_URI], &timeouts),
    ];
    Service::configure("mintgate", &binaries.service, dir, &config.concat(), addresses)
}
