//! What `mintgate keys` prints.

use std::fmt::{self, Write as _};
use std::time::Duration;

use mintgate_domain::model::{KeyUse, Timestamp};

use super::{KeyRefusal, KeyReport, SealingKey};
use crate::ring::{KeyInfo, KeyState};
use crate::{Adopted, Algorithm};

impl fmt::Display for KeyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys(keys, sealing) => {
                if keys.is_empty() {
                    writeln!(f, "There are no keys yet; the service makes them when it starts.")?;
                }
                f.write_str(&table(keys).unwrap_or_default())?;
                f.write_str(&sealing_table(sealing))
            }
            Self::Adopted(Adopted { keys, added }) => writeln!(
                f,
                "All {} keys of keys.dir are in the store, sealed; added: {added}.\nNow start the service with \
                 this keys.encryption_key, the same in every process: what these keys have signed stays \
                 valid, and nobody has to sign in again. The directory is not used any more; delete it \
                 when the service runs, because the keys in it are not sealed.",
                keys.len()
            ),
            Self::Abandoned { name, removed } => writeln!(
                f,
                "What was sealed under {name} is given up; signing keys removed: {removed}. The service makes \
                 new ones when it starts. Providers' tokens under it stay unreadable until people sign in again."
            ),
            Self::Rotated { key, before, publish_ahead, reload } => {
                let (kid, name) = (&key.id, key.key_use.name());
                match key.activates_at {
                    Some(at) if key.state != KeyState::Current => writeln!(
                        f,
                        "The {name} key {kid} signs from {at} on.\n\
                         Not at once: the key was published at {}, and whoever verifies tokens has to \
                         know a key before it signs (keys.publish_ahead_secs = {}).",
                        key.created_at,
                        publish_ahead.as_secs()
                    ),
                    _ => writeln!(f, "The {name} key {kid} signs from now on."),
                }?;
                if let Some(before) = before {
                    writeln!(f, "Tokens that {before} has signed stay valid.")?;
                }
                reload_notice(f, *reload)
            }
            Self::Retired { key, successor, reload } => {
                writeln!(f, "The {} key {} is removed.", key.key_use.name(), key.id)?;
                if let Some(successor) = successor {
                    writeln!(f, "{successor} signs in its place from now on.")?;
                }
                writeln!(f, "{}", consequences(key))?;
                reload_notice(f, *reload)
            }
        }
    }
}

fn reload_notice(f: &mut fmt::Formatter<'_>, reload: Duration) -> fmt::Result {
    let secs = reload.as_secs();
    writeln!(f, "Running services notice within {secs} s (keys.reload_secs); no restart is needed.")
}

impl std::error::Error for KeyRefusal {}

impl fmt::Display for KeyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchKey { id, keys } if keys.is_empty() => {
                write!(f, "there is no key {id}, and no other either")
            }
            Self::NoSuchKey { id, keys } => {
                write!(
                    f,
                    "there is no key {id}; there are\n{}",
                    table(keys).unwrap_or_default().trim_end()
                )
            }
            Self::NoEmergency(key) => write!(
                f,
                "this removes the {} key {} at once, and is for a key that somebody else may have. \
                 {}\nTo replace a key in the usual way, use `mintgate keys rotate`: nobody notices \
                 that. If this is an emergency, add --emergency.",
                key.key_use.name(),
                key.id,
                consequences(key)
            ),
        }
    }
}

/// What the removal of a key means for the tokens that it has signed.
fn consequences(key: &KeyInfo) -> String {
    const VERIFIERS: &str = " Services that verify tokens with the JWKS go on accepting them until \
                             they fetch it again, which they may put off for 300 s.";
    match (key.key_use, key.state) {
        (_, KeyState::Next) => "It has not signed anything yet.".to_owned(),
        (_, KeyState::Unusable) => {
            "This version does not know its algorithm and refuses what it has signed already; \
             versions that know the algorithm then refuse it as well."
                .to_owned()
        }
        (KeyUse::Refresh, _) => {
            "Every refresh token it has signed is refused: everybody who is signed in with one \
             must sign in again."
                .to_owned()
        }
        (KeyUse::Access, _) => {
            let is_published = key.algorithm != Some(Algorithm::Hs256);
            "Every access token it has signed is refused; clients get another by refreshing, \
             nobody has to sign in again."
                .to_owned()
                + if is_published { VERIFIERS } else { "" }
        }
    }
}

/// The keys as lines with aligned columns; `None` if there are none.
fn table(keys: &[KeyInfo]) -> Option<String> {
    if keys.is_empty() {
        return None;
    }
    let header = ["USE", "KID", "ALGORITHM", "STATE", "CREATED", "SIGNS"].map(str::to_owned);
    let rows: Vec<_> =
        std::iter::once(header).chain(keys.iter().map(|key| row(key, keys))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    Some(rows.iter().map(line).collect())
}

/// The key-encryption keys, if there are others than the current one.
fn sealing_table(keys: &[SealingKey]) -> String {
    if keys.len() < 2 {
        return String::new();
    }
    let mut text = "\nENCRYPTION KEY    STATE    SEALS\n".to_owned();
    for SealingKey { name, is_current, is_needed } in keys {
        let (state, seals) = match (is_current, is_needed) {
            (true, _) => ("current", "everything new"),
            (false, true) => ("former", "something still: keep it in keys.former_encryption_keys"),
            (false, false) => {
                ("former", "nothing: take it out, unless it is to become the current one")
            }
        };
        let _ = writeln!(text, "{name:16}  {state:7}  {seals}");
    }
    if keys.iter().any(|key| !key.is_current && !key.is_needed) {
        text.push_str(
            "Unless audit.key is set, a key that is taken out goes into audit.former_key: `mintgate audit verify` \
             needs it for the entries of its time.\n",
        );
    }
    text
}

fn row(key: &KeyInfo, keys: &[KeyInfo]) -> [String; 6] {
    let configured = key.number.is_none();
    [
        key.key_use.name().to_owned(),
        key.id.to_string(),
        key.algorithm.map_or("unknown", Algorithm::name).to_owned(),
        key.state.name().to_owned(),
        if configured { "(configured)".to_owned() } else { key.created_at.to_string() },
        key.signs(keys).map(|signs| signs.to_string()).unwrap_or_default(),
    ]
}

/// When a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signs {
    /// The key is given in the configuration.
    Always,
    /// The key stands by, without an activation time.
    NotYet,
    /// The key will sign from this time on.
    From(Timestamp),
    /// The key has signed since this time.
    Since(Timestamp),
    /// The key signed until this time.
    Until(Timestamp),
    /// This version does not know the key's algorithm.
    Never,
}

impl KeyInfo {
    /// When the key signs, which depends on the other keys there are; `None` if its times are not
    /// known.
    pub fn signs(&self, keys: &[Self]) -> Option<Signs> {
        if self.number.is_none() {
            return Some(Signs::Always);
        }
        match self.state {
            KeyState::Next => Some(self.activates_at.map_or(Signs::NotYet, Signs::From)),
            KeyState::Current => self.activates_at.map(Signs::Since),
            KeyState::Former => {
                let later = keys.iter().filter(|other| {
                    other.key_use == self.key_use
                        && other.number > self.number
                        && other.state != KeyState::Unusable
                });
                later.filter_map(|other| other.activates_at).min().map(Signs::Until)
            }
            KeyState::Unusable => Some(Signs::Never),
        }
    }
}

impl fmt::Display for Signs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Always => f.write_str("always"),
            Self::NotYet => f.write_str("stands by"),
            Self::From(at) => write!(f, "from {at}"),
            Self::Since(at) => write!(f, "since {at}"),
            Self::Until(at) => write!(f, "until {at}"),
            Self::Never => f.write_str("not with this version"),
        }
    }
}
