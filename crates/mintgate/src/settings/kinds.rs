//! The types a key may have: text under a rule, number in a range, choice, list, secret, file.

use std::fs;
use std::ops::RangeInclusive;
use std::time::Duration;

use mintgate_domain::SecretText;

use super::key::{Fallback, Key};
use super::mistakes::{Flaw, flaw};
use super::reader::{Record, Section};
use super::show;
use super::source::{Origin, Shape, Value};
use super::unknown::nearest;

/// The largest secret a file may hold, in bytes.
const SECRET_BYTES: u64 = 1 << 20;

impl Section<'_> {
    /// A text that a rule turns into what it stands for.
    pub(super) fn text<T>(
        &mut self,
        key: Key,
        kind: &str,
        rule: impl FnOnce(&str) -> Result<T, Flaw>,
    ) -> Option<T> {
        let name = key.name;
        let Value::Text(text) = self.take(key, Shape::Text, kind)?.value else { return None };
        rule(&text).map_err(|flaw| self.blame(name, flaw)).ok()
    }

    /// A whole number in a range.
    pub(super) fn number(&mut self, key: Key, range: RangeInclusive<u32>) -> Option<u32> {
        let (name, low, high) = (key.name, range.start(), range.end());
        let node = self.take(key, Shape::Integer, &format!("whole number, {low} to {high}"))?;
        let Value::Integer(number) = node.value else { return None };
        let number = u32::try_from(number).ok().filter(|n| range.contains(n));
        if number.is_none() {
            let problem = format!("This must be from {low} to {high}.");
            self.blame(name, flaw(problem, "write a number in that range"));
        }
        number
    }

    /// A whole number of seconds.
    pub(super) fn seconds(&mut self, key: Key, range: RangeInclusive<u32>) -> Option<Duration> {
        self.number(key, range).map(|n| Duration::from_secs(n.into()))
    }

    /// A whole number of days.
    pub(super) fn days(&mut self, key: Key, range: RangeInclusive<u32>) -> Option<Duration> {
        self.number(key, range).map(|n| Duration::from_hours(u64::from(n) * 24))
    }

    /// A whole number of milliseconds.
    pub(super) fn millis(&mut self, key: Key, range: RangeInclusive<u32>) -> Option<Duration> {
        self.number(key, range).map(|n| Duration::from_millis(n.into()))
    }

    /// Of two spans the shorter may not exceed the longer; the one that is written is to blame.
    pub(super) fn in_order(
        &mut self,
        (short_key, short): (&str, Option<Duration>),
        (long_key, long): (&str, Option<Duration>),
        problem: &str,
    ) {
        let (Some(short), Some(long)) = (short, long) else { return };
        if short <= long {
            return;
        }
        let (key, bound, limit) = if self.is_default(short_key) {
            (long_key, "least", short)
        } else {
            (short_key, "most", long)
        };
        let limit = if key.ends_with("_ms") { limit.as_millis() } else { limit.as_secs().into() };
        let fix = format!("write at {bound} {limit} ({short_key} ≤ {long_key})");
        self.blame(key, flaw(problem, fix));
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: Key) -> Option<bool> {
        match self.take(key, Shape::Flag, "`true` or `false`")?.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    /// One of several names.
    pub(super) fn choice<T: Copy>(&mut self, key: Key, options: &[(&'static str, T)]) -> Option<T> {
        let names: Vec<&str> = options.iter().map(|(name, _)| *name).collect();
        self.text(key, &format!("`{}`", names.join("`, `")), |text| {
            let found = options.iter().find(|(name, _)| *name == text);
            found.map(|(_, option)| *option).ok_or_else(|| not_among(text, &names))
        })
    }

    /// A list of texts, each under a rule; mistakes name the element.
    pub(super) fn list<T>(
        &mut self,
        key: Key,
        kind: &str,
        rule: impl Fn(&str) -> Result<T, Flaw>,
    ) -> Option<Vec<T>> {
        let name = key.name;
        let Value::List(items) = self.take(key, Shape::List, kind)?.value else { return None };
        let mut good = Vec::new();
        let count = items.len();
        for (index, item) in items.into_iter().enumerate() {
            let checked = match &item.value {
                Value::Text(text) => rule(text),
                _ => Err(flaw("This must be a text.", "put it in double quotes")),
            };
            match checked {
                Ok(value) => good.push(value),
                Err(flaw) => self.blame_value(&format!("{name}[{index}]"), &item, flaw),
            }
        }
        (good.len() == count).then_some(good)
    }

    /// A list of texts that is not empty; `example` is what to write.
    pub(super) fn non_empty_list<T>(
        &mut self,
        key: Key,
        kind: &str,
        example: &str,
        rule: impl Fn(&str) -> Result<T, Flaw>,
    ) -> Option<Vec<T>> {
        let name = key.name;
        let list = self.list(key, kind, rule)?;
        if list.is_empty() {
            self.blame(name, flaw("This list must not be empty.", format!("write {example}")));
            return None;
        }
        Some(list)
    }

    /// A text that may instead be in a file, named by `…_file`.
    pub(super) fn text_or_file<T>(
        &mut self,
        mut key: Key,
        kind: &str,
        rule: impl FnOnce(&str) -> Result<T, Flaw>,
    ) -> Option<T> {
        let name = key.name;
        let file_key = format!("{name}_file");
        let (given, in_file) = (self.is_given(name), self.is_given(&file_key));
        if in_file && !given {
            key.fallback = Fallback::Nothing("");
        }
        let barred = key.barred.clone();
        let direct = self.take(key, Shape::Text, kind);
        let path = self.take_file(name, &file_key, barred.as_ref());
        let (text, source) = match (direct.map(|n| n.value), path) {
            // A key that is not for here is a mistake already, each of the two.
            (None, None) => return None,
            _ if given && in_file => {
                let problem = format!("Both {name} and {file_key} are set.");
                self.blame(&file_key, flaw(problem, "keep one of them"));
                return None;
            }
            (Some(Value::Text(text)), _) => (SecretText::new(text), name),
            (_, Some(path)) => match read_secret(&path) {
                Ok(text) => (text, file_key.as_str()),
                Err(flaw) => {
                    self.blame(&file_key, flaw);
                    return None;
                }
            },
            _ => return None,
        };
        let checked = if text.expose().is_empty() {
            Err(flaw("This is empty.", "write the value, or leave the key out"))
        } else {
            rule(text.expose())
        };
        checked.map_err(|flaw| self.blame(source, flaw)).ok()
    }

    /// The path in a `…_file` key.
    fn take_file(&mut self, name: &str, file_key: &str, barred: Option<&Flaw>) -> Option<String> {
        let node = self.take_raw(file_key);
        let (section, path) = self.place();
        let shown = node.as_ref().map(|node| match &node.value {
            Value::Text(text) if looks_like_path(text) => show::toml(&node.value),
            // Whoever puts the secret itself here must not find it in a message.
            _ => show::quoted(show::MASK),
        });
        let record = Record {
            section,
            path: path.to_owned(),
            name: file_key.to_owned(),
            kind: "path".to_owned(),
            default: "none".to_owned(),
            doc: format!("A file that holds `{name}`; one newline at its end is dropped."),
            applies: barred.is_none(),
            value: shown,
            origin: node.as_ref().map_or(Origin::Unset, |n| n.origin.clone()),
        };
        self.record(record);
        if let (Some(flaw), Some(_)) = (barred, &node) {
            self.blame(file_key, flaw.clone());
            return None;
        }
        if let Value::Text(text) = node?.value {
            return Some(text);
        }
        self.blame(file_key, flaw("This must be a path.", "put it in double quotes"));
        None
    }
}

/// A text that is none of the names.
pub(super) fn not_among(text: &str, names: &[&str]) -> Flaw {
    let fix = match nearest(text, names.iter().copied()) {
        Some(name) => format!("did you mean \"{name}\"? The names are {}", names.join(", ")),
        None => format!("write one of {}", names.join(", ")),
    };
    flaw("This is none of the names that can stand here.", fix)
}

/// Whether it can be shown as a path: a secret seldom begins so.
fn looks_like_path(text: &str) -> bool {
    ["/", "./", "../"].iter().any(|start| text.starts_with(start))
}

fn read_secret(path: &str) -> Result<SecretText, Flaw> {
    let unreadable = |error: std::io::Error| {
        let fix = "write the path of a file that this user may read";
        flaw(format!("The file cannot be read: {error}."), fix)
    };
    if fs::metadata(path).map_err(unreadable)?.len() > SECRET_BYTES {
        return Err(flaw("The file is larger than 1 MiB.", "name the file that holds the secret"));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
    Ok(SecretText::new(text))
}
