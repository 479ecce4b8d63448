//! The operating system's clocks and randomness; nothing else in the service reads them.

use std::time::{Duration, Instant};

use mintgate_domain::ports::{Clock, Entropy};
use time::OffsetDateTime;

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time begins now.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The operating system's random number generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the source of randomness")]
    #[expect(clippy::panic, reason = "without randomness no token may be made")]
    fn fill(&self, buffer: &mut [u8]) {
        if let Err(error) = getrandom::fill(buffer) {
            panic!("the operating system gives no randomness: {error}");
        }
    }
}

/// The longest name of a host that is kept, in bytes; with the process id it fits the store's 255.
const MAX_HOST_BYTES: usize = 200;

/// The host and the id of this process.
pub(crate) fn process_name() -> String {
    let system = rustix::system::uname();
    let mut host = system.nodename().to_string_lossy().into_owned();
    host.truncate(host.floor_char_boundary(MAX_HOST_BYTES));
    format!("{host} (process {})", std::process::id())
}
