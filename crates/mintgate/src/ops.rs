//! The operations listener: metrics, liveness, readiness. Never on the public port.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::http::header;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use mintgate_domain::ports::StoreHealth;
use serde::Serialize;

use crate::metrics::PrometheusMetrics;

/// What the operations routes share.
pub struct OpsState {
    /// The store, for readiness and its pool.
    pub store: Arc<dyn StoreHealth>,
    /// Every series.
    pub metrics: Arc<PrometheusMetrics>,
    /// Set when the process has been asked to stop.
    pub draining: Arc<AtomicBool>,
}

/// The routes of the operations listener.
pub fn routes(config: &mut ServiceConfig) {
    config
        .route("/metrics", web::get().to(metrics))
        .route("/health/live", web::get().to(live))
        .route("/health/ready", web::get().to(ready));
}

async fn metrics(state: Data<OpsState>) -> HttpResponse {
    match state.metrics.render(state.store.pool_state()) {
        Ok(text) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
            .body(text),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

async fn live() -> impl Responder {
    HttpResponse::Ok().json(Health { status: "live", reason: None })
}

/// Ready: the store answers with a current schema, and nobody asked us to stop. (The keys are
/// loaded before a listener opens; a provider that is down is no reason to stop refreshes.)
async fn ready(state: Data<OpsState>) -> impl Responder {
    let reason = if state.draining.load(Ordering::Relaxed) {
        Some("the process is shutting down".to_owned())
    } else {
        state.store.check().await.err().map(|error| error.to_string())
    };
    match reason {
        None => HttpResponse::Ok().json(Health { status: "ready", reason }),
        Some(_) => HttpResponse::ServiceUnavailable().json(Health { status: "not ready", reason }),
    }
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}
