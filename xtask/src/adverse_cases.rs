//! Compares docs/adverse-cases.md with the `case_NN_` names of the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::workspace;

/// The files whose tests name a case, by the case.
type Files = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_document_names_every_case_and_the_files_that_test_it() {
    let path = workspace::root().join("docs/adverse-cases.md");
    let document = fs::read_to_string(&path).unwrap();
    let mut files = Files::new();
    for folder in ["crates", "xtask"] {
        collect(&workspace::root().join(folder), &mut files);
    }
    let (expected, unknown) = with_files(&document, files);
    assert!(unknown.is_empty(), "docs/adverse-cases.md does not describe case {unknown:?}");
    if std::env::var_os("MINTGATE_TEST_UPDATE_DOCS").is_some() {
        fs::write(&path, expected).unwrap();
    } else {
        assert!(
            document == expected,
            "docs/adverse-cases.md does not name the files as they are now: \
             `MINTGATE_TEST_UPDATE_DOCS=1 cargo test -p xtask adverse_cases` writes them"
        );
    }
}

fn collect(folder: &Path, files: &mut Files) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(workspace::root()).unwrap().to_str().unwrap();
            let name = name.strip_prefix("crates/").unwrap_or(name);
            for case in cases(&fs::read_to_string(&path).unwrap()) {
                files.entry(case).or_default().insert(name.to_owned());
            }
        }
    }
}

/// The cases that the names of functions begin with, without leading zeros.
fn cases(source: &str) -> impl Iterator<Item = String> {
    source.split(concat!("fn ", "case_")).skip(1).map(|rest| {
        let number = rest.split('_').next().unwrap_or_default();
        number.trim_start_matches('0').to_owned()
    })
}

/// The document with the files of each case at the end of its section, and the cases that it lacks.
fn with_files(document: &str, mut files: Files) -> (String, Vec<String>) {
    let mut written = String::new();
    let mut pending: Option<String> = None;
    for line in document.lines().filter(|line| !line.starts_with("Tests: ")) {
        if line.is_empty() {
            written += &pending.take().unwrap_or_default();
        } else if let Some(heading) = line.strip_prefix("### Case ") {
            let case = heading.split(':').next().unwrap_or_default();
            pending = files.remove(case).map(|files| {
                let quoted: Vec<_> = files.iter().map(|file| format!("`{file}`")).collect();
                format!("Tests: {}\n", quoted.join(", "))
            });
        }
        written += line;
        written.push('\n');
    }
    written += &pending.unwrap_or_default();
    (written, files.into_keys().collect())
}
