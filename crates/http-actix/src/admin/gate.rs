//! What every request of the admin API passes through: the name it is called by, the token, the size,
//! the shape of errors, and the log line.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse};
use futures_util::FutureExt as _;
use mintgate_domain::{AdminToken, ErrorCode, Origin, TokenHash};

use super::AdminApi;
use crate::body::MAX_BODY_BYTES;
use crate::client::{caller_address, client_info};
use crate::envelope::{X_REQUEST_ID, request_id, with_refusal};
use crate::error::{ApiError, HttpErrorCode};
use crate::trace::new_trace_id;

/// The middleware around the admin API.
pub(super) async fn gate<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(api) = request.app_data::<Data<AdminApi>>().cloned() else {
        return Err(actix_web::error::ErrorInternalServerError("no admin API"));
    };
    let id = request_id(request.headers(), &*api.entropy);
    let (method, path) = (request.method().clone(), request.path().to_owned());
    let admitted = api.admit(&request).cloned();
    let client = client_info(request.request(), caller_address(request.request(), &[]));
    let network = client.ip_prefix.clone();
    let finish = |response: HttpResponse, name: Option<&str>| {
        let shaped = with_refusal(&response, |error| {
            let reason = error.reason().map(|reason| reason.to_string());
            (error.render(&id, api.clock.now()), Some(error.kind().code()), reason)
        });
        let (mut response, error_code, reason) = shaped.unwrap_or((response, None, None));
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(id.as_str()) {
            headers.insert(X_REQUEST_ID, id);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let (status, method) = (response.status().as_u16(), method.as_str());
        let request_id = id.as_str();
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    target: "mintgate::admin", $level, request_id, token = name, method, path, status,
                    network, error_code, reason, "admin request"
                )
            };
        }
        if name.is_some() && status < 500 {
            line!(tracing::Level::INFO);
        } else {
            line!(tracing::Level::WARN);
        }
        response
    };
    let token = match admitted {
        Ok(token) => token,
        Err(refusal) => {
            let response = finish(HttpResponse::from_error(refusal), None);
            return Ok(request.into_response(response));
        }
    };
    let name = token.name.clone();
    request.extensions_mut().insert(token);
    // Of those that look too: that everything about somebody was shown is noted.
    let origin = Origin {
        request_id: Some(id.as_str().into()),
        trace_id: Some(new_trace_id(&*api.entropy).into()),
        client,
    };
    // A clone of the request that is held across the call would break routing.
    match AssertUnwindSafe(Origin::scope(Some(Arc::new(origin)), next.call(request)))
        .catch_unwind()
        .await
    {
        Ok(Ok(response)) => {
            let (request, response) = response.map_into_boxed_body().into_parts();
            Ok(ServiceResponse::new(request, finish(response, Some(&name))))
        }
        Ok(Err(error)) => {
            let response = finish(HttpResponse::from_error(error), Some(&name));
            Err(InternalError::from_response("answered", response).into())
        }
        Err(_) => {
            let panicked = ApiError::new(ErrorCode::InternalError).because("panic");
            let response = finish(HttpResponse::from_error(panicked), Some(&name));
            Err(InternalError::from_response("answered", response).into())
        }
    }
}

impl AdminApi {
    /// Whose token it is that lets the request in.
    fn admit(&self, request: &ServiceRequest) -> Result<&AdminToken, ApiError> {
        let headers = request.headers();
        if !self.is_called_by_its_own_name(request.request()) {
            let reason = "the request is for a host that is neither an address nor localhost nor in \
                admin.hosts";
            return Err(ApiError::new(HttpErrorCode::CsrfRejected).because(reason));
        }
        let refused =
            |refusal| self.public.load().refused_admin_token(request.peer_addr(), refusal);
        let token = self.token(headers, refused)?;
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if !reads && !token.may_write {
            let reason = format!("the token {} has the scope read", token.name);
            return Err(ApiError::new(ErrorCode::AccessDenied).because(reason));
        }
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        if length.and_then(|length| length.parse().ok()).is_some_and(|n: usize| n > MAX_BODY_BYTES)
        {
            return Err(ApiError::new(HttpErrorCode::PayloadTooLarge));
        }
        Ok(token)
    }

    /// Whether the request is for a host that nobody else can make lead here (DNS rebinding).
    pub(crate) fn is_called_by_its_own_name(&self, request: &HttpRequest) -> bool {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let named = [host, request.uri().host()];
        host.is_some() && named.into_iter().flatten().all(|host| answers_to(host, &self.hosts))
    }

    /// Compares with every token, each in constant time. A token that is none of them counts as `wrong`.
    fn token(
        &self,
        headers: &HeaderMap,
        wrong: impl FnOnce(ApiError) -> ApiError,
    ) -> Result<&AdminToken, ApiError> {
        let refused = || ApiError::new(ErrorCode::InvalidAccessToken);
        let mut values = headers.get_all(header::AUTHORIZATION);
        let (Some(value), None) = (values.next(), values.next()) else { return Err(refused()) };
        let value = value.to_str().map_err(|_| refused())?;
        let (scheme, text) = value.split_once(' ').ok_or_else(refused)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(refused());
        }
        let hash = TokenHash::of(text.trim());
        let mut found = None;
        for token in &self.tokens {
            if token.hash.same_in_constant_time(&hash) {
                found = Some(token);
            }
        }
        found.ok_or_else(|| {
            wrong(refused().because("no token of admin.tokens").about_access_token())
        })
    }
}

/// Whether a `Host` is one that nobody else can make lead here: an IP address, `localhost`, or a
/// configured name.
fn answers_to(host: &str, configured: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None if host.parse::<IpAddr>().is_ok() => host,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || configured.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_lead_here_for_certain_are_answered_to() {
        let hosts = vec!["ops.example.internal".to_owned()];
        for host in [
            "127.0.0.1:9464",
            "10.0.0.5",
            "[::1]:9464",
            "[fd00::7]",
            "localhost",
            "LOCALHOST:9464",
            "app.localhost:1",
            "ops.example.internal:9464",
            "OPS.example.internal.",
        ] {
            assert!(answers_to(host, &hosts), "{host}");
        }
        for host in [
            "",
            "evil.example:9464",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "notlocalhost",
            "a.ops.example.internal",
            "evil.example:127.0.0.1",
            "[evil.example]",
            "[",
            "127.0.0.1@evil.example",
        ] {
            assert!(!answers_to(host, &hosts), "{host}");
        }
    }
}
