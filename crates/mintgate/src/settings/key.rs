//! The declaration of a key: its name, what it means, and what holds where it is not set.

use std::borrow::Cow;

use super::mistakes::Flaw;
use super::source::{Node, Origin, Value};

/// One key of a section. The reader, `config print` and the reference all work from it.
pub(super) struct Key {
    /// The name in the file.
    pub name: &'static str,
    /// What it means: Markdown for the reference.
    pub doc: Cow<'static, str>,
    /// Whether the value is never shown.
    pub secret: bool,
    pub(super) fallback: Fallback,
    /// Why it means nothing here, if it does not: it is a mistake to set it then.
    pub(super) barred: Option<Flaw>,
}

/// What holds where a key is not set.
pub(super) enum Fallback {
    /// A mistake; holds the line to add.
    Required(&'static str),
    /// Nothing; says what that means.
    Nothing(&'static str),
    /// A value.
    Value(Value),
    /// A value made from other keys, if those are well; says which.
    Derived(&'static str, Option<Value>),
}

/// Declares a key; optional until told otherwise.
pub(super) fn key(name: &'static str, doc: impl Into<Cow<'static, str>>) -> Key {
    let fallback = Fallback::Nothing("none");
    Key { name, doc: doc.into(), secret: false, fallback, barred: None }
}

impl Key {
    /// The key must be set; `example` is a line that sets it.
    pub(super) fn required(self, example: &'static str) -> Self {
        Self { fallback: Fallback::Required(example), ..self }
    }

    /// The value where it is not set.
    pub(super) fn or(self, value: impl Into<Value>) -> Self {
        Self { fallback: Fallback::Value(value.into()), ..self }
    }

    /// The value, made from other keys, where it is not set; `shown` says so in the reference.
    pub(super) fn or_derived(self, shown: &'static str, value: Option<Value>) -> Self {
        Self { fallback: Fallback::Derived(shown, value), ..self }
    }

    /// What it means that the key is not set.
    pub(super) fn or_nothing(self, shown: &'static str) -> Self {
        Self { fallback: Fallback::Nothing(shown), ..self }
    }

    /// The key means nothing here, if there is a flaw in setting it.
    pub(super) fn barred(self, flaw: Option<Flaw>) -> Self {
        Self { barred: flaw, ..self }
    }

    /// The value is never shown.
    pub(super) fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}

impl Fallback {
    /// The value as a node.
    pub(super) fn into_node(self) -> Option<Node> {
        match self {
            Self::Value(value) | Self::Derived(_, Some(value)) => {
                Some(Node { value, origin: Origin::Unset })
            }
            Self::Required(_) | Self::Nothing(_) | Self::Derived(_, None) => None,
        }
    }

    /// The line to add, if there must be one.
    pub(super) fn required(&self) -> Option<&'static str> {
        if let Self::Required(example) = self { Some(example) } else { None }
    }

    /// The default, for the reference.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Required(_) => "**required**".to_owned(),
            Self::Nothing(text) | Self::Derived(text, _) => (*text).to_owned(),
            Self::Value(value) => format!("`{}`", super::show::toml(value)),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl<const N: usize> From<[&str; N]> for Value {
    fn from(texts: [&str; N]) -> Self {
        Self::from(texts.as_slice())
    }
}

impl From<&[&str]> for Value {
    fn from(texts: &[&str]) -> Self {
        let node = |text: &&str| Node { value: (*text).into(), origin: Origin::Unset };
        Self::List(texts.iter().map(node).collect())
    }
}
