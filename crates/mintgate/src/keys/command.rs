//! `mintgate keys`: lists, rotates and retires the signing keys, whether or not the service runs.

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::model::{KeyId, KeyUse};
use mintgate_domain::ports::{Clock, NoMetrics};
use mintgate_signer_jose::{KeyInfo, KeyRing, KeyState, RetireOutcome};

use super::{KeyLocation, explained};
use crate::settings::{KeyRingSettings, KeySettings};
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
}

/// The uses of a key on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RotatedUse {
    /// The key that signs access tokens.
    Access,
    /// The key that signs refresh tokens.
    Refresh,
}

/// What the command has found or done; its text, which never holds key material, is in `words.rs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysOutcome {
    /// Every key there is; none before the service has started for the first time.
    Keys(Vec<KeyInfo>),
    /// A key has taken over, or will at its activation time.
    Rotated {
        /// The key that takes over.
        key: KeyInfo,
        /// The key that signed until now, if another one has taken over already.
        before: Option<KeyId>,
        /// How long a key is published before it signs.
        publish_ahead: Duration,
        /// The time in which running services notice.
        reload: Duration,
    },
    /// A key was removed.
    Retired {
        /// The removed key.
        key: KeyInfo,
        /// The key that signs in its place, if it signed.
        successor: Option<KeyId>,
        /// The time in which running services notice.
        reload: Duration,
    },
}

/// Why the command did nothing; its text is in `words.rs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysRefusal {
    /// The key directory does not exist. The service makes it, so this command runs with another
    /// configuration or working directory than the service, which would not use its keys.
    NoDirectory(PathBuf),
    /// There is no such key.
    NoSuchKey {
        /// The KID that was asked for.
        kid: KeyId,
        /// The keys there are.
        keys: Vec<KeyInfo>,
    },
    /// The key would be removed at once, and nobody has said that this is an emergency.
    NoEmergency(KeyInfo),
}

impl KeysCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// [`KeysRefusal`]; or the keys or their storage cannot be used, or the key is given in the
    /// configuration.
    pub async fn run(&self, settings: &KeyRingSettings) -> anyhow::Result<KeysOutcome> {
        self.run_by(settings, Arc::new(SystemClock::new())).await
    }

    async fn run_by(
        &self,
        settings: &KeyRingSettings,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<KeysOutcome> {
        let keys = &settings.keys;
        if let Some(KeyLocation::Directory(path)) = KeyLocation::of(keys)
            && !path.is_dir()
        {
            return Err(KeysRefusal::NoDirectory(path.to_owned()).into());
        }
        let store = Store::open(&settings.store, Arc::new(NoMetrics), Arc::clone(&clock))?;
        let ring = super::open(keys, &settings.tokens, &store, clock)?;
        ring.load().await.map_err(|error| explained(error, keys))?;
        match self {
            Self::List => Ok(KeysOutcome::Keys(ring.keys())),
            Self::Rotate { key_use: RotatedUse::Access } => {
                rotate(&ring, KeyUse::Access, keys).await
            }
            Self::Rotate { key_use: RotatedUse::Refresh } => {
                rotate(&ring, KeyUse::Refresh, keys).await
            }
            Self::Retire { kid, emergency } => {
                retire(&ring, KeyId::new(kid.as_str()), *emergency, keys).await
            }
        }
    }
}

async fn rotate(
    ring: &KeyRing,
    key_use: KeyUse,
    settings: &KeySettings,
) -> anyhow::Result<KeysOutcome> {
    let is_current = |key: &KeyInfo| key.key_use == key_use && key.state == KeyState::Current;
    let before = ring.keys().into_iter().find(is_current).map(|key| key.id);
    let key = ring.rotate(key_use).await.map_err(|error| explained(error, settings))?;
    let before = before.filter(|before| key.state == KeyState::Current && *before != key.id);
    let KeySettings { publish_ahead, reload, .. } = *settings;
    Ok(KeysOutcome::Rotated { key, before, publish_ahead, reload })
}

async fn retire(
    ring: &KeyRing,
    kid: KeyId,
    emergency: bool,
    settings: &KeySettings,
) -> anyhow::Result<KeysOutcome> {
    let keys = ring.keys();
    let Some(key) = keys.iter().find(|key| key.id == kid).cloned() else {
        return Err(KeysRefusal::NoSuchKey { kid, keys }.into());
    };
    // A key without a number is given in the configuration, which the ring says.
    if !emergency && key.number.is_some() {
        return Err(KeysRefusal::NoEmergency(key).into());
    }
    let successor = match ring.retire(&kid).await.map_err(|error| explained(error, settings))? {
        RetireOutcome::Replaced(next) => Some(next.id),
        RetireOutcome::Removed => None,
        RetireOutcome::Unknown => {
            return Err(KeysRefusal::NoSuchKey { kid, keys: ring.keys() }.into());
        }
    };
    Ok(KeysOutcome::Retired { key, successor, reload: settings.reload })
}
