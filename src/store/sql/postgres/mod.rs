//! PostgreSQL under the same operations: how its statements read ([`text`]), how values and rows cross over ([`value`]),
//! and how a server comes to be the only one at a database ([`open`]). No rule of the lab is decided here.

/// The numbers of a document that is a statement's first value.
macro_rules! numbers {
    () => {
        "(SELECT value::bigint FROM json_array_elements_text($1::json))"
    };
}

/// The texts of a document that is a statement's first value.
macro_rules! texts {
    () => {
        "(SELECT value FROM json_array_elements_text($1::json))"
    };
}

mod came_back;
mod messages;
pub(super) mod open;
mod runs;
pub(super) mod standby;
#[cfg(test)]
mod schema_tests;
mod text;
mod turn;
pub(super) mod value;

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::postgres::PgConnection;
use sqlx::{Either, Executor};

use super::link::{Ran, Row, Value};
use crate::clock::Clock;
use crate::store::StoreError;

pub(super) use self::open::{Home, readers};
pub use self::open::{PostgresOptions, PostgresUrl};
pub use self::standby::{GIVE_UP_AFTER, TAKEN_AFTER};
pub use self::text::statements;
pub use self::turn::{LET_GO_AFTER, TRUSTED_FOR};

/// What a server that ends in order leaves its place with.
pub(super) const FAREWELL: &str = turn::FAREWELL;

/// How long an answer is waited for: longer than PostgreSQL itself lets a statement run, so that only a connection that is
/// gone without a word is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

/// Runs one statement, which may be several in PostgreSQL's words; gives what all of them changed and gave.
pub(super) async fn run(
    connection: &mut PgConnection,
    sql: &'static str,
    values: &[Value],
) -> Result<Ran, sqlx::Error> {
    match Clock::system().timeout(ANSWER_TIMEOUT, run_parts(connection, sql, values)).await {
        Ok(ran) => ran,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

async fn run_parts(
    connection: &mut PgConnection,
    sql: &'static str,
    values: &[Value],
) -> Result<Ran, sqlx::Error> {
    let mut ran = Ran::default();
    for part in text::of(sql) {
        let arguments = value::arguments(&values[..part.values.min(values.len())]);
        let mut answers = connection.fetch_many(sqlx::query_with(part.sql, arguments));
        while let Some(answer) = answers.try_next().await? {
            match answer {
                Either::Left(ended) => ran.changed += ended.rows_affected(),
                Either::Right(row) => ran.rows.push(Row::Postgres(row)),
            }
        }
    }
    Ok(ran)
}

/// Classes of SQLSTATE (<https://www.postgresql.org/docs/current/errcodes-appendix.html>) of writes that fail whenever
/// they are tried: data that does not fit, a constraint, a statement that does not fit the schema, a value that is too long
/// for an index.
const REFUSALS: [&str; 4] = ["22", "23", "42", "54"];

/// What PostgreSQL says of a write that it will never take; `None` for every other failure.
pub(super) fn refusal(error: &sqlx::Error) -> Option<StoreError> {
    let error = error.as_database_error()?.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
    let refused = REFUSALS.iter().any(|class| error.code().starts_with(class));
    // Its detail would quote the row.
    refused.then(|| StoreError::Refused(format!("{} ({})", error.message(), error.code())))
}
