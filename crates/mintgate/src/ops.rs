//! The operations listener: metrics, liveness, readiness. Never on the public port.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use mintgate_domain::model::{KeyId, Timestamp};
use mintgate_domain::ports::{Clock, StoreHealth};
use mintgate_signer_jose::KeyRing;
use serde::Serialize;

use crate::keys::KeyTrouble;
use crate::metrics::PrometheusMetrics;

/// What the operations routes share.
pub(crate) struct OpsState {
    /// The store, for readiness and its pool.
    pub(crate) store: Arc<dyn StoreHealth>,
    /// The signing keys.
    pub(crate) keys: Arc<KeyRing>,
    /// What keeps them from being loaded.
    pub(crate) key_trouble: Arc<KeyTrouble>,
    /// Time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Every series.
    pub(crate) metrics: Arc<PrometheusMetrics>,
    /// Set when the process has been asked to stop.
    pub(crate) draining: Arc<AtomicBool>,
}

/// The routes of the operations listener.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/metrics", web::get().to(metrics))
        .route("/health/live", web::get().to(live))
        .route("/health/ready", web::get().to(ready));
}

async fn metrics(state: Data<OpsState>) -> HttpResponse {
    match state.metrics.render(state.store.pool_state(), &key_ages(&state)) {
        Ok(text) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
            .body(text),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

/// Every key of the ring with the time since it was made.
fn key_ages(state: &OpsState) -> Vec<(KeyId, Duration)> {
    let now = Timestamp::from(state.clock.now()).as_unix();
    let age = |made: Timestamp| now.saturating_sub(made.as_unix()).try_into().unwrap_or_default();
    let keys = state.keys.keys().into_iter();
    keys.map(|key| (key.id, Duration::from_secs(age(key.created_at)))).collect()
}

async fn live() -> impl Responder {
    HttpResponse::Ok().json(Health { status: "live", reason: None })
}

/// Ready: nobody asked us to stop, the store answers with a current schema, and there are keys to
/// sign with. (A provider that is down is no reason to stop refreshes.)
async fn ready(state: Data<OpsState>) -> impl Responder {
    let reason = not_ready(&state).await;
    match reason {
        None => HttpResponse::Ok().json(Health { status: "ready", reason }),
        Some(_) => HttpResponse::ServiceUnavailable().json(Health { status: "not ready", reason }),
    }
}

async fn not_ready(state: &OpsState) -> Option<String> {
    if state.draining.load(Ordering::Relaxed) {
        return Some("the process is shutting down".to_owned());
    }
    if let Err(error) = state.store.check().await {
        return Some(error.to_string());
    }
    if state.keys.is_loaded() {
        return None;
    }
    let why = state.key_trouble.get();
    Some(format!(
        "the signing keys are not loaded: {}",
        why.as_deref().unwrap_or("this takes a moment at the start")
    ))
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::{App, test};
    use mintgate_domain::model::KeyUse;
    use mintgate_testkit::ManualClock;

    use super::*;
    use crate::keys;
    use crate::keys::tests::Place;
    use crate::store::Store;

    struct Ops {
        place: Place,
        store: Store,
        clock: Arc<ManualClock>,
        state: Data<OpsState>,
    }

    impl Ops {
        /// A service that has started on this place.
        async fn start(place: Place) -> Self {
            let settings = place.settings("");
            let store = Place::store_of(&settings);
            let clock = Arc::new(ManualClock::default());
            let keys = keys::open(&settings, &store, clock.clone()).unwrap();
            let key_trouble = Arc::new(KeyTrouble::default());
            keys::start(&settings, &keys, &*store.housekeeping(), &key_trouble).await.unwrap();
            let state = Data::new(OpsState {
                store: store.health(),
                keys,
                key_trouble,
                clock: clock.clone(),
                metrics: Arc::new(PrometheusMetrics::new("", "").unwrap()),
                draining: Arc::default(),
            });
            Self { place, store, clock, state }
        }

        async fn get(&self, path: &str) -> (StatusCode, String) {
            let app = App::new().app_data(self.state.clone()).configure(routes);
            let app = test::init_service(app).await;
            let request = test::TestRequest::get().uri(path).to_request();
            let answer = test::call_service(&app, request).await;
            let status = answer.status();
            let body = test::read_body(answer).await;
            (status, String::from_utf8(body.to_vec()).unwrap())
        }

        async fn not_ready(&self) -> String {
            let (status, body) = self.get("/health/ready").await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
            body
        }

        /// The ages that are shown, by `kid`.
        async fn key_ages(&self) -> Vec<(String, String)> {
            let (_, text) = self.get("/metrics").await;
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
        let ops = Ops::start(Place::store_without_schema()).await;
        assert!(ops.not_ready().await.contains("mintgate migrate"));
        assert_eq!(ops.get("/health/live").await.0, StatusCode::OK);
        assert_eq!(ops.key_ages().await, []);

        ops.store.migrate().await.unwrap();
        let reason = ops.not_ready().await;
        assert!(reason.contains("the signing keys are not loaded: "), "{reason}");

        ops.state.keys.maintain(&*ops.store.housekeeping()).await.unwrap();
        assert_eq!(ops.get("/health/ready").await.0, StatusCode::OK);

        ops.state.draining.store(true, Ordering::Relaxed);
        assert!(ops.not_ready().await.contains("shutting down"));
    }

    #[tokio::test]
    async fn every_key_has_its_age_and_a_removed_one_none() {
        let ops = Ops::start(Place::store().await).await;
        ops.clock.advance(Duration::from_mins(5));
        let mut ages = ops.key_ages().await;
        assert_eq!(ages.len(), 4);
        assert!(ages.iter().all(|(_, age)| age == "300"), "{ages:?}");

        let keys = ops.state.keys.keys();
        let retired = keys.iter().find(|key| key.key_use == KeyUse::Access).unwrap();
        ops.state.keys.retire(&retired.id).await.unwrap();
        ages = ops.key_ages().await;
        assert_eq!(ages.len(), 4);
        assert!(ages.iter().all(|(kid, _)| kid != retired.id.as_str()), "{ages:?}");
        assert_eq!(ages.iter().filter(|(_, age)| age == "0").count(), 1);
        assert!(!ops.place.keys().exists());
    }
}
