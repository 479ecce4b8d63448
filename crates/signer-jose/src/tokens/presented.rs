//! A presented token taken apart, strictly: only what we would write ourselves gets through.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// No token of ours is longer: a cookie, name included, has 4096 bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// A token in JWS compact serialization (RFC 7515 §7.1).
pub(super) struct Presented<'t> {
    pub(super) header: Header,
    /// What the signature is of.
    pub(super) signed: &'t str,
    pub(super) payload: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

/// The header of our tokens, whole. Any other member (`crit`, `jwk`, `jku`, `x5u`, `b64`) and any
/// member that comes twice is refused, so nothing in it can ask for another kind of verification.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) kid: String,
    pub(super) typ: String,
}

impl<'t> Presented<'t> {
    /// Takes a token apart, or says why it is none.
    pub(super) fn parse(token: &'t str) -> Result<Self, &'static str> {
        const NO_JWS: &str = "it is no JWS in compact serialization";
        if token.len() > MAX_TOKEN_BYTES {
            return Err("it is too long");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(NO_JWS)?;
        let (header, payload) = signed.split_once('.').ok_or(NO_JWS)?;
        // Base64url has no dot, so a fourth part is refused here as well.
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| NO_JWS);
        let header = object(&decode(header)?).ok_or("its header is not one of ours")?;
        Ok(Self { header, signed, payload: decode(payload)?, signature: decode(signature)? })
    }
}

/// Reads a JSON object. (Serde would also take an array for a struct.)
pub(super) fn object<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    json.starts_with(b"{").then(|| serde_json::from_slice(json).ok())?
}
