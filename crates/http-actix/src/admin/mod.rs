//! `/admin/v1` of the operations listener: operators look at people and sessions and change them.

mod gate;
mod people;

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::web::{self, Data, Query, ServiceConfig};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, HttpResponse, middleware};
use mintgate_domain::model::Actor;
use mintgate_domain::ports::{Clock, Entropy, StoreError};
use mintgate_domain::{
    Administration, AdministrationError, AuthError, ErrorCode, Explain, TokenHash,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::error::ApiError;
use crate::sessions::uncached;
use crate::{methods, not_found, readable, runtime};

/// What the admin API is built from.
pub struct AdminApi {
    /// The use cases that answer.
    pub explain: Explain,
    /// Who may use it.
    pub tokens: Vec<AdminToken>,
    /// The names, besides `localhost` and IP addresses, by which it may be called, in small letters.
    pub hosts: Vec<String>,
    /// The runtime on which the use case runs; it MUST outlive the HTTP worker.
    pub runtime: Handle,
    /// The source of the time in errors.
    pub clock: Arc<dyn Clock>,
    /// The source of request ids.
    pub entropy: Arc<dyn Entropy>,
}

/// A bearer token of the admin API.
#[derive(Debug, Clone)]
pub struct AdminToken {
    /// What the log calls whoever uses it.
    pub name: String,
    /// The SHA-256 of its text.
    pub hash: TokenHash,
    /// Whether it is good for changes, and not for looking alone.
    pub may_write: bool,
}

/// Adds the routes of the admin API.
pub(crate) fn admin_routes(api: Arc<AdminApi>, config: &mut ServiceConfig) {
    let user = |path: &str| web::resource(format!("/users/{{id}}{path}"));
    // Of the whole listener, as the middleware of a scope does not see the data of the scope.
    config.app_data(Data::from(api));
    let scope = web::scope("/admin/v1")
        .wrap(middleware::from_fn(gate::gate))
        .service(readable("/users", people::find))
        .service(methods(
            user("").get(people::show).head(people::show).delete(people::delete),
            "GET, HEAD, DELETE",
        ))
        .service(methods(user("/disable").post(people::disable), "POST"))
        .service(methods(user("/enable").post(people::enable), "POST"))
        .service(methods(
            user("/roles/{role}").put(people::grant_role).delete(people::revoke_role),
            "PUT, DELETE",
        ))
        .service(readable("/users/{id}/export", people::export))
        .service(readable("/users/{id}/explain", people::explain))
        .service(readable("/sessions/{sid}/explain", people::explain_session))
        .service(readable("/requests/{id}/explain", people::explain_request))
        .service(methods(
            user("/sessions").get(people::sessions).head(people::sessions).delete(people::end_all),
            "GET, HEAD, DELETE",
        ))
        .service(methods(
            web::resource("/sessions/{sid}")
                .get(people::session)
                .head(people::session)
                .delete(people::end_session),
            "GET, HEAD, DELETE",
        ))
        .default_service(web::to(not_found));
    config.service(scope);
}

/// The page of a list.
#[derive(Deserialize)]
struct Paging {
    search: Option<String>,
    after: Option<String>,
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

/// The admin API as whoever uses it has it: what they do is noted by the name of their token.
struct Desk {
    api: Data<AdminApi>,
    administration: Administration,
    explain: Explain,
}

impl FromRequest for Desk {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let api = request.app_data::<Data<AdminApi>>().cloned();
        let actor = request.extensions().get::<Actor>().cloned();
        ready(match api.zip(actor) {
            Some((api, actor)) => {
                let explain = api.explain.clone();
                Ok(Self { administration: explain.administration.by(actor), explain, api })
            }
            None => {
                Err(ApiError::new(ErrorCode::InternalError).because("no admin token was shown"))
            }
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
