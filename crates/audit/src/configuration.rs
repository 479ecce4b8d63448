//! What has changed in the configuration since the start before, without keeping any value.

use std::collections::BTreeMap;
use std::fmt;

use mintgate_domain::TokenHash;

/// A digest of each key's value.
pub(crate) struct Digests(BTreeMap<String, String>);

impl Digests {
    /// Of lines `key = value`.
    pub(crate) fn of(lines: &[String]) -> Self {
        let pairs = lines.iter().filter_map(|line| line.split_once(" = "));
        Self(pairs.map(|(key, value)| (key.to_owned(), short_digest(value))).collect())
    }

    /// The digest of the whole configuration.
    pub(crate) fn hash(&self) -> String {
        TokenHash::of(&self.to_string()).to_hex()
    }

    /// The keys whose values differ, that are new or that are gone, by name; `None` if there are none, or
    /// if there was no start before.
    pub(crate) fn changed_since(&self, before: Option<&str>) -> Option<String> {
        let before: BTreeMap<&str, &str> =
            before?.lines().filter_map(|line| line.split_once('=')).collect();
        let new = self
            .0
            .iter()
            .filter(|(key, digest)| before.get(key.as_str()) != Some(&digest.as_str()));
        let gone = before.keys().filter(|key| !self.0.contains_key(**key));
        let mut names: Vec<&str> = new.map(|(key, _)| key.as_str()).chain(gone.copied()).collect();
        names.sort_unstable();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

/// Enough to see that a value is another one, and too little to guess it by.
fn short_digest(value: &str) -> String {
    TokenHash::of(value).to_hex()[..8].to_owned()
}

impl fmt::Display for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(key, digest)| writeln!(f, "{key}={digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Digests {
        Digests::of(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn changed_new_and_missing_keys_are_named_and_no_value_is_kept() {
        let before = of(&["a.x = 1", "a.y = \"hunter2\"", "b = [1]"]);
        let kept = before.to_string();
        assert!(!kept.contains("hunter2") && kept.lines().count() == 3, "{kept}");
        assert_eq!(before.changed_since(Some(&kept)), None);
        assert_eq!(before.changed_since(None), None);
        let after = of(&["a.x = 1", "a.y = \"hunter3\"", "c = 1"]);
        assert_eq!(after.changed_since(Some(&kept)).as_deref(), Some("a.y, b, c"));
        assert_ne!(after.hash(), before.hash());
    }
}
