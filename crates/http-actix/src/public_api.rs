//! The routes of the public listener, and the document about them.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::ErrorCode;
use serde_json::{Value, json};

use crate::config::HttpConfig;
use crate::current::State;
use crate::error::HttpErrorCode;
use crate::metadata::{Metadata, path_of};
use crate::openapi::{Api, Endpoint, Operation};
use crate::{
    AppState, backchannel, gateway, identities, introspection, jwks, login, logout, not_found,
    pages, provider_token, refresh, revocations, sessions, token,
};

/// The path of the page.
pub(crate) const DOCS: &str = "/api/docs";

/// Adds the routes of the public listener.
pub(crate) fn routes(state: &AppState, config: &mut ServiceConfig) {
    for endpoint in endpoints(&state.metadata) {
        endpoint.register(config);
    }
    config.default_service(web::to(not_found));
}

fn endpoints(metadata: &Metadata) -> Vec<Endpoint> {
    let at = |path: &str| Endpoint::at(path);
    let auth = |path: &str| Endpoint::at(format!("/api/v1/auth/{path}"));
    let mut all = vec![
        auth("login").post(login::begin, login::begin_operation),
        auth("providers").get(login::providers, login::providers_operation),
        auth("start/{provider}").get(pages::start, pages::start_operation),
        auth("callback/{provider}")
            .get(pages::called_back, pages::callback_operation)
            .post(pages::posted_back, pages::posted_callback_operation),
        auth("initiate/{provider}")
            .get(pages::initiate, pages::initiate_operation)
            .post(pages::posted_initiate, pages::posted_initiate_operation),
        auth("refresh/return").get(pages::refresh_and_return, pages::refresh_return_operation),
        auth("pages/post-again.js").get(pages::script, pages::script_operation),
        auth("pages/hosted.css").get(pages::show_style, pages::style_operation),
        auth("pages/own.css").get(pages::show_own_style, pages::own_style_operation),
        auth("pages/logo").get(pages::show_logo, pages::logo_operation),
        auth("refresh/sign-out").post(pages::sign_out, pages::sign_out_operation),
        at("/login").get(pages::login, pages::login_operation),
        at("/account").get(pages::account, pages::account_operation),
        at("/account/{action}").post(pages::act, pages::act_operation),
        auth("token").post(token::issue, token::operation),
        auth("refresh").post(refresh::refresh, refresh::operation),
        auth("logout").post(logout::log_out, logout::log_out_operation),
        // Below the path of the refresh cookie, which a browser does not send to `/logout`.
        auth("refresh/logout").post(logout::log_out, logout::log_out_by_refresh_cookie_operation),
        auth("logout-all").post(logout::log_out_everywhere, logout::log_out_everywhere_operation),
        auth("me").get(sessions::me, sessions::me_operation),
        auth("sessions").get(sessions::list, sessions::list_operation),
        auth("sessions/{sid}").delete(sessions::end, sessions::end_operation),
        auth("identities")
            .get(identities::list, identities::list_operation)
            .post(identities::link, identities::link_operation),
        auth("identities/{id}").delete(identities::unlink, identities::unlink_operation),
        auth("provider-token").post(provider_token::show, provider_token::operation),
        auth(revocations::PATH).get(revocations::show, revocations::operation),
        auth("backchannel-logout/{provider}").post(backchannel::log_out, backchannel::operation),
        at(introspection::INTROSPECT)
            .post(introspection::introspect, introspection::introspect_operation),
        at(introspection::REVOKE).post(introspection::revoke, introspection::revoke_operation),
        at(jwks::PATH).get(jwks::show, jwks::operation),
        at(DOCS).get(show_page, page_operation),
        at("/api/openapi.json").get(show_document, document_operation),
    ];
    all.extend(gateway::endpoints());
    all.extend(metadata.endpoints());
    all
}

fn document_operation() -> Operation {
    Operation::of_document("showOpenapi")
}

fn page_operation() -> Operation {
    Operation::new("Documentation", "showDocs", "Read this document as a page")
        .answers_as(StatusCode::OK, "The page.", &["text/html"], &json!({ "type": "string" }))
        .can_be_cached()
}

async fn show_page(request: HttpRequest, state: State) -> HttpResponse {
    state.docs.answer(&request)
}

async fn show_document(request: HttpRequest, state: State) -> HttpResponse {
    state.openapi.answer(&request)
}

/// The document about the routes, with the names and addresses of a configuration.
pub(crate) fn document(metadata: &Metadata, config: &HttpConfig) -> Value {
    let url = &config.public_url;
    let cookie = |name: &str, description: &str| json!({ "type": "apiKey", "in": "cookie", "name": name, "description": description });
    let api = Api {
        title: "Mintgate",
        description: DESCRIPTION,
        path_prefix: "",
        server: &format!("{}{}", url.origin().ascii_serialization(), path_of(url)),
        security_schemes: json!({
            "accessToken": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "An access token, from `/api/v1/auth/token` or `/api/v1/auth/refresh`.",
            },
            "accessCookie": cookie(&config.cookies.access_name, "The same token in the browser's cookie."),
            "refreshCookie": cookie(&config.cookies.refresh_name, "The refresh token in the browser's cookie."),
            "client": {
                "type": "http", "scheme": "basic",
                "description": "The `id` and the secret of an entry of `[[clients]]`.",
            },
        }),
        common,
    };
    api.document(&endpoints(metadata))
}

const DESCRIPTION: &str = "\
Turns a sign-in at an identity provider into a session, and keeps it alive until it ends.

Every path that answers GET answers HEAD as well. Another method is refused with 405, `METHOD_NOT_ALLOWED` and \
`Allow`; another path with 404 and `NOT_FOUND`. A browser's preflight (CORS) is answered with 204.

A server that asks for somebody else may say so in the header `X-Auth-Client-Address`, signed; if it is not as it must be, the \
request is refused with 400 and `INVALID_REQUEST`.";

/// Adds why the envelope refuses, whatever the request is.
fn common(_: &Method, operation: Operation) -> Operation {
    operation
        .refuses([ErrorCode::InternalError, ErrorCode::InvalidRequest])
        .refuses([HttpErrorCode::HeadersTooLarge, HttpErrorCode::NotAcceptable])
}
