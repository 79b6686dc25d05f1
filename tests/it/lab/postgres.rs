//! A real PostgreSQL server for the tests: made in a folder of its own when the first test wants it, reached through a
//! socket in that folder, and gone with the folder when this process ends, however it does. Each test has a database of
//! its own, copied from one that was migrated once.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use boardhand::store::sql::PostgresUrl;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::sync::OnceCell;

/// Begins the server, does what it is told in lines, and removes everything once nobody can tell it anything any more.
const KEEPER: &str = r#"
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
PATH=${bin:+$bin:}$PATH
dir=$(mktemp -d) && cd "$dir" || exit 1
chmod 755 "$dir"
trap 'pg_ctl -D "$dir/data" -m immediate -w stop >/dev/null 2>&1; cd /; rm -rf "$dir"' EXIT
initdb -D "$dir/data" -A trust -U boardhand -E UTF8 --locale=C --no-sync >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; exit 1; }
start() {
  pg_ctl -D "$dir/data" -w -l "$dir/log" \
    -o "-k $dir -c listen_addresses= -c fsync=off -c max_connections=300 -c shared_buffers=64MB" start >/dev/null ||
    { cat "$dir/log" >&2; exit 1; }
}
start
echo "$dir"
while read -r line; do
  case $line in
    stop) pg_ctl -D "$dir/data" -m immediate -w stop >/dev/null; echo stopped ;;
    start) start; echo started ;;
  esac
done
"#;

/// A server of PostgreSQL.
pub(crate) struct Server {
    keeper: Child,
    said: BufReader<std::process::ChildStdout>,
    pub(crate) dir: PathBuf,
}

impl Server {
    /// A server of its own, for a test that stops it.
    pub(crate) fn begin() -> Server {
        // PostgreSQL refuses to run as root.
        let is_root = rustix::process::geteuid().is_root();
        let mut command = match is_root {
            true => Command::new("runuser"),
            false => Command::new("sh"),
        };
        if is_root {
            command.args(["-u", "postgres", "--", "sh"]);
        }
        command.args(["-c", KEEPER]).current_dir("/");
        let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a keeper");
        let mut said = BufReader::new(keeper.stdout.take().expect("its words"));
        let mut dir = String::new();
        said.read_line(&mut dir).expect("a folder");
        assert!(!dir.trim().is_empty(), "PostgreSQL did not start");
        Server { keeper, said, dir: dir.trim().into() }
    }

    /// Tells the keeper something, and waits until it is done.
    pub(crate) fn tell(&mut self, what: &str) {
        let mut ears = self.keeper.stdin.as_ref().expect("its ears");
        writeln!(ears, "{what}").expect("it listens");
        let mut done = String::new();
        self.said.read_line(&mut done).expect("it answers");
        assert!(!done.is_empty(), "{what} failed");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// The address of a database of a server.
fn url(dir: &std::path::Path, database: &str) -> String {
    format!("postgres://boardhand@localhost/{database}?host={}", dir.display())
}

async fn connection(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().expect("an address");
    options.connect().await.expect("PostgreSQL answers")
}

/// The server that tests share. Never dropped: the keeper notices when this process is gone.
fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(Server::begin)
}

/// The address of a new database in the server that tests share, with the schema in it.
pub(crate) async fn database() -> String {
    static MADE: OnceCell<()> = OnceCell::const_new();
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let dir = tokio::task::spawn_blocking(|| shared().dir.clone()).await.expect("a server");
    MADE.get_or_init(|| template(dir.clone())).await;
    let name = format!("lab{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut admin = connection(&url(&dir, "postgres")).await;
    let create = AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE migrated"));
    sqlx::query(create).execute(&mut admin).await.expect("a database");
    admin.close().await.expect("closed");
    url(&dir, &name)
}

/// The first database of a server of its own.
pub(crate) async fn database_of(server: &Server) -> String {
    template(server.dir.clone()).await;
    url(&server.dir, "migrated")
}

/// Cuts everybody off from the first database of a server of its own, or lets them come again.
pub(crate) async fn cut_off(server: &Server, cut: bool) {
    let elsewhere = url(&server.dir, "postgres");
    match cut {
        true => {
            execute(&elsewhere, "ALTER DATABASE migrated ALLOW_CONNECTIONS false").await;
            let out = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'migrated'";
            fetch(&elsewhere, out).await;
        }
        false => execute(&elsewhere, "ALTER DATABASE migrated ALLOW_CONNECTIONS true").await,
    }
}

async fn template(dir: PathBuf) {
    let mut admin = connection(&url(&dir, "postgres")).await;
    sqlx::query("CREATE DATABASE migrated").execute(&mut admin).await.expect("a database");
    admin.close().await.expect("closed");
    let mut migrated = connection(&url(&dir, "migrated")).await;
    sqlx::migrate!("migrations/postgres").run(&mut migrated).await.expect("migrations");
    migrated.close().await.expect("closed");
}

/// The same as the store has it.
pub(crate) fn parsed(url: &str) -> PostgresUrl {
    PostgresUrl::parse(url).expect("an address")
}

/// Runs statements in a database, as a curious admin would.
pub(crate) async fn execute(url: &str, sql: &'static str) {
    let mut connection = connection(url).await;
    sqlx::raw_sql(sql).execute(&mut connection).await.expect(sql);
    connection.close().await.expect("closed");
}

/// Rows of a database.
pub(crate) async fn fetch(url: &str, sql: &'static str) -> Vec<sqlx::postgres::PgRow> {
    let mut connection = connection(url).await;
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.expect(sql);
    connection.close().await.expect("closed");
    rows
}
