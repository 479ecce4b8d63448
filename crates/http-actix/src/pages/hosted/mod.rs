//! The hosted pages: `/login`, where people choose how to sign in, and `/account`, where they see and end
//! their sessions and say how they sign in. They need no script.

mod account;
mod account_page;
mod actions;
mod assets;
mod language;
mod layout;
mod linking;
mod login;
mod texts;
mod user_agent;
mod visitor;

use actix_web::HttpRequest;
use mintgate_domain::ErrorCode;
use mintgate_domain::model::{ReturnOrigins, ReturnTo};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Shown;
use crate::AppState;
use crate::config::{HostedPages, HttpConfig, SameSite};
use crate::error::{ApiError, ErrorKind, HttpErrorCode};
use crate::metadata::path_of;
use assets::Asset;
use language::Languages;
use layout::View;

pub(crate) use account::{account, account_operation};
pub(crate) use actions::{act, act_operation, sign_out, sign_out_operation};
pub(crate) use assets::{
    logo_operation, own_style_operation, show_logo, show_own_style, show_style, style_operation,
};
pub(crate) use layout::RefusalPage;
pub(super) use linking::finish as finish_link;
pub(crate) use login::{login, login_operation};

/// The path of the page where people choose how to sign in.
pub(super) const LOGIN: &str = "/login";
/// The path of the page about the caller's account.
pub(super) const ACCOUNT: &str = "/account";
/// Where the account page posts a sign-out: below the path of the refresh cookie.
const SIGN_OUT: &str = "/api/v1/auth/refresh/sign-out";
/// The parameter that has a page say what was done.
const NOTICE: &str = "notice";

/// The hosted pages, where they are configured.
#[derive(Debug)]
pub(super) struct Hosted {
    name: String,
    /// The page of the app to which one goes from here.
    home: Option<ReturnTo>,
    /// The path of the public URL.
    prefix: String,
    login: ReturnTo,
    account: ReturnTo,
    languages: Languages,
    style: Asset,
    own_style: Option<Asset>,
    logo: Asset,
    has_logo: bool,
    /// Whether browsers keep the session cookies back when another site has sent them here.
    keeps_cookies_back: bool,
}

impl Hosted {
    /// The pages of a configuration, which may send browsers to `origins` and to [`Self::addresses`].
    pub(super) fn new(
        pages: &HostedPages,
        config: &HttpConfig,
        origins: &ReturnOrigins,
    ) -> Option<Self> {
        let [login, account] = Self::addresses(config);
        Some(Self {
            name: pages.name.clone(),
            home: pages.home.as_deref().and_then(|page| origins.judge(page).ok()),
            prefix: path_of(&config.public_url).to_owned(),
            login: origins.judge(&login).ok()?,
            account: origins.judge(&account).ok()?,
            languages: Languages::new(&pages.language, &pages.languages),
            style: assets::our_style(),
            own_style: pages.stylesheet.as_deref().map(Asset::style),
            logo: match &pages.logo {
                Some(logo) => Asset::new(logo.media_type, &logo.bytes),
                None => Asset::icon(),
            },
            has_logo: pages.logo.is_some(),
            keeps_cookies_back: config.cookies.same_site == SameSite::Strict,
        })
    }

    /// The public addresses of the two pages.
    pub(super) fn addresses(config: &HttpConfig) -> [String; 2] {
        let url = &config.public_url;
        let base = format!("{}{}", url.origin().ascii_serialization(), path_of(url));
        [LOGIN, ACCOUNT].map(|path| format!("{base}{path}"))
    }

    /// The hosted pages of a service.
    ///
    /// # Errors
    /// `NOT_FOUND` if it has none.
    pub(super) fn of(state: &AppState) -> Result<&Self, ApiError> {
        state.pages.hosted.as_ref().ok_or_else(|| ApiError::new(ErrorCode::NotFound))
    }

    /// The address of the account page that tells this.
    pub(super) fn account_telling(&self, notice: &str) -> String {
        format!("{}?{NOTICE}={notice}", self.account.as_str())
    }

    /// The path and query of the account page, without the prefix of the public URL's origin.
    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    fn stylesheets(&self) -> impl Iterator<Item = &'static str> {
        [Some(assets::STYLE), self.own_style.as_ref().map(|_| assets::OWN_STYLE)]
            .into_iter()
            .flatten()
    }

    fn view(&self, request: &HttpRequest) -> View<'_> {
        View { hosted: self, language: self.languages.choose(request.headers()) }
    }

    /// The tag of the language in which a caller sees the pages.
    pub(super) fn language_of(&self, request: &HttpRequest) -> &str {
        &self.languages.choose(request.headers()).tag
    }

    /// Shows a refusal as a page, with a link to begin again if there is an address for it.
    pub(super) fn show(
        &self,
        request: &HttpRequest,
        again: Option<&str>,
        refusal: ApiError,
    ) -> ApiError {
        let view = self.view(request);
        let texts = view.texts();
        let (title, reason) = match refusal.kind() {
            ErrorKind::Http(HttpErrorCode::CsrfRejected) => (&texts.refused, &*texts.foreign_form),
            ErrorKind::Core(ErrorCode::StoreUnavailable) => {
                (&texts.unavailable, &*texts.cannot_tell)
            }
            ErrorKind::Core(ErrorCode::Overloaded) => (&texts.unavailable, &*texts.busy),
            ErrorKind::Core(ErrorCode::NotFound) => (&texts.refused, &*texts.gone),
            ErrorKind::Http(HttpErrorCode::DuplicateCookie) => (&texts.refused, &*texts.repeat),
            kind => (&texts.refused, texts.of_code(kind.code())),
        };
        let page = view.refusal(title, reason, again);
        refusal.shown(Shown::Hosted(page))
    }
}

/// Whether a path is that of a hosted page.
pub(super) fn is_page(path: &str) -> bool {
    path == LOGIN
        || path == SIGN_OUT
        || path.strip_prefix(ACCOUNT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The first value of a parameter in a query.
fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

/// A text as the value of a parameter.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
