//! Links an identity to a user.

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::{Bool, Nullable, Uuid};
use diesel_async::AsyncPgConnection;
use mintgate_domain::model::{NewIdentity, SingleUse, UserId};
use mintgate_domain::ports::{LinkOutcome, StoreError};

use crate::attempts::{Attempt, Attempts};
use crate::error::Failure;
use crate::pool::Statement;
use crate::sql::{Sql, Value};
use crate::time::to_postgres;

/// - `person` locks the user's row against being disabled until the link is committed.
/// - `found` is what was there before. Of several who come at once all may find nothing; then the
///   primary keys let one through and refuse the others' whole statement, mark and all.
/// - The mark is written before the identity, in the order in which a sign-in writes them: two that
///   bring the same cannot wait for each other.
const TEXT: &str = "WITH person AS MATERIALIZED (
        SELECT id FROM users WHERE id = $user AND disabled_at IS NULL FOR SHARE
    ), found AS MATERIALIZED (
        SELECT EXISTS (SELECT FROM single_use_marks WHERE hash = $mark) AS used,
            (SELECT user_id FROM external_identities
                WHERE issuer = $issuer AND subject = $subject) AS owner
    ), admitted AS MATERIALIZED (
        SELECT person.id, found.owner FROM person, found
        WHERE NOT found.used AND (found.owner IS NULL OR found.owner = person.id)
    ), marked AS (
        INSERT INTO single_use_marks (hash, expires_at)
        SELECT $mark, $mark_until FROM admitted WHERE $mark IS NOT NULL
        RETURNING hash
    ), linked AS (
        INSERT INTO external_identities (issuer, subject, provider, user_id, created_at)
        SELECT $issuer, $subject, $provider, id, $now FROM admitted
        WHERE owner IS NULL AND (SELECT count(*) FROM marked) >= 0
    )
    SELECT EXISTS (SELECT FROM person) AS enabled, found.used, found.owner FROM found";

/// How often a link looks again when something it did not find turned out to be there.
const LOOKS: usize = 3;

/// Links an identity to a user. A call that is repeated because its answer was lost finds its own
/// mark, and the identity linked.
pub(crate) struct LinkIdentity<'a> {
    pub(crate) user: &'a UserId,
    pub(crate) identity: &'a NewIdentity,
    pub(crate) single_use: Option<&'a SingleUse>,
    pub(crate) attempts: Attempts,
}

#[derive(QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
struct FoundRow {
    #[diesel(sql_type = Bool)]
    enabled: bool,
    #[diesel(sql_type = Bool)]
    used: bool,
    #[diesel(sql_type = Nullable<Uuid>)]
    owner: Option<uuid::Uuid>,
}

impl LinkIdentity<'_> {
    fn sql(&self) -> Result<Sql<'_>, StoreError> {
        let NewIdentity { identity, provider, now } = self.identity;
        let mark = self.single_use.map(|mark| mark.hash.as_bytes().as_slice());
        let mark_until = self.single_use.map(|mark| to_postgres(mark.expires_at, "expires_at"));
        let values = [
            ("user", Value::Uuid(self.user.as_uuid())),
            ("issuer", Value::Text(&identity.issuer)),
            ("subject", Value::Text(&identity.subject)),
            ("provider", Value::Text(provider.as_str())),
            ("now", Value::At(to_postgres(*now, "created_at")?)),
            ("mark", Value::MaybeBytes(mark)),
            ("mark_until", Value::MaybeAt(mark_until.transpose()?)),
        ];
        Ok(Sql::new(TEXT, values))
    }

    fn outcome(&self, found: &FoundRow, attempt: Attempt) -> LinkOutcome {
        let is_own = found.owner == Some(*self.user.as_uuid());
        match found {
            FoundRow { enabled: false, .. } => LinkOutcome::UserDisabled,
            FoundRow { used: true, .. } if is_own && attempt == Attempt::Repeated => {
                LinkOutcome::LinkedBefore
            }
            FoundRow { used: true, .. } => LinkOutcome::Replayed,
            FoundRow { owner: None, .. } => LinkOutcome::Linked,
            FoundRow { .. } if is_own => LinkOutcome::LinkedBefore,
            FoundRow { .. } => LinkOutcome::Taken,
        }
    }
}

impl Statement for LinkIdentity<'_> {
    type Output = LinkOutcome;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<LinkOutcome, Failure> {
        let attempt = self.attempts.begin();
        let sql = self.sql()?;
        for _ in 0..LOOKS {
            match sql.answer::<FoundRow>(connection).await {
                Ok(found) => return Ok(self.outcome(&found, attempt)),
                Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let text = "the identity is taken and not found, again and again".to_owned();
        Err(StoreError::Unavailable(text.into()).into())
    }
}
