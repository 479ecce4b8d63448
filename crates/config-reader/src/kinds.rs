//! The types that a key can have: a text under a rule, a number in a range, a choice, a list, a
//! table, a secret.

use std::fs;
use std::ops::RangeInclusive;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::key::{Fallback, Key};
use crate::mistakes::{Invalid, invalid};
use crate::reader::{Record, Section};
use crate::show;
use crate::source::{Node, Origin, Shape, Value};
use crate::unknown::nearest;

/// The largest file that a secret is read from, in bytes.
const SECRET_BYTES: u64 = 1 << 20;

/// The unit in which a pair of spans is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Both spans are in milliseconds.
    Millis,
    /// Both spans are in seconds.
    Secs,
}

impl Section<'_> {
    /// Reads a text, which `rule` turns into the value.
    pub fn text<T>(
        &mut self,
        key: Key,
        kind: &str,
        rule: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        let name = key.name;
        let Value::Text(text) = self.take(key, Shape::Text, kind)?.value else { return None };
        rule(&text).map_err(|invalid| self.reject(name, invalid)).ok()
    }

    /// Reads a whole number in a range.
    pub fn number(&mut self, key: Key, range: RangeInclusive<u32>) -> Option<u32> {
        let (name, low, high) = (key.name, range.start(), range.end());
        let node = self.take(key, Shape::Integer, &format!("whole number, {low} to {high}"))?;
        let Value::Integer(number) = node.value else { return None };
        let number = u32::try_from(number).ok().filter(|n| range.contains(n));
        if number.is_none() {
            let problem = format!("This must be from {low} to {high}.");
            self.reject(name, invalid(problem, "write a number in that range"));
        }
        number
    }

    /// Reads a span of time, written as a whole number of milliseconds in a range.
    pub fn millis(&mut self, key: Key, range: RangeInclusive<u32>) -> Option<Duration> {
        self.number(key, range).map(|n| Duration::from_millis(n.into()))
    }

    /// Reads a span of time, written as a whole number of seconds in a range.
    pub fn seconds(&mut self, key: Key, range: RangeInclusive<u32>) -> Option<Duration> {
        self.number(key, range).map(|n| Duration::from_secs(n.into()))
    }

    /// Reads a span of time, written as a whole number of days in a range.
    pub fn days(&mut self, key: Key, range: RangeInclusive<u32>) -> Option<Duration> {
        self.number(key, range).map(|n| Duration::from_hours(u64::from(n) * 24))
    }

    /// Reports a shorter span that exceeds the longer one, at whichever of the two keys is set. Both
    /// keys are in the same unit.
    pub fn in_order(
        &mut self,
        unit: Unit,
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
        let limit = match unit {
            Unit::Millis => limit.as_millis(),
            Unit::Secs => limit.as_secs().into(),
        };
        let fix = format!("write at {bound} {limit} ({short_key} ≤ {long_key})");
        self.reject(key, invalid(problem, fix));
    }

    /// Reads a key whose value is `true` or `false`.
    pub fn flag(&mut self, key: Key) -> Option<bool> {
        match self.take(key, Shape::Flag, "`true` or `false`")?.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    /// Reads one of several names.
    pub fn choice<T: Copy>(&mut self, key: Key, options: &[(&'static str, T)]) -> Option<T> {
        let names: Vec<&str> = options.iter().map(|(name, _)| *name).collect();
        self.text(key, &format!("`{}`", names.join("`, `")), |text| {
            let found = options.iter().find(|(name, _)| *name == text);
            found.map(|(_, option)| *option).ok_or_else(|| unknown_name(text, &names))
        })
    }

    /// Reads a list of texts, each under a rule; a mistake names the element.
    pub fn list<T>(
        &mut self,
        key: Key,
        kind: &str,
        rule: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Option<Vec<T>> {
        let name = key.name;
        let Value::List(items) = self.take(key, Shape::List, kind)?.value else { return None };
        let items = items.into_iter().enumerate();
        self.each(items.map(|(index, item)| (format!("{name}[{index}]"), item)), |_, item| {
            match item {
                Value::Text(text) => rule(text),
                _ => Err(invalid("This must be a text.", "put it in double quotes")),
            }
        })
    }

    /// Reads a table of texts; `rule` is given the name and the text of each, and no text where the
    /// value is of another type. A mistake names the element.
    pub fn texts_by_name<T>(
        &mut self,
        key: Key,
        kind: &str,
        rule: impl Fn(&str, Option<&str>) -> Result<T, Invalid>,
    ) -> Option<Vec<T>> {
        let prefix = format!("{}.", key.name);
        let Value::Table(table) = self.take(key, Shape::Table, kind)?.value else { return None };
        let items = table.into_iter().map(|(name, item)| (format!("{prefix}{name}"), item));
        self.each(items, |path, item| {
            let text = if let Value::Text(text) = item { Some(text.as_str()) } else { None };
            rule(&path[prefix.len()..], text)
        })
    }

    /// Checks the elements of a list or table: all of them, or `None` if one is not valid.
    fn each<T>(
        &mut self,
        items: impl Iterator<Item = (String, Node)>,
        rule: impl Fn(&str, &Value) -> Result<T, Invalid>,
    ) -> Option<Vec<T>> {
        let mut good = Some(Vec::new());
        for (path, item) in items {
            match rule(&path, &item.value) {
                Ok(value) => {
                    if let Some(good) = &mut good {
                        good.push(value);
                    }
                }
                Err(invalid) => {
                    self.reject_part(&path, &item, invalid);
                    good = None;
                }
            }
        }
        good
    }

    /// Reads a list of texts that must not be empty; `example` is what to write.
    pub fn non_empty_list<T>(
        &mut self,
        key: Key,
        kind: &str,
        example: &str,
        rule: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Option<Vec<T>> {
        let name = key.name;
        let list = self.list(key, kind, rule)?;
        if list.is_empty() {
            self.reject(name, invalid("This list must not be empty.", format!("write {example}")));
            return None;
        }
        Some(list)
    }

    /// Reads a text that may instead be in a file, whose path is in the key `NAME_file`.
    pub fn text_or_file<T>(
        &mut self,
        mut key: Key,
        kind: &str,
        rule: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        let (name, secret) = (key.name, key.secret);
        let file_key = format!("{name}_file");
        let (given, in_file) = (self.is_given(name), self.is_given(&file_key));
        if in_file && !given {
            key.fallback = Fallback::Nothing("");
        }
        let (forbidden, or_empty) = (key.forbidden.clone(), key.or_empty);
        let direct = self.take(key, Shape::Text, kind);
        let path = self.take_path(name, &file_key, forbidden);
        let (text, source) = match (direct.map(|n| n.value), path) {
            (None, None) => return None,
            _ if given && in_file => {
                let problem = format!("Both {name} and {file_key} are set.");
                self.reject(&file_key, invalid(problem, "keep one of them"));
                return None;
            }
            (Some(Value::Text(text)), _) => (Zeroizing::new(text), name),
            (_, Some(path)) => match read_secret(&path) {
                Ok(text) => {
                    if secret {
                        self.note_secret_file(path);
                    }
                    (text, file_key.as_str())
                }
                Err(invalid) => {
                    self.reject(&file_key, invalid);
                    return None;
                }
            },
            _ => return None,
        };
        let checked = if text.is_empty() && !or_empty {
            Err(invalid("This is empty.", "write the value, or leave the key out"))
        } else {
            rule(&text)
        };
        checked.map_err(|invalid| self.reject(source, invalid)).ok()
    }

    /// Takes the path in the key `NAME_file`.
    fn take_path(
        &mut self,
        name: &str,
        file_key: &str,
        forbidden: Option<Invalid>,
    ) -> Option<String> {
        let node = self.take_raw(file_key, Shape::Text);
        let (section, path) = self.name_and_path();
        let shown = node.as_ref().map(|node| match &node.value {
            Value::Text(text) if looks_like_path(text) => show::toml(&node.value),
            // An operator who puts the secret itself here must not find it in a message.
            _ => show::quoted(show::MASK),
        });
        let record = Record {
            section,
            path: path.to_owned(),
            name: file_key.to_owned(),
            kind: "path".to_owned(),
            default: "none".to_owned(),
            doc: format!(
                "The path of a file that holds `{name}`. One newline at its end is ignored."
            ),
            applies: forbidden.is_none(),
            value: shown,
            origin: node.as_ref().map_or(Origin::Unset, |n| n.origin.clone()),
        };
        self.record(record);
        let node = node?;
        if let Some(reason) = forbidden {
            self.reject(file_key, reason);
            return None;
        }
        if let Value::Text(text) = node.value {
            return Some(text);
        }
        self.reject(file_key, invalid("This must be a path.", "put it in double quotes"));
        None
    }
}

/// Why a text that is none of the known names is not valid, with the name that was probably meant.
pub fn unknown_name(text: &str, names: &[&str]) -> Invalid {
    let fix = match nearest(text, names.iter().copied()) {
        Some(name) => format!("did you mean \"{name}\"? The names are {}", names.join(", ")),
        None => format!("write one of {}", names.join(", ")),
    };
    invalid("This is none of the names that can stand here.", fix)
}

/// Whether a text can be shown as a path, because a secret seldom begins like one.
fn looks_like_path(text: &str) -> bool {
    ["/", "./", "../"].iter().any(|start| text.starts_with(start))
}

fn read_secret(path: &str) -> Result<Zeroizing<String>, Invalid> {
    let unreadable = |error: std::io::Error| {
        let fix = "write the path of a file that this user may read";
        invalid(format!("The file cannot be read: {error}."), fix)
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    // To open a pipe would wait for somebody who writes to it.
    if !metadata.is_file() {
        let fix = "write the secret to a file, and name that";
        return Err(invalid("This is not a regular file.", fix));
    }
    if metadata.len() > SECRET_BYTES {
        let fix = "name the file that holds the secret";
        return Err(invalid("The file is larger than 1 MiB.", fix));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(unreadable)?);
    let end = text.strip_suffix('\n').map_or(&**text, |t| t.strip_suffix('\r').unwrap_or(t)).len();
    Ok(Zeroizing::new(text[..end].to_owned()))
}
