//! The discovery document (OpenID Connect Discovery §3) and the key set (RFC 7517 §5).

use actix_web::http::header::ACCEPT;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};

use crate::Habit;
use crate::answer::answer;
use crate::client_auth::{self, ClientAuth};
use crate::dialect::{RefreshWhen, reshape};
use crate::faults::merge;
use crate::shared::Shared;
use crate::state::Endpoint;

pub(crate) async fn discovery(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    answer(shared, Endpoint::Discovery, |shared| {
        let tenant = request.match_info().get("tenant").unwrap_or_default();
        let mut document = document(shared, tenant);
        let state = shared.state();
        state.habits().document(&mut document);
        merge(&mut document, &state.faults.discovery_merge);
        state.habits().media_type(HttpResponse::Ok().json(document))
    })
    .await
}

pub(crate) async fn jwks(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    answer(shared, Endpoint::Jwks, |shared| {
        const REGISTERED: &str = "application/jwk-set+json";
        let state = shared.state();
        let only_registered = state.habits().has(Habit::RegisteredJwksType);
        let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
        if only_registered && !accept.is_some_and(|accept| accept.contains(REGISTERED)) {
            return HttpResponse::NotAcceptable().finish();
        }
        if let Some(document) = &state.faults.jwks_replace {
            return HttpResponse::Ok().json(document);
        }
        let published = state.keys.published().map(|key| {
            let mut jwk = key.public_jwk.clone();
            reshape(&mut jwk, &(shared.traits().jwk)(shared));
            merge(&mut jwk, &state.faults.jwks_merge);
            Value::Object(jwk)
        });
        let mut keys: Vec<_> = published.collect();
        state.habits().keys(&mut keys, state.keys.alg);
        keys.extend(state.faults.jwks_extra.iter().cloned());
        let mut jwks = HttpResponse::Ok();
        if only_registered {
            jwks.content_type(REGISTERED);
        }
        state.habits().media_type(jwks.json(json!({ "keys": keys })))
    })
    .await
}

fn document(shared: &Shared, tenant: &str) -> Map<String, Value> {
    let traits = shared.traits();
    let url = |path| shared.url(path, tenant);
    let methods: Vec<_> =
        client_auth::accepted(shared).iter().map(|way| ClientAuth::name(*way)).collect();
    let grants: &[&str] = match traits.refresh.when {
        RefreshWhen::Never => &["authorization_code"],
        _ => &["authorization_code", "refresh_token"],
    };
    let mut document = Map::new();
    let changes = json!({
        "issuer": shared.issuer,
        "authorization_endpoint": url(traits.authorize),
        "token_endpoint": url(traits.token),
        "userinfo_endpoint": traits.userinfo.map(url),
        "end_session_endpoint": traits.end_session.map(url),
        "jwks_uri": traits.jwks.map(url),
        "response_types_supported": ["code"],
        "response_modes_supported": traits.response_modes,
        "grant_types_supported": grants,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [shared.config.id_token_alg.name()],
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported":
            if methods.contains(&"private_key_jwt") {
                json!(["RS256", "ES256", "EdDSA", "PS256"])
            } else {
                Value::Null
            },
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": traits.scopes,
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr",
            "at_hash", "name", "preferred_username", "email", "email_verified", "groups"],
        "prompt_values_supported": ["none", "login"],
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "authorization_response_iss_parameter_supported": shared.names_itself(),
        "backchannel_logout_supported": traits.backchannel_logout,
        "backchannel_logout_session_supported": traits.backchannel_logout,
    });
    reshape(&mut document, &changes);
    reshape(&mut document, &(traits.document)(shared, tenant));
    document
}
