//! Every statement against the real schema: that it prepares, and that the ones that loops repeat find their rows by
//! an index however many runs are finished.

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, Row, SqlSafeStr};

use super::{open, statements};

async fn migrated() -> SqliteConnection {
    let memory = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
    let mut connection = memory.connect().await.expect("memory");
    open::MIGRATIONS.run(&mut connection).await.expect("migrations");
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

/// Tables that grow with every run there ever was.
const GROWING: [&str; 9] =
    ["runs", "attempts", "events", "leases", "cards", "outbox", "deliveries", "audit", "outcomes"];

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
        "p" => "cards",
        "retry" => "runs",
        "came" | "first" | "newest" => "outcomes",
        other => other,
    }
}
