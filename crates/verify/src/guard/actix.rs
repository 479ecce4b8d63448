//! [`SignedIn`] as an extractor of actix-web.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::uri::Authority;
use actix_web::http::{StatusCode, header};
use actix_web::{Error, FromRequest, HttpRequest, HttpResponse, ResponseError, web};

use super::head::Head;
use super::{Denied, Guard, SignedIn};

/// The application has a `web::Data<Guard>`.
impl FromRequest for SignedIn {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let Some(guard) = request.app_data::<web::Data<Guard>>() else {
                let message = "the application has no web::Data<mintgate_verify::Guard>";
                return Err(actix_web::error::ErrorInternalServerError(message));
            };
            Ok(Self(guard.check(head(&request)).await?))
        })
    }
}

fn head(request: &HttpRequest) -> Head<'_> {
    let headers = request.headers();
    let all = |name: header::HeaderName| {
        headers.get_all(name).map(header::HeaderValue::as_bytes).collect::<Vec<_>>()
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    Head {
        method: request.method().as_str(),
        host: host.or_else(|| request.uri().authority().map(Authority::as_str)),
        authorization: all(header::AUTHORIZATION),
        cookies: all(header::COOKIE),
        origin: all(header::ORIGIN),
        fetch_site: headers.get("sec-fetch-site").map(header::HeaderValue::as_bytes),
        is_upgrade: headers.contains_key(header::UPGRADE),
    }
}

impl ResponseError for Denied {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::UNAUTHORIZED)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        for header in self.headers() {
            response.insert_header(header);
        }
        response.body(self.body())
    }
}
