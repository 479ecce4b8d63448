//! Foreign text in log lines.

/// The longest excerpt of a foreign text, in characters.
const MAX_CHARS: usize = 200;

/// The first 200 characters of a foreign text without control characters, so that it can neither forge nor
/// flood log lines.
pub(crate) fn excerpt(text: &str) -> String {
    let mut printable = text.chars().filter(|c| !c.is_control());
    let mut excerpt: String = printable.by_ref().take(MAX_CHARS).collect();
    if printable.next().is_some() {
        excerpt.push('…');
    }
    excerpt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_stays_on_its_line() {
        assert_eq!(excerpt("bad\r\n\u{1b}[31mcode"), "bad[31mcode");
        assert_eq!(excerpt(&"é".repeat(200)), "é".repeat(200));
        assert_eq!(excerpt(&"é".repeat(10_000)).chars().count(), 201);
    }
}
