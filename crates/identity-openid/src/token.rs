//! An ID token before anything is believed: what its text alone must be (RFC 7515, RFC 8725).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mintgate_domain::TokenHash;
use mintgate_domain::model::ClaimValue;

use crate::json::{Members, parse_object};

/// Longer ones are refused before they are looked at.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
const MAX_KID_BYTES: usize = 256;

/// Header parameters that a token from a provider's JWKS has no business to carry: keys and places
/// to fetch keys from, extensions that would change what is signed, nested and encrypted content.
const REFUSED_PARAMETERS: [&str; 9] =
    ["jwk", "jku", "x5c", "x5u", "crit", "b64", "zip", "enc", "cty"];

/// A token of the right form. Nothing in it is proven yet.
#[derive(Debug)]
pub(crate) struct UnverifiedToken<'a> {
    /// The whole text.
    pub(crate) text: &'a str,
    /// What it claims.
    pub(crate) claims: Members,
    /// The key it names.
    pub(crate) kid: Option<String>,
    signed_part: &'a str,
}

impl<'a> UnverifiedToken<'a> {
    /// Takes the text apart; `algorithms` are the ones pinned, by their names.
    pub(crate) fn parse(text: &'a str, algorithms: &[String]) -> Result<Self, String> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(format!("it is longer than {MAX_TOKEN_BYTES} bytes"));
        }
        let mut segments = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err("it has not three segments".to_owned());
        };
        let [header_json, payload_json, _] = [header, payload, signature].map(decode);
        decode(signature).ok_or("its signature is not base64url")?;
        let header_json = header_json.ok_or("its header is not base64url")?;
        let payload_json = payload_json.ok_or("its payload is not base64url")?;
        let header_members =
            parse_object(&header_json).map_err(|error| format!("its header {error}"))?;
        check_header(&header_members, algorithms)?;
        let claims = parse_object(&payload_json).map_err(|error| format!("its payload {error}"))?;
        let signed_part = &text[..header.len() + 1 + payload.len()];
        let kid = header_members.get("kid").and_then(ClaimValue::as_text).map(ToOwned::to_owned);
        Ok(Self { text, claims, kid, signed_part })
    }

    /// Identifies the token for single use. Of the signed part alone: an ECDSA signature can be
    /// turned into another valid one by anybody, and the token must stay the same one.
    pub(crate) fn hash(&self) -> TokenHash {
        TokenHash::of(self.signed_part)
    }
}

/// Strictly, without padding and with unused bits zero; an empty segment is none.
fn decode(segment: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(segment).ok().filter(|bytes| !bytes.is_empty())
}

fn check_header(header: &Members, algorithms: &[String]) -> Result<(), String> {
    if let Some(refused) = REFUSED_PARAMETERS.iter().find(|name| header.contains_key(**name)) {
        return Err(format!("its header has {refused}"));
    }
    match header.get("alg") {
        Some(ClaimValue::Text(alg)) if algorithms.contains(alg) => {}
        _ => return Err("its algorithm is not one accepted from this provider".to_owned()),
    }
    // An access token (RFC 9068), logout token or refresh token says so (RFC 8725 §3.11).
    match header.get("typ") {
        None => {}
        Some(ClaimValue::Text(typ))
            if ["JWT", "application/jwt"].iter().any(|jwt| typ.eq_ignore_ascii_case(jwt)) => {}
        Some(_) => return Err("its type is not JWT".to_owned()),
    }
    match header.get("kid") {
        None => Ok(()),
        Some(ClaimValue::Text(kid)) if kid.len() <= MAX_KID_BYTES => Ok(()),
        Some(_) => Err("its key id is not a short text".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str) -> String {
        let [header, payload, signature] =
            [header, payload, "sig"].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        format!("{header}.{payload}.{signature}")
    }

    fn parse(text: &str) -> Result<(), String> {
        UnverifiedToken::parse(text, &["RS256".to_owned(), "ES256".to_owned()]).map(|_| ())
    }

    #[test]
    fn a_well_formed_token_passes() {
        for header in [
            r#"{"alg":"RS256"}"#,
            r#"{"alg":"ES256","typ":"jwt","kid":"a","x5t":"thumbprint","unknown":{}}"#,
            r#"{"alg":"RS256","typ":"application/jwt"}"#,
        ] {
            assert_eq!(parse(&token(header, "{}")), Ok(()), "{header}");
        }
    }

    #[test]
    fn base64url_is_strict() {
        let good = token(r#"{"alg":"RS256"}"#, r#"{"a":1}"#);
        assert_eq!(parse(&good), Ok(()));
        // "sig" is c2ln: a padded, a truncated, a non-canonical and a standard-alphabet segment.
        for signature in ["c2ln=", "c2l", "c2lnZh", "+/+/", "c2ln ", ""] {
            let text = format!("{}.{signature}", good.rsplit_once('.').unwrap().0);
            assert!(parse(&text).is_err(), "{signature}");
        }
        assert!(parse(&format!("{good}\n")).is_err());
        assert!(parse(&format!(" {good}")).is_err());
    }

    #[test]
    fn a_token_of_any_length_is_refused_when_it_is_too_long() {
        let payload = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_TOKEN_BYTES));
        assert!(parse(&token(r#"{"alg":"RS256"}"#, &payload)).is_err());
        assert!(parse(&".".repeat(1_000_000)).is_err());
    }

    #[test]
    fn the_hash_does_not_hang_on_the_signature() {
        let one = token(r#"{"alg":"RS256"}"#, "{}");
        let other = format!("{}.b3RoZXI", one.rsplit_once('.').unwrap().0);
        let pinned = ["RS256".to_owned()];
        let [one, other] = [&one, &other].map(|t| UnverifiedToken::parse(t, &pinned).unwrap());
        assert_eq!(one.hash(), other.hash());
        let another = token(r#"{"alg":"RS256"}"#, r#"{"a":1}"#);
        assert_ne!(one.hash(), UnverifiedToken::parse(&another, &pinned).unwrap().hash());
    }
}
