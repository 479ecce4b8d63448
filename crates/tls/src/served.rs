//! The pair that a listener presents, which may be replaced while it runs.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::client::ClientCertificate;
use crate::files::{PairError, PairFiles};
use crate::pair::{Pair, Validity};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The pair that a listener presents to new connections.
pub struct Served {
    files: PairFiles,
    /// The time in Unix seconds.
    now: Box<dyn Fn() -> i64 + Send + Sync>,
    /// Is told what is presented, after each look.
    observer: Box<dyn Fn(Status) + Send + Sync>,
    pair: ArcSwap<Pair>,
    /// Why what the files hold is not presented, as of the last look at them.
    refused: Mutex<Option<PairError>>,
}

/// What a listener presents, and whether that is what its files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// When the certificate that is presented is valid.
    pub validity: Validity,
    /// Whether the pair in the files was fit to be presented when they were last looked at.
    pub is_current: bool,
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Served {
    /// Begins with what the files hold. A certificate that is not valid now is presented as well: to present
    /// none would help nobody. `now` tells the time in Unix seconds, and `observer` is told what is presented,
    /// now and after each look at the files.
    ///
    /// # Errors
    /// If a listener could not present it.
    pub fn open(
        files: PairFiles,
        now: impl Fn() -> i64 + Send + Sync + 'static,
        observer: impl Fn(Status) + Send + Sync + 'static,
    ) -> Result<Self, PairError> {
        let pair = files.read()?;
        if let Some(problem) = pair.validity().problem(now()) {
            let error = PairError::OutOfDate(files.certificates.clone(), problem);
            tracing::error!(%error, "it is presented nevertheless: replace it");
        }
        let (pair, refused) = (ArcSwap::from_pointee(pair), Mutex::default());
        let served =
            Self { files, now: Box::new(now), observer: Box::new(observer), pair, refused };
        (served.observer)(served.status());
        Ok(served)
    }

    /// The pair that new connections are presented.
    pub fn pair(&self) -> Arc<Pair> {
        self.pair.load_full()
    }

    /// Whether a client's certificate is still good: valid at this time, and verified with the authorities that
    /// new connections are verified with.
    pub fn accepts(&self, client: &ClientCertificate) -> bool {
        (self.now)() <= client.valid_until && self.pair().authorities == client.authorities
    }

    /// The pair that the files hold now.
    ///
    /// # Errors
    /// If a listener could not present it, or if it is not valid now and another one than is presented.
    pub fn read(&self) -> Result<Pair, PairError> {
        let pair = self.files.read()?;
        match pair.validity().problem((self.now)()).filter(|_| !pair.is_same_as(&self.pair())) {
            Some(problem) => Err(PairError::OutOfDate(self.files.certificates.clone(), problem)),
            None => Ok(pair),
        }
    }

    /// Presents the pair to new connections, unless it is presented already. Those that there are go on.
    pub fn present(&self, pair: Pair) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if !pair.is_same_as(&self.pair()) {
            let Validity { until, .. } = pair.validity();
            self.pair.store(Arc::new(pair));
            let file = self.files.certificates.display();
            tracing::info!(%file, valid_until = until, "another certificate is presented");
        }
        (self.observer)(self.status());
    }

    /// Looks at the files again and again. It ends when it is dropped.
    pub async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let served = Arc::clone(&self);
            // A file system can take its time.
            if tokio::task::spawn_blocking(move || served.look()).await.is_err() {
                tracing::error!("the certificate could not be looked at");
            }
        }
    }

    /// Looks whether the files hold another pair, and presents that if it can be presented. Else the one that
    /// is presented stays, and the log has one line with the reason.
    pub fn look(&self) {
        match self.read() {
            Ok(pair) => self.present(pair),
            Err(error) => {
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                if refused.as_ref() != Some(&error) {
                    tracing::error!(%error, "the certificate is not replaced; the one before is presented on");
                }
                *refused = Some(error);
                drop(refused);
                (self.observer)(self.status());
            }
        }
    }

    /// What is presented, and whether that is what the files hold.
    pub fn status(&self) -> Status {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        Status { validity: self.pair().validity(), is_current: refused.is_none() }
    }
}
