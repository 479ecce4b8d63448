//! The claims of a logout token (OIDC Back-Channel Logout §2.4, §2.6).

use mintgate_domain::model::{ClaimValue, Timestamp};
use mintgate_domain::ports::LogoutOrder;
use mintgate_domain::{Cause, TokenHash};

use crate::claims::{check_addressee, check_time, identifier, text};
use crate::json::Members;

/// The member of `events` that §2.4 requires.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// The largest age of a logout token; a provider may retry for a while.
const MAX_AGE_SECS: i64 = 10 * 60;

/// Checks the claims of a logout token, and returns which sessions end.
///
/// `exp` is required, as in the final specification of 2022; earlier drafts did not require it.
pub(crate) fn check(
    claims: &Members,
    issuer: &str,
    client_id: &str,
    now: Timestamp,
) -> Result<LogoutOrder, Cause> {
    check_addressee(claims, issuer, client_id)?;
    check_kind(claims)?;
    let expires_at = check_time(claims, now, MAX_AGE_SECS)?;
    let id = identifier(claims, "jti")?.ok_or("it has no jti")?;
    let (subject, session) = (identifier(claims, "sub")?, identifier(claims, "sid")?);
    if subject.is_none() && session.is_none() {
        return Err("it names neither a subject nor a session".into());
    }
    let id = TokenHash::of_parts(&[issuer, &id]);
    Ok(LogoutOrder { issuer: issuer.to_owned(), subject, session, id, expires_at })
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
        check(&claims, "https://idp.example.com", "mintgate", Timestamp::from_unix(NOW))
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
            r#"{"exp":"(absent)"}"#,
            r#"{"iat":1700000061}"#,
            r#"{"iat":1699999399}"#,
            r#"{"iat":"(absent)"}"#,
            r#"{"nbf":1700000061}"#,
        ] {
            assert!(check_with(bad).is_err(), "{bad}");
        }
        // However long it says it lives.
        let long = check_with(r#"{"exp":253402300799}"#).unwrap();
        assert_eq!(long.expires_at.as_unix(), NOW + 601);
    }
}
