//! Texts made from the declarations of the keys: the reference, and the effective configuration.

use std::fmt::Write as _;

use crate::Conventions;
use crate::reader::{Reader, Record, SectionDoc};
use crate::source::Origin;
use crate::unknown::header;

/// The reference of all keys: a heading and a table for each section, as Markdown.
pub(crate) fn markdown(reader: &Reader) -> String {
    let mut out = String::new();
    for section in &reader.sections {
        let _ = write!(out, "\n## `{}`\n\n{}", header(section.name, section.repeated), section.doc);
        if let Some(variable) = variable(section, reader.conventions) {
            let _ = write!(out, " Environment: `{variable}`.");
        }
        out.push_str("\n\n| key | type | default | meaning |\n|---|---|---|---|\n");
        for record in reader.records.iter().filter(|r| r.section == section.name) {
            let Record { name, kind, default, doc, .. } = record;
            let _ = writeln!(out, "| `{name}` | {kind} | {default} | {doc} |");
        }
    }
    out
}

/// The form of the variables that set a section's keys; `None` for an unnamed list, whose tables no
/// variable can name.
fn variable(section: &SectionDoc, conventions: &Conventions) -> Option<String> {
    let prefix = conventions.env_prefix;
    if section.repeated {
        return conventions.named_list(section.name).map(|list| list.variable(prefix));
    }
    Some(format!("{prefix}{}__KEY", section.name.to_ascii_uppercase().replace('.', "__")))
}

/// The values in force as TOML, masked, each with its origin.
pub(crate) fn effective(reader: &Reader) -> String {
    let mut out = String::new();
    let mut paths: Vec<&str> = Vec::new();
    for record in &reader.records {
        if record.applies && !paths.contains(&record.path.as_str()) {
            paths.push(&record.path);
        }
    }
    for path in paths {
        let records = || reader.records.iter().filter(|r| r.applies && r.path == path);
        for Record { section, .. } in records().take(1) {
            let separator = if out.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{separator}{}", header(section, reader.is_repeated(section)));
        }
        for Record { name, value, origin, .. } in records() {
            let _ = match (value, origin) {
                (None, _) => writeln!(out, "# {name} is not set"),
                (Some(value), Origin::Unset) => writeln!(out, "{name} = {value}  # default"),
                (Some(value), origin) => writeln!(out, "{name} = {value}  # {origin}"),
            };
        }
    }
    out
}
