//! Texts from outside in log lines.

use crate::SecretText;

/// The longest excerpt of a text, in characters.
const MAX_CHARS: usize = 200;

/// The first 200 characters of a text from outside, without control characters, so that it can neither
/// forge nor flood log lines.
pub fn excerpt(text: &str) -> String {
    excerpt_without(text, &[])
}

/// The same, with `[redacted]` in the place of each of these secrets. They are looked for in what is left
/// without control characters, so that a secret cannot be put together again behind the search.
pub fn excerpt_without(text: &str, secrets: &[SecretText]) -> String {
    let mut text: String = text.chars().filter(|c| !c.is_control()).collect();
    for secret in secrets.iter().map(SecretText::expose).filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "[redacted]");
    }
    let mut printable = text.chars();
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

    #[test]
    fn an_excerpt_has_no_secret_however_it_is_interrupted_or_cut() {
        let without = |text: &str| excerpt_without(text, &["s3cret", ""].map(SecretText::new));
        assert_eq!(without("s3cret, s3\0cr\net"), "[redacted], [redacted]");
        let at_the_end = format!("{}s3cret", "x".repeat(197));
        assert_eq!(without(&at_the_end), format!("{}[re…", "x".repeat(197)));
    }
}
