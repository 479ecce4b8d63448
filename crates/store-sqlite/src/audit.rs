//! The audit log.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use diesel::prelude::*;
use mintgate_domain::model::{
    Actor, AuditEntry, AuditEvent, AuditExtent, AuditHead, AuditKind, AuditQuery, PersonalData,
    SessionId, Timestamp, UserId,
};
use mintgate_domain::ports::{AuditStore, Erasure, StoreError, StoreOperation};

use crate::error::Failure;
use crate::row::Row;
use crate::schema::{audit_events, audit_head, users};
use crate::store::SqliteStore;

/// The only row of `audit_head`.
const HEAD: i64 = 1;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = audit_events)]
struct EventRow {
    seq: i64,
    at: i64,
    kind: String,
    actor: String,
    user_id: Option<Vec<u8>>,
    session_id: Option<Vec<u8>>,
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

impl EventRow {
    /// The row of an entry, with its personal data or without.
    fn new(entry: &AuditEntry, keeps_personal: bool) -> Self {
        let AuditEntry { sequence, event, is_late, salt, personal_digest, mac } = entry;
        let personal = event.personal.clone();
        let kept = |text: Option<String>| text.filter(|_| keeps_personal);
        let details = serde_json::Value::from_iter(event.details.clone());
        Self {
            seq: signed(*sequence),
            at: event.at.as_unix(),
            kind: event.kind.name().to_owned(),
            actor: event.actor.to_string(),
            user_id: event.user.map(|id| id.as_uuid().as_bytes().to_vec()),
            session_id: event.session.map(|id| id.as_uuid().as_bytes().to_vec()),
            request_id: event.request_id.clone(),
            trace_id: event.trace_id.clone(),
            issuer: event.issuer.clone(),
            details: (!event.details.is_empty()).then(|| details.to_string()),
            is_late: *is_late,
            subject: kept(personal.subject),
            network: kept(personal.network),
            user_agent: kept(personal.user_agent),
            salt: salt.filter(|_| keeps_personal).map(|salt| salt.to_vec()),
            personal_digest: personal_digest.map(|digest| digest.to_vec()),
            mac: mac.to_vec(),
        }
    }
}

impl TryFrom<EventRow> for AuditEntry {
    type Error = StoreError;

    fn try_from(found: EventRow) -> Result<Self, StoreError> {
        let row = Row { table: "audit_events", id: &found.seq };
        let details: Option<Result<BTreeMap<String, String>, _>> =
            found.details.as_deref().map(serde_json::from_str);
        let id = |column, id: Option<Vec<u8>>| id.map(|id| row.uuid(column, &id)).transpose();
        Ok(Self {
            sequence: row.number("seq", found.seq)?,
            event: AuditEvent {
                kind: AuditKind::from_name(&found.kind).ok_or_else(|| row.corrupt("kind"))?,
                at: Timestamp::from_unix(found.at),
                actor: Actor::parse(&found.actor).ok_or_else(|| row.corrupt("actor"))?,
                user: id("user_id", found.user_id)?.map(UserId::from_uuid),
                session: id("session_id", found.session_id)?.map(SessionId::from_uuid),
                request_id: found.request_id,
                trace_id: found.trace_id,
                issuer: found.issuer,
                details: details
                    .transpose()
                    .map_err(|_| row.corrupt("details"))?
                    .unwrap_or_default(),
                personal: PersonalData {
                    subject: found.subject,
                    network: found.network,
                    user_agent: found.user_agent,
                },
            },
            is_late: found.is_late,
            salt: bytes(&row, "salt", found.salt)?,
            personal_digest: bytes(&row, "personal_digest", found.personal_digest)?,
            mac: found.mac.try_into().map_err(|_| row.corrupt("mac"))?,
        })
    }
}

fn bytes<const N: usize>(
    row: &Row<'_>,
    column: &str,
    bytes: Option<Vec<u8>>,
) -> Result<Option<[u8; N]>, StoreError> {
    bytes.map(|bytes| bytes.try_into().map_err(|_| row.corrupt(column))).transpose()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn append(
    connection: &mut SqliteConnection,
    after: &AuditHead,
    entries: &[AuditEntry],
    head: &AuditHead,
    erasure: Option<&Erasure>,
) -> Result<bool, Failure> {
    let expected = audit_head::table
        .find(HEAD)
        .filter(audit_head::seq.eq(signed(after.sequence)))
        .filter(audit_head::mac.eq(after.mac.as_slice()));
    let moved = diesel::update(expected)
        .set((
            audit_head::seq.eq(signed(head.sequence)),
            audit_head::mac.eq(head.mac.as_slice()),
            audit_head::pruning.eq(signed(head.pruning)),
            audit_head::proof.eq(head.proof.as_slice()),
        ))
        .execute(connection)?;
    if moved == 0 {
        return Ok(false);
    }
    let ids = entries.iter().filter_map(|entry| entry.event.user);
    let ids: HashSet<Vec<u8>> = ids.map(|id| id.as_uuid().as_bytes().to_vec()).collect();
    let known: Vec<Vec<u8>> =
        users::table.filter(users::id.eq_any(ids)).select(users::id).load(connection)?;
    for entry in entries {
        let is_known = |id: UserId| known.iter().any(|known| known == id.as_uuid().as_bytes());
        let row = EventRow::new(entry, entry.event.user.is_none_or(is_known));
        diesel::insert_into(audit_events::table).values(row).execute(connection)?;
    }
    if let Some(erasure) = erasure {
        erase(connection, erasure)?;
    }
    Ok(true)
}

fn erase(connection: &mut SqliteConnection, erasure: &Erasure) -> Result<(), Failure> {
    let nothing = || {
        (
            audit_events::subject.eq(None::<String>),
            audit_events::network.eq(None::<String>),
            audit_events::user_agent.eq(None::<String>),
            audit_events::salt.eq(None::<Vec<u8>>),
        )
    };
    let id = erasure.user.as_uuid().as_bytes().as_slice();
    diesel::update(audit_events::table.filter(audit_events::user_id.eq(id)))
        .set(nothing())
        .execute(connection)?;
    for identity in &erasure.identities {
        let about = audit_events::table
            .filter(audit_events::user_id.is_null())
            .filter(audit_events::subject.eq(&identity.subject))
            .filter(audit_events::issuer.eq(&identity.issuer))
            .filter(audit_events::seq.le(signed(erasure.through)));
        diesel::update(about).set(nothing()).execute(connection)?;
    }
    Ok(())
}

fn entries(
    connection: &mut SqliteConnection,
    query: &AuditQuery,
    after: u64,
    limit: u32,
) -> Result<Vec<AuditEntry>, Failure> {
    let mut page = audit_events::table
        .filter(audit_events::seq.gt(signed(after)))
        .order(audit_events::seq)
        .limit(limit.into())
        .select(EventRow::as_select())
        .into_boxed();
    page = match query {
        AuditQuery::All => page,
        AuditQuery::OfUser(id) => {
            page.filter(audit_events::user_id.eq(id.as_uuid().as_bytes().to_vec()))
        }
        AuditQuery::OfSession(id) => {
            page.filter(audit_events::session_id.eq(id.as_uuid().as_bytes().to_vec()))
        }
        AuditQuery::OfRequest(id) => page.filter(audit_events::request_id.eq(id)),
        AuditQuery::OfIdentity(identity) => page
            .filter(audit_events::user_id.is_null())
            .filter(audit_events::subject.eq(&identity.subject))
            .filter(audit_events::issuer.eq(&identity.issuer)),
    };
    let rows: Vec<EventRow> = page.load(connection)?;
    Ok(rows.into_iter().map(AuditEntry::try_from).collect::<Result<_, _>>()?)
}

fn last_old(
    connection: &mut SqliteConnection,
    before: Timestamp,
    limit: u32,
) -> Result<Option<AuditEntry>, Failure> {
    let oldest: Vec<(i64, i64)> = audit_events::table
        .order(audit_events::seq)
        .limit(limit.into())
        .select((audit_events::seq, audit_events::at))
        .load(connection)?;
    let old = oldest.iter().take_while(|(_, at)| *at < before.as_unix());
    let Some((last, _)) = old.last() else { return Ok(None) };
    let row: EventRow =
        audit_events::table.find(*last).select(EventRow::as_select()).get_result(connection)?;
    Ok(Some(row.try_into()?))
}

#[async_trait]
impl AuditStore for SqliteStore {
    async fn audit_head(&self) -> Result<AuditHead, StoreError> {
        let work = |connection: &mut _| {
            let (seq, mac, pruning, proof): (i64, Vec<u8>, i64, Vec<u8>) = audit_head::table
                .find(HEAD)
                .select((audit_head::seq, audit_head::mac, audit_head::pruning, audit_head::proof))
                .get_result(connection)?;
            let row = Row { table: "audit_head", id: &HEAD };
            Ok(AuditHead {
                sequence: row.number("seq", seq)?,
                mac: mac.try_into().map_err(|_| row.corrupt("mac"))?,
                pruning: row.number("pruning", pruning)?,
                proof: proof.try_into().map_err(|_| row.corrupt("proof"))?,
            })
        };
        self.read(StoreOperation::Audit, work).await
    }

    async fn append_audit(
        &self,
        after: &AuditHead,
        entries: &[AuditEntry],
        head: &AuditHead,
        erasure: Option<&Erasure>,
    ) -> Result<bool, StoreError> {
        let (after, head) = (*after, *head);
        let (entries, erasure) = (entries.to_vec(), erasure.cloned());
        let work =
            move |connection: &mut _| append(connection, &after, &entries, &head, erasure.as_ref());
        self.write(StoreOperation::Audit, work).await
    }

    async fn audit_entries(
        &self,
        query: &AuditQuery,
        after: u64,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let query = query.clone();
        let work = move |connection: &mut _| entries(connection, &query, after, limit);
        self.read(StoreOperation::Audit, work).await
    }

    async fn audit_extent(&self) -> Result<AuditExtent, StoreError> {
        let work = |connection: &mut _| {
            let row = Row { table: "audit_head", id: &HEAD };
            let last: i64 =
                audit_head::table.find(HEAD).select(audit_head::seq).get_result(connection)?;
            let oldest: Option<(i64, i64)> = audit_events::table
                .order(audit_events::seq)
                .select((audit_events::seq, audit_events::at))
                .get_result(connection)
                .optional()?;
            let oldest = oldest.map(|(seq, at)| {
                Ok::<_, StoreError>((row.number("seq", seq)?, Timestamp::from_unix(at)))
            });
            Ok(AuditExtent { oldest: oldest.transpose()?, last: row.number("seq", last)? })
        };
        self.read(StoreOperation::Audit, work).await
    }

    async fn last_old_audit_entry(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Option<AuditEntry>, StoreError> {
        let work = move |connection: &mut _| last_old(connection, before, limit);
        self.read(StoreOperation::Audit, work).await
    }

    async fn prune_audit(&self, through: u64, limit: u32) -> Result<u64, StoreError> {
        let work = move |connection: &mut _| {
            let oldest: Vec<i64> = audit_events::table
                .filter(audit_events::seq.le(signed(through)))
                .order(audit_events::seq)
                .limit(limit.into())
                .select(audit_events::seq)
                .load(connection)?;
            let (Some(first), Some(last)) = (oldest.first(), oldest.last()) else { return Ok(0) };
            let gone = audit_events::table.filter(audit_events::seq.between(*first, *last));
            let count = diesel::delete(gone).execute(connection)?;
            Ok(count.try_into().unwrap_or(u64::MAX))
        };
        self.write(StoreOperation::Audit, work).await
    }

    async fn swap_audit_configuration(&self, now: &str) -> Result<Option<String>, StoreError> {
        let now = now.to_owned();
        let work = move |connection: &mut _| {
            let row = audit_head::table.find(HEAD);
            let before = row.select(audit_head::configuration).get_result(connection)?;
            diesel::update(row).set(audit_head::configuration.eq(now)).execute(connection)?;
            Ok(before)
        };
        self.write(StoreOperation::Audit, work).await
    }
}
