//! Encryption of stored secrets: the key-encryption key, and private keys encrypted with it
//! (RFC 7517 §7).

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use josekit::JoseError;
use josekit::jwe::{self, Dir, JweHeader};
use mintgate_domain::model::{KeyId, KeyUse};
use mintgate_domain::{Cause, SecretText};
use openssl::sha::Sha256;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// 256 bits, for A256GCM (RFC 7518 §5.3).
const KEY_BYTES: usize = 32;
/// The key-encryption key encrypts the content directly (RFC 7518 §4.5).
const ALGORITHM: &str = "dir";
const ENCRYPTION: &str = "A256GCM";
const HEX_CHARS: usize = 2 * KEY_BYTES;
/// An initialization vector of 96 bits (RFC 7518 §5.3) in base64url.
const IV_CHARS: usize = 16;
/// An authentication tag of 128 bits (RFC 7518 §5.3) in base64url.
const TAG_CHARS: usize = 22;
/// The prefix that is hashed together with a key-encryption key to make its name.
const NAME_LABEL: &[u8] = b"mintgate key-encryption key id";

const EITHER_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, EITHER_PADDING);
const BASE64URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, EITHER_PADDING);

/// The form in which private keys are stored.
#[derive(Debug)]
pub enum KeySeal {
    /// Plain private JWKs: only for a place that nobody else can read, such as a
    /// [`KeyDirectory`](crate::KeyDirectory).
    Plain,
    /// Compact JWEs (RFC 7516) under the current of these keys; the others open them too.
    Sealed(Arc<EncryptionKeys>),
}

/// The key that encrypts signing keys and providers' tokens: 32 bytes, the same on every
/// replica.
///
/// Each encryption draws a random initialization vector, so one key is good for 2^32 encryptions
/// (NIST SP 800-38D §8.3).
pub struct KeyEncryptionKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    name: String,
}

/// The key-encryption keys of a store: the current one, which encrypts, and others that only decrypt what
/// was encrypted under them before, or will be.
#[derive(Debug)]
pub struct EncryptionKeys {
    current: KeyEncryptionKey,
    former: Vec<KeyEncryptionKey>,
}

impl EncryptionKeys {
    /// Keys of which `current` encrypts.
    pub fn new(current: KeyEncryptionKey, mut former: Vec<KeyEncryptionKey>) -> Self {
        former.retain(|key| key.name != current.name);
        Self { current, former }
    }

    /// The key that encrypts.
    pub fn current(&self) -> &KeyEncryptionKey {
        &self.current
    }

    /// The names of all keys, that of the current one first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.current).chain(&self.former).map(KeyEncryptionKey::name)
    }

    /// Whether one of the keys has this name.
    pub fn has(&self, name: &str) -> bool {
        self.names().any(|own| own == name)
    }

    /// Decrypts what was sealed with this label and one of these keys.
    pub(crate) fn open(&self, label: &Label, sealed: &str) -> Result<SecretText, SealError> {
        let name = name_of(sealed);
        let named = self.former.iter().find(|key| Some(&key.name) == name.as_ref());
        named.unwrap_or(&self.current).open(label, sealed)
    }
}

impl From<KeyEncryptionKey> for EncryptionKeys {
    /// One key for everything.
    fn from(current: KeyEncryptionKey) -> Self {
        Self { current, former: vec![] }
    }
}

/// The name of the key that a secret says it is sealed under; `None` if it does not say.
pub(crate) fn name_of(sealed: &str) -> Option<String> {
    let (header, _) = sealed.split_once('.')?;
    let header = URL_SAFE_NO_PAD.decode(header).ok()?;
    let header: Map<String, Value> = serde_json::from_slice(&header).ok()?;
    let name = header.get("kid")?.as_str()?;
    crate::key::is_proper_key_id(name).then(|| name.to_owned())
}

/// The text is not a key-encryption key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the key-encryption key is not 32 bytes in base64, base64url or hexadecimal; make one with: openssl rand -base64 32"
)]
pub struct KeyEncryptionKeyError;

/// Why a secret cannot be sealed or opened. No text of it holds the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The secret is sealed under another key-encryption key.
    #[error(
        "it is sealed under the key-encryption key {sealed_under}, and the configured one is {configured}"
    )]
    OtherKey {
        /// The name of the key-encryption key that sealed the secret.
        sealed_under: String,
        /// The name of the configured key-encryption key.
        configured: String,
    },
    /// The secret was sealed for another row or purpose.
    #[error("it belongs to another row; somebody has changed the store")]
    OtherRow,
    /// The text was not sealed with this key, or was changed afterwards.
    #[error("it is not what was sealed here: {0}; somebody has changed the store")]
    Changed(&'static str),
    /// The key is in plain text where only sealed keys are allowed.
    #[error("it is not sealed, and a key in the store is trusted only if it is sealed")]
    NotSealed,
    /// The key is sealed, and no key-encryption key is configured.
    #[error("it is sealed, and no key-encryption key is configured for it")]
    NoKey,
    /// The secret or its sealed form is longer than this many bytes.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    /// OpenSSL or josekit reports an error.
    #[error("the cryptographic library failed")]
    Library(#[source] Cause),
}

impl From<JoseError> for SealError {
    fn from(error: JoseError) -> Self {
        Self::Library(Cause::from_error("josekit reports an error", error))
    }
}

impl KeyEncryptionKey {
    /// Reads 32 bytes in base64, base64url (padded or not) or hexadecimal.
    ///
    /// # Errors
    /// If the text is anything else; the error says how to make a key.
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

    /// The key's name in errors and in sealed secrets: 16 characters that do not reveal the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Encrypts the content into a compact JWE (RFC 7516) whose protected header holds the label: the
    /// JWE opens with the same label only.
    pub(crate) fn seal(&self, label: Label, content: &[u8]) -> Result<String, SealError> {
        let mut header = JweHeader::new();
        header.set_algorithm(ALGORITHM);
        header.set_content_encryption(ENCRYPTION);
        header.set_key_id(&self.name);
        for (name, value) in label.members {
            header.set_claim(&name, Some(value))?;
        }
        let encrypter = Dir.encrypter_from_bytes(self.bytes.as_slice());
        encrypter
            .and_then(|encrypter| jwe::serialize_compact(content, &header, &encrypter))
            .map_err(SealError::from)
    }

    /// Decrypts what [`seal`](Self::seal) has made with this key and this label.
    pub(crate) fn open(&self, label: &Label, sealed: &str) -> Result<SecretText, SealError> {
        let parts: Vec<&str> = sealed.split('.').collect();
        let &[header, "", iv, _, tag] = parts.as_slice() else {
            return Err(SealError::Changed("it is not a compact JWE with a direct key"));
        };
        // josekit accepts a tag of any length, and a tag of one byte is easily guessed.
        if iv.len() != IV_CHARS || tag.len() != TAG_CHARS {
            return Err(SealError::Changed("its initialization vector or tag is cut short"));
        }
        let header = URL_SAFE_NO_PAD.decode(header).ok();
        let header =
            header.and_then(|json| serde_json::from_slice::<Map<String, Value>>(&json).ok());
        let Some(mut header) = header else {
            return Err(SealError::Changed("its header is not one of ours"));
        };
        self.check_name(header.remove("kid"))?;
        label.check(header)?;
        let opened = Dir
            .decrypter_from_bytes(self.bytes.as_slice())
            .and_then(|decrypter| jwe::deserialize_compact(sealed, &decrypter));
        let Ok((content, _)) = opened else {
            return Err(SealError::Changed("it does not open with the key it names"));
        };
        match String::from_utf8(content) {
            Ok(text) => Ok(SecretText::new(text)),
            Err(error) => {
                drop(Zeroizing::new(error.into_bytes()));
                Err(SealError::Changed("its content is not text"))
            }
        }
    }

    fn check_name(&self, kid: Option<Value>) -> Result<(), SealError> {
        let Some(Value::String(kid)) = kid else {
            return Err(SealError::Changed("its header is not one of ours"));
        };
        if kid == self.name {
            return Ok(());
        }
        // The error shows this name, and whoever can write to the store can write anything there.
        let shown = crate::key::is_proper_key_id(&kid);
        let sealed_under = if shown { kid } else { "(not a valid name)".to_owned() };
        Err(SealError::OtherKey { sealed_under, configured: self.name.clone() })
    }
}

/// What is sealed, and for which row: members of the protected header, which is authenticated with
/// the content (RFC 7516 §5.1). Labels of different kinds differ in the names of their members, so
/// that a secret sealed as one kind never opens as another.
pub(crate) struct Label {
    members: Map<String, Value>,
}

impl Label {
    /// A label of these members. Their names MUST NOT have a meaning in a JWE header, as `alg`, `enc`
    /// and `kid` have.
    pub(crate) fn new(members: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        Self {
            members: members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }

    /// Checks that a header, without its `kid`, is exactly the one that sealing with this label makes.
    fn check(&self, mut header: Map<String, Value>) -> Result<(), SealError> {
        let is = |member: Option<Value>, expected: &str| {
            member.is_some_and(|member| member.as_str() == Some(expected))
        };
        if !is(header.remove("alg"), ALGORITHM) || !is(header.remove("enc"), ENCRYPTION) {
            return Err(SealError::Changed("it is sealed in another way"));
        }
        let same_kind = header.len() == self.members.len()
            && self.members.keys().all(|name| header.contains_key(name));
        if !same_kind {
            return Err(SealError::Changed("its header is not one of ours"));
        }
        if header != self.members {
            return Err(SealError::OtherRow);
        }
        Ok(())
    }
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyEncryptionKey").field(&self.name).finish()
    }
}

/// The row of a key. It is sealed together with the key, so that the key opens in this row only.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'a> {
    pub(crate) key_use: KeyUse,
    pub(crate) number: u32,
    pub(crate) id: &'a KeyId,
}

impl Slot<'_> {
    pub(crate) fn label(self) -> Label {
        Label::new([
            ("cty", "jwk+json".into()),
            ("key_use", self.key_use.name().into()),
            ("key_number", self.number.into()),
            ("key_id", self.id.as_str().into()),
        ])
    }
}

impl KeySeal {
    /// Turns a private JWK into the form that is stored.
    pub(crate) fn seal(&self, slot: Slot<'_>, jwk: &[u8]) -> Result<SecretText, SealError> {
        match self {
            Self::Sealed(keys) => keys.current.seal(slot.label(), jwk).map(SecretText::new),
            Self::Plain => match std::str::from_utf8(jwk) {
                Ok(text) => Ok(SecretText::new(text)),
                Err(_) => Err(SealError::Library("a JWK is not UTF-8".into())),
            },
        }
    }

    /// Opens the sealed private JWK of a record.
    pub(crate) fn open(
        &self,
        slot: Slot<'_>,
        material: &SecretText,
    ) -> Result<SecretText, SealError> {
        let is_plain = material.expose().trim_start().starts_with('{');
        match self {
            Self::Sealed(_) if is_plain => Err(SealError::NotSealed),
            Self::Sealed(keys) => keys.open(&slot.label(), material.expose()),
            Self::Plain if is_plain => Ok(material.clone()),
            Self::Plain => Err(SealError::NoKey),
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
