//! Statements that are written as SQL, and the values they are sent with.

use diesel::data_types::{PgInterval, PgTimestamp};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error;
use diesel::sql_types::{
    Array, BigInt, Binary, Bool, Integer, Interval, Nullable, Text, Timestamptz, Untyped,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::Role;

/// A statement. Its text is the same for every call, so that it is parsed and planned once per
/// connection; each `$name` in it stands for the value of that name, wherever it occurs.
///
/// No text may read columns by `*`: while a release rolls out, a migration can add one, and a
/// prepared statement whose columns have changed fails.
pub(crate) struct Sql<'a> {
    text: &'static str,
    values: Vec<(&'static str, Value<'a>)>,
}

/// A value, as a type of column.
pub(crate) enum Value<'a> {
    At(PgTimestamp),
    BigInt(i64),
    Bool(bool),
    Bytes(&'a [u8]),
    Integer(i32),
    MaybeAt(Option<PgTimestamp>),
    MaybeBytes(Option<&'a [u8]>),
    MaybeText(Option<&'a str>),
    MaybeTexts(Option<Vec<&'a str>>),
    Span(PgInterval),
    Text(&'a str),
    Uuid(&'a uuid::Uuid),
}

impl<'a> Sql<'a> {
    pub(crate) fn new(
        text: &'static str,
        values: impl Into<Vec<(&'static str, Value<'a>)>>,
    ) -> Self {
        Self { text, values: values.into() }
    }

    /// Runs it; the one row it answers with, if there is one.
    ///
    /// Reads the answer to its end. Postgres sends the rows first and commits afterwards: whoever
    /// stops at the row takes something for stored that may still fail to be.
    pub(crate) async fn row<R>(&self, connection: &mut AsyncPgConnection) -> QueryResult<Option<R>>
    where
        R: QueryableByName<Pg> + Send + 'static,
    {
        let rows: Vec<R> = self.get_results(connection).await?;
        Ok(rows.into_iter().next())
    }

    /// The same where there is always one.
    pub(crate) async fn answer<R>(&self, connection: &mut AsyncPgConnection) -> QueryResult<R>
    where
        R: QueryableByName<Pg> + Send + 'static,
    {
        self.row(connection).await?.ok_or(Error::NotFound)
    }

    fn value(&self, name: &str) -> QueryResult<&Value<'a>> {
        let found = self.values.iter().find(|(known, _)| *known == name);
        let missing = || Error::QueryBuilderError(format!("there is no value {name}").into());
        found.map(|(_, value)| value).ok_or_else(missing)
    }
}

impl<'a> Value<'a> {
    /// The names of roles.
    pub(crate) fn roles(roles: Option<&'a [Role]>) -> Self {
        Self::MaybeTexts(roles.map(|roles| roles.iter().map(Role::as_str).collect()))
    }

    fn push<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        match self {
            Self::At(value) => out.push_bind_param::<Timestamptz, _>(value),
            Self::BigInt(value) => out.push_bind_param::<BigInt, _>(value),
            Self::Bool(value) => out.push_bind_param::<Bool, _>(value),
            Self::Bytes(value) => out.push_bind_param::<Binary, _>(*value),
            Self::Integer(value) => out.push_bind_param::<Integer, _>(value),
            Self::MaybeAt(value) => out.push_bind_param::<Nullable<Timestamptz>, _>(value),
            Self::MaybeBytes(value) => out.push_bind_param::<Nullable<Binary>, _>(value),
            Self::MaybeText(value) => out.push_bind_param::<Nullable<Text>, _>(value),
            Self::MaybeTexts(value) => out.push_bind_param::<Nullable<Array<Text>>, _>(value),
            Self::Span(value) => out.push_bind_param::<Interval, _>(value),
            Self::Text(value) => out.push_bind_param::<Text, _>(*value),
            Self::Uuid(value) => out.push_bind_param::<diesel::sql_types::Uuid, _>(*value),
        }
    }
}

/// Prepared statements are kept by their text.
impl QueryId for Sql<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// Rows are read by the names of their columns.
impl Query for Sql<'_> {
    type SqlType = Untyped;
}

impl QueryFragment<Pg> for Sql<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let mut pieces = self.text.split('$');
        out.push_sql(pieces.next().unwrap_or_default());
        for piece in pieces {
            let end = piece.find(|c: char| !(c.is_ascii_lowercase() || c == '_'));
            let (name, rest) = piece.split_at(end.unwrap_or(piece.len()));
            self.value(name)?.push(&mut out)?;
            out.push_sql(rest);
        }
        Ok(())
    }
}

/// The answer of a statement that counts.
#[derive(QueryableByName)]
pub(crate) struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

impl From<Count> for u64 {
    fn from(answer: Count) -> Self {
        answer.count.unsigned_abs()
    }
}

/// The answer of a statement that asks whether something is so.
#[derive(QueryableByName)]
pub(crate) struct Answer {
    #[diesel(sql_type = Bool)]
    pub(crate) answer: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_its_value_wherever_it_occurs() {
        let values = [("a", Value::Integer(1)), ("a_b", Value::Text("x"))];
        let sql = Sql::new("SELECT $a_b, $a::int, $a_b", values);
        let text = diesel::debug_query::<Pg, _>(&sql).to_string();
        assert_eq!(text, "SELECT $1, $2::int, $3 -- binds: [\"x\", 1, \"x\"]");
    }

    #[test]
    fn a_name_without_a_value_is_an_error() {
        let sql = Sql::new("SELECT $a", []);
        assert!(sql.value("a").is_err());
    }
}
