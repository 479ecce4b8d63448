//! What several tests need.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintgate_domain::SecretText;
use mintgate_domain::model::{
    AccessClaims, AccessGrant, ClaimValue, KeyId, ProviderId, RefreshClaims, Role, SessionId,
    Timestamp, UserId,
};
use mintgate_signer_jose::{Algorithm, JoseTokenSigner, SignerConfig, SigningKey};
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use serde_json::json;
use uuid::Uuid;

pub(crate) const ISSUER: &str = "https://auth.example.com";
pub(crate) const AUDIENCE: &str = "https://api.example.com";

pub(crate) fn ec_pem(curve: Nid) -> String {
    let key = EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap();
    text(PKey::from_ec_key(key).unwrap().private_key_to_pem_pkcs8().unwrap())
}

pub(crate) fn rsa_pem(bits: u32) -> String {
    let key = Rsa::generate(bits).unwrap();
    text(PKey::from_rsa(key).unwrap().private_key_to_pem_pkcs8().unwrap())
}

pub(crate) fn ed25519_pem() -> String {
    text(PKey::generate_ed25519().unwrap().private_key_to_pem_pkcs8().unwrap())
}

pub(crate) fn oct_jwk(bytes: &[u8]) -> String {
    json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(bytes)}).to_string()
}

pub(crate) fn text(pem: Vec<u8>) -> String {
    String::from_utf8(pem).unwrap()
}

/// A fresh key as its operator would give it.
pub(crate) fn key_text(algorithm: Algorithm) -> String {
    match algorithm {
        Algorithm::Es256 => ec_pem(Nid::X9_62_PRIME256V1),
        Algorithm::Es384 => ec_pem(Nid::SECP384R1),
        Algorithm::EdDsa => ed25519_pem(),
        Algorithm::Rs256 | Algorithm::Ps256 => rsa_pem(2048),
        Algorithm::Hs256 => {
            let mut secret = [0; 32];
            openssl::rand::rand_bytes(&mut secret).unwrap();
            oct_jwk(&secret)
        }
    }
}

pub(crate) fn read(text: &str, algorithm: Algorithm) -> SigningKey {
    SigningKey::from_text(&SecretText::new(text), algorithm).unwrap()
}

/// Why this key is refused.
pub(crate) fn refusal(text: &str, algorithm: Algorithm) -> String {
    SigningKey::from_text(&SecretText::new(text), algorithm).unwrap_err().to_string()
}

pub(crate) fn fresh(algorithm: Algorithm) -> SigningKey {
    read(&key_text(algorithm), algorithm)
}

pub(crate) fn config(access: SigningKey, refresh: SigningKey) -> SignerConfig {
    SignerConfig { issuer: ISSUER.to_owned(), audience: vec![AUDIENCE.to_owned()], access, refresh }
}

pub(crate) fn signer(access: Algorithm, refresh: Algorithm) -> JoseTokenSigner {
    JoseTokenSigner::new(config(fresh(access), fresh(refresh))).unwrap()
}

/// A grant with nothing optional in it.
pub(crate) fn grant() -> AccessGrant {
    AccessGrant {
        roles: vec![Role::new("user")],
        auth_time: Timestamp::from_unix(1_699_999_990),
        acr: None,
        amr: vec![],
        extra: BTreeMap::new(),
    }
}

pub(crate) fn full_grant() -> AccessGrant {
    let extra = [
        ("tenant".to_owned(), ClaimValue::Integer(7)),
        ("ratio".to_owned(), ClaimValue::Float(0.5)),
        ("name".to_owned(), ClaimValue::Text("A \"B\" é".to_owned())),
    ];
    AccessGrant {
        roles: vec![Role::new("admin"), Role::new("user")],
        acr: Some("mfa".to_owned()),
        amr: vec!["pwd".to_owned(), "otp".to_owned()],
        extra: extra.into(),
        ..grant()
    }
}

pub(crate) fn access_claims<'a>(
    provider: &'a ProviderId,
    grant: &'a AccessGrant,
) -> AccessClaims<'a> {
    AccessClaims {
        subject: UserId::from_uuid(Uuid::from_u128(10)),
        session: SessionId::from_uuid(Uuid::from_u128(11)),
        token_id: 12,
        provider,
        grant,
        issued_at: Timestamp::from_unix(1_700_000_000),
        expires_at: Timestamp::from_unix(1_700_003_600),
    }
}

pub(crate) fn refresh_claims(key_id: &KeyId) -> RefreshClaims<'_> {
    RefreshClaims {
        subject: UserId::from_uuid(Uuid::from_u128(10)),
        session: SessionId::from_uuid(Uuid::from_u128(11)),
        generation: 3,
        key_id,
        issued_at: Timestamp::from_unix(1_700_000_000),
        expires_at: Timestamp::from_unix(1_702_592_000),
    }
}

/// Header and payload of a token as they were written.
pub(crate) fn opened(token: &str) -> [String; 2] {
    let mut parts =
        token.split('.').map(|part| text(URL_SAFE_NO_PAD.decode(part).unwrap_or_default()));
    [parts.next().unwrap(), parts.next().unwrap()]
}
