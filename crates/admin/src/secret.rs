//! Secrets that Mintgate makes for its callers, and knows by their hashes.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mintgate_domain::TokenHash;
use mintgate_domain::ports::Entropy;

/// A secret that is about to be shown, once.
pub(crate) struct NewSecret {
    /// 256 random bits, in base64url.
    pub(crate) text: String,
    /// The SHA-256 of the text, in hexadecimal, for the configuration.
    pub(crate) hash: String,
}

impl NewSecret {
    /// Makes a secret of 32 random bytes.
    pub(crate) fn draw(entropy: &(dyn Entropy + 'static)) -> Self {
        let text = BASE64_URL_SAFE_NO_PAD.encode(entropy.bytes::<32>());
        let hash = TokenHash::of(&text).to_hex();
        Self { text, hash }
    }
}
