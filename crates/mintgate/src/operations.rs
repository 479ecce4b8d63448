//! What the operations listener tells: all metrics, and whether the service is ready.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{KeyId, Timestamp};
use mintgate_domain::ports::{Clock, StoreError, StoreHealth};
use mintgate_domain::{KeyDoubt, chain};
use mintgate_http_actix::{Operations, Phase, Stopping};
use mintgate_metrics_prometheus::{Dropped, PrometheusMetrics};
use mintgate_signer_jose::{KeyRing, KeyRingError, KeyRingStatus, Presence};

use crate::reload::Reload;

/// The parts of the running service that an operator looks at.
pub(crate) struct ServiceOperations {
    /// How a changed configuration is taken over; none in tests of the rest.
    pub(crate) reload: Option<Arc<Reload>>,
    pub(crate) store: Arc<dyn StoreHealth>,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) key_status: Arc<KeyRingStatus>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<PrometheusMetrics>,
    /// How far the service is on the way to its end.
    pub(crate) stopping: Arc<Stopping>,
}

impl ServiceOperations {
    /// Every signing key with the time since it was made.
    fn key_ages(&self) -> Vec<(KeyId, Duration)> {
        let now = Timestamp::from(self.clock.now()).as_unix();
        let age = |made: Timestamp| now.saturating_sub(made.as_unix()).try_into();
        let keys = self.keys.keys().into_iter();
        keys.map(|key| (key.id, Duration::from_secs(age(key.created_at).unwrap_or_default())))
            .collect()
    }

    /// The service is ready if it has not been asked to stop, the store answers with a current
    /// schema and can be written, the signing keys are loaded, and no process that came earlier has
    /// others. A provider that is down does not count: refreshes work without it.
    async fn readiness(&self) -> Result<(), NotReady> {
        if self.stopping.has_begun(Phase::Drains) {
            return Err(NotReady::Draining);
        }
        self.store.check().await.map_err(NotReady::Store)?;
        if !self.keys.is_loaded() {
            return Err(NotReady::NoKeys(self.key_status.failure()));
        }
        self.presence.doubt().map_or(Ok(()), |doubt| Err(NotReady::OtherKeys(doubt)))
    }
}

/// Why the service should not be sent requests.
#[derive(Debug)]
enum NotReady {
    /// The process has been asked to stop.
    Draining,
    /// The store does not answer, its schema is another, or it cannot be written.
    Store(StoreError),
    /// The signing keys are not loaded: for this reason, or because the first attempt is under way.
    NoKeys(Option<Arc<KeyRingError>>),
    /// Another process on the store has other signing keys, or that is not known yet.
    OtherKeys(KeyDoubt),
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draining => f.write_str("the process is shutting down"),
            Self::Store(error) => chain(error).fmt(f),
            Self::NoKeys(None) => {
                f.write_str("the signing keys are not loaded: this takes a moment at the start")
            }
            Self::NoKeys(Some(error)) => {
                write!(f, "the signing keys are not loaded: {}", chain(&**error))
            }
            Self::OtherKeys(doubt) => doubt.fmt(f),
        }
    }
}

#[async_trait]
impl Operations for ServiceOperations {
    fn metrics(&self) -> Result<String, String> {
        let dropped = Dropped {
            log_lines: mintgate_log_writer::dropped_lines(),
            spans: mintgate_traces_otlp::dropped_spans(),
        };
        let text = self.metrics.render(self.store.pool_state(), &self.key_ages(), dropped);
        text.map_err(|error| error.to_string())
    }

    async fn not_ready(&self) -> Option<String> {
        self.readiness().await.err().map(|reason| reason.to_string())
    }

    async fn reload(&self) -> Result<String, String> {
        match &self.reload {
            Some(reload) => reload.reload().await,
            None => Err("there is no configuration".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use mintgate_domain::model::KeyUse;
    use mintgate_testkit::{ManualClock, SeededEntropy};

    use super::*;
    use crate::keys;
    use crate::keys::test_keys::TestKeys;
    use crate::store::Store;

    struct Started {
        keys: TestKeys,
        store: Store,
        clock: Arc<ManualClock>,
        operations: ServiceOperations,
    }

    impl Started {
        /// A service that has started with these keys.
        async fn with(keys: TestKeys) -> Self {
            let settings = keys.settings("");
            let store = TestKeys::store_of(&settings);
            let clock = Arc::new(ManualClock::default());
            let ring = keys::open(&settings.keys, &settings.tokens, &store, clock.clone()).unwrap();
            let key_status = Arc::new(KeyRingStatus::default());
            keys::start(&settings.keys, &ring, &*store.housekeeping, &key_status).await.unwrap();
            let (replicas, entropy) = (store.replicas.clone(), SeededEntropy::new(1));
            let (name, issuer) = ("this one".to_owned(), settings.tokens.issuer.clone());
            let presence = Arc::new(Presence::new(name, issuer, replicas, ring.clone(), &entropy));
            presence.start().await.unwrap();
            let operations = ServiceOperations {
                reload: None,
                presence,
                store: store.health.clone(),
                keys: ring,
                key_status,
                clock: clock.clone(),
                metrics: Arc::new(PrometheusMetrics::new("", "").unwrap()),
                stopping: Arc::default(),
            };
            Self { keys, store, clock, operations }
        }

        /// The ages that the metrics show, by `kid`.
        fn key_ages(&self) -> Vec<(String, String)> {
            let text = self.operations.metrics().unwrap();
            let series = text.lines().filter_map(|line| {
                let rest = line.strip_prefix("mintgate_signing_key_age_seconds{kid=\"")?;
                let (kid, age) = rest.split_once("\"} ")?;
                Some((kid.to_owned(), age.to_owned()))
            });
            series.collect()
        }
    }

    #[tokio::test]
    async fn ready_needs_a_current_schema_and_keys_and_says_what_is_missing() {
        let started = Started::with(TestKeys::in_store_without_schema()).await;
        let operations = &started.operations;
        let no_schema = StoreError::SchemaMismatch("".into());
        let reason = operations.readiness().await.unwrap_err();
        assert!(matches!(&reason, NotReady::Store(error) if *error == no_schema), "{reason:?}");
        let said = operations.not_ready().await;
        assert!(said.as_ref().is_some_and(|said| said.contains("mintgate migrate")), "{said:?}");
        assert_eq!(started.key_ages(), []);

        started.store.migrations.migrate(Duration::ZERO, &|_| ()).await.unwrap();
        let reason = operations.readiness().await.unwrap_err();
        let NotReady::NoKeys(Some(failure)) = &reason else { panic!("{reason:?}") };
        assert!(matches!(&**failure, KeyRingError::Store(error) if *error == no_schema));

        operations.keys.apply_due_changes(&*started.store.housekeeping).await.unwrap();
        let reason = operations.readiness().await.unwrap_err();
        let NotReady::OtherKeys(KeyDoubt::Unknown(Some(failure))) = &reason else {
            panic!("{reason:?}")
        };
        assert_eq!(*failure, no_schema);

        operations.presence.announce().await.unwrap();
        assert_eq!(operations.not_ready().await, None);

        operations.stopping.begin(Phase::Drains);
        let reason = operations.readiness().await.unwrap_err();
        assert!(matches!(reason, NotReady::Draining), "{reason:?}");
    }

    #[tokio::test]
    async fn the_metrics_show_the_age_of_each_key_until_it_is_removed() {
        let started = Started::with(TestKeys::in_store().await).await;
        started.clock.advance(Duration::from_mins(5));
        let mut ages = started.key_ages();
        assert_eq!(ages.len(), 4);
        assert!(ages.iter().all(|(_, age)| age == "300"), "{ages:?}");

        let keys = started.operations.keys.keys();
        let retired = keys.iter().find(|key| key.key_use == KeyUse::Access).unwrap();
        started.operations.keys.retire(&retired.id).await.unwrap();
        ages = started.key_ages();
        assert_eq!(ages.len(), 4);
        assert!(ages.iter().all(|(kid, _)| kid != retired.id.as_str()), "{ages:?}");
        assert_eq!(ages.iter().filter(|(_, age)| age == "0").count(), 1);
        assert!(!started.keys.directory().exists());
    }
}
