//! `X-Auth-Client-Address`: a server that renders pages says, signed, for whom it asks.
//!
//! The header is a JWS (RFC 7515) with the claims `iss`, the id of the client; `aud`, our issuer; `address`,
//! an IP address; `exp`, at most 30 seconds from now. It is signed with HS256 under the client's address key.

use std::net::IpAddr;
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mintgate_domain::Clients;
use mintgate_strict_json::{Limits, Map, Value, parse_object};
use time::OffsetDateTime;

use crate::AppState;
use crate::client::address_of;
use crate::error::ApiError;
use crate::validation::{BrokenField, BrokenRule};

const HEADER: &str = "X-Auth-Client-Address";
/// The longest header that is read, in bytes.
const MAX_BYTES: usize = 2048;
const JSON: Limits = Limits { bytes: MAX_BYTES, depth: 4 };
/// How far ahead the header may expire.
const LONGEST: Duration = Duration::from_secs(30);

/// The caller that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatedCaller {
    pub(crate) address: IpAddr,
    /// The id of the client that says so.
    pub(crate) client: String,
}

/// The caller that the request says it is for; `None` if it does not say so.
///
/// # Errors
/// `INVALID_REQUEST` if it says so in any way but one signed by a client, for us, at this time: the request
/// must not count for the server that sends it.
fn stated_caller(
    headers: &HeaderMap,
    clients: &Clients,
    issuer: &str,
    now: OffsetDateTime,
) -> Result<Option<StatedCaller>, ApiError> {
    let mut values = headers.get_all(HEADER);
    let Some(value) = values.next() else { return Ok(None) };
    let refused = |rule: BrokenRule, reason: &'static str| {
        ApiError::invalid(vec![BrokenField::new(HEADER, rule)]).because(reason)
    };
    if values.next().is_some() {
        return Err(refused(BrokenRule::Twice, "the header came twice"));
    }
    let stated = verified(value.as_bytes(), clients, issuer, now);
    stated.map(Some).map_err(|reason| refused(BrokenRule::NotAClientAddress, reason))
}

impl AppState {
    /// The caller that the request says it is for, as [`stated_caller`].
    pub(crate) fn stated_caller(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<StatedCaller>, ApiError> {
        stated_caller(headers, &self.clients, self.metadata.issuer(), self.ports.clock.now())
    }
}

/// The caller that a JWS names.
///
/// # Errors
/// Why it is not accepted, for the log.
fn verified(
    jws: &[u8],
    clients: &Clients,
    issuer: &str,
    now: OffsetDateTime,
) -> Result<StatedCaller, &'static str> {
    if jws.len() > MAX_BYTES {
        return Err("it is too long");
    }
    let mut parts = jws.split(|byte| *byte == b'.');
    let (Some(head), Some(claims), Some(mac), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("it is not a compact JWS");
    };
    let (signed, mac) = (&jws[..head.len() + 1 + claims.len()], decoded(mac)?);
    let (head, claims) = (object(head)?, object(claims)?);
    if text(&head, "alg") != Some("HS256") || head.contains_key("crit") {
        return Err("it is not signed with HS256, or has critical parameters");
    }
    let client = text(&claims, "iss").and_then(|id| clients.signer_of(id, signed, &mac));
    let client = client.ok_or("no client with an address key has signed it")?;
    let is_for_us = match claims.get("aud") {
        Some(Value::String(audience)) => audience == issuer,
        Some(Value::Array(audiences)) => audiences.iter().any(|audience| audience == issuer),
        _ => false,
    };
    if !is_for_us {
        return Err("it is for another audience");
    }
    let now = (now - OffsetDateTime::UNIX_EPOCH).as_seconds_f64();
    let left = claims.get("exp").and_then(Value::as_f64).ok_or("it does not expire")? - now;
    if left <= 0.0 {
        return Err("it has expired");
    }
    if left > LONGEST.as_secs_f64() {
        return Err("it expires too late");
    }
    let address = text(&claims, "address").and_then(address_of).ok_or("it has no IP address")?;
    Ok(StatedCaller { address: address.to_canonical(), client: client.id.clone() })
}

fn decoded(part: &[u8]) -> Result<Vec<u8>, &'static str> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| "it is not in base64url")
}

fn object(part: &[u8]) -> Result<Map<String, Value>, &'static str> {
    parse_object(&decoded(part)?, JSON).map_err(|_| "it has no JSON objects")
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name)?.as_str()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use mintgate_domain::{Client, ErrorCode, SecretText, TokenHash};
    use mintgate_testkit::hs256;
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://auth.example.com";
    const KEY: &str = "wnHTqYHe3CLeXnXYvnHNMzYq3tgXmRMqNqPiPYgq4pU";

    fn clients() -> Clients {
        let client = |id: &str, key: Option<&str>| Client {
            id: id.to_owned(),
            secret_hash: TokenHash::of("secret"),
            provider_tokens: vec![],
            audience: None,
            refresh_tokens: false,
            address_key: key.map(SecretText::new),
        };
        [client("web", Some(KEY)), client("api", None)].into_iter().collect()
    }

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_793_096_400).unwrap()
    }

    fn claims(changed: &Value) -> Value {
        let mut claims = json!({
            "iss": "web", "aud": ISSUER, "address": "203.0.113.7", "exp": now().unix_timestamp() + 30,
        });
        for (name, value) in changed.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    fn jws(changed: &Value) -> String {
        hs256(KEY, &json!({ "alg": "HS256" }), &claims(changed))
    }

    fn read(values: &[&str]) -> Result<Option<StatedCaller>, ApiError> {
        let mut headers = HeaderMap::new();
        for value in values {
            let name = HeaderName::from_static("x-auth-client-address");
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        stated_caller(&headers, &clients(), ISSUER, now())
    }

    fn address(jws: &str) -> String {
        read(&[jws]).unwrap().unwrap().address.to_string()
    }

    #[test]
    fn a_client_names_the_address_that_it_asks_for() {
        assert_eq!(read(&[]).unwrap(), None);
        let stated = read(&[&jws(&json!({}))]).unwrap().unwrap();
        assert_eq!(
            (stated.address.to_string().as_str(), stated.client.as_str()),
            ("203.0.113.7", "web")
        );
        for (shape, expected) in [
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("192.0.2.1:443", "192.0.2.1"),
        ] {
            assert_eq!(address(&jws(&json!({ "address": shape }))), expected);
        }
        assert_eq!(address(&jws(&json!({ "aud": ["x", ISSUER] }))), "203.0.113.7");
        let soon = (now() - OffsetDateTime::UNIX_EPOCH).as_seconds_f64() + 0.5;
        assert_eq!(address(&jws(&json!({ "exp": soon }))), "203.0.113.7");
    }

    #[test]
    fn the_header_that_the_documented_program_for_node_has_made_is_good() {
        let made = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJ3ZWIiLCJhdWQiOiJodHRwczovL2F1dGguZXhhbXBsZS5jb20iLCJhZGRyZ\
                    XNzIjoiMTkyLjAuMi4xIiwiZXhwIjoxNzk1ODk5MTk5fQ.WAuUAe7impYzuiypnfqaMnrDTl7O_B-XivtscRRp78g";
        let then = OffsetDateTime::from_unix_timestamp(1_795_899_179).unwrap();
        let stated = verified(made.as_bytes(), &clients(), ISSUER, then).unwrap();
        assert_eq!(stated.address.to_string(), "192.0.2.1");
    }

    #[test]
    fn any_other_header_is_refused_by_its_name() {
        let good = jws(&json!({}));
        let at = now().unix_timestamp();
        let with_head = |head: Value| hs256(KEY, &head, &claims(&json!({})));
        let unsigned = format!("{}.", good.rsplit_once('.').unwrap().0);
        let long = jws(&json!({ "more": "x".repeat(2048) }));
        for bad in [
            "",
            "203.0.113.7",
            "a.b",
            "e30.e30.e30",
            &format!("{good}.x"),
            &format!("{}A", &good[..good.len() - 1]),
            &unsigned,
            &long,
            &with_head(json!({ "alg": "none" })),
            &with_head(json!({ "alg": "HS512" })),
            &with_head(json!({ "alg": "HS256", "crit": ["b64"], "b64": false })),
            &hs256(&KEY.replace('w', "v"), &json!({ "alg": "HS256" }), &claims(&json!({}))),
            &jws(&json!({ "iss": "api" })),
            &jws(&json!({ "iss": "nobody" })),
            &jws(&json!({ "iss": null })),
            &jws(&json!({ "aud": "https://other.example" })),
            &jws(&json!({ "aud": null })),
            &jws(&json!({ "exp": at })),
            &jws(&json!({ "exp": at + 31 })),
            &jws(&json!({ "exp": null })),
            &jws(&json!({ "exp": (at + 20).to_string() })),
            &jws(&json!({ "address": "example.com" })),
            &jws(&json!({ "address": null })),
        ] {
            let error = read(&[bad]).unwrap_err();
            assert_eq!(error.kind(), ErrorCode::InvalidRequest.into());
            assert_eq!(error.fields(), [BrokenField::new(HEADER, BrokenRule::NotAClientAddress)]);
        }
        let error = read(&[&good, &good]).unwrap_err();
        assert_eq!(error.fields(), [BrokenField::new(HEADER, BrokenRule::Twice)]);
    }
}
