//! Forged algorithms, keys and serializations.

use serde_json::json;

use super::{List, Target, object};
use crate::{Shape, SignWith};

pub(super) fn algorithm(list: &mut List) {
    list.sign("unsigned", SignWith::Unsigned);
    for alg in ["None", "NONE", "nOnE", "none ", ""] {
        list.add(format!("unsigned, alg {alg:?}"), |recipe| {
            recipe.sign = SignWith::Unsigned;
            recipe.header = object(json!({ "alg": alg }));
        });
        list.header(&format!("signed, alg {alg:?}"), json!({ "alg": alg }));
    }
    list.header("alg none over a genuine signature", json!({ "alg": "none" }));
    list.add("unsigned, alg RS256", |recipe| {
        recipe.sign = SignWith::Unsigned;
        recipe.header = object(json!({ "alg": "RS256" }));
    });
    for (key, sign) in [
        ("public key", SignWith::HmacWithPublicKeyPem),
        ("public modulus", SignWith::HmacWithJwkN),
        ("client secret", SignWith::HmacWithClientSecret),
    ] {
        list.sign(&format!("HS256 with the {key}"), sign);
        list.add(format!("HS256 with the {key}, called RS256"), |recipe| {
            recipe.sign = sign;
            recipe.header = object(json!({ "alg": "RS256" }));
        });
        list.add(format!("HS256 with the {key}, without kid"), |recipe| {
            recipe.sign = sign;
            recipe.header = object(json!({ "kid": null }));
        });
    }
    for alg in ["HS256", "HS512", "RS384", "RS512", "PS256", "ES256", "EdDSA", "rs256", "RS256 "] {
        list.header(&format!("alg {alg:?}"), json!({ "alg": alg }));
    }
    list.header("no alg", json!({ "alg": null }));
    list.header("alg a number", json!({ "alg": 256 }));
    list.header("alg an array", json!({ "alg": ["RS256"] }));
}

pub(super) fn key(list: &mut List, target: &Target<'_>) {
    list.sign("attacker's key under the genuine kid", SignWith::AttackerKeySameKid);
    list.sign("attacker's key embedded as jwk", SignWith::AttackerKeyWithJwk);
    list.sign("signature turned over", SignWith::Garbage);
    for (name, value) in [
        ("jku", json!(target.attacker_jwks)),
        ("x5u", json!(target.attacker_jwks)),
        ("x5c", json!(["MIIB"])),
        ("jwk", json!({ "kty": "oct", "k": "AAAA" })),
    ] {
        list.add(format!("attacker's key, {name}"), |recipe| {
            recipe.sign = SignWith::AttackerKeySameKid;
            recipe.header = object(json!({ name: value }));
        });
    }
    list.add("attacker's key without kid", |recipe| {
        recipe.sign = SignWith::AttackerKeySameKid;
        recipe.header = object(json!({ "kid": null }));
    });
    list.header("kid of 10 KB", json!({ "kid": "k".repeat(10_240) }));
    list.header("kid of 4 KB", json!({ "kid": "k".repeat(4096) }));
    list.header("kid a number", json!({ "kid": 1 }));
    list.header("kid an array", json!({ "kid": ["x"] }));
}

pub(super) fn unknown_key(list: &mut List) {
    for kid in ["", "' OR 1=1 --", "../../../../dev/null", "/etc/passwd", "http://127.0.0.1/", "\0"]
    {
        list.header("", json!({ "kid": kid }));
    }
    list.sign("a key that was taken back, or never published", SignWith::OldKey);
}

pub(super) fn form(list: &mut List) {
    for shape in
        [Shape::TwoSegments, Shape::FourSegments, Shape::FiveSegments, Shape::JsonSerialization]
    {
        list.add(format!("{shape:?}"), |recipe| recipe.shape = shape);
    }
    for header in [
        json!({ "crit": ["exp"], "exp": 1 }),
        json!({ "crit": [] }),
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "b64": false }),
        json!({ "b64": true }),
        json!({ "zip": "DEF" }),
        json!({ "enc": "A256GCM" }),
        json!({ "cty": "JWT" }),
    ] {
        list.header("", header);
    }
    for header in [
        r#"{"alg":"RS256","alg":"RS256"}"#,
        r#"{"alg":"none","typ":"JWT","alg":"RS256"}"#,
        r#"{"alg":"RS256","crit":null}"#,
        r#"["alg","RS256"]"#,
        "\"RS256\"",
        "{\"alg\":\"RS256\"",
        "{\"alg\":\"RS256\"}{}",
        "\u{feff}{\"alg\":\"RS256\"}",
        "",
    ] {
        list.add(format!("raw header {header}"), |recipe| recipe.raw_header = Some(header.into()));
    }
    for payload in ["", "null", "[]", "{}", "{", "\"sub\"", "{\"sub\":\"a\"}{}"] {
        list.raw_payload(payload, payload.to_owned());
    }
}

pub(super) fn payload(list: &mut List, target: &Target<'_>) {
    for more in [
        r#","sub":"mock|bob""#,
        r#","s\u0075b":"mock|bob""#,
        r#","nonce":"other""#,
        r#","exp":1"#,
        r#","roles":{"a":1,"a":2}"#,
        r#","exp":1e400"#,
        r#","deep":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"#,
    ] {
        let nonce = format!(r#","nonce":"{}""#, target.nonce);
        list.raw_payload(more, target.payload(&(nonce + more)));
    }
}
