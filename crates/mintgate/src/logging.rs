//! The log on standard output, as JSON lines or for people to read.

use std::fs::File;
use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::sync::{Arc, OnceLock};

use mintgate_log_writer::{LastLines, LogWriter};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::fmt::time::UtcTime;

use crate::settings::{LogFormat, LogSettings};

/// Where all lines of the process go.
static WRITER: OnceLock<Arc<LogWriter>> = OnceLock::new();

/// Starts logging for the whole process; a second call changes nothing. When the value is dropped, the
/// last lines are waited for, for a second at most.
///
/// # Errors
/// If `log.filter` is not a valid filter, or the thread that writes cannot be started.
pub fn start(settings: &LogSettings) -> anyhow::Result<LastLines> {
    let filter = EnvFilter::try_new(&settings.filter)?;
    // A file is not buffered, so that nothing is left to be written when the process ends.
    let output = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    let (writer, last_lines) = LogWriter::start(output, |dropped| {
        tracing::warn!(dropped, "log lines were dropped");
    })?;
    let writer = Arc::new(writer);
    // Spans are of the level DEBUG; where the filter lets them pass, the end of each is a line with
    // the time it took.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(UtcTime::rfc_3339())
        .with_span_events(FmtSpan::CLOSE)
        .log_internal_errors(false)
        .with_writer(Arc::clone(&writer));
    let started = match settings.format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Pretty => builder.with_ansi(std::io::stdout().is_terminal()).try_init(),
    };
    // A second start (several services in one test process) keeps the first.
    if started.is_ok() {
        let _ = WRITER.set(writer);
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

/// How many lines have been dropped since the start.
pub(crate) fn dropped_lines() -> u64 {
    WRITER.get().map_or(0, |writer| writer.dropped_lines())
}
