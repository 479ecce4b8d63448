//! JSON from a provider as the domain's claim values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use mintgate_domain::Cause;
use mintgate_domain::model::ClaimValue;
use mintgate_strict_json::{Error, Limits, Map, Value};
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use mintgate_domain::excerpt;

/// The members of a JSON object.
pub(crate) type Members = BTreeMap<String, ClaimValue>;

/// The HTTP client and the token parser have bounded the length before.
const LIMITS: Limits = Limits { bytes: 1024 * 1024, depth: 32 };

/// What serde_json says about foreign JSON, as an excerpt, because it can quote the text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct JsonError(String);

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        Self(excerpt(&error.to_string()))
    }
}

/// A byte order mark, which RFC 8259 §8.1 lets a reader ignore.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The members of a JSON object that have one of these names and are not null. Nothing else in the
/// object matters: not its type, not its format, not how often it is there. If a name comes twice, its
/// last value counts.
///
/// This is for what a provider says about itself, over a connection that only it can speak on. A text
/// that can pass through other hands is read by [`parse_object`].
pub(crate) fn select(
    document: &[u8],
    names: &[&str],
) -> Result<serde_json::Map<String, serde_json::Value>, JsonError> {
    let document = document.strip_prefix(BYTE_ORDER_MARK).unwrap_or(document);
    let mut json = serde_json::Deserializer::from_slice(document);
    let selected = json.deserialize_map(Selection(names))?;
    json.end()?;
    Ok(selected)
}

struct Selection<'n>(&'n [&'n str]);

impl<'de> Visitor<'de> for Selection<'_> {
    type Value = serde_json::Map<String, serde_json::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<Self::Value, M::Error> {
        let mut selected = serde_json::Map::new();
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            if self.0.contains(&name.as_ref()) {
                selected.insert(name.into_owned(), members.next_value()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        selected.retain(|_, value| !value.is_null());
        Ok(selected)
    }
}

/// Reads a JSON object as claims: the payload of a token, or the answer of a userinfo endpoint.
///
/// # Errors
/// If the text is longer than 1 MiB, is not one JSON object, has a member name twice, or is nested
/// more than 32 deep.
pub(crate) fn parse_object(text: &[u8]) -> Result<BTreeMap<String, ClaimValue>, Error> {
    mintgate_strict_json::parse_object(text, LIMITS).map(to_members)
}

/// Reads the JSON object in an answer, under the rules of [`parse_object`].
pub(crate) fn read_object(answer: &[u8]) -> Result<Members, Cause> {
    parse_object(answer.strip_prefix(BYTE_ORDER_MARK).unwrap_or(answer))
        .map_err(|error| format!("it {error}").into())
}

/// Reads the JSON array in an answer, under the rules of [`parse_object`].
pub(crate) fn read_array(answer: &[u8]) -> Result<Vec<ClaimValue>, Cause> {
    let elements = mintgate_strict_json::parse_array(answer, LIMITS);
    let elements = elements.map_err(|error| format!("it {error}"))?;
    Ok(elements.into_iter().map(to_claim).collect())
}

fn to_members(members: Map<String, Value>) -> Members {
    members.into_iter().map(|(name, value)| (name, to_claim(value))).collect()
}

fn to_claim(value: Value) -> ClaimValue {
    match value {
        Value::Null => ClaimValue::Null,
        Value::Bool(value) => ClaimValue::Bool(value),
        // A whole number beyond 64 signed bits becomes a float, as it is no exact value to most readers.
        Value::Number(number) => number.as_i64().map_or_else(
            || number.as_f64().map_or(ClaimValue::Null, ClaimValue::Float),
            ClaimValue::Integer,
        ),
        Value::String(text) => ClaimValue::Text(text),
        Value::Array(elements) => ClaimValue::List(elements.into_iter().map(to_claim).collect()),
        Value::Object(members) => ClaimValue::Object(to_members(members)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_has_its_claim_value() {
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
    fn only_the_selected_members_have_to_make_sense() {
        let odd = br#"{"a":"x","b":null,"c":7,"z":1e999,"z":[{"a":"\ud800"}],"a":"y"}"#;
        let selected = select(odd, &["a", "b", "d"]).unwrap();
        assert_eq!(serde_json::Value::Object(selected), serde_json::json!({ "a": "y" }));
        assert!(select(b"\xef\xbb\xbf {} \n", &[]).is_ok());
        for no_object in ["", "[]", "7", "\"a\"", "{", "{}{}", "null"] {
            assert!(select(no_object.as_bytes(), &["a"]).is_err(), "{no_object}");
        }
    }

    #[test]
    fn claims_are_nested_at_most_32_deep() {
        let nested = |arrays| format!(r#"{{"a":{}1{}}}"#, "[".repeat(arrays), "]".repeat(arrays));
        assert!(parse_object(nested(31).as_bytes()).is_ok());
        assert!(matches!(parse_object(nested(32).as_bytes()), Err(Error::TooDeep(_))));
    }
}
