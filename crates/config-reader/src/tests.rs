//! The reader with the configuration of an application that is not Mintgate.

use std::ffi::OsString;

use proptest::prelude::*;

use crate::{Conventions, Loaded, NamedList, Section, key};

const CONVENTIONS: Conventions = Conventions {
    default_file: "garden.toml",
    file_option: "with --plan",
    env_prefix: "GARDEN_",
    named_lists: &[NamedList { section: "beds", name_key: "name", noun: "bed" }],
};

#[derive(Debug)]
struct Garden {
    size: u32,
    beds: Vec<(String, Vec<String>, Option<bool>)>,
}

fn bed(s: &mut Section<'_>) -> Option<(String, Vec<String>, Option<bool>)> {
    let name =
        s.text(key("name", "The name.").required("name = \"a\""), "text", |t| Ok(t.to_owned()));
    let plants = s.list(key("plants", "The plants.").default([]), "list", |t| Ok(t.to_owned()));
    let water = s.section("beds.water", "The water.", |s| s.flag(key("daily", "Whether daily.")));
    Some((name?, plants?, water))
}

fn garden(root: &mut Section<'_>) -> Option<Garden> {
    let size = root.section("garden", "The garden.", |s| {
        s.text_or_file(key("key", "The key of its gate.").secret(), "text", |t| Ok(t.len()));
        s.texts_by_name(key("signs", "The signs."), "table", |_, text| Ok(text.map(str::to_owned)));
        s.number(key("size", "The size.").default(9), 1..=99)
    });
    let beds = root.tables("beds", "The beds.", bed);
    Some(Garden { size: size?, beds: beds? })
}

fn read(text: &str) -> Result<Loaded<Garden>, String> {
    let source = CONVENTIONS.parse(text).map_err(|error| error.to_string())?;
    source.read(garden).map_err(|error| error.to_string())
}

#[test]
fn a_section_inside_an_element_of_a_list_keeps_the_index_of_that_element() {
    let text = "[[beds]]\nname = \"a\"\n[beds.water]\ndaily = true\n\
                [[beds]]\nname = \"b\"\n[beds.water]\ndaily = 5\ndaly = true\n";
    let message = read(text).unwrap_err();
    assert!(message.contains("1. beds[1].water.daily = 5 (garden.toml:8)"), "{message}");
    assert!(message.contains("2. beds[1].water.daly (garden.toml:9)"), "{message}");
    assert!(message.contains("daily?"), "{message}");
    let loaded = read(&text.replace("daily = 5\ndaly", "daily")).unwrap();
    assert_eq!(loaded.value.beds.len(), 2);
    assert_eq!(loaded.value.beds[1].2, Some(true));
    let again = read(&loaded.effective).unwrap();
    assert_eq!(format!("{:?}", again.value), format!("{:?}", loaded.value));
}

#[test]
fn variables_are_named_as_the_application_says() {
    let env = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(a, b)| (OsString::from(a), OsString::from(b))).collect::<Vec<_>>()
    };
    let load = |pairs: &[(&str, &str)]| {
        let source = CONVENTIONS.load(None, env(pairs)).unwrap();
        assert_eq!(
            source.names("beds").len(),
            pairs.iter().filter(|p| p.0.ends_with("NAME")).count()
        );
        source.read(garden).map_err(|error| error.to_string())
    };
    let loaded =
        load(&[("GARDEN_BEDS__NORTH__NAME", "north"), ("GARDEN_BEDS__NORTH__PLANTS", "x,y")]);
    assert_eq!(loaded.unwrap().value.beds[0].1, ["x", "y"]);
    for (name, named) in [
        ("GARDEN_SIZE", &["GARDEN_SECTION__KEY", "GARDEN_BEDS__NAME__KEY"][..]),
        ("GARDEN_BEDS__SOUTH__PLANTS", &["bed"]),
        ("GARDEN_GARDN__SIZE", &["GARDEN_GARDEN__SIZE?"]),
    ] {
        let error = load(&[(name, "1")]).unwrap_err();
        assert!(error.contains(&format!("({name})")), "{error}");
        assert!(named.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn sections_that_are_left_out_are_neither_read_nor_unknown() {
    let text = "[garden]\nsize = 5\n[[beds]]\nnam = 1\n[shed]\n";
    let source = CONVENTIONS.parse(text).unwrap().without(["beds"]);
    let error = source
        .read(|root| root.section("garden", "", |s| s.number(key("size", ""), 1..=9)))
        .unwrap_err()
        .to_string();
    assert!(error.contains("\n\n1. shed (") && !error.contains("\n\n2. "), "{error}");
    assert!(error.contains("garden, beds"), "{error}");
}

/// Texts that are TOML as often as not, made of the names that the garden knows.
fn toml() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("size"),
        Just("key"),
        Just("key_file"),
        Just("signs"),
        Just("name"),
        Just("plants"),
        Just("water"),
        Just("daily"),
        Just("nonsense"),
        Just("\"\""),
        Just("garden"),
        Just("beds"),
    ];
    let value = prop_oneof![
        Just("5".to_owned()),
        Just("-1".to_owned()),
        Just("true".to_owned()),
        Just("1.5".to_owned()),
        Just("1979-05-27".to_owned()),
        Just("[]".to_owned()),
        Just("[1, \"a\", [2]]".to_owned()),
        Just("{ daily = 1, x = { y = [] } }".to_owned()),
        Just("[{ name = 'a' }, 7]".to_owned()),
        "\"[^\"\\\\\n\r]{0,200}\"",
        "'/\\PC{0,9}'",
    ];
    let line = prop_oneof![
        4 => (name, value).prop_map(|(name, value)| format!("{name} = {value}")),
        1 => Just("[garden]".to_owned()), 1 => Just("[[beds]]".to_owned()),
        1 => Just("[beds.water]".to_owned()), 1 => Just("[shed]".to_owned()), 1 => "\\PC{0,20}",
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_with_the_line_of_each_mistake(text in toml()) {
        match read(&text) {
            Ok(Loaded { value, effective, .. }) => {
                prop_assert!((1..=99).contains(&value.size));
                prop_assert!(read(&effective).is_ok(), "{}", effective);
            }
            Err(message) => {
                let mistakes = message.lines().filter(|line| {
                    line.split_once(". ").is_some_and(|(n, _)| n.parse::<u32>().is_ok())
                });
                for mistake in mistakes {
                    let place = mistake.rsplit_once("(garden.toml:").map(|(_, rest)| rest);
                    let line = place.and_then(|p| p.strip_suffix(')')).and_then(|l| l.parse().ok());
                    let count = text.lines().count().max(1);
                    prop_assert!(line.is_some_and(|l: usize| (1..=count + 1).contains(&l)), "{}", mistake);
                }
            }
        }
    }

    #[test]
    fn any_variables_are_applied_or_refused(
        pairs in prop::collection::vec(("(GARDEN|BEDS|beds|_){0,4}[A-Z_]{0,9}", "\\PC{0,20}"), 0..6),
    ) {
        let env = pairs.iter().map(|(name, value)| {
            (OsString::from(format!("GARDEN_{name}")), OsString::from(value))
        });
        let source = CONVENTIONS.load(None, env).unwrap();
        let _ = source.read(garden).map_err(|error| error.to_string());
    }
}

#[test]
fn a_file_and_the_environment_are_laid_over_defaults() {
    let defaults = "[garden]\nsize = 3\nsigns = { gate = \"open\" }\n\
                    [[beds]]\nname = \"a\"\nplants = [\"rose\"]\n[beds.water]\ndaily = true\n\
                    [[beds]]\nname = \"b\"\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.toml");
    let load = |text: &str, env: &[(&str, &str)]| {
        std::fs::write(&path, text).unwrap();
        let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let source = CONVENTIONS.load_over(("defaults", defaults), Some(&path), env);
        source.and_then(|source| source.read(garden)).map_err(|error| error.to_string())
    };
    let beds = |loaded: &Loaded<Garden>| {
        let beds = loaded.value.beds.iter();
        beds.map(|(name, plants, daily)| (name.clone(), plants.join(","), *daily))
            .collect::<Vec<_>>()
    };
    let bed = |name: &str, plants: &str, daily| (name.to_owned(), plants.to_owned(), daily);

    let loaded = load("", &[]).unwrap();
    assert_eq!(loaded.value.size, 3);
    assert_eq!(beds(&loaded), [bed("a", "rose", Some(true)), bed("b", "", None)]);
    assert!(loaded.effective.contains("size = 3  # defaults:2"), "{}", loaded.effective);

    let mine = "[garden]\nsize = 4\n[[beds]]\nname = \"c\"\n\
                [[beds]]\nname = \"a\"\nplants = [\"lily\", \"iris\"]\n";
    let loaded = load(mine, &[("GARDEN_BEDS__B__PLANTS", "moss")]).unwrap();
    assert_eq!(loaded.value.size, 4);
    assert_eq!(
        beds(&loaded),
        [bed("a", "lily,iris", Some(true)), bed("b", "moss", None), bed("c", "", None)]
    );
    assert_eq!(load(mine, &[("GARDEN_GARDEN__SIZE", "5")]).unwrap().value.size, 5);

    let message = load("[garden]\nsize = 400\nsiez = 1\n", &[]).unwrap_err();
    assert!(
        message.contains("1. garden.size = 400") && message.contains("mine.toml:2"),
        "{message}"
    );
    assert!(message.contains("2. garden.siez"), "{message}");
    let message = load("[garden\n", &[]).unwrap_err();
    assert!(message.contains("is not TOML"), "{message}");
}
