//! The state that requests are answered from, which may be replaced while the service runs.

use std::future::{Ready, ready};
use std::ops::Deref;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest};
use arc_swap::ArcSwap;

use crate::AppState;
use crate::error::ApiError;

/// The state that the public listener answers from. A request keeps the state that it began with.
pub struct CurrentState(ArcSwap<AppState>);

impl CurrentState {
    /// Begins with this state.
    pub fn new(state: AppState) -> Self {
        Self(ArcSwap::from_pointee(state))
    }

    /// Answers all later requests from `next`. What the limits on callers have counted stays, unless the
    /// limits themselves are others, and so does what belongs to requests under way.
    pub fn replace(&self, next: AppState) {
        let next = next.after(&self.load());
        self.0.store(Arc::new(next));
    }

    pub(crate) fn load(&self) -> Arc<AppState> {
        self.0.load_full()
    }
}

/// The state that a request is answered from, from its beginning to its end.
#[derive(Clone)]
pub(crate) struct State(pub(crate) Arc<AppState>);

impl Deref for State {
    type Target = Arc<AppState>;

    fn deref(&self) -> &Arc<AppState> {
        &self.0
    }
}

impl FromRequest for State {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let state = request.extensions().get::<Self>().cloned();
        let missing = || ApiError::new(mintgate_domain::ErrorCode::InternalError).into();
        ready(state.ok_or_else(missing))
    }
}
