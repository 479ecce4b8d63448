//! The log on standard output, as JSON lines or for people to read.

use std::fs::File;
use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::sync::{Arc, OnceLock};

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::fmt::time::UtcTime;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::{LastLines, LogWriter};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Each line is a JSON object.
    Json,
    /// Each line is a text for humans.
    Pretty,
}

/// Why the log of a process is not as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A text is not a filter.
    #[error("log.filter")]
    Filter(#[from] ParseError),
    /// The filter that is in use cannot be replaced.
    #[error("the filter of the log cannot be replaced")]
    Replace(#[from] reload::Error),
    /// The thread that writes cannot be started, or standard output cannot be used.
    #[error("the log cannot be written")]
    Writing(#[from] std::io::Error),
}

/// Where all lines of the process go.
static WRITER: OnceLock<Arc<LogWriter>> = OnceLock::new();
/// What decides which lines are written.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// What takes the spans of the process, besides the log.
pub type SpanLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging for the whole process, with `spans` for its spans; a second call changes nothing. When
/// the value is dropped, the last lines are waited for, for a second at most.
///
/// # Errors
/// If the filter is not valid, or the thread that writes cannot be started.
pub fn start(
    filter: &str,
    format: LogFormat,
    spans: Option<SpanLayer>,
) -> Result<LastLines, LogError> {
    let filter = EnvFilter::try_new(filter)?;
    // A file is not buffered, so that nothing is left to be written when the process ends.
    let output = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    let (writer, last_lines) = LogWriter::start(output, |dropped| {
        tracing::warn!(dropped, "log lines were dropped");
    })?;
    let writer = Arc::new(writer);
    // Spans are of the level DEBUG; where the filter lets them pass, the end of each is a line with
    // the time it took.
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_timer(UtcTime::rfc_3339())
        .with_span_events(FmtSpan::CLOSE)
        .log_internal_errors(false)
        .with_writer(Arc::clone(&writer));
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
        LogFormat::Pretty => lines.with_ansi(std::io::stdout().is_terminal()).boxed(),
    };
    // Spans are recorded or not whatever the log's filter says.
    let layers: Vec<_> = [lines.with_filter(filter).boxed()].into_iter().chain(spans).collect();
    let started = tracing_subscriber::registry().with(layers).try_init();
    // A second start (several services in one test process) keeps the first.
    if started.is_ok() {
        let _ = WRITER.set(writer);
        let _ = FILTER.set(handle);
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        tracing::error!(place, text, "panic");
    }));
    Ok(last_lines)
}

/// Writes other lines from now on.
///
/// # Errors
/// If it is not a valid filter.
pub fn set_filter(filter: &str) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(filter)?;
    FILTER.get().map_or(Ok(()), |handle| handle.reload(filter))?;
    Ok(())
}

/// How many lines have been dropped since the start.
pub fn dropped_lines() -> u64 {
    WRITER.get().map_or(0, |writer| writer.dropped_lines())
}
