//! [`SignedIn`] as an extractor of axum.

use ::http::request::Parts;
use axum_core::body::Body;
use axum_core::extract::{FromRef, FromRequestParts};
use axum_core::response::{IntoResponse, Response};

use super::head::Head;
use super::{Denied, Guard, SignedIn};

/// The state of the router is a [`Guard`], or has one (`FromRef`).
impl<S: Send + Sync> FromRequestParts<S> for SignedIn
where
    Guard: FromRef<S>,
{
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Denied> {
        let guard = Guard::from_ref(state);
        let head = Head::of_http(&parts.method, &parts.uri, &parts.headers);
        guard.check(head).await.map(SignedIn)
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let mut response = Response::builder().status(self.status());
        for (name, value) in self.headers() {
            response = response.header(name, value);
        }
        response.body(Body::from(self.body())).unwrap_or_default()
    }
}
