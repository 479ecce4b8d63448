//! Every preset is complete: it has its page with a valid sample, and the other places that
//! docs/providers/README.md ("Add a provider") names.

use std::path::Path;

use mintgate_identity_openid::Preset;

use super::EC_KEY;
use crate::Settings;

/// The first block of TOML in a page that has providers in it.
fn sample(page: &str) -> Option<&str> {
    let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.into_iter().find(|block| block.contains("[[providers]]"))
}

/// The block with every file it names put in place.
pub(super) fn with_files(block: &str, dir: &Path) -> String {
    let line = |line: &str| {
        let Some((key, _)) = line.split_once('=').filter(|(key, _)| key.trim().ends_with("_file"))
        else {
            return line.to_owned();
        };
        let key = key.trim();
        let content = match key {
            "client_key_file" => EC_KEY.to_owned(),
            "encryption_key_file" => "0f".repeat(32),
            "url_file" => "postgres://mintgate:secret@db/mintgate".to_owned(),
            _ => "secret".to_owned(),
        };
        let path = dir.join(key);
        std::fs::write(&path, content).unwrap();
        format!("{key} = \"{}\"", path.display())
    };
    block.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sample_of_the_page_about_deployment_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let sample = sample(include_str!("../../../../docs/deploy.md")).expect("a sample");
    let settings = Settings::from_toml(&with_files(sample, dir.path()));
    assert_eq!(settings.unwrap_or_else(|error| panic!("{error}")).warnings(), []);
}

#[test]
fn the_sample_of_every_preset_in_the_docs_is_accepted() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/providers");
    let dir = tempfile::tempdir().unwrap();
    for preset in Preset::ALL {
        let page = std::fs::read_to_string(docs.join(format!("{}.md", preset.name)))
            .unwrap_or_else(|error| panic!("docs/providers/{}.md: {error}", preset.name));
        let block = sample(&page)
            .unwrap_or_else(|| panic!("docs/providers/{}.md has no [[providers]]", preset.name));
        let settings = Settings::from_toml(&with_files(block, dir.path()))
            .unwrap_or_else(|error| panic!("docs/providers/{}.md\n{block}\n{error}", preset.name));
        let names: Vec<_> = settings.providers.iter().map(|p| p.preset.name).collect();
        assert_eq!(names, [preset.name], "docs/providers/{}.md", preset.name);
    }
}

#[test]
fn every_preset_has_its_entry_in_the_docs_its_dialect_and_its_login_in_the_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| {
        let text = std::fs::read_to_string(root.join(path));
        text.unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let tests = std::fs::read_dir(root.join("crates/mintgate/tests/service/presets")).unwrap();
    let tests: String =
        tests.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let tests = tests.to_lowercase();
    let (readme, table) = (read("README.md"), read("docs/providers/README.md"));
    let providers = readme.split_once("## Providers").unwrap().1.split("\n## ").next().unwrap();
    let names: Vec<_> = providers.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let mut missing = Vec::new();
    for Preset { name, .. } in Preset::ALL {
        if !names.contains(name) {
            missing.push(format!("README.md, \"Providers\": name {name}"));
        }
        if !table.contains(&format!("]({name}.md) | `{name}` |")) {
            missing.push(format!("docs/providers/README.md: a row for {name} in the table"));
        }
        // The presets for any provider of a protocol speak no dialect.
        let is_known = Preset::find(name).unwrap().parameter("issuer").is_none();
        let dialect = format!("crates/mock-idp/src/dialect/{name}.rs");
        if is_known && !root.join(&dialect).exists() {
            missing.push(format!("{dialect}: how the mock provider speaks as {name}"));
        }
        let by_preset = format!("preset = \\\"{name}\\\"");
        if !tests.contains(&by_preset) && !tests.contains(&format!("dialect::{name}")) {
            missing.push(format!("crates/mintgate/tests/service/presets: a login at {name}"));
        }
    }
    assert!(missing.is_empty(), "places without a preset:\n  {}", missing.join("\n  "));
}
