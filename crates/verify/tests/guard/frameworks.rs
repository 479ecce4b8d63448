//! The same two handlers in each framework: one for every user, one for those with the role `admin`.

use actix_web::{App, HttpResponse, test, web};
use axum::body::Body;
use axum::extract::Extension;
use axum::routing::any;
use http::Request;
use mintgate_verify::{Claims, Denied, Guard, RequireToken, SignedIn};
use tower::ServiceExt;

pub(crate) const FRAMEWORKS: [Framework; 3] = [Framework::Actix, Framework::Axum, Framework::Tower];

#[derive(Clone, Copy)]
pub(crate) enum Framework {
    Actix,
    Axum,
    Tower,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Sorted; without the length, which the frameworks add at different places.
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    fn new(status: u16, headers: impl Iterator<Item = (String, String)>, body: &[u8]) -> Self {
        let mut headers: Vec<_> = headers
            .filter(|(name, value)| name != "content-length" && !value.starts_with("text/plain"))
            .collect();
        headers.sort();
        Self { status, headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn error_code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        body["errorCode"].as_str().unwrap().to_owned()
    }
}

impl Framework {
    pub(crate) async fn send(self, guard: &Guard, method: &str, headers: &[(&str, &str)]) -> Reply {
        self.request(guard, method, "/", headers).await
    }

    pub(crate) async fn send_to_admin(self, guard: &Guard, headers: &[(&str, &str)]) -> Reply {
        self.request(guard, "GET", "/admin", headers).await
    }

    async fn request(
        self,
        guard: &Guard,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Reply {
        match self {
            Self::Actix => actix(guard, method, path, headers).await,
            Self::Axum => in_axum(axum_router(guard), method, path, headers).await,
            Self::Tower => in_axum(tower_router(guard), method, path, headers).await,
        }
    }
}

async fn actix(guard: &Guard, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    async fn user(SignedIn(claims): SignedIn) -> String {
        claims.sub
    }
    async fn admin(SignedIn(claims): SignedIn) -> Result<HttpResponse, Denied> {
        claims.require_role("admin")?;
        Ok(HttpResponse::Ok().finish())
    }
    let app = App::new()
        .app_data(web::Data::new(guard.clone()))
        .route("/", web::to(user))
        .route("/admin", web::to(admin));
    let app = test::init_service(app).await;
    let mut request = test::TestRequest::with_uri(path).method(method.parse().unwrap());
    for header in headers {
        request = request.append_header(*header);
    }
    let response = test::call_service(&app, request.to_request()).await;
    let status = response.status().as_u16();
    let text = |it: &actix_web::http::header::HeaderValue| it.to_str().unwrap().to_owned();
    let headers: Vec<_> =
        response.headers().iter().map(|(name, it)| (name.to_string(), text(it))).collect();
    Reply::new(status, headers.into_iter(), &test::read_body(response).await)
}

fn axum_router(guard: &Guard) -> axum::Router {
    async fn user(SignedIn(claims): SignedIn) -> String {
        claims.sub
    }
    async fn admin(SignedIn(claims): SignedIn) -> Result<(), Denied> {
        claims.require_role("admin")
    }
    axum::Router::new().route("/", any(user)).route("/admin", any(admin)).with_state(guard.clone())
}

fn tower_router(guard: &Guard) -> axum::Router {
    async fn user(Extension(claims): Extension<Claims>) -> String {
        claims.sub
    }
    let layer = RequireToken::new(guard.clone());
    let admins =
        axum::Router::new().route("/admin", any(async || ())).layer(layer.clone().role("admin"));
    axum::Router::new().route("/", any(user)).layer(layer).merge(admins)
}

async fn in_axum(
    router: axum::Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 10_000).await.unwrap();
    let headers = parts.headers.iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    Reply::new(parts.status.as_u16(), headers, &body)
}
