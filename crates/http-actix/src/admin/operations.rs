//! What is documented of the admin API.

use actix_web::http::{Method, StatusCode};
use mintgate_admin::json::{
    ChangeBody, EntriesBody, ExportBody, PersonBody, PersonExplanationBody, SessionBody,
    SessionExplanationBody, SessionsBody, UsersBody,
};
use mintgate_domain::ErrorCode;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::overview::OverviewBody;
use super::{PREFIX, Paging, endpoints};
use crate::error::HttpErrorCode;
use crate::openapi::{Api, Operation};

/// The document about the admin API.
pub(crate) fn document() -> Value {
    let api = Api {
        title: "Mintgate's admin API",
        description: DESCRIPTION,
        path_prefix: PREFIX,
        server: "/",
        security_schemes: json!({ "adminToken": {
            "type": "http", "scheme": "bearer",
            "description": "A token of `[[admin.tokens]]`; changes need one with `scope = \"write\"`. With \
                `ops.client_ca_file`, a client certificate takes its place, and `ops.client_cert_scope` is its scope.",
        } }),
        common,
    };
    api.document(&endpoints())
}

const DESCRIPTION: &str = "\
Looks at people and sessions, and changes them. It is on the operations listener alone.

Every path that answers GET answers HEAD as well. Another method is refused with 405, `METHOD_NOT_ALLOWED` and \
`Allow`; another path with 404 and `NOT_FOUND`.";

/// Adds why the gate refuses.
fn common(method: &Method, operation: Operation) -> Operation {
    let operation = operation
        .secured_by(&["adminToken"])
        .refuses([ErrorCode::InternalError, ErrorCode::InvalidAccessToken, ErrorCode::RateLimited])
        .refuses([HttpErrorCode::CsrfRejected, HttpErrorCode::PayloadTooLarge]);
    if *method == Method::GET { operation } else { operation.refuses([ErrorCode::AccessDenied]) }
}

pub(super) fn document_operation() -> Operation {
    Operation::of_document("showOpenapi")
}

pub(super) fn overview() -> Operation {
    Operation::new("Process", "showOverview", "Show how the process is that answers")
        .answers::<OverviewBody>(StatusCode::OK, "Numbers, states and the last refusals.")
        .sends("Cache-Control")
}

fn answers<T: ToSchema>(
    tag: &'static str,
    id: &'static str,
    summary: &'static str,
    what: &str,
) -> Operation {
    Operation::new(tag, id, summary)
        .answers::<T>(StatusCode::OK, what)
        .sends("Cache-Control")
        .refuses([ErrorCode::StoreUnavailable])
}

fn about_user<T: ToSchema>(id: &'static str, summary: &'static str, what: &str) -> Operation {
    answers::<T>("People", id, summary, what)
        .path_parameter("id", "The id of the user, the `sub` of access tokens.")
        .refuses([ErrorCode::NotFound])
}

fn about_session<T: ToSchema>(id: &'static str, summary: &'static str, what: &str) -> Operation {
    answers::<T>("Sessions", id, summary, what)
        .path_parameter("sid", "The id of the session.")
        .refuses([ErrorCode::NotFound])
}

fn about_role(id: &'static str, summary: &'static str) -> Operation {
    about_user::<ChangeBody>(id, summary, "What is different.")
        .path_parameter("role", "The name of the role.")
        .refuses([ErrorCode::InvalidRequest])
}

pub(super) fn find() -> Operation {
    answers::<UsersBody>(
        "People",
        "listUsers",
        "List people, or those who are found",
        "A page of people.",
    )
    .query::<Paging>()
    .refuses([ErrorCode::InvalidRequest])
}

pub(super) fn show() -> Operation {
    about_user::<PersonBody>("showUser", "Show a person", "The person, with the live sessions.")
}

pub(super) fn delete() -> Operation {
    about_user::<ChangeBody>(
        "deleteUser",
        "Delete a person and everything that is stored about them",
        "What is different.",
    )
}

pub(super) fn disable() -> Operation {
    about_user::<ChangeBody>(
        "disableUser",
        "Disable a person and end the sessions",
        "What is different.",
    )
}

pub(super) fn enable() -> Operation {
    about_user::<ChangeBody>(
        "enableUser",
        "Let a disabled person sign in again",
        "What is different.",
    )
}

pub(super) fn grant_role() -> Operation {
    about_role("grantRole", "Grant a role")
}

pub(super) fn revoke_role() -> Operation {
    about_role("revokeRole", "Take a granted role away")
}

pub(super) fn export() -> Operation {
    about_user::<ExportBody>(
        "exportUser",
        "Get everything that is stored about a person",
        "All data.",
    )
}

pub(super) fn explain() -> Operation {
    about_user::<PersonExplanationBody>(
        "explainUser",
        "Say why a person has which roles, was denied a login, or is disabled",
        "The reasons.",
    )
}

pub(super) fn sessions() -> Operation {
    about_user::<SessionsBody>(
        "listSessions",
        "List the sessions of a person",
        "A page, ended ones included.",
    )
    .query::<Paging>()
    .refuses([ErrorCode::InvalidRequest])
}

pub(super) fn end_all() -> Operation {
    about_user::<ChangeBody>("endSessions", "End all sessions of a person", "What is different.")
}

pub(super) fn session() -> Operation {
    about_session::<SessionBody>("showSession", "Show a session, ended or not", "The session.")
}

pub(super) fn end_session() -> Operation {
    about_session::<ChangeBody>("endSession", "End a session", "What is different.")
}

pub(super) fn explain_session() -> Operation {
    about_session::<SessionExplanationBody>(
        "explainSession",
        "Say why a session ended, or that it lives",
        "The session and what the audit log knows of it.",
    )
}

pub(super) fn explain_request() -> Operation {
    answers::<EntriesBody>(
        "Requests",
        "explainRequest",
        "Show what the audit log knows of a request",
        "The entries; of all requests with this id.",
    )
    .path_parameter("id", "The id of the request.")
    .refuses([ErrorCode::NotFound])
}
