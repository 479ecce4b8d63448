//! A path: its methods, who answers them, and what is documented of them.

use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpResponse, Resource, Responder};

use super::Operation;
use crate::error::ApiError;

/// A path with its methods. It refuses every other method, and names in `Allow` the ones it has.
pub(crate) struct Endpoint {
    pub(super) path: String,
    /// The description is made for the document alone, and not for each worker.
    pub(super) operations: Vec<(Method, fn() -> Operation)>,
    resource: Resource,
}

impl Endpoint {
    /// Makes a path without methods.
    pub(crate) fn at(path: impl Into<String>) -> Self {
        let path = path.into();
        Self { resource: web::resource(path.as_str()), path, operations: Vec::new() }
    }

    /// Is matched by any of these patterns of the router, in place of the path, which the document has.
    pub(crate) fn matching(self, patterns: [&'static str; 2]) -> Self {
        Self { resource: web::resource(patterns), ..self }
    }

    /// Answers every method alike; the document has GET.
    pub(crate) fn any<H, Args>(mut self, handler: H, describe: fn() -> Operation) -> Self
    where
        H: Handler<Args>,
        Args: FromRequest + 'static,
        H::Output: Responder + 'static,
    {
        self.resource = self.resource.route(web::route().to(handler));
        self.operations.push((Method::GET, describe));
        self
    }

    /// Answers GET, and HEAD likewise (RFC 9110 §9.3.2).
    pub(crate) fn get<H, Args>(self, handler: H, describe: fn() -> Operation) -> Self
    where
        H: Handler<Args> + Clone,
        Args: FromRequest + 'static,
        H::Output: Responder + 'static,
    {
        let mut with_get = self.method(Method::GET, handler.clone(), describe);
        with_get.resource = with_get.resource.head(handler);
        with_get
    }

    /// Answers POST.
    pub(crate) fn post<H, Args>(self, handler: H, describe: fn() -> Operation) -> Self
    where
        H: Handler<Args>,
        Args: FromRequest + 'static,
        H::Output: Responder + 'static,
    {
        self.method(Method::POST, handler, describe)
    }

    /// Answers PUT.
    pub(crate) fn put<H, Args>(self, handler: H, describe: fn() -> Operation) -> Self
    where
        H: Handler<Args>,
        Args: FromRequest + 'static,
        H::Output: Responder + 'static,
    {
        self.method(Method::PUT, handler, describe)
    }

    /// Answers DELETE.
    pub(crate) fn delete<H, Args>(self, handler: H, describe: fn() -> Operation) -> Self
    where
        H: Handler<Args>,
        Args: FromRequest + 'static,
        H::Output: Responder + 'static,
    {
        self.method(Method::DELETE, handler, describe)
    }

    fn method<H, Args>(mut self, method: Method, handler: H, describe: fn() -> Operation) -> Self
    where
        H: Handler<Args>,
        Args: FromRequest + 'static,
        H::Output: Responder + 'static,
    {
        self.resource = self.resource.route(web::method(method.clone()).to(handler));
        self.operations.push((method, describe));
        self
    }

    /// Adds the path to what a listener answers.
    pub(crate) fn register(self, config: &mut ServiceConfig) {
        let allow = self.allow();
        config.service(self.resource.default_service(web::to(move || {
            let refusal = ApiError::method_not_allowed(allow.clone());
            async { Err::<HttpResponse, _>(refusal) }
        })));
    }

    /// The methods, as `Allow` names them.
    fn allow(&self) -> String {
        let names = self.operations.iter().map(|(method, _)| match *method {
            Method::GET => "GET, HEAD",
            ref other => other.as_str(),
        });
        names.collect::<Vec<_>>().join(", ")
    }
}
