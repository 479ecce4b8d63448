//! The userinfo endpoint (OIDC Core §5.3).

use actix_web::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use crate::ambient::now_secs;
use crate::answer::{answer, json};
use crate::faults::merge;
use crate::id_token::user_claims;
use crate::state::{Endpoint, Shared};

pub(crate) async fn userinfo(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    answer(shared, Endpoint::Userinfo, |shared| {
        let state = shared.state();
        let user =
            bearer(&request).and_then(|access_token| state.find_user_of(access_token, now_secs()));
        let Some(user) = user else {
            return HttpResponse::Unauthorized()
                .insert_header((WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""))
                .finish();
        };
        let mut claims = user_claims(&shared.config.user(user));
        merge(&mut claims, &state.faults.userinfo_merge);
        json(HttpResponse::Ok(), &claims)
    })
    .await
}

fn bearer(request: &HttpRequest) -> Option<&str> {
    let (scheme, token) = request.headers().get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}
