//! What providers say about email addresses in words of their own, put into those of OIDC Core §5.1.
//!
//! Apple, "Authenticating users with Sign in with Apple": `email_verified` is "a string or Boolean
//! value".
//! <https://developer.apple.com/documentation/signinwithapple/authenticating-users-with-sign-in-with-apple>
//!
//! Amazon Cognito, "UserInfo endpoint": `"email_verified": "true"`.
//! <https://docs.aws.amazon.com/cognito/latest/developerguide/userinfo-endpoint.html>
//!
//! Microsoft, "Migrate away from using email claims for user identification or authorization":
//! `xms_edov` says whether the owner of the domain has verified it.
//! <https://learn.microsoft.com/en-us/entra/identity-platform/migrate-off-email-claim-authorization>

use mintgate_domain::model::ClaimValue;

use crate::dialect::EmailRule;
use crate::json::Members;

const EMAIL_VERIFIED: &str = "email_verified";

/// Sets `email_verified` where the claims vouch for the address as the rule says. They must be those of
/// one source, which knows of its own address alone.
pub(crate) fn vouch(claims: &mut Members, rule: EmailRule) {
    let vouched = match rule {
        EmailRule::Standard => false,
        EmailRule::Text => is_true(claims.get(EMAIL_VERIFIED)),
        // A plain no of the provider stays one.
        EmailRule::DomainOwner => {
            !claims.contains_key(EMAIL_VERIFIED) && is_true(claims.get("xms_edov"))
        }
        EmailRule::Tenant => !claims.contains_key(EMAIL_VERIFIED),
    };
    if vouched && claims.contains_key("email") {
        claims.insert(EMAIL_VERIFIED.to_owned(), ClaimValue::Bool(true));
    }
}

/// The spellings of true in which these claims were seen.
fn is_true(value: Option<&ClaimValue>) -> bool {
    match value {
        Some(ClaimValue::Bool(value)) => *value,
        Some(ClaimValue::Integer(value)) => *value == 1,
        Some(ClaimValue::Text(value)) => value.eq_ignore_ascii_case("true") || value == "1",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse_object;

    fn vouched(claims: &str, rule: EmailRule) -> bool {
        let mut claims = parse_object(claims.as_bytes()).unwrap();
        vouch(&mut claims, rule);
        claims.get(EMAIL_VERIFIED) == Some(&ClaimValue::Bool(true))
    }

    #[test]
    fn case_30_each_providers_own_word_counts_at_that_provider_alone() {
        use EmailRule::{DomainOwner, Standard, Tenant, Text};
        for (claims, vouching) in [
            (r#"{"email":"a","email_verified":"true"}"#, &[Text][..]),
            (r#"{"email":"a","email_verified":"True"}"#, &[Text]),
            (r#"{"email":"a","email_verified":"false"}"#, &[]),
            (r#"{"email":"a","email_verified":"yes"}"#, &[]),
            (r#"{"email":"a","email_verified":false}"#, &[]),
            (r#"{"email":"a","email_verified":["true"]}"#, &[]),
            (r#"{"email":"a","xms_edov":true}"#, &[DomainOwner, Tenant]),
            (r#"{"email":"a","xms_edov":"1"}"#, &[DomainOwner, Tenant]),
            (r#"{"email":"a","xms_edov":1}"#, &[DomainOwner, Tenant]),
            (r#"{"email":"a","xms_edov":false}"#, &[Tenant]),
            (r#"{"email":"a","xms_edov":true,"email_verified":false}"#, &[]),
            (r#"{"email":"a"}"#, &[Tenant]),
            (r#"{"xms_edov":true}"#, &[]),
        ] {
            for rule in [Standard, Text, DomainOwner, Tenant] {
                assert_eq!(vouched(claims, rule), vouching.contains(&rule), "{claims} {rule:?}");
            }
        }
    }
}
