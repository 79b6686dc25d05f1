//! `boardhand boards`, `runs` and `cancel`: what a server knows, in lines, or as JSON.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::run::Server;
use crate::config;
use crate::net::Method;

/// Which server, and how its answer looks.
#[derive(Debug, Args)]
pub(super) struct Asking {
    /// Print what the server answers, as JSON.
    #[arg(long)]
    json: bool,
    /// The server's address. Its token is read from BOARDHAND_TOKEN.
    #[arg(long, env = "BOARDHAND_SERVER", default_value = "http://127.0.0.1:8080", value_parser = config::public_url)]
    server: String,
}

/// Lists boards.
pub(super) async fn boards(asking: &Asking, family: Option<&str>) -> anyhow::Result<ExitCode> {
    let query = family.map(|family| {
        let family: String = form_urlencoded::byte_serialize(family.as_bytes()).collect();
        format!("?family={family}")
    });
    asking
        .show(&format!("/api/v1/boards{}", query.unwrap_or_default()), "there is no board", board_line)
        .await
}

/// Lists runs: the newest, or those that are not finished.
pub(super) async fn runs(asking: &Asking, unfinished: bool, limit: u32) -> anyhow::Result<ExitCode> {
    let state = if unfinished { "&state=unfinished" } else { "" };
    asking.show(&format!("/api/v1/runs?limit={limit}{state}"), "there is no run", run_line).await
}

/// Lists workers.
pub(super) async fn workers(asking: &Asking) -> anyhow::Result<ExitCode> {
    asking.show("/api/v1/workers", "there is no worker", worker_line).await
}

/// Ends a run.
pub(super) async fn cancel(asking: &Asking, number: i64) -> anyhow::Result<ExitCode> {
    let answer = asking.send(Method::DELETE, &format!("/api/v1/runs/{number}"), None).await;
    asking.told(answer, |run| match run["state"].as_str() {
        Some("finished") => format!("#{number} has ended\n"),
        _ => format!("#{number} is being ended\n"),
    })
}

impl Asking {
    /// The server.
    pub(super) fn server(&self) -> Result<Server, String> {
        Server::of(&self.server)
    }

    /// Asks the server for something.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, String> {
        self.server()?.send(method, path, body).await
    }

    /// Prints a list, a line each.
    pub(super) async fn show(
        &self,
        path: &str,
        none: &str,
        line: fn(&Value) -> String,
    ) -> anyhow::Result<ExitCode> {
        let answer = match self.server() {
            Ok(server) => server.get(path).await,
            Err(problem) => Err(problem),
        };
        self.told(answer, |answer| {
            if answer["items"].as_array().is_some_and(Vec::is_empty) {
                eprintln!("boardhand: {none}");
            }
            answer["items"].as_array().into_iter().flatten().map(|item| line(item) + "\n").collect()
        })
    }

    /// Prints what the server answered; in words where nobody wants JSON.
    pub(super) fn told(
        &self,
        answer: Result<Value, String>,
        said: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<ExitCode> {
        match answer {
            Ok(answer) => {
                if self.json {
                    sayln!("{answer}");
                } else {
                    say!("{}", said(&answer));
                }
                Ok(ExitCode::SUCCESS)
            }
            Err(problem) => {
                eprintln!("boardhand: {problem}");
                Ok(ExitCode::from(2))
            }
        }
    }
}

fn board_line(board: &Value) -> String {
    let text = |key: &str| board[key].as_str().unwrap_or_default();
    let holder = board["lease"]["holder"].as_str().map(|holder| format!(" by {holder}")).unwrap_or_default();
    let until = board["lease"]["expires_at"].as_str().map(|at| format!(" until {at}")).unwrap_or_default();
    let reason = board["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
    let line = format!(
        "{:<16} {:<8} {:<6} {:<14} {}{holder}{until}{reason}",
        text("board_id"),
        text("soc_family"),
        text("soc_revision"),
        text("lab_location"),
        text("state"),
    );
    line.trim_end().to_owned()
}

fn worker_line(worker: &Value) -> String {
    let text = |key: &str| worker[key].as_str().unwrap_or_default();
    let duty = if worker["on_duty"] == true { ", on duty" } else { "" };
    format!(
        "{:<16} {:<14} {}{duty}, {} of {} boards, version {}, seen {}",
        text("worker_id"),
        text("site"),
        text("state"),
        worker["boards"],
        worker["capacity"],
        text("version"),
        text("seen_at"),
    )
}

fn run_line(run: &Value) -> String {
    let text = |key: &str| run[key].as_str().unwrap_or_default();
    let state = run["verdict"].as_str().unwrap_or_else(|| text("state"));
    let cause = run["cause"].as_str().map(|cause| format!(" ({cause})")).unwrap_or_default();
    let board = run["board"].as_str().map(|board| format!(" on {board}")).unwrap_or_default();
    let number = format!("#{}", run["number"]);
    format!(
        "{number:<7} {} {:<8} {:<20} {:<10} {state}{cause}{board}",
        text("created_at"),
        text("family"),
        text("build"),
        text("suite"),
    )
}
