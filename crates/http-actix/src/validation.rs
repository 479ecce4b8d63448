//! The rules for the fields of requests, and how a broken one is told to the client.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use garde::Validate;
use mintgate_domain::{FieldError, FieldRule};
use serde_json::Value;

/// A field of a request that breaks a rule; never holds the field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BrokenField {
    /// The field's name in the request, such as `redirectUri`.
    pub(crate) field: &'static str,
    /// The rule that the field breaks.
    pub(crate) rule: BrokenRule,
}

/// The rule that a field breaks. Its text follows the field's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BrokenRule {
    /// A rule of the use cases.
    #[error(transparent)]
    Core(#[from] FieldRule),
    /// The request needs an authorization code or an ID token.
    #[error("is required (or idToken in its place)")]
    RequiredWithoutIdToken,
    /// The request has an authorization code already.
    #[error("must not be given along with authCode")]
    AlongWithCode,
    /// The field may come once.
    #[error("must not be given twice")]
    Twice,
    /// The body is not one JSON object, read strictly.
    #[error(transparent)]
    NotJson(#[from] mintgate_strict_json::Error),
    /// The member is of another JSON type.
    #[error("must be a string")]
    NotText,
    /// The text has fewer than this many bytes.
    #[error("must have at least {0} characters")]
    TooShort(usize),
    /// The text has more than this many bytes.
    #[error("must have at most {0} characters")]
    TooLong(usize),
    /// The text has other characters than these.
    #[error("must be {}", .0.name())]
    Not(Characters),
    /// `none` is one of several words (OIDC Core §3.1.2.1).
    #[error("must not have none together with others")]
    NoneWithOthers,
    /// The text has spaces alone.
    #[error("must not be blank")]
    Blank,
    /// The member is neither `true` nor `false`.
    #[error("must be true or false")]
    NotFlag,
    /// The member is no whole number, or a negative one.
    #[error("must be a whole number that is not negative")]
    NotNumber,
    /// The number is larger than this.
    #[error("must be at most {0}")]
    TooLarge(u64),
    /// The request is a script's, a frame's, or made ahead of time.
    #[error(
        "must be that of a navigation: a link or a form that the person follows in a whole tab"
    )]
    NotANavigation,
    /// The text is not the issuer of the provider, character for character.
    #[error("must be the issuer of this provider")]
    NotTheIssuer,
    /// The text is not the id of a session: a UUID with hyphens.
    #[error("must be the sid of a session")]
    NotASessionId,
    /// The text is neither `cookie` nor `body`.
    #[error("must be \"cookie\" or \"body\"")]
    NotADelivery,
    /// The header is not what a client with an address key has signed for us, for now.
    #[error(
        "must be a JWS by the address_key of a client: iss, aud, address, and exp at most 30 seconds ahead"
    )]
    NotAClientAddress,
}

impl BrokenField {
    /// Makes the report that the request field `field` breaks `rule`.
    pub(crate) fn new(field: &'static str, rule: impl Into<BrokenRule>) -> Self {
        Self { field, rule: rule.into() }
    }
}

impl From<FieldError> for BrokenField {
    fn from(FieldError { field, rule }: FieldError) -> Self {
        Self::new(field, rule)
    }
}

/// The characters that a text may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Characters {
    /// VSCHAR (RFC 6749 appendix A): the characters of a code, a state and a nonce.
    Printable,
    /// Printable ASCII without the space.
    Visible,
    /// The unreserved characters of a code verifier (RFC 7636 §4.1).
    Unreserved,
    /// Any text without control characters, as a person reads it.
    Readable,
    /// Words of an OIDC parameter such as `ui_locales` (OIDC Core §3.1.2.1).
    Words,
}

impl Characters {
    const fn has(self, byte: u8) -> bool {
        match self {
            Self::Printable => matches!(byte, 0x20..=0x7e),
            Self::Visible => byte.is_ascii_graphic(),
            Self::Unreserved => {
                byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
            }
            Self::Readable => !byte.is_ascii_control(),
            Self::Words => byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'-' | b'_'),
        }
    }

    /// The same as a regular expression of JSON Schema.
    const fn pattern(self) -> &'static str {
        match self {
            Self::Printable => "^[ -~]*$",
            Self::Visible => "^[!-~]*$",
            Self::Unreserved => "^[A-Za-z0-9._~-]*$",
            Self::Readable => "^[^\\u0000-\\u001f\\u007f]*$",
            Self::Words => "^[A-Za-z0-9 _-]*$",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Printable => "printable ASCII",
            Self::Visible => "printable ASCII without spaces",
            Self::Unreserved => "of the characters A-Z a-z 0-9 - . _ ~",
            Self::Readable => "without control characters",
            Self::Words => "words of the characters A-Z a-z 0-9 - _ with spaces between them",
        }
    }
}

/// Where the rules below note what is broken: garde itself hands on texts alone.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    fields: RefCell<Vec<BrokenField>>,
    /// The rules that were applied, if somebody wants to know them.
    rules: Option<RefCell<Vec<TextRule>>>,
}

/// The fields that break the rules of a body.
pub(crate) fn broken_fields(body: &impl Validate<Context = Broken>) -> Vec<BrokenField> {
    let broken = Broken::default();
    // Its report says in words what is noted.
    let _ = body.validate_with(&broken);
    broken.fields.into_inner()
}

/// The rules for the texts of a body that has every member.
pub(crate) fn text_rules(body: &impl Validate<Context = Broken>) -> Vec<TextRule> {
    let broken = Broken { rules: Some(RefCell::default()), ..Broken::default() };
    let _ = body.validate_with(&broken);
    broken.rules.map(RefCell::into_inner).unwrap_or_default()
}

/// What a text may be: a length in `bytes`, and these characters alone.
#[derive(Debug, Clone)]
pub(crate) struct TextRule {
    pub(crate) name: &'static str,
    pub(crate) bytes: RangeInclusive<usize>,
    pub(crate) characters: Characters,
}

impl TextRule {
    /// Adds the rule to a JSON schema, which counts characters: where a character can have several bytes, it
    /// is not as strict as the rule.
    pub(crate) fn apply(&self, schema: &mut Value) {
        schema["minLength"] = (*self.bytes.start()).into();
        schema["maxLength"] = (*self.bytes.end()).into();
        schema["pattern"] = self.characters.pattern().into();
    }
}

/// A rule for garde: field `name` has a length in `bytes`, and these characters alone.
pub(crate) fn text(
    name: &'static str,
    bytes: RangeInclusive<usize>,
    characters: Characters,
) -> impl FnOnce(&str, &Broken) -> garde::Result {
    move |text, broken| {
        if let Some(rules) = &broken.rules {
            rules.borrow_mut().push(TextRule { name, bytes: bytes.clone(), characters });
        }
        note(check(text.as_bytes(), bytes, characters), name, broken)
    }
}

/// Notes the rule that a field breaks, and says so to garde.
pub(crate) fn note(
    checked: Result<(), BrokenRule>,
    name: &'static str,
    broken: &Broken,
) -> garde::Result {
    checked.map_err(|rule| {
        broken.fields.borrow_mut().push(BrokenField::new(name, rule));
        garde::Error::new(rule)
    })
}

/// Whether a text has a length in `bytes` and these characters alone.
///
/// # Errors
/// The first rule that the text breaks.
pub(crate) fn check(
    text: &[u8],
    bytes: RangeInclusive<usize>,
    characters: Characters,
) -> Result<(), BrokenRule> {
    if text.len() < *bytes.start() {
        Err(BrokenRule::TooShort(*bytes.start()))
    } else if text.len() > *bytes.end() {
        Err(BrokenRule::TooLong(*bytes.end()))
    } else if !text.iter().all(|byte| characters.has(*byte)) {
        Err(BrokenRule::Not(characters))
    } else {
        Ok(())
    }
}
