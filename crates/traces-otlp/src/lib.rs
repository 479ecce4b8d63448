//! Sends the spans of the process to an OpenTelemetry collector by OTLP over HTTP.
//!
//! Spans wait in a bounded queue, and a task sends them in batches: whatever ends a span neither waits nor
//! fails, and a collector that is gone, slow or silent costs spans, which are counted, and nothing else.
//!
//! `tracing-opentelemetry` does the first half of this, but gives each trace an id of its own choice. Here
//! a trace has the id that the log and the audit log have too.

mod export;
mod layer;

pub use export::{Error, Options, Traces, dropped_spans, start};
pub use layer::SpanLayer;
