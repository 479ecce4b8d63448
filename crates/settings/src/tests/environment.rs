//! Variables over the file.

use mintgate_domain::model::AllowedUri;

use super::{Mistake, PROVIDER, load, mistakes, openid};

/// The one mistake that this variable is, whose heading names it.
fn refused(text: &str, name: &str, value: &str) -> Mistake {
    let mut mistakes = mistakes(&load(text, &[(name, value)]).unwrap_err());
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert!(mistakes[0].heading.ends_with(&format!("({name})")), "{mistakes:?}");
    mistakes.remove(0)
}

#[test]
fn a_variable_goes_over_the_file_in_every_type() {
    let text = format!("[tokens]\naccess_ttl_secs = 60\n{PROVIDER}");
    let settings = load(
        &text,
        &[
            ("MINTGATE__TOKENS__ACCESS_TTL_SECS", "120"),
            ("MINTGATE__TOKENS__BODY_DELIVERY", "true"),
            ("MINTGATE__TOKENS__ALGORITHM", "EdDSA"),
            ("MINTGATE__TOKENS__AUDIENCE", "a, b"),
            ("MINTGATE__TOKENS__EXTRA_CLAIMS", "{\"dept\": \"org.dept\"}"),
            ("MINTGATE__CORS__ALLOWED_ORIGINS", r#"["https://a.test", "https://b.test"]"#),
            ("MINTGATE__ROLES__DEFAULT", ""),
            ("MINTGATE__ROLES__RULES", "[{ claim = 'groups', equals = 'x', grant = ['y'] }]"),
            ("MINTGATE__PROVIDERS__CORP__USERINFO", "true"),
        ],
    )
    .unwrap();
    assert_eq!(settings.tokens.access_ttl.as_secs(), 120);
    assert!(settings.tokens.body_delivery);
    assert_eq!(settings.tokens.audience, ["a", "b"]);
    assert_eq!(settings.tokens.extra_claims, [("dept".to_owned(), "org.dept".to_owned())]);
    let origins: Vec<_> = settings.cors.allowed_origins.iter().map(AllowedUri::as_str).collect();
    assert_eq!(origins, ["https://a.test", "https://b.test"]);
    assert!(settings.roles.default.is_empty());
    assert_eq!(settings.roles.rules[0].claim, "groups");
    assert!(openid(&settings.providers[0]).userinfo);
}

#[test]
fn a_section_in_a_section_is_one_more_segment() {
    let text = format!("[roles.lookup]\nurl = \"https://a.test\"\n{PROVIDER}");
    let over = [
        ("MINTGATE__ROLES__LOOKUP__URL", "https://b.test/roles"),
        ("MINTGATE__ROLES__LOOKUP__TOKEN", "t0ken"),
    ];
    for text in [text.as_str(), PROVIDER] {
        let lookup = load(text, &over).unwrap().roles.lookup.unwrap();
        assert_eq!(lookup.url.as_str(), "https://b.test/roles");
        assert_eq!(lookup.token.unwrap().expose(), "t0ken");
    }
    let whole = ("MINTGATE__ROLES__LOOKUP", "{ url = 'https://c.test', cache_secs = 5 }");
    let lookup = load(&text, &[whole]).unwrap().roles.lookup.unwrap();
    assert_eq!((lookup.url.as_str(), lookup.cache.as_secs()), ("https://c.test/", 5));
    let lookup = load(&text, &[whole, over[1]]).unwrap().roles.lookup.unwrap();
    assert_eq!((lookup.cache.as_secs(), lookup.token.is_some()), (5, true));
    let rules = "[[roles.rules]]\nclaim = \"a\"\nequals = \"b\"\ngrant = [\"c\"]\n";
    let misspelt = refused(PROVIDER, "MINTGATE__ROLES__LOOKUP__URLL", "x");
    assert!(misspelt.body.contains("MINTGATE__ROLES__LOOKUP__URL?"), "{misspelt}");
    for (text, name) in [
        (PROVIDER, "MINTGATE__SERVER__LISTEN__X"),
        (&format!("{rules}{PROVIDER}"), "MINTGATE__ROLES__RULES__0"),
        (&format!("[log]\nformat = \"json\"\n{PROVIDER}"), "MINTGATE__LOG__FORMAT__X"),
    ] {
        refused(text, name, "x");
    }
}

#[test]
fn a_provider_is_named_by_its_id_in_upper_case() {
    let text = PROVIDER.replace("\"corp\"", "\"my-corp__2\"");
    let settings = load(&text, &[("MINTGATE__PROVIDERS__MY_CORP__2__CLIENT_ID", "other")]).unwrap();
    assert_eq!(openid(&settings.providers[0]).client_id, "other");
}

#[test]
fn a_provider_can_be_in_the_environment_alone() {
    let env = [
        ("MINTGATE__PROVIDERS__MY_CORP__REDIRECT_URIS", "https://app.test/a,https://app.test/b"),
        ("MINTGATE__PROVIDERS__MY_CORP__CLIENT_ID", "mintgate"),
        ("MINTGATE__PROVIDERS__MY_CORP__ISSUER", "https://idp.test"),
        ("MINTGATE__PROVIDERS__MY_CORP__ID", "my-corp"),
    ];
    let settings = load("", &env).unwrap();
    assert_eq!(settings.providers[0].policy.id.as_str(), "my-corp");
    assert_eq!(settings.providers[0].policy.redirect_uris.len(), 2);

    let mistakes = mistakes(&load("", &env[1..]).unwrap_err());
    let heading = "providers.my-corp.redirect_uris (MINTGATE__PROVIDERS__MY_CORP__ID)";
    assert!(mistakes.iter().any(|mistake| mistake.heading == heading), "{mistakes:?}");
}

#[test]
fn a_variable_that_sets_nothing_is_a_mistake() {
    for (name, hint) in [
        ("MINTGATE__SERVER__LISTN", "MINTGATE__SERVER__LISTEN?"),
        ("MINTGATE__SERVR__LISTEN", "MINTGATE__SERVER__LISTEN?"),
        ("MINTGATE__PROVIDERS__KORP__ISSUER", "MINTGATE__PROVIDERS__CORP__ISSUER?"),
        ("MINTGATE__PROVIDERS__CORP__ISUER", "MINTGATE__PROVIDERS__CORP__ISSUER?"),
        ("MINTGATE__server__listen", "MINTGATE__SERVER__LISTEN"),
        ("MINTGATE__LISTEN", "MINTGATE__SECTION__KEY"),
        ("MINTGATE__PROVIDERS__ISSUER", "MINTGATE__PROVIDERS__ID__KEY"),
        ("MINTGATE__PROVIDERS__CORP__ID", " id "),
    ] {
        let mistake = refused(PROVIDER, name, "x");
        assert!(mistake.body.contains(hint), "{mistake}");
    }
}

#[test]
fn variables_that_are_not_settings_are_left_alone() {
    let env = [("MINTGATE_CONFIG", "x"), ("MINTGATE_TEST_DATABASE_URL", "y"), ("PATH", "z")];
    assert!(load(PROVIDER, &env).is_ok());
}

#[test]
fn a_variable_for_two_providers_is_a_mistake() {
    let text = format!(
        "{}{}",
        PROVIDER.replace("\"corp\"", "\"a-b\""),
        PROVIDER.replace("\"corp\"", "\"a_b\"")
    );
    assert!(load(&text, &[]).is_ok());
    refused(&text, "MINTGATE__PROVIDERS__A_B__CLIENT_ID", "x");
}

#[test]
fn a_variable_of_the_wrong_type_is_a_mistake_that_names_it() {
    for (name, value, key) in [
        ("MINTGATE__SERVER__WORKERS", "four", "server.workers"),
        ("MINTGATE__COOKIES__SECURE", "yes", "cookies.secure"),
        ("MINTGATE__TOKENS__AUDIENCE", "[\"a\"", "tokens.audience"),
        ("MINTGATE__CORS__ALLOWED_ORIGINS", "https://a.test,*", "cors.allowed_origins[1]"),
    ] {
        assert_eq!(refused(PROVIDER, name, value).key(), key);
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf_8_is_a_mistake() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let value = OsString::from_vec(vec![0xff]);
    let env = [(OsString::from("MINTGATE__STORE__URL"), value)];
    let mistakes = mistakes(&crate::Settings::load(None, env).unwrap_err());
    let heading = "environment (MINTGATE__STORE__URL)";
    assert!(mistakes.iter().any(|mistake| mistake.heading == heading), "{mistakes:?}");
}
