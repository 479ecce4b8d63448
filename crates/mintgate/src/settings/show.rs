//! Values as text: for mistakes, for `config print`. Passwords in URLs are masked here, once for all.

use std::fmt::Write as _;

use super::source::{Node, Value};

/// What stands in place of a secret.
pub(super) const MASK: &str = "***";

/// How much of a value a mistake shows, in characters.
const SHOWN_CHARS: usize = 120;

/// The value as TOML, passwords in URLs masked.
pub(super) fn toml(value: &Value) -> String {
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

/// The text cut to what a message can bear.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A TOML basic string.
pub(super) fn quoted(text: &str) -> String {
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

/// The text with every password of a URL masked: after the user's name, and in a query.
///
/// Cautious rather than exact, for the text may be a URL only by intention:
/// everything between the first `:` and the last `@` goes.
pub(super) fn masked(text: &str) -> String {
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
