//! Lists and claims as JSON text.

use mintgate_domain::model::ClaimValue;
use serde_json::Value;

/// An array of texts.
pub(crate) fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.collect::<Value>().to_string()
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
