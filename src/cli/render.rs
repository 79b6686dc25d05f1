//! `boardhand render`: one message with sample facts, as the JSON that a platform would get. It is what a platform's card
//! builder takes, for whoever writes templates of their own. Sends nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::serve::load_templates;
use crate::chat::{Platform, drawn};
use crate::message::Note;
use crate::message::template::{DEFAULT_LOCALE, LOCALES, samples};

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
    #[arg(long, default_value = DEFAULT_LOCALE, value_parser = LOCALES)]
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

impl From<CardPlatform> for Platform {
    fn from(platform: CardPlatform) -> Platform {
        match platform {
            CardPlatform::Slack => Platform::Slack,
            CardPlatform::Feishu => Platform::Feishu,
        }
    }
}

/// Prints the message.
pub(super) fn render(args: &RenderArgs) -> anyhow::Result<ExitCode> {
    let facts = samples::sample(&args.message, args.state.as_deref())?;
    let catalogue = load_templates(args.templates.as_deref())?;
    let card = catalogue.render(&args.locale, &Note::new(args.message.as_str(), facts));
    sayln!("{}", serde_json::to_string_pretty(&drawn(args.platform.into(), &card))?);
    Ok(ExitCode::SUCCESS)
}
