//! Reading a private key from PEM.

use openssl::pkey::{Id, PKey};

use super::KeyError;
use super::material::Material;
use crate::Algorithm;

/// Reads a private key in PEM: PKCS#8 (RFC 5958), SEC1 (RFC 5915) or PKCS#1 (RFC 8017).
pub(super) fn read(text: &str, algorithm: Algorithm) -> Result<Material, KeyError> {
    let unreadable =
        |reason: &'static str| KeyError::Unreadable { algorithm, reason: reason.into() };
    if !text.contains("-----BEGIN ") {
        return Err(unreadable("it is neither PEM nor a JWK"));
    }
    // Without this callback, OpenSSL would ask for a passphrase on the terminal.
    let Ok(pair) = PKey::private_key_from_pem_callback(text.as_bytes(), |_| Ok(0)) else {
        return Err(unreadable(if text.contains("ENCRYPTED") {
            "it is encrypted; decrypt it with: openssl pkey -in KEY.pem"
        } else if text.contains("PRIVATE KEY-----") {
            "its private key is damaged or of a kind OpenSSL does not know"
        } else {
            "it holds no private key, only something public"
        }));
    };
    let found = match pair.id() {
        Id::EC => {
            let key = pair.ec_key()?;
            if key.check_key().is_err() {
                return Err(unreadable("its EC key is not a valid one"));
            }
            match Material::from_ec(key) {
                Some(material) => return Ok(material),
                None => "an EC key on another curve",
            }
        }
        Id::ED25519 => return Ok(Material::Ed25519(pair)),
        Id::RSA => {
            let key = pair.rsa()?;
            if !matches!(key.check_key(), Ok(true)) {
                return Err(unreadable("its RSA key is not a valid one"));
            }
            return Ok(Material::Rsa(key));
        }
        Id::RSA_PSS => "an RSA key restricted to RSASSA-PSS parameters of its own",
        _ => "a key of another kind",
    };
    Err(KeyError::WrongKind { algorithm, found: found.to_owned() })
}
