//! Carrying a lab from its file into a PostgreSQL database: every row of every table, in one transaction, read again on
//! the other side and compared. Nobody works on either meanwhile: both are locked. What a row means is not looked at, so
//! that a row which the store cannot read is carried as well.

use std::path::Path;

use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, SqlSafeStr as _, TypeInfo as _, ValueRef as _};

use super::link::{Connection, Readers};
use super::postgres::{PostgresOptions, PostgresUrl};
use super::row::unavailable;
use super::{SqlStore, SqliteOptions};
use crate::id::Ids;
use crate::store::{Result, StoreError};

/// Tables in the order in which rows may be written: what a row refers to comes before it.
pub(super) const TABLES: [&str; 33] = [
    "meta",
    "deliveries",
    "campaigns",
    "runs",
    "campaign_runs",
    "callbacks",
    "statuses",
    "boards",
    "attempts",
    "events",
    "leases",
    "cards",
    "outbox",
    "errands",
    "audit",
    "reloads",
    "outcomes",
    "reservations",
    "notices",
    "letters",
    "tokens",
    "schedules",
    "builds",
    "drains",
    "calls",
    "watches",
    "digests",
    "badges",
    "links",
    "link_codes",
    "link_tries",
    "workers",
    "sessions",
];
/// Rows that are carried at a time.
const PAGE: i64 = 500;
/// The rows of `meta` that belong to the database itself.
const OWN: &str = "server";

/// One table that was carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The table.
    pub table: &'static str,
    /// How many rows.
    pub rows: u64,
    /// What all their columns come to, in no order.
    pub checksum: String,
}

/// Rows that were not carried.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// One of the two databases cannot be opened.
    #[error(transparent)]
    Open(#[from] super::OpenError),
    /// The target has something in it.
    #[error(
        "the database {place} is not empty: its table {table} has rows; give one that no boardhand has used"
    )]
    NotEmpty {
        /// Where it is.
        place: String,
        /// The first table with rows.
        table: &'static str,
    },
    /// One of them failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Carries everything that the data folder holds into an empty database; all of it or nothing.
pub async fn carry(
    data_dir: &Path,
    url: &PostgresUrl,
    ids: &Ids,
) -> std::result::Result<Vec<Carried>, CarryError> {
    let source = SqlStore::open(data_dir, SqliteOptions::new(ids.clone())).await?;
    let target = SqlStore::connect(url, PostgresOptions::new(ids.clone())).await?;
    let carried = between(&source, &target, url.place()).await;
    target.close().await;
    source.close().await;
    carried
}

async fn between(
    source: &SqlStore,
    target: &SqlStore,
    place: String,
) -> std::result::Result<Vec<Carried>, CarryError> {
    let Readers::Sqlite(file) = &source.readers else { return Ok(vec![]) };
    let file = file.clone();
    let carried = target.writer.write(move |tx| {
        Box::pin(async move {
            let Connection::Postgres(target) = tx.connection().await? else { return Ok(Err("meta")) };
            // A table is read in one go, however long that takes.
            sqlx::query("SET LOCAL statement_timeout = 0")
                .execute(&mut *target)
                .await
                .map_err(unavailable)?;
            for table in TABLES {
                if !is_empty(target, table).await? {
                    return Ok(Err(table));
                }
            }
            let mut carried = Vec::with_capacity(TABLES.len());
            for table in TABLES {
                carried.push(table_carry(&file, target, table).await?);
            }
            Ok(Ok(carried))
        })
    });
    carried.await?.map_err(|table| CarryError::NotEmpty { place, table })
}

/// Whether a table has nothing but what a database gets when it is opened for the first time.
async fn is_empty(target: &mut PgConnection, table: &str) -> Result<bool> {
    let made = if table == "meta" { " WHERE name NOT IN ('secret', 'server')" } else { "" };
    let sql = AssertSqlSafe(format!("SELECT EXISTS (SELECT 1 FROM {table}{made}) AS some"));
    let row = sqlx::query(sql).fetch_one(target).await.map_err(unavailable)?;
    row.try_get::<bool, _>("some").map(|some| !some).map_err(unavailable)
}

/// A column, and whether it holds numbers.
struct Column {
    name: String,
    number: bool,
}

async fn table_carry(file: &SqlitePool, target: &mut PgConnection, table: &'static str) -> Result<Carried> {
    let columns = columns(target, table).await?;
    let names = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
    if table == "meta" {
        sqlx::query("DELETE FROM meta WHERE name <> 'server'")
            .execute(&mut *target)
            .await
            .map_err(unavailable)?;
    }
    let cell = |(index, column): (usize, &Column)| {
        if column.number { format!("(value->>{index})::bigint") } else { format!("value->>{index}") }
    };
    let cells = columns.iter().enumerate().map(cell).collect::<Vec<_>>().join(", ");
    let own = if table == "meta" { format!("name <> '{OWN}' AND ") } else { String::new() };
    let read =
        format!("SELECT rowid AS place, {names} FROM {table} WHERE {own}rowid > ?1 ORDER BY rowid LIMIT ?2");
    let write = format!("INSERT INTO {table} ({names}) SELECT {cells} FROM json_array_elements($1::json)");
    let (read, write) = (AssertSqlSafe(read).into_sql_str(), AssertSqlSafe(write).into_sql_str());
    let (mut sent, mut after) = (Sum::default(), i64::MIN);
    loop {
        let page =
            sqlx::query(read.clone()).bind(after).bind(PAGE).fetch_all(file).await.map_err(unavailable)?;
        let Some(last) = page.last() else { break };
        after = last.try_get("place").map_err(unavailable)?;
        let rows = page.iter().map(|row| sqlite_row(row, table, &columns)).collect::<Result<Vec<_>>>()?;
        rows.iter().for_each(|row| sent.add(row));
        let page = serde_json::Value::Array(rows.into_iter().map(serde_json::Value::Array).collect());
        sqlx::query(write.clone()).bind(page.to_string()).execute(&mut *target).await.map_err(unavailable)?;
    }
    count_on(target, table, &columns).await?;
    let came = sum(target, table, &names, &own, &columns).await?;
    if came != sent {
        let problem = format!(
            "{} rows with the sum {} came as {} with {}",
            sent.rows,
            sent.text(),
            came.rows,
            came.text()
        );
        return Err(StoreError::Corrupt { table, row: "all".into(), problem });
    }
    Ok(Carried { table, rows: came.rows, checksum: came.text() })
}

async fn columns(target: &mut PgConnection, table: &str) -> Result<Vec<Column>> {
    let query = sqlx::query(
        "SELECT column_name::text AS name, data_type::text AS type
         FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name = $1
         ORDER BY ordinal_position",
    );
    let rows = query.bind(table).fetch_all(target).await.map_err(unavailable)?;
    let column = |row: &PgRow| {
        let (name, kind): (String, String) = (row.try_get("name")?, row.try_get("type")?);
        Ok(Column { name, number: kind == "bigint" })
    };
    rows.iter().map(column).collect::<std::result::Result<_, _>>().map_err(unavailable)
}

fn sqlite_row(row: &SqliteRow, table: &'static str, columns: &[Column]) -> Result<Vec<serde_json::Value>> {
    let cell = |column: &Column| {
        let raw = row.try_get_raw(column.name.as_str())?;
        if raw.is_null() {
            return Ok(serde_json::Value::Null);
        }
        if raw.type_info().name() == "INTEGER" {
            return Ok(row.try_get::<i64, _>(column.name.as_str())?.into());
        }
        // PostgreSQL has no text with a NUL in it.
        Ok(row.try_get::<String, _>(column.name.as_str())?.replace('\0', "\u{fffd}").into())
    };
    columns.iter().map(cell).collect::<std::result::Result<_, sqlx::Error>>().map_err(|error| {
        let place = row.try_get::<i64, _>("place").unwrap_or_default();
        StoreError::Corrupt { table, row: format!("rowid {place}"), problem: error.to_string() }
    })
}

/// What the rows of a table come to now.
async fn sum(
    target: &mut PgConnection,
    table: &'static str,
    names: &str,
    own: &str,
    columns: &[Column],
) -> Result<Sum> {
    use futures_util::TryStreamExt as _;
    let sql = AssertSqlSafe(format!("SELECT {names} FROM {table} WHERE {own}true"));
    let mut rows = sqlx::query(sql).fetch(target);
    let mut sum = Sum::default();
    while let Some(row) = rows.try_next().await.map_err(unavailable)? {
        let cell = |(index, column): (usize, &Column)| {
            Ok(match column.number {
                true => row.try_get::<Option<i64>, _>(index)?.into(),
                false => row.try_get::<Option<String>, _>(index)?.into(),
            })
        };
        let cells =
            columns.iter().enumerate().map(cell).collect::<std::result::Result<Vec<_>, sqlx::Error>>();
        sum.add(&cells.map_err(unavailable)?);
    }
    Ok(sum)
}

/// New rows get numbers behind those that came.
async fn count_on(target: &mut PgConnection, table: &str, columns: &[Column]) -> Result<()> {
    for column in columns.iter().filter(|column| column.number) {
        let name = &column.name;
        let sql = format!(
            "SELECT setval(sequence, GREATEST((SELECT MAX({name}) FROM {table}), 1),
                           (SELECT MAX({name}) FROM {table}) IS NOT NULL)
             FROM pg_get_serial_sequence('{table}', '{name}') AS sequence
             WHERE sequence IS NOT NULL"
        );
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *target).await.map_err(unavailable)?;
    }
    Ok(())
}

/// What rows come to, in whatever order they are read.
#[derive(Default, PartialEq, Eq)]
struct Sum {
    rows: u64,
    total: u128,
}

impl Sum {
    fn add(&mut self, row: &[serde_json::Value]) {
        let text = serde_json::Value::Array(row.to_vec()).to_string();
        let mut half = [0; 16];
        half.copy_from_slice(&Sha256::digest(text.as_bytes())[..16]);
        self.total = self.total.wrapping_add(u128::from_be_bytes(half));
        self.rows += 1;
    }

    fn text(&self) -> String {
        format!("{:032x}", self.total)
    }
}
