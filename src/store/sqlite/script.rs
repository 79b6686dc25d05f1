//! Scripts: several statements that go to the connection's thread in one hop, and the transaction that gathers them. A
//! hop costs more than most statements do, so whatever needs no answer in between goes together: what a transaction
//! writes is kept until something is read or the transaction ends. The order never changes, and a row that was not
//! changed as it should have been stops a script before its end is committed.

use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Either, Executor};

use super::row::{expect_changed, statements, unavailable};
use crate::clock::Timestamp;
use crate::store::Result;

statements! {
    // No document is made of anything but the number that is expected: whatever else fails here.
    GUARD = "SELECT json(CASE changes() WHEN ?1 THEN '0' ELSE 'another number' END)";
}

/// Statements in the order in which they run, with their values and what some must have changed.
#[derive(Default)]
pub(super) struct Script {
    sql: String,
    values: Vec<Value>,
    statements: usize,
    guards: Vec<Guard>,
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

/// Which statement makes sure that the one before it changed so many rows, and what to say when it did not.
struct Guard {
    statement: usize,
    changed: usize,
    table: &'static str,
    row: String,
}

/// What one statement of a script gave.
#[derive(Default)]
pub(super) struct Ran {
    /// Rows changed, by one that writes.
    pub(super) changed: u64,
    /// Rows read.
    pub(super) rows: Vec<SqliteRow>,
}

impl Script {
    /// Adds one statement. Its parameters are numbered from `?1`, as everywhere, and stand for `values`.
    pub(super) fn add<const N: usize>(&mut self, sql: &'static str, values: [Value; N]) -> &mut Self {
        debug_assert!(!sql.contains(';'), "one statement at a time: {sql}");
        self.begin_statement();
        let mut rest = sql;
        while let Some((before, after)) = rest.split_once('?') {
            // Numbers count for one statement, and values for all of them: every mention gets a value of its own.
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            let number: usize = after[..digits].parse().expect("a parameter has a number");
            self.values.push(values[number - 1].clone());
            self.sql.push_str(before);
            self.sql.push('?');
            rest = &after[digits..];
        }
        self.sql.push_str(rest);
        self
    }

    fn begin_statement(&mut self) {
        if self.statements > 0 {
            self.sql.push_str(";\n");
        }
        self.statements += 1;
    }

    /// The statement that was added last must change so many rows of `table`; `row` names them when it does not.
    pub(super) fn expect(&mut self, changed: usize, table: &'static str, row: impl ToString) {
        self.add(GUARD, [i64::try_from(changed).unwrap_or(i64::MAX).into()]);
        self.guards.push(Guard { statement: self.statements - 1, changed, table, row: row.to_string() });
    }

    /// Adds the statements of another.
    fn append(&mut self, other: Script) {
        if other.statements == 0 {
            return;
        }
        self.begin_statement();
        self.sql.push_str(&other.sql);
        let before = self.statements - 1;
        self.statements = before + other.statements;
        self.values.extend(other.values);
        self.guards.extend(
            other.guards.into_iter().map(|guard| Guard { statement: guard.statement + before, ..guard }),
        );
    }

    /// Runs it; gives what each statement gave, in order. One that fails, or changed other than it should, ends it.
    pub(super) async fn run(self, connection: &mut SqliteConnection) -> Result<Vec<Ran>> {
        let Script { sql, values, statements, guards } = self;
        if statements == 0 {
            return Ok(vec![]);
        }
        let (mut all, mut guarded) = (Vec::with_capacity(statements), 0);
        let (mut done, mut ran) = (0, Ran::default());
        // The text is put together from statements of this crate alone; values are always bound.
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments(&values));
        let mut answers = connection.fetch_many(query);
        loop {
            let guard = guards.get(guarded).filter(|guard| guard.statement == done);
            match (answers.try_next().await, guard) {
                (Ok(None), _) => return Ok(all),
                (Ok(Some(Either::Right(row))), _) => ran.rows.push(row),
                (Ok(Some(Either::Left(_))), Some(_)) => {
                    (done, guarded) = (done + 1, guarded + 1);
                    ran.rows.clear();
                }
                (Ok(Some(Either::Left(ended))), None) => {
                    done += 1;
                    ran.changed = ended.rows_affected();
                    all.push(std::mem::take(&mut ran));
                }
                (Err(error), Some(guard)) => {
                    let changed = all.last().map_or(0, |ran: &Ran| ran.changed);
                    expect_changed(changed, guard.changed, guard.table, &guard.row)?;
                    return Err(unavailable(error));
                }
                (Err(error), None) => return Err(unavailable(error)),
            }
        }
    }
}

fn arguments(values: &[Value]) -> SqliteArguments {
    let mut arguments = SqliteArguments::default();
    for value in values {
        let added = match value {
            Value::Integer(number) => arguments.add(*number),
            Value::Text(text) => arguments.add(text.clone()),
            Value::Null => arguments.add(None::<i64>),
        };
        added.expect("numbers and texts encode");
    }
    arguments
}

/// The writer's connection, with what it is still to write. What is left here fails when it is run: with the next thing
/// that is read, or at the end.
pub(super) struct Tx {
    connection: SqliteConnection,
    pending: Script,
    /// How much was pending before what was begun last, as long as that is not run itself.
    begun: Option<Mark>,
}

/// A place in a script.
struct Mark {
    sql: usize,
    values: usize,
    statements: usize,
    guards: usize,
}

impl Tx {
    /// Nothing is pending on a connection that was just opened.
    pub(super) fn new(connection: SqliteConnection) -> Self {
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
        let Script { sql: text, values, statements, guards } = &self.pending;
        let (sql_len, values, guards) = (text.len(), values.len(), guards.len());
        self.begun = Some(Mark { sql: sql_len, values, statements: *statements, guards });
        self.pending.add(sql, []);
    }

    /// Forgets what was left since the last begin; gives whether that goes with it, having never been run.
    pub(super) fn forget(&mut self) -> bool {
        let Some(mark) = self.begun.take() else {
            self.pending = Script::default();
            return false;
        };
        self.pending.sql.truncate(mark.sql);
        self.pending.values.truncate(mark.values);
        self.pending.guards.truncate(mark.guards);
        self.pending.statements = mark.statements;
        true
    }

    /// Runs statements behind what was left; gives what they gave.
    pub(super) async fn run(&mut self, script: Script) -> Result<Vec<Ran>> {
        self.begun = None;
        let mut whole = std::mem::take(&mut self.pending);
        let left = whole.statements - whole.guards.len();
        whole.append(script);
        let mut ran = whole.run(&mut self.connection).await?;
        Ok(ran.split_off(left))
    }

    /// The connection, once everything that was left is run.
    pub(super) async fn connection(&mut self) -> Result<&mut SqliteConnection> {
        self.run(Script::default()).await?;
        Ok(&mut self.connection)
    }

    /// Closes the connection, whatever was left.
    pub(super) async fn close(self) {
        let _ = sqlx::Connection::close(self.connection).await;
    }
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions, Row};

    use super::*;
    use crate::store::StoreError;

    async fn connection() -> SqliteConnection {
        let memory = SqliteConnectOptions::new().in_memory(true);
        let mut connection = memory.connect().await.expect("memory");
        let mut script = Script::default();
        script.add("CREATE TABLE t (n INTEGER, word TEXT)", []);
        script.run(&mut connection).await.expect("a table");
        connection
    }

    fn rows(ran: &Ran) -> Vec<(i64, Option<String>)> {
        ran.rows.iter().map(|row| (row.get("n"), row.get("word"))).collect()
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
