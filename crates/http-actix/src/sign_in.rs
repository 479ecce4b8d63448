//! What a client sends to finish a sign-in: the body of `/token` and of `/identities`.

use garde::Validate;
use mintgate_domain::model::{LoginPurpose, LoginTransaction};
use mintgate_domain::{
    AuthorizationCode, CodeVerifier, Credential, ErrorCode, FieldRule, IdTokenText, Nonce,
    SignInRequest, TokenDelivery,
};
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::json::{Fields, Members};
use crate::openapi::Operation;
use crate::validation::Characters::{Printable, Unreserved, Visible};
use crate::validation::{Broken, BrokenRule, text};

/// The body of a request with a sign-in, parsed and checked.
pub(crate) struct SignInBody {
    pub(crate) sign_in: SignInRequest,
    /// The way in which the tokens are delivered; used by `/token` alone.
    pub(crate) delivery: TokenDelivery,
}

/// A sign-in: exactly one of `authCode` and `idToken`.
#[derive(Validate, ToSchema)]
#[garde(context(Broken))]
#[schema(as = SignInBody, rename_all = "camelCase", example = json!({
    "authCode": "SplxlOBeZQQYbYS6WxSbIA",
    "provider": "corp",
    "redirectUri": "https://app.example.com/callback",
}))]
pub(crate) struct Texts {
    /// The authorization code of the provider.
    #[garde(inner(custom(text("authCode", 1..=8192, Printable))))]
    #[schema(rename = "authCode")]
    code: Option<String>,
    /// The ID token of the provider, in place of a code.
    #[garde(inner(custom(text("idToken", 1..=16384, Visible))))]
    id_token: Option<String>,
    /// The id of the configured provider; may be left out where `state` is that of a begun login.
    #[garde(inner(custom(text("provider", 1..=64, Visible))))]
    provider: Option<String>,
    /// The redirect URI of the authorization request; may be left out where the provider has exactly one.
    #[garde(inner(custom(text("redirectUri", 1..=2048, Visible))))]
    redirect_uri: Option<String>,
    /// The verifier of PKCE (RFC 7636), if the authorization request had a challenge.
    #[garde(inner(custom(text("codeVerifier", 43..=128, Unreserved))))]
    code_verifier: Option<String>,
    /// The nonce of the authorization request.
    #[garde(inner(custom(text("nonce", 1..=512, Printable))))]
    nonce: Option<String>,
    /// The state of the authorization response, if the login was begun here.
    #[garde(inner(custom(text("state", 1..=1024, Printable))))]
    state: Option<String>,
    /// The issuer of the authorization response (RFC 9207).
    #[garde(inner(custom(text("iss", 1..=2048, Visible))))]
    #[schema(rename = "iss")]
    issuer: Option<String>,
    /// `cookie`, or `body` for an app that is no browser. Of no meaning where an identity is linked.
    #[garde(skip)]
    #[schema(rename = "tokenDelivery", pattern = "^(cookie|body)$")]
    delivery: Option<String>,
}

impl Fields for Texts {
    fn take(members: &mut Members) -> Self {
        Self {
            code: members.take_text("authCode"),
            id_token: members.take_text("idToken"),
            provider: members.take_text("provider"),
            redirect_uri: members.take_text("redirectUri"),
            code_verifier: members.take_text("codeVerifier"),
            nonce: members.take_text("nonce"),
            state: members.take_text("state"),
            issuer: members.take_text("iss"),
            delivery: members.take_text("tokenDelivery"),
        }
    }
}

impl Operation {
    /// Takes a sign-in, and is refused where that is.
    pub(crate) fn takes_sign_in(self) -> Self {
        use ErrorCode::{
            AccessDenied, InvalidAuthCode, InvalidIdToken, InvalidState, ProviderError,
            ProviderTimeout, ProviderUnavailable, RateLimited, RedirectUriNotAllowed,
            StoreUnavailable, UnknownProvider,
        };
        self.takes_json::<Texts>(true).sends("Set-Cookie").refuses([
            AccessDenied,
            InvalidAuthCode,
            InvalidIdToken,
            InvalidState,
            ProviderError,
            ProviderTimeout,
            ProviderUnavailable,
            RateLimited,
            RedirectUriNotAllowed,
            StoreUnavailable,
            UnknownProvider,
        ])
    }
}

impl SignInBody {
    /// Reads a body and checks all its members. `logins` are those that the browser has begun.
    ///
    /// # Errors
    /// `INVALID_REQUEST` with every field at fault.
    pub(crate) fn parse(body: &[u8], logins: Vec<LoginTransaction>) -> Result<Self, ApiError> {
        let mut members = Members::parse(body)?;
        let texts: Texts = members.take();
        let Texts {
            code,
            id_token,
            provider,
            redirect_uri,
            code_verifier,
            nonce,
            state,
            issuer,
            ..
        } = texts;
        let delivery = match texts.delivery.as_deref() {
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
            callback: None,
            purpose: LoginPurpose::SignIn,
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
