//! The HTML pages. They load no other resource, so they work offline.

use std::fmt::Write as _;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use actix_web::{HttpResponse, http::header::ContentType};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use crate::MockUser;
use crate::params::Params;

const STYLE: &str = include_str!("page.css");

/// The sign-in page: one button for each person.
pub(crate) fn sign_in(users: &[MockUser], params: &Params, path: &str) -> HttpResponse {
    // Relative, so that it also works behind a proxy that adds a path prefix.
    let action = match path.rsplit('/').next().unwrap_or_default() {
        "" => "./",
        last => last,
    };
    let client = escape(params.find("client_id").unwrap_or_default());
    let mut form = hidden(params.pairs().filter(|(name, _)| !matches!(*name, "user" | "cancel")));
    for user in users {
        form.push_str(&button(user));
    }
    let body = format!(
        "<h1>Who are you today?</h1>\
         <p><b>{client}</b> asks you to sign in. Pick anyone: there are no passwords here.</p>\
         <form method=\"post\" action=\"{action}\">{form}\
         <button class=\"cancel\" name=\"cancel\" value=\"1\">Cancel</button></form>"
    );
    html(StatusCode::OK, "Sign in", &body)
}

/// A page with a form that posts itself to the client (OAuth 2.0 Form Post Response Mode §2).
pub(crate) fn form_post(redirect_uri: &str, members: &[(&str, &str)]) -> HttpResponse {
    const SCRIPT: &str = "document.forms[0].submit()";
    let body = format!(
        "<form method=\"post\" action=\"{}\">{}<button>Continue</button></form>\
         <script>{SCRIPT}</script>",
        escape(redirect_uri),
        hidden(members.iter().copied()),
    );
    let script = format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(SCRIPT)));
    html_with(StatusCode::OK, "Signing in", &body, &script)
}

/// The page of somebody who has signed out.
pub(crate) fn signed_out() -> HttpResponse {
    html(StatusCode::OK, "Signed out", "<h1>You have signed out</h1>")
}

/// The page for a request whose error must not be sent to its redirect URI.
pub(crate) fn problem(text: &str) -> HttpResponse {
    let body = format!(
        "<h1>This sign-in cannot go on</h1><p>{}</p>\
         <p>Nothing was sent to the application. Check how it is registered here.</p>",
        escape(text)
    );
    html(StatusCode::BAD_REQUEST, "Cannot sign in", &body)
}

fn hidden<'a>(members: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut inputs = String::new();
    for (name, value) in members {
        let _ = write!(
            inputs,
            r#"<input type="hidden" name="{}" value="{}">"#,
            escape(name),
            escape(value)
        );
    }
    inputs
}

fn button(user: &MockUser) -> String {
    let mut tags = String::new();
    for group in &user.groups {
        let _ = write!(tags, "<span class=\"tag\">{}</span>", escape(group));
    }
    if !user.email_verified {
        tags.push_str("<span class=\"tag warn\">email not verified</span>");
    }
    format!(
        "<button class=\"person\" name=\"user\" value=\"{username}\">\
         <span class=\"face\" aria-hidden=\"true\">{initial}</span>\
         <span class=\"who\"><b>{name}</b><small>{email}</small></span>\
         <span class=\"tags\">{tags}</span></button>",
        username = escape(&user.username),
        initial = escape(&user.name.chars().take(1).collect::<String>()),
        name = escape(&user.name),
        email = escape(&user.email),
    )
}

fn html(status: StatusCode, title: &str, body: &str) -> HttpResponse {
    html_with(status, title, body, "'none'")
}

fn html_with(status: StatusCode, title: &str, body: &str, script: &str) -> HttpResponse {
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title} · mock identity provider</title><style>{STYLE}</style></head>\
         <body><main>{body}</main>\
         <footer>Mock identity provider, for development only</footer></body></html>"
    );
    HttpResponse::build(status)
        .content_type(ContentType::html())
        // No form-action: browsers would apply it to the redirect that follows the form.
        .insert_header((
            CONTENT_SECURITY_POLICY,
            format!(
                "default-src 'none'; style-src 'unsafe-inline'; script-src {script}; \
                 base-uri 'none'; frame-ancestors 'none'"
            ),
        ))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(page)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
