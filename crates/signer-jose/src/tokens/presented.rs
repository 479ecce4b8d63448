//! Strict parsing of a presented token: only the form in which we write tokens is accepted.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The longest token that is parsed, in bytes. Our own are shorter, because they fit into a cookie.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// A token in JWS compact serialization (RFC 7515 §7.1).
pub(super) struct Presented<'t> {
    pub(super) header: Header,
    /// The signing input: header and payload as they were received.
    pub(super) signed: &'t str,
    pub(super) payload: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

/// The whole header of our tokens. Any other member (`crit`, `jwk`, `jku`, `x5u`, `b64`) and any
/// repeated member is refused, so a header cannot ask for another kind of verification.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) kid: String,
    pub(super) typ: String,
}

impl<'t> Presented<'t> {
    /// Parses a token.
    ///
    /// # Errors
    /// Why the text is not a token of ours.
    pub(super) fn parse(token: &'t str) -> Result<Self, &'static str> {
        const NO_JWS: &str = "it is not a JWS in compact serialization";
        if token.len() > MAX_TOKEN_BYTES {
            return Err("it is too long");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(NO_JWS)?;
        let (header, payload) = signed.split_once('.').ok_or(NO_JWS)?;
        // A fourth part is refused as well, because base64url has no dot.
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| NO_JWS);
        let header = object(&decode(header)?).ok_or("its header is not one of ours")?;
        Ok(Self { header, signed, payload: decode(payload)?, signature: decode(signature)? })
    }
}

/// Parses a JSON object into a struct. (Serde alone would accept a JSON array too.)
pub(super) fn object<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    json.starts_with(b"{").then(|| serde_json::from_slice(json).ok())?
}
