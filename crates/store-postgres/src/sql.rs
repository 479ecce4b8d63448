//! Statements that the query builder cannot say: SQL text and named values.

use std::marker::PhantomData;
use std::sync::OnceLock;

use diesel::data_types::PgTimestamp;
use diesel::pg::{Pg, PgQueryBuilder};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryBuilder, QueryFragment, QueryId};
use diesel::result::Error;
use diesel::sql_types::{Array, BigInt, Binary, Integer, Json, Nullable, Text, Timestamptz, Uuid};
use diesel_async::methods::LoadQuery;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mintgate_domain::model::{Role, SealedToken, Timestamp};
use mintgate_domain::ports::StoreError;

use crate::time::to_postgres;

/// The text of a statement, in which each `$name` stands for the value of that name, wherever it occurs.
/// It is the same for every call, so that it is parsed and planned once per connection.
pub(crate) struct SqlText {
    source: &'static str,
    numbered: OnceLock<Numbered>,
}

/// A text whose names are numbers, and the name of each number.
struct Numbered {
    sql: String,
    names: Vec<&'static str>,
}

impl SqlText {
    pub(crate) const fn new(source: &'static str) -> Self {
        Self { source, numbered: OnceLock::new() }
    }

    fn numbered(&self) -> &Numbered {
        self.numbered.get_or_init(|| {
            let mut pieces = self.source.split('$');
            let mut sql = pieces.next().unwrap_or_default().to_owned();
            let mut names = vec![];
            for piece in pieces {
                let end = piece.find(|c: char| !(c.is_ascii_lowercase() || c == '_'));
                let (name, rest) = piece.split_at(end.unwrap_or(piece.len()));
                let known = names.iter().position(|known| *known == name);
                let index = known.unwrap_or_else(|| {
                    names.push(name);
                    names.len() - 1
                });
                sql.push('$');
                sql += &(index + 1).to_string();
                sql += rest;
            }
            Numbered { sql, names }
        })
    }
}

/// A statement that answers with rows of the type `Row`.
pub(crate) struct Sql<'a, Row> {
    text: &'static SqlText,
    values: Vec<(&'static str, Value<'a>)>,
    row: PhantomData<Row>,
}

/// A value, as a type of column.
#[derive(Debug, Clone)]
pub(crate) enum Value<'a> {
    At(PgTimestamp),
    BigInt(i64),
    BigInts(Vec<i64>),
    Bytes(&'a [u8]),
    ByteStrings(Vec<&'a [u8]>),
    Integer(i32),
    Integers(Vec<i32>),
    Json(serde_json::Value),
    MaybeAt(Option<PgTimestamp>),
    MaybeBigInt(Option<i64>),
    MaybeBytes(Option<&'a [u8]>),
    MaybeText(Option<&'a str>),
    MaybeTexts(Option<Vec<&'a str>>),
    OwnedText(Option<String>),
    Text(&'a str),
    Texts(Vec<&'a str>),
    Uuid(uuid::Uuid),
}

impl<'a, Row> Sql<'a, Row> {
    pub(crate) fn new(
        text: &'static SqlText,
        values: impl Into<Vec<(&'static str, Value<'a>)>>,
    ) -> Self {
        Self { text, values: values.into(), row: PhantomData }
    }

    /// Runs a statement that always answers with one row.
    ///
    /// Reads the answer to its end: Postgres sends the rows first and commits afterwards, so that a row
    /// alone does not say that anything is stored.
    pub(crate) fn answer<'c, R>(
        self,
        connection: &'c mut AsyncPgConnection,
    ) -> impl Future<Output = QueryResult<R>> + Send + 'c
    where
        'a: 'c,
        Self: LoadQuery<'c, AsyncPgConnection, R>,
        R: Send + 'c,
        Row: 'c,
    {
        let rows = self.get_results(connection);
        async move { rows.await?.into_iter().next().ok_or(Error::NotFound) }
    }

    fn value(&self, name: &str) -> QueryResult<&Value<'a>> {
        let found = self.values.iter().find(|(known, _)| *known == name);
        let missing = || Error::QueryBuilderError(format!("there is no value {name}").into());
        found.map(|(_, value)| value).ok_or_else(missing)
    }
}

impl<'a> Value<'a> {
    /// A time, as the value of a `timestamptz` column.
    pub(crate) fn at(at: Timestamp) -> Result<Self, StoreError> {
        Ok(Self::At(to_postgres(at)?))
    }

    /// A time that may be missing.
    pub(crate) fn maybe_at(at: Option<Timestamp>) -> Result<Self, StoreError> {
        Ok(Self::MaybeAt(at.map(to_postgres).transpose()?))
    }

    /// The text of a token of a provider that may be missing.
    pub(crate) fn maybe_sealed(token: Option<&'a SealedToken>) -> Self {
        Self::MaybeText(token.map(|token| token.0.as_str()))
    }

    /// The names of roles.
    pub(crate) fn roles(roles: &'a [Role]) -> Self {
        Self::Texts(roles.iter().map(Role::as_str).collect())
    }

    fn push<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        match self {
            Self::At(value) => out.push_bind_param::<Timestamptz, _>(value),
            Self::BigInt(value) => out.push_bind_param::<BigInt, _>(value),
            Self::BigInts(value) => out.push_bind_param::<Array<BigInt>, _>(value),
            Self::Bytes(value) => out.push_bind_param::<Binary, _>(*value),
            Self::ByteStrings(value) => out.push_bind_param::<Array<Binary>, _>(value),
            Self::Integer(value) => out.push_bind_param::<Integer, _>(value),
            Self::Integers(value) => out.push_bind_param::<Array<Integer>, _>(value),
            Self::Json(value) => out.push_bind_param::<Json, _>(value),
            Self::MaybeAt(value) => out.push_bind_param::<Nullable<Timestamptz>, _>(value),
            Self::MaybeBigInt(value) => out.push_bind_param::<Nullable<BigInt>, _>(value),
            Self::MaybeBytes(value) => out.push_bind_param::<Nullable<Binary>, _>(value),
            Self::MaybeText(value) => out.push_bind_param::<Nullable<Text>, _>(value),
            Self::MaybeTexts(value) => out.push_bind_param::<Nullable<Array<Text>>, _>(value),
            Self::OwnedText(value) => out.push_bind_param::<Nullable<Text>, _>(value),
            Self::Text(value) => out.push_bind_param::<Text, _>(*value),
            Self::Texts(value) => out.push_bind_param::<Array<Text>, _>(value),
            Self::Uuid(value) => out.push_bind_param::<Uuid, _>(value),
        }
    }
}

/// Prepared statements are kept by their text.
impl<Row> QueryId for Sql<'_, Row> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Row> Query for Sql<'_, Row> {
    type SqlType = Row;
}

impl<Row> QueryFragment<Pg> for Sql<'_, Row> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.text.numbered().names.iter().try_for_each(|name| self.value(name)?.push(&mut out))
    }

    fn to_sql(&self, out: &mut PgQueryBuilder, _: &Pg) -> QueryResult<()> {
        out.push_sql(&self.text.numbered().sql);
        Ok(())
    }
}

/// A statement of the query builder, prepared once per connection and kept by its text. Its text is
/// built by the first call of [`prepared!`] at that place, and must be the same for every later one.
///
/// Diesel builds the text again for every call, and prepares every `UPDATE` again, which is a second
/// round trip, because the columns it sets may differ from call to call. Each statement of this crate
/// sets the same columns every time. A test counts the round trips of a rotation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prepared<Q> {
    query: Q,
    text: &'static OnceLock<String>,
}

/// Makes a statement of the query builder [`Prepared`]. Every value in it must be sent as a parameter.
macro_rules! prepared {
    ($query:expr) => {{
        static TEXT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        $crate::sql::Prepared::new($query, &TEXT)
    }};
}
pub(crate) use prepared;

impl<Q> Prepared<Q> {
    pub(crate) fn new(query: Q, text: &'static OnceLock<String>) -> Self {
        Self { query, text }
    }
}

impl<Q> QueryId for Prepared<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Prepared<Q> {
    type SqlType = Q::SqlType;
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Prepared<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.query.walk_ast(out)
    }

    fn to_sql(&self, out: &mut PgQueryBuilder, backend: &Pg) -> QueryResult<()> {
        let text = if let Some(text) = self.text.get() {
            text
        } else {
            let mut builder = PgQueryBuilder::default();
            self.query.to_sql(&mut builder, backend)?;
            self.text.get_or_init(|| builder.finish())
        };
        out.push_sql(text);
        Ok(())
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::single_use_marks;

    #[test]
    fn a_name_stands_for_its_value_wherever_it_occurs() {
        static TEXT: SqlText = SqlText::new("SELECT $a_b, $a::int, $a_b");
        let values = [("a", Value::Integer(1)), ("a_b", Value::Text("x"))];
        let sql = Sql::<()>::new(&TEXT, values);
        let text = diesel::debug_query::<Pg, _>(&sql).to_string();
        assert_eq!(text, "SELECT $1, $2::int, $1 -- binds: [\"x\", 1]");
    }

    #[test]
    fn a_prepared_statement_has_the_text_of_its_query_and_keeps_it() {
        let text = |key: &[u8]| {
            let marks = single_use_marks::table.filter(single_use_marks::hash.eq(key));
            let mut expected = PgQueryBuilder::default();
            QueryFragment::<Pg>::to_sql(&marks, &mut expected, &Pg).unwrap();
            let prepared = prepared!(marks);
            let mut built = PgQueryBuilder::default();
            prepared.to_sql(&mut built, &Pg).unwrap();
            assert_eq!(built.finish(), expected.finish());
            prepared.text.get().unwrap().as_ptr()
        };
        assert_eq!(text(b"a"), text(b"b"));
    }

    #[test]
    fn a_name_without_a_value_is_an_error() {
        static TEXT: SqlText = SqlText::new("SELECT $a");
        let sql = Sql::<()>::new(&TEXT, []);
        assert!(sql.value("a").is_err());
    }
}
