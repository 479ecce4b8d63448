//! People from the database of Better Auth, whose tables and columns can have names of their own.

use mintgate_domain::model::Ban;
use serde_json::Value;
use tokio_postgres::Client;

use crate::database::{Tables, elements, is_true, member, quoted, text_of};
use crate::person::{ImportedPerson, Skip, SourceIdentity};
use crate::times;

/// The schema in which the tables are, if nothing else is said.
pub(crate) const SCHEMA: &str = "public";
/// The issuers that Better Auth makes up.
const MADE_UP: &str = "local:";

/// The query, with the name that the column `userId` has here.
///
/// # Errors
/// If there is no such table, or it cannot be asked for.
pub(crate) async fn query(client: &Client, tables: &Tables) -> Result<String, String> {
    let asked = "SELECT column_name::text FROM information_schema.columns
        WHERE table_schema = $1 AND table_name = $2 AND lower(replace(column_name, '_', '')) = 'userid'";
    let account = tables.bare("account");
    let column = client.query_opt(asked, &[&tables.schema, &account]).await;
    let column = column.map_err(|error| format!("the source cannot be read: {error}"))?;
    let column: String = column
        .ok_or_else(|| {
            format!(
                "there is no table {} with a column userId; see --table",
                tables.name("account")
            )
        })?
        .get(0);
    let (column, users, accounts) = (quoted(&column), tables.name("user"), tables.name("account"));
    Ok(format!(
        "SELECT (to_jsonb(u) || jsonb_build_object('accounts', a.accounts))::text
        FROM {users} AS u LEFT JOIN (
            SELECT {column} AS id, jsonb_agg(to_jsonb(x) - '{{accessToken,access_token,\
                refreshToken,refresh_token,idToken,id_token,password}}'::text[]) AS accounts
            FROM {accounts} AS x GROUP BY 1
        ) AS a ON a.id = u.id"
    ))
}

pub(crate) fn person(row: &Value) -> Result<ImportedPerson, String> {
    let mut person = ImportedPerson::new(member(row, &["id"]).ok_or("it has no id")?);
    for account in elements(row, "accounts") {
        let said = |name: &str, names: &[&str]| {
            member(account, names).ok_or_else(|| format!("an account has no {name}"))
        };
        person.identities.push(SourceIdentity {
            provider: said("providerId", &["providerId", "provider_id"])?,
            subject: said("accountId", &["accountId", "account_id"])?,
            issuer: member(account, &["issuer"]).filter(|issuer| !issuer.starts_with(MADE_UP)),
        });
    }
    person.email = member(row, &["email"]);
    person.email_verified = is_true(row, &["emailVerified", "email_verified"]);
    person.name = member(row, &["name"]);
    person.username = member(row, &["username"]);
    person.picture = member(row, &["image"]);
    let roles = member(row, &["role"]).unwrap_or_default();
    let roles = roles.split(',').map(str::trim).filter(|role| !role.is_empty());
    person.roles = roles.map(str::to_owned).collect();
    if is_true(row, &["banned"]) {
        let until = row.get("banExpires").or_else(|| row.get("ban_expires")).and_then(text_of);
        let until = until.map(|at| times::parse(&at).map_err(|why| format!("banExpires: {why}")));
        person.ban = Some(until.transpose()?.map_or(Ban::ForEver, Ban::Until));
    }
    if let Some(at) = member(row, &["createdAt", "created_at"]) {
        person.created_at = Some(times::parse(&at).map_err(|why| format!("createdAt: {why}"))?);
    }
    let is_anonymous = is_true(row, &["isAnonymous", "is_anonymous"]);
    person.skip = is_anonymous.then_some(Skip::Anonymous);
    Ok(person)
}
