//! Private JWKs (RFC 7517, RFC 7518 §6, RFC 8037 §2): reading and writing.

use std::borrow::Cow;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintgate_domain::model::{KeyId, Timestamp};
use openssl::bn::{BigNum, BigNumRef};
use openssl::ec::EcKey;
use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Rsa;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::KeyError;
use super::material::{Curve, Material, PublicParameters};
use crate::Algorithm;

const MAX_KEY_ID_CHARS: usize = 64;
/// Room for an RSA key of 8192 bits, so that writing one leaves no half-grown copies behind.
const WRITE_CAPACITY: usize = 8 * 1024;

/// The members of a JWK that this crate uses; others are ignored.
#[derive(Default, Serialize, Deserialize)]
struct PrivateJwk {
    #[serde(skip_serializing_if = "Option::is_none")]
    kty: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    key_use: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_ops: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    /// When the key was made, under the name that a JWT uses for it (RFC 7519 §4.1.6).
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    d: Option<Zeroizing<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<Zeroizing<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    q: Option<Zeroizing<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dp: Option<Zeroizing<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dq: Option<Zeroizing<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qi: Option<Zeroizing<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<Zeroizing<String>>,
}

/// Reads a private JWK that [`write`](fn@write) has written.
pub(super) fn read_own(text: &str) -> Result<(Material, KeyId, Algorithm), KeyError> {
    let damaged = |InvalidJwk(reason)| KeyError::Damaged(reason);
    let jwk = parse(text).map_err(damaged)?;
    let Some(alg) = jwk.alg.as_deref() else {
        return Err(KeyError::Damaged("it has no \"alg\"".into()));
    };
    let algorithm = Algorithm::from_name(alg).ok_or(KeyError::UnknownAlgorithm)?;
    let material = jwk.material().map_err(damaged)?;
    match jwk.signing_key_id().map_err(damaged)? {
        Some(id) => Ok((material, id, algorithm)),
        None => Err(KeyError::Damaged("it has no \"kid\"".into())),
    }
}

/// Reads a key for this algorithm, and its `kid` if it has one.
pub(super) fn read(
    text: &str,
    algorithm: Algorithm,
) -> Result<(Material, Option<KeyId>), KeyError> {
    let unreadable = |InvalidJwk(reason)| KeyError::Unreadable { algorithm, reason };
    let jwk = parse(text).map_err(unreadable)?;
    let material = jwk.material().map_err(unreadable)?;
    if let Some(alg) = jwk.alg.as_ref().filter(|alg| *alg != algorithm.name()) {
        let known = Algorithm::from_name(alg);
        let alg = known.map_or("something else", Algorithm::name);
        let found = format!("{} that says it is for {alg}", material.describe());
        return Err(KeyError::WrongKind { algorithm, found });
    }
    let id = jwk.signing_key_id().map_err(unreadable)?;
    Ok((material, id))
}

fn parse(text: &str) -> Result<PrivateJwk, InvalidJwk> {
    serde_json::from_str(text).map_err(|error| {
        // The text of the JSON error may quote a value.
        let (line, column) = (error.line(), error.column());
        invalid(format!("it is not a valid JSON Web Key, see line {line}, column {column}"))
    })
}

/// Why a JWK is not a usable private key; never holds a value of the key.
struct InvalidJwk(Cow<'static, str>);

fn invalid(reason: impl Into<Cow<'static, str>>) -> InvalidJwk {
    InvalidJwk(reason.into())
}

impl From<ErrorStack> for InvalidJwk {
    fn from(_: ErrorStack) -> Self {
        invalid("its members are not a key")
    }
}

impl PrivateJwk {
    /// The `kid`, if the JWK has one.
    ///
    /// # Errors
    /// If the JWK is not for signing, or its `kid` is not allowed.
    fn signing_key_id(&self) -> Result<Option<KeyId>, InvalidJwk> {
        if self.key_use.as_ref().is_some_and(|key_use| key_use != "sig") {
            return Err(invalid("its \"use\" is not \"sig\""));
        }
        if self.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "sign")) {
            return Err(invalid("its \"key_ops\" lack \"sign\""));
        }
        match &self.kid {
            Some(kid) if !is_proper_key_id(kid) => Err(invalid(format!(
                "its \"kid\" is not 1 to {MAX_KEY_ID_CHARS} letters, digits and \"-._~:\""
            ))),
            kid => Ok(kid.as_deref().map(KeyId::new)),
        }
    }

    fn material(&self) -> Result<Material, InvalidJwk> {
        match self.kty.as_deref() {
            Some("EC") => self.ec(),
            Some("OKP") => self.ed25519(),
            Some("RSA") => self.rsa(),
            Some("oct") => Ok(Material::Oct(bytes("k", self.k.as_deref())?)),
            Some(_) => Err(invalid("its \"kty\" is none of EC, OKP, RSA and oct")),
            None => Err(invalid("it has no \"kty\"")),
        }
    }

    fn ec(&self) -> Result<Material, InvalidJwk> {
        let Some(curve) = self.crv.as_deref().and_then(Curve::from_name) else {
            return Err(invalid("its \"crv\" is neither P-256 nor P-384"));
        };
        let group = curve.group()?;
        let x = number("x", self.x.as_ref())?;
        let y = number("y", self.y.as_ref())?;
        let mut d = number("d", self.d.as_deref())?;
        let public = EcKey::from_public_key_affine_coordinates(&group, &x, &y);
        let key = public
            .and_then(|public| EcKey::from_private_components(&group, &d, public.public_key()));
        d.clear();
        let key = key?;
        key.check_key()?;
        Ok(Material::Ec(curve, key))
    }

    fn ed25519(&self) -> Result<Material, InvalidJwk> {
        if self.crv.as_deref() != Some("Ed25519") {
            return Err(invalid("its \"crv\" is not Ed25519"));
        }
        let pair = PKey::private_key_from_raw_bytes(&bytes("d", self.d.as_deref())?, Id::ED25519)?;
        if pair.raw_public_key()? != *bytes("x", self.x.as_ref())? {
            return Err(invalid("its \"x\" does not belong to its \"d\""));
        }
        Ok(Material::Ed25519(pair))
    }

    fn rsa(&self) -> Result<Material, InvalidJwk> {
        let key = Rsa::from_private_components(
            number("n", self.n.as_ref())?,
            number("e", self.e.as_ref())?,
            number("d", self.d.as_deref())?,
            number("p", self.p.as_deref())?,
            number("q", self.q.as_deref())?,
            number("dp", self.dp.as_deref())?,
            number("dq", self.dq.as_deref())?,
            number("qi", self.qi.as_deref())?,
        )?;
        if key.check_key()? {
            Ok(Material::Rsa(key))
        } else {
            Err(invalid("its numbers do not belong together"))
        }
    }
}

/// Whether a key may have this `kid`.
pub(crate) fn is_proper_key_id(kid: &str) -> bool {
    let proper = |c: char| c.is_ascii_alphanumeric() || "-._~:".contains(c);
    (1..=MAX_KEY_ID_CHARS).contains(&kid.len()) && kid.chars().all(proper)
}

fn bytes(name: &str, member: Option<&String>) -> Result<Zeroizing<Vec<u8>>, InvalidJwk> {
    let member = member.ok_or_else(|| match name {
        "d" => invalid("it is the public half only, without \"d\""),
        _ => invalid(format!("it has no \"{name}\"")),
    })?;
    let decoded = URL_SAFE_NO_PAD.decode(member).map(Zeroizing::new);
    decoded.map_err(|_| invalid(format!("its \"{name}\" is not base64url without padding")))
}

fn number(name: &str, member: Option<&String>) -> Result<BigNum, InvalidJwk> {
    Ok(BigNum::from_slice(&bytes(name, member)?)?)
}

/// Writes a key with all its members, public ones and `kid`, `alg`, `use` and `iat` included.
pub(super) fn write(
    material: &Material,
    public: Option<&PublicParameters>,
    id: &KeyId,
    algorithm: Algorithm,
    created_at: Timestamp,
) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut jwk = PrivateJwk {
        alg: Some(algorithm.name().to_owned()),
        key_use: Some("sig".to_owned()),
        kid: Some(id.as_str().to_owned()),
        iat: Some(created_at.as_unix()),
        ..PrivateJwk::default()
    };
    match public.cloned() {
        Some(PublicParameters::Ec { curve, x, y }) => {
            jwk.kty = Some("EC".to_owned());
            jwk.crv = Some(curve.name().to_owned());
            (jwk.x, jwk.y) = (Some(x), Some(y));
        }
        Some(PublicParameters::Ed25519 { x }) => {
            jwk.kty = Some("OKP".to_owned());
            jwk.crv = Some("Ed25519".to_owned());
            jwk.x = Some(x);
        }
        Some(PublicParameters::Rsa { e, n }) => {
            jwk.kty = Some("RSA".to_owned());
            (jwk.e, jwk.n) = (Some(e), Some(n));
        }
        None => jwk.kty = Some("oct".to_owned()),
    }
    match material {
        Material::Ec(curve, key) => {
            jwk.d = Some(secret(key.private_key().to_vec_padded(curve.field_bytes())?));
        }
        Material::Ed25519(pair) => jwk.d = Some(secret(pair.raw_private_key()?)),
        Material::Rsa(key) => write_rsa(&mut jwk, key),
        Material::Oct(bytes) => jwk.k = Some(secret(bytes.to_vec())),
    }
    let mut text = Zeroizing::new(Vec::with_capacity(WRITE_CAPACITY));
    serde_json::to_writer(&mut *text, &jwk)?;
    text.push(b'\n');
    Ok(text)
}

fn write_rsa(jwk: &mut PrivateJwk, key: &Rsa<Private>) {
    let member = |number: Option<&BigNumRef>| number.map(|number| secret(number.to_vec()));
    jwk.d = member(Some(key.d()));
    jwk.p = member(key.p());
    jwk.q = member(key.q());
    jwk.dp = member(key.dmp1());
    jwk.dq = member(key.dmq1());
    jwk.qi = member(key.iqmp());
}

fn secret(bytes: Vec<u8>) -> Zeroizing<String> {
    Zeroizing::new(URL_SAFE_NO_PAD.encode(&*Zeroizing::new(bytes)))
}
