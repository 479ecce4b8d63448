//! One service with its two providers, on one store.

use std::path::Path;

use anyhow::Result;

use super::login::Caller;
use super::rig::{Binaries, Mock, Service};
use super::steps::Steps;
use crate::process::tail;
use crate::say;

/// The provider that behaves, and the one that is made to hang.
pub(super) const PROVIDER: &str = "mock";
pub(super) const SLOW_PROVIDER: &str = "slow";

pub(super) struct Stage {
    pub(super) mock: Mock,
    pub(super) slow: Mock,
    pub(super) service: Service,
    pub(super) caller: Caller,
    /// The JWKS of the first start.
    pub(super) jwks: String,
}

impl Stage {
    /// Two mock providers, a migrated store, and the service on it, ready.
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
                let service = Service::configure(binaries, dir, store_url, [&mock, &slow])?;
                let caller = Caller::new(&service)?;
                Ok(Self { mock, slow, service, caller, jwks: String::new() })
            })
            .await?;
        steps.step("mintgate migrate", stage.service.migrate()).await?;
        steps.step("mintgate serve, until it is ready", stage.service.start()).await?;
        stage.jwks = stage.service.jwks().await?.body;
        Ok(stage)
    }

    /// Passes a result on; prints the ends of all logs first if it is a failure.
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
