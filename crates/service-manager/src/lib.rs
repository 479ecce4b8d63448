//! Tells the service manager that started the process what it does, by the protocol of sd_notify(3).

use std::env;
use std::ffi::OsStr;
use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The longest that a message may wait for room in the manager's queue.
const PATIENCE: Duration = Duration::from_secs(1);

/// The service manager, if there is one that wants to be told. A message that cannot be sent is logged; it
/// stops nothing.
#[derive(Debug, Default)]
pub struct ServiceManager(Option<UnixDatagram>);

impl ServiceManager {
    /// The manager that `NOTIFY_SOCKET` in the environment names; none if the variable is not set.
    pub fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Self(None) };
        Self::at(&name).unwrap_or_else(|error| {
            tracing::warn!(%error, "the service manager cannot be reached at NOTIFY_SOCKET");
            Self(None)
        })
    }

    /// The manager that listens at a path or, if the name begins with `@`, at an abstract address.
    ///
    /// # Errors
    /// If nobody listens there.
    pub fn at(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            #[cfg(target_os = "linux")]
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
            _ => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(Some(socket)))
    }

    /// The service has started, or has reloaded.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The service begins to reload; [`ready`](Self::ready) has to follow.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The service begins to stop, and may take this long, even if the manager would give it less.
    pub fn stopping(&self, longest: Duration) {
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", longest.as_micros()));
    }

    /// Says again and again that the runtime which runs this makes progress, if the manager ends the service
    /// otherwise. It ends when it is dropped, or at once if the manager does not want to hear it.
    pub async fn feed_watchdog(self: Arc<Self>) {
        let Some(every) = self.watchdog_interval() else { return };
        loop {
            self.send("WATCHDOG=1");
            tokio::time::sleep(every).await;
        }
    }

    /// Half of the time after which the manager ends the service, by `WATCHDOG_USEC` and `WATCHDOG_PID` in the
    /// environment; `None` if it does not.
    fn watchdog_interval(&self) -> Option<Duration> {
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = env::var_os("WATCHDOG_PID").is_none()
            || number("WATCHDOG_PID") == Some(std::process::id().into());
        let micros = number("WATCHDOG_USEC").filter(|micros| *micros > 0 && is_ours)?;
        self.0.as_ref().map(|_| Duration::from_micros(micros) / 2)
    }

    fn send(&self, message: &str) {
        if let Some(socket) = &self.0
            && let Err(error) = socket.send(message.as_bytes())
        {
            tracing::warn!(%error, message, "the service manager could not be told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn told(socket: &UnixDatagram, name: &OsStr) {
        let manager = ServiceManager::at(name).unwrap();
        manager.ready();
        manager.reloading();
        manager.stopping(Duration::from_secs(2));
        assert_eq!(received(socket), "READY=1");
        let reloading = received(socket);
        let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(micros.parse::<u64>().unwrap() > 0, "{reloading}");
        assert_eq!(received(socket), "STOPPING=1\nEXTEND_TIMEOUT_USEC=2000000");
    }

    #[test]
    fn a_manager_is_told_at_a_path_and_at_an_abstract_address() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        told(&UnixDatagram::bind(&path).unwrap(), path.as_os_str());
        let name = format!("mintgate-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        told(&socket, OsStr::new(&format!("@{name}")));
    }

    #[test]
    fn nobody_to_tell_is_no_error_and_a_manager_that_has_gone_stops_nothing() {
        ServiceManager::default().ready();
        assert_eq!(ServiceManager::default().watchdog_interval(), None);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        assert!(ServiceManager::at(path.as_os_str()).is_err());
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager::at(path.as_os_str()).unwrap();
        drop(socket);
        manager.ready();
    }
}
