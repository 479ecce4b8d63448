//! HTTP Basic authentication of back ends (RFC 7617, RFC 6749 §2.3.1).

use actix_web::http::header::{self, HeaderMap};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode::Indifferent;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use mintgate_domain::{Client, SecretText};
use percent_encoding::percent_decode_str;

use crate::AppState;
use crate::error::{ApiError, HttpErrorCode};
use crate::openapi::Operation;

/// The longest `Authorization` header that is read, in bytes.
const MAX_HEADER: usize = 1024;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(Indifferent),
);

/// The client that the request authenticates as.
///
/// # Errors
/// `INVALID_CLIENT`, whatever is wrong.
pub(crate) fn client(headers: &HeaderMap, state: &AppState) -> Result<Client, ApiError> {
    let refused = |cause: &'static str| ApiError::new(HttpErrorCode::InvalidClient).because(cause);
    let Some((id, secret)) = credentials(headers) else {
        let is_there = headers.contains_key(header::AUTHORIZATION);
        let odd = "the Authorization header is not one of HTTP Basic";
        return Err(refused(if is_there { odd } else { "there is no Authorization header" }));
    };
    let client = state.clients.authenticate(&id, &secret);
    client.cloned().ok_or_else(|| refused("no client has this id and this secret"))
}

impl Operation {
    /// Needs a [`client`].
    pub(crate) fn needs_client(self) -> Self {
        self.secured_by(&["client"]).refuses([HttpErrorCode::InvalidClient])
    }
}

/// The id and the secret that a back end shows; `None` if there is not exactly one proper header.
fn credentials(headers: &HeaderMap) -> Option<(String, SecretText)> {
    let mut all = headers.get_all(header::AUTHORIZATION);
    let (only, None) = (all.next()?, all.next()) else { return None };
    let (scheme, encoded) = only.to_str().ok()?.split_once(' ')?;
    if only.len() > MAX_HEADER || !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64.decode(encoded.trim_matches(' ')).ok()?;
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((form_decoded(id)?, SecretText::new(form_decoded(secret)?)))
}

/// Decodes what a client of OAuth 2.0 encodes as in a form. Neither an id nor a secret of ours has a `+` or
/// `%` of its own, so that one that is not encoded stays as it is.
fn form_decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    Some(percent_decode_str(&spaced).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn read(values: &[&str]) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        credentials(&headers).map(|(id, secret)| (id, secret.expose().to_owned()))
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", BASE64.encode(text))
    }

    #[test]
    fn an_id_and_a_secret_are_read_plain_or_encoded_as_in_a_form() {
        let pair = |id: &str, secret: &str| Some((id.to_owned(), secret.to_owned()));
        for (text, expected) in [
            ("app:s-_3", pair("app", "s-_3")),
            ("%61pp:s%2D_3", pair("app", "s-_3")),
            ("app:a:b", pair("app", "a:b")),
            ("app:a+b%2B", pair("app", "a b+")),
            ("app:", pair("app", "")),
            (":s", pair("", "s")),
        ] {
            assert_eq!(read(&[&basic(text)]), expected, "{text}");
        }
        let unpadded = basic("app:s3").trim_end_matches('=').replacen("Basic", "bASIC", 1);
        assert_eq!(read(&[&unpadded]), pair("app", "s3"));
    }

    #[test]
    fn anything_but_one_proper_header_is_none() {
        let good = basic("app:s");
        let long = basic(&format!("app:{}", "s".repeat(1024)));
        for values in [
            &[][..],
            &[good.as_str(), &good],
            &["Bearer YTpi"],
            &["Basic"],
            &["Basic "],
            &["Basic ?"],
            &[&basic("no colon")],
            &[&basic("app:%ff")],
            &[&long],
        ] {
            assert_eq!(read(values), None, "{values:?}");
        }
    }
}
