//! The configuration as it was written: a tree of values, each with its origin.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use crate::mistakes::ConfigError;

/// The keys of one table, with their values.
pub(crate) type Table = BTreeMap<String, Node>;

/// Where a value was written. The order is that of messages: the file by line, then variables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// A line of the file of this name; line 0 is the whole file.
    File(Arc<str>, usize),
    /// The value is not written anywhere.
    Unset,
    /// The environment variable of this name.
    Env(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(name, 0) => f.write_str(name),
            Self::File(name, line) => write!(f, "{name}:{line}"),
            Self::Unset => f.write_str("not set"),
            Self::Env(variable) => f.write_str(variable),
        }
    }
}

/// A value and its origin. It has no `Debug`, because it may be a secret.
#[derive(Clone)]
pub(crate) struct Node {
    pub value: Value,
    pub origin: Origin,
}

/// A value as it was written, or the default of a key. It has no `Debug`, because it may be a secret.
#[derive(Clone)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Flag(bool),
    List(Vec<Node>),
    Table(Table),
    /// A value that no key accepts: a fraction, a date, a number out of range, JSON's null.
    Other(String),
    /// The text of an environment variable, until the key's type says how to parse it.
    Variable(String),
}

/// The type that a key requires of its value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Text,
    Integer,
    Flag,
    List,
    Table,
}

impl Value {
    /// Parses an environment variable's text as the shape that its key requires. Any other value,
    /// and a text that cannot be parsed, stays as it is.
    pub(crate) fn shaped(self, shape: Shape, origin: &Origin) -> Self {
        let Self::Variable(text) = self else { return self };
        let trimmed = text.trim();
        let parsed = match shape {
            Shape::Text => return Self::Text(text),
            Shape::Integer => trimmed.parse().ok().map(Self::Integer),
            Shape::Flag => trimmed.parse().ok().map(Self::Flag),
            Shape::List if trimmed.starts_with('[') => parse_literal(trimmed, origin),
            Shape::List if trimmed.is_empty() => Some(Self::List(Vec::new())),
            Shape::List => Some(Self::List(
                trimmed
                    .split(',')
                    .map(|item| Node {
                        value: Self::Text(item.trim().to_owned()),
                        origin: origin.clone(),
                    })
                    .collect(),
            )),
            Shape::Table => parse_literal(trimmed, origin),
        };
        parsed.unwrap_or(Self::Variable(text))
    }

    /// Whether the value has the shape.
    pub(crate) fn is(&self, shape: Shape) -> bool {
        match self {
            Self::Text(_) => shape == Shape::Text,
            Self::Integer(_) => shape == Shape::Integer,
            Self::Flag(_) => shape == Shape::Flag,
            Self::List(_) => shape == Shape::List,
            Self::Table(_) => shape == Shape::Table,
            Self::Other(_) | Self::Variable(_) => false,
        }
    }
}

/// Parses an environment variable's text as a TOML value or, if it is none, as JSON.
fn parse_literal(text: &str, origin: &Origin) -> Option<Value> {
    match DeValue::parse(text) {
        Ok(value) => Some(from_toml(value.into_inner(), &|_| origin.clone())),
        Err(_) => serde_json::from_str(text).ok().map(|json| from_json(json, origin)),
    }
}

fn from_json(json: serde_json::Value, origin: &Origin) -> Value {
    use serde_json::Value as Json;
    let node = |json| Node { value: from_json(json, origin), origin: origin.clone() };
    match json {
        Json::String(text) => Value::Text(text),
        Json::Bool(flag) => Value::Flag(flag),
        Json::Array(items) => Value::List(items.into_iter().map(node).collect()),
        Json::Object(map) => Value::Table(map.into_iter().map(|(k, v)| (k, node(v))).collect()),
        Json::Number(number) => {
            number.as_i64().map_or_else(|| Value::Other(number.to_string()), Value::Integer)
        }
        Json::Null => Value::Other("null".to_owned()),
    }
}

/// Parses the text of a configuration file as TOML.
///
/// # Errors
/// The first syntax error. The message does not show the line, which may hold a secret.
pub(crate) fn parse(name: &str, text: &str) -> Result<Table, ConfigError> {
    let lines: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line_of = |offset: usize| lines.partition_point(|newline| *newline < offset) + 1;
    let name: Arc<str> = name.into();
    match DeTable::parse(text) {
        Ok(table) => {
            let origin_of = |offset| Origin::File(Arc::clone(&name), line_of(offset));
            Ok(table_from_toml(table.into_inner(), &origin_of))
        }
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start).min(text.len());
            let line = line_of(offset);
            let start = text.get(..offset).and_then(|t| t.rfind('\n')).map_or(0, |at| at + 1);
            let column = text.get(start..offset).map_or(0, |t| t.chars().count()) + 1;
            Err(ConfigError::of_file(
                &name,
                line,
                format!("Line {line}, column {column}, is not TOML: {}.", error.message()),
                "correct that line; texts stand in double quotes, tables in [brackets], \
                 and each key is there once",
            ))
        }
    }
}

type OriginOf<'a> = &'a dyn Fn(usize) -> Origin;

fn table_from_toml(table: DeTable<'_>, origin_of: OriginOf<'_>) -> Table {
    table
        .into_iter()
        .map(|(key, value)| {
            // A table's own span is its header; any other value belongs to the line of its key.
            let at = match value.get_ref() {
                DeValue::Table(_) => value.span().start,
                _ => key.span().start,
            };
            let node =
                Node { value: from_toml(value.into_inner(), origin_of), origin: origin_of(at) };
            (key.into_inner().into_owned(), node)
        })
        .collect()
}

fn from_toml(value: DeValue<'_>, origin_of: OriginOf<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::Other(number.to_string()), Value::Integer),
        DeValue::Float(number) => Value::Other(number.to_string()),
        DeValue::Datetime(date) => Value::Other(date.to_string()),
        DeValue::Array(items) => Value::List(
            items
                .into_iter()
                .map(|item| Node {
                    origin: origin_of(item.span().start),
                    value: from_toml(item.into_inner(), origin_of),
                })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(table_from_toml(table, origin_of)),
    }
}
