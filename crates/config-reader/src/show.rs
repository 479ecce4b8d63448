//! Values as text, for messages and for the effective configuration. Passwords in URLs are masked
//! here and nowhere else.

use std::fmt::Write as _;

use crate::source::{Node, Value};

/// What is shown in place of a secret.
pub(crate) const MASK: &str = "***";

/// The most that a message shows of a value, in characters.
const SHOWN_CHARS: usize = 120;

/// The value as TOML, with passwords in URLs masked.
pub(crate) fn toml(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Variable(text) => quoted(&masked(text)),
        Value::Integer(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Other(text) => text.clone(),
        Value::List(items) => format!("[{}]", joined(items.iter().map(node))),
        Value::Table(table) if table.is_empty() => "{}".to_owned(),
        Value::Table(table) => {
            let pairs = table.iter().map(|(k, v)| format!("{} = {}", quoted(k), node(v)));
            format!("{{ {} }}", joined(pairs))
        }
    }
}

fn node(node: &Node) -> String {
    toml(&node.value)
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// The first [`SHOWN_CHARS`] characters of a text.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The text as a TOML basic string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The text with every password of a URL masked: the one after the user's name, and those in a query.
///
/// It masks too much rather than too little, because the text may be a malformed URL: everything
/// between the first `:` and the last `@` is masked.
pub(crate) fn masked(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        let suspicious = text.contains(':') && text.contains('@')
            || text.contains("PRIVATE KEY")
            || text.to_ascii_lowercase().contains("password");
        return if suspicious { MASK.to_owned() } else { text.to_owned() };
    };
    let rest = match rest.rsplit_once('@') {
        Some((user, after)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:{MASK}@{after}"),
            None => rest.to_owned(),
        },
        None => rest.to_owned(),
    };
    let Some((address, query)) = rest.split_once('?') else { return format!("{scheme}://{rest}") };
    let parameters = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("password") => {
            format!("{name}={MASK}")
        }
        _ => pair.to_owned(),
    });
    format!("{scheme}://{address}?{}", parameters.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked_wherever_a_url_may_hold_them() {
        for (text, expected) in [
            ("postgres://u:pw@host/db", "postgres://u:***@host/db"),
            ("postgres://u:p/w@x@host/db", "postgres://u:***@host/db"),
            ("postgres://u@host/db?password=pw&a=b", "postgres://u@host/db?password=***&a=b"),
            ("postgres://host/db?sslPassword=pw", "postgres://host/db?sslPassword=***"),
            ("postgres:/u:pw@host/db", "***"),
            ("host=db password=pw", "***"),
            ("https://auth.example.com/x?a=b", "https://auth.example.com/x?a=b"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("ada@example.com", "ada@example.com"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }

    #[test]
    fn quoting_gives_a_toml_string_that_cannot_steer_a_terminal() {
        let shown = quoted("a\"b\\c\n\u{1b}[31m\u{7f}");
        assert_eq!(shown, r#""a\"b\\c\u000A\u001B[31m\u007F""#);
    }
}
