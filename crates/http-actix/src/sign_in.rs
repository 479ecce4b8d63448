//! What a client sends to finish a sign-in: the body of `/token` and of `/identities`.

use garde::Validate;
use mintgate_domain::model::LoginTransaction;
use mintgate_domain::{
    AuthorizationCode, CodeVerifier, Credential, FieldRule, IdTokenText, Nonce, SignInRequest,
    TokenDelivery,
};

use crate::error::ApiError;
use crate::json::Members;
use crate::validation::Characters::{Printable, Unreserved, Visible};
use crate::validation::{Broken, BrokenRule, text};

/// The body of a request with a sign-in, parsed and checked.
pub(crate) struct SignInBody {
    pub(crate) sign_in: SignInRequest,
    /// The way in which the tokens are delivered; used by `/token` alone.
    pub(crate) delivery: TokenDelivery,
}

/// The members of the body that are texts.
#[derive(Validate)]
#[garde(context(Broken))]
struct Texts {
    #[garde(inner(custom(text("authCode", 1..=8192, Printable))))]
    code: Option<String>,
    #[garde(inner(custom(text("idToken", 1..=16384, Visible))))]
    id_token: Option<String>,
    #[garde(inner(custom(text("provider", 1..=64, Visible))))]
    provider: Option<String>,
    #[garde(inner(custom(text("redirectUri", 1..=2048, Visible))))]
    redirect_uri: Option<String>,
    #[garde(inner(custom(text("codeVerifier", 43..=128, Unreserved))))]
    code_verifier: Option<String>,
    #[garde(inner(custom(text("nonce", 1..=512, Printable))))]
    nonce: Option<String>,
    #[garde(inner(custom(text("state", 1..=1024, Printable))))]
    state: Option<String>,
    #[garde(inner(custom(text("iss", 1..=2048, Visible))))]
    issuer: Option<String>,
}

impl SignInBody {
    /// Reads a body and checks all its members. `logins` are those that the browser has begun.
    ///
    /// # Errors
    /// `INVALID_REQUEST` with every field at fault.
    pub(crate) fn parse(body: &[u8], logins: Vec<LoginTransaction>) -> Result<Self, ApiError> {
        let mut members = Members::parse(body)?;
        let texts = Texts {
            code: members.take_text("authCode"),
            id_token: members.take_text("idToken"),
            provider: members.take_text("provider"),
            redirect_uri: members.take_text("redirectUri"),
            code_verifier: members.take_text("codeVerifier"),
            nonce: members.take_text("nonce"),
            state: members.take_text("state"),
            issuer: members.take_text("iss"),
        };
        members.check(&texts);
        let Texts { code, id_token, provider, redirect_uri, code_verifier, nonce, state, issuer } =
            texts;
        let delivery = match members.take_text("tokenDelivery").as_deref() {
            None | Some("cookie") => TokenDelivery::Cookie,
            Some("body") => TokenDelivery::Body,
            Some(_) => {
                members.refuse("tokenDelivery", BrokenRule::NotADelivery);
                TokenDelivery::Cookie
            }
        };
        // A member at fault counts as given.
        if code.is_none() && id_token.is_none() && !members.is_broken("idToken") {
            members.refuse("authCode", BrokenRule::RequiredWithoutIdToken);
        }
        if code.is_some() && id_token.is_some() {
            members.refuse("idToken", BrokenRule::AlongWithCode);
        }
        // A begun login, found by its state, says its provider itself.
        if provider.is_none() && state.is_none() && !members.is_broken("state") {
            members.refuse("provider", FieldRule::Required);
        }
        let credential = match (code, id_token) {
            (Some(code), _) => Some(Credential::Code(AuthorizationCode::new(code))),
            (None, Some(token)) => Some(Credential::IdToken(IdTokenText::new(token))),
            (None, None) => None,
        };
        let sign_in = SignInRequest {
            provider,
            credential: members.end(credential)?,
            redirect_uri,
            code_verifier: code_verifier.map(CodeVerifier::new),
            nonce: nonce.map(Nonce::new),
            state,
            issuer,
            logins,
        };
        Ok(Self { sign_in, delivery })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::BrokenField;
    use crate::validation::BrokenRule::{
        AlongWithCode, Not, NotADelivery, NotText, RequiredWithoutIdToken, TooLong, TooShort,
    };

    fn broken(body: &str) -> Vec<BrokenField> {
        let error = SignInBody::parse(body.as_bytes(), Vec::new()).err().expect("must be refused");
        error.fields().to_vec()
    }

    fn rule(body: &str, field: &str) -> BrokenRule {
        let all = broken(body);
        assert_eq!((all.len(), all[0].field), (1, field), "{body}: {all:?}");
        all[0].rule
    }

    #[test]
    fn case_02_each_field_is_named_when_it_breaks_a_rule() {
        for (body, field, expected) in [
            (r#"{"provider":"p"}"#, "authCode", RequiredWithoutIdToken),
            (r#"{"authCode":"c"}"#, "provider", FieldRule::Required.into()),
            (r#"{"authCode":"","provider":"p"}"#, "authCode", TooShort(1)),
            (r#"{"authCode":7,"provider":"p"}"#, "authCode", NotText),
            (r#"{"authCode":["c"],"provider":"p"}"#, "authCode", NotText),
            (r#"{"idToken":7,"provider":"p"}"#, "idToken", NotText),
            (r#"{"authCode":"c\u0000","provider":"p"}"#, "authCode", Not(Printable)),
            (r#"{"authCode":"cé","provider":"p"}"#, "authCode", Not(Printable)),
            (r#"{"authCode":"c","provider":{}}"#, "provider", NotText),
            (r#"{"authCode":"c","provider":""}"#, "provider", TooShort(1)),
            (r#"{"authCode":"c","idToken":"t","provider":"p"}"#, "idToken", AlongWithCode),
            (r#"{"authCode":"c","provider":"p","redirectUri":5}"#, "redirectUri", NotText),
            (r#"{"authCode":"c","provider":"p","redirectUri":"a b"}"#, "redirectUri", Not(Visible)),
            (r#"{"authCode":"c","provider":"p","nonce":""}"#, "nonce", TooShort(1)),
            (r#"{"authCode":"c","provider":"p","state":"\u0007"}"#, "state", Not(Printable)),
            (r#"{"authCode":"c","state":8}"#, "state", NotText),
            (
                r#"{"authCode":"c","provider":"p","tokenDelivery":"mail"}"#,
                "tokenDelivery",
                NotADelivery,
            ),
        ] {
            assert_eq!(rule(body, field), expected, "{body}");
        }
    }

    #[test]
    fn case_02_each_field_is_bounded() {
        for (field, longest, others) in [
            ("authCode", 8192, r#""provider":"p""#),
            ("idToken", 16384, r#""provider":"p""#),
            ("provider", 64, r#""authCode":"c""#),
            ("redirectUri", 2048, r#""authCode":"c","provider":"p""#),
            ("nonce", 512, r#""authCode":"c","provider":"p""#),
            ("state", 1024, r#""authCode":"c","provider":"p""#),
            ("iss", 2048, r#""authCode":"c","provider":"p""#),
        ] {
            let body = |length| format!(r#"{{"{field}":"{}",{others}}}"#, "x".repeat(length));
            assert!(SignInBody::parse(body(longest).as_bytes(), Vec::new()).is_ok(), "{field}");
            assert_eq!(rule(&body(longest + 1), field), TooLong(longest));
        }
    }

    #[test]
    fn case_14_a_verifier_of_wrong_length_or_characters_is_refused() {
        let with = |verifier: &str| {
            format!(r#"{{"authCode":"c","provider":"p","codeVerifier":"{verifier}"}}"#)
        };
        let rule = |verifier: &str| rule(&with(verifier), "codeVerifier");
        assert_eq!(rule(&"v".repeat(42)), TooShort(43));
        assert_eq!(rule(&"v".repeat(129)), TooLong(128));
        assert_eq!(rule(&"v+".repeat(30)), Not(Unreserved));
        assert!(SignInBody::parse(with(&"v".repeat(43)).as_bytes(), Vec::new()).is_ok());
        assert!(SignInBody::parse(with(&"v".repeat(128)).as_bytes(), Vec::new()).is_ok());
    }

    #[test]
    fn all_broken_fields_are_told_at_once() {
        let all = broken(r#"{"authCode":"","provider":"","nonce":1}"#);
        let fields: Vec<_> = all.iter().map(|broken| broken.field).collect();
        assert_eq!(fields, ["nonce", "authCode", "provider"]);
        // Each once, whatever else is wrong with it.
        let all = broken(r#"{"authCode":"c","idToken":"","provider":"p"}"#);
        assert_eq!(all, [BrokenField::new("idToken", TooShort(1))]);
    }

    #[test]
    fn null_is_the_same_as_leaving_a_field_out() {
        let body = br#"{"authCode":"c","provider":"p","idToken":null,"redirectUri":null}"#;
        assert!(SignInBody::parse(body, Vec::new()).is_ok());
    }
}
