//! The two pages that browsers see here: a refusal, and the form that is posted once more.

use std::fmt::Write as _;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use mintgate_domain::ErrorCode;
use mintgate_domain::model::ReturnOrigins;
use serde_json::json;
use url::form_urlencoded;

use crate::RequestId;
use crate::error::ErrorKind;
use crate::openapi::Operation;
use crate::public_document;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT_TYPE: &str = "text/javascript; charset=utf-8";
const SCRIPT: &str = include_str!("post-again.js");

/// The query of the address to which our own page posts a form.
pub(super) const AGAIN: &str = "again=1";

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width\">\
    <meta name=\"color-scheme\" content=\"light dark\"><title>Sign-in</title>";

/// What a person reads.
fn sentence(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Core(ErrorCode::InvalidState) => {
            "This sign-in was not begun in this browser, or it is over, or the browser keeps no cookies."
        }
        ErrorKind::Core(ErrorCode::InvalidRequest) => "The request is not a sign-in.",
        kind => kind.message(),
    }
}

/// A refusal as a page, with a link to begin again if there is an address for it.
pub(crate) fn error_page(
    mut response: HttpResponseBuilder,
    kind: ErrorKind,
    again: Option<&str>,
    id: &RequestId,
) -> HttpResponse {
    let mut page = format!("{HEAD}<main><p>{}</p>", sentence(kind));
    if let Some(again) = again {
        let _ = write!(page, "<p><a href=\"{}\">Start again</a></p>", escaped(again));
    }
    let _ = write!(page, "<p><small>{} {}</small></p></main>", kind.code(), escaped(id.as_str()));
    let policy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    response
        .content_type(HTML)
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .body(page)
}

/// A page of ours that posts the same form once more: the browser then sends the cookie along that it kept
/// back from a form of another site.
pub(super) fn post_again(form: &[u8], origins: &ReturnOrigins) -> HttpResponse {
    let mut page = format!("{HEAD}<main><form method=\"post\" action=\"?{AGAIN}\">");
    for (name, value) in form_urlencoded::parse(form) {
        let (name, value) = (escaped(&name), escaped(&value));
        let _ = write!(page, "<input type=\"hidden\" name=\"{name}\" value=\"{value}\">");
    }
    page +=
        "<button>Continue</button></form></main><script src=\"../pages/post-again.js\"></script>";
    // Browsers apply the policy to the redirect that answers the form too.
    let mut policy = "default-src 'none'; script-src 'self'; base-uri 'none'; \
        frame-ancestors 'none'; form-action 'self'"
        .to_owned();
    for origin in origins.iter() {
        let _ = write!(policy, " {origin}");
    }
    HttpResponse::Ok()
        .content_type(HTML)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .body(page)
}

pub(crate) fn script_operation() -> Operation {
    let schema = json!({ "type": "string" });
    Operation::new("Links", "postAgainScript", "Get the script of the page that posts a form again")
        .answers_as(StatusCode::OK, "The script.", &["text/javascript"], &schema)
        .can_be_cached()
}

/// The script of that page: its policy allows none within the page.
pub(crate) async fn script(request: HttpRequest) -> HttpResponse {
    public_document::answer(&request, SCRIPT_TYPE, SCRIPT, &public_document::etag(SCRIPT))
}

/// A text as HTML has it, also in an attribute between quotation marks.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            // HTML would make line feeds of carriage returns.
            '\r' => html.push_str("&#13;"),
            c => html.push(c),
        }
    }
    html
}
