//! What a login asks the provider for, and what a sign-in is held to.

use mintgate_domain::model::AllowedUri;
use mintgate_domain::{LoginRequest, LogoutScope, NonceRule, ProviderPolicy, Requirement};

use super::presets::preset;
use super::{only, refused_for};

fn policy_of(name: &str, lines: &str) -> ProviderPolicy {
    only(&preset(name, lines)).policy
}

/// The request of a login at a provider that is asked again, and announces no scopes.
fn login_when_asked_again(name: &str, lines: &str) -> LoginRequest {
    let keys = format!("[keys]\nencryption_key = \"{}\"\n", "0f".repeat(32));
    let text = format!("{keys}{}", preset(name, &format!("{lines}\nrecheck_secs = 60")));
    let login = only(&text).policy.login;
    let (scopes, parameters) = login.completed(login.parameters.clone(), None);
    LoginRequest { scopes, parameters, ..login }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn what_is_configured_is_what_a_request_is_held_to() {
    let lines = "issuer = \"https://idp.example.com\"\ndisplay_name = \"Staff\"\n\
                 pkce = \"required\"\nnonce = \"required\"\nscopes = [\"openid\", \"x\"]\n\
                 authorization_params = [\"prompt=login\"]";
    let policy = policy_of("oidc", lines);
    let redirect_uris: Vec<_> = policy.redirect_uris.iter().map(AllowedUri::as_str).collect();
    assert_eq!(redirect_uris, ["https://app.example.com/callback"]);
    assert_eq!((policy.pkce, policy.nonce), (Requirement::Required, NonceRule::Required));
    assert_eq!(policy.recheck, None);
    let login = LoginRequest {
        display_name: "Staff".to_owned(),
        preset: "oidc".to_owned(),
        client_id: "mintgate".to_owned(),
        scopes: vec!["openid".to_owned(), "x".to_owned()],
        parameters: pairs(&[("prompt", "login")]),
        client_parameters: vec![],
        offline: None,
        has_id_tokens: true,
    };
    assert_eq!(policy.login, login);
}

#[test]
fn a_client_chooses_the_parameters_that_are_listed() {
    let all = "login_params = [\"loginHint\", \"prompt\", \"uiLocales\", \"domainHint\", \"acrValues\", \"maxAge\"]";
    let names = |preset, lines: &str| -> Vec<String> {
        let chosen = policy_of(preset, &format!("{all}\n{lines}")).login.client_parameters;
        chosen.into_iter().map(|(_, name)| name).collect()
    };
    let [google, entra] = ["hd", "domain_hint"]
        .map(|hint| ["login_hint", "prompt", "ui_locales", hint, "acr_values", "max_age"]);
    assert_eq!(names("google", ""), google);
    assert_eq!(names("entra", "tenant = \"72f988bf-86f1-41af-91ab-2d7cd011db47\""), entra);
    let only = |name: &str| format!("login_params = [\"{name}\"]");
    for (name, lines, reason) in [
        ("google", only("login_hint"), "providers[0].login_params[0]: did you mean \"loginHint\"?"),
        ("gitlab", only("domainHint"), "providers[0].login_params[0]: the domain"),
        (
            "github",
            only("prompt") + "\nclient_secret = \"x\"",
            "providers[0].login_params: The preset github has no such key.",
        ),
    ] {
        refused_for([(preset(name, &lines), reason)]);
    }
}

#[test]
fn a_provider_sends_browsers_back_to_listed_addresses() {
    let listed = "post_logout_redirect_uris = [\"https://app.example.com/bye\"]";
    let issuer = "issuer = \"https://idp.example.com\"";
    let logout = policy_of("oidc", &format!("{issuer}\n{listed}")).logout;
    assert_eq!(logout.redirect_uris, ["https://app.example.com/bye"]);
    assert_eq!(logout.redirect_parameter, "post_logout_redirect_uri");
    assert_eq!(policy_of("oidc", issuer).logout.redirect_uris, [""; 0]);
    let pool = "region = \"eu-central-1\"\npool = \"eu-central-1_X\"";
    assert_eq!(policy_of("cognito", pool).logout.redirect_parameter, "logout_uri");
    let plain = "post_logout_redirect_uris = [\"http://app.example.com/bye\"]";
    let secret = "client_secret = \"x\"";
    refused_for([
        (
            preset("google", plain),
            "providers[0].post_logout_redirect_uris[0]: Plain http is for this machine",
        ),
        (
            preset("github", &format!("{listed}\n{secret}")),
            "providers[0].post_logout_redirect_uris: The preset github has no such key.",
        ),
    ]);
}

#[test]
fn a_kept_id_token_needs_a_key_that_encrypts_it() {
    let issuer = "issuer = \"https://idp.example.com\"";
    let kept = "keep_id_token = true";
    assert!(!policy_of("oidc", issuer).logout.keeps_id_token);
    let keys = format!("[keys]\nencryption_key = \"{}\"\n", "0f".repeat(32));
    let with_key = keys.clone() + &preset("oidc", &format!("{issuer}\n{kept}"));
    let settings = crate::Settings::from_toml(&with_key).unwrap();
    assert!(settings.providers[0].policy.logout.keeps_id_token);
    refused_for([
        (
            preset("oidc", &format!("{issuer}\n{kept}")),
            "providers[0].keep_id_token: The providers' tokens are kept encrypted alone",
        ),
        (
            keys + &preset("github", &format!("{kept}\nclient_secret = \"x\"")),
            "providers[0].keep_id_token: The preset github has no such key.",
        ),
    ]);
}

#[test]
fn case_31_a_login_asks_for_what_following_group_overage_needs() {
    let tenant = "tenant = \"72f988bf-86f1-41af-91ab-2d7cd011db47\"";
    let scopes = |lines: &str| policy_of("entra", &format!("{tenant}\n{lines}")).login.scopes;
    assert_eq!(scopes(""), ["openid", "profile", "email"]);
    let follow = "group_overage = \"follow\"";
    assert_eq!(scopes(follow), ["openid", "profile", "email", "User.Read"]);
    let said = format!("{follow}\nscopes = [\"User.Read\", \"openid\"]");
    assert_eq!(scopes(&said), ["User.Read", "openid"]);
}

#[test]
fn a_login_asks_for_a_refresh_token_where_the_provider_is_to_be_asked_again() {
    let okta = "domain = \"x.okta.com\"";
    let without = policy_of("okta", okta).login;
    assert_eq!(without.scopes, ["openid", "profile", "email"]);
    let with = login_when_asked_again("okta", okta);
    assert_eq!(with.scopes, ["openid", "profile", "email", "offline_access"]);
    let said = format!("{okta}\nscopes = [\"offline_access\", \"openid\"]");
    assert_eq!(login_when_asked_again("okta", &said).scopes, ["offline_access", "openid"]);
    // A scope that a provider does not know would be an error there.
    assert_eq!(login_when_asked_again("gitlab", "").scopes, ["openid", "profile", "email"]);

    assert_eq!(login_when_asked_again("keycloak", KEYCLOAK).offline, None);
    let said = format!("{KEYCLOAK}\nrecheck_scope = \"offline_access\"");
    let keycloak = login_when_asked_again("keycloak", &said);
    assert_eq!(keycloak.scopes, ["openid", "profile", "email", "offline_access"]);
    assert_eq!(keycloak.parameters, []);

    let google = login_when_asked_again("google", "");
    let asked = [("access_type", "offline"), ("prompt", "consent")];
    assert_eq!(google.parameters, pairs(&asked));
    assert_eq!(google.scopes, ["openid", "profile", "email"]);
    let said = "authorization_params = [\"prompt=select_account\"]";
    let google = login_when_asked_again("google", said);
    let asked = [("prompt", "select_account consent"), ("access_type", "offline")];
    assert_eq!(google.parameters, pairs(&asked));
}

const KEYCLOAK: &str = "domain = \"id.example.com\"\nrealm = \"staff\"";
const OIDC: &str = "issuer = \"https://idp.example.com\"";

#[test]
fn any_openid_provider_is_asked_for_consent_along_with_the_scope_for_a_refresh_token() {
    let login = login_when_asked_again("oidc", OIDC);
    assert_eq!(login.scopes, ["openid", "profile", "email", "offline_access"]);
    assert_eq!(login.parameters, pairs(&[("prompt", "consent")]));
    // Where the provider announces its scopes, it is asked for those alone.
    let (knows, lacks) = (["openid", "offline_access"], ["openid", "email"]);
    let [knows, lacks] = [knows, lacks].map(|scopes| scopes.map(str::to_owned));
    let plain = LoginRequest { scopes: vec!["openid".to_owned()], ..login.clone() };
    let asked = |announced, asked: &[(&str, &str)]| plain.completed(pairs(asked), announced);
    let with_it = vec!["openid".to_owned(), "offline_access".to_owned()];
    assert_eq!(asked(Some(&knows), &[]), (with_it.clone(), pairs(&[("prompt", "consent")])));
    assert_eq!(asked(Some(&lacks), &[]), (plain.scopes.clone(), vec![]));
    let login_page = pairs(&[("prompt", "login consent")]);
    assert_eq!(asked(None, &[("prompt", "login")]), (with_it, login_page));

    let without = login_when_asked_again("oidc", &format!("{OIDC}\nrecheck_scope = \"\""));
    assert_eq!((without.scopes.len(), without.parameters.len()), (3, 0));
    assert_eq!(without.offline, None);
    let silent = format!("{OIDC}\nauthorization_params = [\"prompt=none\"]");
    let silent = login_when_asked_again("oidc", &silent);
    assert_eq!(silent.parameters, pairs(&[("prompt", "none")]), "nothing else goes with none");
}

#[test]
fn a_logout_token_ends_what_the_configuration_says() {
    let scope = |lines: &str| policy_of("oidc", &format!("{OIDC}\n{lines}")).logout_scope;
    assert_eq!(scope(""), LogoutScope::Session);
    assert_eq!(scope("logout_sid = \"session\""), LogoutScope::Session);
    assert_eq!(scope("logout_sid = \"person\""), LogoutScope::Person);
}
