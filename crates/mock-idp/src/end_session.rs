//! The endpoint where people sign out (OIDC RP-Initiated Logout §2).

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use crate::page;
use crate::params::Params;
use crate::shared::Shared;

/// `GET /end-session`: the request, from the browser. Where it may go afterwards are the redirect URIs of
/// the client, character for character (as with Keycloak's `+`).
pub(crate) async fn sign_out(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    let params = Params::parse(request.query_string().as_bytes());
    if params.find_repeated().is_some() {
        return page::problem("A parameter occurs more than once.");
    }
    let Some(client) = params.find("client_id").and_then(|id| shared.config.client(id)) else {
        return page::problem("There is no such client_id.");
    };
    let Some(uri) = params.find("post_logout_redirect_uri") else { return page::signed_out() };
    if !client.redirect_uris.iter().any(|registered| registered == uri) {
        return page::problem("This post_logout_redirect_uri is not registered for this client.");
    }
    let mut location = uri.to_owned();
    if let Some(state) = params.find("state") {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("state", state);
        location.push(if uri.contains('?') { '&' } else { '?' });
        location.push_str(&query.finish());
    }
    HttpResponse::SeeOther()
        .insert_header((LOCATION, location))
        .insert_header((CACHE_CONTROL, "no-store"))
        .finish()
}
