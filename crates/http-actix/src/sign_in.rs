//! What a client brings of a sign-in: the body of `/token` and of `/identities`.

use garde::Validate;
use mintgate_domain::model::LoginTransaction;
use mintgate_domain::{
    AuthorizationCode, CodeVerifier, Credential, FieldError, IdTokenText, Nonce, SignInRequest,
    TokenDelivery,
};

use crate::error::ApiError;
use crate::json::Object;

/// The request as it is on the wire. Texts are taken as they are: no trimming, no case folding.
#[derive(Validate)]
#[garde(allow_unvalidated)]
pub(crate) struct SignInBody {
    #[garde(inner(length(bytes, min = 1, max = 2048), custom(visible_or_space)))]
    auth_code: Option<String>,
    #[garde(inner(length(bytes, min = 1, max = 8192), custom(visible)))]
    id_token: Option<String>,
    #[garde(inner(length(bytes, min = 1, max = 64), custom(visible)))]
    provider: Option<String>,
    #[garde(inner(length(bytes, min = 1, max = 2048), custom(visible)))]
    redirect_uri: Option<String>,
    #[garde(inner(length(bytes, min = 43, max = 128), custom(unreserved)))]
    code_verifier: Option<String>,
    #[garde(inner(length(bytes, min = 1, max = 512), custom(visible_or_space)))]
    nonce: Option<String>,
    #[garde(inner(length(bytes, min = 1, max = 1024), custom(visible_or_space)))]
    state: Option<String>,
    #[garde(inner(length(bytes, min = 1, max = 2048), custom(visible)))]
    iss: Option<String>,
    #[garde(inner(custom(known_delivery)))]
    token_delivery: Option<String>,
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
    /// VSCHAR (RFC 6749 appendix A): what a code, a state and a nonce are made of.
    visible_or_space, |b| matches!(b, 0x20..=0x7e), "must be printable ASCII"
}
character_rule! {
    /// Printable without space.
    visible, |b| matches!(b, 0x21..=0x7e), "must be printable ASCII without spaces"
}
character_rule! {
    /// RFC 7636 §4.1.
    unreserved,
    |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'),
    "must be of the characters A-Z a-z 0-9 - . _ ~"
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "garde passes its context by reference")]
fn known_delivery(text: &str, (): &()) -> garde::Result {
    match text {
        "cookie" | "body" => Ok(()),
        _ => Err(garde::Error::new("must be \"cookie\" or \"body\"")),
    }
}

impl SignInBody {
    /// Takes the known members of the object and checks them, all at once.
    ///
    /// # Errors
    /// `INVALID_REQUEST` with every field at fault.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut object = Object::of_request(body)?;
        let mut errors = Vec::new();
        let mut take = |name: &str| object.take_text(name, &mut errors);
        let request = Self {
            auth_code: take("authCode"),
            id_token: take("idToken"),
            provider: take("provider"),
            redirect_uri: take("redirectUri"),
            code_verifier: take("codeVerifier"),
            nonce: take("nonce"),
            state: take("state"),
            iss: take("iss"),
            token_delivery: take("tokenDelivery"),
        };
        let mistyped = |name: &str, errors: &[FieldError]| errors.iter().any(|e| e.field == name);
        match (&request.auth_code, &request.id_token) {
            (Some(_), Some(_)) => {
                errors.push(FieldError::new("idToken", "must not be given along with authCode"));
            }
            (None, None) if !mistyped("authCode", &errors) && !mistyped("idToken", &errors) => {
                errors.push(FieldError::new("authCode", "is required (or idToken in its place)"));
            }
            _ => {}
        }
        // With a state it can be that of a login begun here, which says its provider itself.
        if request.provider.is_none()
            && request.state.is_none()
            && !mistyped("provider", &errors)
            && !mistyped("state", &errors)
        {
            errors.push(FieldError::new("provider", "is required"));
        }
        note_broken_rules(&request, &mut errors);
        if errors.is_empty() { Ok(request) } else { Err(ApiError::invalid(errors)) }
    }

    /// Where the tokens are to go.
    pub(crate) fn delivery(&self) -> TokenDelivery {
        match self.token_delivery.as_deref() {
            Some("body") => TokenDelivery::Body,
            _ => TokenDelivery::Cookie,
        }
    }

    /// The sign-in in the domain's terms, with the logins that the browser has begun.
    pub(crate) fn into_sign_in(
        self,
        logins: Vec<LoginTransaction>,
    ) -> Result<SignInRequest, ApiError> {
        let credential = match (self.auth_code, self.id_token) {
            (Some(code), _) => Credential::Code(AuthorizationCode::new(code)),
            (None, Some(token)) => Credential::IdToken(IdTokenText::new(token)),
            (None, None) => return Err(ApiError::invalid(Vec::new())),
        };
        Ok(SignInRequest {
            provider: self.provider,
            credential,
            redirect_uri: self.redirect_uri,
            code_verifier: self.code_verifier.map(CodeVerifier::new),
            nonce: self.nonce.map(Nonce::new),
            state: self.state,
            issuer: self.iss,
            logins,
        })
    }
}

/// Notes every rule that a body breaks, in the words of the wire, but for fields that are noted already.
pub(crate) fn note_broken_rules(body: &impl Validate<Context = ()>, errors: &mut Vec<FieldError>) {
    let Err(report) = body.validate() else { return };
    for (path, error) in report.into_inner() {
        let field = wire_name(&path.to_string());
        if !errors.iter().any(|noted| noted.field == field) {
            errors.push(FieldError::new(field, plain_message(error.message())));
        }
    }
}

/// `auth_code` as clients spell it: `authCode`.
fn wire_name(field: &str) -> String {
    let mut name = String::with_capacity(field.len());
    let mut upper = false;
    for c in field.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                name.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => name.push(c),
        }
    }
    name
}

/// garde's wording, as a sentence about the field.
fn plain_message(message: &str) -> String {
    if message == "not set" {
        "is required".to_owned()
    } else if let Some(limit) = message.strip_prefix("length is lower than ") {
        format!("must have at least {limit} characters")
    } else if let Some(limit) = message.strip_prefix("length is greater than ") {
        format!("must have at most {limit} characters")
    } else {
        message.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(body: &str) -> Vec<(String, String)> {
        let error = SignInBody::parse(body.as_bytes()).err().expect("must be refused");
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
                format!(r#"{{"authCode":"{}","provider":"p"}}"#, "c".repeat(2049)),
                "authCode",
                "must have at most 2048 characters",
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
                format!(r#"{{"idToken":"{}","provider":"p"}}"#, "t".repeat(8193)),
                "idToken",
                "must have at most 8192 characters",
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
        assert!(SignInBody::parse(with(&"v".repeat(43)).as_bytes()).is_ok());
        assert!(SignInBody::parse(with(&"v".repeat(128)).as_bytes()).is_ok());
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
        assert!(SignInBody::parse(body).is_ok());
    }
}
