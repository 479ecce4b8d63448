//! Claims to and from JSON, without losing what they are.

use mintgate_domain::model::ClaimValue;
use serde_json::Value;

pub(crate) fn to_json(value: &ClaimValue) -> Value {
    match value {
        ClaimValue::Null => Value::Null,
        ClaimValue::Bool(value) => (*value).into(),
        ClaimValue::Integer(value) => (*value).into(),
        ClaimValue::Float(value) => (*value).into(),
        ClaimValue::Text(value) => value.as_str().into(),
        ClaimValue::List(values) => values.iter().map(to_json).collect(),
        ClaimValue::Object(values) => {
            values.iter().map(|(name, value)| (name.clone(), to_json(value))).collect()
        }
    }
}

/// Numbers that were written as whole ones stay so: `1` is not `1.0`.
pub(crate) fn from_json(value: Value) -> ClaimValue {
    match value {
        Value::Null => ClaimValue::Null,
        Value::Bool(value) => ClaimValue::Bool(value),
        Value::Number(number) => number.as_i64().map_or_else(
            || ClaimValue::Float(number.as_f64().unwrap_or(f64::NAN)),
            ClaimValue::Integer,
        ),
        Value::String(text) => ClaimValue::Text(text),
        Value::Array(values) => ClaimValue::List(values.into_iter().map(from_json).collect()),
        Value::Object(values) => ClaimValue::Object(
            values.into_iter().map(|(name, value)| (name, from_json(value))).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_as_text_bit_by_bit() {
        // The last two are read wrong by a parser that does not care for the last bit.
        for float in [1.0, -0.0, 1e18, 5e-324, f64::MAX, 0.1 + 0.2, 1.011_612_345_678_901_2e-300] {
            let text = to_json(&ClaimValue::Float(float)).to_string();
            let ClaimValue::Float(read) = from_json(serde_json::from_str(&text).unwrap()) else {
                panic!("{text} is not a float");
            };
            assert_eq!(read.to_bits(), float.to_bits(), "{text}");
        }
        for integer in [i64::MIN, -1, 0, 1, i64::MAX] {
            let text = to_json(&ClaimValue::Integer(integer)).to_string();
            let read = from_json(serde_json::from_str(&text).unwrap());
            assert_eq!(read, ClaimValue::Integer(integer));
        }
    }
}
