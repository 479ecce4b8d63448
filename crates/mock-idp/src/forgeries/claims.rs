//! Forged claims under a genuine signature, and tokens that are not ID tokens.

use serde_json::{Value, json};

use super::{List, Target};
use crate::ambient::now_secs;

pub(super) fn issuer(list: &mut List, target: &Target<'_>) {
    let issuer = target.issuer;
    for other in [
        json!(format!("{issuer}/")),
        json!(issuer.replace("http", "HTTP")),
        json!(issuer.replace("http", "https")),
        json!(issuer.replace("127.0.0.1", "localhost")),
        json!(format!("{issuer}/tenant")),
        json!("https://login.microsoftonline.com/{tenantid}/v2.0"),
        json!("https://attacker.example.com"),
        json!("127.0.0.1"),
        json!(""),
        json!([issuer]),
        json!(7),
        Value::Null,
    ] {
        list.claims(json!({ "iss": other }));
    }
}

pub(super) fn audience(list: &mut List) {
    for audience in [
        json!("mint"),
        json!("mintgate2"),
        json!("Mintgate"),
        json!("mintgate "),
        json!("other"),
        json!(""),
        json!([]),
        json!(["other"]),
        json!(["mintgate", "other"]),
        json!(["other", "mintgate"]),
        json!(["mintgate", 5]),
        json!([["mintgate"]]),
        json!({ "mintgate": true }),
        json!(7),
        Value::Null,
    ] {
        list.claims(json!({ "aud": audience }));
    }
    for (audience, party) in [
        (json!("mintgate"), json!("other")),
        (json!("mintgate"), json!("")),
        (json!("mintgate"), json!(["mintgate"])),
        (json!("mintgate"), json!(7)),
        (json!(["mintgate", "other"]), json!("mintgate")),
        (json!(["mintgate", "other"]), json!("other")),
        (json!("other"), json!("mintgate")),
    ] {
        list.claims(json!({ "aud": audience, "azp": party }));
    }
}

pub(super) fn time(list: &mut List) {
    let now = now_secs();
    for name in ["exp", "iat", "nbf"] {
        for value in [json!(now.to_string()), json!("2030-01-01T00:00:00Z"), json!(-1), json!(true)]
        {
            list.claims(json!({ name: value }));
        }
    }
    for claims in [
        json!({ "exp": null }),
        json!({ "exp": 0 }),
        json!({ "exp": now - 1 }),
        json!({ "exp": now - 3600 }),
        json!({ "exp": 1e300 }),
        json!({ "exp": [now + 60] }),
        json!({ "iat": null }),
        json!({ "iat": 0 }),
        json!({ "iat": now + 3600 }),
        json!({ "iat": now - 25 * 3600 }),
        json!({ "iat": now + 3600, "exp": now + 7200 }),
        json!({ "nbf": now + 3600 }),
        json!({ "nbf": 1e300 }),
    ] {
        list.claims(claims);
    }
}

pub(super) fn nonce(list: &mut List, target: &Target<'_>) {
    let asked = target.nonce;
    for nonce in [
        Value::Null,
        json!(""),
        json!("other"),
        json!(asked.to_lowercase()),
        json!(format!("{asked} ")),
        json!(asked.get(..4)),
        json!([asked]),
        json!({ "nonce": asked }),
        json!(7),
        json!(true),
    ] {
        list.claims(json!({ "nonce": nonce }));
    }
}

pub(super) fn unasked_nonce(list: &mut List, target: &Target<'_>) {
    for nonce in ["null", "7", "[]", "{}", "false", "\"\""] {
        let more = format!(r#","nonce":{nonce}"#);
        list.raw_payload(&more, target.payload(&more));
    }
}

pub(super) fn subject(list: &mut List) {
    for subject in [
        Value::Null,
        json!(""),
        json!(7),
        json!(["mock|alice"]),
        json!({}),
        json!("x".repeat(256)),
        json!("mock|alice\u{0}"),
        json!("mock|\nalice"),
    ] {
        list.claims(json!({ "sub": subject }));
    }
}

pub(super) fn other_token(list: &mut List) {
    for typ in [
        json!("at+jwt"),
        json!("application/at+jwt"),
        json!("AT+JWT"),
        json!("logout+jwt"),
        json!("rt+jwt"),
        json!("secevent+jwt"),
        json!("dpop+jwt"),
        json!("JOSE"),
        json!(""),
        json!("JWT "),
        json!("text/jwt"),
        json!(7),
        json!(["JWT"]),
    ] {
        list.header("", json!({ "typ": typ }));
    }
    // OpenID Connect Back-Channel Logout 1.0 §2.4: what tells a logout token from an ID token.
    let logout = "http://schemas.openid.net/event/backchannel-logout";
    list.claims(json!({ "events": { logout: {} } }));
    for typ in ["Bearer", "Refresh", "Offline", "Logout"] {
        list.claims(json!({ "typ": typ }));
    }
}
