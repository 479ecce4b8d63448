//! The claims of an ID token (OIDC Core §2, §3.1.3.7), and the rules that logout tokens share.
//!
//! | rule | checked by |
//! |---|---|
//! | §3.1.3.7 item 2, `iss` | [`check_addressee`] |
//! | items 3 to 5, `aud` and `azp` | [`check_addressee`], by the audiences and parties in [`Recipient`] |
//! | items 6 to 8, signature and `alg` | `keys`, `token` |
//! | items 9 and 10, `exp` and `iat` | [`check_time`] |
//! | item 11, `nonce` | [`check_nonce`] |
//! | item 12, `acr` | not requested, so not required |
//! | item 13, `auth_time` | [`check_age`], if `max_age` is requested |

use std::time::Duration;

use mintgate_domain::model::{ClaimValue, Timestamp};
use mintgate_domain::ports::ID_TOKEN_MAX_AGE;
use mintgate_domain::{Cause, Nonce, TokenHash, excerpt};

use crate::config::Checked;
use crate::json::Members;

/// How far the provider's clock may be ahead of ours, for `iat`, `nbf` and `auth_time`. `exp` has no
/// such tolerance: an expired token is refused.
const CLOCK_SKEW_SECS: i64 = 60;
const MAX_AGE_SECS: i64 = ID_TOKEN_MAX_AGE.as_secs().cast_signed();
/// The last second that is accepted as a date, 9999-12-31T23:59:59Z.
const LAST_SECOND: i64 = 253_402_300_799;
/// The longest subject that OIDC Core §2 allows.
pub(crate) const MAX_SUBJECT_BYTES: usize = 255;

/// The claims that [`VerifiedIdentity`](mintgate_domain::model::VerifiedIdentity) has fields for.
#[derive(Debug, PartialEq)]
pub(crate) struct CheckedClaims {
    pub(crate) subject: String,
    pub(crate) expires_at: Timestamp,
    pub(crate) auth_time: Option<Timestamp>,
    pub(crate) acr: Option<String>,
    pub(crate) amr: Vec<String>,
}

/// Whom a token is for.
#[derive(Clone, Copy)]
pub(crate) struct Recipient<'a> {
    pub(crate) client_id: &'a str,
    /// The audiences that a token may have besides the client.
    pub(crate) trusted_audiences: &'a [String],
    /// The clients besides our own that may have asked for a token for us alone.
    pub(crate) authorized_parties: &'a [String],
}

impl<'a> Recipient<'a> {
    /// The client that ID tokens must be meant for, as configured.
    pub(crate) fn of(checked: &'a Checked) -> Self {
        Self {
            client_id: &checked.config.client_id,
            trusted_audiences: &checked.dialect.trusted_audiences,
            authorized_parties: &checked.dialect.authorized_parties,
        }
    }
}

/// Checks the claims of an ID token that [`check_addressee`] has let through, except for the nonce.
pub(crate) fn check(claims: &Members, now: Timestamp) -> Result<CheckedClaims, Cause> {
    check_kind(claims)?;
    // A nonce of another type would count neither as a nonce nor as its absence.
    if claims.contains_key("nonce") && text(claims, "nonce").is_none() {
        return Err("its nonce is not a text".into());
    }
    let subject = identifier(claims, "sub")?.ok_or("it has no sub")?;
    if !claims.contains_key("exp") {
        return Err("it has no exp".into());
    }
    let expires_at = check_time(claims, now, MAX_AGE_SECS)?;
    // Nothing is decided by these: a time that is none or in the future, and values with control
    // characters, are left out.
    let auth_time = seconds(claims, "auth_time").ok().flatten();
    let auth_time = auth_time.filter(|at| *at <= now.as_unix() + CLOCK_SKEW_SECS);
    let plain = |text: &&str| !text.contains(char::is_control);
    let amr = claims.get("amr").into_iter().flat_map(ClaimValue::texts).filter(plain);
    Ok(CheckedClaims {
        subject,
        expires_at,
        auth_time: auth_time.map(Timestamp::from_unix),
        acr: text(claims, "acr").filter(plain).map(ToOwned::to_owned),
        amr: amr.map(Into::into).collect(),
    })
}

/// Checks that the person authenticated no longer ago than `max_age` (OIDC Core §3.1.3.7 item 13).
pub(crate) fn check_age(
    checked: &CheckedClaims,
    max_age: Duration,
    now: Timestamp,
) -> Result<(), Cause> {
    let at = checked.auth_time.ok_or("it has no auth_time, which max_age asks for")?;
    let oldest = now.as_unix() - CLOCK_SKEW_SECS;
    let oldest = oldest.saturating_sub_unsigned(max_age.as_secs());
    if at.as_unix() < oldest {
        let (ago, allowed) = (now.as_unix() - at.as_unix(), max_age.as_secs());
        return Err(format!("the user authenticated {ago} s ago; max_age is {allowed} s").into());
    }
    Ok(())
}

/// Checks signed userinfo, in which the claims about the token itself are optional (OIDC Core §5.3.2).
/// Whom it is about is checked as for any userinfo.
pub(crate) fn check_userinfo(
    claims: &Members,
    issuer: &str,
    recipient: Recipient<'_>,
    now: Timestamp,
) -> Result<(), Cause> {
    check_kind(claims)?;
    if claims.contains_key("iss") {
        check_issuer(claims, issuer)?;
    }
    if claims.contains_key("aud") {
        check_audience(claims, recipient)?;
    }
    check_expiry(claims, now)?;
    check_beginning(claims, now)
}

/// Checks `iss`, `aud` and `azp`.
pub(crate) fn check_addressee(
    claims: &Members,
    issuer: &str,
    recipient: Recipient<'_>,
) -> Result<(), Cause> {
    check_issuer(claims, issuer)?;
    check_audience(claims, recipient)
}

fn check_issuer(claims: &Members, issuer: &str) -> Result<(), Cause> {
    match text(claims, "iss") {
        Some(named) if named == issuer => Ok(()),
        Some(other) => Err(format!("its issuer is {:?}, not this provider", excerpt(other)).into()),
        None => Err("it has no iss that is a text".into()),
    }
}

/// Checks `iat`, and `exp` and `nbf` where they are, and that the token is no older than `max_age`
/// seconds. Returns when the token can no longer be accepted, after which the record of its use can be
/// removed.
pub(crate) fn check_time(
    claims: &Members,
    now: Timestamp,
    max_age: i64,
) -> Result<Timestamp, Cause> {
    let expires = check_expiry(claims, now)?;
    let now_secs = now.as_unix();
    let made = seconds(claims, "iat")?.ok_or("it has no iat")?;
    if made > now_secs + CLOCK_SKEW_SECS {
        let ahead = made - now_secs;
        return Err(format!("it was issued {ahead} s in the future: do the clocks differ?").into());
    }
    if made < now_secs - max_age {
        let age = now_secs - made;
        return Err(format!("it was issued {age} s ago, and may be {max_age} s old").into());
    }
    check_beginning(claims, now)?;
    let too_old = made + max_age + 1;
    Ok(Timestamp::from_unix(expires.map_or(too_old, |expires| expires.min(too_old))))
}

fn check_expiry(claims: &Members, now: Timestamp) -> Result<Option<i64>, Cause> {
    let expires = seconds(claims, "exp")?;
    match expires.map(|expires| now.as_unix() - expires) {
        Some(ago @ 0..) => Err(format!("it expired {ago} s ago").into()),
        _ => Ok(expires),
    }
}

fn check_beginning(claims: &Members, now: Timestamp) -> Result<(), Cause> {
    match seconds(claims, "nbf")?.map(|not_before| not_before - now.as_unix()) {
        Some(ahead) if ahead > CLOCK_SKEW_SECS => {
            Err(format!("it is valid in {ahead} s only: do the clocks differ?").into())
        }
        _ => Ok(()),
    }
}

/// Checks that the nonce is that of the request, or absent if the request had none (OIDC Core §3.1.3.7
/// item 11), or absent where it may be. Hashes are compared, so that the time taken reveals nothing.
pub(crate) fn check_nonce(
    claims: &Members,
    expected: Option<&Nonce>,
    may_be_absent: bool,
) -> Result<(), Cause> {
    if may_be_absent && !claims.contains_key("nonce") {
        return Ok(());
    }
    let claimed = text(claims, "nonce").map(TokenHash::of);
    let expected = expected.map(|nonce| TokenHash::of(nonce.expose()));
    if claimed == expected { Ok(()) } else { Err("its nonce is not that of the request".into()) }
}

/// Checks `aud` and `azp` (OIDC Core §3.1.3.7 items 3 to 5): we are an audience, and any other is
/// trusted. A token for several names us as its authorized party; one for us alone may name another
/// client that the configuration allows.
fn check_audience(claims: &Members, recipient: Recipient<'_>) -> Result<(), Cause> {
    let Recipient { client_id, trusted_audiences, authorized_parties } = recipient;
    let named = |value: &ClaimValue, names: &[String]| {
        value.as_text().is_some_and(|text| names.iter().any(|name| name == text))
    };
    let ours = |audience: &ClaimValue| audience.as_text() == Some(client_id);
    let audiences = match claims.get("aud") {
        Some(ClaimValue::List(all)) => all.as_slice(),
        Some(single) => std::slice::from_ref(single),
        None => &[],
    };
    if !audiences.iter().any(ours) {
        return Err("its audience is not this client".into());
    }
    let only_ours = audiences.iter().all(ours);
    if !audiences.iter().all(|audience| ours(audience) || named(audience, trusted_audiences)) {
        return Err("it has another audience, which trusted_audiences does not name".into());
    }
    match claims.get("azp") {
        Some(party) if ours(party) || only_ours && named(party, authorized_parties) => Ok(()),
        Some(_) => Err("its authorized party is not this client".into()),
        None if only_ours => Ok(()),
        None => Err("it has several audiences and no authorized party".into()),
    }
}

/// Refuses other tokens of the provider, which can have the same issuer, audience and type header: a
/// logout token has `events` (OIDC Back-Channel Logout §2.4), and Keycloak names the kind in the claim
/// `typ`.
fn check_kind(claims: &Members) -> Result<(), Cause> {
    const OTHERS: [&str; 4] = ["bearer", "refresh", "offline", "logout"];
    let other =
        text(claims, "typ").is_some_and(|typ| OTHERS.contains(&typ.to_lowercase().as_str()));
    if other || claims.contains_key("events") {
        return Err("it is another kind of token".into());
    }
    Ok(())
}

/// Checks that the required claims are present and have exactly the given texts.
pub(crate) fn check_required(claims: &Members, required: &[(String, String)]) -> Result<(), Cause> {
    match required.iter().find(|(name, value)| text(claims, name) != Some(value)) {
        Some((name, _)) => Err(format!("its {name} is not the one required").into()),
        None => Ok(()),
    }
}

/// The text of a claim that identifies something, or `None` if the claim is absent.
pub(crate) fn identifier(claims: &Members, name: &str) -> Result<Option<String>, Cause> {
    if !claims.contains_key(name) {
        return Ok(None);
    }
    text(claims, name)
        .filter(|text| (1..=MAX_SUBJECT_BYTES).contains(&text.len()))
        .filter(|text| !text.contains(char::is_control))
        .map(|text| Some(text.to_owned()))
        .ok_or_else(|| format!("its {name} is not a text of 1 to {MAX_SUBJECT_BYTES} bytes").into())
}

/// The text of a claim, or `None` if it is absent or not a text.
pub(crate) fn text<'a>(claims: &'a Members, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(ClaimValue::as_text)
}

/// A NumericDate (RFC 7519 §2) in whole seconds.
fn seconds(claims: &Members, name: &str) -> Result<Option<i64>, Cause> {
    let seconds = match claims.get(name) {
        None => return Ok(None),
        Some(ClaimValue::Integer(seconds)) => Some(*seconds),
        #[expect(clippy::cast_possible_truncation, reason = "whole seconds; too many saturate")]
        Some(ClaimValue::Float(seconds)) => Some(seconds.floor() as i64),
        Some(_) => None,
    };
    let seconds = seconds.filter(|seconds| (0..=LAST_SECOND).contains(seconds));
    let problem = || format!("its {name} is not a number of seconds since 1970").into();
    seconds.map(Some).ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse_object;

    const NOW: i64 = 1_700_000_000;

    fn check_with(change: &str) -> Result<CheckedClaims, Cause> {
        let mut claims = parse_object(
            br#"{"iss":"https://idp.example.com","aud":"mintgate","sub":"s","iat":1700000000,
                "exp":1700000300}"#,
        )
        .unwrap();
        claims.extend(parse_object(change.as_bytes()).unwrap());
        claims.retain(|_, value| *value != ClaimValue::Text("(absent)".to_owned()));
        let (trusted, parties) = (["project".to_owned()], ["app".to_owned()]);
        let us = Recipient {
            client_id: "mintgate",
            trusted_audiences: &trusted,
            authorized_parties: &parties,
        };
        check_addressee(&claims, "https://idp.example.com", us)?;
        check(&claims, Timestamp::from_unix(NOW))
    }

    #[test]
    fn the_edges_of_time_are_where_they_are_documented() {
        for good in [
            r#"{"exp":1700000001}"#,
            r#"{"exp":1700000001.9}"#,
            r#"{"iat":1700000060}"#,
            r#"{"iat":1699913600}"#,
            r#"{"nbf":1700000060}"#,
            r#"{"nbf":0}"#,
            r#"{"exp":253402300799.5}"#,
        ] {
            assert!(check_with(good).is_ok(), "{good}");
        }
        for bad in [
            r#"{"exp":1700000000}"#,
            r#"{"exp":1700000000.9}"#,
            r#"{"exp":253402300800}"#,
            r#"{"exp":1e300}"#,
            r#"{"iat":1700000061}"#,
            r#"{"iat":1699913599}"#,
            r#"{"nbf":1700000061}"#,
            r#"{"exp":"(absent)"}"#,
        ] {
            assert!(check_with(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_names_the_issuer_and_says_by_how_many_seconds_a_time_is_wrong() {
        for (change, says) in [
            (r#"{"iss":"https://other.example.com"}"#, "\"https://other.example.com\""),
            (r#"{"exp":1699999993}"#, "expired 7 s ago"),
            (r#"{"iat":1700000090}"#, "90 s in the future"),
            (r#"{"iat":1699900000}"#, "100000 s ago"),
            (r#"{"nbf":1700000061}"#, "in 61 s"),
        ] {
            let refusal = check_with(change).unwrap_err().to_string();
            assert!(refusal.contains(says), "{refusal}");
        }
    }

    #[test]
    fn a_token_counts_as_expired_when_it_is_too_old_at_the_latest() {
        let expires_at = |change| check_with(change).unwrap().expires_at.as_unix();
        assert_eq!(expires_at("{}"), NOW + 300);
        assert_eq!(expires_at(r#"{"exp":253402300799}"#), NOW + 24 * 3600 + 1);
    }

    #[test]
    fn control_characters_do_not_get_into_a_session() {
        let checked = check_with(r#"{"acr":"a\u0000b","amr":["pwd","o\u0000tp"]}"#).unwrap();
        assert_eq!((checked.acr, checked.amr), (None, vec!["pwd".to_owned()]));
    }

    #[test]
    fn dates_are_numbers_and_nothing_else() {
        for name in ["exp", "iat", "nbf"] {
            for value in [r#""1700000300""#, "null", "-1", "-0.5", "true", "[1700000300]", "{}"] {
                assert!(check_with(&format!(r#"{{"{name}":{value}}}"#)).is_err(), "{name} {value}");
            }
        }
    }

    #[test]
    fn the_subject_is_a_text_of_1_to_255_bytes() {
        let sub = |sub: &str| check_with(&format!(r#"{{"sub":"{sub}"}}"#));
        assert!(sub(&"x".repeat(255)).is_ok());
        assert!(sub(&"x".repeat(256)).is_err());
        assert!(sub("").is_err());
        assert!(sub("a\\u0000b").is_err());
    }

    #[test]
    fn case_24_other_audiences_and_parties_are_those_that_are_configured() {
        for good in [
            r#"{"aud":["mintgate","mintgate"],"azp":"mintgate"}"#,
            r#"{"aud":["mintgate","project"],"azp":"mintgate"}"#,
            r#"{"aud":["project","mintgate","project"],"azp":"mintgate"}"#,
            r#"{"aud":"mintgate","azp":"app"}"#,
            r#"{"aud":["mintgate"],"azp":"app"}"#,
        ] {
            assert!(check_with(good).is_ok(), "{good}");
        }
        for bad in [
            r#"{"aud":["mintgate","other"],"azp":"mintgate"}"#,
            r#"{"aud":["mintgate","project","other"],"azp":"mintgate"}"#,
            r#"{"aud":["mintgate","project"]}"#,
            r#"{"aud":["mintgate","project"],"azp":"project"}"#,
            r#"{"aud":["mintgate","project"],"azp":"app"}"#,
            r#"{"aud":["mintgate","app"],"azp":"mintgate"}"#,
            r#"{"aud":["project"],"azp":"mintgate"}"#,
            r#"{"aud":"project","azp":"mintgate"}"#,
            r#"{"aud":"mintgate","azp":"project"}"#,
            r#"{"aud":"mintgate","azp":["app"]}"#,
            r#"{"aud":"app","azp":"app"}"#,
        ] {
            assert!(check_with(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_of_authentication_that_is_none_is_left_out() {
        let at =
            |value: &str| check_with(&format!(r#"{{"auth_time":{value}}}"#)).unwrap().auth_time;
        assert_eq!(at("1699999999.5"), Some(Timestamp::from_unix(NOW - 1)));
        assert_eq!(at("1700000060"), Some(Timestamp::from_unix(NOW + 60)));
        for odd in [r#""2020-03-14T18:52:01.180Z""#, "1700000061", "-5", "1e300", "true", "[1]"] {
            assert_eq!(at(odd), None, "{odd}");
        }
    }

    #[test]
    fn max_age_needs_a_time_of_authentication_that_is_recent() {
        let aged = |auth_time: &str| {
            let checked = check_with(&format!(r#"{{"auth_time":{auth_time}}}"#)).unwrap();
            check_age(&checked, Duration::from_mins(5), Timestamp::from_unix(NOW))
        };
        assert_eq!(aged("1700000000"), Ok(()));
        assert_eq!(aged("1699999640"), Ok(()));
        for old in ["1699999639", "0", r#""2020-03-14T18:52:01.180Z""#, "1700000061"] {
            assert!(aged(old).is_err(), "{old}");
        }
    }
}
