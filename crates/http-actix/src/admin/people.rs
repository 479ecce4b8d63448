//! The answers of the admin API about people and sessions.

use actix_web::HttpResponse;
use actix_web::web::Path;
use mintgate_admin::json::{
    ChangeBody, EntriesBody, ExportBody, PersonBody, PersonExplanationBody, SessionBody,
    SessionExplanationBody, SessionsBody, UsersBody,
};
use mintgate_domain::ErrorCode;
use mintgate_domain::model::{SessionId, UserId};
use mintgate_domain::ports::EndOutcome;

use super::{Desk, Page, answer};
use crate::error::ApiError;

type Answer = Result<HttpResponse, ApiError>;
type Api = Desk;

fn user_id(text: &str) -> Result<UserId, ApiError> {
    UserId::parse(text).ok_or_else(|| ApiError::new(ErrorCode::NotFound))
}

fn session_id(text: &str) -> Result<SessionId, ApiError> {
    SessionId::parse(text).ok_or_else(|| ApiError::new(ErrorCode::NotFound))
}

/// Lists people, or those who are found.
pub(super) async fn find(api: Api, page: Page) -> Answer {
    let (administration, after) = (api.administration.clone(), page.after(UserId::parse)?);
    let (search, limit) = (page.search.clone(), page.limit());
    let work = async move { administration.find(search.as_deref(), after, limit).await };
    Ok(answer(&UsersBody::from(&api.read(work).await?)))
}

/// Shows a person with the live sessions.
pub(super) async fn show(api: Api, id: Path<String>) -> Answer {
    let (administration, user) = (api.administration.clone(), user_id(&id)?);
    let person = api.read(async move { administration.show(user).await }).await?;
    Ok(answer(&PersonBody::from(&person)))
}

/// Says why a person has which roles, was denied a login, or is disabled.
pub(super) async fn explain(api: Api, id: Path<String>) -> Answer {
    let (explain, user) = (api.explain.clone(), user_id(&id)?);
    let explained = api.read(async move { explain.person(user).await }).await?;
    Ok(answer(&PersonExplanationBody::from(&explained)))
}

/// Says why a session ended, or that it lives.
pub(super) async fn explain_session(api: Api, sid: Path<String>) -> Answer {
    let (explain, id) = (api.explain.clone(), session_id(&sid)?);
    let explained = api.read(async move { explain.session(id).await }).await?;
    Ok(answer(&SessionExplanationBody::from(&explained)))
}

/// Shows what the audit log knows of all requests with an id.
pub(super) async fn explain_request(api: Api, id: Path<String>) -> Answer {
    let explain = api.explain.clone();
    let entries = api.read(async move { explain.request(&id).await }).await?;
    Ok(answer(&EntriesBody::from(entries.as_slice())))
}

/// Answers everything that is stored about a person.
pub(super) async fn export(api: Api, id: Path<String>) -> Answer {
    let (explain, user) = (api.explain.clone(), user_id(&id)?);
    let export = api.read(async move { explain.export(user).await }).await?;
    Ok(answer(&ExportBody::from(&export)))
}

/// Disables a person and ends the sessions.
pub(super) async fn disable(api: Api, id: Path<String>) -> Answer {
    let (administration, user) = (api.administration.clone(), user_id(&id)?);
    let (change, ended) = api.write(async move { administration.disable(user).await }).await?;
    Ok(answer(&ChangeBody { sessions_ended: Some(ended), ..ChangeBody::new(user, change) }))
}

/// Lets a disabled person sign in again.
pub(super) async fn enable(api: Api, id: Path<String>) -> Answer {
    let (administration, user) = (api.administration.clone(), user_id(&id)?);
    let change = api.write(async move { administration.enable(user).await }).await?;
    Ok(answer(&ChangeBody::new(user, change)))
}

/// Grants a role.
pub(super) async fn grant_role(api: Api, path: Path<(String, String)>) -> Answer {
    let (id, role) = path.into_inner();
    let (administration, user) = (api.administration.clone(), user_id(&id)?);
    let work = async move { administration.grant_role(user, &role).await };
    Ok(answer(&ChangeBody::new(user, api.write(work).await?)))
}

/// Takes a granted role away.
pub(super) async fn revoke_role(api: Api, path: Path<(String, String)>) -> Answer {
    let (id, role) = path.into_inner();
    let (administration, user) = (api.administration.clone(), user_id(&id)?);
    let work = async move { administration.revoke_role(user, &role).await };
    Ok(answer(&ChangeBody::new(user, api.write(work).await?)))
}

/// Deletes a person and everything that is stored about them.
pub(super) async fn delete(api: Api, id: Path<String>) -> Answer {
    let (administration, user) = (api.administration.clone(), user_id(&id)?);
    let deleted = api.write(async move { administration.delete(user).await }).await?;
    Ok(answer(&ChangeBody::deleted(user, &deleted)))
}

/// Lists the sessions of a person, ended ones included.
pub(super) async fn sessions(api: Api, id: Path<String>, page: Page) -> Answer {
    let (administration, user) = (api.administration.clone(), user_id(&id)?);
    let (before, limit) = (page.after(SessionId::parse)?, page.limit());
    let work = async move { administration.sessions(user, before, limit).await };
    Ok(answer(&SessionsBody::from(&api.read(work).await?)))
}

/// Ends all sessions of a person.
pub(super) async fn end_all(api: Api, id: Path<String>) -> Answer {
    let (administration, user) = (api.administration.clone(), user_id(&id)?);
    let ended = api.write(async move { administration.end_all(user).await }).await?;
    Ok(answer(&ChangeBody::ended(user, ended)))
}

/// Shows a session, whoever's and ended or not.
pub(super) async fn session(api: Api, sid: Path<String>) -> Answer {
    let (administration, id) = (api.administration.clone(), session_id(&sid)?);
    Ok(answer(&match api.read(async move { administration.session(id).await }).await? {
        Ok(record) => SessionBody::from(&record),
        Err(deleted) => SessionBody::deleted(id, &deleted),
    }))
}

/// Ends a session, whoever's.
pub(super) async fn end_session(api: Api, sid: Path<String>) -> Answer {
    let (administration, id) = (api.administration.clone(), session_id(&sid)?);
    let (user, outcome) = api.write(async move { administration.end_session(id).await }).await?;
    Ok(answer(&ChangeBody::ended(user, u64::from(outcome == EndOutcome::Ended))))
}
