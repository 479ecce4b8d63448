//! JSON from a provider as the domain's claim values.

use std::collections::BTreeMap;

use mintgate_domain::Cause;
use mintgate_domain::model::ClaimValue;
use mintgate_strict_json::{Error, Limits, Map, Value};

use crate::text::excerpt;

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

/// Reads a JSON object as claims: the payload of a token, or the answer of a userinfo endpoint.
///
/// # Errors
/// If the text is longer than 1 MiB, is not one JSON object, has a member name twice, or is nested
/// more than 32 deep.
pub fn parse_object(text: &[u8]) -> Result<BTreeMap<String, ClaimValue>, Error> {
    mintgate_strict_json::parse_object(text, LIMITS).map(to_members)
}

/// Reads the JSON object in an answer, under the rules of [`parse_object`].
pub(crate) fn read_object(answer: &[u8]) -> Result<Members, Cause> {
    parse_object(answer).map_err(|error| format!("it {error}").into())
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
    fn claims_are_nested_at_most_32_deep() {
        let nested = |arrays| format!(r#"{{"a":{}1{}}}"#, "[".repeat(arrays), "]".repeat(arrays));
        assert!(parse_object(nested(31).as_bytes()).is_ok());
        assert!(matches!(parse_object(nested(32).as_bytes()), Err(Error::TooDeep(_))));
    }
}
