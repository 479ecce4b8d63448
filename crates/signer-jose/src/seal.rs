//! Secrets under a key-encryption key, so that whoever keeps them cannot read them: the key, how it
//! seals, and private keys sealed with it (RFC 7517 §7).

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use josekit::jwe::{self, Dir, JweHeader};
use mintgate_domain::SecretText;
use mintgate_domain::model::{KeyId, KeyUse};
use openssl::sha::Sha256;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// 256 bits, for A256GCM (RFC 7518 §5.3).
const KEY_BYTES: usize = 32;
/// The key itself encrypts (RFC 7518 §4.5).
const ALGORITHM: &str = "dir";
const ENCRYPTION: &str = "A256GCM";
const HEX_CHARS: usize = 2 * KEY_BYTES;
/// 96 bits of initialization vector and 128 bits of tag, RFC 7518 §5.3, in base64url.
const IV_CHARS: usize = 16;
const TAG_CHARS: usize = 22;
/// What is hashed before a key-encryption key to name it.
const NAME_LABEL: &[u8] = b"mintgate key-encryption key id";

const EITHER_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, EITHER_PADDING);
const BASE64URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, EITHER_PADDING);

/// How the private keys of a ring are kept.
#[derive(Debug)]
pub enum KeySeal {
    /// As plain private JWKs: only for a place that nobody else can read, such as a
    /// [`KeyDirectory`](crate::KeyDirectory).
    Guarded,
    /// As compact JWEs (RFC 7516) under this key.
    Sealed(KeyEncryptionKey),
}

/// The key that signing keys and providers' refresh tokens are sealed with: 32 bytes, the same on
/// every replica.
///
/// Each seal draws a random initialization vector, and one key is good for 2^32 of those (NIST SP
/// 800-38D §8.3).
pub struct KeyEncryptionKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    name: String,
}

/// A text is no key-encryption key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the key-encryption key is not 32 bytes in base64, base64url or hexadecimal; make one with: openssl rand -base64 32"
)]
pub struct KeyEncryptionKeyError;

/// Why something sealed cannot be made or opened. No text of it holds what is sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is sealed under another key-encryption key.
    #[error(
        "it is sealed under the key-encryption key {sealed_under}, and the configured one is {configured}: configure the one it was sealed under, or retire the key (what it signed is then refused)"
    )]
    OtherKey {
        /// The name of the key-encryption key it is sealed under.
        sealed_under: String,
        /// The name of the configured one.
        configured: String,
    },
    /// It was made for another row, or is not of the form we seal in.
    #[error("it is not what was sealed here: {0}; somebody has changed the store")]
    NotThis(&'static str),
    /// It is in plain text where only sealed keys may be.
    #[error("it is not sealed, and no key that is not can be trusted here")]
    NotSealed,
    /// It is sealed, and there is no key-encryption key.
    #[error("it is sealed, and no key-encryption key is configured for it")]
    NoKey,
    /// OpenSSL or josekit failed.
    #[error("the cryptographic library failed: {0}")]
    Library(String),
}

impl KeyEncryptionKey {
    /// Reads 32 bytes in base64, base64url (padded or not) or hexadecimal.
    ///
    /// # Errors
    /// If it is anything else; the error says how to make one.
    pub fn from_text(text: &SecretText) -> Result<Self, KeyEncryptionKeyError> {
        let text = text.expose().trim();
        let decoded = if text.len() == HEX_CHARS {
            from_hex(text)
        } else {
            let decoded = BASE64.decode(text).or_else(|_| BASE64URL.decode(text));
            decoded.ok().map(Zeroizing::new)
        };
        let decoded = decoded.ok_or(KeyEncryptionKeyError)?;
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        if decoded.len() != KEY_BYTES {
            return Err(KeyEncryptionKeyError);
        }
        bytes.copy_from_slice(&decoded);
        let mut digest = Sha256::new();
        digest.update(NAME_LABEL);
        digest.update(&*bytes);
        let digest = digest.finish();
        let name = URL_SAFE_NO_PAD.encode(digest.get(..12).unwrap_or(&digest));
        Ok(Self { bytes, name })
    }

    /// What it is called in errors and in what it has sealed: 16 characters that tell nobody the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Seals as a compact JWE (RFC 7516), together with a label: what does not fit the label it is
    /// opened with does not open.
    pub(crate) fn seal(&self, label: Label, content: &[u8]) -> Result<String, SealError> {
        let mut header = JweHeader::new();
        header.set_algorithm(ALGORITHM);
        header.set_content_encryption(ENCRYPTION);
        header.set_key_id(&self.name);
        for (name, value) in label.members {
            header.set_claim(&name, Some(value)).map_err(|e| SealError::Library(e.to_string()))?;
        }
        let encrypter = Dir.encrypter_from_bytes(self.bytes.as_slice());
        encrypter
            .and_then(|encrypter| jwe::serialize_compact(content, &header, &encrypter))
            .map_err(|e| SealError::Library(e.to_string()))
    }

    /// Opens what was sealed under this key with this label.
    pub(crate) fn open(&self, label: &Label, sealed: &str) -> Result<SecretText, SealError> {
        let parts: Vec<&str> = sealed.split('.').collect();
        let &[header, "", iv, _, tag] = parts.as_slice() else {
            return Err(SealError::NotThis("it is no compact JWE with a direct key"));
        };
        // josekit would take a tag of any length, and one byte is soon guessed.
        if iv.len() != IV_CHARS || tag.len() != TAG_CHARS {
            return Err(SealError::NotThis("its initialization vector or tag is cut short"));
        }
        let header = URL_SAFE_NO_PAD.decode(header).ok();
        let header =
            header.and_then(|json| serde_json::from_slice::<Map<String, Value>>(&json).ok());
        let Some(mut header) = header else {
            return Err(SealError::NotThis("its header is not one of ours"));
        };
        self.check_name(header.remove("kid"))?;
        label.check(header)?;
        let opened = Dir
            .decrypter_from_bytes(self.bytes.as_slice())
            .and_then(|decrypter| jwe::deserialize_compact(sealed, &decrypter));
        let Ok((content, _)) = opened else {
            return Err(SealError::NotThis("it does not open with the key it names"));
        };
        match String::from_utf8(content) {
            Ok(text) => Ok(SecretText::new(text)),
            Err(error) => {
                drop(Zeroizing::new(error.into_bytes()));
                Err(SealError::NotThis("it holds no text"))
            }
        }
    }

    fn check_name(&self, kid: Option<Value>) -> Result<(), SealError> {
        let Some(Value::String(kid)) = kid else {
            return Err(SealError::NotThis("its header is not one of ours"));
        };
        if kid == self.name {
            return Ok(());
        }
        // It is shown, and whoever can write to the store can write anything there.
        let shown = crate::key::is_proper_key_id(&kid);
        let sealed_under = if shown { kid } else { "(no proper name)".to_owned() };
        Err(SealError::OtherKey { sealed_under, configured: self.name.clone() })
    }
}

/// What is sealed, and for which place: members of the protected header, which is authenticated with
/// the content (RFC 7516 §5.1). Labels of different kinds differ in the names of their members, so
/// that what is sealed as one kind never opens as another.
pub(crate) struct Label {
    members: Map<String, Value>,
}

impl Label {
    /// The names must be none of `alg`, `enc` and `kid`, nor mean anything to a JWE library.
    pub(crate) fn new(members: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        Self {
            members: members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }

    /// Whether a header, without its `kid`, is what sealing with this label makes; nothing else may
    /// be in it.
    fn check(&self, mut header: Map<String, Value>) -> Result<(), SealError> {
        let is = |member: Option<Value>, expected: &str| {
            member.is_some_and(|member| member.as_str() == Some(expected))
        };
        if !is(header.remove("alg"), ALGORITHM) || !is(header.remove("enc"), ENCRYPTION) {
            return Err(SealError::NotThis("it is sealed in another way"));
        }
        let same_kind = header.len() == self.members.len()
            && self.members.keys().all(|name| header.contains_key(name));
        if !same_kind {
            return Err(SealError::NotThis("its header is not one of ours"));
        }
        if header != self.members {
            return Err(SealError::NotThis("it belongs to another row"));
        }
        Ok(())
    }
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyEncryptionKey").field(&self.name).finish()
    }
}

/// Where a key belongs; sealed together with it, so that it cannot be put elsewhere.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'a> {
    pub(crate) key_use: KeyUse,
    pub(crate) number: u32,
    pub(crate) id: &'a KeyId,
}

impl Slot<'_> {
    fn label(self) -> Label {
        Label::new([
            ("cty", "jwk+json".into()),
            ("key_use", self.key_use.name().into()),
            ("key_number", self.number.into()),
            ("key_id", self.id.as_str().into()),
        ])
    }
}

impl KeySeal {
    /// Makes a private JWK ready to be kept.
    pub(crate) fn close(&self, slot: Slot<'_>, jwk: &[u8]) -> Result<SecretText, SealError> {
        match self {
            Self::Sealed(key) => key.seal(slot.label(), jwk).map(SecretText::new),
            Self::Guarded => match std::str::from_utf8(jwk) {
                Ok(text) => Ok(SecretText::new(text)),
                Err(_) => Err(SealError::Library("a JWK is not UTF-8".to_owned())),
            },
        }
    }

    /// The private JWK that was kept.
    pub(crate) fn open(
        &self,
        slot: Slot<'_>,
        material: &SecretText,
    ) -> Result<SecretText, SealError> {
        let is_plain = material.expose().trim_start().starts_with('{');
        match self {
            Self::Sealed(_) if is_plain => Err(SealError::NotSealed),
            Self::Sealed(key) => key.open(&slot.label(), material.expose()),
            Self::Guarded if is_plain => Ok(material.clone()),
            Self::Guarded => Err(SealError::NoKey),
        }
    }
}

fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES));
    for pair in text.as_bytes().chunks(2) {
        let &[high, low] = pair else { return None };
        bytes.push(digit(high)? << 4 | digit(low)?);
    }
    Some(bytes)
}
