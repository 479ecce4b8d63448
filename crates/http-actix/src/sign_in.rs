//! What a client sends to finish a sign-in: the body of `/token` and of `/identities`.

use garde::Validate;
use mintgate_domain::model::LoginTransaction;
use mintgate_domain::{
    AuthorizationCode, CodeVerifier, Credential, FieldError, IdTokenText, Nonce, SignInRequest,
    TokenDelivery,
};

use crate::error::ApiError;
use crate::json::Members;
use crate::validation::{check, unreserved, visible, visible_or_space};

/// The members of the body, byte for byte: nothing is trimmed, no case is folded.
#[derive(Validate)]
#[expect(non_snake_case, reason = "errors name the members as clients write them")]
struct Fields {
    #[garde(inner(length(bytes, min = 1, max = 8192), custom(visible_or_space)))]
    authCode: Option<String>,
    #[garde(inner(length(bytes, min = 1, max = 16384), custom(visible)))]
    idToken: Option<String>,
    #[garde(inner(length(bytes, min = 1, max = 64), custom(visible)))]
    provider: Option<String>,
    #[garde(inner(length(bytes, min = 1, max = 2048), custom(visible)))]
    redirectUri: Option<String>,
    #[garde(inner(length(bytes, min = 43, max = 128), custom(unreserved)))]
    codeVerifier: Option<String>,
    #[garde(inner(length(bytes, min = 1, max = 512), custom(visible_or_space)))]
    nonce: Option<String>,
    #[garde(inner(length(bytes, min = 1, max = 1024), custom(visible_or_space)))]
    state: Option<String>,
    #[garde(inner(length(bytes, min = 1, max = 2048), custom(visible)))]
    iss: Option<String>,
    #[garde(inner(custom(known_delivery)))]
    tokenDelivery: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "garde passes its context by reference")]
fn known_delivery(text: &str, (): &()) -> garde::Result {
    match text {
        "cookie" | "body" => Ok(()),
        _ => Err(garde::Error::new("must be \"cookie\" or \"body\"")),
    }
}

/// The body of a request with a sign-in, parsed and checked.
pub(crate) struct SignInBody {
    pub(crate) sign_in: SignInRequest,
    /// The way in which the tokens are delivered; used by `/token` alone.
    pub(crate) delivery: TokenDelivery,
}

impl SignInBody {
    /// Reads a body and checks all its members. `logins` are those that the browser has begun.
    ///
    /// # Errors
    /// `INVALID_REQUEST` with every field at fault.
    pub(crate) fn parse(body: &[u8], logins: Vec<LoginTransaction>) -> Result<Self, ApiError> {
        let mut members = Members::parse(body)?;
        let mut errors = Vec::new();
        let mut take = |name: &str| members.take_text(name, &mut errors);
        let fields = Fields {
            authCode: take("authCode"),
            idToken: take("idToken"),
            provider: take("provider"),
            redirectUri: take("redirectUri"),
            codeVerifier: take("codeVerifier"),
            nonce: take("nonce"),
            state: take("state"),
            iss: take("iss"),
            tokenDelivery: take("tokenDelivery"),
        };
        check_together(&fields, &mut errors);
        check(&fields, &mut errors);
        let credential = match (fields.authCode, fields.idToken) {
            (Some(code), _) => Some(Credential::Code(AuthorizationCode::new(code))),
            (None, Some(token)) => Some(Credential::IdToken(IdTokenText::new(token))),
            (None, None) => None,
        };
        let Some(credential) = credential.filter(|_| errors.is_empty()) else {
            return Err(ApiError::invalid(errors));
        };
        let delivery = match fields.tokenDelivery.as_deref() {
            Some("body") => TokenDelivery::Body,
            _ => TokenDelivery::Cookie,
        };
        let sign_in = SignInRequest {
            provider: fields.provider,
            credential,
            redirect_uri: fields.redirectUri,
            code_verifier: fields.codeVerifier.map(CodeVerifier::new),
            nonce: fields.nonce.map(Nonce::new),
            state: fields.state,
            issuer: fields.iss,
            logins,
        };
        Ok(Self { sign_in, delivery })
    }
}

/// Checks the rules that concern several members. A member of the wrong type counts as given.
fn check_together(fields: &Fields, errors: &mut Vec<FieldError>) {
    let is_mistyped = |name: &str| errors.iter().any(|error| error.field == name);
    let lacks = |field: &Option<String>, name: &str| field.is_none() && !is_mistyped(name);
    let lacks_credential = lacks(&fields.authCode, "authCode") && lacks(&fields.idToken, "idToken");
    // A begun login, found by its state, says its provider itself.
    let lacks_provider = lacks(&fields.provider, "provider") && lacks(&fields.state, "state");
    if fields.authCode.is_some() && fields.idToken.is_some() {
        errors.push(FieldError::new("idToken", "must not be given along with authCode"));
    }
    if lacks_credential {
        errors.push(FieldError::new("authCode", "is required (or idToken in its place)"));
    }
    if lacks_provider {
        errors.push(FieldError::new("provider", "is required"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(body: &str) -> Vec<(String, String)> {
        let error = SignInBody::parse(body.as_bytes(), Vec::new()).err().expect("must be refused");
        error.fields().iter().map(|f| (f.field.clone(), f.message.clone())).collect()
    }

    fn error(body: &str) -> (String, String) {
        let mut all = errors(body);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[test]
    fn case_02_each_field_is_named_when_it_breaks_a_rule() {
        let cases = [
            (r#"{"provider":"p"}"#.to_owned(), "authCode", "is required (or idToken in its place)"),
            (r#"{"authCode":"c"}"#.to_owned(), "provider", "is required"),
            (
                r#"{"authCode":"","provider":"p"}"#.to_owned(),
                "authCode",
                "must have at least 1 characters",
            ),
            (r#"{"authCode":7,"provider":"p"}"#.to_owned(), "authCode", "must be a string"),
            (r#"{"authCode":["c"],"provider":"p"}"#.to_owned(), "authCode", "must be a string"),
            (
                format!(r#"{{"authCode":"{}","provider":"p"}}"#, "c".repeat(8193)),
                "authCode",
                "must have at most 8192 characters",
            ),
            (
                r#"{"authCode":"c\u0000","provider":"p"}"#.to_owned(),
                "authCode",
                "must be printable ASCII",
            ),
            (
                r#"{"authCode":"cé","provider":"p"}"#.to_owned(),
                "authCode",
                "must be printable ASCII",
            ),
            (r#"{"authCode":"c","provider":{}}"#.to_owned(), "provider", "must be a string"),
            (
                r#"{"authCode":"c","provider":""}"#.to_owned(),
                "provider",
                "must have at least 1 characters",
            ),
            (
                format!(r#"{{"authCode":"c","provider":"{}"}}"#, "p".repeat(65)),
                "provider",
                "must have at most 64 characters",
            ),
            (
                format!(r#"{{"idToken":"{}","provider":"p"}}"#, "t".repeat(16385)),
                "idToken",
                "must have at most 16384 characters",
            ),
            (
                r#"{"authCode":"c","idToken":"t","provider":"p"}"#.to_owned(),
                "idToken",
                "must not be given along with authCode",
            ),
            (
                r#"{"authCode":"c","provider":"p","redirectUri":5}"#.to_owned(),
                "redirectUri",
                "must be a string",
            ),
            (
                r#"{"authCode":"c","provider":"p","redirectUri":"a b"}"#.to_owned(),
                "redirectUri",
                "must be printable ASCII without spaces",
            ),
            (
                r#"{"authCode":"c","provider":"p","nonce":""}"#.to_owned(),
                "nonce",
                "must have at least 1 characters",
            ),
            (
                r#"{"authCode":"c","provider":"p","state":"\u0007"}"#.to_owned(),
                "state",
                "must be printable ASCII",
            ),
            (
                r#"{"authCode":"c","provider":"p","tokenDelivery":"mail"}"#.to_owned(),
                "tokenDelivery",
                "must be \"cookie\" or \"body\"",
            ),
        ];
        for (body, field, message) in cases {
            assert_eq!(error(&body), (field.to_owned(), message.to_owned()), "{body}");
        }
    }

    #[test]
    fn case_14_a_verifier_of_wrong_length_or_characters_is_refused() {
        let with = |verifier: &str| {
            format!(r#"{{"authCode":"c","provider":"p","codeVerifier":"{verifier}"}}"#)
        };
        assert_eq!(error(&with(&"v".repeat(42))).1, "must have at least 43 characters");
        assert_eq!(error(&with(&"v".repeat(129))).1, "must have at most 128 characters");
        assert_eq!(
            error(&with(&"v+".repeat(30))).1,
            "must be of the characters A-Z a-z 0-9 - . _ ~"
        );
        assert!(SignInBody::parse(with(&"v".repeat(43)).as_bytes(), Vec::new()).is_ok());
        assert!(SignInBody::parse(with(&"v".repeat(128)).as_bytes(), Vec::new()).is_ok());
    }

    #[test]
    fn all_broken_fields_are_told_at_once() {
        let all = errors(r#"{"authCode":"","provider":"","nonce":1}"#);
        let fields: Vec<_> = all.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["nonce", "authCode", "provider"]);
    }

    #[test]
    fn null_is_the_same_as_leaving_a_field_out() {
        let body = br#"{"authCode":"c","provider":"p","idToken":null,"redirectUri":null}"#;
        assert!(SignInBody::parse(body, Vec::new()).is_ok());
    }
}
