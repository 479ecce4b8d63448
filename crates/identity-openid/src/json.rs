//! JSON objects of foreign origin: no member twice, no unbounded depth.

use std::collections::BTreeMap;
use std::fmt;

use mintgate_domain::model::ClaimValue;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The members of a JSON object.
pub(crate) type Members = BTreeMap<String, ClaimValue>;

/// No provider nests its claims deeper.
const MAX_DEPTH: usize = 32;

/// Reads exactly one JSON object. A member that comes twice, at any depth, is an error: two readers
/// might each take another one (RFC 8725 §2.4 and RFC 7519 §4 leave the choice to the reader).
pub(crate) fn parse_object(bytes: &[u8]) -> Result<Members, String> {
    match parse(bytes)? {
        ClaimValue::Object(members) => Ok(members),
        _ => Err("is not a JSON object".to_owned()),
    }
}

/// Reads exactly one JSON array, as strictly.
pub(crate) fn parse_list(bytes: &[u8]) -> Result<Vec<ClaimValue>, String> {
    match parse(bytes)? {
        ClaimValue::List(elements) => Ok(elements),
        _ => Err("is not a JSON array".to_owned()),
    }
}

fn parse(bytes: &[u8]) -> Result<ClaimValue, String> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = Value { depth: 0 }.deserialize(&mut json).and_then(|value| {
        json.end()?;
        Ok(value)
    });
    value.map_err(|error| format!("is not proper JSON: {error}"))
}

/// A value at some depth.
#[derive(Clone, Copy)]
struct Value {
    depth: usize,
}

impl Value {
    fn inner<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom("nested too deeply"));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Value {
    type Value = ClaimValue;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<ClaimValue, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = ClaimValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Integer(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "what JSON readers do beyond 64 signed bits")]
    fn visit_u64<E>(self, value: u64) -> Result<ClaimValue, E> {
        Ok(i64::try_from(value).map_or(ClaimValue::Float(value as f64), ClaimValue::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<ClaimValue, E> {
        Ok(ClaimValue::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<ClaimValue, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(value) = elements.next_element_seed(inner)? {
            list.push(value);
        }
        Ok(ClaimValue::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<ClaimValue, A::Error> {
        let inner = self.inner()?;
        let mut object = Members::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if object.insert(name, value).is_some() {
                return Err(Error::custom("a member comes twice"));
            }
        }
        Ok(ClaimValue::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_taken_over() {
        let json = br#"{"a":[null,true,-1,1.5,"x"],"b":{"c":18446744073709551615}}"#;
        let members = parse_object(json).unwrap();
        let list = vec![
            ClaimValue::Null,
            ClaimValue::Bool(true),
            ClaimValue::Integer(-1),
            ClaimValue::Float(1.5),
            ClaimValue::Text("x".to_owned()),
        ];
        assert_eq!(members["a"], ClaimValue::List(list));
        let big = ClaimValue::Float(18_446_744_073_709_551_615.0);
        assert_eq!(members["b"], ClaimValue::Object([("c".to_owned(), big)].into()));
    }

    #[test]
    fn anything_but_one_proper_object_is_refused() {
        for json in [
            "",
            "[]",
            "null",
            "\"text\"",
            "{",
            "{} {}",
            "{}x",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
            r#"{"a":1e999}"#,
            r#"{"a":NaN}"#,
            r#"{"a":"\ud800"}"#,
        ] {
            assert!(parse_object(json.as_bytes()).is_err(), "{json}");
        }
        assert!(parse_object(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth| format!(r#"{{"a":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(parse_object(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
        assert!(parse_object(nested(MAX_DEPTH).as_bytes()).is_err());
        assert!(parse_object(nested(100_000).as_bytes()).is_err());
    }
}
