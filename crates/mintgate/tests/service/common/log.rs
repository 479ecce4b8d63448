//! What all services of this test process have logged, at every level.

use std::io;
use std::sync::{Mutex, Once, PoisonError};

use tracing_subscriber::filter::EnvFilter;

static TEXT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Sink;

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TEXT.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps the log from here on.
pub(crate) fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_env_filter(EnvFilter::new("mintgate=trace"))
            .with_writer(|| Sink)
            .init();
    });
}

/// All lines so far; those of tests that run at the same time as well.
pub(crate) fn text() -> String {
    let text = TEXT.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&text).into_owned()
}

/// The lines that were logged so far, parsed.
pub(crate) fn lines() -> impl Iterator<Item = serde_json::Value> {
    let lines: Vec<_> = text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.into_iter()
}

/// The line of the request that was answered with this id.
pub(crate) fn line(request_id: &str) -> serde_json::Value {
    let text = text();
    let line = text.lines().find(|line| line.contains(request_id));
    let line = line.unwrap_or_else(|| panic!("no line of request {request_id}"));
    serde_json::from_str(line).expect("JSON")
}
