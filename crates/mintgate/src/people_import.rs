//! `mintgate import`, on the configured store.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use mintgate_domain::ImportPeople;
use mintgate_domain::ports::NoMetrics;
use mintgate_import::{ImportCommand, KnownProvider};

use crate::commands::warn_if_unwritten;
use crate::settings::{ProviderConfig, ProviderSettings, Settings};
use crate::store::Store;
use crate::system::{OsEntropy, SystemClock};

/// Imports people into the configured store, and prints what has become of them.
///
/// # Errors
/// If the configured address or its TLS options cannot be used, or nothing can be printed.
pub async fn import(
    settings: &Settings,
    command: &ImportCommand,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let (metrics, clock) = (Arc::new(NoMetrics), Arc::new(SystemClock::new()));
    let store = Store::open(&settings.store, metrics.clone(), clock.clone())?;
    let keys = settings.audit.keys(&settings.keys);
    let audit = store.audit_trail(keys, clock.clone(), metrics.clone());
    let (access_ttl, actor) = (settings.tokens.access_ttl, mintgate_admin::operator());
    let administration = store.administration(access_ttl, clock, metrics, audit.clone(), actor);
    let people = Arc::clone(&store.import);
    let import = ImportPeople { people, administration, entropy: Arc::new(OsEntropy) };
    let known: Vec<_> = settings.providers.iter().map(known_provider).collect();
    let done = command.run(&import, &known, &settings.users.profile).await;
    warn_if_unwritten(audit.flush().await);
    Ok(done.print(out, &mut std::io::stderr())?)
}

fn known_provider(provider: &ProviderSettings) -> KnownProvider {
    let policy = &provider.policy;
    KnownProvider {
        id: policy.id.clone(),
        preset: provider.preset.name.to_owned(),
        issuers: policy.issuers.clone(),
        client_id: policy.login.client_id.clone(),
        subject: match &provider.config {
            ProviderConfig::OpenId(..) => "sub".to_owned(),
            ProviderConfig::OAuth2(config) => config.subject.clone(),
        },
    }
}
