//! The `Idempotency-Key` header.

use actix_web::http::header::HeaderMap;
use mintgate_domain::model::IdempotencyKey;
use mintgate_domain::{FieldError, TokenHash};

use crate::error::ApiError;

const HEADER: &str = "Idempotency-Key";
const MIN_CHARACTERS: usize = 16;
const MAX_CHARACTERS: usize = 255;

/// The key of a request that has one: the hashes of the header's value as it is, quotes included, and
/// of the body as it is.
///
/// # Errors
/// `INVALID_REQUEST`
pub(crate) fn key(headers: &HeaderMap, body: &[u8]) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut values = headers.get_all(HEADER);
    let Some(value) = values.next() else { return Ok(None) };
    let broken = |rule: &str| Err(ApiError::invalid(vec![FieldError::new(HEADER, rule)]));
    if values.next().is_some() {
        return broken("must not be given twice");
    }
    let value = value.as_bytes();
    if !(MIN_CHARACTERS..=MAX_CHARACTERS).contains(&value.len())
        || !value.iter().all(u8::is_ascii_graphic)
    {
        return broken("must have 16 to 255 visible ASCII characters");
    }
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
        for bad in [
            &[short.as_str()][..],
            &[long.as_str()],
            &["with a space inside"],
            &["with-an-ümlaut-in-it"],
            &[""],
            &[good.as_str(), good.as_str()],
        ] {
            let error = key(&headers(bad), b"").unwrap_err();
            assert_eq!(error.kind(), ErrorCode::InvalidRequest.into());
            assert_eq!(error.fields()[0].field, "Idempotency-Key", "{bad:?}");
        }
    }
}
