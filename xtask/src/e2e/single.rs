//! One service with one provider.

use std::path::Path;

use anyhow::Result;
use mintgate_testkit::free_addresses;
use tokio::task::JoinSet;

use super::login::Caller;
use super::session;
use super::stage::PROVIDER;
use crate::process::tail;
use crate::rig::{Binaries, Mock, REDIRECT_URI, Service, listeners, provider};
use crate::say;

/// How many sessions there are at once.
const AT_ONCE: usize = 16;

pub(super) struct Single {
    pub(super) mock: Mock,
    pub(super) service: Service,
    pub(super) caller: Caller,
}

impl Single {
    /// Migrates the store, and starts the service until it is ready; `more` is whole lines of the provider,
    /// and sections.
    pub(super) async fn start(
        binaries: &Binaries,
        dir: &Path,
        store_url: &str,
        mock: Mock,
        more: &str,
    ) -> Result<Self> {
        Self::start_with_keys(binaries, dir, store_url, "dir = \"keys\"", mock, more).await
    }

    /// The same with these lines of the section `[keys]`.
    pub(super) async fn start_with_keys(
        binaries: &Binaries,
        dir: &Path,
        store_url: &str,
        keys: &str,
        mock: Mock,
        more: &str,
    ) -> Result<Self> {
        let addresses @ [public, _] = free_addresses();
        let config = [
            listeners(addresses, &format!("http://{public}")),
            format!("[store]\nurl = \"{store_url}\"\n\n[keys]\n{keys}\n"),
            provider(PROVIDER, &mock.issuer, &[REDIRECT_URI], more),
        ];
        let mut service =
            Service::configure("mintgate", &binaries.service, dir, &config.concat(), addresses)?;
        service.migrate().await?;
        service.start().await?;
        let caller = Caller::new(&service)?;
        Ok(Self { mock, service, caller })
    }

    /// Several sessions at once, each from its login to its logout, with a refresh between.
    pub(super) async fn sessions_at_once(&self) -> Result<()> {
        let mut sessions = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (caller, mock) = (self.caller.clone(), self.mock.base.clone());
            sessions.spawn(async move { session::from_login_to_logout(&caller, &mock).await });
        }
        let mut ended = Ok(());
        while let Some(session) = sessions.join_next().await {
            ended = ended.and(session?);
        }
        if ended.is_err() {
            let log = tail(&self.service.log());
            say::error(&format!("--- the end of the service's log\n{log}"));
        }
        ended
    }
}
