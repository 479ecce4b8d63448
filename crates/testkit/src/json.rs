//! JSON that a store wrote, as claims again.

use mintgate_domain::model::ClaimValue;
use serde_json::Value;

/// The claim that this JSON is.
pub fn claim_from_json(value: &Value) -> ClaimValue {
    match value {
        Value::Null => ClaimValue::Null,
        Value::Bool(value) => ClaimValue::Bool(*value),
        Value::Number(number) => number.as_i64().map_or_else(
            || ClaimValue::Float(number.as_f64().expect("a finite number")),
            ClaimValue::Integer,
        ),
        Value::String(text) => ClaimValue::Text(text.clone()),
        Value::Array(values) => ClaimValue::List(values.iter().map(claim_from_json).collect()),
        Value::Object(values) => ClaimValue::Object(
            values.iter().map(|(name, value)| (name.clone(), claim_from_json(value))).collect(),
        ),
    }
}
