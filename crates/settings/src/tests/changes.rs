//! What a running service takes over of a changed configuration, and what it does not.

use super::{PROVIDER, Settings};

fn settings(more: &str) -> Settings {
    Settings::from_toml(&format!("{more}{PROVIDER}")).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_key_is_either_taken_over_or_needs_a_restart() {
    for (more, taken_over, need_restart) in [
        ("", vec![], vec![]),
        ("[log]\nfilter = \"warn\"\n", vec!["log.filter"], vec![]),
        ("[log]\nformat = \"pretty\"\n", vec![], vec!["log.format"]),
        (
            "[limits]\nexempt = [\"192.0.2.0/24\"]\nmax_sign_ins = 9\n",
            vec!["limits.exempt"],
            vec!["limits.max_sign_ins"],
        ),
        (
            "[roles]\ndefault = [\"a\"]\n[server]\nworkers = 3\n",
            vec!["roles.default"],
            vec!["server.workers"],
        ),
        ("[store]\nkeep_ended_days = 0\n", vec![], vec!["store.keep_ended_days"]),
    ] {
        let changes = settings("").changes(&settings(more));
        assert_eq!(
            (changes.taken_over, changes.need_restart),
            (owned(&taken_over), owned(&need_restart))
        );
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn another_secret_of_the_store_is_noticed_although_both_are_masked() {
    let with =
        |password: &str| settings(&format!("[store]\nurl = \"postgres://u:{password}@host/db\"\n"));
    assert_eq!(with("one").changes(&with("one")).need_restart, [""; 0]);
    let changes = with("one").changes(&with("two"));
    assert_eq!(changes.need_restart, ["store (a secret)"]);
}

#[test]
fn another_provider_is_taken_over() {
    let next = settings(
        "[[providers]]\nid = \"hub\"\npreset = \"github\"\nclient_id = \"x\"\nclient_secret = \"x\"\nredirect_uris = [\"https://app.example.com/cb\"]\n",
    );
    let changes = settings("").changes(&next);
    assert!(changes.need_restart.is_empty() && !changes.taken_over.is_empty(), "{changes:?}");
}
