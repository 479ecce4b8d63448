//! The files that the hosted pages load: our style, the operator's style, the logo.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::{ErrorCode, TokenHash};
use serde_json::json;

use super::Hosted;
use crate::current::State;
use crate::error::ApiError;
use crate::openapi::Operation;
use crate::public_document;

/// The path of our style.
pub(super) const STYLE: &str = "/api/v1/auth/pages/hosted.css";
/// The path of the operator's style.
pub(super) const OWN_STYLE: &str = "/api/v1/auth/pages/own.css";
/// The path of the logo, which is also the icon of the pages.
pub(super) const LOGO: &str = "/api/v1/auth/pages/logo";

const CSS: &str = "text/css; charset=utf-8";
const STYLE_TEXT: &str = include_str!("hosted.css");
const ICON: &str = include_str!("icon.svg");

/// A picture that is opened as a page of its own runs nothing and loads nothing: an SVG could.
const LOGO_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// A file, with its type and its tag.
#[derive(Debug)]
pub(super) struct Asset {
    media_type: &'static str,
    bytes: Vec<u8>,
    etag: String,
}

impl Asset {
    pub(super) fn new(media_type: &'static str, bytes: &[u8]) -> Self {
        let etag = public_document::tag_of(TokenHash::of_bytes(bytes));
        Self { media_type, bytes: bytes.to_vec(), etag }
    }

    pub(super) fn style(text: &str) -> Self {
        Self::new(CSS, text.as_bytes())
    }

    pub(super) fn icon() -> Self {
        Self::new("image/svg+xml", ICON.as_bytes())
    }

    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        public_document::answer(request, self.media_type, &self.bytes, &self.etag)
    }
}

pub(crate) fn style_operation() -> Operation {
    style("hostedStyle", "Get the style of the hosted pages")
}

pub(crate) fn own_style_operation() -> Operation {
    style("ownStyle", "Get the operator's style of the hosted pages")
}

fn style(id: &'static str, summary: &'static str) -> Operation {
    file(id, summary, &["text/css"])
}

pub(crate) fn logo_operation() -> Operation {
    let types = ["image/svg+xml", "image/png", "image/jpeg", "image/webp"];
    file("logo", "Get the logo of the hosted pages", &types)
}

fn file(id: &'static str, summary: &'static str, media_types: &[&str]) -> Operation {
    let schema = json!({ "type": "string" });
    Operation::new("Hosted pages", id, summary)
        .answers_as(StatusCode::OK, "The file.", media_types, &schema)
        .can_be_cached()
        .refuses([ErrorCode::NotFound])
}

/// Our style: the policy of the pages allows none within them.
pub(crate) async fn show_style(
    request: HttpRequest,
    state: State,
) -> Result<HttpResponse, ApiError> {
    let hosted = Hosted::of(&state)?;
    Ok(hosted.style.answer(&request))
}

/// The operator's style.
pub(crate) async fn show_own_style(
    request: HttpRequest,
    state: State,
) -> Result<HttpResponse, ApiError> {
    let own = Hosted::of(&state)?.own_style.as_ref();
    let own = own.ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
    Ok(own.answer(&request))
}

/// The operator's logo, or a plain icon.
pub(crate) async fn show_logo(
    request: HttpRequest,
    state: State,
) -> Result<HttpResponse, ApiError> {
    let mut answer = Hosted::of(&state)?.logo.answer(&request);
    let policy = HeaderValue::from_static(LOGO_POLICY);
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(answer)
}

/// The text of our style.
pub(super) fn our_style() -> Asset {
    Asset::style(STYLE_TEXT)
}
