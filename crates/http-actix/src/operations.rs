//! The operations listener: metrics, liveness and readiness. It is never on the public port.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::mime;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Responder, Route, guard};
use async_trait::async_trait;
use serde::Serialize;

/// The questions that the operations listener asks the running process.
#[async_trait]
pub trait Operations: Send + Sync {
    /// Every series, in the Prometheus text format 0.0.4.
    ///
    /// # Errors
    /// Why the series cannot be written.
    fn metrics(&self) -> Result<String, String>;

    /// Why the process should not be sent requests at present; `None` if it is ready for them.
    async fn not_ready(&self) -> Option<String>;

    /// Takes the configuration over that is written now, all of it or nothing; what was taken over, for
    /// people.
    ///
    /// # Errors
    /// Why nothing was, for people.
    async fn reload(&self) -> Result<String, String>;
}

/// The header that an order to reload has: no page of another site can send it unasked (Fetch §3.2.2).
pub const RELOAD_HEADER: &str = "mintgate-reload";

/// Adds the routes of the operations listener, which answer from `operations`.
pub(crate) fn operations_routes(operations: Arc<dyn Operations>, config: &mut ServiceConfig) {
    config
        .app_data(Data::from(operations))
        .route("/metrics", get_or_head().to(metrics))
        .route("/health/live", get_or_head().to(live))
        .route("/health/ready", get_or_head().to(ready))
        .route("/reload", web::post().to(reload));
}

/// The server leaves the body out of an answer to `HEAD`.
fn get_or_head() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

async fn metrics(operations: Data<dyn Operations>) -> HttpResponse {
    match operations.metrics() {
        Ok(text) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
            .body(text),
        Err(error) => HttpResponse::InternalServerError().body(error),
    }
}

async fn live() -> impl Responder {
    HttpResponse::Ok().json(Health { status: "live", reason: None })
}

async fn ready(operations: Data<dyn Operations>) -> impl Responder {
    let reason = operations.not_ready().await;
    match reason {
        None => HttpResponse::Ok().json(Health { status: "ready", reason }),
        Some(_) => HttpResponse::ServiceUnavailable().json(Health { status: "not ready", reason }),
    }
}

/// Carries an order to reload out, if it comes from this machine. Nobody needs a token for it: whoever may
/// send it can send SIGHUP as well, and what it reads is the operator's own file.
async fn reload(request: HttpRequest, operations: Data<dyn Operations>) -> HttpResponse {
    let is_local = request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    if !is_local || !request.headers().contains_key(RELOAD_HEADER) {
        let text =
            format!("a reload is ordered from the same machine, with the header {RELOAD_HEADER}\n");
        return HttpResponse::Forbidden().content_type(mime::TEXT_PLAIN_UTF_8).body(text);
    }
    let (mut answer, text) = match operations.reload().await {
        Ok(text) => (HttpResponse::Ok(), text),
        Err(text) => (HttpResponse::UnprocessableEntity(), text),
    };
    answer.content_type(mime::TEXT_PLAIN_UTF_8).body(text)
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use actix_web::http::{Method, StatusCode};
    use actix_web::{App, test};

    use super::*;

    struct Process {
        not_ready: Option<&'static str>,
    }

    #[async_trait]
    impl Operations for Process {
        fn metrics(&self) -> Result<String, String> {
            self.not_ready.map_or(Ok("up 1\n".to_owned()), |reason| Err(reason.to_owned()))
        }

        async fn not_ready(&self) -> Option<String> {
            self.not_ready.map(str::to_owned)
        }

        async fn reload(&self) -> Result<String, String> {
            self.not_ready.map_or(Ok("roles.default\n".to_owned()), |reason| Err(reason.to_owned()))
        }
    }

    async fn get(process: Process, path: &str) -> (StatusCode, String) {
        let operations: Arc<dyn Operations> = Arc::new(process);
        let app = App::new().configure(|config| operations_routes(operations, config));
        let app = test::init_service(app).await;
        let request = test::TestRequest::get().uri(path).to_request();
        let answer = test::call_service(&app, request).await;
        let status = answer.status();
        let body = test::read_body(answer).await;
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[actix_web::test]
    async fn a_process_that_is_ready_says_so() {
        let process = || Process { not_ready: None };
        let ready = (StatusCode::OK, r#"{"status":"ready"}"#.to_owned());
        assert_eq!(get(process(), "/health/ready").await, ready);
        let live = (StatusCode::OK, r#"{"status":"live"}"#.to_owned());
        assert_eq!(get(process(), "/health/live").await, live);
        assert_eq!(get(process(), "/metrics").await, (StatusCode::OK, "up 1\n".to_owned()));
    }

    #[actix_web::test]
    async fn a_reload_is_ordered_from_this_machine_by_no_page_and_its_outcome_is_told() {
        let (here, elsewhere) = ("127.0.0.1:5000", "192.0.2.7:5000");
        for (not_ready, peer, has_header, expected) in [
            (None, here, true, (200, "roles.default\n")),
            (None, "[::ffff:127.0.0.1]:5000", true, (200, "roles.default\n")),
            (Some("a mistake"), here, true, (422, "a mistake")),
            (None, elsewhere, true, (403, "")),
            (None, here, false, (403, "")),
        ] {
            let operations: Arc<dyn Operations> = Arc::new(Process { not_ready });
            let app = App::new().configure(|config| operations_routes(operations, config));
            let app = test::init_service(app).await;
            let request = test::TestRequest::post().uri("/reload").peer_addr(peer.parse().unwrap());
            let request =
                if has_header { request.insert_header((RELOAD_HEADER, "1")) } else { request };
            let answer = test::call_service(&app, request.to_request()).await;
            assert_eq!(answer.status().as_u16(), expected.0, "{peer}");
            let body = test::read_body(answer).await;
            assert!(expected.0 == 403 || body == expected.1, "{body:?}");
        }
    }

    #[actix_web::test]
    async fn head_is_answered_like_get() {
        let operations: Arc<dyn Operations> = Arc::new(Process { not_ready: Some("no store") });
        let app = App::new().configure(|config| operations_routes(operations, config));
        let app = test::init_service(app).await;
        for (path, status) in [("/health/live", 200), ("/health/ready", 503), ("/metrics", 500)] {
            let request = test::TestRequest::default().method(Method::HEAD).uri(path).to_request();
            assert_eq!(test::call_service(&app, request).await.status().as_u16(), status, "{path}");
        }
        let request = test::TestRequest::post().uri("/health/live").to_request();
        assert_eq!(test::call_service(&app, request).await.status(), StatusCode::NOT_FOUND);
    }

    #[actix_web::test]
    async fn a_process_that_is_not_ready_is_live_and_says_why() {
        let process = || Process { not_ready: Some("no store") };
        let body = r#"{"status":"not ready","reason":"no store"}"#.to_owned();
        let not_ready = (StatusCode::SERVICE_UNAVAILABLE, body);
        assert_eq!(get(process(), "/health/ready").await, not_ready);
        assert_eq!(get(process(), "/health/live").await.0, StatusCode::OK);
        assert_eq!(get(process(), "/metrics").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
