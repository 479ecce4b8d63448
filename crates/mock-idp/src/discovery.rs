//! The discovery document (OpenID Connect Discovery §3) and the key set (RFC 7517 §5).

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::{Map, Value, json};

use crate::answer::answer;
use crate::faults::merge;
use crate::state::{Endpoint, Shared};

pub(crate) async fn discovery(shared: Data<Shared>) -> HttpResponse {
    answer(shared, Endpoint::Discovery, |shared| {
        let mut document = document(shared);
        merge(&mut document, &shared.state().faults.discovery_merge);
        HttpResponse::Ok().json(document)
    })
    .await
}

pub(crate) async fn jwks(shared: Data<Shared>) -> HttpResponse {
    answer(shared, Endpoint::Jwks, |shared| {
        let state = shared.state();
        if let Some(document) = &state.faults.jwks_replace {
            return HttpResponse::Ok().json(document);
        }
        let mut key = state.keys.current.public_jwk.clone();
        merge(&mut key, &state.faults.jwks_merge);
        let mut keys = vec![Value::Object(key)];
        keys.extend(state.faults.jwks_extra.iter().cloned());
        HttpResponse::Ok().json(json!({ "keys": keys }))
    })
    .await
}

fn document(shared: &Shared) -> Map<String, Value> {
    let document = json!({
        "issuer": shared.issuer,
        "authorization_endpoint": shared.url("/authorize"),
        "token_endpoint": shared.url("/token"),
        "userinfo_endpoint": shared.url("/userinfo"),
        "jwks_uri": shared.url("/jwks"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [shared.config.id_token_alg.name()],
        "token_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post", "none"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["openid", "profile", "email", "groups"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr",
            "at_hash", "name", "preferred_username", "email", "email_verified", "groups"],
        "prompt_values_supported": ["none", "login"],
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "authorization_response_iss_parameter_supported": true,
    });
    document.as_object().cloned().unwrap_or_default()
}
