//! JSON from outside, read strictly: no member name twice, bounded in length and depth.
//!
//! RFC 8259 §4 leaves the meaning of a repeated member name open, so two readers of the same text can
//! take two different values. RFC 7519 §4 and RFC 7515 §4 let a reader refuse such an object; this
//! reader always does.
//!
//! ```
//! use mintgate_strict_json::{Error, Limits, Value, parse_object};
//!
//! const LIMITS: Limits = Limits { bytes: 1024, depth: 32 };
//!
//! let members = parse_object(br#"{"sub": "ada"}"#, LIMITS).unwrap();
//! assert_eq!(members["sub"], "ada");
//!
//! let error = parse_object(br#"{"sub": "ada", "sub": "bob"}"#, LIMITS).unwrap_err();
//! assert!(matches!(error, Error::DuplicateName(_)));
//! assert!(error.to_string().ends_with("(line 1, column 20)"));
//! ```

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
pub use serde_json::{Map, Value};

/// How much JSON is read before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest text, in bytes.
    pub bytes: usize,
    /// How many arrays and objects may contain each other; the outermost one counts. No more than
    /// [`MAX_DEPTH`], whatever is asked for.
    pub depth: usize,
}

/// The deepest nesting that [`Limits::depth`] can allow: the stack bounds it.
pub const MAX_DEPTH: usize = 126;

/// Where in the text a problem was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in bytes, counted from 1; 0 if the line is empty.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a text was refused, as the end of a sentence that begins with what was read ("the answer …").
/// No variant holds any of the text, so the error may be logged and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is longer than this many bytes.
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// The text is not exactly one JSON value in UTF-8 (RFC 8259), or holds a number that is too
    /// large for a 64-bit float.
    #[error("is not valid JSON in UTF-8 ({0})")]
    Syntax(Position),
    /// An object has two members of one name.
    #[error("has a member name twice ({0})")]
    DuplicateName(Position),
    /// Arrays and objects are nested deeper than [`Limits::depth`].
    #[error("is nested too deeply ({0})")]
    TooDeep(Position),
    /// The text is a JSON value, but not an object.
    #[error("is not a JSON object")]
    NotAnObject,
    /// The text is a JSON value, but not an array.
    #[error("is not a JSON array")]
    NotAnArray,
}

/// Reads one JSON object and returns its members.
///
/// # Errors
/// [`Error::NotAnObject`] for any other JSON value; otherwise as [`parse`].
pub fn parse_object(text: &[u8], limits: Limits) -> Result<Map<String, Value>, Error> {
    match parse(text, limits)? {
        Value::Object(members) => Ok(members),
        _ => Err(Error::NotAnObject),
    }
}

/// Reads one JSON array and returns its elements.
///
/// # Errors
/// [`Error::NotAnArray`] for any other JSON value; otherwise as [`parse`].
pub fn parse_array(text: &[u8], limits: Limits) -> Result<Vec<Value>, Error> {
    match parse(text, limits)? {
        Value::Array(elements) => Ok(elements),
        _ => Err(Error::NotAnArray),
    }
}

/// Reads exactly one JSON value.
///
/// # Errors
/// If the text is too long, is not one JSON value, repeats a member name at any depth, or is nested
/// too deeply.
pub fn parse(text: &[u8], limits: Limits) -> Result<Value, Error> {
    if text.len() > limits.bytes {
        return Err(Error::TooLong(limits.bytes));
    }
    let refused = Cell::new(None);
    let seed = Strict { depth_left: limits.depth.min(MAX_DEPTH), refused: &refused };
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = seed.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    value.map_err(|error| {
        debug_assert_eq!(refused.get().is_some(), error.classify() == Category::Data);
        let position = Position { line: error.line(), column: error.column() };
        refused.get().unwrap_or(Error::Syntax)(position)
    })
}

/// Reads one value, in which `depth_left` arrays and objects may still be nested.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth_left: usize,
    /// The rule that was broken. serde carries errors of a visitor as text alone, so the kind of the
    /// error travels beside it.
    refused: &'a Cell<Option<Kind>>,
}

/// A kind of [`Error`] that still lacks its position.
type Kind = fn(Position) -> Error;

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(self, kind: Kind) -> E {
        self.refused.set(Some(kind));
        E::custom("refused")
    }

    fn nested<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth_left = self.depth_left.checked_sub(1);
        let depth_left = depth_left.ok_or_else(|| self.refuse(Error::TooDeep))?;
        Ok(Self { depth_left, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let nested = self.nested()?;
        let mut array = Vec::new();
        while let Some(value) = elements.next_element_seed(nested)? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let nested = self.nested()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(self.refuse(Error::DuplicateName));
            }
            object.insert(name, members.next_value_seed(nested)?);
        }
        Ok(Value::Object(object))
    }
}
