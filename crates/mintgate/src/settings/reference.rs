//! Text made from the keys' declarations: the reference, and the effective configuration.

use std::fmt::Write as _;

use super::reader::{Reader, Record, SectionDoc};
use super::source::Origin;
use super::unknown::bracketed;
use super::{file, read, source};

/// The least that production needs; a test loads it.
pub(super) const EXAMPLE: &str = r#"[server]
public_url = "https://auth.example.com"        # as browsers and services reach it
[cors]
allowed_origins = ["https://app.example.com"]  # the pages that call with cookies
[[providers]]
id = "corp"                                    # `provider` in requests
issuer = "https://idp.example.com"             # exactly as its discovery document says
client_id = "mintgate"
client_secret_file = "/run/secrets/corp"       # or MINTGATE__PROVIDERS__CORP__CLIENT_SECRET
redirect_uris = ["https://app.example.com/callback"]
"#;

/// A configuration in which every section is there once.
const EVERY_SECTION: &str = "[[roles.rules]]\n[[providers]]\n";

const OPENING: &str = "\
<!-- Made from the code by `mintgate config reference`; a test compares. -->

# Configuration

One TOML file: the one that `--config` or `MINTGATE_CONFIG` names, else `./mintgate.toml`, if it is
there. Everything is checked at the start, and all mistakes are told at once, each with its place
and its remedy; an unknown key is a mistake. `mintgate config check` does only that;
`mintgate config print` shows what is in force, and where each value comes from.

The least that production needs:

";

const AFTER_EXAMPLE: &str = "
**Environment.** A variable goes over the file: `MINTGATE__SECTION__KEY`, for example
`MINTGATE__SERVER__LISTEN`; for a provider `MINTGATE__PROVIDERS__ID__KEY`, its id in upper case and
`_` for `-`. Lists are written with commas between the elements, or in TOML or JSON; tables in TOML
or JSON. A provider that is not in the file is made by `MINTGATE__PROVIDERS__CORP__ID=corp`. A
`MINTGATE__…` variable that sets nothing is a mistake.

**Secrets.** A key with a `…_file` beside it is set by either, not by both. Secrets and the
passwords in URLs are in no message, and not in what `config print` shows.
";

/// The reference of all keys, in Markdown: `docs/configuration.md`.
pub fn reference() -> String {
    let mut reader = Reader::default();
    if let Ok(table) = source::parse(file::DEFAULT_NAME, EVERY_SECTION) {
        // Required keys are not set, and that is noted; only the declarations are wanted here.
        read(&mut reader, table);
    }
    let mut out = format!("{OPENING}```toml\n{EXAMPLE}```\n{AFTER_EXAMPLE}");
    for section in &reader.sections {
        let header = bracketed(section.name, section.repeated);
        let _ = write!(out, "\n## `{header}`\n\n{}", section.doc);
        if let Some(variable) = variable(section) {
            let _ = write!(out, " In the environment: `{variable}`.");
        }
        out.push_str("\n\n| key | type | default | meaning |\n|---|---|---|---|\n");
        for record in reader.records.iter().filter(|r| r.section == section.name) {
            let Record { name, kind, default, doc, .. } = record;
            let _ = writeln!(out, "| `{name}` | {kind} | {default} | {doc} |");
        }
    }
    out
}

/// The form of a section's variables; a rule has none of its own.
fn variable(section: &SectionDoc) -> Option<String> {
    match (section.name, section.repeated) {
        (name, false) => {
            Some(format!("MINTGATE__{}__KEY", name.to_ascii_uppercase().replace('.', "__")))
        }
        (super::unknown::PROVIDERS, true) => Some("MINTGATE__PROVIDERS__ID__KEY".to_owned()),
        (_, true) => None,
    }
}

/// The values in force as TOML, masked, each with its origin.
pub(super) fn effective(records: &[Record]) -> String {
    let mut out = String::new();
    let mut path = "";
    for record in records.iter().filter(|record| record.applies) {
        if record.path != path {
            let separator = if out.is_empty() { "" } else { "\n" };
            // A path of its own, with an index or an id, is one of several.
            let several = record.path != record.section;
            let _ = writeln!(out, "{separator}{}", bracketed(record.section, several));
            path = &record.path;
        }
        let _ = match (&record.value, &record.origin) {
            (None, _) => writeln!(out, "# {} is not set", record.name),
            (Some(value), Origin::Unset) => writeln!(out, "{} = {value}  # default", record.name),
            (Some(value), origin) => writeln!(out, "{} = {value}  # {origin}", record.name),
        };
    }
    out
}
