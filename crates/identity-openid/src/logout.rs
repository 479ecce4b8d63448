//! The claims of a logout token (OIDC Back-Channel Logout §2.4, §2.6).

use mintgate_domain::model::{ClaimValue, Timestamp, stored_sid};
use mintgate_domain::ports::LogoutOrder;
use mintgate_domain::{Cause, TokenHash};

use crate::claims::{Recipient, check_addressee, check_time, identifier, text};
use crate::json::Members;

/// The member of `events` that §2.4 requires.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// The largest age of a logout token; a provider may retry for a while.
const MAX_AGE_SECS: i64 = 10 * 60;

/// Checks the claims of a logout token, and returns which sessions end.
///
/// Without `exp`, which drafts before the final specification of 2022 did not require, a token expires
/// ten minutes after `iat`.
pub(crate) fn check(
    claims: &Members,
    issuer: &str,
    recipient: Recipient<'_>,
    now: Timestamp,
) -> Result<LogoutOrder, Cause> {
    check_recipient(claims, issuer, recipient)?;
    check_kind(claims)?;
    let expires_at = check_time(claims, now, MAX_AGE_SECS)?;
    let id = opaque(claims, "jti")?.ok_or("it has no jti")?;
    let (subject, session) = (identifier(claims, "sub")?, opaque(claims, "sid")?);
    if subject.is_none() && session.is_none() {
        return Err("it names neither a subject nor a session".into());
    }
    let id = TokenHash::of_parts(&[issuer, id]);
    let session = session.map(stored_sid);
    Ok(LogoutOrder { issuer: issuer.to_owned(), subject, session, id, expires_at })
}

/// The text of a claim that is only ever compared, so it may have any length and any characters; `None`
/// if the claim is absent.
fn opaque<'a>(claims: &'a Members, name: &str) -> Result<Option<&'a str>, Cause> {
    if !claims.contains_key(name) {
        return Ok(None);
    }
    let text = text(claims, name).filter(|text| !text.is_empty());
    text.map(Some).ok_or_else(|| format!("its {name} is not a text").into())
}

/// Checks `iss` and `aud` as for an ID token. A logout token for several audiences need not name an
/// authorized party, which OIDC Back-Channel Logout §2.4 does not know.
fn check_recipient(claims: &Members, issuer: &str, recipient: Recipient<'_>) -> Result<(), Cause> {
    let mut claims = claims.clone();
    claims
        .entry("azp".to_owned())
        .or_insert_with(|| ClaimValue::Text(recipient.client_id.to_owned()));
    check_addressee(&claims, issuer, recipient)
}

/// Checks that this is a logout token: only logout tokens have the event, and they have no nonce, so that
/// neither kind passes for the other (§4.1). Keycloak also names the kind in the claim `typ`.
fn check_kind(claims: &Members) -> Result<(), Cause> {
    let is_logout = match claims.get("events") {
        Some(ClaimValue::Object(events)) => {
            matches!(events.get(EVENT), Some(ClaimValue::Object(_)))
        }
        _ => false,
    };
    let is_other_kind = text(claims, "typ")
        .is_some_and(|typ| !["logout", "jwt"].contains(&typ.to_ascii_lowercase().as_str()));
    if !is_logout || is_other_kind {
        return Err("it is not a logout token".into());
    }
    if claims.contains_key("nonce") {
        return Err("it has a nonce".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse_object;

    const NOW: i64 = 1_700_000_000;

    fn check_with(change: &str) -> Result<LogoutOrder, Cause> {
        let mut claims = parse_object(
            br#"{"iss":"https://idp.example.com","aud":"mintgate","sub":"s","sid":"x","jti":"j",
                "iat":1700000000,"exp":1700000120,
                "events":{"http://schemas.openid.net/event/backchannel-logout":{}}}"#,
        )
        .unwrap();
        claims.extend(parse_object(change.as_bytes()).unwrap());
        claims.retain(|_, value| *value != ClaimValue::Text("(absent)".to_owned()));
        let trusted = ["project".to_owned()];
        let us = Recipient {
            client_id: "mintgate",
            trusted_audiences: &trusted,
            authorized_parties: &[],
        };
        check(&claims, "https://idp.example.com", us, Timestamp::from_unix(NOW))
    }

    #[test]
    fn an_order_is_about_a_subject_a_session_or_both() {
        let order = check_with("{}").unwrap();
        assert_eq!(order.issuer, "https://idp.example.com");
        assert_eq!((order.subject.as_deref(), order.session.as_deref()), (Some("s"), Some("x")));
        assert_eq!(order.expires_at.as_unix(), NOW + 120);
        assert_eq!(check_with(r#"{"sid":"(absent)"}"#).unwrap().session, None);
        assert_eq!(check_with(r#"{"sub":"(absent)"}"#).unwrap().subject, None);
        assert!(check_with(r#"{"sub":"(absent)","sid":"(absent)"}"#).is_err());
    }

    #[test]
    fn a_session_id_may_be_any_text_that_is_not_empty() {
        let session = |sid: &str| check_with(&format!(r#"{{"sid":{sid}}}"#)).map(|it| it.session);
        let long = "x".repeat(304);
        assert_eq!(session(&format!("\"{long}\"")), Ok(Some(stored_sid(&long))));
        assert_eq!(session(r#""a\u0000b""#), Ok(Some(stored_sid("a\0b"))));
        for odd in [r#""""#, "7", "[]", "true"] {
            assert!(session(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn case_24_other_audiences_are_those_that_are_configured() {
        assert!(check_with(r#"{"aud":["mintgate","project"]}"#).is_ok());
        assert!(check_with(r#"{"aud":["mintgate","project"],"azp":"mintgate"}"#).is_ok());
        for bad in [
            r#"{"aud":["mintgate","other"]}"#,
            r#"{"aud":"project"}"#,
            r#"{"aud":["mintgate","project"],"azp":"project"}"#,
            r#"{"azp":"other"}"#,
        ] {
            assert!(check_with(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_order_is_named_by_issuer_and_jti_alone() {
        let order = check_with("{}").unwrap();
        assert_eq!(order.id, TokenHash::of_parts(&["https://idp.example.com", "j"]));
        assert_eq!(order.id, check_with(r#"{"sub":"t","exp":1700000121}"#).unwrap().id);
        assert_ne!(order.id, check_with(r#"{"jti":"k"}"#).unwrap().id);
    }

    #[test]
    fn the_edges_of_time_are_where_they_are_documented() {
        for good in [
            r#"{"exp":1700000001}"#,
            r#"{"iat":1700000060}"#,
            r#"{"iat":1699999400}"#,
            r#"{"nbf":1700000060}"#,
        ] {
            assert!(check_with(good).is_ok(), "{good}");
        }
        for bad in [
            r#"{"exp":1700000000}"#,
            r#"{"iat":1700000061}"#,
            r#"{"iat":1699999399}"#,
            r#"{"iat":"(absent)"}"#,
            r#"{"nbf":1700000061}"#,
        ] {
            assert!(check_with(bad).is_err(), "{bad}");
        }
        // However long it says it lives, or if it does not say.
        let long = check_with(r#"{"exp":253402300799}"#).unwrap();
        assert_eq!(long.expires_at.as_unix(), NOW + 601);
        let silent = check_with(r#"{"exp":"(absent)","iat":1699999400}"#).unwrap();
        assert_eq!(silent.expires_at.as_unix(), NOW + 1);
        assert!(check_with(r#"{"exp":"(absent)","iat":1699999399}"#).is_err());
    }
}
