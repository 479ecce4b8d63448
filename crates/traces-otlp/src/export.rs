//! The queue of spans, and the task that sends them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::SecretText;
use mintgate_domain::ports::Clock;
use opentelemetry::KeyValue;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use crate::SpanLayer;

/// The most spans that wait to be sent. One takes about 600 bytes.
const MAX_WAITING: usize = 8192;
/// The most spans in one request.
const MAX_BATCH: usize = 512;
/// How long the task lets spans gather before it sends them.
const GATHER: Duration = Duration::from_millis(500);
/// How long the collector has for its answer to one batch.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a process that ends waits until its last spans are sent.
const LAST_SPANS: Duration = Duration::from_secs(2);
/// The longest answer of a collector that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Spans that could not be sent, of the whole process.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many spans could not be sent since the start of the process.
pub fn dropped_spans() -> u64 {
    DROPPED.load(Relaxed)
}

/// Where spans go, and which.
#[derive(Debug)]
pub struct Options {
    /// The collector: spans are posted to `/v1/traces` below it.
    pub endpoint: Url,
    /// The value of the header `Authorization`, if the collector asks for one.
    pub authorization: Option<SecretText>,
    /// Of a hundred traces, how many are recorded.
    pub sample_percent: u32,
    /// The attribute `service.name` of all spans.
    pub service_name: String,
    /// The attribute `service.version` of all spans.
    pub service_version: &'static str,
}

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP client cannot be set up.
    #[error("the HTTP client of the trace exporter cannot be set up")]
    Client(#[from] reqwest::Error),
    /// The exporter cannot be set up.
    #[error("the trace exporter cannot be set up")]
    Exporter(#[from] ExporterBuildError),
}

/// The task that sends spans.
#[derive(Debug)]
pub struct Traces {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Traces {
    /// Sends what waits, for two seconds at most, and ends.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = timeout(LAST_SPANS, self.task).await;
    }
}

/// Spans that wait to be sent.
pub(crate) struct Queue(mpsc::Sender<SpanData>);

impl Queue {
    /// Adds a span, or counts it if too many wait.
    pub(crate) fn push(&self, span: SpanData) {
        if self.0.try_send(span).is_err() {
            DROPPED.fetch_add(1, Relaxed);
        }
    }
}

/// Starts a task on the current runtime that sends the spans which the layer gives it.
///
/// # Errors
/// If the exporter cannot be set up. Whether there is a collector shows later, in the log.
pub fn start<S>(
    options: &Options,
    clock: Arc<dyn Clock>,
) -> Result<(Box<dyn Layer<S> + Send + Sync>, Traces), Error>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let client =
        reqwest::Client::builder().timeout(ANSWER).redirect(reqwest::redirect::Policy::none());
    let mut headers = HashMap::new();
    if let Some(authorization) = &options.authorization {
        headers.insert("authorization".to_owned(), authorization.expose().to_owned());
    }
    let endpoint = format!("{}/v1/traces", options.endpoint.as_str().trim_end_matches('/'));
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Http(client.build()?))
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .with_headers(headers)
        .build()?;
    let version = KeyValue::new("service.version", options.service_version);
    let name = options.service_name.clone();
    let resource = Resource::builder_empty().with_service_name(name).with_attribute(version);
    exporter.set_resource(&resource.build());
    let (queue, spans) = mpsc::channel(MAX_WAITING);
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(send_all(exporter, spans, stopped));
    let layer = SpanLayer::new(Queue(queue), clock, options.sample_percent);
    Ok((layer.with_filter(filter_fn(SpanLayer::wants)).boxed(), Traces { stop, task }))
}

async fn send_all(
    exporter: SpanExporter,
    mut spans: mpsc::Receiver<SpanData>,
    mut stopped: oneshot::Receiver<()>,
) {
    let (mut is_stopping, mut is_failing) = (false, false);
    while !is_stopping {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        tokio::select! {
            _ = spans.recv_many(&mut batch, MAX_BATCH) => {
                if batch.len() < MAX_BATCH {
                    is_stopping = timeout(GATHER, &mut stopped).await.is_ok();
                }
            }
            _ = &mut stopped => is_stopping = true,
        }
        loop {
            while batch.len() < MAX_BATCH {
                let Ok(span) = spans.try_recv() else { break };
                batch.push(span);
            }
            let is_full = batch.len() == MAX_BATCH;
            send(&exporter, std::mem::take(&mut batch), &mut is_failing).await;
            if !is_full {
                break;
            }
        }
    }
}

async fn send(exporter: &SpanExporter, batch: Vec<SpanData>, is_failing: &mut bool) {
    if batch.is_empty() {
        return;
    }
    let count = batch.len() as u64;
    let outcome = timeout(ANSWER, exporter.export(batch)).await;
    match outcome.unwrap_or(Err(OTelSdkError::Timeout(ANSWER))) {
        Ok(()) => {
            if std::mem::take(is_failing) {
                tracing::info!("the collector takes spans again");
            }
        }
        Err(error) => {
            DROPPED.fetch_add(count, Relaxed);
            // Once, until it works again.
            if !std::mem::replace(is_failing, true) {
                tracing::warn!(%error, "the collector does not take spans; they are dropped and counted");
            }
        }
    }
}

#[derive(Debug)]
struct Http(reqwest::Client);

#[async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut answer = self.0.execute(request.try_into()?).await?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err("the answer is too long".into());
            }
            body.extend_from_slice(&chunk);
        }
        let mut whole = Response::new(Bytes::from(body));
        *whole.status_mut() = answer.status();
        *whole.headers_mut() = answer.headers().clone();
        Ok(whole)
    }
}
