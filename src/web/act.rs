//! What somebody at a page presses: a button of a card, or a line as it is typed in a chat. Each goes the way of every command,
//! once for each page that it was pressed on. It must have been pressed on a page of this server that was made for this very
//! sign-in: no other site can press anything. What cannot be taken back is asked again first.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use minijinja::{Value, context};
use serde::Deserialize;

use super::reader::Reader;
use super::words::Tongue;
use super::{go, html, own_path};
use crate::chat::Intent;
use crate::chat::plain::one_line;
use crate::command::{Click, Verb};
use crate::door::throttle::Source;
use crate::door::{Door, Visitor};
use crate::id::MessageId;
use crate::lease::{Holder, Lease};
use crate::message::{Block, Note};
use crate::store::Result;

/// What lines of pages begin with, and what is put behind them. Everything else is pressed on a card, or typed in a chat.
const LINES: [(&str, &[Field]); 10] = [
    ("cancel", &[]),
    ("reserve", &[Field::Lasts, Field::Reason]),
    ("extend", &[Field::Lasts]),
    ("release", &[]),
    ("power", &[]),
    ("quarantine", &[Field::Reason]),
    ("return", &[]),
    ("hold", &[]),
    ("resend", &[]),
    ("schedules", &[]),
];
/// Longest line or value of a button that is read.
const SAID_BYTES_MAX: usize = 2_000;

#[derive(Clone, Copy)]
enum Field {
    Lasts,
    Reason,
}

/// A form of a page.
#[derive(Deserialize)]
pub(super) struct Pressed {
    #[serde(default)]
    once: String,
    #[serde(default)]
    back: String,
    /// The value of a card's button.
    #[serde(default)]
    click: String,
    /// A line.
    #[serde(default)]
    say: String,
    #[serde(default)]
    lasts: String,
    #[serde(default)]
    reason: String,
    /// Whether it was asked again.
    #[serde(default)]
    sure: String,
}

impl Pressed {
    /// The whole line, as somebody would type it.
    fn line(&self) -> Option<String> {
        let verb = self.say.split(' ').next()?;
        let (_, fields) = LINES.iter().find(|(known, _)| *known == verb)?;
        let mut line = format!("/lab {}", self.say);
        for field in *fields {
            let said = match field {
                Field::Lasts => one_line(&self.lasts),
                Field::Reason => one_line(&self.reason),
            };
            if !said.is_empty() {
                line.push(' ');
                line.push_str(&said);
            }
        }
        (line.len() <= SAID_BYTES_MAX).then_some(line)
    }

    /// What it says, and what tells it from everything else that can be pressed on the same page.
    fn intent(&self) -> Option<(Intent, String)> {
        if self.click.is_empty() {
            let line = self.line()?;
            return Some((Intent::Text(line.clone()), line));
        }
        let value = (self.click.len() <= SAID_BYTES_MAX).then(|| self.click.clone())?;
        Some((Click::parse(&value).map_or(Intent::OtherClick, Intent::Click), value))
    }
}

/// Does what was pressed.
pub(super) async fn act(
    State(door): State<Arc<Door>>,
    reader: Reader,
    source: Option<Extension<Source>>,
    headers: HeaderMap,
    Form(pressed): Form<Pressed>,
) -> Response {
    let back = own_path(&pressed.back).to_owned();
    let Some(visitor) = &reader.visitor else { return reader.to_sign_in_for(&back) };
    let once = reader.opened(&door, &pressed.once).filter(|_| is_of_this_server(&headers, &door));
    let (Some(once), Some((intent, what))) = (once, pressed.intent()) else {
        tracing::warn!("something was pressed that no page of this sign-in shows");
        let said =
            "Nothing was done: this was pressed on a page that was not made for this sign-in. Open it again.";
        return reader.told(StatusCode::FORBIDDEN, "Nothing was done", said, &back);
    };
    if pressed.sure.is_empty() {
        match question(&door, visitor, &intent, reader.tongue).await {
            Ok(None) => {}
            Ok(Some(question)) => return asked_again(&reader, &pressed, question, &back),
            Err(error) => return reader.not_now(&error),
        }
    }
    let source = source.map(|Extension(source)| source.0);
    obeyed(&door, (&reader, visitor), (intent, &format!("{once} {what}")), (source, &back)).await
}

async fn obeyed(
    door: &Door,
    (reader, visitor): (&Reader, &Visitor),
    asked: (Intent, &str),
    (source, back): (Option<IpAddr>, &str),
) -> Response {
    let committed = match door.obey(visitor, asked, source).await {
        Ok(committed) => committed,
        Err(error) => {
            return reader.told(StatusCode::SERVICE_UNAVAILABLE, "Not now", &error.to_string(), back);
        }
    };
    let answer = committed.answer;
    if let Some(errand) = answer.facts.get("errand").and_then(|id| id.as_str()) {
        let back: String = form_urlencoded::byte_serialize(back.as_bytes()).collect();
        return go(&format!("/power/{errand}?back={back}"));
    }
    answered(door, reader, &answer, back)
}

/// What a chat would have said.
fn answered(door: &Door, reader: &Reader, answer: &Note, back: &str) -> Response {
    let denied = answer.template == "denied";
    let status = if denied { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let card = door.composer.page_note(answer, reader.tongue.as_str());
    let number = answer.facts.get("number").and_then(serde_json::Value::as_i64);
    let number = number.filter(|number| *number > 0 && !denied);
    let facts = context! {
        title => card.summary.as_str(),
        card => Value::from_safe_string(html::card(&card, true)),
        number,
        back,
    };
    reader.page(status, "answer.html", facts)
}

/// Whether a form was sent by a page of this server, as far as a browser says.
fn is_of_this_server(headers: &HeaderMap, door: &Door) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = text(header::ORIGIN.as_str()) else { return true };
    let host = text(header::HOST.as_str()).unwrap_or_default();
    let at = origin.split_once("://").map_or("", |(_, at)| at);
    (!at.is_empty() && at == host) || door.links.are_at(origin)
}

/// What is asked before something is done that cannot be taken back.
struct Question {
    title: String,
    text: String,
    yes: String,
    no: String,
}

impl Question {
    fn new(tongue: Tongue, [title, text, yes]: [&str; 3], facts: &[(&str, &str)]) -> Question {
        let filled = |text| tongue.fill(text, facts);
        Question {
            title: filled(title),
            text: filled(text),
            yes: filled(yes),
            no: tongue.say("Leave it").into(),
        }
    }
}

/// Whether it is asked again, and how: where a chat asks again, and where somebody else's board or a board's service is at
/// stake.
async fn question(
    door: &Door,
    visitor: &Visitor,
    intent: &Intent,
    tongue: Tongue,
) -> Result<Option<Question>> {
    match intent {
        Intent::Click(click) => match (click.verb, &click.board) {
            (Verb::Release, Some(board)) => release(door, visitor, board.as_str(), tongue).await,
            (Verb::PowerCycle | Verb::PowerOff, Some(board)) => {
                power(door, visitor, board.as_str(), tongue).await
            }
            (Verb::Cancel | Verb::PowerCycle | Verb::CancelAll, None) => of_card(door, click, tongue).await,
            _ => Ok(None),
        },
        Intent::Text(line) => {
            let mut words = line.split(' ').skip(1);
            let (verb, of) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            match (verb, words.next()) {
                ("release", _) => release(door, visitor, of, tongue).await,
                ("power", Some("status")) => Ok(None),
                ("power", _) => power(door, visitor, of, tongue).await,
                ("quarantine", Some(_)) => {
                    let text = "{board} takes no runs and nobody is given it until somebody returns it. A run that is on it ends first.";
                    let words = ["Take {board} out of service?", text, "Quarantine"];
                    Ok(Some(Question::new(tongue, words, &[("board", of)])))
                }
                ("cancel", _) => {
                    let run = of.trim_start_matches('#').parse().unwrap_or_default();
                    let click = Click { verb: Verb::Cancel, run, generation: 0, at: None, board: None };
                    of_card(door, &click, tongue).await
                }
                _ => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

/// What the run's card asks on that button.
async fn of_card(door: &Door, click: &Click, tongue: Tongue) -> Result<Option<Question>> {
    let Some(view) = door.store.run_view(click.run).await? else { return Ok(None) };
    let note = Note::new("run-card", door.composer.run_facts(&view));
    let card = door.composer.page_note(&note, tongue.as_str());
    let mut buttons = card.blocks.into_iter().flat_map(|block| match block {
        Block::Buttons(buttons) => buttons,
        _ => vec![],
    });
    let confirm = buttons.find(|button| button.click.verb == click.verb).and_then(|button| button.confirm);
    // The card has no such button any more: what is answered says why.
    Ok(confirm.map(|confirm| Question {
        title: confirm.title,
        text: confirm.text,
        yes: confirm.yes,
        no: confirm.no,
    }))
}

/// Who has a board.
async fn holder(door: &Door, board: &str) -> Result<Option<Lease>> {
    let leases = door.store.lease_list().await?;
    Ok(leases.into_iter().find(|lease| lease.board.as_str().eq_ignore_ascii_case(board)))
}

async fn release(door: &Door, visitor: &Visitor, board: &str, tongue: Tongue) -> Result<Option<Question>> {
    let lease = holder(door, board).await?.filter(|lease| !lease.is_held_by(&visitor.counts_as));
    Ok(lease.and_then(|lease| match &lease.holder {
        Holder::Person(by) => {
            let text =
                "{by} has it until {until}. What runs there is lost, and they are told that it was you.";
            let (by, until) = (super::wall::called(by), lease.expires_at.to_minute());
            let facts = [("board", board), ("by", &by), ("until", &until)];
            Some(Question::new(tongue, ["Take {board} away from {by}?", text, "Release"], &facts))
        }
        Holder::Run { .. } | Holder::Check(_) => None,
    }))
}

/// Nobody is asked twice: where somebody else has the board, the command itself asks, or refuses.
async fn power(door: &Door, visitor: &Visitor, board: &str, tongue: Tongue) -> Result<Option<Question>> {
    let lease = holder(door, board).await?;
    let others = lease.is_some_and(|lease| !lease.is_held_by(&visitor.counts_as));
    let words = ["Switch the power of {board}?", "What runs there is lost.", "Switch"];
    Ok((!others).then(|| Question::new(tongue, words, &[("board", board)])))
}

fn asked_again(reader: &Reader, pressed: &Pressed, question: Question, back: &str) -> Response {
    let facts = context! {
        title => question.title,
        text => question.text,
        yes => question.yes,
        no => question.no,
        once => pressed.once.as_str(),
        click => pressed.click.as_str(),
        say => pressed.say.as_str(),
        lasts => pressed.lasts.as_str(),
        reason => pressed.reason.as_str(),
        back,
    };
    reader.page(StatusCode::OK, "sure.html", facts)
}

#[derive(Deserialize)]
pub(super) struct BackQuery {
    #[serde(default)]
    back: String,
}

/// A power request: on its way, and how it ended.
pub(super) async fn power_request(
    State(door): State<Arc<Door>>,
    reader: Reader,
    Path(id): Path<String>,
    Query(query): Query<BackQuery>,
) -> Response {
    if reader.visitor.is_none() {
        return reader.to_sign_in();
    }
    let view = match id.parse::<MessageId>() {
        Ok(id) => door.store.errand_view(id).await,
        Err(_) => Ok(None),
    };
    let back = own_path(&query.back);
    let view = match view {
        Ok(Some(view)) => view,
        Ok(None) => {
            let said = "There is no such power request, or it is not kept any more.";
            return reader.told(StatusCode::NOT_FOUND, "No such power request", said, back);
        }
        Err(error) => return reader.not_now(&error),
    };
    let (board, action) = (view.errand.board.as_str(), view.errand.action.as_str());
    let asked = || Note::new("power-asked", serde_json::json!({ "board": board, "action": action }));
    let done = view.done.is_some();
    let note = view.done.and_then(|(_, note)| note).unwrap_or_else(asked);
    let card = door.composer.page_note(&note, reader.tongue.as_str());
    let facts = context! {
        title => card.summary.as_str(),
        card => Value::from_safe_string(html::card(&card, true)),
        waits => !done,
        back,
    };
    reader.page(StatusCode::OK, "answer.html", facts)
}
