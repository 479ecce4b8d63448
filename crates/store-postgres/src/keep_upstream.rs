//! Notes what a provider said when it was asked again.

use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::SessionId;
use mintgate_domain::ports::UpstreamRenewal;

use crate::error::Failure;
use crate::pool::Statement;
use crate::sql::{Sql, Value};
use crate::time::to_postgres;

/// A statement that was stuck in a paused server may be executed when the provider has been asked
/// once more: what that gave is newer, and stays.
const TEXT: &str = "WITH kept AS (
        UPDATE upstream_tokens SET sealed = COALESCE($sealed, sealed), asked_at = $at,
            claimed_until = NULL
        WHERE session_id = $session AND asked_at <= $at
    )
    UPDATE sessions SET claimed_roles = $roles
    WHERE id = $session AND $roles IS NOT NULL AND NOT EXISTS (
        SELECT FROM upstream_tokens WHERE session_id = $session AND asked_at > $at
    )";

/// Keeps the new token, the roles, and when the provider was asked. Done twice, it leaves the same.
pub(crate) struct KeepUpstream<'a> {
    pub(crate) session: &'a SessionId,
    pub(crate) renewal: &'a UpstreamRenewal,
}

impl Statement for KeepUpstream<'_> {
    type Output = ();

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<(), Failure> {
        let UpstreamRenewal { token, claimed_roles, at } = self.renewal;
        let values = [
            ("session", Value::Uuid(self.session.as_uuid())),
            ("sealed", Value::MaybeText(token.as_ref().map(|token| token.0.as_str()))),
            ("roles", Value::roles(claimed_roles.as_deref())),
            ("at", Value::At(to_postgres(*at, "asked_at")?)),
        ];
        Sql::new(TEXT, values).execute(connection).await?;
        Ok(())
    }
}
