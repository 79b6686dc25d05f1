//! Statements on their way to a database, and rows on their way back: the only place that knows that there are two kinds
//! of both. Operations name a statement by its text for SQLite; for PostgreSQL its own text stands in `postgres`.
//! Nothing here knows what a statement means.

use futures_util::TryStreamExt;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Arguments, Either, Executor, Transaction};

use super::postgres;
use crate::clock::Timestamp;

/// A row of either database.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A connection to either database.
pub(super) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Connection {
    /// Ends it, whatever was open.
    pub(super) async fn close(self) {
        let _ = match self {
            Connection::Sqlite(connection) => sqlx::Connection::close(connection).await,
            Connection::Postgres(connection) => sqlx::Connection::close(connection).await,
        };
    }
}

/// Connections that read.
pub(super) enum Readers {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// What a transaction of PostgreSQL sees of others stays what it is as of its first statement, as SQLite's does.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

impl Readers {
    /// One of them, for several statements.
    pub(super) async fn acquire(&self) -> Result<Held, sqlx::Error> {
        Ok(match self {
            Readers::Sqlite(pool) => Held::Sqlite(pool.acquire().await?),
            Readers::Postgres(pool) => Held::Postgres(pool.acquire().await?),
        })
    }

    /// One of them, which sees everything as of one instant.
    pub(super) async fn begin(&self) -> Result<Snapshot, sqlx::Error> {
        Ok(match self {
            Readers::Sqlite(pool) => Snapshot::Sqlite(pool.begin().await?),
            Readers::Postgres(pool) => Snapshot::Postgres(pool.begin_with(SNAPSHOT).await?),
        })
    }

    pub(super) async fn close(&self) {
        match self {
            Readers::Sqlite(pool) => pool.close().await,
            Readers::Postgres(pool) => pool.close().await,
        }
    }
}

/// A connection of [`Readers`].
pub(super) enum Held {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// A connection of [`Readers`] in a transaction that only reads.
pub(super) enum Snapshot {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// Where a statement goes.
pub(super) enum Link<'c> {
    Sqlite(&'c mut SqliteConnection),
    SqlitePool(&'c SqlitePool),
    Postgres(&'c mut PgConnection),
    PostgresPool(&'c PgPool),
}

impl<'c> From<&'c mut Connection> for Link<'c> {
    fn from(connection: &'c mut Connection) -> Self {
        match connection {
            Connection::Sqlite(connection) => Link::Sqlite(connection),
            Connection::Postgres(connection) => Link::Postgres(connection),
        }
    }
}

impl<'c> From<&'c Readers> for Link<'c> {
    fn from(readers: &'c Readers) -> Self {
        match readers {
            Readers::Sqlite(pool) => Link::SqlitePool(pool),
            Readers::Postgres(pool) => Link::PostgresPool(pool),
        }
    }
}

impl<'c> From<&'c mut Held> for Link<'c> {
    fn from(held: &'c mut Held) -> Self {
        match held {
            Held::Sqlite(connection) => Link::Sqlite(connection),
            Held::Postgres(connection) => Link::Postgres(connection),
        }
    }
}

impl<'c> From<&'c mut Snapshot> for Link<'c> {
    fn from(snapshot: &'c mut Snapshot) -> Self {
        match snapshot {
            Snapshot::Sqlite(transaction) => Link::Sqlite(transaction),
            Snapshot::Postgres(transaction) => Link::Postgres(transaction),
        }
    }
}

/// A value of a statement.
#[derive(Clone)]
pub(super) enum Value {
    Integer(i64),
    Text(String),
    Null,
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Integer(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Value::Integer(value.into())
    }
}

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        Value::Integer(value.as_micros())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Text(value.to_owned())
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Value::Text(value.clone())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, T::into)
    }
}

impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Self {
        value.as_deref().into()
    }
}

/// What one statement gave.
#[derive(Default)]
pub(super) struct Ran {
    /// Rows changed, by one that writes.
    pub(super) changed: u64,
    /// Rows read.
    pub(super) rows: Vec<Row>,
}

impl Ran {
    /// Rows changed, by one that writes.
    pub(super) fn rows_affected(&self) -> u64 {
        self.changed
    }
}

/// One statement with its values, of which more may follow.
pub(super) struct Query {
    sql: &'static str,
    values: Vec<Value>,
}

/// A statement.
pub(super) fn query(sql: &'static str) -> Query {
    Query { sql, values: vec![] }
}

impl Query {
    /// Its next value.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Runs it; gives how many rows changed, and the rows that were read.
    pub(super) async fn execute<'c>(self, link: impl Into<Link<'c>>) -> Result<Ran, sqlx::Error> {
        run(link.into(), self.sql, self.values).await
    }

    /// Every row.
    pub(super) async fn fetch_all<'c>(self, link: impl Into<Link<'c>>) -> Result<Vec<Row>, sqlx::Error> {
        Ok(run(link.into(), self.sql, self.values).await?.rows)
    }

    /// The first row, where there is one.
    pub(super) async fn fetch_optional<'c>(
        self,
        link: impl Into<Link<'c>>,
    ) -> Result<Option<Row>, sqlx::Error> {
        Ok(self.fetch_all(link).await?.into_iter().next())
    }

    /// The first row.
    pub(super) async fn fetch_one<'c>(self, link: impl Into<Link<'c>>) -> Result<Row, sqlx::Error> {
        self.fetch_optional(link).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// The first column of the first row: a number, where there is one.
    pub(super) async fn number<'c>(self, link: impl Into<Link<'c>>) -> Result<Option<i64>, sqlx::Error> {
        match self.fetch_optional(link).await? {
            Some(row) => row.int(0),
            None => Ok(None),
        }
    }

    /// The first column of the only row: a count.
    pub(super) async fn count<'c>(self, link: impl Into<Link<'c>>) -> Result<i64, sqlx::Error> {
        self.number(link).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

impl Row {
    /// A number, a flag, or nothing.
    pub(super) fn int<I>(&self, column: I) -> Result<Option<i64>, sqlx::Error>
    where
        I: sqlx::ColumnIndex<SqliteRow> + sqlx::ColumnIndex<PgRow>,
    {
        match self {
            Row::Sqlite(row) => sqlx::Row::try_get(row, column),
            Row::Postgres(row) => postgres::value::int(row, column),
        }
    }

    /// A text, or nothing.
    pub(super) fn text<I>(&self, column: I) -> Result<Option<&str>, sqlx::Error>
    where
        I: sqlx::ColumnIndex<SqliteRow> + sqlx::ColumnIndex<PgRow>,
    {
        match self {
            Row::Sqlite(row) => sqlx::Row::try_get(row, column),
            Row::Postgres(row) => sqlx::Row::try_get(row, column),
        }
    }
}

/// The values of a statement, as SQLite takes them.
pub(super) fn sqlite_arguments(values: Vec<Value>) -> SqliteArguments {
    let mut arguments = SqliteArguments::default();
    for value in values {
        let added = match value {
            Value::Integer(number) => arguments.add(number),
            Value::Text(text) => arguments.add(text),
            Value::Null => arguments.add(None::<i64>),
        };
        added.expect("numbers and texts encode");
    }
    arguments
}

/// Runs one statement.
async fn run(link: Link<'_>, sql: &'static str, values: Vec<Value>) -> Result<Ran, sqlx::Error> {
    match link {
        Link::Sqlite(connection) => run_sqlite(connection, sql, values).await,
        Link::SqlitePool(pool) => run_sqlite(pool, sql, values).await,
        Link::Postgres(connection) => postgres::run(connection, sql, &values).await,
        Link::PostgresPool(pool) => postgres::run(&mut *pool.acquire().await?, sql, &values).await,
    }
}

async fn run_sqlite<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
    sql: &'static str,
    values: Vec<Value>,
) -> Result<Ran, sqlx::Error> {
    let mut ran = Ran::default();
    let mut answers = executor.fetch_many(sqlx::query_with(sql, sqlite_arguments(values)));
    while let Some(answer) = answers.try_next().await? {
        match answer {
            Either::Left(ended) => ran.changed += ended.rows_affected(),
            Either::Right(row) => ran.rows.push(Row::Sqlite(row)),
        }
    }
    Ok(ran)
}
