//! The token endpoint: a code or a refresh token in, tokens out (RFC 6749 §4.1.3, §6, OIDC Core
//! §3.1.3, §12).

use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::ambient::{now_secs, random_text};
use crate::answer::answer;
use crate::client_auth::authenticate;
use crate::dialect::{RefreshWhen, reshape};
use crate::faults::merge;
use crate::grants::{Grant, GrantRefusal};
use crate::id_token::{self, LIFE_SECS};
use crate::params::Params;
use crate::refusal::{self, TokenError};
use crate::shared::Shared;
use crate::state::{ACCESS_LIFE_SECS, CodeRefusal, Endpoint, Redeemed};
use crate::{Habit, IdTokenRecipe, Refusal, SignIn};

pub(crate) async fn token(shared: Data<Shared>, request: HttpRequest, body: Bytes) -> HttpResponse {
    answer(shared, Endpoint::Token, |shared| {
        let headers = request.headers();
        match exchange(shared, headers, &body) {
            Ok(tokens) => {
                let state = shared.state();
                if state.habits().has(Habit::FormAnswer) {
                    return form_answer(&tokens);
                }
                let answer = (shared.traits().encode)(HttpResponse::Ok(), headers, &tokens);
                state.habits().media_type(answer)
            }
            Err(error) => refusal::answer(shared, headers, error),
        }
    })
    .await
}

fn exchange(
    shared: &Shared,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Map<String, Value>, TokenError> {
    let ordered = shared.state().faults.refusal;
    if let Some(refusal) = ordered {
        return Err(TokenError::new(refusal, "ordered"));
    }
    let form = form(headers, body)?;
    let client_id = authenticate(shared, headers, &form)?;
    match form.find("grant_type") {
        Some("authorization_code") => by_code(shared, &form, &client_id),
        // GitHub's documentation has no such parameter.
        None if shared.traits().bare_oauth2 => by_code(shared, &form, &client_id),
        Some("refresh_token") if shared.traits().refresh.when != RefreshWhen::Never => {
            by_refresh_token(shared, &form, &client_id)
        }
        Some(_) => Err(TokenError::new(Refusal::GrantType, "only authorization_code is")),
        None => Err(TokenError::new(Refusal::Request, "grant_type is missing")),
    }
}

fn by_code(
    shared: &Shared,
    form: &Params,
    client_id: &str,
) -> Result<Map<String, Value>, TokenError> {
    let code = form.find("code").ok_or(TokenError::new(Refusal::Request, "code is missing"))?;
    let redeemed = redeem(shared, form, code, client_id);
    let mut state = shared.state();
    if redeemed.is_err() {
        state.stats.refused_codes += 1;
    }
    let redeemed = redeemed?;
    state.stats.exchanges += 1;
    let grant =
        Grant { sign_in: redeemed.sign_in, auth_time: redeemed.auth_time, code: code.into() };
    let refresh_token =
        shared.traits().refresh.is_due(&grant.sign_in).then(|| state.grants.issue(grant.clone()));
    drop(state);
    Ok(success(shared, &grant, refresh_token))
}

/// Uses the code up, and then holds the rest of the request against what it is bound to: whoever
/// has the code and not the rest gets one try.
fn redeem(
    shared: &Shared,
    form: &Params,
    code: &str,
    client_id: &str,
) -> Result<Redeemed, TokenError> {
    let mut state = shared.state();
    let redeemed = state.redeem(code, client_id, now_secs()).map_err(|refusal| {
        let reason = match refusal {
            CodeRefusal::Unknown | CodeRefusal::OtherClient => Refusal::Code,
            CodeRefusal::Expired => Refusal::ExpiredCode,
            CodeRefusal::Used => Refusal::UsedCode,
        };
        TokenError::new(reason, refusal.description())
    })?;
    let sign_in = &redeemed.sign_in;
    if state.grants.is_disabled(&sign_in.user) {
        return Err(TokenError::new(Refusal::DisabledUser, "the account is disabled"));
    }
    drop(state);
    let redirect_uri = form.find("redirect_uri");
    let may_be_missing = shared.traits().bare_oauth2 && redirect_uri.is_none();
    if !may_be_missing && redirect_uri != Some(&sign_in.redirect_uri) {
        let problem = "redirect_uri is not the authorization request's";
        return Err(TokenError::new(Refusal::RedirectUri, problem));
    }
    let wrong = |description| Err(TokenError::new(Refusal::Verifier, description));
    match (&sign_in.code_challenge, form.find("code_verifier")) {
        (None, None) => Ok(redeemed),
        (Some(_), None) => wrong("code_verifier is missing"),
        (None, Some(_)) => wrong("there was no code_challenge for this verifier"),
        (Some(challenge), Some(verifier)) => {
            let hash = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
            if hash == *challenge {
                Ok(redeemed)
            } else {
                wrong("code_verifier does not fit code_challenge")
            }
        }
    }
}

fn by_refresh_token(
    shared: &Shared,
    form: &Params,
    client_id: &str,
) -> Result<Map<String, Value>, TokenError> {
    let token = form
        .find("refresh_token")
        .ok_or(TokenError::new(Refusal::Request, "refresh_token is missing"))?;
    let mut state = shared.state();
    let reuse = shared.traits().refresh.reuse;
    let (mut grant, successor) =
        state.grants.redeem(token, client_id, reuse).map_err(|refusal| match refusal {
            GrantRefusal::Unknown => {
                TokenError::new(Refusal::RefreshToken, "no such refresh token")
            }
            GrantRefusal::Disabled => {
                TokenError::new(Refusal::DisabledUser, "the account is disabled")
            }
        })?;
    state.stats.refreshes += 1;
    drop(state);
    // OIDC Core §12.2: an ID token from a refresh should have no nonce.
    grant.sign_in.nonce = None;
    Ok(success(shared, &grant, successor))
}

fn success(shared: &Shared, grant: &Grant, refresh_token: Option<String>) -> Map<String, Value> {
    let sign_in = &grant.sign_in;
    let (recipe, changes) = {
        let state = shared.state();
        let faults = &state.faults;
        (faults.id_token.clone().unwrap_or_default(), faults.token_merge.clone())
    };
    let access_token = access_token(shared, sign_in);
    shared.state().issue_access_token(&access_token, sign_in, &grant.code, now_secs());
    let mut tokens = Map::new();
    if shared.traits().bare_oauth2 {
        tokens.insert("scope".into(), sign_in.scope.replace(' ', ",").into());
        tokens.insert("token_type".into(), "bearer".into());
    } else {
        tokens.insert("token_type".into(), "Bearer".into());
        tokens.insert("expires_in".into(), ACCESS_LIFE_SECS.into());
        tokens.insert("scope".into(), sign_in.scope.as_str().into());
        if sign_in.has_scope("openid") {
            let id_token = id_token(shared, grant, &recipe, &access_token);
            tokens.insert("id_token".into(), id_token.into());
        }
    }
    if let Some(refresh_token) = refresh_token {
        tokens.insert("refresh_token".into(), refresh_token.into());
    }
    tokens.insert("access_token".into(), access_token.into());
    shared.state().habits().tokens(&mut tokens);
    merge(&mut tokens, &changes);
    tokens
}

fn form_answer(tokens: &Map<String, Value>) -> HttpResponse {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(tokens.iter().map(|(name, value)| (name, text(value))));
    HttpResponse::Ok().content_type("application/x-www-form-urlencoded").body(form.finish())
}

fn id_token(shared: &Shared, grant: &Grant, recipe: &IdTokenRecipe, access_token: &str) -> String {
    let sign_in = &grant.sign_in;
    let keys = shared.state().keys.clone();
    let user = shared.config.user(&sign_in.user);
    let issuance = id_token::Issuance {
        now: now_secs(),
        auth_time: grant.auth_time,
        at_hash: Some(id_token::at_hash(keys.alg, access_token)),
    };
    let claims = id_token::claims(&shared.subject(&user, sign_in), &issuance);
    shared.sign(claims, recipe, &keys, &sign_in.client_id)
}

/// An access token: a JWT where the dialect's are, an opaque one elsewhere.
fn access_token(shared: &Shared, sign_in: &SignIn) -> String {
    let traits = shared.traits();
    let user = shared.config.user(&sign_in.user);
    let changes = (traits.access_token)(&shared.subject(&user, sign_in));
    if changes.is_null() {
        return format!("{}{}", traits.access_prefix, random_text::<32>());
    }
    let now = now_secs();
    let mut claims = Map::new();
    for (name, value) in [
        ("iss", Value::from(shared.issuer.as_str())),
        ("sub", user.sub.as_str().into()),
        ("client_id", sign_in.client_id.as_str().into()),
        ("scope", sign_in.scope.as_str().into()),
        ("iat", now.into()),
        ("exp", (now + LIFE_SECS).into()),
        ("jti", random_text::<16>().into()),
    ] {
        claims.insert(name.into(), value);
    }
    reshape(&mut claims, &changes);
    let keys = shared.state().keys.clone();
    shared.sign_as_it_is(claims, &IdTokenRecipe::default(), &keys, "")
}

fn form(headers: &HeaderMap, body: &[u8]) -> Result<Params, TokenError> {
    let malformed = |description| TokenError::new(Refusal::Request, description);
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !content_type.is_some_and(|it| it.starts_with("application/x-www-form-urlencoded")) {
        return Err(malformed("the body is not application/x-www-form-urlencoded"));
    }
    let form = Params::parse(body);
    match form.find_repeated() {
        Some(_) => Err(malformed("a parameter comes more than once")),
        None => Ok(form),
    }
}
