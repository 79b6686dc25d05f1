//! Inline markup on its way from a filter to [`Text`]. Filters write it into the rendered string between marks;
//! [`parse`] reads the marks back into spans. The marks are Unicode's noncharacters, which no text may hold, and
//! [`clean`] takes them out of every fact before: so only a filter can make markup, and no data can.

use minijinja::Value;
use serde_json::{Map, Value as Json};

use crate::chat::{Actor, Platform};
use crate::clock::Timestamp;
use crate::message::{RunName, Span, Text};

const OPEN: char = '\u{fdd0}';
const NEXT: char = '\u{fdd1}';
const CLOSE: char = '\u{fdd2}';

/// Whether a character could be mistaken for a mark.
pub(super) fn is_mark(c: char) -> bool {
    ('\u{fdd0}'..='\u{fdef}').contains(&c)
}

/// Facts as templates see them, without marks in any string or name.
pub(super) fn clean(facts: &Json) -> Value {
    match facts {
        Json::Null => Value::from(()),
        Json::Bool(yes) => Value::from(*yes),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Value::from(whole),
            (None, Some(whole)) => Value::from(whole),
            (None, None) => Value::from(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::from(unmarked(text)),
        Json::Array(items) => Value::from(items.iter().map(clean).collect::<Vec<_>>()),
        Json::Object(fields) => clean_map(fields),
    }
}

/// The same of a whole object.
pub(super) fn clean_map(fields: &Map<String, Json>) -> Value {
    Value::from_pairs(fields.iter().map(|(name, value)| (unmarked(name), clean(value))))
}

fn unmarked(text: &str) -> String {
    text.chars().filter(|c| !is_mark(*c)).collect()
}

/// A span as marked text. Markup within markup becomes its words.
pub(super) fn mark(span: &Span) -> String {
    let parts: Vec<String> = match span {
        Span::Plain(text) => return text.clone(),
        Span::Bold(text) => vec!["b".into(), plain(text)],
        Span::Code(text) => vec!["c".into(), plain(text)],
        Span::Link { url, label } => vec!["l".into(), plain(url), plain(label)],
        Span::Run(run) => {
            vec!["r".into(), run.number.to_string(), if run.strong { "b" } else { "" }.to_owned()]
        }
        Span::Time(at) => vec!["t".into(), at.as_micros().to_string()],
        Span::Mention(Actor { platform, id, team, name }) => {
            vec!["m".into(), platform.as_str().into(), plain(id), plain(team), plain(name)]
        }
    };
    format!("{OPEN}{}{CLOSE}", parts.join(&NEXT.to_string()))
}

/// Marked text as spans. Never fails: marks that make no sense are dropped.
pub(super) fn parse(marked: &str) -> Text {
    let mut spans = Vec::new();
    let mut rest = marked;
    while let Some(start) = rest.find(OPEN) {
        push_plain(&mut spans, &rest[..start]);
        let inside = &rest[start + OPEN.len_utf8()..];
        let end = inside.find(CLOSE).unwrap_or(inside.len());
        let parts: Vec<&str> = inside[..end].split(NEXT).collect();
        spans.extend(span(&parts).filter(|span| !words(span).is_empty()));
        rest = inside.get(end + CLOSE.len_utf8()..).unwrap_or_default();
    }
    push_plain(&mut spans, rest);
    Text(spans)
}

/// Marked text without its markup.
pub(super) fn plain(marked: &str) -> String {
    if marked.contains(is_mark) { parse(marked).0.iter().map(words).collect() } else { marked.to_owned() }
}

fn push_plain(spans: &mut Vec<Span>, text: &str) {
    let text = unmarked(text);
    if !text.is_empty() {
        spans.push(Span::Plain(text));
    }
}

fn span(parts: &[&str]) -> Option<Span> {
    match *parts {
        ["b", text] => Some(Span::Bold(text.to_owned())),
        ["c", text] => Some(Span::Code(text.to_owned())),
        ["l", url, label] => Some(Span::Link { url: url.to_owned(), label: label.to_owned() }),
        ["t", micros] => micros.parse().ok().map(|micros| Span::Time(Timestamp::from_micros(micros))),
        ["r", number, how] => {
            number.parse().ok().map(|number| Span::Run(RunName { number, strong: how == "b", url: None }))
        }
        ["m", platform, id, team, name] => Some(Span::Mention(Actor {
            platform: Platform::from_word(platform)?,
            id: id.to_owned(),
            team: team.to_owned(),
            name: name.to_owned(),
        })),
        _ => None,
    }
}

/// What a span says where there is no markup.
fn words(span: &Span) -> String {
    match span {
        Span::Plain(text) | Span::Bold(text) | Span::Code(text) => text.clone(),
        Span::Link { label, .. } => label.clone(),
        Span::Run(run) => run.label(),
        Span::Mention(actor) if actor.name.is_empty() => actor.key(),
        Span::Mention(actor) => actor.name.clone(),
        Span::Time(at) => {
            let text = at.rfc3339();
            format!("{} UTC", text.get(..16).unwrap_or(&text).replace('T', " "))
        }
    }
}
