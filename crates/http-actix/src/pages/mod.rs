//! What browsers load as pages: a login that is two links, for pages without a script, and the hosted pages.
//!
//! `start` sends the browser to the provider, which sends it to `callback`, which sends it back to a page.
//! How it has ended stands in the query of that page's address, as `mintgate_result`.

mod callback;
mod hosted;
mod html;
mod initiate;
mod navigation;
mod parameters;
mod refresh_return;
mod start;
mod start_cookies;

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use mintgate_domain::model::{ReturnOrigins, ReturnTo};
use percent_encoding::{CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::AppState;
use crate::accept::asks_for_html;
use crate::config::{CookieConfig, HttpConfig, SameSite};
use crate::error::ApiError;
use crate::metadata::path_of;
use hosted::Hosted;
use start_cookies::StartCookies;

pub(crate) use callback::{
    callback_operation, called_back, posted_back, posted_callback_operation,
};
pub(crate) use hosted::{
    RefusalPage, account, account_operation, act, act_operation, login, login_operation,
    logo_operation, own_style_operation, show_logo, show_own_style, show_style, sign_out,
    sign_out_operation, style_operation,
};
pub(crate) use html::{error_page, script, script_operation};
pub(crate) use initiate::{
    initiate, initiate_operation, posted_initiate, posted_initiate_operation,
};
pub(crate) use refresh_return::{refresh_and_return, refresh_return_operation};
pub(crate) use start::{start, start_operation};

const START: &str = "/api/v1/auth/start/";
const CALLBACK: &str = "/api/v1/auth/callback/";
const INITIATE: &str = "/api/v1/auth/initiate/";
const RETURN: &str = "/api/v1/auth/refresh/return";

/// How a page is told that the browser has a session now.
const SIGNED_IN: &str = "signed_in";

/// How long after a login has expired the page to return to is remembered, for a person who comes back from
/// the provider too late, or by the Back button.
const REMEMBERED: Duration = Duration::from_hours(24);

/// How a refusal is shown to a person.
#[derive(Debug)]
pub(crate) enum Shown {
    /// As a page of its own, with a link to begin again if there is an address for it.
    AsPage { again: Option<String> },
    /// By the page to which the browser is sent: its address, with the result in its query.
    AtPage(String),
    /// As one of the hosted pages.
    Hosted(RefusalPage),
}

/// What the handlers of pages need to know.
#[derive(Debug)]
pub(crate) struct Pages {
    origins: ReturnOrigins,
    /// The address of the callback, before the provider's id.
    callback: String,
    cookies: StartCookies,
    /// The pages that are served here, where they are configured.
    hosted: Option<Hosted>,
}

impl Pages {
    pub(crate) fn new(config: &HttpConfig) -> Self {
        let url = &config.public_url;
        let origin = url.origin().ascii_serialization();
        let mut origins = config.return_origins.clone();
        if config.hosted.is_some() {
            origins = origins.and_pages(Hosted::addresses(config));
        }
        let hosted = config.hosted.as_ref();
        let hosted = hosted.and_then(|pages| Hosted::new(pages, config, &origins));
        Self {
            hosted,
            origins,
            callback: format!("{origin}{}{CALLBACK}", path_of(url)),
            // Lax: the cookie has to come with the navigation from the provider, which is on another site.
            cookies: StartCookies::new(&CookieConfig {
                same_site: SameSite::Lax,
                partitioned: false,
                ..config.cookies.clone()
            }),
        }
    }

    /// The redirect URI of logins that `start` begins.
    fn callback_of(&self, provider: &str) -> String {
        format!("{}{provider}", self.callback)
    }
}

/// Whether a path is one of those that browsers navigate to.
pub(crate) fn is_for_browsers(path: &str) -> bool {
    [START, CALLBACK, INITIATE, RETURN].iter().any(|page| path.contains(page))
        || hosted::is_page(path)
}

/// Sends the browser to an address (RFC 9110 §15.4.4), which may have characters beyond ASCII.
pub(crate) fn redirect(address: &str) -> HttpResponseBuilder {
    let mut response = HttpResponse::SeeOther();
    response
        .insert_header((header::LOCATION, utf8_percent_encode(address, CONTROLS).to_string()))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // The address of a callback has a code in it.
        .insert_header((header::REFERRER_POLICY, "no-referrer"));
    response
}

/// Shows a refusal as a page, if a browser asks for one.
fn shown(
    request: &HttpRequest,
    state: &AppState,
    provider: &str,
    return_to: Option<&ReturnTo>,
    refusal: ApiError,
) -> ApiError {
    as_page(request, state, start_link(state, provider, return_to), refusal)
}

fn as_page(
    request: &HttpRequest,
    state: &AppState,
    again: Option<String>,
    refusal: ApiError,
) -> ApiError {
    match &state.pages.hosted {
        _ if !asks_for_html(request.headers()) => refusal,
        Some(hosted) => hosted.show(request, again.as_deref(), refusal),
        None => refusal.shown(Shown::AsPage { again }),
    }
}

/// The link that begins a login, as seen from an address beside it; `None` if there is no such provider, or
/// the login could not end anywhere.
fn start_link(state: &AppState, provider: &str, return_to: Option<&ReturnTo>) -> Option<String> {
    let mut providers = state.use_cases.begin_login.providers();
    providers.find(|known| known.policy.id.as_str() == provider)?;
    match return_to {
        Some(page) => {
            let page = utf8_percent_encode(page.as_str(), NON_ALPHANUMERIC);
            Some(format!("../start/{provider}?returnTo={page}"))
        }
        None => state.pages.origins.only_page().ok().map(|_| format!("../start/{provider}")),
    }
}
