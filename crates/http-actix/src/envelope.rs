//! What every request goes through: id, limits, CORS, panics, the error shape, the log line, the counters.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse};
use futures_util::FutureExt;
use mintgate_domain::model::{ProviderId, SessionId, UserId};
use mintgate_domain::ports::VerifiedAccess;
use mintgate_domain::{ErrorCode, IssuedTokens};

use crate::error::{ApiError, HttpErrorCode};
use crate::metrics::method_label;
use crate::origin::OriginPolicy;
use crate::{AppState, RequestId};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a handler adds to its request's log line.
#[derive(Debug, Default)]
pub(crate) struct LogFields {
    pub(crate) provider: Option<ProviderId>,
    pub(crate) user: Option<UserId>,
    pub(crate) session: Option<SessionId>,
}

type SharedLogFields = Rc<RefCell<LogFields>>;

impl LogFields {
    pub(crate) fn update(request: &HttpRequest, change: impl FnOnce(&mut Self)) {
        if let Some(fields) = request.extensions().get::<SharedLogFields>() {
            change(&mut fields.borrow_mut());
        }
    }

    /// Tokens were handed out.
    pub(crate) fn of_tokens(&mut self, tokens: &IssuedTokens) {
        self.provider = Some(tokens.provider.clone());
        self.user = Some(tokens.user);
        self.session = Some(tokens.session);
    }

    /// Somebody showed an access token that is accepted.
    pub(crate) fn of_caller(&mut self, caller: &VerifiedAccess) {
        self.provider = Some(caller.provider.clone());
        self.user = Some(caller.subject);
        self.session = Some(caller.session);
    }
}

/// What is kept of a request while its handler has it.
struct Call {
    id: RequestId,
    method: Method,
    origin: Option<HeaderValue>,
    trace_id: Option<String>,
    started: Duration,
    log: SharedLogFields,
}

/// The outermost middleware of the public listener.
pub(crate) async fn envelope<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<Data<AppState>>().cloned().map(Data::into_inner) else {
        return Err(actix_web::error::ErrorInternalServerError("no state"));
    };
    let call = Call::begin(&mut request, &state);

    let _place = match admit(&request, &state) {
        Admission::Entered(place) => place,
        Admission::Preflight => {
            let answer = state.origins.preflight(request.headers());
            return Ok(request.into_response(call.shape(&state, Some("preflight"), answer)));
        }
        Admission::Refused(kind) => {
            let answer = HttpResponse::from_error(ApiError::new(kind));
            return Ok(request.into_response(call.shape(&state, Some("refused"), answer)));
        }
    };

    // A clone of the request held across the call would break routing, so after a panic
    // the answer travels as an error that carries it.
    match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(Ok(response)) => {
            let route = response.request().match_pattern();
            let (request, response) = response.map_into_boxed_body().into_parts();
            let response = call.shape(&state, route.as_deref(), response);
            Ok(ServiceResponse::new(request, response))
        }
        Ok(Err(error)) => {
            let response = HttpResponse::from_error(error);
            Err(carrying(call.shape(&state, None, response)))
        }
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            let error = ApiError::new(ErrorCode::InternalError)
                .because(format!("panic: {}", text.unwrap_or("(no text)")));
            let response = error.render(&call.id, state.ports.clock.now());
            Err(carrying(call.finish(&state, "panicked", response, Some(&error))))
        }
    }
}

fn carrying(response: HttpResponse) -> Error {
    InternalError::from_response("answered", response).into()
}

/// What becomes of a request at the door.
enum Admission {
    Entered(crate::InFlight),
    Preflight,
    Refused(HttpErrorCode),
}

fn admit(request: &ServiceRequest, state: &Arc<AppState>) -> Admission {
    if header_bytes(request.headers()) > state.max_header_bytes {
        Admission::Refused(HttpErrorCode::HeadersTooLarge)
    } else if OriginPolicy::is_preflight(request.method(), request.headers()) {
        Admission::Preflight
    } else if !accepts_json(request.headers()) {
        Admission::Refused(HttpErrorCode::NotAcceptable)
    } else {
        state.enter().map_or(Admission::Refused(HttpErrorCode::Overloaded), Admission::Entered)
    }
}

impl Call {
    fn begin(request: &mut ServiceRequest, state: &AppState) -> Self {
        let given = request.headers().get(&X_REQUEST_ID).and_then(|id| id.to_str().ok());
        let id = given.filter(|id| is_request_id(id)).map_or_else(
            || format!("{:032x}", u128::from_be_bytes(state.ports.entropy.bytes())).into(),
            Arc::from,
        );
        let log = SharedLogFields::default();
        request.extensions_mut().insert(Rc::clone(&log));
        Self {
            id: RequestId(id),
            method: request.method().clone(),
            origin: request.headers().get(header::ORIGIN).cloned(),
            trace_id: trace_id(request.headers()),
            started: state.ports.clock.monotonic(),
            log,
        }
    }

    /// Gives a refusal its body, then finishes.
    fn shape(&self, state: &AppState, route: Option<&str>, response: HttpResponse) -> HttpResponse {
        let route = route.unwrap_or("unmatched");
        let status = response.status();
        let foreign;
        let error = match response.error() {
            Some(error) => {
                if let Some(ours) = error.as_error::<ApiError>() {
                    ours
                } else {
                    foreign = ApiError::of_framework(status, error.to_string());
                    &foreign
                }
            }
            None if status.is_client_error() || status.is_server_error() => {
                foreign = ApiError::of_framework(status, "no reason given");
                &foreign
            }
            None => return self.finish(state, route, response, None),
        };
        self.finish(state, route, error.render(&self.id, state.ports.clock.now()), Some(error))
    }

    /// Adds the headers every answer has, counts it, and writes its log line.
    fn finish(
        &self,
        state: &AppState,
        route: &str,
        mut response: HttpResponse,
        error: Option<&ApiError>,
    ) -> HttpResponse {
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(self.id.as_str()) {
            headers.insert(X_REQUEST_ID, id);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        state.origins.permit(self.origin.as_ref(), headers);
        let took = state.ports.clock.monotonic().saturating_sub(self.started);
        let (method, status) = (method_label(&self.method), response.status());
        state.ports.metrics.http_request(route, method, status.as_str(), took);
        self.log_line(route, response.status(), took, error);
        response
    }

    fn log_line(&self, route: &str, status: StatusCode, took: Duration, error: Option<&ApiError>) {
        let fields = self.log.borrow();
        let provider = fields.provider.as_ref().map(tracing::field::display);
        let user = fields.user.as_ref().map(tracing::field::display);
        let session = fields.session.as_ref().map(tracing::field::display);
        let error_code = error.map(|e| e.kind().code());
        let reason = error.and_then(ApiError::cause).map(tracing::field::display);
        // To the microsecond.
        let duration_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    target: "mintgate::request", $level,
                    request_id = self.id.as_str(), trace_id = self.trace_id,
                    method = self.method.as_str(), route, status = status.as_u16(), duration_ms,
                    provider, user, session, error_code, reason, "request"
                )
            };
        }
        if status.is_server_error() {
            line!(tracing::Level::ERROR);
        } else if error.is_some_and(ApiError::is_alarming) {
            line!(tracing::Level::WARN);
        } else {
            line!(tracing::Level::INFO);
        }
    }
}

/// 8 to 64 of `[A-Za-z0-9_-]`: what we take over from a caller.
fn is_request_id(text: &str) -> bool {
    (8..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// The trace id of a W3C `traceparent` header.
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let mut parts = headers.get("traceparent")?.to_str().ok()?.split('-');
    let (_version, trace) = (parts.next()?, parts.next()?);
    let is_hex = trace.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (trace.len() == 32 && is_hex).then(|| trace.to_owned())
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Whether an `Accept` header, if there is one, leaves room for JSON (RFC 9110 §12.5.1).
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::ACCEPT).peekable();
    if values.peek().is_none() {
        return true;
    }
    let mut best = (0, false);
    for range in values.filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let mime = parts.next().unwrap_or_default().to_ascii_lowercase();
        let specificity = match mime.as_str() {
            "application/json" => 3,
            "application/*" => 2,
            "*/*" => 1,
            _ => continue,
        };
        let refused = parts.any(|p| {
            let weight = p.strip_prefix("q=").or_else(|| p.strip_prefix("Q="));
            weight.is_some_and(|q| q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0))
        });
        if specificity > best.0 {
            best = (specificity, !refused);
        }
    }
    best.1
}

/// Refuses a request that brings one of our cookies twice, and clears every variant of both.
///
/// # Errors
/// `DUPLICATE_COOKIE`
pub(crate) fn refuse_duplicate_cookies(
    request: &HttpRequest,
    state: &AppState,
) -> Result<(), ApiError> {
    match state.ports.cookies.duplicate(request.headers()) {
        None => Ok(()),
        Some(name) => Err(ApiError::new(HttpErrorCode::DuplicateCookie)
            .because(format!("cookie {name} came twice"))
            .clearing(state.ports.cookies.clearing_all_variants())),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_request_id_is_taken_over_only_in_its_proper_shape() {
        assert!(is_request_id("abcdEF12-_"));
        assert!(is_request_id(&"a".repeat(64)));
        for bad in ["short12", "has space", "semi;colon", "ünïcödé1"] {
            assert!(!is_request_id(bad), "{bad}");
        }
        assert!(!is_request_id(&"a".repeat(65)));
    }

    #[test]
    fn accept_is_read_by_its_most_specific_range() {
        let accepts = |value: &'static str| {
            accepts_json(
                TestRequest::default().insert_header(("accept", value)).to_http_request().headers(),
            )
        };
        for yes in [
            "*/*",
            "application/json",
            "text/html, */*;q=0.1",
            "application/*",
            "Application/JSON;q=0.5",
        ] {
            assert!(accepts(yes), "{yes}");
        }
        for no in ["text/html", "application/json;q=0, */*", "image/*", "application/xml"] {
            assert!(!accepts(no), "{no}");
        }
        assert!(accepts_json(TestRequest::default().to_http_request().headers()));
    }

    #[test]
    fn a_trace_id_is_taken_from_a_well_formed_traceparent() {
        let trace = |value: &'static str| {
            trace_id(
                TestRequest::default()
                    .insert_header(("traceparent", value))
                    .to_http_request()
                    .headers(),
            )
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace(good).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(trace("00-xyz-00f067aa0ba902b7-01"), None);
    }
}
