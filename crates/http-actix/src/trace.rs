//! The root span of a request, named by OpenTelemetry's conventions for HTTP servers.
//!
//! All spans of this program are of the level DEBUG. Where no subscriber wants them, which is the
//! default, a span allocates nothing and its fields are not even computed.

use std::sync::Arc;

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::http::{Method, StatusCode};
use ipnet::IpNet;
use mintgate_domain::ports::Entropy;
use tracing::Span;
use tracing::field::Empty;

use crate::RequestId;

const TRACEPARENT_HEADER: HeaderName = HeaderName::from_static("traceparent");

/// The caller's position in its own trace (W3C Trace Context §3.2).
#[derive(Clone, Copy)]
pub(crate) struct TraceParent<'a> {
    pub(crate) trace_id: &'a str,
    span_id: Option<&'a str>,
    is_sampled: bool,
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
        let flags = parts.next().and_then(|flags| u8::from_str_radix(flags, 16).ok());
        let is_sampled = flags.is_some_and(|flags| flags & 1 == 1);
        is_id(trace_id, 32).then_some(Self { trace_id, span_id, is_sampled })
    }
}

/// The trace that a request belongs to. Anybody can send a `traceparent`, so the caller's trace is only
/// linked, unless the caller is trusted.
pub(crate) struct Trace<'a> {
    caller: Option<TraceParent<'a>>,
    is_continued: bool,
}

impl<'a> Trace<'a> {
    /// The trace of a request, of a peer that is trusted if it is in one of these networks.
    pub(crate) fn of(request: &'a ServiceRequest, trusted: &[IpNet]) -> Self {
        let caller = TraceParent::of(request.headers());
        let is_continued = caller.is_some_and(|caller| caller.span_id.is_some())
            && request.peer_addr().is_some_and(|peer| {
                let address = peer.ip().to_canonical();
                trusted.iter().any(|network| network.contains(&address))
            });
        Self { caller, is_continued }
    }

    /// The id of the trace here: a new one, or that of a trusted caller.
    pub(crate) fn new_id(&self, entropy: &(dyn Entropy + 'static)) -> Arc<str> {
        match self.caller.filter(|_| self.is_continued) {
            Some(caller) => caller.trace_id.into(),
            None => new_trace_id(entropy).into(),
        }
    }

    /// The id of the caller's trace.
    pub(crate) fn callers_id(&self) -> Option<&'a str> {
        self.caller.map(|caller| caller.trace_id)
    }
}

/// Whether anybody wants the spans of requests.
pub(crate) fn spans_are_wanted() -> bool {
    tracing::span_enabled!(tracing::Level::DEBUG)
}

/// Begins the root span of a request, which belongs to the trace with the id `own`.
pub(crate) fn request_span(
    request: &ServiceRequest,
    id: &RequestId,
    trace: &Trace<'_>,
    own: Option<&str>,
) -> Span {
    let linked = trace.caller.filter(|_| !trace.is_continued);
    let parent = trace.caller.filter(|_| trace.is_continued);
    tracing::debug_span!(
        parent: None,
        "request",
        otel.kind = "server",
        otel.name = Empty,
        request_id = id.as_str(),
        trace_id = own,
        link.trace_id = linked.map(|caller| caller.trace_id),
        link.span_id = linked.and_then(|caller| caller.span_id),
        parent.span_id = parent.and_then(|caller| caller.span_id),
        parent.sampled = parent.map(|caller| caller.is_sampled),
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

    /// Gives zeros.
    struct Zeros;

    impl Entropy for Zeros {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(0);
        }
    }

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn span(peer: &str) -> Span {
        let request = TestRequest::post()
            .uri("/api/v1/auth/token?x=1")
            .insert_header(("traceparent", TRACEPARENT))
            .peer_addr(peer.parse().unwrap())
            .to_srv_request();
        let trace = Trace::of(&request, &["10.0.0.0/8".parse().unwrap()]);
        let own = trace.new_id(&Zeros);
        request_span(&request, &RequestId("request-1".into()), &trace, Some(&*own))
    }

    fn recorded(peer: &str) -> Vec<(String, String)> {
        let recorder = Recorder { wants_spans: true, ..Recorder::default() };
        tracing::subscriber::with_default(recorder.clone(), || {
            assert!(spans_are_wanted());
            let span = span(peer);
            let (route, status) = ("/api/v1/auth/token", StatusCode::SERVICE_UNAVAILABLE);
            record_answer(&span, &Method::POST, Some(route), status, Some("STORE_UNAVAILABLE"));
        });
        let fields = recorder.fields.lock().unwrap();
        fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn expect(fields: &[(String, String)], expected: &[(&str, &str)]) {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_request_is_a_root_span_that_links_to_the_callers_trace() {
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
        expect(&recorded("203.0.113.9:1"), &expected);
    }

    #[test]
    fn the_trace_of_a_trusted_caller_goes_on() {
        let fields = recorded("[::ffff:10.0.0.9]:1");
        let of_the_trace: Vec<_> = fields
            .into_iter()
            .filter(|(name, _)| {
                name.contains("trace") || name.contains("parent") || name.contains("link")
            })
            .collect();
        let expected = [
            ("parent.sampled", "true"),
            ("parent.span_id", "00f067aa0ba902b7"),
            ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ];
        expect(&of_the_trace, &expected);
    }

    #[test]
    fn a_span_that_nobody_wants_is_not_made() {
        tracing::subscriber::with_default(Recorder::default(), || {
            assert!(!spans_are_wanted());
            assert!(span("10.0.0.9:1").is_disabled());
        });
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
