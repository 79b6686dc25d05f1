//! Scripts: several statements that go to the connection's thread in one hop, and the transaction that gathers them. A
//! hop costs more than most statements do, so whatever needs no answer in between goes together: what a transaction
//! writes is kept until something is read or the transaction ends. The order never changes, and a row that was not
//! changed as it should have been stops a script before its end is committed.

use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Either, Executor};

use super::link::{Connection, Link, Ran, Row, Value, sqlite_arguments};
use super::postgres;
use super::row::{expect_changed, statements, unavailable};
use crate::store::Result;

statements! {
    // No document is made of anything but the number that is expected: whatever else fails here.
    GUARD = "SELECT json(CASE changes() WHEN ?1 THEN '0' ELSE 'another number' END)";
}

/// Statements in the order in which they run, with their values and what some must have changed.
#[derive(Default)]
pub(super) struct Script {
    statements: Vec<Statement>,
}

/// One statement of a script.
struct Statement {
    sql: &'static str,
    values: Vec<Value>,
    guard: Option<Guard>,
}

/// How many rows a statement must have changed, and what to say when it did not.
struct Guard {
    changed: usize,
    table: &'static str,
    row: String,
}

impl Script {
    /// Adds one statement. Its parameters are numbered from `?1`, as everywhere, and stand for `values`.
    pub(super) fn add<const N: usize>(&mut self, sql: &'static str, values: [Value; N]) -> &mut Self {
        debug_assert!(!sql.contains(';'), "one statement at a time: {sql}");
        self.statements.push(Statement { sql, values: values.into(), guard: None });
        self
    }

    /// The statement that was added last must change so many rows of `table`; `row` names them when it does not.
    pub(super) fn expect(&mut self, changed: usize, table: &'static str, row: impl ToString) {
        if let Some(last) = self.statements.last_mut() {
            last.guard = Some(Guard { changed, table, row: row.to_string() });
        }
    }

    /// Adds the statements of another.
    fn append(&mut self, other: Script) {
        self.statements.extend(other.statements);
    }

    /// Runs it; gives what each statement gave, in order. One that fails, or changed other than it should, ends it.
    pub(super) async fn run<'c>(self, link: impl Into<Link<'c>>) -> Result<Vec<Ran>> {
        if self.statements.is_empty() {
            return Ok(vec![]);
        }
        match link.into() {
            Link::Sqlite(connection) => self.run_sqlite(connection).await,
            Link::SqlitePool(pool) => self.run_sqlite(&mut *pool.acquire().await.map_err(unavailable)?).await,
            Link::Postgres(connection) => self.run_postgres(connection).await,
            Link::PostgresPool(pool) => {
                self.run_postgres(&mut *pool.acquire().await.map_err(unavailable)?).await
            }
        }
    }

    async fn run_postgres(self, connection: &mut sqlx::postgres::PgConnection) -> Result<Vec<Ran>> {
        let mut all = Vec::with_capacity(self.statements.len());
        for Statement { sql, values, guard } in self.statements {
            let ran = postgres::run(connection, sql, &values).await.map_err(unavailable)?;
            if let Some(Guard { changed, table, row }) = guard {
                expect_changed(ran.changed, changed, table, row)?;
            }
            all.push(ran);
        }
        Ok(all)
    }

    /// In one hop: the statements as one text, each guard behind its own.
    async fn run_sqlite(self, connection: &mut SqliteConnection) -> Result<Vec<Ran>> {
        let (mut text, mut values) = (String::new(), Vec::new());
        let mut guards = Vec::with_capacity(self.statements.len());
        for Statement { sql, values: own, guard } in self.statements {
            join(&mut text, &mut values, sql, &own);
            if let Some(guard) = &guard {
                let changed = i64::try_from(guard.changed).unwrap_or(i64::MAX);
                join(&mut text, &mut values, GUARD, &[changed.into()]);
            }
            guards.push(guard);
        }
        let mut all: Vec<Ran> = Vec::with_capacity(guards.len());
        let (mut ran, mut is_guarding) = (Ran::default(), false);
        // The text is put together from statements of this crate alone; values are always bound.
        let query = sqlx::query_with(AssertSqlSafe(text), sqlite_arguments(values));
        let mut answers = connection.fetch_many(query);
        loop {
            match (answers.try_next().await, is_guarding) {
                (Ok(None), _) => return Ok(all),
                (Ok(Some(Either::Right(_))), true) => {}
                (Ok(Some(Either::Right(row))), false) => ran.rows.push(Row::Sqlite(row)),
                (Ok(Some(Either::Left(_))), true) => is_guarding = false,
                (Ok(Some(Either::Left(ended))), false) => {
                    ran.changed = ended.rows_affected();
                    is_guarding = guards.get(all.len()).is_some_and(Option::is_some);
                    all.push(std::mem::take(&mut ran));
                }
                (Err(error), true) => {
                    let failed = all.len() - 1;
                    return Err(match guards.swap_remove(failed) {
                        Some(Guard { changed, table, row }) => {
                            expect_changed(all[failed].changed, changed, table, row)
                                .err()
                                .unwrap_or_else(|| unavailable(error))
                        }
                        None => unavailable(error),
                    });
                }
                (Err(error), false) => return Err(unavailable(error)),
            }
        }
    }
}

/// Adds a statement to others that go with it.
fn join(text: &mut String, all: &mut Vec<Value>, sql: &'static str, values: &[Value]) {
    if !text.is_empty() {
        text.push_str(";\n");
    }
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('?') {
        // Numbers count for one statement, and values for all of them: every mention gets a value of its own.
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let number: usize = after[..digits].parse().expect("a parameter has a number");
        all.push(values[number - 1].clone());
        text.push_str(before);
        text.push('?');
        rest = &after[digits..];
    }
    text.push_str(rest);
}

/// The writer's connection, with what it is still to write. What is left here fails when it is run: with the next thing
/// that is read, or at the end.
pub(super) struct Tx {
    connection: Connection,
    pending: Script,
    /// How much was pending before what was begun last, as long as that is not run itself.
    begun: Option<usize>,
}

impl Tx {
    /// Nothing is pending on a connection that was just opened.
    pub(super) fn new(connection: Connection) -> Self {
        Tx { connection, pending: Script::default(), begun: None }
    }

    /// Runs `sql` by itself, behind what was left.
    pub(super) async fn execute(&mut self, sql: &'static str) -> Result<()> {
        let mut script = Script::default();
        script.add(sql, []);
        self.run(script).await.map(drop)
    }

    /// Leaves statements whose answers nobody needs.
    pub(super) fn leave(&mut self, script: Script) {
        self.pending.append(script);
    }

    /// Leaves the begin of a transaction or a savepoint.
    pub(super) fn begin(&mut self, sql: &'static str) {
        self.begun = Some(self.pending.statements.len());
        self.pending.add(sql, []);
    }

    /// Forgets what was left since the last begin; gives whether that goes with it, having never been run.
    pub(super) fn forget(&mut self) -> bool {
        let Some(begun) = self.begun.take() else {
            self.pending = Script::default();
            return false;
        };
        self.pending.statements.truncate(begun);
        true
    }

    /// Runs statements behind what was left; gives what they gave.
    pub(super) async fn run(&mut self, script: Script) -> Result<Vec<Ran>> {
        self.begun = None;
        let mut whole = std::mem::take(&mut self.pending);
        let left = whole.statements.len();
        whole.append(script);
        let mut ran = whole.run(&mut self.connection).await?;
        Ok(ran.split_off(left))
    }

    /// The connection, once everything that was left is run.
    pub(super) async fn connection(&mut self) -> Result<&mut Connection> {
        self.run(Script::default()).await?;
        Ok(&mut self.connection)
    }

    /// Closes the connection, whatever was left.
    pub(super) async fn close(self) {
        self.connection.close().await;
    }
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions;
    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;
    use crate::store::StoreError;

    async fn connection() -> Connection {
        let memory = SqliteConnectOptions::new().in_memory(true);
        let mut connection = Connection::Sqlite(memory.connect().await.expect("memory"));
        let mut script = Script::default();
        script.add("CREATE TABLE t (n INTEGER, word TEXT)", []);
        script.run(&mut connection).await.expect("a table");
        connection
    }

    fn rows(ran: &Ran) -> Vec<(i64, Option<String>)> {
        let number = |row: &Row| row.int("n").expect("n").expect("a number");
        let word = |row: &Row| row.text("word").expect("word").map(str::to_owned);
        ran.rows.iter().map(|row| (number(row), word(row))).collect()
    }

    #[tokio::test]
    async fn every_statement_finds_its_own_values_and_gives_its_own_answer() {
        let mut connection = connection().await;
        let mut script = Script::default();
        script
            .add(
                "INSERT INTO t VALUES (?1, ?2), (?1 + 1, ?2), (?1 + 2, ?3)",
                [1_i64.into(), "a".into(), None::<i64>.into()],
            )
            .expect(3, "t", 1);
        script.add("UPDATE t SET word = ?2 WHERE n = ?1", [2_i64.into(), "b".into()]).expect(1, "t", 2);
        script.add("SELECT n, word FROM t ORDER BY n", []);
        script.add("SELECT n, word FROM t WHERE word = ?1", ["b".into()]);
        let ran = script.run(&mut connection).await.expect("it runs");
        let [a, b] = ["a", "b"].map(|word| Some(word.to_owned()));
        assert_eq!((ran.len(), ran[0].changed, ran[1].changed), (4, 3, 1));
        assert_eq!(rows(&ran[2]), [(1, a), (2, b.clone()), (3, None)]);
        assert_eq!(rows(&ran[3]), [(2, b)]);
    }

    #[tokio::test]
    async fn a_guard_that_fails_names_its_table_and_rows() {
        let mut connection = connection().await;
        let mut script = Script::default();
        script.add("INSERT INTO t VALUES (1, 'a')", []).expect(1, "t", "1");
        script.add("UPDATE t SET word = 'b' WHERE n = ?1", [7_i64.into()]).expect(1, "t", "7");
        let error = script.run(&mut connection).await.err().expect("nothing has the number 7");
        assert!(matches!(error, StoreError::Corrupt { table: "t", row, .. } if row == "7"));
    }

    #[tokio::test]
    async fn a_statement_that_fails_ends_the_script() {
        let mut connection = connection().await;
        let mut script = Script::default();
        script.add("INSERT INTO t VALUES (1, 'a')", []);
        script.add("INSERT INTO t (n, nothing) VALUES (1, 'a')", []);
        script.add("INSERT INTO t VALUES (2, 'b')", []);
        assert!(script.run(&mut connection).await.is_err());
        let mut script = Script::default();
        script.add("SELECT n, word FROM t", []);
        let left = script.run(&mut connection).await.expect("it runs");
        assert_eq!(rows(&left[0]), [(1, Some("a".to_owned()))]);
    }

    fn one(sql: &'static str) -> Script {
        let mut script = Script::default();
        script.add(sql, []);
        script
    }

    async fn numbers(tx: &mut Tx) -> Vec<i64> {
        let read = tx.run(one("SELECT n, word FROM t ORDER BY n")).await.expect("it runs");
        rows(&read[0]).into_iter().map(|(n, _)| n).collect()
    }

    #[tokio::test]
    async fn what_is_left_is_written_before_what_is_read_next() {
        let mut tx = Tx::new(connection().await);
        tx.begin("BEGIN");
        let mut script = one("INSERT INTO t VALUES (1, 'a')");
        script.expect(1, "t", 1);
        tx.leave(script);
        tx.leave(one("INSERT INTO t VALUES (2, 'b')"));
        assert_eq!(numbers(&mut tx).await, [1, 2]);
        tx.execute("COMMIT").await.expect("a transaction was begun");
    }

    #[tokio::test]
    async fn a_row_that_did_not_change_as_it_should_have_is_not_committed() {
        let mut tx = Tx::new(connection().await);
        tx.begin("BEGIN");
        tx.leave(one("INSERT INTO t VALUES (1, 'a')"));
        let mut script = one("UPDATE t SET word = 'b' WHERE n = 2");
        script.expect(1, "t", 2);
        tx.leave(script);
        let error = tx.execute("COMMIT").await.expect_err("nothing has the number 2");
        assert!(matches!(error, StoreError::Corrupt { table: "t", .. }), "{error}");
        tx.execute("ROLLBACK").await.expect("the transaction is still open");
        assert_eq!(numbers(&mut tx).await, [0; 0]);
    }

    #[tokio::test]
    async fn what_was_forgotten_is_never_written_and_what_was_begun_before_stays() {
        let mut tx = Tx::new(connection().await);
        tx.begin("BEGIN");
        tx.leave(one("INSERT INTO t VALUES (1, 'a')"));
        tx.begin("SAVEPOINT one");
        tx.leave(one("INSERT INTO t VALUES (2, 'b')"));
        assert!(tx.forget(), "the savepoint goes with what came since");
        tx.begin("SAVEPOINT two");
        assert_eq!(numbers(&mut tx).await, [1]);
        tx.leave(one("INSERT INTO t VALUES (3, 'c')"));
        assert!(!tx.forget(), "the savepoint is there: it must be undone");
        tx.execute("ROLLBACK TO two").await.expect("it is there");
        tx.execute("COMMIT").await.expect("a transaction was begun");
        assert_eq!(numbers(&mut tx).await, [1]);
    }
}
