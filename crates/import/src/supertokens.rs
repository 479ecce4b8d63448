//! People from the database of SuperTokens (its Postgres plugin).

use mintgate_domain::model::Ban;
use serde_json::Value;

use crate::database::{Tables, elements, member, text_of};
use crate::person::{ImportedPerson, SourceIdentity};
use crate::times;

/// The schema in which the tables are, if nothing else is said.
pub(crate) const SCHEMA: &str = "public";

/// Linked logins are one person. Roles and verified addresses are kept under the id of SuperTokens or the
/// external one.
pub(crate) fn query(tables: &Tables) -> String {
    let [users, thirdparty, mapping, verified, roles] = [
        "app_id_to_user_id",
        "thirdparty_users",
        "userid_mapping",
        "emailverification_verified_emails",
        "user_roles",
    ]
    .map(|table| tables.name(table));
    format!(
        "WITH login AS (
            SELECT u.user_id::text AS id, u.primary_or_recipe_user_id::text AS person,
                nullif(u.time_joined, 0) AS joined, m.external_user_id::text AS external
            FROM {users} AS u
            LEFT JOIN {mapping} AS m ON m.app_id = u.app_id AND m.supertokens_user_id = u.user_id
            WHERE u.app_id = 'public'
        ), known AS (
            SELECT id, person FROM login
            UNION SELECT external, person FROM login WHERE external IS NOT NULL
        ), identity AS (
            SELECT l.person, jsonb_agg(jsonb_build_object('provider', t.third_party_id,
                'subject', t.third_party_user_id, 'email', t.email)) AS identities
            FROM {thirdparty} AS t JOIN login AS l ON l.id = t.user_id::text
            WHERE t.app_id = 'public' GROUP BY 1
        ), verified AS (
            SELECT k.person, jsonb_agg(DISTINCT v.email) AS emails
            FROM {verified} AS v JOIN known AS k ON k.id = v.user_id::text
            WHERE v.app_id = 'public' GROUP BY 1
        ), role AS (
            SELECT k.person, jsonb_agg(DISTINCT r.role) AS roles
            FROM {roles} AS r JOIN known AS k ON k.id = r.user_id::text
            WHERE r.app_id = 'public' GROUP BY 1
        )
        SELECT jsonb_build_object('id', p.person, 'joined', p.joined, 'external', p.external,
            'logins', p.logins, 'externals', p.externals, 'identities', i.identities,
            'verified', v.emails, 'roles', r.roles)::text
        FROM (
            SELECT person, min(joined) AS joined,
                max(external) FILTER (WHERE id = person) AS external,
                jsonb_agg(id ORDER BY joined, id) AS logins,
                jsonb_agg(external ORDER BY joined, id) FILTER (WHERE external IS NOT NULL) AS externals
            FROM login GROUP BY person
        ) AS p
        LEFT JOIN identity AS i ON i.person = p.person
        LEFT JOIN verified AS v ON v.person = p.person
        LEFT JOIN role AS r ON r.person = p.person"
    )
}

/// A person; whoever has the role `banned` may not sign in.
pub(crate) fn person(row: &Value, banned: Option<&str>) -> Result<ImportedPerson, String> {
    let id = member(row, &["id"]).ok_or("it has no id")?;
    // What the applications know is the external id, where there is one.
    let mut person = ImportedPerson::new(member(row, &["external"]).unwrap_or_else(|| id.clone()));
    person.add_id(id);
    let more = elements(row, "externals").chain(elements(row, "logins"));
    for id in more.filter_map(text_of) {
        person.add_id(id);
    }
    let mut emails = vec![];
    for identity in elements(row, "identities") {
        let said = |name| member(identity, &[name]).ok_or(format!("an identity has no {name}"));
        person.identities.push(SourceIdentity {
            provider: said("provider")?,
            subject: said("subject")?,
            issuer: None,
        });
        emails.extend(member(identity, &["email"]));
    }
    let verified: Vec<String> = elements(row, "verified").filter_map(text_of).collect();
    person.email = emails.iter().find(|email| verified.contains(email)).or(emails.first()).cloned();
    person.email_verified = person.email.as_ref().is_some_and(|email| verified.contains(email));
    person.roles = elements(row, "roles").filter_map(text_of).collect();
    let is_banned = banned.is_some_and(|banned| person.roles.iter().any(|role| role == banned));
    person.ban = is_banned.then_some(Ban::ForEver);
    if let Some(at) = row.get("joined").and_then(Value::as_i64) {
        let at = times::number_of(at).map_err(|why| format!("time_joined: {why}"))?;
        person.created_at = Some(at);
    }
    Ok(person)
}
