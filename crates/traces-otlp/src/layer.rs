//! The layer that makes OpenTelemetry's spans of those of `tracing`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use mintgate_domain::ports::Clock;
use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{
    IdGenerator as _, RandomIdGenerator, SpanData, SpanEvents, SpanLinks,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::export::Queue;

/// The longest text of an attribute, in bytes. Paths of requests are up to strangers.
const MAX_TEXT_BYTES: usize = 1000;

/// Gives the spans of this program to the exporter.
///
/// A span without a parent begins a trace. Its field `trace_id`, if it has one, is the id of the trace;
/// `link.trace_id` and `link.span_id` are a link to another trace; `parent.span_id` and
/// `parent.sampled` say that the trace was begun by somebody whose decision counts.
pub struct SpanLayer {
    queue: Queue,
    clock: Arc<dyn Clock>,
    ids: RandomIdGenerator,
    scope: InstrumentationScope,
    /// A trace is recorded if the lower half of its id is below this.
    threshold: u128,
}

/// A span that is recorded. Spans of a trace that is not sampled have none.
struct Recorded {
    trace: TraceId,
    span: SpanId,
    parent: SpanId,
    began: SystemTime,
    fields: Fields,
}

#[derive(Default)]
struct Fields {
    name: Option<String>,
    kind: Option<SpanKind>,
    error: Option<String>,
    trace: Option<TraceId>,
    linked: (Option<TraceId>, Option<SpanId>),
    parent: Option<SpanId>,
    parent_sampled: Option<bool>,
    attributes: Vec<KeyValue>,
}

impl SpanLayer {
    /// Records `percent` of the traces.
    pub(crate) fn new(queue: Queue, clock: Arc<dyn Clock>, percent: u32) -> Self {
        Self {
            queue,
            clock,
            ids: RandomIdGenerator::default(),
            scope: InstrumentationScope::builder("mintgate").build(),
            threshold: (1_u128 << 64) * u128::from(percent.min(100)) / 100,
        }
    }

    /// Whether a span is one of this program.
    pub(crate) fn wants(metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("mintgate")
    }

    fn is_sampled(&self, trace: TraceId) -> bool {
        (u128::from_be_bytes(trace.to_bytes()) & u128::from(u64::MAX)) < self.threshold
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        let (trace, parent) = if let Some(parent) = span.parent() {
            let extensions = parent.extensions();
            let Some(parent) = extensions.get::<Recorded>() else { return };
            attributes.record(&mut fields);
            (parent.trace, parent.span)
        } else {
            attributes.record(&mut fields);
            let trace = fields.trace.unwrap_or_else(|| self.ids.new_trace_id());
            if !fields.parent_sampled.unwrap_or_else(|| self.is_sampled(trace)) {
                return;
            }
            (trace, fields.parent.unwrap_or(SpanId::INVALID))
        };
        span.extensions_mut().insert(Recorded {
            trace,
            span: self.ids.new_span_id(),
            parent,
            began: self.clock.now().into(),
            fields,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(recorded) = span.extensions_mut().get_mut::<Recorded>()
        {
            values.record(&mut recorded.fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(recorded) = span.extensions_mut().remove::<Recorded>() else { return };
        self.queue.push(recorded.into_data(
            span.metadata().name(),
            self.clock.now().into(),
            self.scope.clone(),
        ));
    }
}

impl Recorded {
    fn into_data(
        self,
        name: &'static str,
        ended: SystemTime,
        scope: InstrumentationScope,
    ) -> SpanData {
        let Fields { name: given, kind, error, linked, attributes, parent_sampled, .. } =
            self.fields;
        let context = |trace, span, is_remote| {
            SpanContext::new(trace, span, TraceFlags::SAMPLED, is_remote, TraceState::NONE)
        };
        let mut links = SpanLinks::default();
        if let (Some(trace), Some(span)) = linked {
            links.links.push(Link::with_context(context(trace, span, true)));
        }
        SpanData {
            span_context: context(self.trace, self.span, false),
            parent_span_id: self.parent,
            parent_span_is_remote: parent_sampled.is_some(),
            span_kind: kind.unwrap_or(SpanKind::Internal),
            name: given.map_or(Cow::Borrowed(name), Cow::Owned),
            start_time: self.began,
            end_time: ended,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links,
            status: error.map_or(Status::Unset, Status::error),
            instrumentation_scope: scope,
        }
    }
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.attributes.push(KeyValue::new(field.name(), value));
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "otel.name" => self.name = Some(shortened(value)),
            "otel.kind" => {
                self.kind = match value {
                    "server" => Some(SpanKind::Server),
                    "client" => Some(SpanKind::Client),
                    _ => None,
                }
            }
            "trace_id" => self.trace = TraceId::from_hex(value).ok(),
            "link.trace_id" => self.linked.0 = TraceId::from_hex(value).ok(),
            "link.span_id" => self.linked.1 = SpanId::from_hex(value).ok(),
            "parent.span_id" => self.parent = SpanId::from_hex(value).ok(),
            name => {
                if name == "error.type" {
                    self.error = Some(shortened(value));
                }
                self.add(field, shortened(value));
            }
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "parent.sampled" {
            self.parent_sampled = Some(value);
        } else {
            self.add(field, value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.add(field, value),
            Err(_) => self.add(field, value.to_string()),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// As much of a text as an attribute may have.
fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT_BYTES)].to_owned()
}
