//! ID tokens, genuine and forged.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256, Sha512};

use crate::dialect::{Subject, reshape};
use crate::faults::merge;
use crate::habits::Habits;
use crate::keys::{KeyRing, Role, SigningKey, hmac_sha256};
use crate::{IdTokenAlg, MockUser};

/// How an ID token is made; by default, as the standard says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct IdTokenRecipe {
    /// Changes to members of the header; null removes one.
    pub header: Map<String, Value>,
    /// Changes to the claims; null removes one.
    pub claims: Map<String, Value>,
    /// The key that signs the token.
    pub sign: SignWith,
    /// The serialization of the token.
    pub shape: Shape,
    /// The exact text of the header, for duplicate members and odd spellings; the signature covers it.
    pub raw_header: Option<String>,
    /// The exact text of the payload; the signature covers it.
    pub raw_payload: Option<String>,
}

/// The key that signs an ID token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SignWith {
    /// The key that the JWKS publishes.
    #[default]
    Genuine,
    /// An attacker's key, with the genuine key id.
    AttackerKeySameKid,
    /// An attacker's key, whose public half is in the header as `jwk`.
    AttackerKeyWithJwk,
    /// No key: `alg` is `none` and the signature is empty.
    Unsigned,
    /// HS256 keyed with the PEM text of the published public key.
    HmacWithPublicKeyPem,
    /// HS256 keyed with the bytes of the published key's `n`, or `x` if it is not an RSA key.
    HmacWithJwkN,
    /// HS256 keyed with the client's secret (empty for a public or unknown client).
    HmacWithClientSecret,
    /// The published key; every bit of the signature is then inverted.
    Garbage,
    /// The key before the last rotation; a key that was never published if there was none.
    OldKey,
}

/// The serialization of an ID token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Shape {
    /// The compact serialization `header.payload.signature` (RFC 7515 §7.1).
    #[default]
    Compact,
    /// Two segments: `header.payload`, without a signature.
    TwoSegments,
    /// Four segments: `header.payload.signature.signature`.
    FourSegments,
    /// Five segments under a JWE's header (RFC 7516 §7.1).
    FiveSegments,
    /// The flattened JSON serialization (RFC 7515 §7.2.2).
    JsonSerialization,
}

/// How long an ID token is valid.
pub(crate) const LIFE_SECS: i64 = 300;

/// The claims of an ID token that depend on when and how it is issued.
pub(crate) struct Issuance {
    pub now: i64,
    pub auth_time: i64,
    pub at_hash: Option<String>,
}

/// The genuine claims of the dialect (OIDC Core §2, §3.1.3.6, §5.1).
pub(crate) fn claims(subject: &Subject<'_>, issuance: &Issuance) -> Map<String, Value> {
    let mut claims = user_claims(subject.user);
    let standard = json!({
        "iss": subject.shared.issuer,
        "aud": subject.sign_in.client_id,
        "iat": issuance.now,
        "exp": issuance.now + LIFE_SECS,
        "auth_time": issuance.auth_time,
        "amr": ["pwd"],
        "acr": "1",
        "nonce": subject.sign_in.nonce,
        "sid": subject.sign_in.sid,
        "at_hash": issuance.at_hash,
    });
    reshape(&mut claims, &standard);
    reshape(&mut claims, &(subject.shared.traits().id_token)(subject));
    claims
}

/// The claims that are in both the ID token and userinfo.
pub(crate) fn user_claims(user: &MockUser) -> Map<String, Value> {
    let claims = json!({
        "sub": user.sub,
        "name": user.name,
        "preferred_username": user.username,
        "email": user.email,
        "email_verified": user.email_verified,
        "groups": user.groups,
    });
    claims.as_object().cloned().unwrap_or_default()
}

/// `at_hash` (OIDC Core §3.1.3.6): the left half of the hash that the signature algorithm uses.
pub(crate) fn at_hash(alg: IdTokenAlg, access_token: &str) -> String {
    match alg {
        IdTokenAlg::EdDsa => encode(&Sha512::digest(access_token)[..32]),
        IdTokenAlg::Rs256 | IdTokenAlg::Es256 | IdTokenAlg::Ps256 => {
            encode(&Sha256::digest(access_token)[..16])
        }
    }
}

/// Makes an ID token according to a recipe.
pub(crate) fn make(
    mut claims: Map<String, Value>,
    recipe: &IdTokenRecipe,
    keys: &KeyRing,
    (client_secret, habits): (&str, Habits<'_>),
) -> String {
    merge(&mut claims, &recipe.claims);
    let header = encode(&recipe.raw_header.clone().unwrap_or_else(|| header(recipe, keys, habits)));
    let payload =
        encode(&recipe.raw_payload.clone().unwrap_or_else(|| Value::Object(claims).to_string()));
    let signed = format!("{header}.{payload}");
    let signature = encode(&signature(recipe.sign, keys, client_secret, signed.as_bytes()));
    match recipe.shape {
        Shape::Compact => format!("{signed}.{signature}"),
        Shape::TwoSegments => signed,
        Shape::FourSegments => format!("{signed}.{signature}.{signature}"),
        Shape::FiveSegments => {
            let (iv, tag) = (encode(&[7; 12]), encode(&[7; 16]));
            format!("{header}.{signature}.{iv}.{payload}.{tag}")
        }
        Shape::JsonSerialization => {
            json!({ "protected": header, "payload": payload, "signature": signature }).to_string()
        }
    }
}

fn header(recipe: &IdTokenRecipe, keys: &KeyRing, habits: Habits<'_>) -> String {
    let alg = match recipe.sign {
        SignWith::Unsigned => "none",
        SignWith::HmacWithPublicKeyPem
        | SignWith::HmacWithJwkN
        | SignWith::HmacWithClientSecret => "HS256",
        _ => keys.alg.name(),
    };
    let kid = match recipe.sign {
        SignWith::OldKey => keys.former_or_unpublished().kid.clone(),
        _ => keys.current.kid.clone(),
    };
    let mut header = Map::new();
    header.insert("typ".into(), "JWT".into());
    header.insert("kid".into(), kid.into());
    header.insert("alg".into(), alg.into());
    if recipe.sign == SignWith::AttackerKeyWithJwk {
        let attacker = SigningKey::shared(keys.alg, Role::Attacker);
        header.insert("jwk".into(), attacker.public_jwk.clone().into());
    }
    if recipe.shape == Shape::FiveSegments {
        header.insert("alg".into(), "RSA-OAEP-256".into());
        header.insert("enc".into(), "A256GCM".into());
    }
    habits.header(&mut header);
    merge(&mut header, &recipe.header);
    Value::Object(header).to_string()
}

fn signature(sign: SignWith, keys: &KeyRing, client_secret: &str, message: &[u8]) -> Vec<u8> {
    match sign {
        SignWith::Genuine => keys.current.sign(message),
        SignWith::AttackerKeySameKid | SignWith::AttackerKeyWithJwk => {
            SigningKey::shared(keys.alg, Role::Attacker).sign(message)
        }
        SignWith::Unsigned => Vec::new(),
        SignWith::HmacWithPublicKeyPem => hmac_sha256(&keys.current.public_pem, message),
        SignWith::HmacWithJwkN => hmac_sha256(&keys.current.public_number(), message),
        SignWith::HmacWithClientSecret => hmac_sha256(client_secret.as_bytes(), message),
        SignWith::Garbage => keys.current.sign(message).iter().map(|byte| !byte).collect(),
        SignWith::OldKey => keys.former_or_unpublished().sign(message),
    }
}

fn encode(bytes: &(impl AsRef<[u8]> + ?Sized)) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use josekit::jws::{JwsVerifier as _, RS256};

    use super::*;

    fn signed_with(sign: SignWith, keys: &KeyRing) -> (String, Vec<u8>) {
        let recipe = IdTokenRecipe { sign, ..IdTokenRecipe::default() };
        let token = make(Map::new(), &recipe, keys, ("secret", Habits(&[])));
        let (signed, signature) = token.rsplit_once('.').expect("a compact token");
        (signed.into(), BASE64_URL_SAFE_NO_PAD.decode(signature).expect("base64url"))
    }

    #[test]
    fn hmacs_are_keyed_with_the_genuine_public_key() {
        let keys = KeyRing::new(IdTokenAlg::Rs256);
        let pem = &keys.current.public_pem;
        let (signed, signature) = signed_with(SignWith::Genuine, &keys);
        let verifier = RS256.verifier_from_pem(pem).expect("a public key in PEM");
        verifier.verify(signed.as_bytes(), &signature).expect("the genuine one's public key");

        let (signed, signature) = signed_with(SignWith::HmacWithPublicKeyPem, &keys);
        assert_eq!(signature, hmac_sha256(pem, signed.as_bytes()));

        let (signed, signature) = signed_with(SignWith::HmacWithJwkN, &keys);
        let n = keys.current.public_jwk["n"].as_str().expect("a modulus");
        let n = BASE64_URL_SAFE_NO_PAD.decode(n).expect("base64url");
        assert_eq!(signature, hmac_sha256(&n, signed.as_bytes()));
    }
}
