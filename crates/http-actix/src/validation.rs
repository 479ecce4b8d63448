//! The rules for members of request bodies, and how a broken rule is told to the client.

use std::borrow::Cow;
use std::fmt::Display;

use garde::Validate;
use garde::i18n::{self, I18n, with_i18n};
use mintgate_domain::FieldError;

/// Checks `fields` by their rules and adds an error for each broken one, but at most one error for a
/// field.
pub(crate) fn check(fields: &impl Validate<Context = ()>, errors: &mut Vec<FieldError>) {
    let Err(report) = with_i18n(Messages, || fields.validate()) else { return };
    for (path, error) in report.into_inner() {
        let field = path.to_string();
        if !errors.iter().any(|noted| noted.field == field) {
            errors.push(FieldError::new(field, error.message()));
        }
    }
}

// garde hands the value and a context to every rule.
macro_rules! character_rule {
    ($(#[$doc:meta])* $name:ident, $allowed:expr, $message:literal) => {
        $(#[$doc])*
        pub(crate) fn $name(text: &str, (): &()) -> garde::Result {
            let allowed: fn(u8) -> bool = $allowed;
            if text.bytes().all(allowed) { Ok(()) } else { Err(garde::Error::new($message)) }
        }
    };
}

character_rule! {
    /// VSCHAR (RFC 6749 appendix A): the characters of a code, a state and a nonce.
    visible_or_space, |b| matches!(b, 0x20..=0x7e), "must be printable ASCII"
}
character_rule! {
    /// Printable ASCII without the space.
    visible, |b| matches!(b, 0x21..=0x7e), "must be printable ASCII without spaces"
}
character_rule! {
    /// The unreserved characters of a code verifier (RFC 7636 §4.1).
    unreserved,
    |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'),
    "must be of the characters A-Z a-z 0-9 - . _ ~"
}

character_rule! {
    /// Any text without control characters, as a person reads it.
    readable, |b| !b.is_ascii_control(), "must not have control characters"
}
character_rule! {
    /// Words of an OIDC parameter such as `ui_locales` (OIDC Core §3.1.2.1).
    words,
    |b| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'-' | b'_'),
    "must be words of the characters A-Z a-z 0-9 - _ with spaces between them"
}

/// garde's rules in the words of our answers.
struct Messages;

macro_rules! unused_rules {
    ($($name:ident($($argument:ty),*);)*) => {$(
        fn $name(&self, $(_: $argument),*) -> Cow<'static, str> {
            "is not valid".into()
        }
    )*};
}

impl I18n for Messages {
    fn length_lower_than(&self, min: usize) -> Cow<'static, str> {
        format!("must have at least {min} characters").into()
    }

    fn length_greater_than(&self, max: usize) -> Cow<'static, str> {
        format!("must have at most {max} characters").into()
    }

    fn range_greater_than(&self, max: &dyn Display) -> Cow<'static, str> {
        format!("must be at most {max}").into()
    }

    unused_rules! {
        range_lower_than(&dyn Display);
        credit_card_invalid(i18n::InvalidCreditCard);
        pattern_no_match(&dyn Display);
        contains_missing(&dyn Display);
        url_invalid(i18n::InvalidUrl);
        prefix_missing(&dyn Display);
        suffix_missing(&dyn Display);
        phone_number_invalid(i18n::InvalidPhoneNumber);
        ip_invalid(i18n::IpKind);
        matches_field_mismatch(&dyn Display);
        email_invalid(i18n::InvalidEmail);
        ascii_invalid();
        alphanumeric_invalid();
        required_not_set();
    }
}
