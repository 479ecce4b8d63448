//! The `Idempotency-Key` header.

use actix_web::http::header::HeaderMap;
use mintgate_domain::TokenHash;
use mintgate_domain::model::IdempotencyKey;

use crate::error::ApiError;
use crate::validation::{BrokenField, BrokenRule, Characters, TextRule, check};

const HEADER: &str = "Idempotency-Key";

/// What a key may be.
pub(crate) const RULE: TextRule =
    TextRule { name: HEADER, bytes: 16..=255, characters: Characters::Visible };

/// The key of a request that has one: the hashes of the header's value as it is, quotes included, and
/// of the body as it is.
///
/// # Errors
/// `INVALID_REQUEST`
pub(crate) fn key(headers: &HeaderMap, body: &[u8]) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut values = headers.get_all(HEADER);
    let Some(value) = values.next() else { return Ok(None) };
    let value = value.as_bytes();
    let checked = match values.next() {
        Some(_) => Err(BrokenRule::Twice),
        None => check(value, RULE.bytes, RULE.characters),
    };
    checked.map_err(|rule| ApiError::invalid(vec![BrokenField::new(HEADER, rule)]))?;
    Ok(Some(IdempotencyKey { key: TokenHash::of_bytes(value), body: TokenHash::of_bytes(body) }))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use mintgate_domain::ErrorCode;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let name = HeaderName::from_static("idempotency-key");
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_key_of_16_to_255_visible_characters_is_taken_as_it_is() {
        assert_eq!(key(&headers(&[]), b"body").unwrap(), None);
        for good in ["k".repeat(16), "~".repeat(255), "\"8e03978e-40d5-43dd\"".to_owned()] {
            let taken = key(&headers(&[&good]), b"body").unwrap().unwrap();
            let (expected, body) = (TokenHash::of(&good), TokenHash::of("body"));
            assert_eq!(taken, IdempotencyKey { key: expected, body }, "{good}");
        }
    }

    #[test]
    fn any_other_key_is_refused_by_the_headers_name() {
        let (short, long) = ("k".repeat(15), "k".repeat(256));
        let good = "k".repeat(16);
        for (bad, rule) in [
            (&[short.as_str()][..], BrokenRule::TooShort(16)),
            (&[long.as_str()], BrokenRule::TooLong(255)),
            (&["with a space inside"], BrokenRule::Not(Characters::Visible)),
            (&["with-an-ümlaut-in-it"], BrokenRule::Not(Characters::Visible)),
            (&[""], BrokenRule::TooShort(16)),
            (&[good.as_str(), good.as_str()], BrokenRule::Twice),
        ] {
            let error = key(&headers(bad), b"").unwrap_err();
            assert_eq!(error.kind(), ErrorCode::InvalidRequest.into());
            assert_eq!(error.fields(), [BrokenField::new("Idempotency-Key", rule)], "{bad:?}");
        }
    }
}
