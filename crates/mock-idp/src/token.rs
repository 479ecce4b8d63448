//! The token endpoint: a code in, tokens out (RFC 6749 §4.1.3, OIDC Core §3.1.3).

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::ambient::now_secs;
use crate::answer::{answer, json as json_answer};
use crate::faults::merge;
use crate::id_token;
use crate::params::Params;
use crate::state::{ACCESS_LIFE_SECS, Endpoint, Redeemed, Shared};

/// An error answer (RFC 6749 §5.2): its code and description.
type TokenError = (&'static str, &'static str);

/// A client's own account of who it is.
struct Credentials {
    id: String,
    secret: Option<String>,
}

pub(crate) async fn token(shared: Data<Shared>, request: HttpRequest, body: Bytes) -> HttpResponse {
    answer(shared, Endpoint::Token, |shared| match exchange(shared, request.headers(), &body) {
        Ok(tokens) => json_answer(HttpResponse::Ok(), &tokens),
        Err(error) => refusal(error),
    })
    .await
}

fn exchange(
    shared: &Shared,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Map<String, Value>, TokenError> {
    let form = form(headers, body)?;
    let client_id = authenticate(shared, headers, &form)?;
    match form.find("grant_type") {
        Some("authorization_code") => {}
        Some(_) => return Err(("unsupported_grant_type", "only authorization_code is")),
        None => return Err(("invalid_request", "grant_type is missing")),
    }
    let code = form.find("code").ok_or(("invalid_request", "code is missing"))?;
    let redeemed = redeem(shared, &form, code, &client_id);
    let mut state = shared.state();
    if redeemed.is_err() {
        state.stats.refused_codes += 1;
    }
    let redeemed = redeemed?;
    state.stats.exchanges += 1;
    let access_token = state.issue_access_token(&redeemed.sign_in.user, code, now_secs());
    drop(state);
    Ok(success(shared, &redeemed, &access_token))
}

/// Uses the code up, and then holds the rest of the request against what it is bound to: whoever
/// has the code and not the rest gets one try.
fn redeem(
    shared: &Shared,
    form: &Params,
    code: &str,
    client_id: &str,
) -> Result<Redeemed, TokenError> {
    let redeemed = shared
        .state()
        .redeem(code, client_id, now_secs())
        .map_err(|refusal| ("invalid_grant", refusal.description()))?;
    if form.find("redirect_uri") != Some(&redeemed.sign_in.redirect_uri) {
        return Err(("invalid_grant", "redirect_uri is not the authorization request's"));
    }
    match (&redeemed.sign_in.code_challenge, form.find("code_verifier")) {
        (None, None) => Ok(redeemed),
        (Some(_), None) => Err(("invalid_grant", "code_verifier is missing")),
        (None, Some(_)) => Err(("invalid_grant", "there was no code_challenge for this verifier")),
        (Some(challenge), Some(verifier)) => {
            let hash = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
            if hash == *challenge {
                Ok(redeemed)
            } else {
                Err(("invalid_grant", "code_verifier does not fit code_challenge"))
            }
        }
    }
}

fn success(shared: &Shared, redeemed: &Redeemed, access_token: &str) -> Map<String, Value> {
    let sign_in = &redeemed.sign_in;
    let (keys, recipe, changes) = {
        let state = shared.state();
        let faults = &state.faults;
        (
            state.keys.clone(),
            faults.id_token.clone().unwrap_or_default(),
            faults.token_merge.clone(),
        )
    };
    let mut tokens = Map::new();
    tokens.insert("access_token".into(), access_token.into());
    tokens.insert("token_type".into(), "Bearer".into());
    tokens.insert("expires_in".into(), ACCESS_LIFE_SECS.into());
    tokens.insert("scope".into(), sign_in.scope.as_str().into());
    if sign_in.scope.split(' ').any(|scope| scope == "openid") {
        let user = shared.config.user(&sign_in.user);
        let mut claims = id_token::claims(&shared.issuer, sign_in, &user, now_secs());
        claims.insert("auth_time".into(), redeemed.auth_time.into());
        claims.insert("at_hash".into(), id_token::at_hash(keys.alg, access_token).into());
        let secret = shared.secret_of(&sign_in.client_id);
        let id_token = id_token::make(claims, &recipe, &keys, secret);
        tokens.insert("id_token".into(), id_token.into());
    }
    merge(&mut tokens, &changes);
    tokens
}

fn form(headers: &HeaderMap, body: &[u8]) -> Result<Params, TokenError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !content_type.is_some_and(|it| it.starts_with("application/x-www-form-urlencoded")) {
        return Err(("invalid_request", "the body is not application/x-www-form-urlencoded"));
    }
    let form = Params::parse(body);
    match form.find_repeated() {
        Some(_) => Err(("invalid_request", "a parameter comes more than once")),
        None => Ok(form),
    }
}

/// Who the client is (RFC 6749 §2.3): by Basic, in the body, or a public one by name alone.
fn authenticate(shared: &Shared, headers: &HeaderMap, form: &Params) -> Result<String, TokenError> {
    const INVALID: TokenError = ("invalid_client", "unknown client, or a wrong secret");
    let credentials = match headers.get(AUTHORIZATION) {
        Some(value) => {
            if form.find("client_secret").is_some() {
                return Err(("invalid_request", "two ways of client authentication at once"));
            }
            value.to_str().ok().and_then(basic).ok_or(INVALID)?
        }
        None => Credentials {
            id: form.find("client_id").ok_or(INVALID)?.into(),
            secret: form.find("client_secret").map(Into::into),
        },
    };
    if form.find("client_id").is_some_and(|id| id != credentials.id) {
        return Err(("invalid_request", "client_id is not the authenticated client"));
    }
    let client = shared.config.client(&credentials.id).ok_or(INVALID)?;
    if client.secret == credentials.secret { Ok(credentials.id) } else { Err(INVALID) }
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
    // As a lone value; a stray `&` in it would have to be encoded.
    let parsed = Params::parse(format!("v={text}").as_bytes());
    parsed.find("v").unwrap_or_default().into()
}

fn refusal((error, description): TokenError) -> HttpResponse {
    let (status, challenge) = match error {
        "invalid_client" => (StatusCode::UNAUTHORIZED, Some("Basic realm=\"mock\"")),
        _ => (StatusCode::BAD_REQUEST, None),
    };
    let mut builder = HttpResponse::build(status);
    if let Some(challenge) = challenge {
        builder.insert_header((WWW_AUTHENTICATE, challenge));
    }
    json_answer(builder, &json!({ "error": error, "error_description": description }))
}
