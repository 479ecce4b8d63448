//! The userinfo endpoint (OIDC Core §5.3), and access to the other APIs of the dialects.

use actix_web::http::header::{AUTHORIZATION, USER_AGENT, WWW_AUTHENTICATE};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;

use crate::ambient::now_secs;
use crate::answer::{answer, json};
use crate::dialect::reshape;
use crate::faults::merge;
use crate::id_token::user_claims;
use crate::shared::Shared;
use crate::state::Endpoint;
use crate::{Habit, SignIn};

pub(crate) async fn userinfo(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    answer(shared, Endpoint::Userinfo, |shared| {
        let sign_in = match authorize(shared, &request) {
            Ok(sign_in) => sign_in,
            Err(refusal) => return *refusal,
        };
        if let (Some(ours), Some(given)) = (shared.traits().userinfo_resource, &sign_in.resource)
            && given != ours
        {
            let problem = format!(
                "Bearer error=\"invalid_token\", error_description=\"MSIS9921: Received invalid \
                 UserInfo request. Audience '{given}' in the access token is not same as the \
                 identifier of the UserInfo relying party trust '{ours}'.\""
            );
            return HttpResponse::Unauthorized()
                .insert_header((WWW_AUTHENTICATE, problem))
                .finish();
        }
        let user = shared.config.user(&sign_in.user);
        let subject = shared.subject(&user, &sign_in);
        let mut claims = if let Some(Value::Object(profile)) = (shared.traits().profile)(&subject) {
            profile
        } else {
            let mut claims = user_claims(&user);
            reshape(&mut claims, &(shared.traits().user)(&subject));
            claims
        };
        let (keys, is_signed) = {
            let state = shared.state();
            state.habits().user(&mut claims);
            merge(&mut claims, &state.faults.userinfo_merge);
            (state.keys.clone(), state.habits().has(Habit::SignedUserinfo))
        };
        if is_signed {
            let mut signed = claims;
            signed.entry("iss").or_insert_with(|| shared.issuer.as_str().into());
            signed.entry("aud").or_insert_with(|| sign_in.client_id.as_str().into());
            let recipe = shared.state().faults.userinfo_token.clone().unwrap_or_default();
            let jwt = shared.sign_as_it_is(signed, &recipe, &keys, &sign_in.client_id);
            return HttpResponse::Ok().content_type("application/jwt").body(jwt);
        }
        shared.state().habits().media_type(json(HttpResponse::Ok(), &claims))
    })
    .await
}

/// The sign-in of the access token in a request, or the answer that refuses the request.
pub(crate) fn authorize(
    shared: &Shared,
    request: &HttpRequest,
) -> Result<SignIn, Box<HttpResponse>> {
    let traits = shared.traits();
    if traits.needs_user_agent && !request.headers().contains_key(USER_AGENT) {
        let problem = "Request forbidden by administrative rules. Please make sure your request \
                       has a User-Agent header.";
        return Err(Box::new(HttpResponse::Forbidden().content_type("text/plain").body(problem)));
    }
    let state = shared.state();
    let sign_in = bearer(request).and_then(|token| state.find_access(token, now_secs()));
    sign_in.cloned().ok_or_else(|| {
        let mut refusal = HttpResponse::Unauthorized();
        refusal.insert_header((WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""));
        Box::new(if traits.unauthorized.is_empty() {
            refusal.finish()
        } else {
            refusal.content_type("application/json").body(traits.unauthorized)
        })
    })
}

fn bearer(request: &HttpRequest) -> Option<&str> {
    let (scheme, token) = request.headers().get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}
