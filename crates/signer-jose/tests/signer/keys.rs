//! Reading keys: accepted formats, `kid`s, and the errors for other texts.

use std::collections::BTreeSet;

use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use mintgate_domain::SecretText;
use mintgate_domain::ports::PublicKeys;
use mintgate_signer_jose::{Algorithm, KeyError, SigningKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::symm::Cipher;
use serde_json::{Value, json};

use crate::common::{
    self, ec_pem, ed25519_pem, fresh, key_text, oct_jwk, read, refusal, rsa_pem, text,
};

/// RFC 8037, appendix A.1 and A.3.
const RFC_8037_KEY: &str = r#"{"kty":"OKP","crv":"Ed25519",
    "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const RFC_8037_THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

/// The stored JWK of a new key.
async fn stored_jwk(algorithm: Algorithm) -> Value {
    serde_json::from_str(&common::made_jwk(algorithm).await).unwrap()
}

fn published(key: SigningKey) -> Value {
    let tokens = common::fixed(key, fresh(Algorithm::Hs256));
    let mut set: Value = serde_json::from_str(&tokens.jwks().unwrap().json).unwrap();
    set["keys"][0].take()
}

#[test]
fn every_pem_form_of_a_private_key_is_read() {
    let ec = PKey::private_key_from_pem(ec_pem(Nid::X9_62_PRIME256V1).as_bytes()).unwrap();
    let rsa = PKey::private_key_from_pem(rsa_pem(2048).as_bytes()).unwrap();
    let forms = [
        (Algorithm::Es256, text(ec.private_key_to_pem_pkcs8().unwrap()), "BEGIN PRIVATE KEY"),
        (
            Algorithm::Es256,
            text(ec.ec_key().unwrap().private_key_to_pem().unwrap()),
            "BEGIN EC PRIVATE KEY",
        ),
        (Algorithm::Rs256, text(rsa.private_key_to_pem_pkcs8().unwrap()), "BEGIN PRIVATE KEY"),
        (
            Algorithm::Ps256,
            text(rsa.rsa().unwrap().private_key_to_pem().unwrap()),
            "BEGIN RSA PRIVATE KEY",
        ),
        (Algorithm::Es384, ec_pem(Nid::SECP384R1), "BEGIN PRIVATE KEY"),
        (Algorithm::EdDsa, ed25519_pem(), "BEGIN PRIVATE KEY"),
    ];
    for (algorithm, pem, label) in forms {
        assert!(pem.contains(label), "{label}");
        let key = read(&format!("\n{pem}\n"), algorithm);
        assert_eq!(key.algorithm(), algorithm);
        assert_eq!(published(key)["alg"], algorithm.name());
    }
}

#[tokio::test]
async fn a_private_jwk_is_read_back_as_the_same_key() {
    for algorithm in Algorithm::ALL {
        let jwk = stored_jwk(algorithm).await;
        let key = read(&jwk.to_string(), algorithm);
        assert_eq!(key.id().as_str(), jwk["kid"], "{algorithm}");
        if algorithm == Algorithm::Hs256 {
            continue;
        }
        let public = published(key);
        for (name, value) in public.as_object().unwrap() {
            assert_eq!(jwk[name], *value, "{algorithm} {name}");
        }
        // Another library computes the same thumbprint.
        let other: Jwk = serde_json::from_value(public).unwrap();
        assert_eq!(other.thumbprint(ThumbprintHash::SHA256), jwk["kid"], "{algorithm}");
    }
}

#[test]
fn the_example_key_of_rfc_8037_has_its_thumbprint() {
    let key = read(RFC_8037_KEY, Algorithm::EdDsa);
    assert_eq!(key.id().as_str(), RFC_8037_THUMBPRINT);
}

#[test]
fn a_jwk_keeps_its_own_kid_if_that_is_allowed() {
    let named = |kid: &str| {
        let mut jwk: Value = serde_json::from_str(RFC_8037_KEY).unwrap();
        jwk["kid"] = json!(kid);
        jwk.to_string()
    };
    let longest = "k".repeat(64);
    for kid in ["2024-01-01T00:00:00Z", "a", "A_b.c~d-9", &longest] {
        assert_eq!(read(&named(kid), Algorithm::EdDsa).id().as_str(), kid);
    }
    let too_long = "k".repeat(65);
    for kid in ["", "a b", "../../etc/passwd", "' OR 1=1", "é", "a\nb", &too_long] {
        let error = refused(&named(kid), Algorithm::EdDsa);
        assert!(reason(&error).contains("\"kid\""), "{error}");
    }
}

#[test]
fn the_kid_of_a_symmetric_key_is_stable_and_differs_by_key() {
    let id = |bytes: &[u8]| read(&oct_jwk(bytes), Algorithm::Hs256).id().as_str().to_owned();
    assert_eq!(id(&[1; 32]), id(&[1; 32]));
    assert_ne!(id(&[1; 32]), id(&[2; 32]));
    assert_eq!(id(&[1; 32]).len(), 22);
}

#[test]
fn a_key_of_the_wrong_kind_is_an_error_that_describes_it_and_how_to_make_one() {
    for (algorithm, key, facts) in [
        (Algorithm::Es256, ec_pem(Nid::SECP384R1), &["EC", "P-384"][..]),
        (Algorithm::Es256, ec_pem(Nid::SECP521R1), &["EC"]),
        (Algorithm::Es384, ec_pem(Nid::X9_62_PRIME256V1), &["EC", "P-256"]),
        (Algorithm::Es256, rsa_pem(2048), &["RSA", "2048"]),
        (Algorithm::Rs256, rsa_pem(1024), &["RSA", "1024"]),
        (Algorithm::Ps256, rsa_pem(1024), &["RSA", "1024"]),
        (Algorithm::Rs256, ed25519_pem(), &["Ed25519"]),
        (Algorithm::EdDsa, oct_jwk(&[1; 32]), &["32"]),
        (Algorithm::Hs256, oct_jwk(&[1; 31]), &["31"]),
        (Algorithm::Hs256, ed25519_pem(), &["Ed25519"]),
        (Algorithm::EdDsa, x25519_pem(), &[]),
    ] {
        let error = refused(&key, algorithm);
        let found = found(&error);
        assert!(facts.iter().all(|fact| found.contains(fact)), "{error}");
        let text = error.to_string();
        assert!(text.contains(algorithm.name()) && text.contains("openssl"), "{text}");
    }
}

/// The error that refuses a key.
fn refused(text: &str, algorithm: Algorithm) -> KeyError {
    SigningKey::from_text(&SecretText::new(text), algorithm).unwrap_err()
}

/// What the key is that is refused for another kind of key.
fn found(error: &KeyError) -> &str {
    let KeyError::WrongKind { found, .. } = error else { panic!("{error}") };
    found
}

/// Why a text is not read as a key.
fn reason(error: &KeyError) -> &str {
    let KeyError::Unreadable { reason, .. } = error else { panic!("{error}") };
    reason
}

fn x25519_pem() -> String {
    text(PKey::generate_x25519().unwrap().private_key_to_pem_pkcs8().unwrap())
}

#[test]
fn a_jwk_for_another_use_is_refused() {
    let with = |name: &str, value: Value| {
        let mut jwk: Value = serde_json::from_str(RFC_8037_KEY).unwrap();
        jwk[name] = value;
        jwk.to_string()
    };
    let other_algorithm = refused(&with("alg", json!("ES256")), Algorithm::EdDsa);
    assert!(found(&other_algorithm).contains("ES256"), "{other_algorithm}");
    // A name that may be anything is not repeated.
    let no_algorithm = refused(&with("alg", json!("none")), Algorithm::EdDsa);
    assert!(!found(&no_algorithm).contains("none"), "{no_algorithm}");
    for (name, value) in [("use", json!("enc")), ("key_ops", json!(["verify"]))] {
        let error = refused(&with(name, value), Algorithm::EdDsa);
        assert!(reason(&error).contains(&format!("\"{name}\"")), "{error}");
    }
    for (name, value) in
        [("alg", json!("EdDSA")), ("use", json!("sig")), ("key_ops", json!(["sign"]))]
    {
        read(&with(name, value), Algorithm::EdDsa);
    }
}

#[test]
fn each_text_that_is_not_a_private_key_has_its_own_error() {
    let pair = PKey::private_key_from_pem(rsa_pem(2048).as_bytes()).unwrap();
    let public = text(pair.public_key_to_pem().unwrap());
    let aes = Cipher::aes_128_cbc();
    let encrypted = text(pair.private_key_to_pem_pkcs8_passphrase(aes, b"secret").unwrap());
    let old = text(pair.rsa().unwrap().private_key_to_pem_passphrase(aes, b"secret").unwrap());
    let whole = text(pair.private_key_to_pem_pkcs8().unwrap());
    let truncated = whole[..whole.len() / 2].to_owned();
    let jwk = str::to_owned;
    // Texts that are wrong in the same way, and what the reason names.
    let classes = [
        (vec![String::new(), "keys/access.pem".to_owned()], ""),
        (vec![public], ""),
        (vec![encrypted, old], ""),
        (vec![truncated], ""),
        (vec![jwk("{")], "1"),
        (vec![jwk(r#"{"kty":"RSA","kty":"RSA"}"#)], "1"),
        (vec![jwk(r#"{"keys":[]}"#)], "\"kty\""),
        (vec![jwk(r#"{"kty":"DSA"}"#)], "\"kty\""),
        (vec![jwk(r#"{"kty":"oct"}"#)], "\"k\""),
        (vec![jwk(r#"{"kty":"oct","k":"AA=="}"#)], "\"k\""),
        (vec![jwk(r#"{"kty":"OKP","crv":"Ed448"}"#)], "\"crv\""),
        (vec![jwk(r#"{"kty":"EC","crv":"secp256k1"}"#)], "\"crv\""),
    ];
    let mut reasons = BTreeSet::new();
    for (texts, named) in &classes {
        let of_class: BTreeSet<_> = texts
            .iter()
            .map(|text| {
                let error = refused(text, Algorithm::Rs256);
                assert!(error.to_string().contains("openssl genpkey"), "{error}");
                reason(&error).to_owned()
            })
            .collect();
        assert_eq!(of_class.len(), 1, "{of_class:?}");
        assert!(of_class.iter().all(|reason| reason.contains(named)), "{named}: {of_class:?}");
        reasons.extend(of_class);
    }
    assert_eq!(reasons.len(), classes.len(), "each class has a reason of its own: {reasons:?}");
}

#[tokio::test]
async fn a_jwk_whose_members_do_not_match_is_refused() {
    for (algorithm, members) in [
        (Algorithm::Es256, &["x", "y", "d"][..]),
        (Algorithm::EdDsa, &["x", "d"]),
        (Algorithm::Rs256, &["n", "p", "d", "qi"]),
    ] {
        let (jwk, other) = (stored_jwk(algorithm).await, stored_jwk(algorithm).await);
        for member in members {
            let mut mixed = jwk.clone();
            mixed[*member] = other[*member].clone();
            let error = refused(&mixed.to_string(), algorithm);
            assert!(matches!(error, KeyError::Unreadable { .. }), "{algorithm} {member}: {error}");
        }
    }
}

#[tokio::test]
async fn a_jwk_without_its_private_half_is_refused() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let mut jwk = stored_jwk(algorithm).await;
        read(&jwk.to_string(), algorithm);
        jwk.as_object_mut().unwrap().remove("d");
        let error = refused(&jwk.to_string(), algorithm);
        assert!(matches!(error, KeyError::Unreadable { .. }), "{error}");
    }
}

#[test]
fn the_printed_commands_make_keys_that_are_read() {
    if std::process::Command::new("openssl").arg("version").output().is_err() {
        return; // The printed commands need the openssl program.
    }
    for algorithm in Algorithm::ALL {
        let error = refusal("nothing", algorithm);
        let programs = ["printf ", "openssl "].into_iter();
        let start = programs.filter_map(|program| error.find(program)).min().unwrap();
        let recipe = &error[start..];
        let made = std::process::Command::new("sh").args(["-c", recipe]).output().unwrap();
        assert!(made.status.success(), "{recipe}");
        read(&text(made.stdout), algorithm);
    }
}

#[test]
fn every_new_key_is_different() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Hs256] {
        let first = SigningKey::generate(algorithm).unwrap();
        assert_ne!(first.id(), SigningKey::generate(algorithm).unwrap().id());
    }
    assert_ne!(key_text(Algorithm::Hs256), key_text(Algorithm::Hs256));
}
