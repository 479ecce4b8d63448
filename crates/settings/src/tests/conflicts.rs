//! Providers beside one another: nobody passes as somebody of another provider.

use super::presets::{least, names, preset};
use super::{one, refusal};
use crate::Settings;

const SAME: &str = "preset = \"oidc\"\nissuer = \"https://idp.example.com\"";

fn oauth2(id: &str, user: &str, subject: &str) -> String {
    one(
        id,
        &format!(
            "preset = \"oauth2\"\nissuer = \"https://idp.example.com\"\n\
             authorization_endpoint = \"https://idp.example.com/a\"\n\
             token_endpoint = \"https://idp.example.com/t\"\n\
             user_endpoint = \"{user}\"\nsubject = \"{subject}\""
        ),
    )
}

#[test]
fn case_30_one_issuer_is_one_authority() {
    let user = "https://api.example.com/user";
    let web = oauth2("web", user, "id");
    for other in [
        oauth2("other", "https://evil.example.com/user", "id"),
        oauth2("other", user, "number"),
        one("other", SAME),
    ] {
        let mistake = refusal(&format!("{web}{other}"));
        assert!(mistake.heading.starts_with("providers[1].issuer = \"https://idp.example.com\""));
        assert!(mistake.body.contains("web"), "{mistake}");
    }
    for (first, second) in [
        (web.clone(), oauth2("mobile", user, "id")),
        (one("web", SAME), one("mobile", &format!("{SAME}\nclient_secret = \"x\""))),
    ] {
        let settings = Settings::from_toml(&format!("{first}{second}")).unwrap();
        assert_eq!(settings.providers.len(), 2);
    }
}

#[test]
fn case_30_a_tenants_issuer_is_that_of_nobody_else() {
    let tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    let entra = format!("tenant = \"common\"\ntenants = [\"{tenant}\"]");
    let entra = preset("entra", &entra);
    let hub = oauth2("hub", "https://api.example.com/user", "id");
    let issuer = format!("https://login.microsoftonline.com/{tenant}/v2.0");
    let mistake = refusal(&format!(
        "{entra}{}",
        hub.replace("https://idp.example.com\"", &format!("{issuer}\""))
    ));
    assert_eq!(mistake.key(), "providers[1].issuer");
    assert!(mistake.body.contains("entra"), "{mistake}");
    // The same tenant by itself is the same authority.
    let own = one("own", &format!("preset = \"entra\"\ntenant = \"{tenant}\""));
    assert!(Settings::from_toml(&format!("{entra}{own}")).is_ok());
}

#[test]
fn every_preset_can_stand_beside_every_other() {
    let all: String = names().iter().map(|name| preset(name, &least(name))).collect();
    let settings = Settings::from_toml(&all).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(settings.providers.len(), names().len());
}
