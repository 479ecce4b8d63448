//! The console: one page of the operations listener, which shows what the admin API answers.
//!
//! The page holds no data and no secret. It asks for a token of the admin API, keeps it in a variable,
//! and forgets it when it is closed.

use actix_web::http::header::{self, HeaderName};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use crate::admin::AdminApi;

/// Nothing but the page's own files, no script or style within the page, and no text of a stranger as
/// markup: `require-trusted-types-for` has the browser refuse it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// What a browser shows that was led here by another name.
const OTHER_NAME: &str = "This is not an address of Mintgate's console. Open it by an IP address, by \
    localhost, or by a name that is listed in admin.hosts.\n";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Each file with its path, its type and its text.
const FILES: [(&str, &str, &str); 7] = [
    ("/", "text/html; charset=utf-8", include_str!("index.html")),
    ("/console/console.css", "text/css; charset=utf-8", include_str!("console.css")),
    ("/console/icon.svg", "image/svg+xml", include_str!("icon.svg")),
    ("/console/console.js", SCRIPT, include_str!("console.js")),
    ("/console/elements.js", SCRIPT, include_str!("elements.js")),
    ("/console/overview.js", SCRIPT, include_str!("overview.js")),
    ("/console/people.js", SCRIPT, include_str!("people.js")),
];

/// Adds the page and its files.
pub(crate) fn console_routes(config: &mut ServiceConfig) {
    for (path, content_type, text) in FILES {
        let answer = move |request: HttpRequest, api: Data<AdminApi>| async move {
            file(&request, &api, content_type, text)
        };
        config.service(web::resource(path).get(answer).head(answer));
    }
}

fn file(
    request: &HttpRequest,
    api: &AdminApi,
    content_type: &'static str,
    text: &'static str,
) -> HttpResponse {
    let (mut response, content_type, text) = if api.is_called_by_its_own_name(request) {
        (HttpResponse::Ok(), content_type, text)
    } else {
        (HttpResponse::Forbidden(), "text/plain; charset=utf-8", OTHER_NAME)
    };
    response
        .insert_header((header::CONTENT_TYPE, content_type))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .insert_header((HeaderName::from_static("cross-origin-resource-policy"), "same-origin"))
        .body(text)
}
