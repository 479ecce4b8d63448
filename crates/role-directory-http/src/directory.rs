//! The directory: asks once for everybody who wants to know at the same time, and remembers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use mintgate_domain::model::Role;
use mintgate_domain::ports::{Clock, RoleDirectory, RoleLookupError, RoleQuestion};

use crate::config::{RoleDirectoryConfig, RoleDirectoryError};
use crate::lookup::{LookupClient, Question};
use crate::memory::{Answer, LookupId, Memory, SharedLookup};

/// The largest number of cached answers.
const MAX_ANSWERS: usize = 10_000;

/// Looks roles up over HTTP.
///
/// An answer serves all equal questions that come within [`RoleDirectoryConfig::cache`] after its lookup
/// started, be it cached or still under way; with a duration of zero, only the first. Failures are not
/// cached. Callers that wait for the same answer share one request, which ends when all of them have gone
/// away.
pub struct HttpRoleDirectory(Arc<Inner>);

struct Inner {
    client: LookupClient,
    clock: Arc<dyn Clock>,
    memory: Mutex<Memory>,
}

/// The source of the answer to a question.
enum Found {
    Answer(Arc<[Role]>),
    UnderWay(SharedLookup),
}

/// A lookup under way, which is in the memory until it is dropped.
struct Lookup {
    inner: Arc<Inner>,
    question: Question,
    id: LookupId,
}

impl HttpRoleDirectory {
    /// Sets the directory up without connecting.
    ///
    /// # Errors
    /// If the URL, the token or the TLS library cannot be used.
    pub fn new(
        config: RoleDirectoryConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RoleDirectoryError> {
        let memory = Mutex::new(Memory::new(MAX_ANSWERS, config.cache));
        let client = LookupClient::new(config)?;
        Ok(Self(Arc::new(Inner { client, clock, memory })))
    }
}

#[async_trait]
impl RoleDirectory for HttpRoleDirectory {
    async fn roles(&self, question: RoleQuestion<'_>) -> Result<Vec<Role>, RoleLookupError> {
        let question = Question::from(question);
        match Inner::find(&self.0, question) {
            Found::Answer(roles) => Ok(roles.to_vec()),
            Found::UnderWay(lookup) => lookup.await.map(|roles| roles.to_vec()),
        }
    }
}

impl Inner {
    /// The cached answer, or the lookup under way, which is started if there is none.
    fn find(this: &Arc<Self>, question: Question) -> Found {
        let mut memory = this.memory();
        let now = this.clock.monotonic();
        if let Some(roles) = memory.find_answer(&question, now) {
            return Found::Answer(roles);
        }
        if let Some(lookup) = memory.find_lookup(&question, now) {
            return Found::UnderWay(lookup);
        }
        let id = memory.start(now);
        let lookup = Lookup { inner: Arc::clone(this), question: question.clone(), id };
        let lookup = lookup.run().boxed().shared();
        memory.insert_lookup(question, id, &lookup);
        Found::UnderWay(lookup)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lookup {
    async fn run(self) -> Answer {
        let answer = self.inner.client.ask(&self.question).await.map(Arc::<[Role]>::from);
        if let Ok(roles) = &answer {
            let mut memory = self.inner.memory();
            memory.insert_answer(&self.question, self.id, roles, self.inner.clock.monotonic());
            // Under one lock, so that a question finds either the answer or the lookup.
            memory.remove_lookup(&self.question, self.id);
        }
        answer
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.inner.memory().remove_lookup(&self.question, self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mintgate_domain::model::{ExternalIdentity, ProviderId, UserId};
    use mintgate_testkit::ManualClock;
    use tokio::net::TcpListener;
    use url::Url;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn a_lookup_that_failed_or_that_nobody_waits_for_is_removed() {
        // Accepts connections and never answers.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let config = RoleDirectoryConfig {
            url: Url::parse(&url).unwrap(),
            token: None,
            timeout: Duration::from_millis(200),
            cache: Duration::from_mins(1),
        };
        let directory = HttpRoleDirectory::new(config, Arc::new(ManualClock::default())).unwrap();
        let provider = ProviderId::new("corp");
        let identity = ExternalIdentity { issuer: "i".to_owned(), subject: "s".to_owned() };
        let user = UserId::from_uuid(Uuid::nil());
        let question = RoleQuestion { user, provider: &provider, identity: &identity };
        let counts = || directory.0.memory().counts();

        let mut first = directory.roles(question);
        let mut second = directory.roles(question);
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        assert_eq!(counts(), (0, 1));
        drop(first);
        assert_eq!(counts(), (0, 1));
        drop(second);
        assert_eq!(counts(), (0, 0));

        directory.roles(question).await.unwrap_err();
        assert_eq!(counts(), (0, 0));
    }
}
