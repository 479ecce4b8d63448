//! A signed JWT in its compact form (RFC 7515 §3.1), before its signature is verified.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use crate::refusal::Refusal;

/// The longest header that is read, decoded, in bytes.
const MAX_HEADER: usize = 1024;
/// What a `typ` may leave out of its media type.
const PREFIX: &str = "application/";
/// The longest signature: that of an RSA key of 8192 bits.
const MAX_SIGNATURE: usize = 1024;

/// The parts of a token, still encoded.
pub(crate) struct Jws<'a> {
    header: &'a str,
    pub(crate) payload: &'a str,
    signature: &'a str,
    /// Header and payload with the dot between them: what is signed.
    pub(crate) signed: &'a str,
}

impl<'a> Jws<'a> {
    pub(crate) fn split(token: &'a str) -> Result<Self, Refusal> {
        let malformed = Refusal::Malformed("it does not have three parts");
        let Some((signed, signature)) = token.rsplit_once('.') else { return Err(malformed) };
        let Some((header, payload)) = signed.split_once('.') else { return Err(malformed) };
        if payload.contains('.') {
            return Err(malformed);
        }
        Ok(Self { header, payload, signature, signed })
    }

    /// Decodes the header into `buffer`.
    pub(crate) fn header<'b>(&self, buffer: &'b mut HeaderBuffer) -> Result<Header<'b>, Refusal> {
        let length = URL_SAFE_NO_PAD
            .decode_slice(self.header, &mut buffer.0)
            .map_err(|_| Refusal::Malformed("its header cannot be decoded"))?;
        serde_json::from_slice(&buffer.0[..length])
            .map_err(|_| Refusal::Malformed("its header is not that of a JWT"))
    }

    /// Calls `verify` with the signature.
    pub(crate) fn with_signature(&self, verify: impl FnOnce(&[u8]) -> bool) -> Result<(), Refusal> {
        let mut buffer = [0; MAX_SIGNATURE + 2];
        let length = URL_SAFE_NO_PAD
            .decode_slice(self.signature, &mut buffer)
            .map_err(|_| Refusal::Malformed("its signature cannot be decoded"))?;
        if verify(&buffer[..length]) { Ok(()) } else { Err(Refusal::BadSignature) }
    }
}

/// Space for a decoded header.
pub(crate) struct HeaderBuffer([u8; MAX_HEADER]);

impl HeaderBuffer {
    pub(crate) fn new() -> Self {
        Self([0; MAX_HEADER])
    }
}

/// The members of a header that matter. Others are ignored, above all keys that a token brings itself
/// (`jwk`, `jku`, `x5c`, `x5u`).
pub(crate) struct Header<'a> {
    pub(crate) algorithm: Cow<'a, str>,
    pub(crate) typ: Option<Cow<'a, str>>,
    pub(crate) kid: Option<Cow<'a, str>>,
    pub(crate) is_critical: bool,
}

impl Header<'_> {
    /// Whether `typ` is this media type, with or without `application/`, in any case (RFC 7515 §4.1.9).
    pub(crate) fn is_type(&self, expected: &str) -> bool {
        let Some(typ) = self.typ.as_deref() else { return false };
        let short = match typ.get(..PREFIX.len()) {
            Some(prefix) if prefix.eq_ignore_ascii_case(PREFIX) => &typ[PREFIX.len()..],
            _ => typ,
        };
        short.eq_ignore_ascii_case(expected)
    }
}

impl<'de> Deserialize<'de> for Header<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Header<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JOSE header")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header<'de>, A::Error> {
                let (mut algorithm, mut typ, mut kid) = (None, None, None);
                let mut others: Vec<Cow<'de, str>> = Vec::new();
                while let Some(Text(name)) = map.next_key()? {
                    let slot = match &*name {
                        "alg" => &mut algorithm,
                        "typ" => &mut typ,
                        "kid" => &mut kid,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            if others.contains(&name) {
                                return Err(Error::custom("a member occurs twice"));
                            }
                            others.push(name);
                            continue;
                        }
                    };
                    if slot.replace(map.next_value::<Text<'de>>()?.0).is_some() {
                        return Err(Error::custom("a member occurs twice"));
                    }
                }
                let algorithm = algorithm.ok_or_else(|| Error::missing_field("alg"))?;
                let is_critical = others.iter().any(|name| name == "crit");
                Ok(Header { algorithm, typ, kid, is_critical })
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A text that is copied only if it contains an escape.
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;
        impl<'de> Visitor<'de> for Borrowed {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrowed)
    }
}
