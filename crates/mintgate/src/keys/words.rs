//! What `mintgate keys` prints.

use std::fmt;
use std::time::Duration;

use mintgate_domain::model::{KeyUse, Timestamp};
use mintgate_signer_jose::{Algorithm, KeyInfo, KeyState};
use time::format_description::well_known::Rfc3339;

use super::{KeysOutcome, KeysRefusal};

impl fmt::Display for KeysOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys(keys) if keys.is_empty() => {
                writeln!(f, "There are no keys yet; the service makes them when it starts.")
            }
            Self::Keys(keys) => f.write_str(&table(keys)),
            Self::Rotated { key, before, publish_ahead, reload } => {
                let (kid, name) = (&key.id, key.key_use.name());
                match key.activates_at {
                    Some(at) if key.state != KeyState::Current => writeln!(
                        f,
                        "The {name} key {kid} signs from {} on.\n\
                         Not at once: the key was published at {}, and whoever verifies tokens has to \
                         know a key before it signs (keys.publish_ahead_secs = {}).",
                        rfc_3339(at),
                        rfc_3339(key.created_at),
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

impl std::error::Error for KeysRefusal {}

impl fmt::Display for KeysRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDirectory(path) => write!(
                f,
                "keys.dir: there is no directory {}; run this with the configuration, in the \
                 working directory, and as the user that the service runs with",
                path.display()
            ),
            Self::NoSuchKey { kid, keys } if keys.is_empty() => {
                write!(f, "there is no key {kid}, and no other either")
            }
            Self::NoSuchKey { kid, keys } => {
                write!(f, "there is no key {kid}; there are\n{}", table(keys).trim_end())
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

/// The keys as lines with aligned columns.
fn table(keys: &[KeyInfo]) -> String {
    let header = ["USE", "KID", "ALGORITHM", "STATE", "CREATED", "SIGNS"].map(str::to_owned);
    let rows: Vec<_> =
        std::iter::once(header).chain(keys.iter().map(|key| row(key, keys))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn row(key: &KeyInfo, keys: &[KeyInfo]) -> [String; 6] {
    let configured = key.number.is_none();
    [
        key.key_use.name().to_owned(),
        key.id.to_string(),
        key.algorithm.map_or("unknown", Algorithm::name).to_owned(),
        key.state.name().to_owned(),
        if configured { "(configured)".to_owned() } else { rfc_3339(key.created_at) },
        signs(key, keys).map(|signs| signs.to_string()).unwrap_or_default(),
    ]
}

/// When a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signs {
    Always,
    /// It stands by, without an activation time.
    NotYet,
    From(Timestamp),
    Since(Timestamp),
    Until(Timestamp),
    /// This version does not know the key's algorithm.
    Never,
}

/// When a key signs; `None` if its times are not known.
pub(super) fn signs(key: &KeyInfo, keys: &[KeyInfo]) -> Option<Signs> {
    if key.number.is_none() {
        return Some(Signs::Always);
    }
    match key.state {
        KeyState::Next => Some(key.activates_at.map_or(Signs::NotYet, Signs::From)),
        KeyState::Current => key.activates_at.map(Signs::Since),
        KeyState::Former => {
            let later = keys.iter().filter(|other| {
                other.key_use == key.key_use
                    && other.number > key.number
                    && other.state != KeyState::Unusable
            });
            later.filter_map(|other| other.activates_at).min().map(Signs::Until)
        }
        KeyState::Unusable => Some(Signs::Never),
    }
}

impl fmt::Display for Signs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Always => f.write_str("always"),
            Self::NotYet => f.write_str("stands by"),
            Self::From(at) => write!(f, "from {}", rfc_3339(at)),
            Self::Since(at) => write!(f, "since {}", rfc_3339(at)),
            Self::Until(at) => write!(f, "until {}", rfc_3339(at)),
            Self::Never => f.write_str("not with this version"),
        }
    }
}

/// A time in the format of RFC 3339, in UTC.
pub(super) fn rfc_3339(at: Timestamp) -> String {
    let text = at.to_datetime().and_then(|at| at.format(&Rfc3339).ok());
    text.unwrap_or_else(|| at.as_unix().to_string())
}
