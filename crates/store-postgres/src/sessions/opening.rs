//! Stores a new session and everything that belongs to its sign-in, as one statement.

use diesel::sql_types::Bool;
use diesel_async::AsyncPgConnection;
use mintgate_domain::model::{Profile, SessionOpening};
use mintgate_domain::ports::{OpenOutcome, StoreError};

use super::generation;
use crate::error::{Failure, violated_index};
use crate::json::to_json;
use crate::sql::{Sql, SqlText, Value};
use crate::upstream_tokens;

/// - `person` locks the user's row and the identity's until the session is committed: the user cannot
///   be disabled, the identity not unlinked, and no epoch raised in between. Where the user is disabled,
///   or an epoch is not the one that the session is to keep, there is no row, and nothing is written.
/// - The session is written first and the rest follows from it, so that a repeated call is recognised
///   by the session's own primary key before any other.
/// - `forgotten` deletes an idempotency record that has expired; one that has not expired refuses the
///   whole statement. `remembered` comes before the mark: who repeats a request learns that, whatever
///   else has been used by then.
/// - `renewed` keeps the profile, where it has changed. It needs a stronger lock of the user from the
///   beginning: two sign-ins with a share of it each would wait for one another.
macro_rules! text {
    ($lock:literal, $renewed:literal) => {
        SqlText::new(concat!(
            "WITH person AS MATERIALIZED (
        SELECT u.id FROM users AS u JOIN external_identities AS e ON e.user_id = u.id
        WHERE u.id = $user AND e.issuer = $issuer AND e.subject = $subject
            AND u.disabled_at IS NULL AND u.session_epoch = $user_epoch
            AND e.session_epoch = $identity_epoch
            AND $restore_epoch = (SELECT epoch FROM restores)
        ",
            $lock,
            "
    ), session AS (
        INSERT INTO sessions (id, user_id, user_epoch, identity_epoch, provider, issuer, subject,
            upstream_sid, claimed_roles, gen, cur_hash, cur_kid, cur_iat, cur_exp,
            absolute_expires_at, created_at, last_used_at, user_agent, ip_prefix, roles, auth_time,
            acr, amr, extra_claims, restore_epoch)
        SELECT $session, id, $user_epoch, $identity_epoch, $provider, $issuer, $subject,
            $upstream_sid, $claimed_roles, $generation, $hash, $key, $issued_at, $expires_at,
            $absolute_expires_at, $now, $now, $user_agent, $ip_prefix, $roles, $auth_time,
            $acr, $amr, $extra_claims, $restore_epoch
        FROM person
        RETURNING id
    ), forgotten AS (
        DELETE FROM idempotency_keys AS k USING session
        WHERE k.key_hash = $request AND k.expires_at <= $now
        RETURNING k.key_hash
    ), remembered AS (
        INSERT INTO idempotency_keys (session_id, key_hash, body_hash, expires_at)
        SELECT id, $request, $body, $request_until FROM session
        WHERE $request IS NOT NULL AND (SELECT count(*) FROM forgotten) >= 0
        RETURNING session_id
    ), marked AS (
        INSERT INTO single_use_marks (hash, expires_at)
        SELECT $mark, $mark_until FROM session
        WHERE $mark IS NOT NULL AND (SELECT count(*) FROM remembered) >= 0
    ), upstream AS (
        INSERT INTO upstream_tokens (session_id, sealed, id_token, access_token, access_scope,
            access_expires_at, access_due_at, asked_at)
        SELECT id, $sealed, $id_token, $access, $access_scope, $access_expires_at, $access_due_at, $now
        FROM session
        WHERE $sealed IS NOT NULL OR $id_token IS NOT NULL OR $access IS NOT NULL
    )",
            $renewed,
            " SELECT EXISTS (SELECT FROM session)",
        ))
    };
}

static TEXT: SqlText = text!("FOR SHARE OF u, e", "");
static TEXT_WITH_PROFILE: SqlText = text!(
    "FOR NO KEY UPDATE OF u FOR SHARE OF e",
    ", renewed AS (
        UPDATE users SET name = $name, preferred_username = $preferred_username, email = $email,
            picture = $picture, searched = $searched
        FROM session WHERE users.id = $user
    )"
);

pub(super) async fn open(
    connection: &mut AsyncPgConnection,
    opening: &SessionOpening,
) -> Result<OpenOutcome, Failure> {
    let text = if opening.profile.is_some() { &TEXT_WITH_PROFILE } else { &TEXT };
    let sql = Sql::<Bool>::new(text, values(opening)?);
    match sql.answer::<bool>(connection).await {
        Ok(true) => Ok(OpenOutcome::Opened),
        Ok(false) => Ok(OpenOutcome::PersonChanged),
        Err(error) => match violated_index(&error) {
            // Session ids are random and fresh: an earlier attempt of this very call was committed.
            Some("sessions_pkey") => Ok(OpenOutcome::Opened),
            Some("idempotency_keys_pkey") => Ok(OpenOutcome::IdempotencyKeyTaken),
            Some("single_use_marks_pkey") => Ok(OpenOutcome::Replayed),
            _ => Err(error.into()),
        },
    }
}

fn values(opening: &SessionOpening) -> Result<Vec<(&'static str, Value<'_>)>, StoreError> {
    let SessionOpening { session, single_use, upstream, profile, idempotency } = opening;
    let claim = |of: fn(&Profile) -> &Option<String>| {
        Value::MaybeText(profile.as_ref().and_then(|profile| of(profile).as_deref()))
    };
    let searched = profile.as_ref().and_then(Profile::searched);
    let (mark, record) = (single_use.as_ref(), idempotency.as_ref());
    let (refresh, grant, client) = (&session.refresh, &session.grant, &session.client);
    let extra = grant.extra.iter().map(|(name, value)| (name.clone(), to_json(value)));
    let mut values = vec![
        ("session", Value::Uuid(*session.id.as_uuid())),
        ("user", Value::Uuid(*session.user.as_uuid())),
        ("user_epoch", Value::MaybeBigInt(session.epochs.user.try_into().ok())),
        (
            "identity_epoch",
            Value::MaybeBigInt(session.epochs.identity.and_then(|epoch| epoch.try_into().ok())),
        ),
        ("restore_epoch", Value::MaybeBigInt(session.epochs.restore.try_into().ok())),
        ("provider", Value::Text(session.provider.as_str())),
        ("issuer", Value::Text(&session.identity.issuer)),
        ("subject", Value::Text(&session.identity.subject)),
        ("upstream_sid", Value::MaybeText(session.upstream_sid.as_deref())),
        ("claimed_roles", Value::roles(&session.claimed_roles)),
        ("generation", Value::BigInt(generation(refresh.generation)?)),
        ("hash", Value::Bytes(refresh.hash.as_bytes())),
        ("key", Value::Text(refresh.key_id.as_str())),
        ("issued_at", Value::at(refresh.issued_at)?),
        ("expires_at", Value::at(refresh.expires_at)?),
        ("absolute_expires_at", Value::at(session.absolute_expires_at)?),
        ("now", Value::at(session.created_at)?),
        ("user_agent", Value::MaybeText(client.user_agent.as_deref())),
        ("ip_prefix", Value::MaybeText(client.ip_prefix.as_deref())),
        ("roles", Value::roles(&grant.roles)),
        ("auth_time", Value::at(grant.auth_time)?),
        ("acr", Value::MaybeText(grant.acr.as_deref())),
        ("amr", Value::Texts(grant.amr.iter().map(String::as_str).collect())),
        ("extra_claims", Value::Json(extra.collect())),
        ("request", Value::MaybeBytes(record.map(|r| r.request.key.as_bytes().as_slice()))),
        ("body", Value::MaybeBytes(record.map(|r| r.request.body.as_bytes().as_slice()))),
        ("request_until", Value::maybe_at(record.map(|r| r.expires_at))?),
        ("mark", Value::MaybeBytes(mark.map(|mark| mark.hash.as_bytes().as_slice()))),
        ("mark_until", Value::maybe_at(mark.map(|mark| mark.expires_at))?),
        ("name", claim(|profile| &profile.name)),
        ("preferred_username", claim(|profile| &profile.preferred_username)),
        ("email", claim(|profile| &profile.email)),
        ("picture", claim(|profile| &profile.picture)),
        ("searched", Value::OwnedText(searched)),
    ];
    values.extend(upstream_tokens::values(upstream)?);
    Ok(values)
}
