//! Claims from the userinfo endpoint (OIDC Core §5.3).

use mintgate_domain::model::ClaimValue;
use mintgate_domain::ports::{ProviderEndpoint, ProviderError};
use mintgate_domain::{Cause, ProviderAccessToken};
use url::Url;

use crate::http::{BoundedClient, USERINFO, get};
use crate::json::{Members, read_object};

/// The claims that are taken from one source only: whether an email address is verified is known only by
/// the source of the address.
const EMAIL: [&str; 2] = ["email", "email_verified"];

/// An answer of the userinfo endpoint.
pub(crate) enum Answer {
    /// Claims in JSON.
    Plain(Members),
    /// Claims in a JWT, whose signature is to be verified.
    Signed(String),
}

/// Asks the userinfo endpoint. The answer is judged by its content, whatever its media type.
pub(crate) async fn ask(
    http: &BoundedClient,
    endpoint: &Url,
    access_token: &ProviderAccessToken,
) -> Result<Answer, ProviderError> {
    let request = get(endpoint, USERINFO, Some(access_token.expose()));
    let answer = http.fetch(ProviderEndpoint::Userinfo, request, read).await;
    answer.map_err(|error| error.at(ProviderEndpoint::Userinfo))
}

fn read(answer: &[u8]) -> Result<Answer, Cause> {
    match std::str::from_utf8(answer).map(|text| (text.trim(), text.matches('.').count())) {
        Ok((jwt, 2)) if jwt.starts_with("eyJ") => Ok(Answer::Signed(jwt.to_owned())),
        Ok((jwt, 4)) if jwt.starts_with("eyJ") => {
            Err("it is an encrypted JWT; let the provider sign userinfo, or send it as JSON".into())
        }
        _ => read_object(answer).map(Answer::Plain),
    }
}

/// Adds the claims of userinfo that the ID token does not have.
pub(crate) fn add_claims(claims: Members, userinfo: Members) -> Result<Members, ProviderError> {
    // OIDC Core §5.3.2: otherwise one person could get the claims of another.
    let subject = claims.get("sub").and_then(ClaimValue::as_text);
    if subject.is_none() || userinfo.get("sub").and_then(ClaimValue::as_text) != subject {
        return Err(ProviderError::IdTokenRefused(
            "userinfo is about another subject than the ID token".into(),
        ));
    }
    Ok(merge(claims, userinfo))
}

fn merge(mut claims: Members, mut userinfo: Members) -> Members {
    let without = if claims.contains_key("email") { &mut userinfo } else { &mut claims };
    for name in EMAIL {
        without.remove(name);
    }
    for (name, value) in userinfo.into_iter().filter(|(_, value)| *value != ClaimValue::Null) {
        claims.entry(name).or_insert(value);
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse_object;

    fn merged(claims: &str, userinfo: &str) -> Members {
        let [claims, userinfo] = [claims, userinfo].map(|json| parse_object(json.as_bytes()));
        merge(claims.unwrap(), userinfo.unwrap())
    }

    fn members(json: &str) -> Members {
        parse_object(json.as_bytes()).unwrap()
    }

    #[test]
    fn the_id_token_is_never_overridden() {
        let merged = merged(r#"{"sub":"a","groups":["x"]}"#, r#"{"groups":["admins"],"name":"N"}"#);
        assert_eq!(merged, members(r#"{"sub":"a","groups":["x"],"name":"N"}"#));
    }

    #[test]
    fn case_30_an_email_is_verified_by_its_own_source_alone() {
        for (claims, userinfo, expected) in [
            (r#"{"email":"a"}"#, r#"{"email":"b","email_verified":true}"#, r#"{"email":"a"}"#),
            (r#"{"email":"a"}"#, r#"{"email_verified":true}"#, r#"{"email":"a"}"#),
            (r#"{"email_verified":true}"#, r#"{"email":"b"}"#, r#"{"email":"b"}"#),
            (
                r#"{"email_verified":false}"#,
                r#"{"email":"b","email_verified":true}"#,
                r#"{"email":"b","email_verified":true}"#,
            ),
        ] {
            assert_eq!(merged(claims, userinfo), members(expected), "{claims} {userinfo}");
        }
    }
}
