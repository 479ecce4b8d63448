//! Client authentication (RFC 6749 §2.3) by a secret or a signature (RFC 7523), and public clients.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use crate::ambient::now_secs;
use crate::params::Params;
use crate::refusal::TokenError;
use crate::shared::Shared;
use crate::{ClientKey, Refusal};

/// A method of client authentication at the token endpoint (OIDC Core §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// `client_secret_basic`: the secret in the `Authorization` header (OIDC Core §9).
    ClientSecretBasic,
    /// `client_secret_post`: the secret in the body (OIDC Core §9).
    ClientSecretPost,
    /// `private_key_jwt`: the client must have a [`ClientKey`].
    PrivateKeyJwt,
    /// `none`: a public client, without secret and key.
    None,
}

impl ClientAuth {
    /// The method's name in discovery documents (`token_endpoint_auth_methods_supported`).
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::None => "none",
        }
    }
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The longest lifetime of Apple's client secrets: six months.
const SECRET_LIFE_SECS: i64 = 15_777_000;
/// The audience of Apple's client secrets, whatever the issuer of the mock is.
const APPLE: &str = "https://appleid.apple.com";

const INVALID: TokenError = refused("unknown client, or a wrong secret");

const fn refused(description: &'static str) -> TokenError {
    TokenError { refusal: Refusal::Client, description }
}

/// The credentials in a token request.
struct Credentials {
    id: String,
    secret: Option<String>,
}

/// The methods that a mock accepts and advertises.
pub(crate) fn accepted(shared: &Shared) -> &[ClientAuth] {
    shared.config.client_auth.as_deref().unwrap_or(shared.traits().client_auth)
}

/// Authenticates the client of a token request, and returns its id.
pub(crate) fn authenticate(
    shared: &Shared,
    headers: &HeaderMap,
    form: &Params,
) -> Result<String, TokenError> {
    let header = headers.get(AUTHORIZATION);
    let secret = form.find("client_secret");
    let assertion = form.find("client_assertion");
    let malformed = |description| TokenError::new(Refusal::Request, description);
    let ways = [header.is_some(), secret.is_some(), assertion.is_some()];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        return Err(malformed("two methods of client authentication at once"));
    }
    if let Some(assertion) = assertion {
        take(shared, ClientAuth::PrivateKeyJwt)?;
        return by_assertion(shared, form, assertion);
    }
    let credentials = match header {
        Some(value) => {
            take(shared, ClientAuth::ClientSecretBasic)?;
            value.to_str().ok().and_then(basic).ok_or(INVALID)?
        }
        None => Credentials {
            id: form.find("client_id").ok_or(INVALID)?.into(),
            secret: secret.map(Into::into),
        },
    };
    if form.find("client_id").is_some_and(|id| id != credentials.id) {
        return Err(malformed("client_id is not the authenticated client"));
    }
    if header.is_none() {
        let by_post = credentials.secret.is_some();
        let way = if by_post { ClientAuth::ClientSecretPost } else { ClientAuth::None };
        take(shared, way)?;
    }
    let client = shared.config.client(&credentials.id).ok_or(INVALID)?;
    let key = shared.config.client_keys.iter().find(|key| key.client_id == client.id);
    match (&credentials.secret, key) {
        (Some(secret), Some(key)) if shared.traits().signed_secrets => {
            check_signed_secret(shared, key, secret)?;
        }
        (Some(_), None) if shared.traits().signed_secrets => return Err(INVALID),
        // A client with a key must use it, even if it has no secret.
        (None, Some(_)) => return Err(INVALID),
        (given, _) if *given == client.secret => {}
        _ => return Err(INVALID),
    }
    Ok(credentials.id)
}

fn take(shared: &Shared, way: ClientAuth) -> Result<(), TokenError> {
    if accepted(shared).contains(&way) {
        Ok(())
    } else {
        Err(refused("this method of client authentication is not offered"))
    }
}

/// Authenticates a client by `private_key_jwt` (RFC 7523 §2.2, §3).
fn by_assertion(shared: &Shared, form: &Params, assertion: &str) -> Result<String, TokenError> {
    if form.find("client_assertion_type") != Some(ASSERTION_TYPE) {
        return Err(TokenError::new(
            Refusal::Request,
            "client_assertion_type is missing or unknown",
        ));
    }
    let unverified = claims_of(assertion).ok_or(refused("client_assertion is no JWT"))?;
    let id = text(&unverified, "sub").ok_or(refused("sub of client_assertion is missing"))?;
    if form.find("client_id").is_some_and(|it| it != id) {
        return Err(refused("sub of client_assertion is not client_id"));
    }
    let mut keys = shared.config.client_keys.iter().filter(|key| key.client_id == id);
    let claims = keys
        .find_map(|key| verify(key, assertion))
        .filter(|_| shared.config.client(id).is_some())
        .ok_or(refused("client_assertion is not signed with a key of this client"))?;
    if text(&claims, "iss") != Some(id) {
        return Err(refused("iss of client_assertion is not the client"));
    }
    let token_endpoint = shared.url(shared.traits().token, shared.home_tenant());
    if !is_for(&claims, &[&shared.issuer, &token_endpoint]) {
        return Err(refused("aud of client_assertion is not this provider"));
    }
    let expires_at = check_times(&claims)?;
    let jti = text(&claims, "jti").ok_or(refused("jti of client_assertion is missing"))?;
    let is_first =
        shared.state().grants.use_assertion(&format!("{id} {jti}"), expires_at, now_secs());
    if is_first { Ok(id.into()) } else { Err(refused("client_assertion was used before")) }
}

/// Checks a client secret that is a JWT signed by the client, as Apple requires.
fn check_signed_secret(shared: &Shared, key: &ClientKey, secret: &str) -> Result<(), TokenError> {
    let claims = verify(key, secret).ok_or(refused("client_secret is not signed with the key"))?;
    if text(&claims, "iss") != Some(key.team_id.as_deref().unwrap_or(&key.client_id)) {
        return Err(refused("iss of client_secret is not the team"));
    }
    if text(&claims, "sub") != Some(&key.client_id) {
        return Err(refused("sub of client_secret is not the client"));
    }
    if !is_for(&claims, &[APPLE, &shared.issuer]) {
        return Err(refused("aud of client_secret is not this provider"));
    }
    if check_times(&claims)? > now_secs() + SECRET_LIFE_SECS {
        return Err(refused("exp of client_secret is more than six months away"));
    }
    Ok(())
}

/// Checks the times of a JWT, and returns when it expires.
fn check_times(claims: &Map<String, Value>) -> Result<i64, TokenError> {
    const SKEW_SECS: i64 = 60;
    let now = now_secs();
    let seconds = |name: &str| claims.get(name).and_then(Value::as_i64);
    if ["iat", "nbf"].into_iter().filter_map(seconds).any(|time| time > now + SKEW_SECS) {
        return Err(refused("the JWT was issued in the future"));
    }
    match seconds("exp") {
        None => Err(refused("exp of the JWT is missing")),
        Some(exp) if exp <= now => {
            Err(TokenError::new(Refusal::ExpiredClient, "the JWT has expired"))
        }
        Some(exp) => Ok(exp),
    }
}

/// The claims of a JWT that this key signed.
fn verify(key: &ClientKey, jwt: &str) -> Option<Map<String, Value>> {
    let (message, signature) = jwt.rsplit_once('.')?;
    let header = part(message.split('.').next()?)?;
    let names_key = key.kid.is_none() || text(&header, "kid") == key.kid.as_deref();
    if text(&header, "alg") != Some(key.alg.name()) || !names_key {
        return None;
    }
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
    key.verifier().ok()?.verify(message.as_bytes(), &signature).ok()?;
    claims_of(jwt)
}

fn claims_of(jwt: &str) -> Option<Map<String, Value>> {
    let parts: Vec<_> = jwt.split('.').collect();
    if parts.len() == 3 { part(parts[1]) } else { None }
}

fn part(segment: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(segment).ok()?).ok()
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

fn is_for(claims: &Map<String, Value>, audiences: &[&str]) -> bool {
    let is_ours = |value: &Value| value.as_str().is_some_and(|aud| audiences.contains(&aud));
    match claims.get("aud") {
        Some(Value::Array(several)) => several.iter().any(is_ours),
        Some(one) => is_ours(one),
        None => false,
    }
}

/// The credentials of an `Authorization: Basic` header; both parts are form-encoded in it
/// (RFC 6749 §2.3.1).
fn basic(value: &str) -> Option<Credentials> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let secret = form_decode(secret);
    Some(Credentials { id: form_decode(id), secret: (!secret.is_empty()).then_some(secret) })
}

fn form_decode(text: &str) -> String {
    // Parsed as a single value: an `&` in it must be encoded.
    let parsed = Params::parse(format!("v={text}").as_bytes());
    parsed.find("v").unwrap_or_default().into()
}
