//! What pages say, in English and in Chinese. English is written where it is said; here stands what it is in Chinese, text by
//! text. What cards say comes from `message-templates/`. Nothing a person or a board wrote is ever looked up here.

mod zh;

use axum::http::{HeaderMap, header};
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, State, Value};

/// The cookie in which a browser keeps its choice.
pub(super) const COOKIE: &str = "boardhand_language";
/// Most languages of a browser that are looked at.
const ACCEPTED_MAX: usize = 20;

/// A language.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) enum Tongue {
    /// English.
    #[default]
    En,
    /// Chinese.
    Zh,
}

impl Tongue {
    /// As the catalogue of messages and browsers call it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Tongue::En => "en",
            Tongue::Zh => "zh",
        }
    }

    /// The language of that name, whatever the country.
    pub(super) fn of(name: &str) -> Option<Tongue> {
        match name.trim().split(['-', '_']).next()?.to_ascii_lowercase().as_str() {
            "en" => Some(Tongue::En),
            "zh" => Some(Tongue::Zh),
            _ => None,
        }
    }

    /// What a browser chose, or what it would rather read.
    pub(super) fn asked(headers: &HeaderMap) -> Tongue {
        let texts = |name| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let chosen = texts(header::COOKIE)
            .flat_map(|cookies| cookies.split(';'))
            .find_map(|cookie| Tongue::of(cookie.trim().strip_prefix(COOKIE)?.strip_prefix('=')?));
        chosen.or_else(|| texts(header::ACCEPT_LANGUAGE).find_map(preferred)).unwrap_or_default()
    }

    /// An English text in this language.
    pub(super) fn say(self, english: &str) -> &str {
        match self {
            Tongue::En => english,
            Tongue::Zh => zh::of(english).unwrap_or(english),
        }
    }

    /// The same with what stands in braces filled in.
    pub(super) fn fill(self, english: &str, facts: &[(&str, &str)]) -> String {
        fill(self.say(english), facts.iter().map(|(name, fact)| (*name, (*fact).to_owned())))
    }
}

/// The language that a list of them has in front, by what each is worth.
fn preferred(list: &str) -> Option<Tongue> {
    let entries = list.split(',').take(ACCEPTED_MAX).map(|entry| {
        let (name, worth) = entry.split_once(";q=").unwrap_or((entry, "1"));
        (name, worth.trim().parse::<f32>().unwrap_or(0.0))
    });
    let known = entries.filter_map(|(name, worth)| Some((Tongue::of(name)?, worth)));
    let mut best: Option<(Tongue, f32)> = None;
    for (tongue, worth) in known.filter(|(_, worth)| *worth > 0.0) {
        if best.is_none_or(|(_, most)| worth > most) {
            best = Some((tongue, worth));
        }
    }
    best.map(|(tongue, _)| tongue)
}

fn fill(text: &str, facts: impl Iterator<Item = (impl AsRef<str>, String)>) -> String {
    let mut filled = text.to_owned();
    for (name, fact) in facts {
        // A fact that looks like a place for another is put last by nobody: braces in it stay what they are.
        let fact = fact.replace('{', "\u{1}");
        filled = filled.replace(&format!("{{{}}}", name.as_ref()), &fact);
    }
    filled.replace('\u{1}', "{")
}

/// `t("Nothing waits.")` in a page, in the language that it is read in; `t("{n} wait", n=3)` fills in.
pub(super) fn teach(pages: &mut Environment<'static>) {
    pages.add_function("t", |state: &State<'_, '_>, english: &str, facts: Kwargs| -> Result<String, Error> {
        let tongue = state.lookup("lang").and_then(|lang| Tongue::of(lang.as_str()?)).unwrap_or_default();
        let mut filled = Vec::new();
        for name in facts.args() {
            filled.push((name.to_owned(), facts.get::<Value>(name)?.to_string()));
        }
        Ok(fill(tongue.say(english), filled.into_iter()))
    });
    // A word of the program's own, such as a state or a verdict.
    pages.add_filter("word", |state: &State<'_, '_>, word: &str| -> String {
        let tongue = state.lookup("lang").and_then(|lang| Tongue::of(lang.as_str()?)).unwrap_or_default();
        tongue.say(word).to_owned()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_reads_the_language_that_it_would_rather_have() {
        for (accepts, cookie, tongue) in [
            ("", "", Tongue::En),
            ("zh-CN,zh;q=0.9,en;q=0.8", "", Tongue::Zh),
            ("en-US,en;q=0.9,zh;q=0.8", "", Tongue::En),
            ("de, zh;q=0.3, en;q=0.2", "", Tongue::Zh),
            ("fr, zh;q=0", "", Tongue::En),
            ("en", "theme=dark; boardhand_language=zh", Tongue::Zh),
            ("zh", "boardhand_language=en", Tongue::En),
            ("zh", "boardhand_language=klingon", Tongue::Zh),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, accepts.parse().expect("a header"));
            headers.insert(header::COOKIE, cookie.parse().expect("a header"));
            assert_eq!(Tongue::asked(&headers), tongue, "{accepts} {cookie}");
        }
    }

    #[test]
    fn facts_are_filled_in_and_nothing_in_them_is() {
        assert_eq!(Tongue::En.fill("{a} of {b}", &[("a", "{b}"), ("b", "2")]), "{b} of 2");
    }

    /// What a template says.
    fn templates() -> Vec<(String, String)> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/pages");
        let files = std::fs::read_dir(folder).expect("pages").map(|file| file.expect("a file").path());
        let pages = files.filter(|path| path.extension().is_some_and(|extension| extension == "html"));
        let read = |path: std::path::PathBuf| {
            let text = std::fs::read_to_string(&path).expect("text");
            (path.display().to_string(), text)
        };
        pages.map(read).collect()
    }

    fn found(pattern: &str, text: &str) -> Vec<String> {
        let pattern = regex::Regex::new(pattern).expect("a pattern");
        pattern.captures_iter(text).map(|hit| hit[1].replace("\\\"", "\"")).collect()
    }

    #[test]
    fn every_text_of_a_page_stands_in_both_languages() {
        let mut missing = Vec::new();
        let pattern = |pattern| regex::Regex::new(pattern).expect("a pattern");
        let (code, tags) = (pattern(r"(?s)\{[%{#].*?[%}#]\}"), pattern("(?s)<[^>]*>"));
        for (path, text) in templates() {
            let said = found(r#"\bt\("((?:[^"\\]|\\.)*)""#, &text);
            missing.extend(
                said.into_iter().filter(|text| zh::of(text).is_none()).map(|text| (path.clone(), text)),
            );
            // What stands outside of both is said in one language only.
            let bare = code.replace_all(&text, "");
            let names = r#"(?:placeholder|aria-label|title)="([^"]*\p{L}[^"]*)""#;
            let attributes = found(names, &bare);
            let examples = ["build-122, #41", "build-123, #42", "slack:U0LEAD, soc-a-001, #42", "2h, 7d"];
            let attributes = attributes.into_iter().filter(|text| !examples.contains(&text.as_str()));
            missing.extend(attributes.map(|text| (path.clone(), text)));
            let bare = tags.replace_all(&bare, "\n").into_owned();
            let own = ["boardhand", "· boardhand", "·  ·  · boardhand"];
            let bare = bare.lines().map(str::trim).filter(|line| line.chars().any(char::is_alphabetic));
            missing
                .extend(bare.filter(|line| !own.contains(line)).map(|line| (path.clone(), line.to_owned())));
        }
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web");
        for file in std::fs::read_dir(folder).expect("src/web") {
            let path = file.expect("a file").path();
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect::<Vec<_>>()
                .join("\n");
            let said = r#"(?:\b(?:say|fill|told)\((?:[^"();]*,)?\s*|let (?:said|text|words) = \[?|\(Kind::\w+, )"((?:[^"\\]|\\.)*)""#;
            let said = found(said, &code)
                .into_iter()
                .filter(|text| zh::of(text).is_none() && !text.ends_with("\\n"));
            missing.extend(said.map(|text| (path.display().to_string(), text)));
        }
        assert!(missing.is_empty(), "in one language only: {missing:#?}");
    }
}
