//! A tower layer for whole routers, and for frameworks without an extractor here.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::head::Head;
use super::{Denied, Guard};

/// A layer that lets only requests with a good token pass, and puts their [`Claims`](crate::Claims) into the extensions of the request.
///
/// It also refuses CORS preflights, which have no token: put the layer that answers them outside.
#[derive(Clone)]
pub struct RequireToken {
    guard: Arc<Guard>,
    role: Option<Arc<str>>,
}

impl RequireToken {
    /// A layer that uses this guard.
    pub fn new(guard: Guard) -> Self {
        Self { guard: Arc::new(guard), role: None }
    }

    /// Lets only users with this role pass; others get 403.
    #[must_use]
    pub fn role(mut self, role: &str) -> Self {
        self.role = Some(role.into());
        self
    }
}

impl<S> Layer<S> for RequireToken {
    type Service = RequireTokenService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireTokenService { rules: self.clone(), inner }
    }
}

/// The service that [`RequireToken`] makes.
#[derive(Clone)]
pub struct RequireTokenService<S> {
    rules: RequireToken,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for RequireTokenService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: From<String>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that is ready is this one, not its clone.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let rules = self.rules.clone();
        let (mut parts, body) = request.into_parts();
        Box::pin(async move {
            let head = Head::of_http(&parts.method, &parts.uri, &parts.headers);
            let checked = rules.guard.check(head).await.and_then(|claims| {
                rules.role.as_deref().map_or(Ok(()), |role| claims.require_role(role))?;
                Ok(claims)
            });
            match checked {
                Ok(claims) => {
                    parts.extensions.insert(claims);
                    inner.call(Request::from_parts(parts, body)).await
                }
                Err(denied) => Ok(response(&denied)),
            }
        })
    }
}

fn response<R: From<String>>(denied: &Denied) -> Response<R> {
    let mut response = Response::new(R::from(denied.body()));
    if let Ok(status) = ::http::StatusCode::from_u16(denied.status()) {
        *response.status_mut() = status;
    }
    for (name, value) in denied.headers() {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
