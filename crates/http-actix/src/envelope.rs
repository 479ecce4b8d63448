//! The middleware that every request passes through: it gives the request an id and a span, enforces
//! limits and CORS, catches panics, gives errors their shape, counts the request and logs it.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::uri::PathAndQuery;
use actix_web::http::{ConnectionType, Method, StatusCode, Uri};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse};
use futures_util::FutureExt;
use mintgate_domain::model::{ProviderId, SessionId, UserId};
use mintgate_domain::ports::{Entropy, VerifiedAccess};
use mintgate_domain::{ErrorCode, IssuedTokens, Origin};
use tracing::{Instrument as _, Span};

use crate::accept::accepts_answer;
use crate::client::{caller_address, client_info, network_of};
use crate::client_address::StatedCaller;
use crate::connections::Link;
use crate::current::{CurrentState, State};
use crate::error::{ApiError, HttpErrorCode};
use crate::metrics::method_label;
use crate::origin::OriginPolicy;
use crate::refusals::Refusal;
use crate::stopping::Phase;
use crate::trace::{Trace, record_answer, request_span, spans_are_wanted};
use crate::{AppState, RequestId, gateway, pages};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The fields that a handler adds to the log line of its request.
#[derive(Debug, Default)]
pub(crate) struct LogFields {
    pub(crate) provider: Option<ProviderId>,
    pub(crate) user: Option<UserId>,
    pub(crate) session: Option<SessionId>,
    /// The id of the back end that has authenticated, or has signed for whom it asks.
    pub(crate) client: Option<String>,
}

type SharedLogFields = Rc<RefCell<LogFields>>;

impl LogFields {
    pub(crate) fn update(request: &HttpRequest, change: impl FnOnce(&mut Self)) {
        if let Some(fields) = request.extensions().get::<SharedLogFields>() {
            change(&mut fields.borrow_mut());
        }
    }

    /// Adds the provider, the user and the session of issued tokens.
    pub(crate) fn of_tokens(&mut self, tokens: &IssuedTokens) {
        self.provider = Some(tokens.provider.clone());
        self.user = Some(tokens.user);
        self.session = Some(tokens.session);
    }

    /// Adds the provider, the user and the session of a caller whose access token was accepted.
    pub(crate) fn of_caller(&mut self, caller: &VerifiedAccess) {
        self.provider = Some(caller.provider.clone());
        self.user = Some(caller.subject);
        self.session = Some(caller.session);
    }
}

/// The parts of a request that the envelope needs after its handler has answered.
struct Call {
    id: RequestId,
    method: Method,
    origin: Option<HeaderValue>,
    /// The id of the trace that is recorded; where none is, of the caller's.
    trace_id: Option<Arc<str>>,
    /// The id of the caller's trace, if it is another.
    caller_trace_id: Option<Arc<str>>,
    /// The caller's address, as far as it can be believed.
    address: Option<IpAddr>,
    /// What the audit log is to know of where the request came from.
    origin_of_work: Option<Arc<Origin>>,
    started: Duration,
    log: SharedLogFields,
    span: Span,
    link: Option<Rc<Link>>,
}

/// The outermost middleware of the public listener.
pub(crate) async fn envelope<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<Data<CurrentState>>().map(|current| current.load()) else {
        return Err(actix_web::error::ErrorInternalServerError("no state"));
    };
    request.extensions_mut().insert(State(Arc::clone(&state)));
    let stated = state.stated_caller(request.headers());
    if let Ok(Some(caller)) = &stated {
        request.extensions_mut().insert(caller.clone());
    }
    let call = Call::begin(&mut request, &state);
    remove_prefix(&mut request, &state.path_prefix);
    let is_question = gateway::is_question(request.path());
    if let Some(link) = call.link.as_ref().filter(|_| is_question) {
        link.leave_body(request.headers());
    }

    let unrouted = if header_bytes(request.headers()) > state.limits.max_header_bytes {
        let refusal = if is_question {
            gateway::too_large(&state)
        } else {
            ApiError::new(HttpErrorCode::HeadersTooLarge)
        };
        Some((Route::Label("refused"), HttpResponse::from_error(refusal)))
    } else if is_question {
        None
    } else if OriginPolicy::is_preflight(request.method(), request.headers()) {
        Some((Route::Label("preflight"), state.origins.preflight(request.headers())))
    } else if let Err(refusal) = stated {
        Some((Route::Label("refused"), HttpResponse::from_error(refusal)))
    } else if !accepts_answer(request.path(), request.headers()) {
        let refusal = ApiError::new(HttpErrorCode::NotAcceptable);
        Some((Route::Label("refused"), HttpResponse::from_error(refusal)))
    } else {
        None
    };
    if let Some((route, answer)) = unrouted {
        return Ok(request.into_response(call.shape(&state, route, answer)));
    }

    // A clone of the request that is held across the call would break routing. So after a panic the
    // answer is returned as an error that carries it.
    let handling = Origin::scope(call.origin_of_work.clone(), next.call(request));
    let handling = handling.instrument(call.span.clone());
    match AssertUnwindSafe(handling).catch_unwind().await {
        Ok(Ok(response)) => {
            let route = response.request().match_pattern();
            let (request, response) = response.map_into_boxed_body().into_parts();
            let response = call.shape(&state, Route::of(route.as_deref()), response);
            Ok(ServiceResponse::new(request, response))
        }
        Ok(Err(error)) => {
            let response = HttpResponse::from_error(error);
            Err(carrying(call.shape(&state, Route::of(None), response)))
        }
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            let error = ApiError::new(ErrorCode::InternalError)
                .because(format!("panic: {}", text.unwrap_or("(no text)")));
            let response = error.render(&call.id, state.ports.clock.now());
            Err(carrying(call.finish(&state, Route::Label("panicked"), response, Some(&error))))
        }
    }
}

/// Refuses a request whose head cannot be read: the whole answer as it is sent. `since` is when the
/// head was expected.
pub(crate) fn refuse_unread(
    state: &AppState,
    refusal: ApiError,
    since: Duration,
    peer: Option<SocketAddr>,
) -> Vec<u8> {
    let call = Call::unread(state, since, peer.map(|peer| peer.ip().to_canonical()));
    let answer = HttpResponse::from_error(refusal);
    let answer = call.shape(state, Route::Label("unreadable"), answer);
    let status = answer.status();
    let mut bytes = format!("HTTP/1.1 {status}\r\nconnection: close\r\n").into_bytes();
    let headers = answer.headers().clone();
    // The body of a refusal is in memory.
    let body = answer.into_body().try_into_bytes().unwrap_or_default();
    for (name, value) in &headers {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
    bytes.extend(body);
    bytes
}

/// Removes the path of the public URL, if the request has it, so that routes are without it.
fn remove_prefix(request: &mut ServiceRequest, prefix: &str) {
    let target = request.uri().path_and_query().map(PathAndQuery::as_str);
    let rest = target.and_then(|target| target.strip_prefix(prefix)).filter(|_| !prefix.is_empty());
    let Some(rest) = rest.filter(|rest| rest.starts_with('/')) else { return };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(rest).ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
}

/// The label under which a request is logged and counted.
#[derive(Clone, Copy)]
enum Route<'a> {
    /// The pattern of the route that answered.
    Pattern(&'a str),
    /// Why no route answered.
    Label(&'static str),
}

impl<'a> Route<'a> {
    fn of(pattern: Option<&'a str>) -> Self {
        pattern.map_or(Self::Label("unmatched"), Self::Pattern)
    }

    fn label(self) -> &'a str {
        match self {
            Self::Pattern(text) | Self::Label(text) => text,
        }
    }

    fn pattern(self) -> Option<&'a str> {
        match self {
            Self::Pattern(pattern) => Some(pattern),
            Self::Label(_) => None,
        }
    }
}

/// An error that is answered with `response`.
fn carrying(response: HttpResponse) -> Error {
    InternalError::from_response("answered", response).into()
}

impl Call {
    fn begin(request: &mut ServiceRequest, state: &AppState) -> Self {
        let id = request_id(request.headers(), &*state.ports.entropy);
        let trace = Trace::of(request, &state.trusted_callers);
        let entropy = &*state.ports.entropy;
        let address = caller_address(request.request(), &state.trusted_proxies);
        let origin = origin_of(request, &id, address, || trace.new_id(entropy));
        let own = origin.as_ref().and_then(|origin| origin.trace_id.clone());
        let own = own.or_else(|| spans_are_wanted().then(|| trace.new_id(entropy)));
        let span = request_span(request, &id, &trace, own.as_deref());
        let callers = trace.callers_id().map(Arc::from);
        let trace_id = if span.is_disabled() { callers.clone() } else { own };
        let caller_trace_id = callers.filter(|id| Some(id) != trace_id.as_ref());
        let client = request.extensions().get::<StatedCaller>().map(|it| it.client.clone());
        let log = SharedLogFields::new(LogFields { client, ..LogFields::default() }.into());
        request.extensions_mut().insert(Rc::clone(&log));
        let link = request.conn_data::<Rc<Link>>().cloned();
        if let Some(link) = &link {
            link.begin_request(request.headers());
        }
        Self {
            id,
            method: request.method().clone(),
            origin: request.headers().get(header::ORIGIN).cloned(),
            trace_id,
            caller_trace_id,
            address,
            origin_of_work: origin,
            started: state.ports.clock.monotonic(),
            log,
            span,
            link,
        }
    }

    /// A request of which nothing could be read, whose head began at this time.
    fn unread(state: &AppState, started: Duration, address: Option<IpAddr>) -> Self {
        Self {
            id: RequestId::new(&*state.ports.entropy),
            method: Method::from_bytes(b"-").unwrap_or_default(),
            origin: None,
            trace_id: None,
            caller_trace_id: None,
            address,
            origin_of_work: None,
            started,
            log: SharedLogFields::default(),
            span: Span::none(),
            link: None,
        }
    }

    /// Gives an error the shape that all errors have, then finishes.
    fn shape(&self, state: &AppState, route: Route<'_>, response: HttpResponse) -> HttpResponse {
        let shaped = with_refusal(&response, |error| {
            let answer = error.render(&self.id, state.ports.clock.now());
            self.finish(state, route, answer, Some(error))
        });
        shaped.unwrap_or_else(|| self.finish(state, route, response, None))
    }

    /// Adds the headers that all answers have, counts the request and logs it.
    fn finish(
        &self,
        state: &AppState,
        route: Route<'_>,
        mut response: HttpResponse,
        error: Option<&ApiError>,
    ) -> HttpResponse {
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(self.id.as_str()) {
            headers.insert(X_REQUEST_ID, id);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        state.origins.permit(self.origin.as_ref(), headers);
        let now = state.ports.clock.monotonic();
        if let Some(link) = &self.link {
            let is_last = state.ports.stopping.has_begun(Phase::Drains);
            if link.end_request(now, is_last) {
                response.head_mut().set_connection_type(ConnectionType::Close);
            }
        }
        let took = now.saturating_sub(self.started);
        let (method, status) = (method_label(&self.method), response.status());
        state.ports.metrics.http_request(route.label(), method, status.as_str(), took);
        let error_code = error.map(|error| error.kind().code());
        record_answer(&self.span, &self.method, route.pattern(), status, error_code);
        self.log_line(route.label(), status, took, error);
        if let Some(error) = error {
            state.refusals.keep(self.refusal(state, route.label(), status, error));
        }
        response
    }

    /// What operators see of a refusal.
    fn refusal(
        &self,
        state: &AppState,
        route: &str,
        status: StatusCode,
        error: &ApiError,
    ) -> Refusal {
        let client = self.origin_of_work.as_ref().map(|origin| origin.client.clone());
        let user_agent = client.and_then(|client| client.user_agent);
        Refusal {
            at: state.ports.clock.now().into(),
            method: method_label(&self.method).to_owned(),
            route: route.to_owned(),
            status: status.as_u16(),
            error_code: error.kind().code(),
            reason: error.reason().map(|reason| reason.to_string()),
            request_id: self.id.as_str().to_owned(),
            provider: self.log.borrow().provider.as_ref().map(|it| it.as_str().to_owned()),
            network: self.address.map(network_of),
            user_agent,
        }
    }

    fn log_line(&self, route: &str, status: StatusCode, took: Duration, error: Option<&ApiError>) {
        let fields = self.log.borrow();
        let provider = fields.provider.as_ref().map(tracing::field::display);
        let user = fields.user.as_ref().map(tracing::field::display);
        let session = fields.session.as_ref().map(tracing::field::display);
        let client = fields.client.as_deref();
        let error_code = error.map(|e| e.kind().code());
        let reason = error.and_then(ApiError::reason).map(tracing::field::display);
        let network = self.address.map(network_of);
        // To the microsecond.
        let duration_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    target: "mintgate::request", parent: &self.span, $level,
                    request_id = self.id.as_str(), trace_id = self.trace_id.as_deref(),
                    caller_trace_id = self.caller_trace_id.as_deref(),
                    method = self.method.as_str(), route, status = status.as_u16(), duration_ms,
                    network, provider, user, session, client, error_code, reason, "request"
                )
            };
        }
        if error.map_or(status, |error| error.kind().status()).is_server_error() {
            line!(tracing::Level::ERROR);
        } else if error.is_some_and(ApiError::is_alarming) {
            line!(tracing::Level::WARN);
        } else {
            line!(tracing::Level::INFO);
        }
    }
}

/// Calls `shape` with the refusal that an answer stands for, whoever made it; `None` if it is no refusal.
pub(crate) fn with_refusal<T>(
    response: &HttpResponse,
    shape: impl FnOnce(&ApiError) -> T,
) -> Option<T> {
    let status = response.status();
    match response.error() {
        Some(error) => Some(match error.as_error::<ApiError>() {
            Some(ours) => shape(ours),
            None => shape(&ApiError::of_framework(status, error.to_string())),
        }),
        None if status.is_client_error() || status.is_server_error() => {
            Some(shape(&ApiError::of_framework(status, "no reason given")))
        }
        None => None,
    }
}

/// What the audit log is to know of where a request came from; `None` for one that changes nothing.
pub(crate) fn origin_of(
    request: &ServiceRequest,
    id: &RequestId,
    address: Option<IpAddr>,
    trace_id: impl FnOnce() -> Arc<str>,
) -> Option<Arc<Origin>> {
    let is_link = pages::is_for_browsers(request.path());
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) && !is_link {
        return None;
    }
    Some(Arc::new(Origin {
        request_id: Some(Arc::clone(&id.0)),
        trace_id: Some(trace_id()),
        client: client_info(request.request(), address),
    }))
}

/// The id of a request: the caller's, if it has the proper shape, or a new one.
pub(crate) fn request_id(headers: &HeaderMap, entropy: &(dyn Entropy + 'static)) -> RequestId {
    let given = headers.get(&X_REQUEST_ID).and_then(|id| id.to_str().ok());
    let given = given.filter(|id| is_request_id(id));
    given.map_or_else(|| RequestId::new(entropy), |id| RequestId(Arc::from(id)))
}

/// Whether a request id that the caller chose is taken over: 8 to 64 of `[A-Za-z0-9_-]`.
fn is_request_id(text: &str) -> bool {
    (8..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Refuses a request that brings one of our cookies twice, and clears the variants of it that the browser
/// may hold: one of them somebody has planted, and nothing tells which.
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
            .clearing(state.ports.cookies.clearing_planted(name, request.path()))),
    }
}

#[cfg(test)]
mod tests {

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
}
