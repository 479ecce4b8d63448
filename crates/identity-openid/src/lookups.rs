//! Names looked up in the DNS, on threads that nothing else waits for.
//!
//! The system's lookup (`getaddrinfo`) blocks its thread, for as long as name servers do not answer. On the
//! runtime's threads for blocking work it would be in the way of the SQLite store; on threads shared by all
//! providers one provider's name servers would be in the way of the others.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::thread;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::{Semaphore, oneshot};

/// The most lookups of one provider's names at once. Further ones wait, until their request is given up.
const AT_ONCE: usize = 4;
/// The stack of a thread that looks a name up, in bytes; the system's libraries need most of it.
const STACK: usize = 512 * 1024;

/// The lookups of one provider's names.
#[derive(Clone)]
pub(crate) struct Lookups {
    places: Arc<Semaphore>,
    look_up: fn(&str) -> io::Result<Vec<SocketAddr>>,
}

impl Default for Lookups {
    /// Looks names up as the system does.
    fn default() -> Self {
        Self::by(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }
}

impl Lookups {
    fn by(look_up: fn(&str) -> io::Result<Vec<SocketAddr>>) -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), look_up }
    }

    /// The addresses of a name. A lookup that has begun keeps its thread until it ends, also when the caller
    /// has given up.
    ///
    /// # Errors
    /// If the name has no address, or no thread can be started.
    pub(crate) async fn addresses(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?;
        let (answer, answered) = oneshot::channel();
        let (look_up, name) = (self.look_up, name.to_owned());
        thread::Builder::new().name("lookup".to_owned()).stack_size(STACK).spawn(move || {
            let _ = answer.send(look_up(&name));
            drop(place);
        })?;
        answered.await.map_err(io::Error::other)?
    }
}

impl Resolve for Lookups {
    fn resolve(&self, name: Name) -> Resolving {
        let lookups = self.clone();
        Box::pin(async move {
            let addresses: Addrs = Box::new(lookups.addresses(name.as_str()).await?.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::mem::ManuallyDrop;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::task::spawn_blocking;
    use tokio::time::timeout;

    use super::*;

    static BEGUN: AtomicUsize = AtomicUsize::new(0);

    /// A name server that never answers.
    fn hang(_: &str) -> io::Result<Vec<SocketAddr>> {
        BEGUN.fetch_add(1, Ordering::SeqCst);
        loop {
            thread::park();
        }
    }

    fn soon<F: Future>(work: F) -> tokio::time::Timeout<F> {
        timeout(Duration::from_secs(10), work)
    }

    #[test]
    fn lookups_that_hang_are_in_the_way_of_their_provider_alone() {
        // Never dropped, because dropping it would wait for a lookup that is on its threads.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(1)
            .enable_all()
            .build()
            .map(ManuallyDrop::new)
            .unwrap();
        runtime.block_on(async {
            let hanging = Lookups::by(hang);
            for _ in 0..3 * AT_ONCE {
                let hanging = hanging.clone();
                tokio::spawn(async move { hanging.addresses("idp.example.com").await });
            }
            let all_begun = async {
                while BEGUN.load(Ordering::SeqCst) < AT_ONCE {
                    tokio::task::yield_now().await;
                }
            };
            soon(all_begun).await.unwrap();
            // A store call, such as those of SQLite.
            soon(spawn_blocking(|| ())).await.expect("no lookup holds it").unwrap();
            let other = Lookups::by(|_| Ok(vec![([8, 8, 8, 8], 0).into()]));
            let found = soon(other.addresses("other.example.com")).await.expect("nor another's");
            assert_eq!(found.unwrap().len(), 1);
            let given_up = timeout(Duration::from_millis(50), hanging.addresses("x.example.com"));
            assert!(given_up.await.is_err());
            assert_eq!(BEGUN.load(Ordering::SeqCst), AT_ONCE, "threads are bounded");
        });
    }

    #[tokio::test]
    async fn names_are_looked_up_as_the_system_does() {
        let lookups = Lookups::default();
        assert!(lookups.addresses("localhost").await.unwrap().iter().all(|a| a.ip().is_loopback()));
        // No name server is asked about a label of more than 63 bytes (RFC 1035 §2.3.4).
        assert!(lookups.addresses(&format!("{}.invalid", "x".repeat(64))).await.is_err());
    }
}
