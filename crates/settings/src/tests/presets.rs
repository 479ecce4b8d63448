//! Every preset by its least configuration, and what it says to a wrong one.

use std::collections::BTreeMap;

use mintgate_identity_openid::{
    ClientAuthentication, GroupOverage, Parameter, Preset, PresetAuthentication, PresetKind,
};

use super::{
    EC_KEY, Mistake, PROVIDER, dialect, load, oauth2, one, only, openid, quoted, refusal, refusals,
    refused_for,
};
use crate::Settings;

/// The least that a preset needs besides a client id: lines made from its entry in the table.
pub(super) fn least(name: &str) -> String {
    let preset = Preset::find(name).unwrap();
    let mut lines: Vec<_> = match preset.client_authentication {
        PresetAuthentication::AppleKey => vec![
            format!("client_key = {}", quoted(EC_KEY)),
            "client_key_id = \"KEY1234567\"".to_owned(),
            "team_id = \"TEAM123456\"".to_owned(),
        ],
        PresetAuthentication::Negotiated | PresetAuthentication::SecretPost => {
            vec!["client_secret = \"x\"".to_owned()]
        }
    };
    let required = preset.parameters.iter().filter(|parameter| parameter.required);
    lines.extend(required.map(|Parameter { name, example, .. }| format!("{name} = \"{example}\"")));
    if asks_for_subject(preset) {
        lines.push("subject = \"data.id\"".to_owned());
    }
    lines.join("\n")
}

fn asks_for_subject(preset: &Preset) -> bool {
    matches!(preset.kind, PresetKind::OAuth2(user) if user.subject.is_empty())
}

/// The names of all presets.
pub(super) fn names() -> Vec<&'static str> {
    Preset::ALL.iter().map(|preset| preset.name).collect()
}

/// A provider of this preset.
pub(super) fn preset(name: &str, lines: &str) -> String {
    one(name, &format!("preset = \"{name}\"\n{lines}"))
}

/// The one mistake of a provider whose preset line is followed by these.
pub(super) fn refused(name: &str, lines: &str) -> Mistake {
    refusal(&preset(name, lines))
}

#[test]
fn every_preset_works_with_the_least_it_needs_and_its_own_defaults() {
    for known in Preset::ALL {
        let text = preset(known.name, &least(known.name));
        let provider = only(&text);
        // Ten lines, and one more where nothing but the protocol is known.
        let most = if known.name == "oauth2" { 11 } else { 10 };
        assert!(text.lines().count() <= most, "{text}");
        let examples = known.parameters.iter().filter(|parameter| parameter.required);
        let examples = examples.map(|p| (p.name.to_owned(), p.example.to_owned())).collect();
        let issuer = &known.fill(&examples).addresses["issuer"];
        assert_eq!(provider.preset.name, known.name);
        assert_eq!(provider.policy.issuers, [issuer.as_str()]);
        let login = &provider.policy.login;
        assert_eq!(login.display_name, known.display_name);
        assert_eq!(login.scopes, known.scopes);
        assert_eq!(login.has_id_tokens, matches!(known.kind, PresetKind::OpenId));
        if login.has_id_tokens {
            let config = openid(&provider);
            assert_eq!(config.issuer, *issuer);
            assert_eq!(config.id_token_algorithms, known.id_token_algorithms);
            assert_eq!(config.userinfo, known.userinfo);
            assert_eq!(dialect(&provider).group_overage, GroupOverage::Ignore);
        }
    }
}

#[test]
fn what_a_preset_needs_and_is_not_given_is_told_with_its_meaning() {
    for known in Preset::ALL {
        let required = known.parameters.iter().filter(|parameter| parameter.required);
        let meaning = |parameter: &Parameter| (parameter.name, parameter.meaning);
        let mut expected: BTreeMap<_, _> = required.map(meaning).collect();
        expected.extend(asks_for_subject(known).then_some(("subject", "")));
        let of_client = match known.client_authentication {
            PresetAuthentication::Negotiated => &[][..],
            PresetAuthentication::SecretPost => &["client_secret"],
            PresetAuthentication::AppleKey => &["client_key", "client_key_id", "team_id"],
        };
        expected.extend(of_client.iter().map(|key| (*key, "")));
        if expected.is_empty() {
            only(&preset(known.name, ""));
            continue;
        }
        let mistakes = refusals(&preset(known.name, ""));
        for (key, meaning) in &expected {
            let heading = format!("providers[0].{key} (mintgate.toml:1)");
            let mistake = mistakes.iter().find(|mistake| mistake.heading == heading);
            let mistake = mistake.unwrap_or_else(|| panic!("{key}: {mistakes:?}"));
            assert!(mistake.body.contains(key) && mistake.body.contains(meaning), "{mistake}");
        }
        assert_eq!(mistakes.len(), expected.len(), "{mistakes:?}");
    }
}

#[test]
fn a_key_that_means_nothing_to_the_preset_is_told_with_those_it_has() {
    let okta = "client_secret = \"x\"\ndomain = \"example.okta.com\"\ntenants = []";
    let foreign = refused("okta", okta);
    assert_eq!(foreign.heading, "providers[0].tenants = [] (mintgate.toml:8)");
    assert!(foreign.body.contains("okta") && foreign.body.contains("domain, server"), "{foreign}");
    for (name, line, own) in [
        ("google", "group_overage = \"follow\"", "hosted_domain"),
        ("google", "domain = \"x.test\"", "hosted_domain"),
        ("oidc", "issuer = \"https://x.test\"\nrealm = \"r\"", "issuer"),
        ("oidc", "issuer = \"https://x.test\"\nteam_id = \"r\"", "issuer"),
        ("oidc", "issuer = \"https://x.test\"\nuser_endpoint = \"https://x.test\"", "issuer"),
        ("oidc", "issuer = \"https://x.test\"\nsubject = \"id\"", "issuer"),
        ("google", "claims = [\"a=b\"]", "hosted_domain"),
        (
            "github",
            "client_secret = \"x\"\nsubject = \"login\"",
            "domain, api, authorization_endpoint",
        ),
        ("github", "client_secret = \"x\"\nnonce = \"required\"", "user_endpoint, emails_endpoint"),
        ("github", "client_secret = \"x\"\nuserinfo = true", "claims."),
        ("github", "client_secret = \"x\"\nid_token_algs = [\"RS256\"]", "claims."),
    ] {
        let mistake = refused(name, line);
        let key = line.lines().last().unwrap().split(' ').next().unwrap();
        assert_eq!(mistake.key(), format!("providers[0].{key}"));
        assert!(mistake.body.contains(name) && mistake.body.contains(own), "{mistake}");
    }
    let apple = least("apple");
    let lines = [
        (
            "client_secret = \"x\"",
            "providers[0].client_secret: Apple's client secrets are made from client_key, and expire.",
        ),
        (
            "client_secret_file = \"/x\"",
            "providers[0].client_secret_file: Apple's client secrets are made from client_key",
        ),
        (
            "client_auth = \"auto\"",
            "providers[0].client_auth: own are team_id, client_key, client_key_id.",
        ),
        (
            "client_key_alg = \"ES256\"",
            "providers[0].client_key_alg: own are team_id, client_key, client_key_id.",
        ),
    ];
    let beside = |line| preset("apple", &format!("{apple}\n{line}"));
    refused_for(lines.map(|(line, reason)| (beside(line), reason)));
}

#[test]
fn a_misspelt_key_is_compared_with_those_of_its_own_preset() {
    let other = preset("keycloak", "domain = \"id.test\"\nrealm = \"r\"");
    let text = format!("{other}{}", preset("okta", "domian = \"x.okta.com\""));
    let misspelt = refusals(&text);
    let misspelt = misspelt.iter().find(|mistake| mistake.key() == "providers[1].domian").unwrap();
    assert!(misspelt.body.contains("domain?"), "{misspelt}");
    // A key that only its neighbour has is not suggested.
    let mistake = refused("google", "relm = \"r\"");
    assert!(!mistake.body.contains("realm"), "{mistake}");
}

#[test]
fn values_that_would_make_another_address_are_refused() {
    let values = [
        (
            "okta",
            "domain = \"https://x.okta.com/\"",
            "providers[0].domain: Fix: write \"x.okta.com\".",
        ),
        ("okta", "domain = \"x.okta.com/\"", "providers[0].domain: Fix: write \"x.okta.com\"."),
        ("okta", "domain = \"/\"", "providers[0].domain: This is empty."),
        (
            "okta",
            "domain = \"http://x.okta.com\"",
            "providers[0].domain: Plain http is for this machine",
        ),
        (
            "okta",
            "domain = \"http://localhost:1/\"",
            "providers[0].domain: Fix: write \"http://localhost:1\".",
        ),
        (
            "okta",
            "domain = \"x.okta.com#\"",
            "providers[0].domain: This has characters that cannot stand here.",
        ),
        (
            "okta",
            "domain = \"u@x.okta.com\"",
            "providers[0].domain: This has characters that cannot stand here.",
        ),
        (
            "okta",
            "domain = \"x.okta.com\"\nserver = \"a?b\"",
            "providers[0].server: the id of the authorization server",
        ),
        (
            "adfs",
            "domain = \"fs.test\"\nresource = \"a b\"",
            "providers[0].resource: the identifier of the web API",
        ),
        (
            "okta",
            "domain = \"x:y\"",
            "providers[0].issuer: \"https://x:y/oauth2/default\" (default)",
        ),
        (
            "entra",
            "tenant = \"contoso.onmicrosoft.com\"",
            "providers[0].tenant: a GUID, and not its domain name",
        ),
        (
            "entra",
            "tenant = \"consumers\"",
            "providers[0].tenant: write \"9188040d-6c67-4c5b-b112-36a304b66dad\"",
        ),
        (
            "google",
            "hosted_domain = \"example\"",
            "providers[0].hosted_domain: A top-level domain belongs to everybody.",
        ),
        (
            "google",
            "issuer = \"http://accounts.test\"",
            "providers[0].issuer: Plain http is for this machine",
        ),
    ];
    // The reasons are compared within a preset.
    for known in names() {
        let of_preset = values.iter().filter(|(name, ..)| *name == known);
        refused_for(of_preset.map(|(name, lines, reason)| (preset(name, lines), *reason)));
    }
    let local = only(&preset("keycloak", "domain = \"http://localhost:8080\"\nrealm = \"r\""));
    assert_eq!(openid(&local).issuer, "http://localhost:8080/realms/r");
}

#[test]
fn an_issuer_of_ones_own_takes_the_place_of_the_pattern_and_what_it_needs() {
    for (name, lines) in [
        ("okta", ""),
        ("keycloak", ""),
        ("cognito", ""),
        ("auth0", "audience = \"https://api.test\""),
        ("google", "hosted_domain = \"Example.com\""),
        ("entra", "group_overage = \"refuse\""),
    ] {
        let lines = format!("issuer = \"http://127.0.0.1:9000/x\"\n{lines}");
        let provider = only(&preset(name, &lines));
        assert_eq!(openid(&provider).issuer, "http://127.0.0.1:9000/x");
    }
}

#[test]
fn what_is_given_reaches_the_requests_and_what_is_demanded_of_tokens() {
    let google = only(&preset("google", "hosted_domain = \"Example.com\""));
    let required = &dialect(&google).required_claims;
    assert_eq!(*required, [("hd".to_owned(), "example.com".to_owned())]);
    assert_eq!(google.policy.login.parameters, [("hd".to_owned(), "example.com".to_owned())]);

    let adfs = only(&preset(
        "adfs",
        "domain = \"fs.test\"\nresource = \"urn:a?b#c\"\nauthorization_params = [\"a = b=c\"]",
    ));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let resource = pair("resource", "urn:a?b#c");
    assert_eq!(adfs.policy.login.parameters, [resource.clone(), pair("a", "b=c")]);
    assert_eq!(dialect(&adfs).token_parameters, [resource]);

    let apple = least("apple");
    let lines = format!("{apple}\nauthorization_params = [\"response_mode=query\"]");
    let apple = only(&preset("apple", &lines));
    assert_eq!(apple.policy.login.parameters, [pair("response_mode", "query")]);
}

#[test]
fn github_can_be_another_server_endpoint_by_endpoint() {
    let github = only(&preset("github", "client_secret = \"x\""));
    assert_eq!(oauth2(&github).endpoints.token, "https://github.com/login/oauth/access_token");
    assert_eq!(oauth2(&github).subject, "id");
    let lines = "client_secret = \"x\"\nissuer = \"https://git.test\"\n\
                 token_endpoint = \"http://127.0.0.1:9/token\"\n\
                 user_endpoint = \"http://127.0.0.1:9/user\"\n\
                 emails_endpoint = \"http://127.0.0.1:9/emails\"\n\
                 claims = [\"picture=image\", \"org=company.name\"]";
    let mock = only(&preset("github", lines));
    assert_eq!(oauth2(&mock).issuer, "https://git.test");
    let changed = oauth2(&mock);
    assert_eq!(changed.endpoints.authorization, "https://github.com/login/oauth/authorize");
    assert_eq!(changed.endpoints.token, "http://127.0.0.1:9/token");
    assert_eq!(changed.endpoints.user, "http://127.0.0.1:9/user");
    assert_eq!(changed.endpoints.emails.as_deref(), Some("http://127.0.0.1:9/emails"));
    let claims: Vec<_> = changed.claims.iter().map(|(a, b)| format!("{a}={b}")).collect();
    assert_eq!(claims, ["preferred_username=login", "picture=image", "org=company.name"]);

    let own = "client_secret = \"x\"\ndomain = \"git.test\"\napi = \"git.test/api/v3\"";
    let own = only(&preset("github", own));
    assert_eq!(oauth2(&own).issuer, "https://git.test");
    assert_eq!(oauth2(&own).endpoints.user, "https://git.test/api/v3/user");
    let lines = [
        (
            "user_endpoint = \"http://api.test/user\"",
            "providers[0].user_endpoint: Plain http is for this machine",
        ),
        (
            "user_endpoint = \"https://a@api.test/user\"",
            "providers[0].user_endpoint: A user or password",
        ),
        (
            "user_endpoint = \"https://10.0.0.1/user\"",
            "providers[0].user_endpoint: The user endpoint must be https",
        ),
        (
            "emails_endpoint = \"https://10.0.0.1/user\"",
            "providers[0].emails_endpoint: private address",
        ),
        ("claims = [\"a\"]", "providers[0].claims[0]: \"a\""),
    ];
    let beside = |line| preset("github", &format!("client_secret = \"x\"\n{line}"));
    refused_for(lines.map(|(line, reason)| (beside(line), reason)));
}

#[test]
fn a_subject_is_nothing_that_changes_hands() {
    let lines = least("oauth2");
    for path in ["email", "data.Email", "user.mail"] {
        let mistake = refused("oauth2", &lines.replace("data.id", path));
        assert_eq!(mistake.key(), "providers[0].subject");
    }
}

#[test]
fn asking_again_needs_a_key_for_what_is_kept() {
    let lines = "recheck_secs = 300";
    let keyless = refused("google", lines);
    assert_eq!(keyless.heading, "providers[0].recheck_secs = 300 (mintgate.toml:6)");
    assert!(keyless.body.contains("keys.encryption_key_file"), "{keyless}");
    let keys = format!("[keys]\nencryption_key = \"{}\"\n", "0f".repeat(32));
    let provider = only(&format!("{keys}{}", preset("google", lines)));
    assert_eq!(provider.policy.recheck.map(|rule| rule.every.as_secs()), Some(300));
}

#[test]
fn print_shows_what_is_in_force_and_nothing_that_means_nothing() {
    let text = preset("okta", "domain = \"example.okta.com\"");
    let printed = load(&text, &[("MINTGATE__PROVIDERS__OKTA__SERVER", "aus1")]).unwrap().print();
    for line in [
        "server = \"aus1\"  # MINTGATE__PROVIDERS__OKTA__SERVER\n",
        "issuer = \"https://example.okta.com/oauth2/aus1\"  # default\n",
        "display_name = \"Okta\"  # default\n",
        "scopes = [\"openid\", \"profile\", \"email\"]  # default\n",
        "id_token_algs = [\"RS256\"]  # default\n",
        "userinfo = true  # default\n",
        "\n# recheck_secs ",
    ] {
        assert!(printed.contains(line), "{line}\n{printed}");
    }
    let providers = printed.split_once("[[providers]]").unwrap().1;
    for key in ["tenants", "realm", "team_id", "user_endpoint", "subject", "group_overage"] {
        assert!(!providers.contains(key), "{key}\n{providers}");
    }
    let lines = |text: &str| {
        text.lines().map(|l| l.split("  # ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let again = Settings::from_toml(&printed).unwrap().print();
    assert_eq!(lines(&printed), lines(&again));
}

#[test]
fn an_unknown_preset_is_the_only_mistake_of_its_provider() {
    let lines = "domain = \"x\"\nteam_id = \"x\"\nclient_secret = \"x\"\nsubject = \"id\"";
    let mistake = refusal(&preset("octa", lines));
    assert_eq!(mistake.heading, "providers[0].preset = \"octa\" (mintgate.toml:5)");
    assert!(mistake.body.contains("\"okta\"?"), "{mistake}");
    assert!(mistake.body.contains(&names().join(", ")), "{mistake}");
}

#[test]
fn presets_have_client_authentication_of_their_own() {
    let github = only(&preset("github", "client_secret = \"x\""));
    let authentication = &oauth2(&github).client_authentication;
    assert!(matches!(authentication, ClientAuthentication::SecretPost));
    let corp = only(PROVIDER);
    let authentication = &dialect(&corp).client_authentication;
    assert!(matches!(authentication, ClientAuthentication::Negotiated));
}
