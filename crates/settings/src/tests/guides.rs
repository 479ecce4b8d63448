//! The providers' guides: the configuration each of them shows is one that is accepted.

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
fn with_files(block: &str, dir: &Path) -> String {
    let line = |line: &str| {
        let Some((key, _)) = line.split_once('=').filter(|(key, _)| key.trim().ends_with("_file"))
        else {
            return line.to_owned();
        };
        let key = key.trim();
        let content = match key {
            "client_key_file" => EC_KEY.to_owned(),
            "encryption_key_file" => "0f".repeat(32),
            _ => "secret".to_owned(),
        };
        let path = dir.join(key);
        std::fs::write(&path, content).unwrap();
        format!("{key} = \"{}\"", path.display())
    };
    block.lines().map(line).collect::<Vec<_>>().join("\n")
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
