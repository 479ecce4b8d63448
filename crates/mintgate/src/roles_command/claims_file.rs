//! A file of claims: one JSON object, as strictly read as a provider's.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, bail};
use mintgate_domain::model::ClaimValue;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// No provider's claims are longer, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// As deep as claims may be nested at a sign-in.
const MAX_DEPTH: usize = 32;

/// Reads claims from a file, or from `stdin` for `-`.
pub(super) fn read(path: &Path, stdin: impl Read) -> anyhow::Result<BTreeMap<String, ClaimValue>> {
    let (name, bytes) = if path.as_os_str() == "-" {
        ("standard input".to_owned(), read_bounded(stdin))
    } else {
        (path.display().to_string(), File::open(path).and_then(read_bounded))
    };
    let bytes = bytes.with_context(|| format!("the claims cannot be read from {name}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        bail!("the claims in {name} are longer than 1 MiB");
    }
    parse(&bytes).with_context(|| format!("the claims in {name}"))
}

fn read_bounded(source: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> anyhow::Result<BTreeMap<String, ClaimValue>> {
    // What every compact JWS begins with: {" in base64url.
    if bytes.trim_ascii().starts_with(b"eyJ") {
        bail!("this is a token; write what is in its payload, the part between the dots, decoded");
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = Claim { depth: 0 }.deserialize(&mut json).and_then(|value| {
        json.end()?;
        Ok(value)
    });
    match value.context("this is not proper JSON")? {
        ClaimValue::Object(claims) => Ok(claims),
        _ => bail!("this is JSON, but not an object such as {{\"sub\": \"…\"}}"),
    }
}

/// Reads a value that stands at some depth. A member that comes twice is refused, as it is at a
/// sign-in.
#[derive(Clone, Copy)]
struct Claim {
    depth: usize,
}

impl Claim {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth < MAX_DEPTH {
            Ok(Self { depth: self.depth + 1 })
        } else {
            Err(E::custom(format_args!("it is nested more than {MAX_DEPTH} deep")))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Claim {
    type Value = ClaimValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ClaimValue, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Claim {
    type Value = ClaimValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Integer(number))
    }

    #[expect(clippy::cast_precision_loss, reason = "a number that large is not exact anywhere")]
    fn visit_u64<E>(self, number: u64) -> Result<ClaimValue, E> {
        Ok(i64::try_from(number).map_or(ClaimValue::Float(number as f64), ClaimValue::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<ClaimValue, A::Error> {
        let element = self.deeper()?;
        let mut list = Vec::new();
        while let Some(value) = elements.next_element_seed(element)? {
            list.push(value);
        }
        Ok(ClaimValue::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<ClaimValue, A::Error> {
        let member = self.deeper()?;
        let mut object = BTreeMap::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(member)?;
            if object.contains_key(&name) {
                return Err(Error::custom(format_args!("the member {name:?} comes twice")));
            }
            object.insert(name, value);
        }
        Ok(ClaimValue::Object(object))
    }
}
