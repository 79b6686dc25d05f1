//! The two schemas and the two texts of every statement against each other.

use std::collections::BTreeSet;

use super::super::sqlite::MIGRATIONS as SQLITE;
use super::super::statements;
use super::open::MIGRATIONS as POSTGRES;
use super::text;

#[test]
fn migrations_have_the_same_numbers_and_names() {
    let names = |migrator: &sqlx::migrate::Migrator| -> Vec<(i64, String)> {
        migrator.iter().map(|migration| (migration.version, migration.description.to_string())).collect()
    };
    assert_eq!(names(&SQLITE), names(&POSTGRES));
}

#[test]
fn every_statement_that_is_written_again_is_one_of_the_store_s_and_takes_as_many_values() {
    let listed: BTreeSet<&str> = statements().into_iter().map(|(_, sql)| sql).collect();
    for (sqlite, postgres) in text::written() {
        if !sqlite.ends_with("COMMIT") {
            assert!(listed.contains(sqlite), "{sqlite}");
        }
        let values = |sql: &str, sign: char| {
            let numbers = sql.split(sign).skip(1).filter_map(|after| {
                let digits = after.bytes().take_while(u8::is_ascii_digit).count();
                after[..digits].parse::<usize>().ok()
            });
            numbers.max().unwrap_or(0)
        };
        let unnumbered = sqlite.contains("jsonb_each(?)");
        let expected = if unnumbered { sqlite.matches('?').count() } else { values(sqlite, '?') };
        assert_eq!(values(postgres, '$'), expected, "{sqlite}\n{postgres}");
    }
}

#[test]
fn no_statement_goes_over_with_words_that_only_sqlite_knows() {
    for (name, sql) in statements() {
        if name == "GUARD" {
            continue;
        }
        for part in text::of(sql) {
            for word in ["jsonb_each", "INDEXED BY", "IMMEDIATE", "json_remove", "MAX(due_at, ", "?"] {
                assert!(!part.sql.contains(word), "{name} has {word}");
            }
        }
    }
}
