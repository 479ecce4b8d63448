//! The back ends that may ask about sessions.

use mintgate_domain::{SecretText, TokenHash};

use super::{mistakes, refused_for};
use crate::Settings;

const KEEPING: &str = "[keys]\nencryption_key = \"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f\"\n";
const PROVIDER: &str = "[[providers]]\nid = \"corp\"\nissuer = \"https://idp.example.com\"\n\
client_id = \"mintgate\"\nclient_secret = \"x\"\n\
redirect_uris = [\"https://app.example.com/callback\"]\n";

fn hash(secret: &str) -> String {
    TokenHash::of(secret).to_hex()
}

fn with(clients: &str) -> String {
    format!("{KEEPING}{PROVIDER}keep_access_token = true\n{clients}")
}

fn client(id: &str, hash: &str, more: &str) -> String {
    format!("[[clients]]\nid = \"{id}\"\nsecret_hash = \"{hash}\"\n{more}\n")
}

#[test]
fn a_client_is_known_by_its_secret_and_sees_listed_providers() {
    let listed = client("app", &hash("s").to_uppercase(), "provider_tokens = [\"corp\"]");
    let settings = Settings::from_toml(&with(&(listed + &client("jobs", &hash("t"), "")))).unwrap();
    assert!(settings.providers[0].policy.access.is_some());
    let found =
        |id: &str, secret: &str| settings.clients.authenticate(id, &SecretText::new(secret));
    assert_eq!(found("app", "s").unwrap().provider_tokens.len(), 1);
    assert_eq!(found("jobs", "t").unwrap().provider_tokens, []);
    assert!(found("jobs", "s").is_none());
    let jobs = found("jobs", "t").unwrap();
    assert_eq!((&jobs.audience, jobs.refresh_tokens), (&None, false));
    assert!(!settings.print().contains(&hash("t")), "a pasted secret would be shown as well");
}

#[test]
fn a_client_sees_tokens_of_one_audience_of_ours() {
    let both = "[tokens]\naudience = [\"https://a.example\", \"https://b.example\"]\n";
    let lines = "audience = \"https://b.example\"\nrefresh_tokens = true";
    let text = format!("{both}{PROVIDER}{}", client("app", &hash("s"), lines));
    let settings = Settings::from_toml(&text).unwrap();
    let app = settings.clients.authenticate("app", &SecretText::new("s")).unwrap();
    assert_eq!((app.audience.as_deref(), app.refresh_tokens), (Some("https://b.example"), true));
}

#[test]
fn a_client_with_an_address_key_can_sign() {
    let key = "k".repeat(43);
    let with_key = |key: &str| {
        format!("{PROVIDER}{}", client("web", &hash("s"), &format!("address_key = \"{key}\"")))
    };
    let settings = Settings::from_toml(&with_key(&key)).unwrap();
    let web = settings.clients.authenticate("web", &SecretText::new("s")).unwrap();
    assert_eq!(web.address_key, Some(SecretText::new(&key)));
    assert!(!settings.print().contains(&key));
    for bad in ["k".repeat(42), "k".repeat(129), format!("{} ", "k".repeat(43))] {
        refused_for([(with_key(&bad), "clients[0].address_key: This is not a key.")]);
    }
}

#[test]
fn a_kept_access_token_needs_a_key_that_encrypts_it() {
    let text = format!("{PROVIDER}keep_access_token = true\n");
    let reason = "providers[0].keep_access_token: The providers' tokens are kept encrypted alone";
    refused_for([(text, reason)]);
}

#[test]
fn a_client_that_cannot_work_is_a_mistake() {
    let good = hash("s");
    let secret = "kY3vJb1pYF9cZ0Qh0m1T9wqkq0gI7d3k5m3s2b8Xw0A";
    refused_for([
        (with(&client("App", &good, "")), "clients[0].id: lower-case letters"),
        (
            with(&(client("app", &good, "") + &client("app", &good, ""))),
            "clients[1].id: Another client has this id.",
        ),
        (with(&client("app", secret, "")), "clients[0].secret_hash: 64 hexadecimal digits"),
        (with(&client("app", &good[1..], "")), "clients[0].secret_hash: 64 hexadecimal digits"),
        (
            with(&client("app", &good, "provider_tokens = [\"crop\"]")),
            "clients[0].provider_tokens[0]: did you mean \"corp\"?",
        ),
        (
            format!("{PROVIDER}{}", client("app", &good, "provider_tokens = [\"corp\"]")),
            "clients[0].provider_tokens[0]: Of this provider no access tokens are kept.",
        ),
        (
            with(&client("app", &good, "audience = \"https://other.example\"")),
            "clients[0].audience: not in tokens.audience",
        ),
    ]);
    let both = with(&format!("{}{}", client("app", secret, ""), client("app", "x", "")));
    let error = Settings::from_toml(&both).unwrap_err();
    assert!(!error.to_string().contains(secret), "the secret itself may have been pasted");
    assert_eq!(mistakes(&error).len(), 3, "{error}");
}
