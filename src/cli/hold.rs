//! `boardhand reserve`, `extend`, `release` and `leases`: boards of one's own, over a server's API. Whoever waits for one
//! and is told to stop leaves the line; only one that is killed waits on, and `release` gives its place back.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::ask::Asking;
use super::run::{Failed, Server};
use crate::clock::Clock;
use crate::command::parse;
use crate::net::Method;

/// How often the place in line is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often in a row the server may be away before nobody waits for it any more.
const AWAY_MAX: u32 = 60;

/// Which board, and for how long.
#[derive(Debug, Args)]
pub(super) struct ReserveArgs {
    /// A board or a family, such as soc-a-001 or socA.
    target: String,
    /// For how long, such as 2h.
    #[arg(long = "for", default_value = "30m", value_parser = duration)]
    lasts: Duration,
    /// What for; others read it.
    #[arg(long, default_value = "")]
    reason: String,
    /// Only if it is free now; otherwise end with 3.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Takes a board, and waits for it where it is not free; ends with 0 only when it is there.
pub(super) async fn reserve(args: &ReserveArgs) -> anyhow::Result<ExitCode> {
    let server = match args.asking.server() {
        Ok(server) => server,
        Err(problem) => return args.asking.told(Err(problem), |_| String::new()),
    };
    let mut answer = taken(&server, args).await;
    if let Ok(lease) = &answer
        && lease["status"] == "waiting"
    {
        answer = in_turn(&server, lease.clone()).await;
    }
    let is_had = answer.as_ref().is_ok_and(|lease| lease["status"] == "active");
    let is_not = match &answer {
        Ok(_) => !is_had,
        Err(problem) => problem.contains("is not free"),
    };
    let code = args.asking.told(answer, |lease| line(lease) + "\n")?;
    Ok(if is_not { ExitCode::from(3) } else { code })
}

async fn taken(server: &Server, args: &ReserveArgs) -> Result<Value, String> {
    let mut body = json!({ "timeout": args.lasts.as_secs(), "reason": args.reason, "queue": !args.no_wait });
    let path = format!("/api/v1/boards/{}", super::act::segment(&args.target));
    let key = match server.look(&path).await {
        Ok(_) => "board_id",
        Err(Failed::Missing(_)) => "board_family",
        Err(failed) => return Err(server.problem(failed)),
    };
    body[key] = json!(args.target);
    server.send(Method::POST, "/api/v1/lease", Some(&body)).await
}

/// Waits for a place in line to become a board.
async fn in_turn(server: &Server, mut lease: Value) -> Result<Value, String> {
    let (clock, path) = (Clock::system(), lease["url"].as_str().unwrap_or_default().to_owned());
    let (mut told, mut away) = (String::new(), 0);
    let mut stopped = std::pin::pin!(stopped());
    while lease["status"] == "waiting" {
        let place = line(&lease);
        if place != told {
            eprintln!("{place}");
            told = place;
        }
        tokio::select! {
            () = clock.sleep(LOOK_EVERY) => {}
            // Nobody is there any more to be told of the board.
            () = &mut stopped => {
                server.send(Method::DELETE, &path, None).await?;
                lease["status"] = json!("gone");
                return Ok(lease);
            }
        }
        match server.look(&path).await {
            Ok(now) => (lease, away) = (now, 0),
            // Given up or taken away: a place in line that is over is nowhere.
            Err(Failed::Missing(_)) => lease["status"] = json!("gone"),
            Err(Failed::Away(_)) if away < AWAY_MAX => away += 1,
            Err(failed) => return Err(server.problem(failed)),
        }
    }
    Ok(lease)
}

/// Resolves when the process is told to stop.
async fn stopped() {
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

/// Keeps a board for longer.
pub(super) async fn extend(asking: &Asking, board: &str, by: Duration) -> anyhow::Result<ExitCode> {
    let answer = async {
        let server = asking.server()?;
        let id = lease_of(&server, Some(board)).await?;
        let body = json!({ "timeout": by.as_secs() });
        server.send(Method::POST, &format!("/api/v1/lease/{id}/renew"), Some(&body)).await
    };
    asking.told(answer.await, |lease| line(lease) + "\n")
}

/// Gives a board back, or a place in line.
pub(super) async fn release(asking: &Asking, target: Option<&str>) -> anyhow::Result<ExitCode> {
    let answer = async {
        let server = asking.server()?;
        let id = lease_of(&server, target).await?;
        server.send(Method::DELETE, &format!("/api/v1/lease/{id}"), None).await
    };
    asking.told(answer.await, |lease| {
        let name = lease["board_id"].as_str().or(lease["wanted"].as_str()).unwrap_or_default();
        format!("{name} is given back\n")
    })
}

/// The id of the lease or place in line that is meant: the only one that they have, or the one of a board or family.
async fn lease_of(server: &Server, target: Option<&str>) -> Result<String, String> {
    let is_meant = |lease: &&Value| match target {
        None => true,
        Some(target) => ["board_id", "wanted"]
            .iter()
            .any(|key| lease[key].as_str().is_some_and(|name| name.eq_ignore_ascii_case(target))),
    };
    let mine = server.get("/api/v1/lease?mine=true").await?;
    let mine: Vec<&Value> = mine["items"].as_array().into_iter().flatten().filter(is_meant).collect();
    let id = |lease: &Value| lease["lease_id"].as_str().unwrap_or_default().to_owned();
    match (mine.as_slice(), target) {
        ([lease], _) => Ok(id(lease)),
        ([], None) => Err("you have no board and wait for none".to_owned()),
        ([], Some(target)) => {
            let all = server.get("/api/v1/lease").await?;
            let theirs = all["items"].as_array().into_iter().flatten().find(is_meant).map(id);
            theirs.ok_or_else(|| format!("nobody has {target}"))
        }
        (many, _) => {
            let names =
                many.iter().filter_map(|lease| lease["board_id"].as_str().or(lease["wanted"].as_str()));
            Err(format!("say which: {}", names.collect::<Vec<_>>().join(", ")))
        }
    }
}

/// Lists leases, and who waits for one.
pub(super) async fn leases(asking: &Asking, mine: bool) -> anyhow::Result<ExitCode> {
    asking
        .show(
            if mine { "/api/v1/lease?mine=true" } else { "/api/v1/lease" },
            "no board is held, and nobody waits for one",
            line,
        )
        .await
}

/// A lease or a place in line.
fn line(lease: &Value) -> String {
    let text = |key: &str| lease[key].as_str().unwrap_or_default();
    let reason = lease["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
    match lease["status"].as_str() {
        Some("waiting") => {
            let place =
                lease["position"].as_str().map(|place| format!(" at place {place}")).unwrap_or_default();
            format!("{:<16} {} waits{place}{reason}", text("wanted"), text("holder"))
        }
        Some("active") => {
            format!("{:<16} {} until {}{reason}", text("board_id"), text("holder"), text("expires_at"))
        }
        Some("gone") => format!("{:<16} {} is not in line any more", text("wanted"), text("holder")),
        _ => format!("{:<16} {} {}", text("board_id"), text("holder"), text("status")),
    }
}

/// A time as people write it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse::duration(text).ok_or_else(|| "write it as 30m or 2h".to_owned())
}
