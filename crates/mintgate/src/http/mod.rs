//! The public listener: routes, and the envelope every request goes through.

mod backchannel;
mod background;
mod body;
mod client;
mod cookies;
mod credential;
mod envelope;
mod error;
mod idempotency;
mod identities;
mod issued;
mod json;
mod jwks;
mod login;
mod login_cookies;
mod logout;
mod metadata;
mod origin;
mod public_document;
mod refresh;
mod sessions;
mod sign_in;
mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpResponse, Resource, Responder};
use mintgate_domain::ports::{Clock, Entropy, PublicKeys};
use mintgate_domain::{
    BeginLogin, Identities, IssueTokens, OwnSessions, ProviderLogout, RefreshSession,
};
use tokio::runtime::Handle;

pub use cookies::HttpCookiePolicy;
pub use envelope::envelope;
pub use error::{ApiError, ErrorKind};

use crate::metrics::PrometheusMetrics;
use crate::settings::Settings;
use idempotency::Turns;
use login_cookies::LoginCookies;
use metadata::Metadata;
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
    logins: LoginCookies,
    metadata: Metadata,
    turns: Turns,
    trusted_proxies: Vec<ipnet::IpNet>,
    request_timeout: Duration,
    max_header_bytes: usize,
    max_in_flight: usize,
    in_flight: AtomicUsize,
}

/// The ports and use cases behind the routes.
pub struct AppParts {
    /// The use case behind `POST /api/v1/auth/login`.
    pub begin_login: Arc<BeginLogin>,
    /// The use case behind `POST /api/v1/auth/token`.
    pub issue: Arc<IssueTokens>,
    /// The use case behind `POST /api/v1/auth/refresh`.
    pub refresh: Arc<RefreshSession>,
    /// The use case behind what callers do with their own sessions.
    pub own_sessions: Arc<OwnSessions>,
    /// The use case behind what callers do with their own identities.
    pub identities: Arc<Identities>,
    /// The use case behind the providers' back-channel logout.
    pub provider_logout: Arc<ProviderLogout>,
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
            logins: LoginCookies::new(&settings.cookies),
            metadata: Metadata::new(settings),
            turns: Turns::default(),
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
    let auth = |path: &str| web::resource(format!("/api/v1/auth/{path}"));
    config
        .service(methods(auth("login").post(login::begin), "POST"))
        .service(readable("/api/v1/auth/providers", login::providers))
        .service(methods(auth("token").post(token::issue), "POST"))
        .service(methods(auth("refresh").post(refresh::refresh), "POST"))
        .service(methods(auth("logout").post(logout::log_out), "POST"))
        .service(methods(auth("logout-all").post(logout::log_out_everywhere), "POST"))
        .service(readable("/api/v1/auth/me", sessions::me))
        .service(readable("/api/v1/auth/sessions", sessions::list))
        .service(methods(
            web::resource("/api/v1/auth/sessions/{sid}").delete(sessions::end),
            "DELETE",
        ))
        .service(methods(
            auth("identities").get(identities::list).head(identities::list).post(identities::link),
            "GET, HEAD, POST",
        ))
        .service(methods(auth("identities/{id}").delete(identities::unlink), "DELETE"))
        .service(methods(auth("backchannel-logout/{provider}").post(backchannel::log_out), "POST"))
        .service(readable("/.well-known/jwks.json", jwks::show));
    for path in metadata::ROUTES {
        config.service(readable(path, metadata::show));
    }
    config.default_service(web::to(not_found));
}

/// A resource to be read, with or without its body (RFC 9110 §9.3.2).
fn readable<H, Args>(path: &str, handler: H) -> Resource
where
    H: Handler<Args> + Clone,
    Args: FromRequest + 'static,
    H::Output: Responder + 'static,
{
    methods(web::resource(path).get(handler.clone()).head(handler), "GET, HEAD")
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
