//! Spans on their way to a collector.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::SecretText;
use mintgate_domain::model::Timestamp;
use mintgate_testkit::{Collector, ManualClock, Posted};
use mintgate_traces_otlp::{Options, Traces, dropped_spans, start};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;
use tokio::time::timeout;
use tracing::debug_span;
use tracing::field::Empty;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const ANOTHER: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn begin(collector: &Collector, sample_percent: u32, work: impl FnOnce()) -> Traces {
    let options = Options {
        endpoint: format!("http://{}/", collector.address).parse().unwrap(),
        authorization: Some(SecretText::new("Bearer collector")),
        sample_percent,
        service_name: "sign-in".to_owned(),
        service_version: "1.2.3",
    };
    let (layer, traces) =
        start::<Registry>(&options, Arc::new(ManualClock::at(Timestamp::from_unix(1_800_000_000))))
            .unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    traces
}

fn spans(posted: &[Posted]) -> Vec<Span> {
    let mut spans = vec![];
    for request in posted {
        let request = ExportTraceServiceRequest::decode(&*request.body).unwrap();
        for resource in request.resource_spans {
            spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    spans
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|half| char::from_digit(half.into(), 16).unwrap())
        .collect()
}

fn text<'a>(span: &'a Span, name: &str) -> Option<&'a str> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == name)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[tokio::test]
async fn a_span_arrives_with_its_trace_its_link_its_name_and_its_failure() {
    let collector = Collector::start(true).await;
    let traces = begin(&collector, 100, || {
        let request = debug_span!(
            target: "mintgate_http_actix", parent: None, "request",
            otel.kind = "server", otel.name = Empty, trace_id = TRACE, link.trace_id = ANOTHER,
            link.span_id = SPAN, url.path = "p".repeat(5000), "error.type" = Empty,
            http.response.status_code = Empty,
        );
        let _entered = request.enter();
        debug_span!(target: "mintgate_store", "statement", rows = 3_u64).in_scope(|| ());
        debug_span!(target: "hyper", "of another program").in_scope(|| ());
        request.record("otel.name", "POST /api/v1/auth/token");
        request.record("error.type", "STORE_UNAVAILABLE");
        request.record("http.response.status_code", 503);
    });
    traces.stop().await;
    let posted = collector.posted();
    assert!(posted[0].head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{}", posted[0].head);
    assert!(posted[0].head.contains("authorization: Bearer collector\r\n"), "{}", posted[0].head);
    let resource = String::from_utf8_lossy(&posted[0].body).into_owned();
    assert!(resource.contains("sign-in") && resource.contains("1.2.3"));

    let spans = spans(&posted);
    assert_eq!(spans.len(), 2, "{spans:?}");
    let request = spans.iter().find(|span| span.name == "POST /api/v1/auth/token").unwrap();
    assert_eq!(hex(&request.trace_id), TRACE);
    assert!(request.parent_span_id.is_empty());
    assert_eq!(request.kind(), SpanKind::Server);
    assert_eq!(hex(&request.links[0].trace_id), ANOTHER);
    assert_eq!(hex(&request.links[0].span_id), SPAN);
    let status = request.status.as_ref().unwrap();
    assert_eq!((status.code(), &*status.message), (StatusCode::Error, "STORE_UNAVAILABLE"));
    assert_eq!(text(request, "url.path").unwrap().len(), 1000);
    let statement = spans.iter().find(|span| span.name == "statement").unwrap();
    assert_eq!(statement.trace_id, request.trace_id);
    assert_eq!(statement.parent_span_id, request.span_id);
    assert!(statement.links.is_empty());
}

#[tokio::test]
async fn our_own_share_of_the_traces_is_recorded_and_a_trusted_callers_decision_counts() {
    let collector = Collector::start(true).await;
    let request = |id: u64| {
        let trace_id = format!("{:032x}", u128::from(id) << 56 | 1 << 100);
        debug_span!(target: "mintgate", parent: None, "ours", trace_id)
            .in_scope(|| debug_span!(target: "mintgate", "inner").in_scope(|| ()));
    };
    let traces = begin(&collector, 25, || {
        // A quarter of the lower halves of these ids is below a quarter of the largest.
        (0..256).for_each(request);
        for sampled in [true, false] {
            debug_span!(
                target: "mintgate", parent: None, "continued", trace_id = ANOTHER, parent.span_id = SPAN,
                parent.sampled = sampled,
            )
            .in_scope(|| ());
        }
    });
    traces.stop().await;
    let spans = spans(&collector.posted());
    let count = |name: &str| spans.iter().filter(|span| span.name == name).count();
    assert_eq!((count("ours"), count("inner"), count("continued")), (64, 64, 1));
    let continued = spans.iter().find(|span| span.name == "continued").unwrap();
    assert_eq!(hex(&continued.trace_id), ANOTHER);
    assert_eq!(hex(&continued.parent_span_id), SPAN);
}

#[tokio::test]
async fn a_collector_that_never_answers_costs_spans_and_keeps_nobody_waiting() {
    let collector = Collector::start(false).await;
    let dropped_before = dropped_spans();
    let traces = begin(&collector, 100, || {
        for _ in 0..50_000 {
            debug_span!(target: "mintgate", "unseen").in_scope(|| ());
        }
    });
    // What does not fit into the queue is dropped at once.
    assert!(dropped_spans() - dropped_before > 30_000);
    timeout(Duration::from_secs(10), traces.stop())
        .await
        .expect("it does not wait for the collector");
}
