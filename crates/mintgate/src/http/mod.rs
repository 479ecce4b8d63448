//! The public listener: routes, and the envelope every request goes through.

mod background;
mod body;
mod client;
mod cookies;
mod envelope;
mod error;
mod json;
mod jwks;
mod origin;
mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Resource};
use mintgate_domain::IssueTokens;
use mintgate_domain::ports::{Clock, Entropy, PublicKeys};
use tokio::runtime::Handle;

pub use cookies::HttpCookiePolicy;
pub use envelope::envelope;
pub use error::{ApiError, ErrorKind};

use crate::metrics::PrometheusMetrics;
use crate::settings::Settings;
use origin::OriginPolicy;

/// The id of a request, in its answer, its log line and its error body.
#[derive(Debug, Clone)]
pub struct RequestId(std::rc::Rc<str>);

impl RequestId {
    fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the routes share; made once.
pub struct AppState {
    parts: AppParts,
    origins: OriginPolicy,
    trusted_proxies: Vec<ipnet::IpNet>,
    request_timeout: Duration,
    max_header_bytes: usize,
    max_in_flight: usize,
    in_flight: AtomicUsize,
}

/// The ports and use cases behind the routes.
pub struct AppParts {
    /// The use case behind `POST /api/v1/auth/token`.
    pub issue: Arc<IssueTokens>,
    /// Where it runs: a runtime that outlives the HTTP workers.
    pub runtime: Handle,
    /// The keys behind `/.well-known/jwks.json`.
    pub public_keys: Arc<dyn PublicKeys>,
    /// The cookies, to notice and clear duplicates.
    pub cookies: Arc<HttpCookiePolicy>,
    /// Counters.
    pub metrics: Arc<PrometheusMetrics>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for request ids.
    pub entropy: Arc<dyn Entropy>,
}

impl AppState {
    /// Puts the shared state together.
    pub fn new(parts: AppParts, settings: &Settings) -> Self {
        Self {
            parts,
            origins: OriginPolicy::new(
                &settings.server.public_url,
                settings.cors.allowed_origins.clone(),
            ),
            trusted_proxies: settings.server.trusted_proxies.clone(),
            request_timeout: settings.limits.request_timeout,
            max_header_bytes: settings.limits.max_header_bytes,
            max_in_flight: settings.limits.max_in_flight,
            in_flight: AtomicUsize::new(0),
        }
    }

    /// A place among the requests worked on at once, if there is one.
    fn enter(self: &Arc<Self>) -> Option<InFlight> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let place = InFlight(Arc::clone(self));
        (before < self.max_in_flight).then_some(place)
    }
}

/// Gives its place back when dropped.
struct InFlight(Arc<AppState>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The routes of the public listener.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(methods(web::resource("/api/v1/auth/token").post(token::issue), "POST"))
        .service(methods(
            web::resource("/.well-known/jwks.json").get(jwks::show).head(jwks::show),
            "GET, HEAD",
        ))
        .default_service(web::to(not_found));
}

async fn not_found() -> Result<HttpResponse, ApiError> {
    Err(ApiError::new(ErrorKind::NOT_FOUND))
}

/// Refuses a resource's other methods, naming the ones it has.
fn methods(resource: Resource, allow: &'static str) -> Resource {
    resource.default_service(web::to(move || async move {
        Err::<HttpResponse, _>(ApiError::method_not_allowed(allow))
    }))
}
