//! The parameters of links and of posted forms.

use std::borrow::Cow;

use mintgate_domain::AuthError;
use mintgate_domain::model::{ReturnOrigins, ReturnTo};
use percent_encoding::percent_decode_str;
use url::form_urlencoded;

use crate::error::ApiError;
use crate::validation::{BrokenField, BrokenRule, Characters, check};

/// The parameters of an authorization response (RFC 6749 §4.1.2, RFC 9207 §2), each with its longest value.
const RESPONSE: [(&str, usize, Characters); 4] = [
    ("code", 8192, Characters::Printable),
    ("state", 1024, Characters::Printable),
    ("error", 128, Characters::Printable),
    ("iss", 2048, Characters::Visible),
];

/// What a provider sends back with the browser (RFC 6749 §4.1.2), as far as it is used.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AuthorizationResponse {
    pub(super) code: Option<String>,
    pub(super) state: Option<String>,
    /// The error in place of a code.
    pub(super) error: Option<String>,
    pub(super) issuer: Option<String>,
}

impl AuthorizationResponse {
    /// Reads a query or a form. Other parameters are ignored, and empty ones count as none.
    ///
    /// # Errors
    /// `INVALID_REQUEST` with every parameter that comes twice, is too long or has other characters.
    pub(super) fn read(text: &[u8]) -> Result<Self, ApiError> {
        let all: Vec<(Cow<'_, str>, Cow<'_, str>)> = form_urlencoded::parse(text).collect();
        let mut broken = Vec::new();
        let [code, state, error, issuer] = RESPONSE.map(|(name, longest, characters)| {
            let mut values = all.iter().filter(|(other, _)| other == name).map(|(_, value)| value);
            let value = values.next()?;
            let rule = match values.next() {
                Some(_) => Err(BrokenRule::Twice),
                None => check(value.as_bytes(), 0..=longest, characters),
            };
            match rule {
                Ok(()) => Some(value.to_string()).filter(|value| !value.is_empty()),
                Err(rule) => {
                    broken.push(BrokenField::new(name, rule));
                    None
                }
            }
        });
        if broken.is_empty() {
            Ok(Self { code, state, error, issuer })
        } else {
            Err(ApiError::invalid(broken))
        }
    }
}

/// The page that the query names in this parameter, or the default one. The value is decoded once, and only
/// its percent escapes are: a `+` stays.
///
/// # Errors
/// `RETURN_TO_NOT_ALLOWED`, also if the parameter comes twice.
pub(super) fn return_to(
    query: &str,
    parameter: &str,
    origins: &ReturnOrigins,
) -> Result<ReturnTo, AuthError> {
    let refused = |why: &'static str| AuthError::ReturnToNotAllowed(why.into());
    let mut values = query.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent_decode_str(name).decode_utf8().ok()?;
        (name == parameter).then_some(value)
    });
    let Some(value) = values.next() else { return page(None, origins) };
    if values.next().is_some() {
        return Err(refused("there are several"));
    }
    let text = percent_decode_str(value).decode_utf8().map_err(|_| refused("it is not UTF-8"))?;
    page(Some(&text), origins)
}

/// The page at an address, or the default one.
///
/// # Errors
/// `RETURN_TO_NOT_ALLOWED`
pub(super) fn page(address: Option<&str>, origins: &ReturnOrigins) -> Result<ReturnTo, AuthError> {
    address.map_or_else(|| origins.only_page(), |address| origins.judge(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_of_the_response_comes_once_and_is_bounded() {
        let read = |text: &str| AuthorizationResponse::read(text.as_bytes());
        let response =
            read("state=a%2Bb+c&code=x&iss=https://i&user=%7B%7D&scope=a&scope=b").unwrap();
        assert_eq!(response.state.as_deref(), Some("a+b c"));
        assert_eq!(response.issuer.as_deref(), Some("https://i"));
        assert_eq!(read("code=&error=").unwrap(), AuthorizationResponse::default());
        for (text, field, rule) in [
            ("code=a&code=a", "code", BrokenRule::Twice),
            ("state=a&st%61te=b", "state", BrokenRule::Twice),
            ("error=%0A", "error", BrokenRule::Not(Characters::Printable)),
            ("iss=a+b", "iss", BrokenRule::Not(Characters::Visible)),
            (&format!("code={}", "c".repeat(8193)), "code", BrokenRule::TooLong(8192)),
        ] {
            assert_eq!(read(text).unwrap_err().fields(), [BrokenField::new(field, rule)], "{text}");
        }
    }

    #[test]
    fn the_page_is_decoded_once_and_named_once() {
        let origins = ReturnOrigins::new(["https://app.example.com".to_owned()]);
        let page =
            |query: &str| return_to(query, "returnTo", &origins).map(|it| it.as_str().to_owned());
        for (query, expected) in [
            ("", "/"),
            ("other=1&to=2", "/"),
            ("returnTo=/a?b=c+d", "/a?b=c+d"),
            ("x=1&returnTo=%2F%23%2Forders%3Ftab%3D2", "/#/orders?tab=2"),
            ("returnTo=%2F%3Fq%3Da%2526b%26r%3Dx%2By", "/?q=a%26b&r=x+y"),
            ("returnT%6F=/stra%C3%9Fe", "/straße"),
        ] {
            assert_eq!(
                page(query).unwrap(),
                format!("https://app.example.com{expected}"),
                "{query}"
            );
        }
        for query in [
            "returnTo",
            "returnTo=",
            "returnTo=/a&returnTo=/a",
            "returnTo=/a&return%54o=/b",
            "returnTo=/%FF",
            "returnTo=%2F%2Fevil.test",
            "returnTo=%2F%5Cevil.test",
            "returnTo=%5C%5Cevil.test",
            "returnTo=%252F%252Fevil.test",
            "returnTo=%09//evil.test",
            "returnTo=https%3A%2F%2Fevil.test",
        ] {
            assert!(matches!(page(query), Err(AuthError::ReturnToNotAllowed(_))), "{query}");
        }
    }
}
