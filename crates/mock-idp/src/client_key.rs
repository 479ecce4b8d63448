//! Keys of clients that authenticate by a signature instead of a secret.

use josekit::jwk::{Jwk, KeyPair};
use josekit::jws::{ES256, EdDSA, JwsVerifier, PS256, RS256};

use crate::IdTokenAlg;
use crate::keys::new_pair;

/// The registered key of a client, for `private_key_jwt` and for Apple's signed client secrets.
#[derive(Debug, Clone)]
pub struct ClientKey {
    /// The id of the client that the key belongs to.
    pub client_id: String,
    /// The public key, as PEM or as a JWK in JSON.
    pub public_key: String,
    /// The algorithm that the client must sign with.
    pub alg: IdTokenAlg,
    /// The `kid` that the header must have, if any.
    pub kid: Option<String>,
    /// Apple: the team, which must be the `iss` of a client secret; the client id if absent.
    pub team_id: Option<String>,
}

impl ClientKey {
    /// Makes the registration of a key without `kid` and team.
    pub fn new(client_id: &str, public_key: &str, alg: IdTokenAlg) -> Self {
        Self {
            client_id: client_id.into(),
            public_key: public_key.into(),
            alg,
            kid: None,
            team_id: None,
        }
    }

    /// The verifier of signatures with this key; an error if the key cannot be read.
    pub(crate) fn verifier(&self) -> Result<Box<dyn JwsVerifier>, josekit::JoseError> {
        if !self.public_key.trim_start().starts_with('{') {
            let pem = self.public_key.as_bytes();
            return Ok(match self.alg {
                IdTokenAlg::Rs256 => Box::new(RS256.verifier_from_pem(pem)?),
                IdTokenAlg::Ps256 => Box::new(PS256.verifier_from_pem(pem)?),
                IdTokenAlg::Es256 => Box::new(ES256.verifier_from_pem(pem)?),
                IdTokenAlg::EdDsa => Box::new(EdDSA.verifier_from_pem(pem)?),
            });
        }
        let jwk = Jwk::from_bytes(self.public_key.as_bytes())?;
        Ok(match self.alg {
            IdTokenAlg::Rs256 => Box::new(RS256.verifier_from_jwk(&jwk)?),
            IdTokenAlg::Ps256 => Box::new(PS256.verifier_from_jwk(&jwk)?),
            IdTokenAlg::Es256 => Box::new(ES256.verifier_from_jwk(&jwk)?),
            IdTokenAlg::EdDsa => Box::new(EdDSA.verifier_from_jwk(&jwk)?),
        })
    }
}

/// A key pair for a client under test, which keeps the private key; the mock gets the public one.
#[derive(Debug, Clone)]
pub struct ClientKeyPair {
    /// The private key as PEM (PKCS #8), as in Apple's `.p8` files.
    pub private_pem: String,
    /// The public key as PEM (SPKI, RFC 5280 §4.1.2.7).
    pub public_pem: String,
}

impl ClientKeyPair {
    /// Generates a key pair for this algorithm.
    pub fn generate(alg: IdTokenAlg) -> Self {
        let pair: Box<dyn KeyPair> = new_pair(alg);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            private_pem: text(pair.to_pem_private_key()),
            public_pem: text(pair.to_pem_public_key()),
        }
    }
}
