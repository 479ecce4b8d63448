//! `mintgate keys`: lists, rotates and retires the signing keys, whether or not the service runs.

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use mintgate_domain::model::{KeyId, KeyUse};
use mintgate_domain::ports::{AuditLog as _, Clock, NoMetrics};
use mintgate_signer_jose::{KeyDirectory, KeyOrder, KeyOrderError, KeyReport, abandon, adopt};

use super::{explained, open_existing, required_encryption_keys};
use crate::commands;
use crate::settings::KeyRingSettings;
use crate::store::Store;
use crate::system::SystemClock;

/// What can be done with the signing keys.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum KeysCommand {
    /// Show every key: what it signs, its state, and when it signs.
    List,
    /// Let the next key take over. Tokens signed by the key before it stay valid.
    Rotate {
        /// Which tokens the key signs.
        #[arg(long = "use", value_name = "USE", default_value = "access")]
        key_use: RotatedUse,
    },
    /// Remove a key at once. Everything it has signed is refused from then on.
    Retire {
        /// The KID of the key in `mintgate keys list`.
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// Remove the key, and not only say what that would do.
        #[arg(long)]
        emergency: bool,
    },
    /// Move the keys of the directory `keys.dir` into the store, for `keys.encryption_key`, so that nobody has to
    /// sign in again. Run it before the service starts with that key.
    Adopt,
    /// Give up what is sealed under a key-encryption key that is lost for good, so that the service starts.
    /// Signing keys under it are removed, and what they signed is refused.
    Abandon {
        /// The name of the lost key, as the error at the start of the service says it.
        #[arg(allow_hyphen_values = true)]
        name: String,
        /// The key is lost for good.
        #[arg(long, required = true)]
        emergency: bool,
    },
}

/// The uses of a key on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RotatedUse {
    /// The key that signs access tokens.
    Access,
    /// The key that signs refresh tokens.
    Refresh,
}

impl From<RotatedUse> for KeyUse {
    fn from(key_use: RotatedUse) -> Self {
        match key_use {
            RotatedUse::Access => Self::Access,
            RotatedUse::Refresh => Self::Refresh,
        }
    }
}

/// The key directory does not exist. The service makes it, so the command runs with another
/// configuration or working directory than the service, which would not use its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoKeyDirectory(pub(super) PathBuf);

impl std::error::Error for NoKeyDirectory {}

impl fmt::Display for NoKeyDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "keys.dir: there is no directory {}; run this with the configuration, in the working \
             directory, and as the user that the service runs with",
            self.0.display()
        )
    }
}

impl KeysCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// [`KeyRefusal`](mintgate_signer_jose::KeyRefusal), [`NoKeyDirectory`]; or the keys or their
    /// storage cannot be used, or the key is given in the configuration.
    pub async fn run(&self, settings: &KeyRingSettings) -> anyhow::Result<KeyReport> {
        self.run_by(settings, Arc::new(SystemClock::new())).await
    }

    async fn run_by(
        &self,
        settings: &KeyRingSettings,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<KeyReport> {
        let keys = &settings.keys;
        let store = Store::open(&settings.store, Arc::new(NoMetrics), Arc::clone(&clock))?;
        let audit_keys = settings.audit.keys(keys);
        let audit = store.audit_trail(audit_keys, Arc::clone(&clock), Arc::new(NoMetrics));
        let order = match self {
            Self::List => KeyOrder::List,
            Self::Rotate { key_use } => KeyOrder::Rotate((*key_use).into()),
            Self::Adopt => {
                let encryption = required_encryption_keys(keys)?;
                if !keys.dir.is_dir() {
                    return Err(NoKeyDirectory(keys.dir.clone()).into());
                }
                let directory = KeyDirectory::open_or_create(&keys.dir).context("keys.dir")?;
                let adopted =
                    adopt(&directory, &*store.keys, &encryption).await.context("keys.dir")?;
                return Ok(KeyReport::Adopted(adopted));
            }
            Self::Abandon { name, .. } => {
                let encryption = required_encryption_keys(keys)?;
                let removed = abandon(&*store.keys, &encryption, name).await?;
                return Ok(KeyReport::Abandoned { name: name.clone(), removed });
            }
            Self::Retire { kid, emergency } => {
                KeyOrder::Retire { id: KeyId::new(kid.as_str()), emergency: *emergency }
            }
        };
        let ring = open_existing(keys, &settings.tokens, &store, Arc::clone(&clock)).await?;
        let report = ring.carry_out(order, keys.reload).await.map_err(|error| match error {
            KeyOrderError::Refused(refusal) => anyhow::Error::from(refusal),
            KeyOrderError::Failed(error) => explained(error, keys),
        })?;
        if let Some(event) = report.event(clock.now().into(), mintgate_admin::operator()) {
            audit.record(event);
            commands::warn_if_unwritten(audit.flush().await);
        }
        Ok(report)
    }
}
