//! The sign-in page of `mintgate dev`.

use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::PROVIDER;
use crate::settings::Settings;

/// The rendered page, and the names of the cookies that it shows.
#[derive(Clone)]
pub(super) struct DevPage {
    html: String,
    cookie_check: String,
    cookie_names: [String; 2],
}

impl DevPage {
    pub(super) fn new(settings: &Settings) -> Self {
        // Browsers send both cookies only below the path of the refresh cookie.
        let cookie_check = format!("{}/dev-cookies", settings.cookies.refresh_path);
        let config = json!({ "provider": PROVIDER, "cookieCheck": cookie_check });
        Self {
            html: include_str!("page.html").replace("/*CONFIG*/null", &config.to_string()),
            cookie_check,
            cookie_names: [
                settings.cookies.access_name.clone(),
                settings.cookies.refresh_name.clone(),
            ],
        }
    }

    pub(super) fn routes(&self, config: &mut ServiceConfig) {
        config
            .app_data(Data::new(self.clone()))
            .route("/", web::get().to(page))
            .route("/callback", web::get().to(page))
            .route(&self.cookie_check, web::get().to(cookies));
    }
}

async fn page(page: Data<DevPage>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header(("cache-control", "no-store"))
        .insert_header(("referrer-policy", "no-referrer"))
        .insert_header(("x-frame-options", "DENY"))
        .body(page.html.clone())
}

/// Answers the names and sizes of the session cookies that the browser sent; never their values.
async fn cookies(request: HttpRequest, page: Data<DevPage>) -> HttpResponse {
    let sent = request.headers().get("cookie").and_then(|value| value.to_str().ok());
    let pairs: Vec<&str> = sent.unwrap_or_default().split(';').map(str::trim).collect();
    let held: Vec<_> = page
        .cookie_names
        .iter()
        .map(|name| {
            let is_it = |pair: &&&str| pair.split('=').next() == Some(name);
            json!({ "name": name, "bytes": pairs.iter().find(is_it).map(|pair| pair.len() - 1) })
        })
        .collect();
    HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(json!({ "cookies": held }))
}
