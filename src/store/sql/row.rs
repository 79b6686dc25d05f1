//! Rows: columns as the types they stand for. A column that cannot be read is a corrupt row, named by its table and
//! key; it is never a default. No SQL here.

use std::str::FromStr;

use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteError;

use super::link::Row;
use super::postgres;
use crate::clock::Timestamp;
use crate::store::{Result, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads the columns of one row.
pub(super) struct Reader<'r> {
    row: &'r Row,
    table: &'static str,
    key: &'static str,
}

impl<'r> Reader<'r> {
    /// A reader of a row of `table`, whose column `key` names it.
    pub(super) fn new(row: &'r Row, table: &'static str, key: &'static str) -> Self {
        Reader { row, table, key }
    }

    /// This row is not what it should be.
    pub(super) fn corrupt(&self, problem: impl std::fmt::Display) -> StoreError {
        let row = match self.row.text(self.key) {
            Ok(text) => text.unwrap_or("?").to_owned(),
            Err(_) => self.row.int(self.key).ok().flatten().map_or_else(|| "?".into(), |n| n.to_string()),
        };
        StoreError::Corrupt { table: self.table, row, problem: problem.to_string() }
    }

    pub(super) fn text(&self, column: &str) -> Result<&'r str> {
        self.opt_text(column)?.ok_or_else(|| self.corrupt(format!("{column} is null")))
    }

    pub(super) fn opt_text(&self, column: &str) -> Result<Option<&'r str>> {
        self.row.text(column).map_err(|error| self.corrupt(error))
    }

    pub(super) fn int(&self, column: &str) -> Result<i64> {
        self.opt_int(column)?.ok_or_else(|| self.corrupt(format!("{column} is null")))
    }

    pub(super) fn opt_int(&self, column: &str) -> Result<Option<i64>> {
        self.row.int(column).map_err(|error| self.corrupt(error))
    }

    pub(super) fn count(&self, column: &str) -> Result<u32> {
        let n = self.int(column)?;
        u32::try_from(n).map_err(|_| self.corrupt(format!("{column} is {n}")))
    }

    pub(super) fn flag(&self, column: &str) -> Result<bool> {
        Ok(self.int(column)? != 0)
    }

    pub(super) fn at(&self, column: &str) -> Result<Timestamp> {
        self.int(column).map(Timestamp::from_micros)
    }

    pub(super) fn opt_at(&self, column: &str) -> Result<Option<Timestamp>> {
        Ok(self.opt_int(column)?.map(Timestamp::from_micros))
    }

    /// An id.
    pub(super) fn id<T: FromStr>(&self, column: &str) -> Result<T> {
        let text = self.text(column)?;
        text.parse().map_err(|_| self.corrupt(format!("{column} is no id: {text:?}")))
    }

    /// One of the words of an enum.
    pub(super) fn word<T>(&self, column: &str, from_word: impl Fn(&str) -> Option<T>) -> Result<T> {
        let word = self.text(column)?;
        from_word(word).ok_or_else(|| self.corrupt(format!("{column} is {word:?}")))
    }

    /// A document.
    pub(super) fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T> {
        self.parse(column, self.text(column)?)
    }

    /// A document, where there is one.
    pub(super) fn opt_json<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>> {
        self.opt_text(column)?.map(|text| self.parse(column, text)).transpose()
    }

    fn parse<T: DeserializeOwned>(&self, column: &str, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|error| self.corrupt(format!("{column}: {error}")))
    }
}

/// A document, or the rows of one statement, as JSON.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    let text =
        serde_json::to_string(value).expect("our documents have string keys and no failing serializer");
    // PostgreSQL has no text with a NUL in it.
    if text.contains("\\u0000") { without_nul(&text) } else { text }
}

/// A document with another character for each NUL.
fn without_nul(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        clean.push_str(before);
        clean.push('\\');
        // What is escaped goes over whole, so that an escaped backslash escapes nothing.
        let (escape, tail) = match after.strip_prefix("u0000") {
            Some(tail) => ("ufffd", tail),
            None => after.split_at(after.chars().next().map_or(0, char::len_utf8)),
        };
        clean.push_str(escape);
        rest = tail;
    }
    clean.push_str(rest);
    clean
}

/// A failure of the database itself: it is not available now, or, where the schema stands against a write, it will
/// never take it.
pub(super) fn unavailable(error: sqlx::Error) -> StoreError {
    if let Some(refused) = postgres::refusal(&error) {
        return refused;
    }
    let error_of_sqlite = error.as_database_error().and_then(|error| error.try_downcast_ref::<SqliteError>());
    let code = error_of_sqlite.and_then(|error| error.code()?.parse::<i32>().ok());
    match code {
        Some(code) if REFUSALS.contains(&(code & 0xff)) || code == LOGIC_ERROR => {
            StoreError::Refused(error.to_string())
        }
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// Primary result codes (<https://www.sqlite.org/rescode.html>) of writes that fail whenever they are tried:
/// `SQLITE_TOOBIG`, `SQLITE_CONSTRAINT` and `SQLITE_MISMATCH`.
const REFUSALS: &[i32] = &[18, 19, 20];
/// `SQLITE_ERROR` without an extension: the statement and its values do not fit each other.
const LOGIC_ERROR: i32 = 1;

/// A guarded write must have changed so many rows. Guards are checked in the transaction before they are repeated in
/// the `WHERE`, so that a difference is a row that is not what it should be.
pub(super) fn expect_changed(
    changed: u64,
    expected: usize,
    table: &'static str,
    row: impl ToString,
) -> Result<()> {
    if changed == expected as u64 {
        return Ok(());
    }
    let problem = format!("{changed} rows changed where {expected} should have");
    Err(StoreError::Corrupt { table, row: row.to_string(), problem })
}

/// Names the statements of one file, and lists them for the test that prepares each against the real schema.
///
/// `LIMIT ?1 + 0`: where a bare parameter is the limit, SQLite plans the statement again every time it is bound.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)*) => {
        $($(#[$doc])* pub(super) const $name: &str = $sql;)*
        /// Every statement of this file.
        pub(super) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}
pub(super) use statements;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_document_holds_a_nul() {
        let word = "a\0b \\u0000 \u{1}\0";
        assert_eq!(
            serde_json::from_str::<String>(&json(word)).expect("json"),
            "a\u{fffd}b \\u0000 \u{1}\u{fffd}"
        );
        assert_eq!(json("plain"), "\"plain\"");
    }
}
