//! `boardhand render`: one message with sample facts, as the JSON that a platform would get. It is what a platform's card
//! builder takes, for whoever writes templates of their own. Sends nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::serve::load_templates;
use crate::chat::{feishu, slack};
use crate::message::Note;
use crate::message::template::{DEFAULT_LOCALE, sample_facts};

/// Flags of `boardhand render`.
#[derive(Debug, Args)]
pub(super) struct RenderArgs {
    /// The message's name, such as run-card.
    pub(super) message: String,
    /// Whose JSON.
    #[arg(long, value_enum, default_value_t = CardPlatform::Slack)]
    pub(super) platform: CardPlatform,
    /// Of a message about a run, the state or the verdict: queued, testing, passed, failed, infra, timed-out, cancelled.
    #[arg(long)]
    pub(super) state: Option<String>,
    /// In which language.
    #[arg(long, default_value = DEFAULT_LOCALE, value_parser = ["en", "zh"])]
    pub(super) locale: String,
    /// A folder of message templates to use instead of the built-in ones.
    #[arg(long, env = "BOARDHAND_TEMPLATES")]
    pub(super) templates: Option<PathBuf>,
}

/// A platform with cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CardPlatform {
    /// Block Kit.
    Slack,
    /// Card JSON 2.0.
    Feishu,
}

/// Prints the message.
pub(super) fn render(args: &RenderArgs) -> anyhow::Result<ExitCode> {
    let facts = sample_facts(&args.message).map_err(|near| {
        let near = near.map_or(String::new(), |near| format!(": did you mean {near}?"));
        anyhow::anyhow!("there is no message {}{near}", args.message)
    })?;
    let facts = picked(&args.message, facts, args.state.as_deref())?;
    let catalogue = load_templates(args.templates.as_deref())?;
    let card = catalogue.render(&args.locale, &Note::new(args.message.as_str(), facts));
    let drawn = match args.platform {
        CardPlatform::Slack => slack::blocks::render(&card),
        CardPlatform::Feishu => feishu::card::render(&card),
    };
    println!("{}", serde_json::to_string_pretty(&drawn)?);
    Ok(ExitCode::SUCCESS)
}

/// The facts in which the run is in that state, or has ended so; the first where nobody says.
fn picked(message: &str, facts: Vec<Value>, state: Option<&str>) -> anyhow::Result<Value> {
    let words = |facts: &Value| ["verdict", "state"].map(|name| facts[name].as_str().map(str::to_owned));
    let mut known: Vec<String> = facts.iter().flat_map(words).flatten().collect();
    let picked = facts
        .into_iter()
        .find(|facts| state.is_none_or(|state| words(facts).iter().flatten().any(|word| word == state)));
    picked.ok_or_else(|| {
        known.sort();
        known.dedup();
        match known.as_slice() {
            [] => anyhow::anyhow!("{message} tells of no run: leave --state out"),
            known => anyhow::anyhow!("{message} has samples of {}", known.join(", ")),
        }
    })
}
