//! Roles from the operator's user system, over real HTTP.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use crate::common::{Options, Store, TestService, Tokens, assert_error, claims};
use crate::on_both_stores;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// The operator's user system.
struct UserSystem {
    url: String,
    state: Arc<SystemState>,
}

#[derive(Default)]
struct SystemState {
    /// What it answers with; 0 is 200.
    status: AtomicU16,
    asked: AtomicUsize,
    last: std::sync::Mutex<Value>,
}

impl UserSystem {
    fn start() -> Self {
        let state = Arc::new(SystemState::default());
        let shared = web::Data::from(Arc::clone(&state));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/roles", listener.local_addr().expect("an address"));
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async {
                let server = HttpServer::new(move || {
                    App::new().app_data(shared.clone()).route("/roles", web::post().to(answer))
                });
                server.workers(1).listen(listener).expect("it listens").run().await
            })
        });
        Self { url, state }
    }

    fn answers(&self, status: u16) {
        self.state.status.store(status, Ordering::SeqCst);
    }

    fn options(&self, on_failure: &str) -> Options {
        let url = &self.url;
        let more = format!(
            "[roles]\nat_refresh = \"evaluate\"\n[roles.lookup]\nurl = \"{url}\"\n\
             token = \"lookup-secret\"\ncache_secs = 0\non_failure = \"{on_failure}\"\n"
        );
        Options { more, ..Options::default() }
    }
}

async fn answer(
    state: web::Data<SystemState>,
    request: HttpRequest,
    question: web::Json<Value>,
) -> HttpResponse {
    state.asked.fetch_add(1, Ordering::SeqCst);
    *state.last.lock().unwrap() = question.into_inner();
    let authorized = request.headers().get("authorization");
    if authorized.is_none_or(|value| value != "Bearer lookup-secret") {
        return HttpResponse::Unauthorized().finish();
    }
    match state.status.load(Ordering::SeqCst) {
        0 => HttpResponse::Ok().json(json!({ "roles": ["editor"] })),
        status => {
            HttpResponse::build(actix_web::http::StatusCode::from_u16(status).unwrap()).finish()
        }
    }
}

fn roles(tokens: &Tokens) -> Value {
    claims(&tokens.access)["roles"].clone()
}

on_both_stores! {
    async fn roles_of_the_user_system_are_added_and_taken_away_at_the_next_refresh(store: Store) {
        let system = UserSystem::start();
        let service = TestService::start_with(store, system.options("refuse")).await;
        let alice = service.signed_in().await;
        assert_eq!(roles(&alice), json!(["admin", "editor", "staff", "user"]));
        let said = claims(&alice.access);
        let asked = system.state.last.lock().unwrap().clone();
        assert_eq!(
            asked,
            json!({
                "userId": said["sub"], "provider": "corp",
                "issuer": service.idp().issuer(), "subject": asked["subject"],
            })
        );
        system.answers(404);
        let next = service.refreshed(&alice.refresh).await;
        assert_eq!(roles(&next), json!(["admin", "staff", "user"]));
        assert_eq!(roles(&service.refreshed(&alice.refresh).await), roles(&next), "a replay agrees");
    }

    async fn a_user_system_that_fails_signs_nobody_in_and_nobody_out(store: Store) {
        let system = UserSystem::start();
        let service = TestService::start_with(store, system.options("refuse")).await;
        let alice = service.signed_in().await;
        system.answers(500);
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        service.refused(service.refresh(&alice.refresh), unavailable, "ROLES_UNAVAILABLE").await;
        let before = service.dump().await;
        let code = service.code_for("bob");
        let body = json!({ "authCode": code, "provider": "corp" });
        let sign_in = || service.post(&body).header("idempotency-key", "a-key-of-16-chars");
        assert_error(sign_in().send().await.unwrap(), unavailable, "ROLES_UNAVAILABLE").await;
        // The key stays held for a moment: here alone its sign-in can still be answered.
        let mut after = service.dump().await;
        assert_eq!(after.rows("idempotency_reservations").len(), 1);
        after.insert("idempotency_reservations", Vec::new());
        assert_eq!(after, before);
        system.answers(0);
        assert_eq!(sign_in().send().await.unwrap().status(), StatusCode::OK, "its code is not lost");
        service.refreshed(&alice.refresh).await;
    }
}

#[tokio::test]
async fn a_user_system_that_fails_open_costs_its_roles_alone() {
    let system = UserSystem::start();
    let service = TestService::start_with(Store::Sqlite, system.options("ignore")).await;
    let alice = service.signed_in().await;
    system.answers(500);
    assert_eq!(roles(&service.signed_in_as("bob").await), json!(["staff", "user"]));
    let next = service.refreshed(&alice.refresh).await;
    assert_eq!(roles(&next), roles(&alice), "a session keeps what it has");
}
