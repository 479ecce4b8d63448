//! What every request of the admin API passes through: the name it is called by, the token or the client
//! certificate, the size, the shape of errors, and the log line.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::ConnectionType;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse};
use futures_util::FutureExt as _;
use mintgate_domain::model::Actor;
use mintgate_domain::{AdminToken, ErrorCode, Origin, TokenHash};
use mintgate_tls::{ClientCertificate, Served};

use super::{AdminApi, Operator};
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
    let admitted = api.admit(&request);
    let client = client_info(request.request(), caller_address(request.request(), &[]));
    let network = client.ip_prefix.clone();
    let finish = |response: HttpResponse, operator: Option<&Operator>| {
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
        if error_code == Some("INVALID_ACCESS_TOKEN") {
            // Another certificate is shown on another connection alone.
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        let (status, method) = (response.status().as_u16(), method.as_str());
        let request_id = id.as_str();
        let (token, certificate) = match operator.map(|operator| &operator.actor) {
            Some(Actor::ClientCertificate(name)) => (None, Some(name.as_str())),
            Some(_) => (operator.map(|operator| operator.name.as_str()), None),
            None => (None, None),
        };
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    target: "mintgate::admin", $level, request_id, token, certificate, method, path,
                    status, network, error_code, reason, "admin request"
                )
            };
        }
        if operator.is_some() && status < 500 {
            line!(tracing::Level::INFO);
        } else {
            line!(tracing::Level::WARN);
        }
        response
    };
    let operator = match admitted {
        Ok(operator) => operator,
        Err(refusal) => {
            let response = finish(HttpResponse::from_error(refusal), None);
            return Ok(request.into_response(response));
        }
    };
    request.extensions_mut().insert(operator.clone());
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
            Ok(ServiceResponse::new(request, finish(response, Some(&operator))))
        }
        Ok(Err(error)) => {
            let response = finish(HttpResponse::from_error(error), Some(&operator));
            Err(InternalError::from_response("answered", response).into())
        }
        Err(_) => {
            let panicked = ApiError::new(ErrorCode::InternalError).because("panic");
            let response = finish(HttpResponse::from_error(panicked), Some(&operator));
            Err(InternalError::from_response("answered", response).into())
        }
    }
}

impl AdminApi {
    /// Whose request it is, if they may make it. A token is judged whatever the certificate, so that nobody acts
    /// under another name than the one that they give.
    fn admit(&self, request: &ServiceRequest) -> Result<Operator, ApiError> {
        let headers = request.headers();
        if !self.is_called_by_its_own_name(request.request()) {
            let reason = "the request is for a host that is neither an address nor localhost nor in \
                admin.hosts";
            return Err(ApiError::new(HttpErrorCode::CsrfRejected).because(reason));
        }
        let refused =
            |refusal| self.public.load().refused_admin_token(request.peer_addr(), refusal);
        let certificate = request.request().conn_data::<ShownCertificate>();
        let operator = match certificate.and_then(ShownCertificate::name) {
            Some(name) if !headers.contains_key(header::AUTHORIZATION) => {
                require_own_page(headers)?;
                let (name, may_write) = (name.to_owned(), self.certificates_may_write);
                Operator { actor: Actor::ClientCertificate(name.clone()), name, may_write }
            }
            _ => {
                let AdminToken { name, may_write, .. } = self.token(headers, refused)?.clone();
                Operator { actor: Actor::AdminToken(name.clone()), name, may_write }
            }
        };
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if !reads && !operator.may_write {
            let reason = format!("{} has the scope read", operator.actor);
            return Err(ApiError::new(ErrorCode::AccessDenied).because(reason));
        }
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        if length.and_then(|length| length.parse().ok()).is_some_and(|n: usize| n > MAX_BODY_BYTES)
        {
            return Err(ApiError::new(HttpErrorCode::PayloadTooLarge));
        }
        Ok(operator)
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

/// The certificate that a client has shown on its connection, and the listener's side, which may have changed
/// since.
pub(crate) struct ShownCertificate {
    pub(crate) client: ClientCertificate,
    pub(crate) served: Arc<Served>,
}

impl ShownCertificate {
    /// Whom it names, if it is still good.
    fn name(&self) -> Option<&str> {
        self.served.accepts(&self.client).then_some(&self.client.name)
    }
}

/// Refuses what a page of another origin has sent: unlike a token, browsers show a certificate with the requests
/// of any page.
fn require_own_page(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let is_own_site = text("sec-fetch-site").is_none_or(|it| matches!(it, "same-origin" | "none"));
    let host = text("host").unwrap_or_default();
    let is_own_origin = text("origin").is_none_or(|it| it.strip_prefix("https://") == Some(host));
    if is_own_site && is_own_origin {
        return Ok(());
    }
    let reason =
        "a page of another origin has sent the request, with the browser's client certificate";
    Err(ApiError::new(HttpErrorCode::CsrfRejected).because(reason))
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
    use actix_web::http::header::HeaderName;

    use super::*;

    #[test]
    fn a_certificate_counts_for_requests_of_the_own_page_and_of_programs_alone() {
        let judged = |sent: &[(&str, &str)]| {
            let sent = [("host", "10.0.0.5:9464")].iter().chain(sent).map(|(name, value)| {
                (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
            });
            require_own_page(&sent.collect()).is_ok()
        };
        for sent in [
            &[][..],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "same-origin"), ("origin", "https://10.0.0.5:9464")],
        ] {
            assert!(judged(sent), "{sent:?}");
        }
        for sent in [
            &[("sec-fetch-site", "same-site")][..],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "cross-site"), ("origin", "https://10.0.0.5:9464")],
            &[("sec-fetch-site", "")],
            &[("origin", "https://evil.example")],
            &[("origin", "http://10.0.0.5:9464")],
            &[("origin", "https://10.0.0.5:9464.evil.example")],
            &[("origin", "https://10.0.0.5:1")],
            &[("origin", "null")],
        ] {
            assert!(!judged(sent), "{sent:?}");
        }
    }

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
