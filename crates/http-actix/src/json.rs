//! The JSON object in a request's body.

use garde::Validate;
use mintgate_strict_json::{Limits, MAX_DEPTH, Map, Value, parse_object};
use utoipa::ToSchema;

use crate::body::MAX_BODY_BYTES;
use crate::error::ApiError;
use crate::validation::{Broken, BrokenField, BrokenRule, TextRule, broken_fields, text_rules};

const LIMITS: Limits = Limits { bytes: MAX_BODY_BYTES, depth: MAX_DEPTH };

/// The members of the object in a body that have not been taken yet, and those at fault. Texts are taken
/// byte for byte: nothing is trimmed, no case is folded.
#[derive(Debug)]
pub(crate) struct Members {
    left: Map<String, Value>,
    broken: Vec<BrokenField>,
    /// Whether every member that is asked for is there, with whatever value: of a body that describes others.
    has_all: bool,
}

/// The members that a route reads from a body, with the rules for them.
pub(crate) trait Fields: Validate<Context = Broken> + ToSchema {
    /// Takes out the members.
    fn take(members: &mut Members) -> Self;

    /// The rules for the members that are texts.
    fn text_rules() -> Vec<TextRule>
    where
        Self: Sized,
    {
        let mut members = Members { left: Map::new(), broken: Vec::new(), has_all: true };
        text_rules(&Self::take(&mut members))
    }
}

impl Members {
    /// Reads a request's body.
    ///
    /// # Errors
    /// `INVALID_REQUEST` if the body is not one JSON object without repeated member names. The error
    /// quotes nothing of the body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        match parse_object(body, LIMITS) {
            Ok(left) => Ok(Self { left, broken: Vec::new(), has_all: false }),
            Err(error) => Err(ApiError::invalid(vec![BrokenField::new("body", error)])),
        }
    }

    /// Takes out a text. `null` is the same as no member; any other value is at fault.
    pub(crate) fn take_text(&mut self, name: &'static str) -> Option<String> {
        match self.left.remove(name) {
            None if self.has_all => Some(String::new()),
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.refuse(name, BrokenRule::NotText);
                None
            }
        }
    }

    /// Takes out `true` or `false`; any other value is at fault. `null` is the same as no member.
    pub(crate) fn take_flag(&mut self, name: &'static str) -> Option<bool> {
        let value = self.left.remove(name).filter(|value| !value.is_null())?.as_bool();
        if value.is_none() {
            self.refuse(name, BrokenRule::NotFlag);
        }
        value
    }

    /// Takes out a whole number that is not negative; any other value is at fault. `null` is the same as
    /// no member.
    pub(crate) fn take_number(&mut self, name: &'static str) -> Option<u64> {
        let value = self.left.remove(name).filter(|value| !value.is_null())?.as_u64();
        if value.is_none() {
            self.refuse(name, BrokenRule::NotNumber);
        }
        value
    }

    /// Takes out the members of a body, and checks them.
    pub(crate) fn take<T: Fields>(&mut self) -> T {
        let body = T::take(self);
        for BrokenField { field, rule } in broken_fields(&body) {
            self.refuse(field, rule);
        }
        body
    }

    /// Notes that a member breaks a rule, unless it is known to break another.
    pub(crate) fn refuse(&mut self, name: &'static str, rule: impl Into<BrokenRule>) {
        if !self.is_broken(name) {
            self.broken.push(BrokenField::new(name, rule));
        }
    }

    /// Whether a member is known to break a rule.
    pub(crate) fn is_broken(&self, name: &str) -> bool {
        self.broken.iter().any(|broken| broken.field == name)
    }

    /// Ends the reading with what was read; members that were not taken are ignored.
    ///
    /// # Errors
    /// `INVALID_REQUEST` with every member at fault. There MUST be one if nothing was `read`.
    pub(crate) fn end<T>(self, read: Option<T>) -> Result<T, ApiError> {
        let whole = read.filter(|_| self.broken.is_empty());
        whole.ok_or_else(|| ApiError::invalid(self.broken))
    }
}

#[cfg(test)]
mod tests {
    use mintgate_strict_json::Error;

    use super::*;

    fn error(body: &[u8]) -> Error {
        let error = Members::parse(body).unwrap_err();
        match error.fields() {
            [BrokenField { field: "body", rule: BrokenRule::NotJson(error) }] => *error,
            fields => panic!("{fields:?}"),
        }
    }

    #[test]
    fn case_01_anything_but_one_object_is_refused() {
        for body in [&b"null"[..], b"[]", b"\"text\"", b"1", b"true"] {
            assert_eq!(error(body), Error::NotAnObject);
        }
        for body in [&b""[..], b"{", b"{}{}", b"{\"a\":1}x", b"{'a':1}", b"{\"a\":\"\xff\"}"] {
            assert!(matches!(error(body), Error::Syntax(_)), "{body:?}");
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
            assert!(matches!(error(body), Error::DuplicateName(_)));
        }
    }

    #[test]
    fn case_02_a_lone_surrogate_is_refused_and_never_a_fault() {
        assert!(matches!(error(br#"{"a":"\ud800"}"#), Error::Syntax(_)));
    }

    #[test]
    fn deep_nesting_is_refused_and_never_a_fault() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
        assert!(matches!(error(deep.as_bytes()), Error::TooDeep(_)));
    }

    #[test]
    fn an_error_quotes_nothing_of_the_body() {
        for body in [&b"{\"secret-name\":1,\"secret-name\":1}"[..], b"{\"secret\":tru}"] {
            assert!(!error(body).to_string().contains("secret"));
        }
    }
}
