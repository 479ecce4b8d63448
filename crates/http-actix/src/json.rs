//! JSON objects from outside: strict where serde is lenient.

use std::collections::BTreeMap;
use std::fmt;

use mintgate_domain::FieldError;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error::ApiError;

/// A JSON value with no member given twice, at any depth. Only texts at the
/// top level matter to us; other values are kept as their type alone.
#[derive(Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Text(String),
    Other,
}

/// A JSON object without duplicate members (RFC 8259 §4 leaves their meaning open; we refuse them).
#[derive(Debug)]
pub(crate) struct Object(pub(crate) BTreeMap<String, Value>);

impl Object {
    /// Parses a request body.
    ///
    /// # Errors
    /// What is wrong, without any of the body's text.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        match serde_json::from_slice(body) {
            Ok(Parsed::Object(members)) => Ok(Self(members)),
            Ok(Parsed::Value(_)) => Err("must be a JSON object".to_owned()),
            // serde_json's own text can quote the input; position and category cannot.
            Err(error) if error.classify() == serde_json::error::Category::Data => {
                Err("must not have a member twice".to_owned())
            }
            Err(error) => Err(format!(
                "is not valid JSON in UTF-8 (line {}, column {})",
                error.line(),
                error.column()
            )),
        }
    }
}

impl Object {
    /// The object of a request's body, from which texts are then taken.
    ///
    /// # Errors
    /// `INVALID_REQUEST` if it is none.
    pub(crate) fn of_request(body: &[u8]) -> Result<Self, ApiError> {
        Self::parse(body)
            .map_err(|problem| ApiError::invalid(vec![FieldError::new("body", problem)]))
    }

    /// Takes a text out; null is the same as leaving it out. Anything else is noted as an error.
    pub(crate) fn take_text(&mut self, name: &str, errors: &mut Vec<FieldError>) -> Option<String> {
        match self.0.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::Text(text)) => Some(text),
            Some(Value::Other) => {
                errors.push(FieldError::new(name, "must be a string"));
                None
            }
        }
    }
}

enum Parsed {
    Object(BTreeMap<String, Value>),
    Value(Value),
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Parsed, E> {
        Ok(Parsed::Value(Value::Null))
    }
    fn visit_bool<E>(self, _: bool) -> Result<Parsed, E> {
        Ok(Parsed::Value(Value::Other))
    }
    fn visit_i64<E>(self, _: i64) -> Result<Parsed, E> {
        Ok(Parsed::Value(Value::Other))
    }
    fn visit_u64<E>(self, _: u64) -> Result<Parsed, E> {
        Ok(Parsed::Value(Value::Other))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Parsed, E> {
        Ok(Parsed::Value(Value::Other))
    }
    fn visit_str<E>(self, text: &str) -> Result<Parsed, E> {
        Ok(Parsed::Value(Value::Text(text.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Parsed, A::Error> {
        while elements.next_element::<Parsed>()?.is_some() {}
        Ok(Parsed::Value(Value::Other))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parsed, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = match map.next_value::<Parsed>()? {
                Parsed::Value(value) => value,
                Parsed::Object(_) => Value::Other,
            };
            if members.insert(name, value).is_some() {
                return Err(de::Error::custom("duplicate member"));
            }
        }
        Ok(Parsed::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &[u8]) -> String {
        Object::parse(body).unwrap_err()
    }

    #[test]
    fn case_01_anything_but_one_object_is_refused() {
        for body in [&b"null"[..], b"[]", b"\"text\"", b"1", b"true"] {
            assert_eq!(error(body), "must be a JSON object");
        }
        for body in [&b""[..], b"{", b"{}{}", b"{\"a\":1}x", b"{'a':1}", b"{\"a\":\"\xff\"}"] {
            assert!(error(body).starts_with("is not valid JSON"), "{body:?}");
        }
    }

    #[test]
    fn case_01_a_member_given_twice_is_refused_at_any_depth() {
        for body in [
            &br#"{"a":1,"a":1}"#[..],
            br#"{"x":{"a":1,"a":2}}"#,
            br#"{"x":[{"a":1,"b":{"c":1,"c":1}}]}"#,
            br#"{"a":1,"\u0061":1}"#,
        ] {
            assert_eq!(error(body), "must not have a member twice");
        }
    }

    #[test]
    fn case_02_a_lone_surrogate_is_refused_and_never_a_fault() {
        assert!(error(br#"{"a":"\ud800"}"#).starts_with("is not valid JSON"));
    }

    #[test]
    fn deep_nesting_is_refused_and_never_a_fault() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
        assert!(error(deep.as_bytes()).starts_with("is not valid JSON"));
    }

    #[test]
    fn an_error_quotes_nothing_of_the_body() {
        for body in [&b"{\"secret-name\":1,\"secret-name\":1}"[..], b"{\"secret\":tru}"] {
            assert!(!error(body).contains("secret"));
        }
    }
}
