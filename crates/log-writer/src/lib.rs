//! Writes log lines from a thread of its own, so that whatever logs neither waits nor fails: a pipe that
//! nobody reads, a full disk and a closed pipe cost lines, which are counted, and nothing else.
//!
//! `tracing-appender` does the same but at its end: if its queue is full then, it prints to standard
//! output, which is what nobody reads, and the process never ends.

mod process;

use std::io::{self, Write};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

pub use process::{LogError, LogFormat, SpanLayer, dropped_lines, set_filter, start};

/// The most bytes that wait to be written, besides as many that are being written.
const MAX_WAITING_BYTES: usize = 1024 * 1024;
/// How long a process that ends waits for its last lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How long the thread lets lines gather before it writes them: to wake it and write for each line
/// would cost more than the line.
const GATHER: Duration = Duration::from_millis(2);
/// How long to wait before a descriptor that does not block is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// Takes log lines. Each call of `write` takes one whole line, or drops it and counts it if too many
/// bytes wait; it returns at once and is never an error.
pub struct LogWriter(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something waits to be written.
    filled: Condvar,
    /// Everything has been written.
    drained: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// The thread is about to write, or is writing: nobody needs to wake it.
    is_writing: bool,
}

/// Waits when it is dropped until the lines so far are written, but one second at most.
#[must_use = "the last lines may be lost when it is dropped"]
pub struct LastLines(Arc<Shared>);

impl LogWriter {
    /// Starts the thread that writes to `output`. When all that waits has been written after lines were
    /// dropped, `dropped` is called on that thread with their number; it may log.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        output: impl Write + Send + 'static,
        dropped: impl Fn(u64) + Send + 'static,
    ) -> io::Result<(Self, LastLines)> {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("log".to_owned());
        thread.spawn(move || theirs.write_to(output, dropped))?;
        Ok((Self(Arc::clone(&shared)), LastLines(shared)))
    }

    /// How many lines have been dropped since the start.
    pub fn dropped_lines(&self) -> u64 {
        self.0.dropped.load(Relaxed)
    }
}

impl Write for &LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut queue = self.0.queue();
        if queue.bytes.len() + line.len() > MAX_WAITING_BYTES {
            self.0.dropped.fetch_add(1, Relaxed);
        } else {
            queue.bytes.extend_from_slice(line);
            if !mem::replace(&mut queue.is_writing, true) {
                self.0.filled.notify_one();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut output: impl Write, report: impl Fn(u64)) {
        let mut lines = Vec::new();
        let (mut reported, mut takes_lines) = (0, true);
        loop {
            let mut queue = self.queue();
            if queue.bytes.is_empty() {
                let dropped = self.dropped.load(Relaxed);
                // There is room for a report now; and only if lines are taken, or its own loss would be
                // reported for ever.
                if takes_lines && dropped > reported {
                    drop(queue);
                    report(dropped - reported);
                    reported = dropped;
                    continue;
                }
                queue.is_writing = false;
                self.drained.notify_all();
                while queue.bytes.is_empty() {
                    queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
                drop(queue);
                thread::sleep(GATHER);
                queue = self.queue();
            }
            mem::swap(&mut queue.bytes, &mut lines);
            drop(queue);
            let lost = write_all(&mut output, &lines);
            lines.clear();
            self.dropped.fetch_add(lost, Relaxed);
            takes_lines = lost == 0;
        }
    }
}

/// Writes as much as the output takes; how many lines were lost.
fn write_all(output: &mut impl Write, mut lines: &[u8]) -> u64 {
    while !lines.is_empty() {
        match output.write(lines) {
            Ok(0) => break,
            Ok(written) => lines = lines.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(TRY_AGAIN),
            Err(_) => break,
        }
    }
    lines.split_inclusive(|byte| *byte == b'\n').count() as u64
}

impl Drop for LastLines {
    fn drop(&mut self) {
        let queue = self.0.queue();
        let waits = |queue: &mut Queue| queue.is_writing || !queue.bytes.is_empty();
        let _ = self.0.drained.wait_timeout_while(queue, LAST_LINES, waits);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};

    use super::*;

    /// An output that takes nothing until it is told how.
    struct Told {
        orders: Receiver<io::Result<()>>,
        written: SyncSender<Vec<u8>>,
    }

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.orders.recv().unwrap_or(Ok(()))?;
            let _ = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(writer: &LogWriter, line: &[u8]) {
        (&mut &*writer).write_all(line).unwrap();
    }

    #[test]
    fn what_waits_is_bounded_and_what_is_dropped_is_counted_and_reported_once_it_goes_on() {
        let ((order, orders), (written, seen)) = (channel(), sync_channel(8));
        let (report, reports) = channel();
        let (writer, last) =
            LogWriter::start(Told { orders, written }, move |n| report.send(n).unwrap()).unwrap();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        for _ in 0..5000 {
            log(&writer, &line);
        }
        let dropped = writer.dropped_lines();
        // As much as that waits, and perhaps as much again is being written.
        assert!((5000 - 2048..=5000 - 1024).contains(&dropped), "{dropped}");
        assert!(reports.try_recv().is_err());
        drop(order);
        assert_eq!(reports.recv().unwrap(), dropped);
        drop(last);
        let kept: usize = seen.try_iter().map(|bytes| bytes.len()).sum();
        assert_eq!(kept as u64, (5000 - dropped) * 1024);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_the_next_are_tried() {
        let ((order, orders), (written, seen)) = (channel(), sync_channel(8));
        let (report, reports) = channel();
        let (writer, last) =
            LogWriter::start(Told { orders, written }, move |n| report.send(n).unwrap()).unwrap();
        order.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        log(&writer, b"lost\n");
        drop(last);
        assert_eq!(writer.dropped_lines(), 1);
        order.send(Ok(())).unwrap();
        log(&writer, b"kept\n");
        assert_eq!(seen.recv().unwrap(), b"kept\n");
        assert_eq!(reports.recv().unwrap(), 1);
    }

    #[test]
    fn an_end_does_not_wait_for_an_output_that_takes_nothing() {
        let ((order, orders), (written, _seen)) = (channel(), sync_channel(8));
        let (writer, last) = LogWriter::start(Told { orders, written }, |_| ()).unwrap();
        log(&writer, b"waits\n");
        // Returns after a second.
        drop(last);
        drop(order);
    }
}
