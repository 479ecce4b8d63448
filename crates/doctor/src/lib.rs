//! `mintgate doctor`: looks at everything that an installation depends on, and says what is wrong, why it
//! matters and what to do about it.
//!
//! What is found is data ([`Finding`]); each file of this crate judges one area. It reads, and leaves nothing
//! behind: it makes no file and no key, and other processes on the store do not notice it.

mod certificate;
mod configuration;
mod denied;
mod exposed_files;
mod finding;
mod health;
mod keys;
mod limits;
mod operations_listener;
mod origins;
mod providers;
mod report;
mod service;
mod store;

use std::sync::Arc;

use mintgate_domain::chain;
use mintgate_domain::model::{REPLICA_PATIENCE, Timestamp};
use mintgate_domain::ports::{Clock, Entropy, StoreExamination};
use mintgate_settings::{Settings, StoreSettings, StoreUrl};
use mintgate_signer_jose::KeyRing;
use url::Url;

pub use configuration::warnings;
pub use denied::who_was_denied;
pub use finding::{Finding, Verdict};
pub use health::HealthCommand;
pub use operations_listener::OperationsListener;
pub use report::Report;

/// What is looked at, and how the findings are shown.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DoctorCommand {
    /// Look at the pages of this origin, such as https://app.example.com; at those of cors.allowed_origins if
    /// it is not given.
    #[arg(long, value_name = "URL")]
    origin: Option<Url>,
    /// Send providers no code to see whether they accept the client's credentials.
    #[arg(long)]
    no_codes: bool,
    /// Print the findings as JSON: a list of check, verdict, what, why and fix.
    #[arg(long)]
    json: bool,
}

/// An installation, as far as it could be opened.
pub struct Installation {
    /// The whole configuration of the installation.
    pub settings: Settings,
    /// Its store and its signing keys; an error if the store cannot be opened.
    pub opened: anyhow::Result<Opened>,
    /// The machine's clock.
    pub clock: Arc<dyn Clock>,
    /// The machine's randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// What is in the store of an installation, or beside it.
pub struct Opened {
    /// The store that the configuration names.
    pub store: Arc<dyn StoreExamination>,
    /// The ring of keys as it was loaded; an error if it cannot be.
    pub keys: anyhow::Result<Arc<KeyRing>>,
}

/// Whether the store of a configuration is there to be opened: to open one makes an SQLite file.
pub fn is_there(settings: &StoreSettings) -> bool {
    match &settings.url {
        StoreUrl::Sqlite(path) => path.is_file(),
        StoreUrl::Postgres(_) => true,
    }
}

impl DoctorCommand {
    /// Looks at an installation.
    pub async fn run(&self, installation: &Installation) -> Report {
        let Installation { settings, clock, entropy, .. } = installation;
        let mut findings = store_and_keys(installation).await;
        findings.extend(configuration::judge(settings));
        findings.extend(limits::judge(settings));
        for provider in &settings.providers {
            let (clock, entropy) = (Arc::clone(clock), Arc::clone(entropy));
            let found = providers::examine(provider, clock, entropy, !self.no_codes).await;
            findings.extend(found);
        }
        findings.extend(origins::judge(settings, self.origin.as_ref()));
        let origin = self.origin.as_ref().map(origins::origin_of);
        findings.extend(service::examine(settings, origin.as_deref()).await);
        findings.extend(certificate::examine(settings, Timestamp::from(clock.now()).as_unix()));
        // Each area in one place, in the order in which they were begun.
        let areas: Vec<_> = findings.iter().map(|finding| area(finding.check)).collect();
        findings.sort_by_key(|finding| areas.iter().position(|of| *of == area(finding.check)));
        Report { findings, json: self.json }
    }
}

/// The area of a check: its name up to the first dot.
pub(crate) fn area(check: &str) -> &str {
    check.split('.').next().unwrap_or_default()
}

async fn store_and_keys(installation: &Installation) -> Vec<Finding> {
    let Installation { settings, opened, clock, .. } = installation;
    let opened = match (opened, &settings.store.url) {
        (Ok(opened), _) => opened,
        (Err(_), StoreUrl::Sqlite(path)) if !path.exists() => return vec![store::missing(path)],
        (Err(error), _) => return vec![store::unreachable(&format!("{error:#}"))],
    };
    let examined = opened.store.examine(&settings.tokens.issuer, REPLICA_PATIENCE).await;
    let mut findings = store::judge(&settings.store, &examined);
    match &examined {
        Ok(facts) if facts.pending.is_empty() => {
            let now = clock.now().into();
            findings.extend(keys::judge(settings, &opened.keys, &facts.replicas, now));
        }
        // Without a store or its schema nothing is known of keys in it, nor of other processes.
        Ok(_) => {}
        Err(error) => findings.push(Finding::cannot_be_told(
            "keys.shared",
            format!("the store does not say which processes run: {}", chain(error)),
            "whether they have the same signing keys is not known",
            "run this again when the store answers",
        )),
    }
    findings
}
