//! People from the database of Supabase Auth.

use mintgate_domain::model::Ban;
use serde_json::Value;

use crate::database::{Tables, elements, is_true, member, text_of};
use crate::person::{ImportedPerson, Skip, SourceIdentity};
use crate::times;

/// The schema in which Supabase keeps its tables.
pub(crate) const SCHEMA: &str = "auth";

/// Before November 2023, the subject was the `id` of an identity.
pub(crate) fn query(tables: &Tables) -> String {
    let (users, identities) = (tables.name("users"), tables.name("identities"));
    format!(
        "SELECT (to_jsonb(u) - '{{encrypted_password,confirmation_token,recovery_token,\
            email_change_token_new,email_change_token_current,phone_change_token,\
            reauthentication_token}}'::text[]
            || jsonb_build_object('identities', i.identities))::text
        FROM {users} AS u LEFT JOIN (
            SELECT user_id, jsonb_agg(jsonb_build_object('provider', provider,
                'subject', coalesce(to_jsonb(x) ->> 'provider_id', to_jsonb(x) ->> 'id'),
                'issuer', identity_data ->> 'iss')) AS identities
            FROM {identities} AS x GROUP BY user_id
        ) AS i ON i.user_id = u.id"
    )
}

/// Providers whose issuer Supabase keeps as it is in the ID token; of others it can be the address of an
/// API.
const SAYS_ISSUER: [&str; 2] = ["azure", "keycloak"];

pub(crate) fn person(row: &Value) -> Result<ImportedPerson, String> {
    let mut person = ImportedPerson::new(member(row, &["id"]).ok_or("it has no id")?);
    for identity in elements(row, "identities") {
        let said = |name| member(identity, &[name]).ok_or(format!("an identity has no {name}"));
        let provider = said("provider")?;
        let says_issuer =
            SAYS_ISSUER.contains(&provider.as_str()) || provider.starts_with("custom:");
        person.identities.push(SourceIdentity {
            issuer: member(identity, &["issuer"]).filter(|_| says_issuer),
            subject: said("subject")?,
            provider,
        });
    }
    person.email = member(row, &["email"]);
    person.email_verified = member(row, &["email_confirmed_at"]).is_some();
    if let Some(said) = row.get("raw_user_meta_data") {
        person.name = member(said, &["full_name", "name"]);
        person.username = member(said, &["preferred_username", "user_name"]);
        person.picture = member(said, &["avatar_url", "picture"]);
    }
    if let Some(metadata) = row.get("raw_app_meta_data") {
        person.roles.extend(member(metadata, &["role"]));
        person.roles.extend(elements(metadata, "roles").filter_map(text_of));
    }
    person.ban = match member(row, &["banned_until"]).as_deref() {
        None => None,
        Some("infinity") => Some(Ban::ForEver),
        Some(at) => {
            Some(Ban::Until(times::parse(at).map_err(|why| format!("banned_until: {why}"))?))
        }
    };
    if let Some(at) = member(row, &["created_at"]) {
        person.created_at = Some(times::parse(&at).map_err(|why| format!("created_at: {why}"))?);
    }
    if member(row, &["deleted_at"]).is_some() {
        person.skip = Some(Skip::Deleted);
    } else if is_true(row, &["is_anonymous"]) {
        person.skip = Some(Skip::Anonymous);
    }
    Ok(person)
}
