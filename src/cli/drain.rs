//! `boardhand drain`, `undrain` and `drains`: boards and sites that take nothing new, over a server's API.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::ask::Asking;
use super::hold;
use crate::net::Method;

/// What takes nothing new, and for how long.
#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    /// The board, or worker:NAME.
    #[arg(required_unless_present = "site", conflicts_with = "site")]
    board: Option<String>,
    /// Every board of this site instead.
    #[arg(long)]
    site: Option<String>,
    /// For how long, such as 2h; until somebody ends it when absent.
    #[arg(long = "for", value_parser = hold::duration)]
    lasts: Option<Duration>,
    /// Why; others read it.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    asking: Asking,
}

/// Lets a board or a site take nothing new.
pub(super) async fn begin(args: &DrainArgs) -> anyhow::Result<ExitCode> {
    let lasts = args.lasts.map(|lasts| format!("{}s", lasts.as_secs()));
    // As it is typed in chat.
    let worker = args.board.as_deref().and_then(|board| board.strip_prefix("worker:"));
    let board = args.board.as_deref().filter(|_| worker.is_none());
    let mut body = json!({ "board": board, "site": args.site, "reason": args.reason, "lasts": lasts });
    if let Some(worker) = worker {
        body["worker"] = json!(worker);
    }
    let answer = args.asking.send(Method::POST, "/api/v1/drains", Some(&body)).await;
    args.asking.told(answer, |drain| line(drain) + "\n")
}

/// Lets it take new work again.
pub(super) async fn end(asking: &Asking, name: &str) -> anyhow::Result<ExitCode> {
    let answer = ended(asking, name).await;
    asking.told(answer, |drain| {
        format!("{} takes new work again\n", drain["name"].as_str().unwrap_or_default())
    })
}

async fn ended(asking: &Asking, name: &str) -> Result<Value, String> {
    let drains = asking.server()?.get("/api/v1/drains").await?;
    let is_it =
        |drain: &&Value| drain["name"].as_str().is_some_and(|is| is.to_lowercase() == name.to_lowercase());
    let drain = drains["items"].as_array().into_iter().flatten().find(is_it);
    let number = drain.and_then(|drain| drain["drain_id"].as_i64());
    let number = number.ok_or_else(|| format!("{name} is not draining; `boardhand drains` lists what is"))?;
    asking.send(Method::DELETE, &format!("/api/v1/drains/{number}"), None).await
}

/// Lists what takes nothing new.
pub(super) async fn list(asking: &Asking) -> anyhow::Result<ExitCode> {
    asking.show("/api/v1/drains", "nothing is drained", line).await
}

fn line(drain: &Value) -> String {
    let text = |key: &str| drain[key].as_str().unwrap_or_default();
    let until = drain["until"].as_str().map(|until| format!(" until {until}")).unwrap_or_default();
    let reason = Some(text("reason")).filter(|reason| !reason.is_empty());
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let on_it: Vec<&str> =
        drain["on_it"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let still = match on_it.as_slice() {
        [] => "; nothing is on it".to_owned(),
        boards => format!("; still in use: {}", boards.join(", ")),
    };
    format!("{} drains{until}{reason}{still}", text("name"))
}
