//! Commands that need a part of the configuration validate that part alone.

use super::{Mistake, mistakes};
use crate::Configuration;

const BROKEN_PROVIDER: &str = "[[providers]]\nid = \"corp\"\npreset = \"okta\"\nclient_idd = 5\n";

fn configuration(lines: &str) -> Configuration {
    let env =
        [("MINTGATE__PROVIDERS__CORP__REDIRECT_URIS", "*"), ("MINTGATE__PROVIDERS__X__Y", "z")];
    let env = env.map(|(name, value)| (name.into(), value.into()));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, format!("{lines}\n{BROKEN_PROVIDER}").as_bytes()).unwrap();
    Configuration::load(Some(file.path()), env).unwrap()
}

#[test]
fn a_broken_provider_stops_neither_the_store_nor_the_keys_nor_the_roles() {
    let text = "[store]\npool_size = 3\n[keys]\ndir = \"d\"\n[[roles.rules]]\nprovider = \"corp\"\n\
                claim = \"groups\"\nequals = \"x\"\ngrant = [\"a\"]\n[server]\n\
                public_url = \"https://auth.example.com\"";
    assert!(configuration(text).settings().is_err());
    assert_eq!(configuration(text).store().unwrap().pool_size, 3);
    let keys = configuration(text).key_ring().unwrap();
    assert_eq!((keys.keys.dir.to_str(), keys.store.pool_size), (Some("d"), 3));
    assert_eq!(keys.tokens.issuer, "https://auth.example.com");
    let operators = configuration(text).administration().unwrap();
    assert_eq!(operators.store.pool_size, 3);
    assert_eq!(operators.tokens.issuer, "https://auth.example.com");
    assert_eq!(configuration(text).people().unwrap().1.rules.len(), 1);
    assert_eq!(configuration(text).provider_ids(), ["corp"]);
}

#[test]
fn the_sections_that_are_needed_are_validated_as_ever() {
    let refused = |text: &str| mistakes(&configuration(text).store().unwrap_err());
    let keys = |mistakes: &[Mistake]| -> Vec<String> {
        mistakes.iter().map(|mistake| mistake.key().to_owned()).collect()
    };
    let wrong = refused("[store]\npool_size = 0\npool = 1");
    assert_eq!(keys(&wrong), ["store.pool_size", "store.pool"]);
    let tokens = "[tokens]\naccess_ttl_secs = 0";
    assert!(configuration(tokens).store().is_ok());
    assert!(configuration(tokens).key_ring().is_err());
    // A section that does not exist may be a misspelt one that is needed.
    let misspelt = refused("[stor]\nurl = \"postgres://db/mint\"");
    assert_eq!(keys(&misspelt), ["stor"]);
    assert!(misspelt[0].body.contains("[store]?"), "{misspelt:?}");
    assert_eq!(keys(&refused("[provider]\nid = \"x\"")), ["provider"]);
}
