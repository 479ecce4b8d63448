//! `/admin/v1` of the operations listener: operators look at people and sessions and change them.

mod gate;
mod history;
mod operations;
mod overview;
mod people;

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::web::{self, Data, Query, ServiceConfig};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, HttpResponse, middleware};
use mintgate_domain::model::Actor;
use mintgate_domain::ports::{
    Clock, CountReader, Entropy, KeyList, RunningConfiguration, StoreError,
};
use mintgate_domain::{
    AdminToken, Administration, AdministrationError, AuthError, ErrorCode, Explain,
};
pub(crate) use operations::document;
use operations::document_operation;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use utoipa::IntoParams;

use crate::error::ApiError;
use crate::openapi::{Document, Endpoint};
use crate::sessions::uncached;
use crate::{CurrentState, not_found, runtime};

pub(crate) use gate::ShownCertificate;
pub(crate) use history::History;

/// What the admin API is built from.
pub struct AdminApi {
    /// The use cases that answer.
    pub explain: Explain,
    /// Who may use it.
    pub tokens: Vec<AdminToken>,
    /// Whether a client certificate of the listener is good for changes, and not for looking alone.
    pub certificates_may_write: bool,
    /// The names, besides `localhost` and IP addresses, by which it may be called, in small letters.
    pub hosts: Vec<String>,
    /// The runtime on which the use case runs; it MUST outlive the HTTP worker.
    pub runtime: Handle,
    /// The source of the time in errors.
    pub clock: Arc<dyn Clock>,
    /// The source of request ids.
    pub entropy: Arc<dyn Entropy>,
    /// What the process has counted.
    pub counts: Arc<dyn CountReader>,
    /// The signing keys.
    pub keys: Arc<dyn KeyList>,
    /// What runs, beside its file.
    pub configuration: Arc<dyn RunningConfiguration>,
    /// What the public listener answers from: the limits on callers, and its last refusals.
    pub public: Arc<CurrentState>,
}

const PREFIX: &str = "/admin/v1";

/// Adds the routes of the admin API.
pub(crate) fn admin_routes(api: Arc<AdminApi>, history: Arc<History>, config: &mut ServiceConfig) {
    // Of the whole listener, as the middleware of a scope does not see the data of the scope.
    config.app_data(Data::from(api)).app_data(Data::from(history));
    config.app_data(Data::new(Document::new(&document())));
    let scope = web::scope(PREFIX).wrap(middleware::from_fn(gate::gate)).configure(|config| {
        for endpoint in endpoints() {
            endpoint.register(config);
        }
    });
    config.service(scope.default_service(web::to(not_found)));
}

fn endpoints() -> Vec<Endpoint> {
    let at = |path: &str| Endpoint::at(path);
    vec![
        at("/openapi.json").get(show_document, document_operation),
        at("/overview").get(overview::show, operations::overview),
        at("/users").get(people::find, operations::find),
        at("/users/{id}")
            .get(people::show, operations::show)
            .delete(people::delete, operations::delete),
        at("/users/{id}/disable").post(people::disable, operations::disable),
        at("/users/{id}/enable").post(people::enable, operations::enable),
        at("/users/{id}/roles/{role}")
            .put(people::grant_role, operations::grant_role)
            .delete(people::revoke_role, operations::revoke_role),
        at("/users/{id}/export").get(people::export, operations::export),
        at("/users/{id}/explain").get(people::explain, operations::explain),
        at("/sessions/{sid}/explain").get(people::explain_session, operations::explain_session),
        at("/requests/{id}/explain").get(people::explain_request, operations::explain_request),
        at("/users/{id}/sessions")
            .get(people::sessions, operations::sessions)
            .delete(people::end_all, operations::end_all),
        at("/sessions/{sid}")
            .get(people::session, operations::session)
            .delete(people::end_session, operations::end_session),
    ]
}

async fn show_document(request: HttpRequest, document: Data<Document>) -> HttpResponse {
    document.answer(&request)
}

/// The page of a list.
#[derive(Deserialize, IntoParams)]
struct Paging {
    /// Any part of the id, name, email address, subject or user name; of people alone.
    #[param(nullable = false)]
    search: Option<String>,
    /// The `next` of the page before.
    #[param(nullable = false)]
    after: Option<String>,
    /// How many entries the page has, 50 by default.
    #[param(nullable = false)]
    limit: Option<u32>,
}

impl Paging {
    /// How many entries a page has if nobody says.
    const LIMIT: u32 = 50;

    fn limit(&self) -> u32 {
        self.limit.unwrap_or(Self::LIMIT)
    }

    /// The cursor, which `read` reads.
    fn after<T>(&self, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, ApiError> {
        let Some(text) = &self.after else { return Ok(None) };
        let cursor = read(text).ok_or_else(|| {
            ApiError::new(ErrorCode::InvalidRequest).because("after is no cursor of this list")
        })?;
        Ok(Some(cursor))
    }
}

type Page = Query<Paging>;

/// Who uses the admin API.
#[derive(Debug, Clone)]
struct Operator {
    /// How the audit log names them.
    actor: Actor,
    /// The name of their token or certificate.
    name: String,
    /// Whether they may change something.
    may_write: bool,
}

/// The admin API as whoever uses it has it: what they do is noted by the name of their token or certificate.
struct Desk {
    api: Data<AdminApi>,
    operator: Operator,
    administration: Administration,
    explain: Explain,
}

impl FromRequest for Desk {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let api = request.app_data::<Data<AdminApi>>().cloned();
        let operator = request.extensions().get::<Operator>().cloned();
        ready(match api.zip(operator) {
            Some((api, operator)) => {
                let explain = api.explain.clone();
                let administration = explain.administration.by(operator.actor.clone());
                Ok(Self { api, operator, administration, explain })
            }
            None => Err(ApiError::new(ErrorCode::InternalError).because("nobody was let in")),
        })
    }
}

impl Desk {
    /// Reads: stops if the client goes away.
    async fn read<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, AdministrationError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        runtime::run(&self.api.runtime, work).await.map_err(refusal)
    }

    /// Writes: goes on to the end, also if the client goes away.
    async fn write<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, AdministrationError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        runtime::run_to_end(&self.api.runtime, work).await.map_err(refusal)
    }
}

fn answer(body: &impl Serialize) -> HttpResponse {
    uncached(HttpResponse::Ok()).json(body)
}

/// A store in doubt is never a success: the operator asks again, which does no harm.
fn refusal(error: AdministrationError) -> ApiError {
    match error {
        AdministrationError::Store(error) | AdministrationError::NotNoted(error) => {
            AuthError::Store(error).into()
        }
        AdministrationError::InDoubt(cause) => {
            AuthError::Store(StoreError::Unavailable(cause)).into()
        }
        AdministrationError::Nobody
        | AdministrationError::NoSuchSession
        | AdministrationError::Ambiguous { .. } => ApiError::new(ErrorCode::NotFound),
        AdministrationError::NotSearchable | AdministrationError::InvalidRole => {
            ApiError::new(ErrorCode::InvalidRequest).because(error.to_string())
        }
    }
}
