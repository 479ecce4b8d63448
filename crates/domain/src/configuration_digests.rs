//! In which keys two configurations differ, without keeping any value.

use std::collections::BTreeMap;
use std::fmt;

use crate::TokenHash;

/// A digest of each key's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationDigests(BTreeMap<String, String>);

impl ConfigurationDigests {
    /// Of lines `key = value`.
    pub fn of(lines: &[String]) -> Self {
        let pairs = lines.iter().filter_map(|line| line.split_once(" = "));
        Self(pairs.map(|(key, value)| (key.to_owned(), short_digest(value))).collect())
    }

    /// Reads what `to_string` has written.
    pub fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Self(pairs.map(|(key, digest)| (key.to_owned(), digest.to_owned())).collect())
    }

    /// The digest of the whole configuration: a SHA-256 in hexadecimal.
    pub fn hash(&self) -> String {
        TokenHash::of(&self.to_string()).to_hex()
    }

    /// The keys whose values differ, or that only one of the two has, by name.
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let differs = |key: &&String| self.0.get(*key) != other.0.get(*key);
        let mut names: Vec<String> =
            self.0.keys().chain(other.0.keys()).filter(differs).cloned().collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Enough to see that a value is another one, and too little to guess it by.
fn short_digest(value: &str) -> String {
    TokenHash::of(value).to_hex()[..8].to_owned()
}

impl fmt::Display for ConfigurationDigests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(key, digest)| writeln!(f, "{key}={digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> ConfigurationDigests {
        ConfigurationDigests::of(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn changed_new_and_missing_keys_are_named_and_no_value_is_kept() {
        let before = of(&["a.x = 1", "a.y = \"hunter2\"", "b = [1]"]);
        let kept = before.to_string();
        assert!(!kept.contains("hunter2") && kept.lines().count() == 3, "{kept}");
        assert_eq!(ConfigurationDigests::parse(&kept), before);
        assert_eq!(before.differing(&before), [""; 0]);
        let after = of(&["a.x = 1", "a.y = \"hunter3\"", "c = 1"]);
        assert_eq!(after.differing(&before), ["a.y", "b", "c"]);
        assert_ne!(after.hash(), before.hash());
    }
}
