//! `boardhand power`, `quarantine`, `return` and `lab`: what a server does for whoever asks. Nothing is switched here.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::ask::Asking;
use super::run::Server;
use crate::net::Method;

/// How long one request waits for the end of a power request.
const WAIT: &str = "5s";
/// How often it is asked for: ten minutes and more, which no request outlasts.
const ASKS_MAX: u32 = 200;

/// Switches a board, or reads its outlet, and waits for the end.
pub(super) async fn power(asking: &Asking, board: &str, action: &str) -> anyhow::Result<ExitCode> {
    let answer = match asking.server() {
        Ok(server) => switched(&server, board, action).await,
        Err(problem) => Err(problem),
    };
    let failed = answer.as_ref().is_ok_and(|request| request["state"] != "done");
    let code = asking.told(answer, |request| {
        let text = |key: &str| request[key].as_str().unwrap_or_default();
        let outlet = request["outlet"].as_str().map(|outlet| format!(": {outlet}")).unwrap_or_default();
        let detail = request["detail"].as_str().map(|detail| format!(": {detail}")).unwrap_or_default();
        format!("{} {} {}{outlet}{detail}\n", text("board_id"), text("action"), text("state"))
    })?;
    Ok(if failed { ExitCode::from(3) } else { code })
}

async fn switched(server: &Server, board: &str, action: &str) -> Result<Value, String> {
    let path = format!("/api/v1/power/{}/{}?wait={WAIT}", segment(board), segment(action));
    let mut request = server.send(Method::POST, &path, None).await?;
    for _ in 0..ASKS_MAX {
        if request["finished_at"].is_string() {
            break;
        }
        let path = format!("{}?wait={WAIT}", request["url"].as_str().unwrap_or_default());
        request = server.get(&path).await?;
    }
    Ok(request)
}

/// Takes a board out of service.
pub(super) async fn quarantine(asking: &Asking, board: &str, reason: &[String]) -> anyhow::Result<ExitCode> {
    let path = format!("/api/v1/boards/{}/quarantine", segment(board));
    let body = json!({ "reason": reason.join(" ") });
    let answer = asking.send(Method::POST, &path, Some(&body)).await;
    asking.told(answer, |board| {
        let text = |key: &str| board[key].as_str().unwrap_or_default();
        let before = if board["changed"] == json!(false) { " before" } else { "" };
        format!("{} is out of service{before}: {}\n", text("board_id"), text("reason"))
    })
}

/// Puts a board back into service.
pub(super) async fn put_back(asking: &Asking, board: &str) -> anyhow::Result<ExitCode> {
    let path = format!("/api/v1/boards/{}/return", segment(board));
    let answer = asking.send(Method::POST, &path, None).await;
    asking.told(answer, |board| {
        let before = if board["changed"] == json!(false) { " as before" } else { "" };
        format!("{} is in service{before}\n", board["board_id"].as_str().unwrap_or_default())
    })
}

/// Does what can be typed in a chat.
pub(super) async fn lab(asking: &Asking, words: &[String]) -> anyhow::Result<ExitCode> {
    let Some(text) = line(words) else {
        eprintln!("boardhand: a word with both kinds of quotes cannot be typed");
        return Ok(ExitCode::from(2));
    };
    let body = json!({ "text": text });
    let answer = asking.send(Method::POST, "/api/v1/commands", Some(&body)).await;
    asking.told(answer, |said| format!("{}\n", said["text"].as_str().unwrap_or_default()))
}

/// Words as one line; the shell took the quotes away around those that have spaces. Nothing where a word holds both kinds of
/// quotes, which no line can.
fn line(words: &[String]) -> Option<String> {
    let word = |word: &String| {
        if !word.contains(|c: char| c.is_whitespace() || c == '"' || c == '\'') {
            return Some(word.clone());
        }
        // What is an option stays one: its value alone is quoted.
        let is_name =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_-".contains(c));
        let (name, value) = match word.split_once('=').filter(|(name, _)| is_name(name)) {
            Some((name, value)) => (format!("{name}="), value),
            None => (String::new(), word.as_str()),
        };
        let quote = ['"', '\''].into_iter().find(|quote| !value.contains(*quote))?;
        Some(format!("{name}{quote}{value}{quote}"))
    };
    words.iter().map(word).collect::<Option<Vec<_>>>().map(|words| words.join(" "))
}

/// A part of a path, whatever somebody typed.
pub(super) fn segment(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_typed_as_they_were_given() {
        let typed = |words: &[&str]| line(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let check = |words: &[&str], expect: &str| assert_eq!(typed(words).as_deref(), Some(expect));
        check(&["quarantine", "soc-a-001", "the fan is dead"], "quarantine soc-a-001 \"the fan is dead\"");
        check(&["run-test", "socA", "b", "msg=hello world"], "run-test socA b msg=\"hello world\"");
        check(&["run-test", "socA", "b", "msg=x\" on=y"], "run-test socA b msg='x\" on=y'");
        check(&["quarantine", "a", "it's hot"], "quarantine a \"it's hot\"");
        assert_eq!(typed(&["a", "it's \"hot\""]), None);
    }
}
