//! Lists and claims as JSON text, and back.

use std::collections::BTreeMap;

use mintgate_domain::model::{ClaimValue, Role};
use serde_json::Value;

/// Writes a JSON array of texts.
pub(crate) fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.collect::<Value>().to_string()
}

/// Writes a JSON array of the roles' names.
pub(crate) fn roles(roles: &[Role]) -> String {
    texts(roles.iter().map(Role::as_str))
}

/// Writes a JSON object of claims.
pub(crate) fn claims(claims: &BTreeMap<String, ClaimValue>) -> String {
    object(claims).to_string()
}

fn object(claims: &BTreeMap<String, ClaimValue>) -> Value {
    claims.iter().map(|(name, value)| (name.clone(), claim(value))).collect()
}

fn claim(value: &ClaimValue) -> Value {
    match value {
        ClaimValue::Null => Value::Null,
        ClaimValue::Bool(value) => (*value).into(),
        ClaimValue::Integer(value) => (*value).into(),
        ClaimValue::Float(value) => (*value).into(),
        ClaimValue::Text(value) => value.as_str().into(),
        ClaimValue::List(values) => values.iter().map(claim).collect(),
        ClaimValue::Object(values) => object(values),
    }
}

/// The texts of an array; `None` if it is anything else.
pub(crate) fn read_texts(json: &str) -> Option<Vec<String>> {
    serde_json::from_str(json).ok()
}

/// The claims of an object; `None` if it is anything else.
pub(crate) fn read_claims(json: &str) -> Option<BTreeMap<String, ClaimValue>> {
    let members: BTreeMap<String, Value> = serde_json::from_str(json).ok()?;
    Some(members.into_iter().map(|(name, value)| (name, read_claim(value))).collect())
}

/// Numbers that were written as whole ones stay so: `1` is not `1.0`.
fn read_claim(value: Value) -> ClaimValue {
    match value {
        Value::Null => ClaimValue::Null,
        Value::Bool(value) => ClaimValue::Bool(value),
        Value::Number(number) => number.as_i64().map_or_else(
            || ClaimValue::Float(number.as_f64().unwrap_or(f64::NAN)),
            ClaimValue::Integer,
        ),
        Value::String(text) => ClaimValue::Text(text),
        Value::Array(values) => ClaimValue::List(values.into_iter().map(read_claim).collect()),
        Value::Object(members) => ClaimValue::Object(
            members.into_iter().map(|(name, value)| (name, read_claim(value))).collect(),
        ),
    }
}
