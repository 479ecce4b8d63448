//! Lists and claims as JSON text, and back.

use std::collections::BTreeMap;

use mintgate_domain::model::{ClaimValue, Role};
use serde_json::Value;

/// An array of texts.
pub(crate) fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.collect::<Value>().to_string()
}

/// An array of the roles' names.
pub(crate) fn roles(roles: &[Role]) -> String {
    texts(roles.iter().map(Role::as_str))
}

/// An object of claims.
pub(crate) fn claims<'a>(claims: impl Iterator<Item = (&'a String, &'a ClaimValue)>) -> String {
    object(claims).to_string()
}

fn object<'a>(claims: impl Iterator<Item = (&'a String, &'a ClaimValue)>) -> Value {
    claims.map(|(name, value)| (name.clone(), claim(value))).collect()
}

fn claim(value: &ClaimValue) -> Value {
    match value {
        ClaimValue::Null => Value::Null,
        ClaimValue::Bool(value) => (*value).into(),
        ClaimValue::Integer(value) => (*value).into(),
        ClaimValue::Float(value) => (*value).into(),
        ClaimValue::Text(value) => value.as_str().into(),
        ClaimValue::List(values) => values.iter().map(claim).collect(),
        ClaimValue::Object(values) => object(values.iter()),
    }
}

/// The texts of an array; `None` if it is anything else.
pub(crate) fn read_texts(json: &str) -> Option<Vec<String>> {
    serde_json::from_str(json).ok()
}

/// The claims of an object; `None` if it is anything else.
pub(crate) fn read_claims(json: &str) -> Option<BTreeMap<String, ClaimValue>> {
    let Value::Object(members) = serde_json::from_str(json).ok()? else { return None };
    members.into_iter().map(|(name, value)| Some((name, read_claim(value)?))).collect()
}

fn read_claim(value: Value) -> Option<ClaimValue> {
    Some(match value {
        Value::Null => ClaimValue::Null,
        Value::Bool(value) => ClaimValue::Bool(value),
        Value::Number(number) => match number.as_i64() {
            Some(value) => ClaimValue::Integer(value),
            None => ClaimValue::Float(number.as_f64()?),
        },
        Value::String(text) => ClaimValue::Text(text),
        Value::Array(values) => {
            ClaimValue::List(values.into_iter().map(read_claim).collect::<Option<_>>()?)
        }
        Value::Object(members) => {
            let members = members.into_iter();
            let claims = members.map(|(name, value)| Some((name, read_claim(value)?)));
            ClaimValue::Object(claims.collect::<Option<_>>()?)
        }
    })
}
