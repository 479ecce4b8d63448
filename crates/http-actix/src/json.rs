//! The JSON object in a request's body.

use mintgate_domain::FieldError;
use mintgate_strict_json::{Error, Limits, MAX_DEPTH, Map, Value, parse_object};

use crate::body::MAX_BODY_BYTES;
use crate::error::ApiError;

const LIMITS: Limits = Limits { bytes: MAX_BODY_BYTES, depth: MAX_DEPTH };

/// The members of the object in a body that have not been taken yet.
#[derive(Debug)]
pub(crate) struct Members(Map<String, Value>);

impl Members {
    /// Reads a request's body.
    ///
    /// # Errors
    /// `INVALID_REQUEST` if the body is not one JSON object without repeated member names. The error
    /// quotes nothing of the body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        parse_object(body, LIMITS).map(Self).map_err(|error| {
            let rule = match error {
                Error::NotAnObject | Error::NotAnArray => "must be a JSON object".to_owned(),
                Error::DuplicateName(_) => "must not have a member twice".to_owned(),
                Error::Syntax(position) | Error::TooDeep(position) => {
                    format!("is not valid JSON in UTF-8 ({position})")
                }
                Error::TooLong(bytes) => format!("must have at most {bytes} bytes"),
            };
            ApiError::invalid(vec![FieldError::new("body", rule)])
        })
    }

    /// Takes a text out that must be there. If it is not, adds an error and returns an empty text.
    pub(crate) fn take_required_text(
        &mut self,
        name: &str,
        errors: &mut Vec<FieldError>,
    ) -> String {
        let before = errors.len();
        self.take_text(name, errors).unwrap_or_else(|| {
            if errors.len() == before {
                errors.push(FieldError::new(name, "is required"));
            }
            String::new()
        })
    }

    /// Takes a text out. `null` is the same as no member; any other value adds an error.
    pub(crate) fn take_text(&mut self, name: &str, errors: &mut Vec<FieldError>) -> Option<String> {
        match self.0.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                errors.push(FieldError::new(name, "must be a string"));
                None
            }
        }
    }

    /// Takes a whole number out that is not negative. `null` is the same as no member; any other value
    /// adds an error.
    pub(crate) fn take_number(&mut self, name: &str, errors: &mut Vec<FieldError>) -> Option<u64> {
        let value = self.0.remove(name).filter(|value| !value.is_null())?;
        if value.as_u64().is_none() {
            errors.push(FieldError::new(name, "must be a whole number that is not negative"));
        }
        value.as_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &[u8]) -> String {
        let error = Members::parse(body).unwrap_err();
        let [field] = error.fields() else { panic!("{:?}", error.fields()) };
        assert_eq!(field.field, "body");
        field.message.clone()
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
