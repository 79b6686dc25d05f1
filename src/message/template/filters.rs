//! The filters of templates: the only source of markup, and numbers, times and sentences as people of a language say
//! them. Pure.

use std::sync::Arc;

use minijinja::value::{Object, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::markup::mark;
use super::structure::{MACROS, phrase_name};
use crate::chat::{Actor, Platform};
use crate::clock::{Timestamp, shown_seconds};
use crate::command::grammar;
use crate::message::{RunName, Span};

/// A language that the filters speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tongue {
    English,
    Chinese,
}

impl Tongue {
    /// That of a language's folder; numbers and times of one that is neither are English.
    pub(super) fn of(locale: &str) -> Self {
        if locale == "zh" || locale.starts_with("zh-") { Tongue::Chinese } else { Tongue::English }
    }
}

/// Adds every filter.
pub(super) fn install(env: &mut Environment<'static>, tongue: Tongue) {
    env.add_filter("bold", |value: &Value| text(value).map(|t| mark(&Span::Bold(t))));
    env.add_filter("code", |value: &Value| text(value).map(|t| mark(&Span::Code(t))));
    env.add_filter("link", |url: &Value, label: &Value| {
        Ok::<_, Error>(mark(&Span::Link { url: text(url)?, label: text(label)? }))
    });
    env.add_filter("run", |value: &Value| run(value, false));
    env.add_filter("bold_run", |value: &Value| run(value, true));
    env.add_filter("mention", mention);
    env.add_filter("time", |value: &Value| instant(value).map(|at| mark(&Span::Time(at))));
    env.add_filter("duration", move |value: &Value| seconds(value).map(|s| duration(s, tongue)));
    env.add_filter("count", |value: &Value| whole(value).map(grouped));
    env.add_filter("size", |value: &Value| whole(value).map(size));
    env.add_filter("plural", plural);
    env.add_filter("sentence", move |state: &State<'_, '_>, value: &Value| {
        said(state, value).map(|text| sentence(&text, tongue))
    });
    env.add_filter("own", move |value: &Value| own(value, tongue));
    env.add_filter("typed", move |value: &Value| text(value).map(|line| typed(line, tongue)));
    env.add_global("say", Value::from_object(Say));
}

/// `say.name(…)`: the macros of the language. They are read when one is called, not by every text that might: most
/// texts call one in few of their cases.
#[derive(Debug)]
struct Say;

impl Object for Say {
    fn call_method(
        self: &Arc<Self>,
        state: &mut State<'_, '_>,
        name: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        let mut macros = state.env().get_template(MACROS)?.render_captured(())?;
        macros.with_state_mut(|macros| macros.call_macro(name, args)).map(Value::from)
    }
}

/// A value that can be printed.
fn text(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::None => Ok(String::new()),
        _ => Ok(value.to_string()),
    }
}

/// A text as it is, or a phrase of the catalogue with its facts.
fn said(state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
    let phrase = value.get_attr("phrase").ok().and_then(|name| name.as_str().map(phrase_name));
    match phrase {
        Some(name) => state.env().get_template(&name)?.render(value.clone()),
        None => text(value),
    }
}

/// `by | mention`: a person as facts hold them, `{platform, id, team?, name?}`, or as boards.yaml does,
/// `slack:U0LEAD`; anything else prints as it is.
fn mention(value: &Value) -> Result<String, Error> {
    let part = |name: &str| value.get_attr(name).ok().and_then(|v| v.as_str().map(str::to_owned));
    let key = || {
        let (platform, id) = value.as_str()?.split_once(':')?;
        Some((Platform::from_word(platform)?, id.to_owned()))
    };
    let known = part("platform").as_deref().and_then(Platform::from_word).zip(part("id"));
    let Some((platform, id)) = known.or_else(key) else {
        return text(value);
    };
    let (team, name) = (part("team").unwrap_or_default(), part("name").unwrap_or_default());
    Ok(mark(&Span::Mention(Actor { platform, id, team, name })))
}

/// Microseconds since the Unix epoch, as facts hold instants.
fn instant(value: &Value) -> Result<Timestamp, Error> {
    whole(value).map(Timestamp::from_micros)
}

/// A run by its number; nothing where there is none.
fn run(value: &Value, strong: bool) -> Result<String, Error> {
    match value.kind() {
        ValueKind::None => Ok(String::new()),
        _ => whole(value).map(|number| mark(&Span::Run(RunName { number, strong, url: None }))),
    }
}

fn whole(value: &Value) -> Result<i64, Error> {
    i64::try_from(value.clone()).map_err(|_| Error::new(ErrorKind::InvalidOperation, "not a whole number"))
}

/// Seconds, or a duration as facts hold it: `{secs, nanos}`.
fn seconds(value: &Value) -> Result<f64, Error> {
    let number = match value.get_attr("secs") {
        Ok(secs) if !secs.is_undefined() => f64::try_from(secs),
        _ => f64::try_from(value.clone()),
    };
    number.map_err(|_| Error::new(ErrorKind::InvalidOperation, "not a duration"))
}

/// `83` as `1m 23s` or `1 分 23 秒`: the two largest units.
fn duration(seconds: f64, tongue: Tongue) -> String {
    // As a cast: below zero is zero, and what is not a number too.
    let shown = shown_seconds(seconds.round() as u64);
    if tongue == Tongue::English {
        return shown;
    }
    let with_seconds = shown.ends_with('s');
    let unit = |letter: &str| match letter {
        "d" => " 天",
        "h" => " 小时",
        "m" if with_seconds => " 分",
        "m" => " 分钟",
        _ => " 秒",
    };
    let parts = shown.split(' ').map(|part| part.split_at(part.len() - 1));
    parts.map(|(number, letter)| format!("{number}{}", unit(letter))).collect::<Vec<_>>().join(" ")
}

/// `usage | own`: of a text that exists in both languages, `{en, zh}`, the one in this; any other text is itself.
fn own(value: &Value, tongue: Tongue) -> Result<Value, Error> {
    let column = match tongue {
        Tongue::English => "en",
        Tongue::Chinese => "zh",
    };
    let text = value.get_attr(column)?;
    Ok(if text.is_undefined() { value.clone() } else { text })
}

/// `next | typed`: a line to type, with its command in this language.
fn typed(line: String, tongue: Tongue) -> String {
    match tongue {
        Tongue::English => line,
        Tongue::Chinese => grammar::in_chinese(&line),
    }
}

/// `reason | sentence`: with a capital letter and a full stop, where its language has them.
fn sentence(text: &str, tongue: Tongue) -> String {
    let text = text.trim();
    let ended = text.is_empty() || text.ends_with(['.', '!', '?', '…', ':', '。', '！', '？', '：']);
    // English stays English: what a device or a kernel said is not translated.
    if tongue == Tongue::Chinese && !text.is_ascii() {
        return format!("{text}{}", if ended { "" } else { "。" });
    }
    // Names (`socA`, `soc-a-001`, `/dev/mem`) keep their case: only a plain word begins with a capital.
    let word = text.split(char::is_whitespace).next().unwrap_or_default();
    let plain =
        word.trim_end_matches([',', ';', ':', '.']).chars().all(|c| c.is_lowercase() || "'-".contains(c));
    let mut chars = text.chars();
    let first: String = match chars.next() {
        Some(c) if plain => c.to_uppercase().collect(),
        other => other.into_iter().collect(),
    };
    format!("{first}{}{}", chars.as_str(), if ended { "" } else { "." })
}

/// Bytes as `512 B`, `4 KiB` or `12.4 MiB`: the same in every language.
fn size(bytes: i64) -> String {
    const KIB: i64 = 1024;
    const MIB: i64 = 1024 * KIB;
    match bytes.max(0) {
        bytes @ ..KIB => format!("{bytes} B"),
        bytes @ ..MIB => format!("{} KiB", (bytes + KIB / 2) / KIB),
        bytes => {
            let tenths = (i128::from(bytes) * 10 + i128::from(MIB) / 2) / i128::from(MIB);
            format!("{}.{} MiB", tenths / 10, tenths % 10)
        }
    }
}

/// `1234567` as `1,234,567`.
fn grouped(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut out = String::from(if n < 0 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `n | plural("test")`: `1 test`, `1,234 tests`; `n | plural("box", "boxes")` where an s is not enough.
fn plural(value: &Value, one: &str, many: Rest<String>) -> Result<String, Error> {
    let n = whole(value)?;
    let word = match (n, many.first()) {
        (1, _) => one.to_owned(),
        (_, Some(many)) => many.clone(),
        (_, None) => format!("{one}s"),
    };
    Ok(format!("{} {word}", grouped(n)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, expect: &str) {
        check_in(Tongue::English, template, expect);
    }

    #[track_caller]
    fn check_in(tongue: Tongue, template: &str, expect: &str) {
        let mut env = Environment::new();
        install(&mut env, tongue);
        assert_eq!(env.render_str(template, ()).expect("renders"), expect);
    }

    #[test]
    fn durations_have_their_two_largest_units() {
        for (secs, expect) in [
            ("0", "0s"),
            ("0.4", "0s"),
            ("59.6", "1m"),
            ("83", "1m 23s"),
            ("3600", "1h"),
            ("3660", "1h 1m"),
            ("3601", "1h"),
            ("90061", "1d 1h"),
            ("-5", "0s"),
            ("{'secs': 83, 'nanos': 1}", "1m 23s"),
        ] {
            check(&format!("{{{{ {secs} | duration }}}}"), expect);
        }
    }

    #[test]
    fn sizes_have_one_unit() {
        for (bytes, expect) in [
            (-1, "0 B"),
            (1023, "1023 B"),
            (4000, "4 KiB"),
            (13_002_342, "12.4 MiB"),
            (16_777_216, "16.0 MiB"),
        ] {
            check(&format!("{{{{ {bytes} | size }}}}"), expect);
        }
    }

    #[test]
    fn numbers_are_grouped_and_words_counted() {
        check("{{ 1234567 | count }} {{ -1000 | count }} {{ 999 | count }}", "1,234,567 -1,000 999");
        check(
            "{{ 1 | plural('test') }}, {{ 0 | plural('test') }}, {{ 1200 | plural('box', 'boxes') }}",
            "1 test, 0 tests, 1,200 boxes",
        );
    }

    #[test]
    fn a_reason_becomes_a_sentence() {
        check(
            "{{ 'there is none' | sentence }} {{ 'Why?' | sentence }} {{ '' | sentence }}{{ none | sentence }}",
            "There is none. Why? ",
        );
    }

    #[test]
    fn chinese_has_units_a_full_stop_and_commands_of_its_own() {
        let chinese = |template: &str, expect: &str| check_in(Tongue::Chinese, template, expect);
        for (secs, expect) in [
            ("0", "0 秒"),
            ("83", "1 分 23 秒"),
            ("300", "5 分钟"),
            ("3660", "1 小时 1 分钟"),
            ("90061", "1 天 1 小时"),
        ] {
            chinese(&format!("{{{{ {secs} | duration }}}}"), expect);
        }
        chinese(
            "{{ '板卡没有电源控制' | sentence }}{{ '为什么？' | sentence }}{{ 'no such file' | sentence }}",
            "板卡没有电源控制。为什么？No such file.",
        );
        let both = "{{ {'en': 'one', 'zh': '一'} | own }} {{ 'plain' | own }} {{ '/lab why 42' | typed }}";
        chinese(both, "一 plain /lab 为什么 42");
        check(both, "one plain /lab why 42");
    }

    #[test]
    fn what_is_no_number_is_an_error() {
        let mut env = Environment::new();
        install(&mut env, Tongue::English);
        for template in [
            "{{ 'x' | count }}",
            "{{ 'x' | duration }}",
            "{{ 'x' | time }}",
            "{{ none | plural('x') }}",
            "{{ nothing | bold }}",
        ] {
            assert!(env.render_str(template, ()).is_err(), "{template}");
        }
    }
}
