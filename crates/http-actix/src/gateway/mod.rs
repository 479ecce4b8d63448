//! `/api/v1/auth/check` and `/api/v1/auth/gateway/{name}/…`: before a gateway passes a request on, it asks
//! here whether its caller is signed in.
//!
//! Gateways understand few answers: nginx makes 500 of everything but success, 401 and 403. So whatever the
//! method, the media types, the size of the headers and the body of a request are, it is answered with 200,
//! 401, 403 or, if the store cannot say, 503; and with a redirect where that is asked for. Bodies are not
//! read: many gateways announce one and do not send it.

mod original;

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::ErrorCode;
use mintgate_domain::model::{ReturnOrigins, ReturnTo, Role};
use mintgate_domain::ports::VerifiedAccess;
use tracing::debug_span;
use url::{Url, form_urlencoded};

use crate::AppState;
use crate::config::Gateway;
use crate::credential::{bearer, no_credential};
use crate::current::State;
use crate::envelope::LogFields;
use crate::error::ApiError;
use crate::openapi::{Endpoint, Operation};
use crate::sessions::{refused_caller, uncached};

use original::Original;

const CHECK: &str = "/api/v1/auth/check";
const GATEWAY: &str = "/api/v1/auth/gateway";
/// What the router matches: any of the paths of [`is_question`].
const PATTERNS: [&str; 4] =
    [CHECK, "/api/v1/auth/check/{rest:.*}", GATEWAY, "/api/v1/auth/gateway/{rest:.*}"];

const USER: HeaderName = HeaderName::from_static("x-auth-user");
const ROLES: HeaderName = HeaderName::from_static("x-auth-roles");
const SESSION: HeaderName = HeaderName::from_static("x-auth-session");
const LOGIN: HeaderName = HeaderName::from_static("x-auth-login");
/// On every answer: a shared cache must not show one caller what is another's.
const VARY: &str = "Cookie, Authorization";
/// The longest address of the login, in bytes: with a longer one, an answer might not fit the 4 KiB that
/// nginx has for its headers.
const MAX_LOGIN_BYTES: usize = 2048;

/// What gateways are told.
#[derive(Debug)]
pub(crate) struct Gateways {
    pub(crate) all: Vec<Gateway>,
    /// The address at which a login begins, without its parameter `returnTo`.
    pub(crate) login: Option<Url>,
    /// The origins to whose pages a login may lead back.
    pub(crate) return_origins: ReturnOrigins,
}

/// What a question demands of the caller.
#[derive(Debug, Default, PartialEq, Eq)]
struct Demand {
    roles: Vec<String>,
    /// Whether a navigation is redirected to the login.
    redirects: bool,
}

/// Whether a path is one of these, or below one.
pub(crate) fn is_question(path: &str) -> bool {
    [CHECK, GATEWAY].into_iter().any(|own| {
        path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Whether the beginning of a request's head is that of a question; `prefix` is the path of the public URL.
pub(crate) fn is_question_of(head: &[u8], prefix: &str) -> bool {
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let path = str::from_utf8(path).unwrap_or_default();
    is_question(path) || path.strip_prefix(prefix).is_some_and(is_question)
}

/// The refusal of a question whose headers are too large to be read.
pub(crate) fn too_large(state: &AppState) -> ApiError {
    let refusal = ApiError::new(ErrorCode::InvalidAccessToken)
        .because("the headers are larger than limits.max_header_bytes");
    with_login(refusal, state.gateways.login(None))
}

/// The endpoints, each of which answers every method.
pub(crate) fn endpoints() -> [Endpoint; 2] {
    let [check, below_check, gateway, below_gateway] = PATTERNS;
    [
        Endpoint::at(CHECK).matching([check, below_check]).any(answer, check_operation),
        Endpoint::at("/api/v1/auth/gateway/{name}/{path}")
            .matching([gateway, below_gateway])
            .any(answer, gateway_operation),
    ]
}

fn check_operation() -> Operation {
    let role = "A role that the caller must have; may come several times.";
    let login = "`redirect`: a navigation of somebody who is not signed in is answered with a redirect to \
        the login.";
    documented("check", "Ask whether the caller of a gateway is signed in")
        .query_parameter("role", role)
        .query_parameter("login", login)
}

fn gateway_operation() -> Operation {
    documented("checkForGateway", "Ask the same, with the demands of an entry of `[[gateways]]`")
        .path_parameter("name", "The name of the entry.")
        .path_parameter("path", "The path that the gateway was asked for, which is not looked at.")
}

fn documented(id: &'static str, summary: &'static str) -> Operation {
    use ErrorCode::{AccessDenied, Overloaded, SessionRevoked, StoreUnavailable};
    Operation::new("Gateways", id, summary)
        .about(
            "Every method is answered alike; the body of the request is not read. 401 has `X-Auth-Login`, the \
             address of the login, where there is one.",
        )
        .answers_nothing(StatusCode::OK, "The caller is signed in, and has every role.")
        .sends("X-Auth-User")
        .sends("X-Auth-Roles")
        .sends("X-Auth-Session")
        .answers_nothing(StatusCode::FOUND, "The caller's browser is to be sent to the login.")
        .secured_by(&["accessToken", "accessCookie"])
        .refuses([AccessDenied, Overloaded, SessionRevoked, StoreUnavailable])
        .refuses([ErrorCode::InvalidAccessToken, ErrorCode::InternalError])
}

async fn answer(request: HttpRequest, state: State) -> Result<HttpResponse, ApiError> {
    let judged = if let Some(demand) = state.gateways.demand(&request) {
        judge(&request, &state, &demand).await.map_err(|refusal| (refusal, demand))
    } else {
        let refusal = ApiError::new(ErrorCode::InvalidAccessToken)
            .because("no gateway of this name, or a path below check");
        Err((refusal, Demand::default()))
    };
    match judged {
        Ok(caller) => Ok(admitted(&caller)),
        Err((refusal, demand)) => refused(refusal, &demand, &request, &state),
    }
}

/// The caller, if the session lives and has every role.
async fn judge(
    request: &HttpRequest,
    state: &State,
    demand: &Demand,
) -> Result<VerifiedAccess, ApiError> {
    let headers = request.headers();
    let bearer = bearer(headers)?;
    if let Some(name) = state.ports.cookies.duplicate(headers) {
        let refusal = ApiError::new(ErrorCode::InvalidAccessToken);
        return Err(refusal.because(format!("cookie {name} came twice")));
    }
    let token = bearer.or_else(|| state.ports.cookies.access_token(headers));
    let token = token.ok_or_else(no_credential)?;
    let own = Arc::clone(&state.use_cases.own_sessions);
    let asking = async move { own.caller(&token).await };
    let place = state.admission.introspections.take()?;
    let asked = state.run(place, debug_span!("find_caller"), asking).await;
    let caller = asked.map_err(refused_caller)?;
    LogFields::update(request, |fields| fields.of_caller(&caller));
    let has = |role: &String| caller.roles.iter().any(|own| own.as_str() == role);
    match demand.roles.iter().find(|role| !has(role)) {
        None => Ok(caller),
        Some(lacking) => {
            let lacking = mintgate_domain::excerpt(lacking);
            let reason = format!("the caller lacks the role {lacking:?}");
            Err(ApiError::new(ErrorCode::AccessDenied).because(reason))
        }
    }
}

/// All three headers, also where there is nothing to say: some gateways keep what the client has sent under
/// the name of one that is missing.
fn admitted(caller: &VerifiedAccess) -> HttpResponse {
    let roles: Vec<&str> = caller.roles.iter().map(Role::as_str).collect();
    uncached(HttpResponse::Ok())
        .insert_header((USER, caller.subject.to_string()))
        .insert_header((ROLES, roles.join(",")))
        .insert_header((SESSION, caller.session.to_string()))
        .insert_header((header::VARY, VARY))
        .finish()
}

fn refused(
    refusal: ApiError,
    demand: &Demand,
    request: &HttpRequest,
    state: &AppState,
) -> Result<HttpResponse, ApiError> {
    if refusal.kind().status() != StatusCode::UNAUTHORIZED {
        return Err(varying(refusal));
    }
    let original = Original::of(request, &state.trusted_proxies);
    let page = original.address.and_then(|address| match state.gateways.return_origins.judge(&address) {
        Ok(page) => Some(page),
        Err(error) => {
            tracing::debug!(%error, "a login does not lead back to what the gateway was asked for");
            None
        }
    });
    let login = state.gateways.login(page.as_ref());
    match login {
        // Without an address to come back to, the login would lead nowhere, or in a circle.
        Some(login) if demand.redirects && page.is_some() && original.is_navigation => {
            let redirect = uncached(HttpResponse::Found())
                .insert_header((header::LOCATION, login))
                .insert_header((header::VARY, VARY))
                .finish();
            Ok(redirect)
        }
        login => Err(with_login(refusal, login)),
    }
}

fn with_login(refusal: ApiError, login: Option<String>) -> ApiError {
    let refusal = varying(refusal);
    match login.and_then(|login| HeaderValue::try_from(login).ok()) {
        Some(login) => refusal.with_header(LOGIN, login),
        None => refusal,
    }
}

fn varying(refusal: ApiError) -> ApiError {
    refusal.with_header(header::VARY, HeaderValue::from_static(VARY))
}

impl Gateways {
    /// What a question demands; `None` if it is none that is answered.
    fn demand(&self, request: &HttpRequest) -> Option<Demand> {
        let path = request.path();
        if path == CHECK {
            return Some(Demand::of_query(request.query_string()));
        }
        let name = path.strip_prefix(GATEWAY)?.strip_prefix('/')?.split('/').next()?;
        let found = self.all.iter().find(|gateway| gateway.name == name)?;
        let roles = found.roles.iter().map(|role| role.as_str().to_owned()).collect();
        Some(Demand { roles, redirects: found.redirects })
    }

    /// The address at which a login begins that leads back to a page.
    fn login(&self, page: Option<&ReturnTo>) -> Option<String> {
        let login = self.login.as_ref()?;
        let page = page.map(|page| {
            let mut login = login.clone();
            login.query_pairs_mut().append_pair("returnTo", page.as_str());
            String::from(login)
        });
        let page = page.filter(|login| login.len() <= MAX_LOGIN_BYTES);
        Some(page.unwrap_or_else(|| login.to_string()))
    }
}

impl Demand {
    fn of_query(query: &str) -> Self {
        let mut demand = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "role" => demand.roles.push(value.into_owned()),
                "login" if value == "redirect" => demand.redirects = true,
                _ => {}
            }
        }
        demand
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_known_by_their_path_and_by_nothing_that_resembles_it() {
        for path in [
            CHECK,
            "/api/v1/auth/check/",
            "/api/v1/auth/check/orders/7",
            GATEWAY,
            "/api/v1/auth/gateway/shop",
            "/api/v1/auth/gateway/shop//orders/../7",
        ] {
            assert!(is_question(path), "{path}");
            for head in [
                format!("GET {path} HTTP/1.1\r\nhost: a"),
                format!("PATCH {path}?role=a HTTP/1.0\r\n"),
                format!("POST /auth{path} HTTP/1.1"),
            ] {
                assert!(is_question_of(head.as_bytes(), "/auth"), "{head}");
            }
        }
        for path in [
            "/api/v1/auth/checks",
            "/api/v1/auth/gateways/shop",
            "/api/v1/auth/me",
            "/x/api/v1/auth/check",
            "/api/v1/auth/CHECK",
            "",
        ] {
            assert!(!is_question(path), "{path}");
        }
        for head in
            ["", "GET", "GET /api/v1/auth/me HTTP/1.1\r\nx: /api/v1/auth/check", "\u{0}\r\n"]
        {
            assert!(!is_question_of(head.as_bytes(), "/auth"), "{head}");
        }
    }

    #[test]
    fn every_role_of_the_query_is_demanded() {
        let of = |query: &str| Demand::of_query(query);
        let demand = |roles: &[&str], redirects| Demand {
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            redirects,
        };
        for (query, expected) in [
            ("", demand(&[], false)),
            ("role=admin", demand(&["admin"], false)),
            ("role=admin&role=staff", demand(&["admin", "staff"], false)),
            ("role=a%2Bb&login=redirect", demand(&["a+b"], true)),
            // Nobody has it.
            ("role=", demand(&[""], false)),
            ("role", demand(&[""], false)),
            ("roles=admin&login=yes&ROLE=x", demand(&[], false)),
        ] {
            assert_eq!(of(query), expected, "{query}");
        }
    }

    #[test]
    fn the_login_leads_back_to_a_page_that_is_not_too_long() {
        let origins = ReturnOrigins::new(["https://app.example.com".to_owned()]);
        let with = |login: &str| Gateways {
            all: vec![],
            login: Url::parse(login).ok(),
            return_origins: origins.clone(),
        };
        let start = with("https://auth.example.com/api/v1/auth/start/corp");
        assert_eq!(
            start.login(None).as_deref(),
            Some("https://auth.example.com/api/v1/auth/start/corp")
        );
        let page = origins.judge("https://app.example.com/search?q=a%26b&x=1").unwrap();
        assert_eq!(
            start.login(Some(&page)).unwrap(),
            "https://auth.example.com/api/v1/auth/start/corp?returnTo=\
             https%3A%2F%2Fapp.example.com%2Fsearch%3Fq%3Da%2526b%26x%3D1"
        );
        let own = with("https://app.example.com/login?from=gateway");
        let login = own.login(Some(&page)).unwrap();
        assert!(login.starts_with("https://app.example.com/login?from=gateway&returnTo=https%3A"));
        let long = format!("https://app.example.com/{}", "a".repeat(1995));
        let long = origins.judge(&long).unwrap();
        assert_eq!(start.login(Some(&long)), start.login(None), "without what is too long");
        assert_eq!(with("").login(Some(&page)), None);
    }
}
