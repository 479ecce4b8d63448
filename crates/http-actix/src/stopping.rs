//! How the service comes to its end without losing a request.

use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// How long connections that the system has begun to establish have to arrive, once no others are let in.
const ARRIVAL: Duration = Duration::from_millis(200);

/// How far the service is on the way to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It has not been asked to stop.
    #[default]
    Serves,
    /// It has been asked to stop, and still accepts connections. Each connection is closed behind an answer.
    Drains,
    /// It accepts no connection any more. Idle connections are closed, and answers without an end are ended.
    Ends,
}

/// Tells all connections how far the service is on the way to its end.
#[derive(Debug, Default)]
pub struct Stopping {
    changes: watch::Sender<Phase>,
    /// The same phase: every answer asks for it, and the channel would have it take a lock.
    latest: AtomicU8,
}

impl Stopping {
    /// Begins `phase`, unless a later one has begun.
    pub fn begin(&self, phase: Phase) {
        self.changes.send_if_modified(|current| {
            let is_later = phase > *current;
            if is_later {
                *current = phase;
                self.latest.store(phase as u8, Ordering::Release);
            }
            is_later
        });
    }

    /// Whether `phase` or a later one has begun.
    pub fn has_begun(&self, phase: Phase) -> bool {
        self.latest.load(Ordering::Acquire) >= phase as u8
    }

    /// Waits until `phase` or a later one begins.
    pub(crate) async fn begins(&self, phase: Phase) {
        // The sender lives as long as this.
        let _ = self.changes.subscribe().wait_for(|current| *current >= phase).await;
    }
}

/// A second handle to a listening socket, which closes it without a reset of connections that clients already
/// have: closing alone resets those that the system has established and nobody has accepted yet.
#[derive(Debug)]
pub struct Door(TcpListener);

impl Door {
    /// The door of this socket.
    ///
    /// # Errors
    /// If the process has too many open files.
    pub fn of(listener: &TcpListener) -> io::Result<Self> {
        listener.try_clone().map(Self)
    }

    /// Refuses new connections, and waits until those that were let in before have been accepted.
    pub async fn close(self) {
        if let Err(error) = refuse_others(&self.0) {
            tracing::debug!(%error, "connections that are not accepted in time will be reset");
        }
        tokio::time::sleep(ARRIVAL).await;
    }
}

/// Binds the socket to an interface that no machine has, so that the system refuses whoever comes from any other.
#[cfg(target_os = "linux")]
fn refuse_others(listener: &TcpListener) -> io::Result<()> {
    let nowhere = std::num::NonZeroU32::new(i32::MAX.unsigned_abs());
    socket2::SockRef::from(listener).bind_device_by_index_v4(nowhere)
}

#[cfg(not(target_os = "linux"))]
fn refuse_others(_: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn phases_follow_one_another_and_never_go_back() {
        let stopping = Stopping::default();
        assert!(stopping.has_begun(Phase::Serves) && !stopping.has_begun(Phase::Drains));
        stopping.begin(Phase::Ends);
        stopping.begin(Phase::Drains);
        assert!(stopping.has_begun(Phase::Ends));
        stopping.begins(Phase::Drains).await;
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_closed_door_lets_nobody_in_and_those_who_are_in_can_still_be_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let early = TcpStream::connect(address).unwrap();
        Door::of(&listener).unwrap().close().await;
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(100));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer, early.local_addr().unwrap());
    }
}
