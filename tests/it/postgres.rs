//! What only PostgreSQL can meet: another server at the same database, connections that are killed, a database that is
//! restarted under load, a lab that comes from a file. What every operation means is in `store`.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use boardhand::clock::Clock;
use boardhand::id::{Ids, InstanceId};
use boardhand::lease::{Grip, InHand};
use boardhand::outcome::Verdict;
use boardhand::run::Decision;
use boardhand::store::sql::{
    GIVE_UP_AFTER, LET_GO_AFTER, OpenError, PostgresOptions, SqlStore, SqliteOptions, TAKEN_AFTER,
    TRUSTED_FOR, statements, statements_of_postgres,
};
use boardhand::store::{Effect, RunFilter, Store, StoreError};
use sqlx::postgres::PgTypeInfo;
use sqlx::{Column, ConnectOptions, Executor, Row, SqlSafeStr, Statement};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::console_real::rig::free_port;
use crate::lab::look::{ELSEWHERE, rows, tamper};
use crate::lab::{postgres, postgres_lab, yaml};
use crate::store::Lab;
use crate::store::file::survives;
use crate::store::lab::{T0, at, outcome};

async fn open(url: &str) -> Result<SqlStore, OpenError> {
    let options = PostgresOptions { lock_tries: 1, ..PostgresOptions::new(Ids::system()) };
    SqlStore::connect(&postgres::parsed(url), options).await
}

/// Ends every connection to the database but the one that asks.
const KILL: &str = "SELECT pg_terminate_backend(pid)
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_statement_prepares_and_takes_the_values_that_it_is_given() {
    let url = postgres::database().await;
    let options: sqlx::postgres::PgConnectOptions = url.parse().expect("an address");
    let mut connection = options.connect().await.expect("PostgreSQL");
    for (name, sql) in statements_of_postgres() {
        // Of several statements that take the documents of one, the later ones do not mention the first.
        let is_later = sql.contains('$') && !sql.contains("$1");
        let types = if is_later { vec![PgTypeInfo::with_name("text"); 5] } else { vec![] };
        let prepared = (&mut connection).prepare_with(sql.into_sql_str(), &types).await;
        let prepared = prepared.unwrap_or_else(|error| panic!("{name}: {error}\n{sql}"));
        let Some(sqlx::Either::Left(types)) = prepared.parameters() else { continue };
        for kind in types {
            let kind = kind.to_string();
            // A number always goes over as an INT8, whatever would be guessed beside a constant.
            assert!(["INT8", "INT4", "TEXT", "JSON"].contains(&kind.as_str()), "{name} takes {kind}\n{sql}");
        }
    }
}

/// Whether a column has a name of its own, and not that of an expression.
fn is_named(column: &str) -> bool {
    column.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_statement_gives_the_same_columns_in_both() {
    let lab = Lab::sqlite().await;
    let file = lab.dir.as_ref().expect("a folder").path().join("boardhand.db");
    let mut sqlite =
        sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await.expect("SQLite");
    let url = postgres::database().await;
    let options: sqlx::postgres::PgConnectOptions = url.parse().expect("an address");
    let mut server = options.connect().await.expect("PostgreSQL");
    let of_postgres = statements_of_postgres();
    let mut compared = 0;
    for (name, sql) in statements() {
        // Several statements as one text: what they give is read by the tests of their operation.
        if sql.contains(';') {
            continue;
        }
        let here = (&mut sqlite).prepare(sql.into_sql_str()).await.expect(name);
        let here: Vec<&str> = here.columns().iter().map(|column| column.name()).collect();
        let same = |(other, _): &&(&str, &str)| *other == name;
        let Some((_, sql)) = of_postgres.iter().find(same) else { continue };
        let there = (&mut server).prepare(sql.into_sql_str()).await.expect(name);
        let there: Vec<&str> = there.columns().iter().map(|column| column.name()).collect();
        let fits = |(here, there): (&&str, &&str)| here == there || !is_named(here);
        let fit = here.len() == there.len() && here.iter().zip(&there).all(fits);
        assert!(fit, "{name} gives {here:?} in SQLite and {there:?} in PostgreSQL");
        compared += usize::from(!here.is_empty());
    }
    assert!(compared > 50, "{compared}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_schemas_have_the_same_tables_and_columns() {
    let (file, lab) = (Lab::sqlite().await, Lab::postgres().await);
    let columns = "SELECT m.name, c.name, lower(c.type), c.\"notnull\" OR c.pk > 0
        FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c
        WHERE m.type = 'table' AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite%'";
    let sqlite = rows(file.dir.as_ref().expect("a folder").path(), columns).await;
    let sqlite: BTreeSet<String> = sqlite.into_iter().map(|row| row.replace("integer", "bigint")).collect();
    // What SQLite has without being told.
    let columns = "SELECT table_name::text, column_name::text, data_type::text,
               CASE is_nullable WHEN 'NO' THEN '1' ELSE '0' END
        FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%' AND column_name <> 'rowid'";
    let postgres = rows(lab.dir.as_ref().expect("a folder").path(), columns).await;
    let postgres: BTreeSet<String> = postgres.into_iter().collect();
    assert!(sqlite.len() > 100, "{}", sqlite.len());
    assert_eq!(sqlite, postgres);
}

/// What a database of SQLite and one of PostgreSQL answer to what asks for the same in each.
async fn both(sqlite: &'static str, postgres: &'static str) -> [BTreeSet<String>; 2] {
    let labs = [Lab::sqlite().await, Lab::postgres().await];
    let [file, server] = labs.each_ref().map(|lab| lab.dir.as_ref().expect("a folder").path());
    [rows(file, sqlite).await, rows(server, postgres).await].map(|rows| rows.into_iter().collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_schemas_have_the_same_indexes() {
    // Those that a table has by its keys alone are told by its columns.
    let sqlite = "SELECT m.name, i.name, i.\"unique\", i.partial,
               (SELECT group_concat(COALESCE(c.name, '-'), ',') FROM pragma_index_info(i.name) AS c)
        FROM sqlite_master AS m JOIN pragma_index_list(m.name) AS i
        WHERE m.type = 'table' AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND i.origin = 'c'";
    let postgres = "SELECT t.relname::text, i.relname::text, x.indisunique::int::bigint,
               (x.indpred IS NOT NULL)::int::bigint,
               (SELECT string_agg(COALESCE(a.attname::text, '-'), ',' ORDER BY k.place)
                FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS k (number, place)
                LEFT JOIN pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = k.number)
        FROM pg_index AS x
        JOIN pg_class AS i ON i.oid = x.indexrelid
        JOIN pg_class AS t ON t.oid = x.indrelid
        WHERE t.relnamespace = 'public'::regnamespace AND t.relname NOT LIKE '\\_sqlx%'
          AND NOT EXISTS (SELECT 1 FROM pg_constraint AS c WHERE c.conindid = x.indexrelid)";
    let [sqlite, postgres] = both(sqlite, postgres).await;
    assert!(sqlite.iter().any(|index| index.starts_with("leases | ") && index.contains(" | 1 | 1 | board")));
    assert_eq!(sqlite, postgres);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_schemas_have_the_same_references() {
    let sqlite = "SELECT m.name, f.\"from\", f.\"table\", f.\"to\", f.on_delete
        FROM sqlite_master AS m JOIN pragma_foreign_key_list(m.name) AS f
        WHERE m.type = 'table'";
    let postgres = "SELECT t.relname::text, a.attname::text, o.relname::text, b.attname::text,
               CASE c.confdeltype WHEN 'a' THEN 'NO ACTION' WHEN 'c' THEN 'CASCADE' ELSE 'another' END
        FROM pg_constraint AS c
        JOIN pg_class AS t ON t.oid = c.conrelid
        JOIN pg_class AS o ON o.oid = c.confrelid
        JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
        JOIN pg_attribute AS b ON b.attrelid = c.confrelid AND b.attnum = c.confkey[1]
        WHERE c.contype = 'f' AND t.relnamespace = 'public'::regnamespace";
    let [sqlite, postgres] = both(sqlite, postgres).await;
    assert!(sqlite.len() > 5, "{sqlite:?}");
    assert_eq!(sqlite, postgres);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_is_told_that_the_database_has_one() {
    let url = postgres::database().await;
    let store = open(&url).await.expect("store");
    let Err(error @ OpenError::Served(_)) = open(&url).await else { panic!("opened twice") };
    assert!(error.to_string().contains("is in use by another boardhand"), "{error}");
    store.close().await;
    reopen(&url).await.close().await;
}

/// A server that stands by.
async fn stands_by(url: &str) -> SqlStore {
    let options = PostgresOptions { standby: true, ..PostgresOptions::new(Ids::system()) };
    SqlStore::connect(&postgres::parsed(url), options).await.expect("its turn comes")
}

/// When the server that works said so last, by the database's clock.
async fn last_beat(url: &str) -> Option<i64> {
    let rows = postgres::fetch(url, "SELECT value::bigint AS at FROM meta WHERE name = 'beat'").await;
    rows.first().map(|row| row.get("at"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stands_by_has_its_turn_when_the_one_before_ends_in_order() {
    let url = postgres::database().await;
    let first = stands_by(&url).await;
    let mut turn = Box::pin(stands_by(&url));
    let clock = Clock::system();
    let early = clock.timeout(Duration::from_millis(1500), &mut turn).await;
    assert!(early.is_err(), "it waits for as long as the first is there");
    first.ready().await.expect("the first works");
    assert!(last_beat(&url).await.is_some());
    first.close().await;
    let second = clock.timeout(Duration::from_secs(60), turn).await.expect("its turn comes");
    second.ready().await.expect("it works");
    second.close().await;
    assert_eq!(last_beat(&url).await, None, "nobody need wait for one that ended in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_cut_off_ends_before_another_takes_its_place() {
    let server = tokio::task::spawn_blocking(postgres::Server::begin).await.expect("a server");
    let url = postgres::database_of(&server).await;
    let first = stands_by(&url).await;
    postgres::cut_off(&server, true).await;
    let clock = Clock::system();
    clock.timeout(Duration::from_secs(60), first.ended()).await.expect("it ends by itself");
    assert!(!first.trust().holds(), "it drives no board: whoever comes next may");
    // As a process that ends: what it had begun must not come to the database when that is there again.
    first.close().await;
    postgres::cut_off(&server, false).await;
    let before = last_beat(&url).await.expect("what it said last");
    let second = Box::pin(stands_by(&url)).await;
    let since = last_beat(&url).await.expect("a beat") - before;
    assert!(since >= TAKEN_AFTER.as_micros() as i64, "{since}");
    assert!(GIVE_UP_AFTER < TAKEN_AFTER);
    second.ready().await.expect("it works");
    let ours = InstanceId::new(&Ids::system(), T0);
    assert!(first.lease_renew(ours, at(1)).await.is_err(), "the first writes nothing");
    second.close().await;
}

/// What a server answers: the status; 0 where nobody is there.
async fn status(port: u16, path: &str) -> u16 {
    let asked = async {
        let mut server = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        server.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        server.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = asked.await.unwrap_or_default();
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

async fn until_answers(port: u16, path: &str, expect: u16) {
    let clock = Clock::system();
    let answers = async {
        while status(port, path).await != expect {
            clock.sleep(Duration::from_millis(50)).await;
        }
    };
    let last = clock.timeout(Duration::from_secs(90), answers).await;
    assert!(last.is_ok(), "{path} never answered {expect}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_server_that_works_is_killed_the_one_that_stands_by_serves() {
    let url = postgres::database().await;
    let home = tempfile::tempdir().expect("a folder");
    std::fs::write(home.path().join("boards.yaml"), yaml::small(1)).expect("a lab file");
    let serve = |name: &str, port: u16| {
        let mut server = tokio::process::Command::new(env!("CARGO_BIN_EXE_boardhand"));
        server.args(["serve", "--simulate"]).env_clear();
        server.env("DATABASE_URL", &url).env("BOARDHAND_STANDBY", "true").env("RUST_LOG", "error");
        server.env("BOARDHAND_LISTEN", format!("127.0.0.1:{port}"));
        server.env("BOARDHAND_DATA_DIR", home.path().join(name));
        server.env("BOARDHAND_BOARDS", home.path().join("boards.yaml"));
        server.stdin(std::process::Stdio::null()).kill_on_drop(true).spawn().expect("the binary starts")
    };
    let (one, other) = (free_port(), free_port());
    let mut first = serve("one", one);
    until_answers(one, "/readyz", 200).await;
    let mut second = serve("other", other);
    until_answers(other, "/healthz", 200).await;
    assert_eq!(status(other, "/readyz").await, 503, "it stands by");
    assert_eq!(status(other, "/webhook").await, 503);
    first.kill().await.expect("SIGKILL");
    until_answers(other, "/readyz", 200).await;
    let mut third = serve("one", one);
    until_answers(one, "/healthz", 200).await;
    // One that stands by ends as soon as it is told to.
    for server in [&mut third, &mut second] {
        let pid = server.id().expect("it runs").to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        assert_eq!(server.wait().await.expect("it ends").code(), Some(0));
    }
    assert_eq!(marks(&url).await, 0, "the one that worked has ended in order");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_without_the_password() {
    let url = postgres::parsed("postgres://lab:s3cret@127.0.0.1:1/boards");
    let error =
        SqlStore::connect(&url, PostgresOptions::new(Ids::system())).await.err().expect("nobody is there");
    let said = format!("{error} {error:?} {url:?}");
    assert!(said.contains("127.0.0.1:1/boards") && !said.contains("s3cret"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_reopening() {
    let url = postgres::database().await;
    Box::pin(survives(open(&url).await.expect("store"), async || reopen(&url).await)).await;
}

/// Opens again as soon as the store before has let go.
async fn reopen(url: &str) -> SqlStore {
    SqlStore::connect(&postgres::parsed(url), PostgresOptions::new(Ids::system())).await.expect("store")
}

/// Does something until the database takes it.
async fn until_done<T>(mut work: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    let clock = Clock::system();
    let done = async {
        loop {
            match work().await {
                Ok(done) => return done,
                Err(error) if error.is_lasting() => panic!("{error}"),
                Err(_) => clock.sleep(Duration::from_millis(20)).await,
            }
        }
    };
    clock.timeout(Duration::from_secs(60), done).await.expect("the database is back")
}

/// Starts a run, again until the database takes it; gives its number.
async fn started(lab: &Lab) -> i64 {
    let intake = lab.intake(Effect::Start(vec![lab.new_run()]));
    loop {
        match lab.store.commit(intake.clone()).await {
            Ok(committed) => return crate::store::lab::number(&committed.answer),
            Err(error) if error.is_lasting() => panic!("{error}"),
            Err(_) => Clock::system().sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_connections_are_killed_goes_on_and_keeps_its_leases() {
    let url = postgres::database().await;
    let lab = Lab::over(open(&url).await.expect("store"));
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    for round in 0..3 {
        postgres::fetch(&url, KILL).await;
        assert_eq!(started(&lab).await, number + 1 + round);
        let renewed = until_done(async || lab.store.lease_renew(lab.instance, at(100)).await).await;
        assert_eq!(renewed, [lease.id]);
        until_done(async || lab.store.census().await).await;
    }
    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_another_took_the_database_from_never_writes_again() {
    let url = postgres::database().await;
    let lab = Lab::over(open(&url).await.expect("store"));
    let [board] = lab.boards().await;
    let (number, ..) = lab.running(&board).await;
    // The other one is at the database before the first has noticed that it is cut off.
    postgres::fetch(&url, KILL).await;
    let other = reopen(&url).await;
    let lapsed = other.lease_takeover(InstanceId::new(&lab.ids, T0), at(100)).await.expect("takeover");
    assert_eq!((lapsed.len(), lapsed[0].requeued), (1, true));
    let clock = Clock::system();
    let ended = async {
        while lab.store.lease_renew(lab.instance, at(200)).await.is_err_and(|error| !error.is_lasting()) {
            if clock.timeout(Duration::from_millis(20), lab.store.ended()).await.is_ok() {
                return;
            }
        }
        panic!("it wrote");
    };
    clock.timeout(Duration::from_secs(60), ended).await.expect("it has ended");
    assert!(lab.store.ready().await.is_err());
    assert_eq!(other.run_view(number).await.expect("view").expect("a run").run.state.word(), "queued");
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_cut_off_lets_go_of_its_boards_before_another_has_them() {
    let url = postgres::database().await;
    let lab = Lab::over(open(&url).await.expect("store"));
    let [board] = lab.boards().await;
    let (number, _, lease) = lab.running(&board).await;
    let grip = Grip::new(lease, lab.store.trust());
    assert!(grip.trusted());
    // It has nothing to say to the database for now, and does not notice.
    postgres::fetch(&url, KILL).await;
    let other = reopen(&url).await;
    assert!(!grip.trusted(), "the other could give the board away from here on");
    Clock::system().timeout(Duration::from_secs(60), grip.lost()).await.expect("whoever drives it is told");
    let lapsed = other.lease_takeover(InstanceId::new(&lab.ids, T0), at(100)).await.expect("takeover");
    assert_eq!((lapsed.len(), lapsed[0].requeued), (1, true));
    assert_eq!(other.run_view(number).await.expect("view").expect("a run").run.state.word(), "queued");
    assert!(TRUSTED_FOR < LET_GO_AFTER);
    other.close().await;
    assert_eq!(marks(&url).await, 0, "nobody need wait for one that ended in order");
}

/// How many servers left a mark that did not end in order.
async fn marks(url: &str) -> usize {
    postgres::fetch(url, "SELECT name FROM meta WHERE name IN ('server', 'beat')").await.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_lost_when_the_database_is_restarted_under_load() {
    let mut server = tokio::task::spawn_blocking(postgres::Server::begin).await.expect("a server");
    let url = postgres::database_of(&server).await;
    let lab = Arc::new(Lab::over(open(&url).await.expect("store")));
    let mut load = Vec::new();
    for _ in 0..8 {
        let lab = lab.clone();
        load.push(tokio::spawn(async move {
            let mut numbers = Vec::new();
            for _ in 0..50 {
                numbers.push(started(&lab).await);
            }
            numbers
        }));
    }
    for reached in [50, 150, 250] {
        let filter = RunFilter { limit: 1, ..RunFilter::default() };
        let newest = async || {
            until_done(async || lab.store.run_list(&filter).await).await.first().map_or(0, |run| run.number)
        };
        while newest().await < reached {}
        server = tokio::task::spawn_blocking(move || {
            server.tell("stop");
            server.tell("start");
            server
        })
        .await
        .expect("restarted");
    }
    let mut numbers = BTreeSet::new();
    for load in load {
        for number in load.await.expect("load") {
            assert!(numbers.insert(number), "#{number} was given twice");
        }
    }
    assert_eq!(
        numbers.into_iter().collect::<Vec<_>>(),
        (1..=400).collect::<Vec<_>>(),
        "each started one run"
    );
    assert_eq!(lab.store.census().await.expect("census").queued, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_from_a_command_to_its_outcome_and_the_server_may_restart() {
    let url = postgres::database().await;
    postgres_lab(&yaml::small(2), &url, async |lab| {
        let run = lab.run("alice", "/run-test socA build-1").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        assert_eq!(lab.rows("SELECT state, verdict FROM runs").await, ["finished | passed"]);
        lab.restart().await;
        let again = lab.run("alice", "/run-test socA build-2").await;
        assert_eq!(lab.verdict(again).await, "passed in testing");
        let states = lab.rows("SELECT state, verdict FROM runs ORDER BY number").await;
        assert_eq!(states, ["finished | passed", "finished | passed"]);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

/// Runs `boardhand migrate` from a data folder.
fn migrate(from: &std::path::Path, to: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boardhand"));
    command
        .args(["migrate", "--from", &format!("sqlite:{}", from.display())])
        .env_clear()
        .env("DATABASE_URL", to);
    let out = command.output().expect("boardhand runs");
    (
        out.status.code(),
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lab_moves_from_its_file_into_a_database_with_everything_in_it() {
    let (home, url) = (tempfile::tempdir().expect("a folder"), postgres::database().await);
    let store = SqlStore::open(home.path(), SqliteOptions::new(Ids::system())).await.expect("store");
    let lab = Lab::over(store);
    let [first, second] = lab.boards().await;
    let (_, id, lease) = lab.running(&first).await;
    lab.settled(&lease, id, outcome(Verdict::Failed, "a \u{0} panic: ünwell"), Decision::Finish).await;
    let (running, _, held) = lab.running(&second).await;
    for _ in 0..1200 {
        lab.waiting().await;
    }
    // What cannot be read is carried as well.
    tamper(home.path(), "UPDATE runs SET spec = 'nonsense' WHERE number = 700").await;
    let (busy, said) = migrate(home.path(), &url);
    assert!(busy == Some(1) && said.contains("is in use by another boardhand"), "{said}");
    let before = (lab.view(1).await, lab.view(running).await, lab.store.secret().await.expect("secret"));
    let changes = lab.store.queue_changes(None).await.expect("changes");
    drop(lab);

    let came = async {
        loop {
            match migrate(home.path(), &url) {
                (Some(1), said) if said.contains("in use") => {
                    Clock::system().sleep(Duration::from_millis(50)).await
                }
                (code, said) => break (code, said),
            }
        }
    };
    let (code, said) = came.await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("runs                1202  "), "{said}");
    let (code, said) = migrate(home.path(), &url);
    assert!(code == Some(1) && said.contains("is not empty: its table"), "{said}");

    let lab = Lab::over(reopen(&url).await);
    assert_eq!(
        (lab.view(1).await, lab.view(running).await, lab.store.secret().await.expect("secret")),
        before
    );
    let there = lab.store.queue_changes(None).await.expect("changes");
    assert_eq!(
        (there.cursor, there.runs.len(), there.boards),
        (changes.cursor, changes.runs.len(), changes.boards)
    );
    let (next, _) = lab.waiting().await;
    assert_eq!(next, 1203);
    let leases = lab.store.lease_list().await.expect("leases");
    assert!(
        leases
            .iter()
            .any(|lease| lease.id == held.id && lease.board == held.board && lease.fence == held.fence)
    );
    // New rows get numbers of their own.
    let note = tempfile::tempdir().expect("a folder");
    std::fs::write(note.path().join(ELSEWHERE), &url).expect("a note");
    let twice = rows(note.path(), "SELECT seq FROM events GROUP BY seq HAVING COUNT(*) > 1").await;
    assert_eq!(twice, Vec::<String>::new());
}

/// Runs one of PostgreSQL's own programs.
fn tool(command: &str) {
    let path = "PATH=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1):$PATH";
    let ran = Command::new("sh").args(["-c", &format!("{path} {command}")]).output().expect("sh");
    assert!(ran.status.success(), "{command}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// The next run's number, and how many boards are taken over by whoever has them next.
async fn next_and_doubted(url: &str) -> (i64, usize) {
    let doubted = postgres::fetch(url, "SELECT id FROM boards WHERE needs_fence = 1").await.len();
    let lab = Lab::over(reopen(url).await);
    let (next, _) = lab.waiting().await;
    (next, doubted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_came_back_from_a_dump_trusts_no_board_and_gives_no_number_twice() {
    let (url, back) = (postgres::database().await, postgres::database().await);
    let lab = Lab::over(open(&url).await.expect("store"));
    let [_first, _second] = lab.boards().await;
    let (newest, _) = lab.waiting().await;
    drop(lab);
    // It has ended in order, and so the dump has no mark of it.
    reopen(&url).await.close().await;
    let folder = tempfile::tempdir().expect("a folder");
    let dump = folder.path().join("dump").display().to_string();
    tool(&format!("pg_dump --format=custom --file={dump} '{url}'"));
    // Its boards were in order, and more runs were started since.
    assert_eq!(next_and_doubted(&url).await, (newest + 1, 0));
    postgres::execute(&back, "DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
    tool(&format!("pg_restore --no-owner --exit-on-error --dbname='{back}' {dump}"));
    let came_back = |url: Option<&str>| {
        let mut restore = Command::new(env!("CARGO_BIN_EXE_boardhand"));
        restore.args(["restore", "--came-back"]).env_clear().envs(url.map(|url| ("DATABASE_URL", url)));
        let out = restore.output().expect("boardhand runs");
        let said = [out.stdout, out.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        (out.status.code(), said.concat())
    };
    let (code, said) = came_back(None);
    assert!(code != Some(0) && said.contains("name the database with DATABASE_URL"), "{said}");
    let (code, said) = came_back(Some(&back));
    let above = format!("the next run is above #{}", newest + 1000);
    assert!(code == Some(0) && said.contains(&above), "{said}");
    assert_eq!(next_and_doubted(&back).await, (newest + 1001, 2));
}
