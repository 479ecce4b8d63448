//! Keys that nobody asked for, and the names that may have been meant. Their values are never
//! shown: a misspelt secret is still a secret.

use super::mistakes::Mistake;
use super::reader::{Reader, Record};
use super::source::{Node, Origin, Value};

/// The sections made of tables that have a name of their own in environment variables.
pub(super) const PROVIDERS: &str = "providers";

/// A key, or a whole section, that does not exist.
pub(super) struct Unknown {
    /// The section it was found in; empty at the top.
    section: &'static str,
    /// The same as it is in this configuration, for example `providers[0]`.
    within: String,
    path: String,
    name: String,
    origin: Origin,
}

/// Notes an unknown key; of a section that the environment made, each key by itself.
pub(super) fn collect(
    all: &mut Vec<Unknown>,
    section: &'static str,
    within: &str,
    name: String,
    node: Node,
) {
    let path = if within.is_empty() { name.clone() } else { format!("{within}.{name}") };
    let within = within.to_owned();
    match (node.value, node.origin) {
        (Value::Table(table), Origin::Env(_)) => {
            for (key, child) in table {
                let path = format!("{path}.{key}");
                let (within, name) = (within.clone(), name.clone());
                all.push(Unknown { section, within, path, name, origin: child.origin });
            }
        }
        (_, origin) => all.push(Unknown { section, within, path, name, origin }),
    }
}

/// What to say of it.
pub(super) fn mistake(unknown: &Unknown, reader: &Reader) -> Mistake {
    let known = names_in(reader, unknown.section, Some(&unknown.within));
    let near = nearest(&unknown.name, known.iter().copied());
    let homes: Vec<String> = reader
        .sections
        .iter()
        .filter(|s| {
            s.name != unknown.section && names_in(reader, s.name, None).contains(&&*unknown.name)
        })
        .map(|s| bracketed(s.name, s.repeated))
        .collect();
    let what = if unknown.section.is_empty() { "section" } else { "key" };
    let fix = match (near, &unknown.origin) {
        (Some(name), Origin::Env(variable)) => {
            format!("did you mean {}?", respelt(variable, &unknown.name, name))
        }
        (Some(name), _) if unknown.section.is_empty() => {
            let repeated = reader.sections.iter().any(|s| s.name == name && s.repeated);
            format!("did you mean {}?", bracketed(name, repeated))
        }
        (Some(name), _) => format!("did you mean {name}?"),
        (None, _) if !homes.is_empty() => {
            format!("move it to {}", homes.join(" or "))
        }
        (None, _) => format!("remove it; the names here are {}", known.join(", ")),
    };
    Mistake {
        key: unknown.path.clone(),
        origin: unknown.origin.clone(),
        value: None,
        problem: format!("There is no such {what}."),
        fix,
    }
}

/// The keys and subsections of a section; the sections, at the top. `within` is the one of several
/// whose keys count, as not all of them need have the same.
fn names_in<'a>(reader: &'a Reader, section: &str, within: Option<&str>) -> Vec<&'a str> {
    let here = |r: &&Record| {
        r.section == section && within.is_none_or(|within| r.path == within && r.applies)
    };
    let keys = reader.records.iter().filter(here).map(|r| r.name.as_str());
    let sections = reader.sections.iter().filter_map(|s| match s.name.rsplit_once('.') {
        Some((parent, name)) => (parent == section).then_some(name),
        None => section.is_empty().then_some(s.name),
    });
    let mut names = Vec::new();
    for name in keys.chain(sections) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The header of a section.
pub(super) fn bracketed(section: &str, repeated: bool) -> String {
    if repeated { format!("[[{section}]]") } else { format!("[{section}]") }
}

/// The variable with one of its names put right.
fn respelt(variable: &str, wrong: &str, right: &str) -> String {
    let segment = |name: &str| format!("__{}", name.to_ascii_uppercase());
    match variable.rfind(&segment(wrong)) {
        Some(at) => {
            let after = &variable[at + segment(wrong).len()..];
            format!("{}{}{after}", &variable[..at], segment(right))
        }
        None => segment(right),
    }
}

/// The name most like the given one, if it is like it at all.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let name = name.to_lowercase();
    // An enormous name is like none; the comparison takes time by the square of the length.
    if name.len() > 64 {
        return None;
    }
    let measure = |candidate: &'a str| {
        let other = candidate.to_lowercase();
        let distance = strsim::damerau_levenshtein(&name, &other);
        let one_begins_the_other = name.len().min(other.len()) >= 3
            && (name.starts_with(&other) || other.starts_with(&name));
        let alike = distance <= (other.len() / 3).max(1) || one_begins_the_other;
        alike.then_some((distance, candidate))
    };
    candidates
        .into_iter()
        .filter_map(measure)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
