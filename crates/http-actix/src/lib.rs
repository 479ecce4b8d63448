//! The HTTP adapter: the routes of the public listener, the middleware that every request passes
//! through, and the operations listener.
//!
//! It knows the domain and a configuration of its own, [`HttpConfig`]; whoever builds the service
//! hands in the use cases and the ports.

mod accept;
mod admin;
mod admission;
mod backchannel;
mod basic;
mod body;
mod client;
mod client_address;
mod config;
mod connections;
mod console;
mod cookies;
mod credential;
mod current;
pub mod descriptors;
mod envelope;
mod error;
mod gateway;
mod http2;
mod idempotency;
mod identities;
mod introspection;
mod issued;
mod json;
mod jwks;
mod keyed_mutex;
mod limits;
mod login;
mod login_cookies;
mod logout;
mod metadata;
mod metrics;
mod openapi;
mod operations;
mod origin;
mod pages;
mod planted_cookies;
mod provider_token;
mod public_api;
mod public_document;
mod refresh;
mod refusals;
mod revocations;
mod runtime;
mod server;
mod sessions;
mod sign_in;
mod stopping;
mod stream;
mod token;
mod trace;
mod transport;
mod validation;

use std::future::Future;
use std::sync::Arc;

use actix_web::HttpResponse;
use mintgate_domain::ports::{Clock, Entropy, PublicKeys};
use mintgate_domain::{
    AppAccess, BeginLogin, Clients, ErrorCode, FollowRevocations, Identities, Introspection,
    IssueTokens, OwnSessions, ProviderLogout, RefreshSession, SignOut, TokenHash,
};
use tokio::runtime::Handle;
use tracing::{Instrument as _, Span};

pub use actix_web::dev::Server;
pub use actix_web::web::ServiceConfig;
pub use admin::AdminApi;
pub use config::{
    CookieConfig, Gateway, HintCookie, HostedPages, HttpConfig, Limits, PageLanguage, PageLogo,
    RateLimits, SameSite,
};
pub use cookies::HttpCookiePolicy;
pub use current::CurrentState;
pub use limits::{Limit, SharedLimits};
pub use metrics::{ConnectionChange, HttpMetrics, LimitResult};
pub use operations::{Operations, RELOAD_HEADER};
pub use server::{MoreRoutes, serve_operations, serve_public};
pub use stopping::{Door, Phase, Stopping};

use admission::{Admission, Place};
use error::ApiError;
use gateway::Gateways;
use keyed_mutex::KeyedMutex;
use limits::CallerLimits;
use login_cookies::LoginCookies;
use metadata::Metadata;
use openapi::{Document, Page};
use origin::OriginPolicy;
use pages::Pages;
use refusals::RecentRefusals;
use revocations::{Feed, FollowedPorts};

/// The id of a request, which its answer, its error body and its log line name.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
    fn new(entropy: &(dyn Entropy + 'static)) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(entropy.bytes())).into())
    }

    fn as_str(&self) -> &str {
        &self.0
    }
}

/// The use cases that the routes call.
pub struct UseCases {
    /// Answers `POST /api/v1/auth/login` and `GET /api/v1/auth/providers`.
    pub begin_login: Arc<BeginLogin>,
    /// Answers `POST /api/v1/auth/token`.
    pub issue_tokens: Arc<IssueTokens>,
    /// Answers `POST /api/v1/auth/refresh`.
    pub refresh_session: Arc<RefreshSession>,
    /// Answers `/me`, `/sessions`, `/logout` and `/logout-all` below `/api/v1/auth`.
    pub own_sessions: Arc<OwnSessions>,
    /// Answers `/logout` below `/api/v1/auth` where the provider is to be left too.
    pub sign_out: Arc<SignOut>,
    /// Answers `/api/v1/auth/identities`.
    pub identities: Arc<Identities>,
    /// Answers `POST /api/v1/auth/provider-token`.
    pub app_access: Arc<AppAccess>,
    /// Answers `POST /oauth2/introspect` and `POST /oauth2/revoke`.
    pub introspection: Arc<Introspection>,
    /// Answers `GET /api/v1/auth/revocations`; `None` where nobody else can verify what access keys sign.
    pub revocations: Option<Arc<FollowRevocations>>,
    /// Answers `POST /api/v1/auth/backchannel-logout/{provider}`.
    pub provider_logout: Arc<ProviderLogout>,
}

/// The ports that the routes use besides the use cases.
pub struct HttpPorts {
    /// The runtime on which use cases run; it MUST outlive the HTTP workers.
    pub runtime: Handle,
    /// The keys that `/.well-known/jwks.json` publishes.
    pub public_keys: Arc<dyn PublicKeys>,
    /// The session cookies: the same policy that the use cases write them by.
    pub cookies: Arc<HttpCookiePolicy>,
    /// The counters of answered requests.
    pub metrics: Arc<dyn HttpMetrics>,
    /// The source of the time in errors and of the measured durations.
    pub clock: Arc<dyn Clock>,
    /// The source of request ids.
    pub entropy: Arc<dyn Entropy>,
    /// How far the service is on the way to its end.
    pub stopping: Arc<Stopping>,
}

impl HttpPorts {
    fn followed(&self) -> FollowedPorts {
        FollowedPorts {
            runtime: self.runtime.clone(),
            clock: Arc::clone(&self.clock),
            stopping: Arc::clone(&self.stopping),
        }
    }
}

/// The state that all routes and workers of the public listener share.
pub struct AppState {
    use_cases: UseCases,
    ports: HttpPorts,
    origins: OriginPolicy,
    logins: LoginCookies,
    pages: Pages,
    metadata: Metadata,
    openapi: Document,
    docs: Page,
    /// The path of the public URL, which requests have unless a proxy has removed it.
    path_prefix: String,
    /// Held by requests with an `Idempotency-Key` while they are worked on; the value is the hash of the
    /// body.
    idempotency_keys: Arc<KeyedMutex<TokenHash, TokenHash>>,
    rate_limits: RateLimits,
    caller_limits: Arc<CallerLimits>,
    clients: Clients,
    gateways: Gateways,
    trusted_proxies: Vec<ipnet::IpNet>,
    trusted_callers: Vec<ipnet::IpNet>,
    limits: Limits,
    admission: Arc<Admission>,
    refusals: Arc<RecentRefusals>,
    /// What the streams about revocations have in common.
    feed: Arc<Feed>,
    workers: usize,
}

impl AppState {
    /// Makes the state from the configuration, the use cases and the ports.
    pub fn new(config: HttpConfig, use_cases: UseCases, ports: HttpPorts) -> Self {
        let has_clients = !config.clients.is_empty();
        let metadata = Metadata::new(&config.issuer, &config.public_url, has_clients);
        let document = public_api::document(&metadata, &config);
        Self {
            use_cases,
            logins: LoginCookies::new(&config.cookies),
            pages: Pages::new(&config),
            openapi: Document::new(&document),
            docs: Page::new(&document),
            metadata,
            path_prefix: metadata::path_of(&config.public_url).to_owned(),
            origins: OriginPolicy::new(&config.public_url, config.allowed_origins),
            idempotency_keys: Arc::default(),
            caller_limits: Arc::new(CallerLimits::new(config.rate_limits.clone(), &ports.clock)),
            rate_limits: config.rate_limits,
            clients: config.clients,
            gateways: Gateways {
                all: config.gateways,
                login: config.login_address,
                return_origins: config.return_origins,
            },
            trusted_proxies: config.trusted_proxies,
            trusted_callers: config.trusted_callers,
            limits: config.limits,
            admission: Arc::new(Admission::new(&config.limits)),
            refusals: Arc::default(),
            feed: Arc::default(),
            workers: config.workers,
            ports,
        }
    }

    /// This state with what the one `before` it has counted, and with what requests under way hold there.
    /// Streams of before end: their clients authenticate anew.
    fn after(mut self, before: &Self) -> Self {
        before.feed.close();
        self.idempotency_keys = Arc::clone(&before.idempotency_keys);
        self.admission = Arc::clone(&before.admission);
        self.refusals = Arc::clone(&before.refusals);
        if self.rate_limits == before.rate_limits {
            self.caller_limits = Arc::clone(&before.caller_limits);
        }
        self
    }

    /// Runs a use case in a place and a span of its own. It is cancelled if the client goes away.
    async fn run<T: Send + 'static>(
        &self,
        place: Place,
        span: Span,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        runtime::run(&self.ports.runtime, holding(place, work).instrument(span)).await
    }

    /// Runs a use case to its end, even if the client goes away: for what must not stop half-way,
    /// such as a sign-out by a page that is closed at once.
    async fn run_to_end<T: Send + 'static>(
        &self,
        place: Place,
        span: Span,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        runtime::run_to_end(&self.ports.runtime, holding(place, work).instrument(span)).await
    }
}

/// Holds a place as long as there is work: until its end, or until it is cancelled.
async fn holding<T>(place: Place, work: impl Future<Output = T>) -> T {
    let output = work.await;
    drop(place);
    output
}

async fn not_found() -> Result<HttpResponse, ApiError> {
    Err(ApiError::new(ErrorCode::NotFound))
}
