//! The declaration of a key: its name, its meaning, and what applies where it is not set.

use std::borrow::Cow;

use crate::mistakes::Invalid;
use crate::show;
use crate::source::{Node, Origin, Table, Value};

/// The declaration of one key of a section.
pub struct Key {
    pub(crate) name: &'static str,
    pub(crate) doc: Cow<'static, str>,
    pub(crate) secret: bool,
    /// Whether an empty text is a value.
    pub(crate) or_empty: bool,
    pub(crate) fallback: Fallback,
    /// Why the key must not be set here, if it must not.
    pub(crate) forbidden: Option<Invalid>,
}

/// What applies where a key is not set.
pub(crate) enum Fallback {
    /// Not setting the key is a mistake; holds the line to add.
    Required(&'static str),
    /// There is no value; holds what the reference says of that.
    Nothing(&'static str),
    /// A fixed value applies.
    Value(Value),
    /// A value derived from other keys applies, if those are valid; holds what the reference says.
    Derived(&'static str, Option<Value>),
}

/// Declares a key that is optional and has no default. `doc` is its meaning, as Markdown for a
/// table cell of the reference.
pub fn key(name: &'static str, doc: impl Into<Cow<'static, str>>) -> Key {
    let fallback = Fallback::Nothing("none");
    Key { name, doc: doc.into(), secret: false, or_empty: false, fallback, forbidden: None }
}

impl Key {
    /// Makes the key required; `example` is a line that sets it.
    #[must_use]
    pub fn required(self, example: &'static str) -> Self {
        Self { fallback: Fallback::Required(example), ..self }
    }

    /// Sets the value that applies where the key is not set.
    #[must_use]
    pub fn default(self, value: impl Into<DefaultValue>) -> Self {
        Self { fallback: Fallback::Value(value.into().0), ..self }
    }

    /// Sets a default that is derived from other keys; `shown` describes it in the reference.
    #[must_use]
    pub fn default_from(self, shown: &'static str, value: Option<impl Into<DefaultValue>>) -> Self {
        let value = value.map(|value| value.into().0);
        Self { fallback: Fallback::Derived(shown, value), ..self }
    }

    /// Says in the reference what it means that the key is not set.
    #[must_use]
    pub fn optional(self, shown: &'static str) -> Self {
        Self { fallback: Fallback::Nothing(shown), ..self }
    }

    /// Makes it a mistake to set the key here, if there is a reason.
    #[must_use]
    pub fn forbidden(self, reason: Option<Invalid>) -> Self {
        Self { forbidden: reason, ..self }
    }

    /// Lets a text that may be in a file be empty.
    #[must_use]
    pub fn or_empty(self) -> Self {
        Self { or_empty: true, ..self }
    }

    /// Keeps the value out of every message and out of the effective configuration.
    #[must_use]
    pub fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}

impl Fallback {
    /// The default value, if there is one.
    pub(crate) fn into_node(self) -> Option<Node> {
        match self {
            Self::Value(value) | Self::Derived(_, Some(value)) => {
                Some(Node { value, origin: Origin::Unset })
            }
            Self::Required(_) | Self::Nothing(_) | Self::Derived(_, None) => None,
        }
    }

    /// The line to add, if the key is required.
    pub(crate) fn required(&self) -> Option<&'static str> {
        if let Self::Required(example) = self { Some(example) } else { None }
    }

    /// What the reference says of the default.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Required(_) => "**required**".to_owned(),
            Self::Nothing(text) | Self::Derived(text, _) => (*text).to_owned(),
            Self::Value(value) => format!("`{}`", show::toml(value)),
        }
    }
}

/// The default of a key: a text, an integer, a boolean, a list of texts, or an empty table.
pub struct DefaultValue(Value);

impl DefaultValue {
    /// The default of a key that holds a table without elements.
    pub fn empty_table() -> Self {
        Self(Value::Table(Table::new()))
    }
}

impl From<String> for DefaultValue {
    fn from(text: String) -> Self {
        Self(Value::Text(text))
    }
}

impl From<&str> for DefaultValue {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<i64> for DefaultValue {
    fn from(number: i64) -> Self {
        Self(Value::Integer(number))
    }
}

impl From<bool> for DefaultValue {
    fn from(flag: bool) -> Self {
        Self(Value::Flag(flag))
    }
}

impl<const N: usize> From<[&str; N]> for DefaultValue {
    fn from(texts: [&str; N]) -> Self {
        texts.as_slice().into()
    }
}

impl From<&[&str]> for DefaultValue {
    fn from(texts: &[&str]) -> Self {
        let text =
            |text: &&str| Node { value: Value::Text((*text).to_owned()), origin: Origin::Unset };
        Self(Value::List(texts.iter().map(text).collect()))
    }
}
