//! Every statement against the real schema: that it prepares, and that the ones that loops repeat find their rows by
//! an index however many runs are finished.

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, Row, SqlSafeStr};

use super::{carry, sqlite, statements};

async fn migrated() -> SqliteConnection {
    let memory = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
    let mut connection = memory.connect().await.expect("memory");
    sqlite::MIGRATIONS.run(&mut connection).await.expect("migrations");
    connection
}

#[tokio::test]
async fn every_statement_prepares_against_the_migrated_schema() {
    let mut connection = migrated().await;
    for (name, sql) in statements() {
        if let Err(error) = connection.prepare(sql.into_sql_str()).await {
            panic!("{name}: {error}\n{sql}");
        }
    }
}

#[test]
fn every_file_with_statements_is_listed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/sql");
    let listed = std::fs::read_to_string(format!("{folder}/mod.rs")).expect("mod.rs");
    for file in std::fs::read_dir(folder).expect("the folder") {
        let path = file.expect("a file").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() || name == "mod" {
            continue;
        }
        if std::fs::read_to_string(&path).expect("a text").contains("\nstatements! {\n") {
            assert!(listed.contains(&format!("        {name}::STATEMENTS,\n")), "{name}");
        }
    }
}

#[tokio::test]
async fn every_table_is_carried() {
    let mut connection = migrated().await;
    let tables =
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\'
                  AND name NOT LIKE 'sqlite%' ORDER BY name";
    let tables = sqlx::query(tables).fetch_all(&mut connection).await.expect("tables");
    let tables: Vec<String> = tables.iter().map(|row| row.get("name")).collect();
    let mut carried = carry::TABLES.to_vec();
    carried.sort_unstable();
    assert_eq!(tables, carried);
}

/// Tables that grow with every run there ever was.
const GROWING: [&str; 11] = [
    "calls",
    "runs",
    "attempts",
    "events",
    "leases",
    "cards",
    "outbox",
    "deliveries",
    "audit",
    "outcomes",
    "statuses",
];

#[tokio::test]
async fn no_statement_reads_a_growing_table_from_end_to_end() {
    let mut connection = migrated().await;
    let mut scans = Vec::new();
    let statements = statements();
    let parts =
        statements.iter().flat_map(|(name, sql)| sql.split(';').map(|part| (*name, part.trim_start())));
    for (name, sql) in parts {
        // An INSERT reads only the document it is given; the scans in its plan are of foreign keys that are broken.
        if !["SELECT", "UPDATE", "DELETE"].iter().any(|verb| sql.starts_with(verb)) {
            continue;
        }
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let plan = sqlx::query(explain).fetch_all(&mut connection).await.expect(name);
        for step in plan {
            let step: String = step.get("detail");
            // A scan of a partial index is bounded by what is still to be done; one in order of the key by LIMIT.
            let scan = step.strip_prefix("SCAN ").filter(|scan| !scan.contains("USING"));
            let table = scan.map(|scan| alias(scan.split(' ').next().unwrap_or_default()));
            let in_order = name == "RUNS_NEWEST";
            if table.is_some_and(|table| GROWING.contains(&table)) && !in_order {
                scans.push(format!("{name}: {step}"));
            }
        }
    }
    assert!(scans.is_empty(), "{scans:#?}");
}

fn alias(table: &str) -> &str {
    match table {
        "r" => "runs",
        "a" => "attempts",
        "e" => "events",
        "l" => "leases",
        "c" => "cards",
        "o" => "outbox",
        "k" => "calls",
        "p" => "cards",
        "s" | "later" => "statuses",
        "retry" => "runs",
        "came" | "first" | "newest" => "outcomes",
        other => other,
    }
}
