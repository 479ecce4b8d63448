//! The audit log.

use std::collections::BTreeMap;

use async_trait::async_trait;
use diesel::data_types::PgTimestamp;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::{
    Actor, AuditEntry, AuditEvent, AuditExtent, AuditHead, AuditKind, AuditQuery, PersonalData,
    SessionId, Timestamp, UserId,
};
use mintgate_domain::ports::{AuditStore, Erasure, StoreError, StoreOperation};
use serde_json::{Value as JsonValue, json};

use crate::error::{Failure, RowName};
use crate::schema::{audit_events, audit_head};
use crate::sql::{Sql, SqlText, Value};
use crate::store::PgStore;
use crate::time::bound;

/// One statement, so that a process that stops in the middle holds no lock. Who finds the head changed
/// adds nothing, and knows the users as they were after that change when trying again.
static APPEND: SqlText = SqlText::new(
    "WITH moved AS (
        UPDATE audit_head SET seq = $seq, mac = $mac, pruning = $pruning, proof = $proof
        WHERE seq = $after_seq AND mac = $after_mac
        RETURNING seq
    ), written AS (
        INSERT INTO audit_events (seq, at, kind, actor, user_id, session_id, request_id, trace_id, issuer,
            details, is_late, subject, network, user_agent, salt, personal_digest, mac)
        SELECT e.seq, to_timestamp(e.at), e.kind, e.actor, e.user_id, e.session_id, e.request_id,
            e.trace_id, e.issuer, e.details, e.is_late,
            CASE WHEN keeps THEN e.subject END, CASE WHEN keeps THEN e.network END,
            CASE WHEN keeps THEN e.user_agent END, CASE WHEN keeps THEN decode(e.salt, 'hex') END,
            decode(e.personal_digest, 'hex'), decode(e.mac, 'hex')
        FROM json_to_recordset($entries) AS e (seq bigint, at double precision, kind text, actor text,
            user_id uuid, session_id uuid, request_id text, trace_id text, issuer text, details text,
            is_late boolean, subject text, network text, user_agent text, salt text,
            personal_digest text, mac text)
        CROSS JOIN LATERAL (
            SELECT e.user_id IS NULL OR EXISTS (SELECT FROM users WHERE users.id = e.user_id) AS keeps
        ) AS person
        WHERE EXISTS (SELECT FROM moved)
    )
    SELECT EXISTS (SELECT FROM moved)",
);
static ERASE_USER: SqlText = SqlText::new(
    "WITH erased AS (
        UPDATE audit_events SET subject = NULL, network = NULL, user_agent = NULL, salt = NULL
        WHERE user_id = $user AND salt IS NOT NULL RETURNING seq
    )
    SELECT count(*) FROM erased",
);
static ERASE_IDENTITY: SqlText = SqlText::new(
    "WITH erased AS (
        UPDATE audit_events SET subject = NULL, network = NULL, user_agent = NULL, salt = NULL
        WHERE user_id IS NULL AND subject = $subject AND issuer = $issuer AND seq <= $through
        RETURNING seq
    )
    SELECT count(*) FROM erased",
);
static LAST_OLD: SqlText = SqlText::new(
    "WITH page AS MATERIALIZED (
        SELECT seq, at FROM audit_events ORDER BY seq LIMIT $limit
    )
    SELECT max(seq) FROM page
    WHERE seq < coalesce((SELECT min(seq) FROM page WHERE at >= $before), 9223372036854775807)",
);
static PRUNE: SqlText = SqlText::new(
    "WITH gone AS (
        DELETE FROM audit_events WHERE seq IN (
            SELECT seq FROM audit_events WHERE seq <= $through ORDER BY seq LIMIT $limit
        )
        RETURNING seq
    )
    SELECT count(*) FROM gone",
);

/// The only row of `audit_head`.
const HEAD: i16 = 1;

#[derive(Queryable, Selectable)]
#[diesel(table_name = audit_events)]
struct EventRow {
    seq: i64,
    at: PgTimestamp,
    kind: String,
    actor: String,
    user_id: Option<uuid::Uuid>,
    session_id: Option<uuid::Uuid>,
    request_id: Option<String>,
    trace_id: Option<String>,
    issuer: Option<String>,
    details: Option<String>,
    is_late: bool,
    subject: Option<String>,
    network: Option<String>,
    user_agent: Option<String>,
    salt: Option<Vec<u8>>,
    personal_digest: Option<Vec<u8>>,
    mac: Vec<u8>,
}

impl TryFrom<EventRow> for AuditEntry {
    type Error = StoreError;

    fn try_from(row: EventRow) -> Result<Self, StoreError> {
        let name = RowName { table: "audit_events", id: &row.seq };
        let details: Option<Result<BTreeMap<String, String>, _>> =
            row.details.as_deref().map(serde_json::from_str);
        Ok(Self {
            sequence: name.number("seq", row.seq)?,
            event: AuditEvent {
                kind: AuditKind::from_name(&row.kind).ok_or_else(|| name.corrupt("kind"))?,
                at: name.time("at", row.at)?,
                actor: Actor::parse(&row.actor).ok_or_else(|| name.corrupt("actor"))?,
                user: row.user_id.map(UserId::from_uuid),
                session: row.session_id.map(SessionId::from_uuid),
                request_id: row.request_id,
                trace_id: row.trace_id,
                issuer: row.issuer,
                details: details
                    .transpose()
                    .map_err(|_| name.corrupt("details"))?
                    .unwrap_or_default(),
                personal: PersonalData {
                    subject: row.subject,
                    network: row.network,
                    user_agent: row.user_agent,
                },
            },
            is_late: row.is_late,
            salt: bytes(&name, "salt", row.salt)?,
            personal_digest: bytes(&name, "personal_digest", row.personal_digest)?,
            mac: row.mac.try_into().map_err(|_| name.corrupt("mac"))?,
        })
    }
}

fn bytes<const N: usize>(
    name: &RowName<'_>,
    column: &str,
    bytes: Option<Vec<u8>>,
) -> Result<Option<[u8; N]>, StoreError> {
    bytes.map(|bytes| bytes.try_into().map_err(|_| name.corrupt(column))).transpose()
}

/// The rows as the statement takes them.
fn rows(entries: &[AuditEntry]) -> JsonValue {
    entries.iter().map(row).collect()
}

fn row(entry: &AuditEntry) -> JsonValue {
    let AuditEntry { sequence, event, is_late, salt, personal_digest, mac } = entry;
    let details = (!event.details.is_empty()).then(|| json!(event.details).to_string());
    json!({
        "seq": sequence,
        "at": event.at.as_unix(),
        "kind": event.kind.name(),
        "actor": event.actor.to_string(),
        "user_id": event.user.map(|id| id.to_string()),
        "session_id": event.session.map(|id| id.to_string()),
        "request_id": event.request_id,
        "trace_id": event.trace_id,
        "issuer": event.issuer,
        "details": details,
        "is_late": is_late,
        "subject": event.personal.subject,
        "network": event.personal.network,
        "user_agent": event.personal.user_agent,
        "salt": salt.as_ref().map(|bytes| hex(bytes)),
        "personal_digest": personal_digest.as_ref().map(|bytes| hex(bytes)),
        "mac": hex(mac),
    })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

async fn append(
    connection: &mut AsyncPgConnection,
    after: &AuditHead,
    entries: &JsonValue,
    head: &AuditHead,
) -> Result<bool, Failure> {
    let values = [
        ("seq", Value::BigInt(signed(head.sequence))),
        ("mac", Value::Bytes(&head.mac)),
        ("pruning", Value::BigInt(signed(head.pruning))),
        ("proof", Value::Bytes(&head.proof)),
        ("after_seq", Value::BigInt(signed(after.sequence))),
        ("after_mac", Value::Bytes(&after.mac)),
        ("entries", Value::Json(entries.clone())),
    ];
    Ok(Sql::<Bool>::new(&APPEND, values).answer::<bool>(connection).await?)
}

async fn erase(connection: &mut AsyncPgConnection, erasure: &Erasure) -> Result<(), Failure> {
    let user = [("user", Value::Uuid(*erasure.user.as_uuid()))];
    Sql::<BigInt>::new(&ERASE_USER, user).answer::<i64>(connection).await?;
    for identity in &erasure.identities {
        let values = [
            ("subject", Value::Text(&identity.subject)),
            ("issuer", Value::Text(&identity.issuer)),
            ("through", Value::BigInt(signed(erasure.through))),
        ];
        Sql::<BigInt>::new(&ERASE_IDENTITY, values).answer::<i64>(connection).await?;
    }
    Ok(())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[async_trait]
impl AuditStore for PgStore {
    async fn audit_head(&self) -> Result<AuditHead, StoreError> {
        let query = audit_head::table.find(HEAD).select((
            audit_head::seq,
            audit_head::mac,
            audit_head::pruning,
            audit_head::proof,
        ));
        self.run(StoreOperation::Audit, async |connection, _| {
            let (seq, mac, pruning, proof): (i64, Vec<u8>, i64, Vec<u8>) =
                (&query).get_result(connection).await?;
            let name = RowName { table: "audit_head", id: &HEAD };
            Ok(AuditHead {
                sequence: name.number("seq", seq)?,
                mac: mac.try_into().map_err(|_| name.corrupt("mac"))?,
                pruning: name.number("pruning", pruning)?,
                proof: proof.try_into().map_err(|_| name.corrupt("proof"))?,
            })
        })
        .await
    }

    async fn append_audit(
        &self,
        after: &AuditHead,
        entries: &[AuditEntry],
        head: &AuditHead,
        erasure: Option<&Erasure>,
    ) -> Result<bool, StoreError> {
        let rows = rows(entries);
        self.run(StoreOperation::Audit, async |connection, _| {
            let Some(erasure) = erasure else {
                return append(connection, after, &rows, head).await;
            };
            connection
                .transaction(async |connection| {
                    let is_next = append(connection, after, &rows, head).await?;
                    if is_next {
                        erase(connection, erasure).await?;
                    }
                    Ok(is_next)
                })
                .await
        })
        .await
    }

    async fn audit_entries(
        &self,
        query: &AuditQuery,
        after: u64,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.run(StoreOperation::Audit, async |connection, _| {
            let mut page = audit_events::table
                .filter(audit_events::seq.gt(signed(after)))
                .order(audit_events::seq)
                .limit(limit.into())
                .select(EventRow::as_select())
                .into_boxed();
            page = match query {
                AuditQuery::All => page,
                AuditQuery::OfUser(id) => page.filter(audit_events::user_id.eq(id.as_uuid())),
                AuditQuery::OfSession(id) => page.filter(audit_events::session_id.eq(id.as_uuid())),
                AuditQuery::OfRequest(id) => page.filter(audit_events::request_id.eq(id)),
                AuditQuery::OfIdentity(identity) => page
                    .filter(audit_events::user_id.is_null())
                    .filter(audit_events::subject.eq(&identity.subject))
                    .filter(audit_events::issuer.eq(&identity.issuer)),
            };
            let rows: Vec<EventRow> = page.load(connection).await?;
            Ok(rows.into_iter().map(AuditEntry::try_from).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn audit_extent(&self) -> Result<AuditExtent, StoreError> {
        let first = audit_events::table
            .order(audit_events::seq)
            .select((audit_events::seq, audit_events::at))
            .limit(1);
        let last = audit_head::table.find(HEAD).select(audit_head::seq);
        self.run(StoreOperation::Audit, async |connection, _| {
            let last: i64 = (&last).get_result(connection).await?;
            let first: Option<(i64, PgTimestamp)> =
                (&first).get_result(connection).await.optional()?;
            let name = RowName { table: "audit_events", id: &"oldest" };
            let oldest = first.map(|(seq, at)| {
                Ok::<_, StoreError>((name.number("seq", seq)?, name.time("at", at)?))
            });
            Ok(AuditExtent { oldest: oldest.transpose()?, last: name.number("seq", last)? })
        })
        .await
    }

    async fn last_old_audit_entry(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Option<AuditEntry>, StoreError> {
        self.run(StoreOperation::Audit, async |connection, _| {
            let values =
                [("limit", Value::BigInt(limit.into())), ("before", Value::At(bound(before)))];
            let sql = Sql::<Nullable<BigInt>>::new(&LAST_OLD, values);
            let Some(last) = sql.answer::<Option<i64>>(connection).await? else { return Ok(None) };
            let row: Option<EventRow> = audit_events::table
                .find(last)
                .select(EventRow::as_select())
                .get_result(connection)
                .await
                .optional()?;
            Ok(row.map(AuditEntry::try_from).transpose()?)
        })
        .await
    }

    async fn prune_audit(&self, through: u64, limit: u32) -> Result<u64, StoreError> {
        self.run(StoreOperation::Audit, async |connection, _| {
            let values = [
                ("through", Value::BigInt(signed(through))),
                ("limit", Value::BigInt(limit.into())),
            ];
            let gone: i64 = Sql::<BigInt>::new(&PRUNE, values).answer(connection).await?;
            Ok(gone.unsigned_abs())
        })
        .await
    }

    async fn swap_audit_configuration(&self, now: &str) -> Result<Option<String>, StoreError> {
        let row = audit_head::table.find(HEAD);
        self.run(StoreOperation::Audit, async |connection, _| {
            connection
                .transaction(async |connection| {
                    let before = row
                        .select(audit_head::configuration)
                        .for_update()
                        .first(connection)
                        .await?;
                    diesel::update(row)
                        .set(audit_head::configuration.eq(now))
                        .execute(connection)
                        .await?;
                    Ok(before)
                })
                .await
        })
        .await
    }
}
