//! Keys that no section has asked for, and suggestions of what was meant. The values of such keys
//! are never shown: a misspelt secret is still a secret.

use crate::mistakes::{Mistake, invalid};
use crate::reader::Reader;
use crate::source::{Node, Origin, Value};

/// A key or a whole section that does not exist.
pub(crate) struct Unknown {
    /// The section that it was found in; empty for the top level.
    section: &'static str,
    /// The path of that section in this configuration, for example `providers[0]`.
    within: String,
    /// The path of the unknown key in this configuration.
    path: String,
    name: String,
    origin: Origin,
}

/// Notes an unknown key. Of a table that the environment made, each key is noted separately.
pub(crate) fn collect(
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

/// The message for an unknown key, with the most likely remedy.
pub(crate) fn mistake(unknown: &Unknown, reader: &Reader) -> Mistake {
    let known = names_in(reader, unknown.section, Some(&unknown.within));
    let near = nearest(&unknown.name, known.iter().copied());
    let is_here = |section: &&str| *section == unknown.section;
    let sections_with_it: Vec<String> = reader
        .sections
        .iter()
        .filter(|s| !is_here(&s.name) && names_in(reader, s.name, None).contains(&&*unknown.name))
        .map(|s| header(s.name, s.repeated))
        .collect();
    let what = if unknown.section.is_empty() { "section" } else { "key" };
    let fix = match (near, &unknown.origin) {
        (Some(name), Origin::Env(variable)) => {
            let prefix = reader.conventions.env_prefix;
            format!("did you mean {}?", respelt(prefix, variable, &unknown.name, name))
        }
        (Some(name), _) if unknown.section.is_empty() => {
            format!("did you mean {}?", header(name, reader.is_repeated(name)))
        }
        (Some(name), _) => format!("did you mean {name}?"),
        (None, _) if !sections_with_it.is_empty() => {
            format!("move it to {}", sections_with_it.join(" or "))
        }
        (None, _) => format!("remove it; the names here are {}", known.join(", ")),
    };
    Mistake {
        key: unknown.path.clone(),
        origin: unknown.origin.clone(),
        value: None,
        invalid: invalid(format!("There is no such {what}."), fix),
    }
}

/// The keys and subsections of a section; for the top level, the sections. `within` is the path of
/// the one list element whose keys count, as different elements may have different keys.
fn names_in<'a>(reader: &'a Reader, section: &str, within: Option<&str>) -> Vec<&'a str> {
    let keys = reader
        .records
        .iter()
        .filter(|r| r.section == section && within.is_none_or(|path| r.path == path && r.applies))
        .map(|r| r.name.as_str());
    let sections = reader.sections.iter().map(|s| s.name).chain(reader.skipped.iter().copied());
    let sections = sections.filter_map(|name| match name.rsplit_once('.') {
        Some((parent, name)) => (parent == section).then_some(name),
        None => section.is_empty().then_some(name),
    });
    let mut names = Vec::new();
    for name in keys.chain(sections) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The TOML header of a section.
pub(crate) fn header(section: &str, repeated: bool) -> String {
    if repeated { format!("[[{section}]]") } else { format!("[{section}]") }
}

/// The variable with the last segment of its name that is `wrong` corrected.
fn respelt(prefix: &str, variable: &str, wrong: &str, right: &str) -> String {
    let right = right.to_ascii_uppercase();
    let path = variable.strip_prefix(prefix).unwrap_or_default();
    let mut segments: Vec<&str> = path.split("__").collect();
    match segments.iter_mut().rfind(|segment| segment.eq_ignore_ascii_case(wrong)) {
        Some(segment) => *segment = &right,
        None => return right,
    }
    format!("{prefix}{}", segments.join("__"))
}

/// The candidate most similar to a name; `None` if none is similar. Case does not matter.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The comparison takes time by the square of the length.
    if name.len() > 64 {
        return None;
    }
    let name = name.to_lowercase();
    let measure = |candidate: &'a str| {
        let other = candidate.to_lowercase();
        let distance = strsim::damerau_levenshtein(&name, &other);
        let one_begins_the_other = name.len().min(other.len()) >= 3
            && (name.starts_with(&other) || other.starts_with(&name));
        let similar = distance <= (other.len() / 3).max(1) || one_begins_the_other;
        similar.then_some((distance, candidate))
    };
    let similar = candidates.into_iter().filter_map(measure);
    similar.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}
