//! `boardhand token`: makes, lists and revokes tokens of a server's API, through that API. A token is printed once, alone
//! on standard output, and kept nowhere.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::act::segment;
use super::ask::Asking;
use crate::net::Method;

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make one, and print it: it is never shown again.
    Create {
        /// Whose it is: the name of whoever comes with it, in runs, on cards and in the audit log.
        name: String,
        /// As whom it acts.
        #[arg(long, value_enum, default_value_t = TokenRole::User)]
        role: TokenRole,
        /// What it may be used for beside reading: read, runs, boards, admin, family:NAME; may stand more than once. All
        /// that its role may, when absent.
        #[arg(long)]
        scope: Vec<String>,
        /// How long it opens anything, such as 30d; until it is revoked, when absent.
        #[arg(long)]
        expires: Option<String>,
        #[command(flatten)]
        asking: Asking,
    },
    /// List them: what each may do, until when, and when it was used last.
    List {
        #[command(flatten)]
        asking: Asking,
    },
    /// Revoke one: it opens nothing any more.
    Revoke {
        /// Its name.
        name: String,
        #[command(flatten)]
        asking: Asking,
    },
}

/// A role, as chat has them.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum TokenRole {
    /// Looks, starts runs, has boards.
    User,
    /// Also switches boards, takes them out of service, and ends other people's runs.
    Operator,
    /// Everything.
    Admin,
}

impl TokenRole {
    fn as_str(self) -> &'static str {
        match self {
            TokenRole::User => "user",
            TokenRole::Operator => "operator",
            TokenRole::Admin => "admin",
        }
    }
}

/// Does it.
pub(super) async fn token(command: &TokenCommand) -> anyhow::Result<ExitCode> {
    match command {
        TokenCommand::Create { name, role, scope, expires, asking } => {
            let body = json!({ "name": name, "role": role.as_str(), "scope": scope, "expires": expires });
            let made = asking.send(Method::POST, "/api/v1/tokens", Some(&body)).await;
            if let Some(until) = made.as_ref().ok().and_then(|made| made["expires_at"].as_str()) {
                eprintln!("{name} opens nothing any more from {until}");
            }
            asking.told(made, |made| format!("{}\n", made["token"].as_str().unwrap_or_default()))
        }
        TokenCommand::List { asking } => asking.show("/api/v1/tokens", "no token was made", line).await,
        TokenCommand::Revoke { name, asking } => {
            let path = format!("/api/v1/tokens/{}", segment(name));
            let revoked = asking.send(Method::DELETE, &path, None).await;
            asking.told(revoked, revoked_lines)
        }
    }
}

/// That it is revoked, and what it leaves behind.
fn revoked_lines(revoked: &Value) -> String {
    let name = revoked["name"].as_str().unwrap_or_default();
    let mut said = format!("{name} is revoked\n");
    for made in revoked["made"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        said += &format!("a token that it made opens on: boardhand token revoke {made}\n");
    }
    for lease in revoked["leases"].as_array().into_iter().flatten() {
        let (verb, what) = match lease["board_id"].as_str() {
            Some(board) => ("has", board),
            None => ("waits for", lease["wanted"].as_str().unwrap_or_default()),
        };
        said += &format!("{name} {verb} {what} still: boardhand release {what}\n");
    }
    said
}

fn line(token: &Value) -> String {
    let text = |key: &str| token[key].as_str().unwrap_or_default();
    let scope: Vec<&str> =
        token["scope"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let scope = if scope.is_empty() { "everything".to_owned() } else { scope.join(" ") };
    let until = token["expires_at"].as_str().map(|at| format!(" until {at}")).unwrap_or_default();
    let used = token["used_at"].as_str().map_or(", never used".to_owned(), |at| format!(", used {at}"));
    format!("{:<20} {:<8} {:<9} {scope}{until}{used}", text("name"), text("state"), text("role"))
}
