//! `boardhand run socA build-123`: asks a server for a run, and with `--wait` for its end. What is said while it waits
//! goes to standard error; standard output has the result alone.
//!
//! Ends with 0 when the run passed, 1 when it failed, 2 when it could not be asked for, 3 when the lab failed (also when
//! the server went away, or gave no report), 4 when it timed out, 5 when it was cancelled.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use crate::clock::Clock;
use crate::config;
use crate::id::{Ids, RunId};
use crate::net::ws::{DialError, WebSocket};
use crate::net::{BODY_BYTES_MAX, Http, HttpReply, Method, NetError};

/// How long the server may take to an answer.
const WITHIN: Duration = Duration::from_secs(8);
/// Largest report that is fetched.
const REPORT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How often in a row the server may be away before nobody waits for it any more.
const AWAY_MAX: u32 = 60;
/// Pause before it is asked again.
const AGAIN: Duration = Duration::from_secs(2);
/// How often it is asked where a run is.
const STATE_EVERY: Duration = Duration::from_secs(1);
/// How often starting is tried: the same key starts one run, however often it arrives.
const STARTS_MAX: u32 = AWAY_MAX;

/// What to run, and how to wait for it.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// A family or a board, such as socA or soc-a-001.
    target: String,
    /// The build.
    build: String,
    /// Which tests; the family's default suite when absent.
    #[arg(long)]
    suite: Option<String>,
    /// high, normal or low.
    #[arg(long)]
    priority: Option<String>,
    /// Only a board of this revision.
    #[arg(long)]
    rev: Option<String>,
    /// Only a board with this tag, such as ddr:8g; may stand more than once.
    #[arg(long)]
    tag: Vec<String>,
    /// A parameter of the suite, such as iterations=5; may stand more than once.
    #[arg(long)]
    param: Vec<String>,
    /// So many boards of one site at once.
    #[arg(long)]
    boards: Option<u32>,
    /// The longest that the whole run may take, such as 20m.
    #[arg(long)]
    timeout: Option<String>,
    /// Where its card stands: slack:C… or feishu:oc_…; the default channel when absent.
    #[arg(long)]
    channel: Option<String>,
    /// Whom the card names.
    #[arg(long = "for")]
    requested_by: Option<String>,
    /// The same key again is the same run.
    #[arg(long)]
    key: Option<String>,
    /// Wait until it has ended, and end with its verdict.
    #[arg(long)]
    wait: bool,
    /// Wait, and show its console meanwhile.
    #[arg(long)]
    follow: bool,
    /// Wait, and write its test cases there as JUnit XML.
    #[arg(long)]
    junit: Option<PathBuf>,
    /// Print the run as JSON.
    #[arg(long)]
    json: bool,
    /// The server's address. Its token is read from BOARDHAND_TOKEN.
    #[arg(long, env = "BOARDHAND_SERVER", default_value = "http://127.0.0.1:8080", value_parser = config::public_url)]
    server: String,
}

/// Asks, and waits where that is wanted.
pub(super) async fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let server = match Server::of(&args.server) {
        Ok(server) => server,
        Err(problem) => return Ok(usage(&problem)),
    };
    let body = match args.body() {
        Ok(body) => body,
        Err(problem) => return Ok(usage(&problem)),
    };
    let accepted = match server.start(&body).await {
        Ok(accepted) => accepted,
        Err(problem) => return Ok(usage(&problem)),
    };
    let number = accepted["number"].as_i64().unwrap_or_default();
    if !args.wait && !args.follow && args.junit.is_none() {
        if args.json {
            sayln!("{accepted}");
        } else {
            sayln!("#{number} {}", accepted["state"].as_str().unwrap_or_default());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let ended = match server.ended(number, args.follow).await {
        Ok(ended) => ended,
        Err(problem) => {
            eprintln!("boardhand: #{number} goes on without this command: {problem}");
            return Ok(ExitCode::from(3));
        }
    };
    sayln!("{}", if args.json { ended.to_string() } else { said(&ended) });
    let mut code = exit_code(&ended);
    if let Some(path) = &args.junit {
        let written = match server.report(number).await {
            Ok(report) => std::fs::write(path, report).map_err(|error| error.to_string()),
            Err(problem) => Err(problem),
        };
        if let Err(problem) = written {
            eprintln!("boardhand: no report in {}: {problem}", path.display());
            // Red stays red, and what passed did not fail.
            code = if code == 0 { 3 } else { code };
        }
    }
    Ok(ExitCode::from(code))
}

impl RunArgs {
    /// The request, in the keys of the API.
    fn body(&self) -> Result<Value, String> {
        let pairs = |list: &[String], between: char, example: &str| {
            let pair = |text: &String| {
                let (name, value) = text.split_once(between)?;
                (!name.is_empty()).then(|| (name.to_owned(), Value::from(value)))
            };
            let pairs: Option<Map<String, Value>> = list.iter().map(pair).collect();
            pairs.ok_or_else(|| format!("write it as {example}"))
        };
        let key = self.key.clone().unwrap_or_else(|| {
            let (ids, clock) = (Ids::system(), Clock::system());
            RunId::new(&ids, clock.now()).to_string()
        });
        Ok(json!({
            "target": self.target,
            "build": self.build,
            "suite": self.suite,
            "priority": self.priority,
            "revision": self.rev,
            "tags": pairs(&self.tag, ':', "--tag ddr:8g")?,
            "params": pairs(&self.param, '=', "--param iterations=5")?,
            "boards": self.boards,
            "timeout": self.timeout,
            "channel": self.channel,
            "requested_by": self.requested_by,
            "idempotency_key": key,
        }))
    }
}

/// A server and the token for it.
pub(super) struct Server {
    http: Http,
    address: String,
    token: SecretString,
    clock: Clock,
}

impl Server {
    pub(super) fn of(address: &str) -> Result<Server, String> {
        let mut problems = Vec::new();
        let token = config::secret(&|name| std::env::var(name).ok(), "BOARDHAND_TOKEN", &mut problems);
        let token = token.ok_or_else(|| {
            problems.pop().unwrap_or_else(|| {
                "BOARDHAND_TOKEN: missing; boardhand token create makes one, or it is the server's BOARDHAND_ADMIN_TOKEN".to_owned()
            })
        })?;
        let http = Http::new(&[address]);
        let (address, token) = (address.to_owned(), SecretString::from(token));
        Ok(Server { http, address, token, clock: Clock::system() })
    }

    /// Starts the run; a server that did not answer is asked again, under the same key.
    async fn start(&self, body: &Value) -> Result<Value, String> {
        let url = format!("{}/api/v1/runs", self.address);
        let mut tries = 1;
        loop {
            let answer = self.http.post_json(&url, Some(&self.token), body, WITHIN).await;
            match read(answer) {
                Ok(run) => return Ok(run),
                Err(Failed::Missing(problem) | Failed::Refused(problem)) => return Err(problem),
                Err(Failed::Away(problem)) if tries >= STARTS_MAX => {
                    return Err(format!("{}: {problem}", self.address));
                }
                Err(Failed::Away(problem)) => {
                    if tries == 1 {
                        eprintln!("{}: {problem}; asking again", self.address);
                    }
                    tries += 1;
                    self.clock.sleep(AGAIN).await;
                }
            }
        }
    }

    /// The run once it has ended; every new state is told, and its console where that is followed.
    async fn ended(&self, number: i64, follow: bool) -> Result<Value, String> {
        let url = format!("{}/api/v1/runs/{number}?wait=1s", self.address);
        let (mut told, mut away) = (String::new(), 0);
        let mut console = Followed { attempt: 1, from: 0 };
        loop {
            let asked_at = self.clock.monotonic();
            match read(self.http.get(&url, Some(&self.token), BODY_BYTES_MAX, WITHIN).await) {
                Ok(run) => {
                    away = 0;
                    let now = state(&run);
                    if now != told {
                        eprintln!("#{number} {now}");
                        told = now;
                    }
                    if follow {
                        self.show(number, &run, &mut console).await;
                    }
                    if run["state"] == "finished" {
                        return Ok(run);
                    }
                    // Where too many wait, the server answers at once.
                    self.clock.sleep_until(asked_at + STATE_EVERY).await;
                }
                Err(Failed::Missing(problem) | Failed::Refused(problem)) => return Err(problem),
                Err(Failed::Away(problem)) => {
                    away += 1;
                    if away > AWAY_MAX {
                        return Err(problem);
                    }
                    self.clock.sleep(AGAIN).await;
                }
            }
        }
    }

    /// Shows what is new on the console of a run. What is not answered now is shown later, or never: it is in the log.
    async fn show(&self, number: i64, run: &Value, console: &mut Followed) {
        let attempts = run["attempts"].as_array().map_or(0, Vec::len) as u64;
        while console.attempt <= attempts {
            let Followed { attempt, from } = *console;
            let path = format!("/api/v1/runs/{number}/console?attempt={attempt}&from={from}");
            let piece = match self.look(&path).await {
                Ok(piece) => piece,
                // This one has none; another may.
                Err(Failed::Missing(_)) if attempt < attempts => {
                    *console = Followed { attempt: attempt + 1, from: 0 };
                    continue;
                }
                Err(_) => return,
            };
            for line in piece["lines"].as_array().into_iter().flatten() {
                eprintln!("{}", said_there(line));
            }
            let next = piece["next"].as_u64().unwrap_or(from);
            console.from = next;
            if next == from {
                if attempt == attempts {
                    return;
                }
                // It went on with another attempt: the console of this one is over.
                *console = Followed { attempt: attempt + 1, from: 0 };
            }
        }
    }

    /// What stands at a path.
    pub(super) async fn get(&self, path: &str) -> Result<Value, String> {
        self.look(path).await.map_err(|failed| self.problem(failed))
    }

    /// The same, and why there is nothing.
    pub(super) async fn look(&self, path: &str) -> Result<Value, Failed> {
        let url = format!("{}{path}", self.address);
        read(self.http.get(&url, Some(&self.token), REPORT_BYTES_MAX, WITHIN).await)
    }

    /// Opens a WebSocket at a path.
    pub(super) async fn web_socket(&self, path: &str) -> Result<WebSocket, String> {
        // `http` and `https` become `ws` and `wss`.
        let url = format!("ws{}{path}", self.address.strip_prefix("http").unwrap_or(&self.address));
        let dialled = self.http.web_socket_as(&url, Some(&self.token), WITHIN, self.clock.clone()).await;
        dialled.map_err(|error| match error {
            DialError::Net(error) => format!("{}: {error}", self.address),
            DialError::Refused(answer) => match self.whole(Ok(*answer)) {
                Ok(_) => format!("{}: this server has no consoles", self.address),
                Err(problem) => problem,
            },
        })
    }

    /// Asks for something at a path.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, String> {
        let url = format!("{}{path}", self.address);
        self.whole(self.http.send_json(method, &url, Some(&self.token), body, WITHIN).await)
    }

    fn whole(&self, answer: Result<HttpReply, NetError>) -> Result<Value, String> {
        read(answer).map_err(|failed| self.problem(failed))
    }

    /// Why there is no answer, in words.
    pub(super) fn problem(&self, failed: Failed) -> String {
        match failed {
            Failed::Missing(problem) | Failed::Refused(problem) => problem,
            Failed::Away(problem) => format!("{}: {problem}", self.address),
        }
    }

    async fn report(&self, number: i64) -> Result<Vec<u8>, String> {
        let url = format!("{}/api/v1/runs/{number}/junit.xml", self.address);
        let mut away = 0;
        loop {
            let answer = self.http.get(&url, Some(&self.token), REPORT_BYTES_MAX, WITHIN).await;
            match answer {
                Ok(answer) if answer.status == 200 => return Ok(answer.body),
                answer => match read(answer) {
                    Ok(_) => return Err("the server answers something else".to_owned()),
                    Err(Failed::Away(_)) if away < AWAY_MAX => {
                        away += 1;
                        self.clock.sleep(AGAIN).await;
                    }
                    Err(Failed::Missing(problem) | Failed::Refused(problem) | Failed::Away(problem)) => {
                        return Err(problem);
                    }
                },
            }
        }
    }
}

/// How far a console was shown.
#[derive(Clone, Copy)]
struct Followed {
    attempt: u64,
    from: u64,
}

/// A line of a console, for a terminal.
fn said_there(line: &Value) -> String {
    let after = line["after_ms"].as_u64().unwrap_or_default();
    let sent = if line["sent"] == true { "> " } else { "" };
    format!("[{}.{:03}] {sent}{}", after / 1_000, after % 1_000, line["text"].as_str().unwrap_or_default())
}

/// Why there is no answer to go on with.
pub(super) enum Failed {
    /// There is no such thing.
    Missing(String),
    /// The server does not do it, now or later.
    Refused(String),
    /// It is not there, or not now.
    Away(String),
}

fn read(answer: Result<HttpReply, NetError>) -> Result<Value, Failed> {
    let answer = answer.map_err(|error| match error {
        NetError::Address(_) => Failed::Refused(error.to_string()),
        error => Failed::Away(error.to_string()),
    })?;
    let body = answer.json().unwrap_or_default();
    let detail = || {
        let near: Vec<&str> =
            body["near"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let detail = match (body["title"].as_str(), body["detail"].as_str()) {
            // What is said of all of them says nothing of this one.
            (Some(title), Some(detail)) if title != "this request cannot be carried out" => {
                format!("{title}: {detail}")
            }
            (_, Some(detail)) => detail.to_owned(),
            _ => format!("status {}", answer.status),
        };
        if near.is_empty() { detail } else { format!("{detail}; near: {}", near.join(", ")) }
    };
    match answer.status {
        200..=202 => Ok(body),
        404 => Err(Failed::Missing(detail())),
        429 | 500.. => Err(Failed::Away(detail())),
        _ => Err(Failed::Refused(detail())),
    }
}

/// Where a run is, in a few words.
fn state(run: &Value) -> String {
    let board = run["board"].as_str().map(|board| format!(" on {board}")).unwrap_or_default();
    let place = run["queue"]["position"].as_str().map(|place| format!(", place {place} in line"));
    let counts = &run["counts"];
    let tests = match counts["total"].as_u64() {
        Some(total) if total > 0 => {
            format!(", {} of {total} passed so far", counts["passed"].as_u64().unwrap_or_default())
        }
        _ => String::new(),
    };
    let word = run["state"].as_str().unwrap_or_default();
    match word {
        "finished" => "finished".to_owned(),
        _ => format!("{word}{board}{}{tests}", place.unwrap_or_default()),
    }
}

/// How a run ended, in a line, and its console log.
fn said(run: &Value) -> String {
    let text = |key: &str| run[key].as_str().unwrap_or_default();
    let count = |key: &str| run["counts"][key].as_u64().unwrap_or_default();
    let board = run["board"].as_str().map(|board| format!(" on {board}")).unwrap_or_default();
    let cause = run["cause"].as_str().map(|cause| format!(" ({cause})")).unwrap_or_default();
    let detail = run["detail"].as_str().map(|detail| format!("\n{detail}")).unwrap_or_default();
    let last = run["attempts"].as_array().and_then(|attempts| attempts.last());
    let log = last.and_then(|attempt| attempt["log_url"].as_str());
    let log = log.map(|url| format!("\nconsole: {url}")).unwrap_or_default();
    format!(
        "#{} {}{cause}{board}: {} passed, {} failed, {} skipped{detail}{log}",
        run["number"],
        text("verdict"),
        count("passed"),
        count("failed"),
        count("skipped")
    )
}

fn exit_code(run: &Value) -> u8 {
    match run["verdict"].as_str() {
        Some("passed") => 0,
        Some("failed") => 1,
        Some("timed-out") => 4,
        Some("cancelled") => 5,
        _ => 3,
    }
}

/// What was asked for cannot be.
fn usage(problem: &str) -> ExitCode {
    eprintln!("boardhand: {problem}");
    ExitCode::from(2)
}
