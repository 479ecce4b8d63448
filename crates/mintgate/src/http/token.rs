//! `POST /api/v1/auth/token`: a code or an ID token in, a session out.

use std::sync::Arc;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::TokenRequest;

use super::body::read_json;
use super::client::client_info;
use super::envelope::LogFields;
use super::error::ApiError;
use super::sign_in::SignInBody;
use super::{AppState, background, envelope, idempotency, issued};

/// Issues tokens for a sign-in. The login that it finishes, if it was begun here, is over with it.
pub(super) async fn issue(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    state.origins.guard(request.headers())?;
    envelope::refuse_duplicate_cookies(&request, &state)?;
    let body = read_json(&request, payload, state.request_timeout).await?;
    let idempotency = idempotency::key(request.headers(), &body)?;
    let body = SignInBody::parse(&body)?;
    let delivery = body.delivery();
    let sign_in = body.into_sign_in(state.logins.begun(request.headers()))?;
    let over = state.logins.over(&sign_in);
    let client = client_info(&request, &state.trusted_proxies);
    let sign_in = TokenRequest { sign_in, delivery, client, idempotency };

    let known = state.parts.issue.provider_id(&sign_in);
    LogFields::update(&request, |fields| fields.provider = known);
    let issue = Arc::clone(&state.parts.issue);
    let issued = match idempotency {
        None => {
            let issuing = async move { issue.issue(sign_in).await };
            background::run(&state.parts.runtime, issuing).await
        }
        Some(asked) => {
            let turn = state.turns.wait(asked.key, state.request_timeout).await?;
            // To its end, so that a client that went away finds its session when it asks again.
            let issuing = async move {
                let issued = issue.issue(sign_in).await;
                drop(turn);
                issued
            };
            background::run_detached(&state.parts.runtime, issuing).await
        }
    };
    let tokens = match issued {
        Ok(tokens) => tokens,
        Err(error) => return Err(over.refused(error.into())),
    };
    LogFields::update(&request, |fields| fields.of_tokens(&tokens));
    let answer = issued::answer("Tokens generated successfully.", &tokens);
    // Who may have to ask again has to show the login again; it counts once all the same.
    Ok(if idempotency.is_some() { answer } else { over.answered(answer) })
}
