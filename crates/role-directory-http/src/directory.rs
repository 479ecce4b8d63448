//! The directory: asks once for everybody who wants to know at the same time, and remembers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use mintgate_domain::model::Role;
use mintgate_domain::ports::{Clock, RoleDirectory, RoleLookupError, RoleQuestion};

use crate::asker::{Asker, Question};
use crate::config::{RoleDirectoryConfig, RoleDirectoryError};
use crate::memory::{Answer, Asked, Flight, Memory};

/// So many answers are remembered, and no more.
const MAX_ANSWERS: usize = 10_000;

/// Looks roles up by HTTP.
///
/// No answer is used for a question that came later than the configured time after it was asked for,
/// be it remembered or still under way; with a time of zero, for no other question at all. Failures
/// are not remembered. Whoever waits for an answer
/// drives the request, together with everybody else who does: one that goes away harms nobody, and
/// when all have gone the request ends.
pub struct HttpRoleDirectory(Arc<Inner>);

struct Inner {
    asker: Asker,
    clock: Arc<dyn Clock>,
    memory: Mutex<Memory>,
}

/// What there is already.
enum Found {
    Answer(Arc<[Role]>),
    UnderWay(Flight),
}

/// A question under way; noted as such until it is dropped.
struct Trip {
    inner: Arc<Inner>,
    question: Question,
    asked: Asked,
}

impl HttpRoleDirectory {
    /// Sets it up; asks nobody yet.
    ///
    /// # Errors
    /// If the URL, the token or the TLS library cannot be used.
    pub fn new(
        config: RoleDirectoryConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RoleDirectoryError> {
        let memory = Mutex::new(Memory::new(MAX_ANSWERS, config.cache));
        let asker = Asker::new(config)?;
        Ok(Self(Arc::new(Inner { asker, clock, memory })))
    }
}

#[async_trait]
impl RoleDirectory for HttpRoleDirectory {
    async fn roles(&self, question: RoleQuestion<'_>) -> Result<Vec<Role>, RoleLookupError> {
        let question = Question::from(question);
        match Inner::find(&self.0, question) {
            Found::Answer(roles) => Ok(roles.to_vec()),
            Found::UnderWay(flight) => flight.await.map(|roles| roles.to_vec()),
        }
    }
}

impl Inner {
    /// An answer, or the question under way; begun here if it is not.
    fn find(this: &Arc<Self>, question: Question) -> Found {
        let mut memory = this.memory();
        let now = this.clock.monotonic();
        if let Some(roles) = memory.recall(&question, now) {
            return Found::Answer(roles);
        }
        if let Some(flight) = memory.join(&question, now) {
            return Found::UnderWay(flight);
        }
        let asked = memory.number(now);
        let trip = Trip { inner: Arc::clone(this), question: question.clone(), asked };
        let flight = trip.make().boxed().shared();
        memory.depart(question, asked, &flight);
        Found::UnderWay(flight)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trip {
    async fn make(self) -> Answer {
        let answer = self.inner.asker.ask(&self.question).await.map(Arc::<[Role]>::from);
        if let Ok(roles) = &answer {
            let mut memory = self.inner.memory();
            memory.keep(&self.question, self.asked, roles, self.inner.clock.monotonic());
            // Under one lock: nobody may find neither the answer nor the question.
            memory.arrive(&self.question, self.asked);
        }
        answer
    }
}

impl Drop for Trip {
    fn drop(&mut self) {
        self.inner.memory().arrive(&self.question, self.asked);
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
    async fn nothing_stays_behind_of_a_question_that_failed_or_that_nobody_waits_for() {
        // Connections are made to it, and nobody ever answers.
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
