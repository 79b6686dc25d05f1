//! HTML: cards as they stand in chats, for a page. Every text is escaped; addresses are only `http`, `https` and this
//! server's own paths. Buttons are those of the page's one form; those whose answer only a chat could give are left out.

use crate::chat::plain::clean;
use crate::command::Verb;
use crate::message::{Block, Button, ButtonStyle, Card, Span, Text};

/// `text` without what no screen should be told, as HTML.
pub(super) fn escape(text: &str) -> String {
    let text = clean(text);
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    push_escaped(&text, &mut escaped);
    escaped
}

/// The same for text that is clean already, behind `out`.
pub(super) fn push_escaped(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

/// A card's blocks, without its title; with its buttons where whoever reads it can press them.
pub(super) fn card(card: &Card, acts: bool) -> String {
    let mut out = String::new();
    for block in &card.blocks {
        match block {
            Block::Title(_) => {}
            Block::Buttons(buttons) if acts => self::buttons(buttons, &mut out),
            Block::Buttons(_) => {}
            Block::Text(text) => wrap("p", text, &mut out),
            Block::Context(text) => wrap("small", text, &mut out),
            Block::Log(log) => {
                out.push_str("<pre tabindex=\"0\" aria-label=\"Console lines\">");
                out.push_str(&escape(log));
                out.push_str("</pre>");
            }
            Block::Divider => out.push_str("<hr>"),
            Block::Fields(fields) => {
                out.push_str("<dl>");
                for (label, value) in fields {
                    out.push_str(&format!(
                        "<div><dt>{}</dt><dd>{}</dd></div>",
                        escape(label),
                        self::text(value)
                    ));
                }
                out.push_str("</dl>");
            }
        }
    }
    out
}

/// Buttons of the form `act`, which stands once on every page.
fn buttons(buttons: &[Button], out: &mut String) {
    // A log is on the run's page; who would be told later is told in a chat.
    let here = |button: &&Button| !matches!(button.click.verb, Verb::Log | Verb::Notify);
    let shown: Vec<&Button> = buttons.iter().filter(here).collect();
    if shown.is_empty() {
        return;
    }
    out.push_str("<div class=\"acts\">");
    for button in shown {
        let class = match button.style {
            ButtonStyle::Default => "",
            ButtonStyle::Primary => " class=\"primary\"",
            ButtonStyle::Danger => " class=\"danger\"",
        };
        out.push_str(&format!(
            "<button form=\"act\" name=\"click\" value=\"{}\"{class}>{}</button>",
            escape(&button.click.value()),
            escape(&button.label)
        ));
    }
    out.push_str("</div>");
}

fn wrap(tag: &str, of: &Text, out: &mut String) {
    let inner = text(of);
    if !inner.trim().is_empty() {
        out.push_str(&format!("<{tag}>{inner}</{tag}>"));
    }
}

/// Text with its markup.
pub(super) fn text(text: &Text) -> String {
    text.0.iter().map(span).collect()
}

fn span(span: &Span) -> String {
    match span {
        Span::Plain(text) => escape(text),
        Span::Bold(text) => format!("<b>{}</b>", escape(text)),
        Span::Code(text) => format!("<code>{}</code>", escape(text)),
        Span::Link { url, label } if is_address(url) => {
            format!("<a href=\"{}\">{}</a>", escape(url), escape(label))
        }
        Span::Link { label, .. } => escape(label),
        Span::Run(run) => {
            let link = format!("<a href=\"/runs/{}\">{}</a>", run.number, run.label());
            if run.strong { format!("<b>{link}</b>") } else { link }
        }
        Span::Mention(actor) => {
            let name = if actor.name.is_empty() { &actor.id } else { &actor.name };
            format!("<b>{}</b>", escape(name))
        }
        Span::Time(at) => format!("<time datetime=\"{}\">{}</time>", at.rfc3339(), at.to_minute()),
    }
}

fn is_address(url: &str) -> bool {
    url.starts_with("https://")
        || url.starts_with("http://")
        || (url.starts_with('/') && !url.starts_with("//"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let evil = "<script>alert('x')</script>\u{1b}[2J\u{202e}\" onload=\"";
        let link = |url: &str| Span::Link { url: url.into(), label: evil.into() };
        let blocks = vec![
            Block::Title(evil.into()),
            Block::Text(Text(vec![
                Span::Plain(evil.into()),
                Span::Bold(evil.into()),
                Span::Code(evil.into()),
                link("javascript:alert(1)"),
                link("//evil.example"),
                link("https://x.example/\"onmouseover=\"alert(1)"),
            ])),
            Block::Fields(vec![(evil.into(), Text::plain(evil))]),
            Block::Log(evil.into()),
            Block::Context(Text::plain(evil)),
        ];
        let html = card(&Card { blocks, ..Card::default() }, true);
        assert!(
            !html.contains("<script") && !html.contains("javascript:") && !html.contains("//evil"),
            "{html}"
        );
        assert!(!html.contains('\u{1b}') && !html.contains('\u{202e}'), "{html}");
        assert_eq!(html.matches("<a href=").count(), 1, "{html}");
        assert!(html.contains("<a href=\"https://x.example/&quot;onmouseover=&quot;alert(1)\">"), "{html}");
    }

    #[test]
    fn what_says_nothing_is_no_paragraph() {
        let blocks = vec![Block::Text(Text::plain(" \n")), Block::Context(Text::plain(""))];
        assert_eq!(card(&Card { blocks, ..Card::default() }, true), "");
    }
}
