//! The root span of a request, named by OpenTelemetry's conventions for HTTP servers.
//!
//! All spans of this program are of the level DEBUG. Where no subscriber wants them, which is the
//! default, a span allocates nothing and its fields are not even computed.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::http::{Method, StatusCode};
use mintgate_domain::ports::Entropy;
use tracing::Span;
use tracing::field::Empty;

use crate::RequestId;

const TRACEPARENT_HEADER: HeaderName = HeaderName::from_static("traceparent");

/// The caller's position in its own trace (W3C Trace Context §3.2).
pub(crate) struct TraceParent<'a> {
    pub(crate) trace_id: &'a str,
    span_id: Option<&'a str>,
}

impl<'a> TraceParent<'a> {
    /// Reads a `traceparent` header (W3C Trace Context §3.2); `None` if it is missing or malformed.
    pub(crate) fn of(headers: &'a HeaderMap) -> Option<Self> {
        let mut parts = headers.get(&TRACEPARENT_HEADER)?.to_str().ok()?.split('-');
        let (_version, trace_id) = (parts.next()?, parts.next()?);
        let is_id = |text: &str, length| {
            text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let span_id = parts.next().filter(|id| is_id(id, 16));
        is_id(trace_id, 32).then_some(Self { trace_id, span_id })
    }
}

/// Begins the root span of a request. It belongs to a trace of our own: anybody can send a
/// `traceparent`, so the caller's trace is only linked. `own` is our id of the trace, if it has one already.
pub(crate) fn request_span(
    request: &ServiceRequest,
    id: &RequestId,
    caller: Option<&TraceParent<'_>>,
    own: Option<&str>,
    entropy: &(dyn Entropy + 'static),
) -> Span {
    tracing::debug_span!(
        parent: None,
        "request",
        otel.kind = "server",
        otel.name = Empty,
        request_id = id.as_str(),
        trace_id = own.map_or_else(|| new_trace_id(entropy), str::to_owned),
        link.trace_id = caller.map(|caller| caller.trace_id),
        link.span_id = caller.and_then(|caller| caller.span_id),
        http.request.method = method(request.method()),
        url.path = request.path(),
        http.route = Empty,
        http.response.status_code = Empty,
        "error.type" = Empty,
    )
}

/// The id of a trace that begins here.
pub(crate) fn new_trace_id(entropy: &(dyn Entropy + 'static)) -> String {
    format!("{:032x}", u128::from_be_bytes(entropy.bytes()))
}

/// Adds to a request's span how it was answered. `route` is the pattern of the route, if one matched.
pub(crate) fn record_answer(
    span: &Span,
    method_sent: &Method,
    route: Option<&str>,
    status: StatusCode,
    error_code: Option<&str>,
) {
    if span.is_disabled() {
        return;
    }
    let method = method(method_sent);
    match route {
        Some(route) => span.record("otel.name", format!("{method} {route}")),
        None => span.record("otel.name", method),
    };
    span.record("http.route", route);
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("error.type", error_code);
    }
}

/// The method, or `_OTHER` for a word that HTTP does not define.
fn method(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::DELETE
        | Method::CONNECT
        | Method::OPTIONS
        | Method::TRACE
        | Method::PATCH => method.as_str(),
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;
    use std::sync::{Arc, Mutex};

    use actix_web::test::TestRequest;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    /// Keeps the fields of the one span there is, by name, if it wants spans.
    #[derive(Clone, Default)]
    struct Recorder {
        wants_spans: bool,
        fields: Arc<Mutex<BTreeMap<String, String>>>,
    }

    impl Visit for Recorder {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.fields.lock().unwrap().insert(field.name().to_owned(), format!("{value:?}"));
        }

        fn record_str(&mut self, field: &Field, value: &str) {
            self.fields.lock().unwrap().insert(field.name().to_owned(), value.to_owned());
        }
    }

    impl Subscriber for Recorder {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            self.wants_spans
        }

        fn new_span(&self, span: &Attributes<'_>) -> Id {
            assert!(span.is_root());
            span.record(&mut self.clone());
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, values: &Record<'_>) {
            values.record(&mut self.clone());
        }

        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    /// Gives zeros, and counts how often it is asked.
    struct Zeros(Arc<Mutex<u32>>);

    impl Entropy for Zeros {
        fn fill(&self, buffer: &mut [u8]) {
            *self.0.lock().unwrap() += 1;
            buffer.fill(0);
        }
    }

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn span(entropy: &Zeros) -> Span {
        let request = TestRequest::post()
            .uri("/api/v1/auth/token?x=1")
            .insert_header(("traceparent", TRACEPARENT))
            .to_srv_request();
        let caller = TraceParent::of(request.headers());
        request_span(&request, &RequestId("request-1".into()), caller.as_ref(), None, entropy)
    }

    #[test]
    fn a_request_is_a_root_span_that_links_to_the_callers_trace() {
        let recorder = Recorder { wants_spans: true, ..Recorder::default() };
        tracing::subscriber::with_default(recorder.clone(), || {
            let span = span(&Zeros(Arc::default()));
            let (route, status) = ("/api/v1/auth/token", StatusCode::SERVICE_UNAVAILABLE);
            record_answer(&span, &Method::POST, Some(route), status, Some("STORE_UNAVAILABLE"));
        });
        let fields = recorder.fields.lock().unwrap();
        let expected = [
            ("error.type", "STORE_UNAVAILABLE"),
            ("http.request.method", "POST"),
            ("http.response.status_code", "503"),
            ("http.route", "/api/v1/auth/token"),
            ("link.span_id", "00f067aa0ba902b7"),
            ("link.trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
            ("otel.kind", "server"),
            ("otel.name", "POST /api/v1/auth/token"),
            ("request_id", "request-1"),
            ("trace_id", "00000000000000000000000000000000"),
            ("url.path", "/api/v1/auth/token"),
        ];
        let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_span_that_nobody_wants_is_not_made() {
        let drawn = Arc::default();
        tracing::subscriber::with_default(Recorder::default(), || {
            assert!(span(&Zeros(Arc::clone(&drawn))).is_disabled());
        });
        assert_eq!(*drawn.lock().unwrap(), 0, "no trace id was drawn");
    }

    #[test]
    fn a_trace_id_is_taken_from_a_well_formed_traceparent() {
        let trace_id = |value: &'static str| {
            let request = TestRequest::default().insert_header(("traceparent", value));
            let request = request.to_http_request();
            TraceParent::of(request.headers()).map(|parent| parent.trace_id.to_owned())
        };
        assert_eq!(trace_id(TRACEPARENT).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(trace_id("00-xyz-00f067aa0ba902b7-01"), None);
    }
}
