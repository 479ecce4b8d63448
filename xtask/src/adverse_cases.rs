//! Compares docs/adverse-cases.md with the `case_NN_` names of the tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::workspace;

/// Cases whose tests have other names: parts of 5a, 42a and 49 are tested without the number, and 54 is `chaos --sabotage`.
const TESTED_UNDER_OTHER_NAMES: [&str; 4] = ["5a", "42a", "49", "54"];

#[test]
fn every_case_that_a_test_names_is_described_and_every_described_case_is_tested() {
    let document = fs::read_to_string(workspace::root().join("docs/adverse-cases.md")).unwrap();
    let described: BTreeSet<String> = document
        .lines()
        .filter_map(|line| line.strip_prefix("### Case ")?.split(':').next())
        .map(str::to_owned)
        .collect();
    let mut tested = BTreeSet::new();
    for folder in ["crates", "xtask"] {
        collect(&workspace::root().join(folder), &mut tested);
    }
    let undescribed: Vec<_> = tested.difference(&described).collect();
    assert!(
        undescribed.is_empty(),
        "docs/adverse-cases.md has no section for case {undescribed:?}"
    );
    tested.extend(TESTED_UNDER_OTHER_NAMES.map(str::to_owned));
    let untested: Vec<_> = described.difference(&tested).collect();
    assert!(
        untested.is_empty(),
        "no test has a name that begins with `case_NN_` for case {untested:?}"
    );
}

fn collect(folder: &Path, cases: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, cases);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            cases.extend(named_cases(&fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The cases that the names of functions begin with, without leading zeros.
fn named_cases(source: &str) -> impl Iterator<Item = String> {
    source.split(concat!("fn ", "case_")).skip(1).map(|rest| {
        let number = rest.split('_').next().unwrap_or_default();
        number.trim_start_matches('0').to_owned()
    })
}
