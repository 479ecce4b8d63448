//! A token of a provider before its signature is verified: the rules for its text alone (RFC 7515,
//! RFC 8725).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mintgate_domain::Cause;
use mintgate_domain::model::ClaimValue;

use crate::json::{Members, parse_object};

/// The longest token that is read, in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// The longest `kid` that is read, in bytes.
const MAX_KID_BYTES: usize = 256;

/// Header parameters that are refused: extensions that change what is signed, and nested, compressed or
/// encrypted content. Any other that is not used is ignored, and nothing is fetched for it: keys are
/// those of the provider's JWKS, whatever keys or URLs of keys a header names.
const REFUSED_PARAMETERS: [&str; 5] = ["crit", "b64", "zip", "enc", "cty"];

/// The expected kind of a token. The header may name it (RFC 8725 §3.11), and the claims must fit it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An ID token (OIDC Core §2).
    IdToken,
    /// A logout token (OIDC Back-Channel Logout §2.4).
    LogoutToken,
    /// Signed claims from the userinfo endpoint (OIDC Core §5.3.2).
    Userinfo,
}

impl Kind {
    /// The allowed values of `typ`, in lower case and without `application/` (RFC 7515 §4.1.9).
    fn types(self) -> &'static [&'static str] {
        match self {
            Self::IdToken | Self::Userinfo => &["jwt"],
            // `logout+jwt` is a recommendation of 2022; older providers send `JWT`.
            Self::LogoutToken => &["logout+jwt", "jwt"],
        }
    }
}

/// A token that has the right form. Nothing in it is verified.
#[derive(Debug)]
pub(crate) struct UnverifiedToken<'a> {
    /// The members of the payload.
    pub(crate) claims: Members,
    /// The `kid` of the header (RFC 7515 §4.1.4).
    pub(crate) kid: Option<String>,
    /// The `alg` of the header, which is one of the pinned algorithms.
    pub(crate) algorithm: String,
    /// The JWS signing input (RFC 7515 §5.1).
    pub(crate) signed_part: &'a str,
    /// The bytes of the signature.
    pub(crate) signature: Vec<u8>,
}

impl<'a> UnverifiedToken<'a> {
    /// Parses a token. `algorithms` are the names of the pinned algorithms.
    pub(crate) fn parse(
        text: &'a str,
        algorithms: &[String],
        expected: Kind,
    ) -> Result<Self, Cause> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(format!("it is longer than {MAX_TOKEN_BYTES} bytes").into());
        }
        let mut segments = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err("it does not have three segments".into());
        };
        let [header_json, payload_json, signature] = [header, payload, signature].map(decode);
        let signature = signature.ok_or("its signature is not base64url")?;
        let header_json = header_json.ok_or("its header is not base64url")?;
        let payload_json = payload_json.ok_or("its payload is not base64url")?;
        let header_members =
            parse_object(&header_json).map_err(|error| format!("its header {error}"))?;
        let algorithm = check_header(&header_members, algorithms, expected)?;
        let mut claims =
            parse_object(&payload_json).map_err(|error| format!("its payload {error}"))?;
        // A null says what absence says, except that a nonce of any type is not the absence of one.
        claims.retain(|name, value| *value != ClaimValue::Null || name == "nonce");
        let signed_part = &text[..header.len() + 1 + payload.len()];
        let kid = header_members.get("kid").and_then(ClaimValue::as_text).map(ToOwned::to_owned);
        Ok(Self { claims, kid, algorithm, signed_part, signature })
    }
}

/// Decodes base64url strictly: without padding, with unused bits zero, and not empty.
fn decode(segment: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(segment).ok().filter(|bytes| !bytes.is_empty())
}

/// Checks the header, and returns the algorithm that it names.
fn check_header(header: &Members, algorithms: &[String], expected: Kind) -> Result<String, Cause> {
    if let Some(refused) = REFUSED_PARAMETERS.iter().find(|name| header.contains_key(**name)) {
        return Err(format!("its header has {refused}").into());
    }
    let algorithm = match header.get("alg") {
        Some(ClaimValue::Text(alg)) if algorithms.contains(alg) => alg.clone(),
        _ => return Err("its algorithm is not one accepted from this provider".into()),
    };
    // Access tokens (RFC 9068), logout tokens and refresh tokens have a type of their own.
    match header.get("typ") {
        None | Some(ClaimValue::Null) => {}
        Some(ClaimValue::Text(typ)) if is_type(typ, expected) => {}
        Some(_) => return Err("its type is that of another kind of token".into()),
    }
    match header.get("kid") {
        None | Some(ClaimValue::Null) => Ok(algorithm),
        Some(ClaimValue::Text(kid)) if kid.len() <= MAX_KID_BYTES => Ok(algorithm),
        Some(_) => Err("its key id is not a short text".into()),
    }
}

fn is_type(typ: &str, expected: Kind) -> bool {
    let typ = typ.to_ascii_lowercase();
    expected.types().contains(&typ.strip_prefix("application/").unwrap_or(&typ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str) -> String {
        let [header, payload, signature] =
            [header, payload, "sig"].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        format!("{header}.{payload}.{signature}")
    }

    fn parse_as(kind: Kind, text: &str) -> Result<(), Cause> {
        UnverifiedToken::parse(text, &["RS256".to_owned(), "ES256".to_owned()], kind).map(|_| ())
    }

    fn parse(text: &str) -> Result<(), Cause> {
        parse_as(Kind::IdToken, text)
    }

    #[test]
    fn a_well_formed_token_passes() {
        for header in [
            r#"{"alg":"RS256"}"#,
            r#"{"alg":"ES256","typ":"jwt","kid":"a","x5t":"thumbprint","unknown":{}}"#,
            r#"{"alg":"ES256","typ":null,"kid":null,"jku":"https://x","x5c":[7],"jwk":{}}"#,
            r#"{"alg":"RS256","typ":"application/jwt"}"#,
        ] {
            assert_eq!(parse(&token(header, "{}")), Ok(()), "{header}");
        }
    }

    #[test]
    fn case_26_a_type_is_that_of_the_kind_or_the_general_one() {
        for (typ, id_token, logout_token) in [
            ("JWT", true, true),
            ("application/JWT", true, true),
            ("logout+jwt", false, true),
            ("Application/LOGOUT+JWT", false, true),
            ("at+jwt", false, false),
            ("secevent+jwt", false, false),
            ("application/application/jwt", false, false),
            ("application/", false, false),
            ("", false, false),
        ] {
            let text = token(&format!(r#"{{"alg":"RS256","typ":"{typ}"}}"#), "{}");
            assert_eq!(parse_as(Kind::IdToken, &text).is_ok(), id_token, "{typ}");
            assert_eq!(parse_as(Kind::LogoutToken, &text).is_ok(), logout_token, "{typ}");
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
}
