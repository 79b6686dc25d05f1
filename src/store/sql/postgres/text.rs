//! How a statement reads in PostgreSQL. Most read the same but for `$1` where SQLite has `?1`; the others are written
//! again, each beside the name of the one that it stands for.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{messages, runs};

/// A statement as it goes over: one, where what it stands for may be several.
pub(super) struct Part {
    pub(super) sql: &'static str,
    /// How many values it takes.
    pub(super) values: usize,
}

/// Every statement in the words of PostgreSQL, by what it is for SQLite.
static TEXTS: LazyLock<HashMap<&'static str, Vec<Part>>> = LazyLock::new(|| {
    let written = || runs::texts().into_iter().chain(messages::texts());
    let own: HashMap<&'static str, &'static str> = written().collect();
    let read =
        |sql: &'static str| (sql, parts(own.get(sql).map_or_else(|| dollars(sql), |own| (*own).to_owned())));
    let common = listed().map(|(_, sql)| read(sql));
    common.chain(written().map(|(sql, _)| read(sql))).collect()
});

/// Every statement by its name, those too that only PostgreSQL is asked.
fn listed() -> impl Iterator<Item = (&'static str, &'static str)> {
    let own = [
        super::came_back::STATEMENTS,
        super::open::STATEMENTS,
        super::standby::STATEMENTS,
        super::turn::STATEMENTS,
    ];
    super::super::statements().into_iter().chain(own.into_iter().flatten().copied())
}

/// The parts of a statement.
pub(super) fn of(sql: &'static str) -> &'static [Part] {
    TEXTS.get(sql).expect("every statement of the store is listed")
}

/// Every statement as it goes over, by its name: for a test that prepares each against the real schema.
pub fn statements() -> Vec<(&'static str, &'static str)> {
    let whole = |(name, sql)| of(sql).iter().map(move |part| (name, part.sql));
    // What only SQLite is ever asked.
    listed().filter(|(name, _)| *name != "GUARD").flat_map(whole).collect()
}

/// Statements that are written again, by what they are for SQLite.
#[cfg(test)]
pub(super) fn written() -> Vec<(&'static str, &'static str)> {
    runs::texts().into_iter().chain(messages::texts()).collect()
}

fn dollars(sql: &str) -> String {
    sql.replace('?', "$")
}

/// Read once for the life of the process.
fn parts(text: String) -> Vec<Part> {
    let text: &'static str = text.leak();
    let part = |sql: &'static str| {
        let numbers = sql.split('$').skip(1).filter_map(|after| {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            after[..digits].parse().ok()
        });
        Part { sql: sql.trim(), values: numbers.max().unwrap_or(0) }
    };
    text.split(';').map(part).collect()
}
