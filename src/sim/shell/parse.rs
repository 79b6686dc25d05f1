//! Words and lists of a POSIX shell's command line. Pure: text in, a tree out; nothing is expanded or run.

/// A command line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct List(pub(super) Vec<(When, Pipeline)>);

/// When a pipeline of a list runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Always,
    AfterSuccess,
    AfterFailure,
}

/// Commands joined by `|`.
pub(super) type Pipeline = Vec<Simple>;

/// One command with its assignments and redirections.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Simple {
    pub(super) assigns: Vec<(String, Word)>,
    pub(super) words: Vec<Word>,
    pub(super) redirects: Vec<(Redirect, Option<Word>)>,
}

/// Where a stream goes or comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Redirect {
    Out,
    Append,
    In,
    Err,
    ErrToOut,
    OutToErr,
}

/// A word before expansion.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Word {
    pub(super) parts: Vec<Part>,
    /// Quoted somewhere: it stays a word even when it expands to nothing.
    pub(super) quoted: bool,
}

/// A piece of a word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Text(String),
    Variable { name: String, quoted: bool },
}

/// Why a text is not a command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SyntaxError {
    /// A quote is open: more lines belong to it.
    #[error("unterminated quoted string")]
    Incomplete,
    #[error("\"{0}\" unexpected")]
    Unexpected(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(Word),
    Operator(&'static str),
}

/// Operators, longest first.
const OPERATORS: [&str; 14] =
    ["2>&1", ">&2", "1>&2", "2>>", "2>", "&&", "||", ">>", ">", "<", "|", ";", "\n", "&"];

/// Reads a command line.
pub(super) fn parse(text: &str) -> Result<List, SyntaxError> {
    let tokens = tokens(text)?;
    let mut list = List(Vec::new());
    let mut when = When::Always;
    let mut pipeline = Pipeline::new();
    let mut simple = Simple::default();
    let mut at = tokens.into_iter().peekable();
    while let Some(token) = at.next() {
        match token {
            Token::Word(word) => match assignment(&word).filter(|_| simple.words.is_empty()) {
                Some(assign) => simple.assigns.push(assign),
                None => simple.words.push(word),
            },
            Token::Operator(op @ ("&" | "<<")) => return Err(SyntaxError::Unexpected(op.to_owned())),
            Token::Operator(op @ (";" | "\n" | "&&" | "||" | "|")) => {
                let empty = simple == Simple::default();
                if empty && (op != "\n" || !pipeline.is_empty() || when != When::Always) {
                    if op == "\n" {
                        // A line may end after `&&`, `||` and `|`.
                        continue;
                    }
                    return Err(SyntaxError::Unexpected(op.to_owned()));
                }
                if !empty {
                    pipeline.push(std::mem::take(&mut simple));
                }
                if op != "|" {
                    if !pipeline.is_empty() {
                        list.0.push((when, std::mem::take(&mut pipeline)));
                    }
                    when = match op {
                        "&&" => When::AfterSuccess,
                        "||" => When::AfterFailure,
                        _ => When::Always,
                    };
                }
            }
            Token::Operator(op) => {
                let target = match (redirect(op), at.peek()) {
                    (Redirect::ErrToOut | Redirect::OutToErr, _) => None,
                    (_, Some(Token::Word(_))) => match at.next() {
                        Some(Token::Word(word)) => Some(word),
                        _ => None,
                    },
                    _ => return Err(SyntaxError::Unexpected(op.to_owned())),
                };
                simple.redirects.push((redirect(op), target));
            }
        }
    }
    if simple != Simple::default() {
        pipeline.push(simple);
    } else if !pipeline.is_empty() || when != When::Always {
        return Err(SyntaxError::Incomplete);
    }
    if !pipeline.is_empty() {
        list.0.push((when, pipeline));
    }
    Ok(list)
}

fn redirect(op: &str) -> Redirect {
    match op {
        ">" => Redirect::Out,
        ">>" => Redirect::Append,
        "<" => Redirect::In,
        "2>&1" => Redirect::ErrToOut,
        ">&2" | "1>&2" => Redirect::OutToErr,
        _ => Redirect::Err,
    }
}

/// `name=value` as the start of a command.
fn assignment(word: &Word) -> Option<(String, Word)> {
    let Part::Text(first) = word.parts.first()? else {
        return None;
    };
    let (name, rest) = first.split_once('=')?;
    if !is_variable(name) {
        return None;
    }
    let mut parts = vec![Part::Text(rest.to_owned())];
    parts.extend(word.parts[1..].iter().cloned());
    Some((name.to_owned(), Word { parts, quoted: word.quoted }))
}

/// Whether a variable may have this name.
pub(super) fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn tokens(text: &str) -> Result<Vec<Token>, SyntaxError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r']);
        if rest.is_empty() {
            return Ok(tokens);
        }
        if rest.starts_with('#') {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if rest.starts_with("<<") || rest.starts_with('(') || rest.starts_with(')') {
            return Err(SyntaxError::Unexpected(rest.chars().take(2).collect()));
        } else if let Some(op) = OPERATORS.into_iter().find(|op| rest.starts_with(op)) {
            tokens.push(Token::Operator(op));
            rest = &rest[op.len()..];
        } else {
            let (word, length) = word(rest)?;
            tokens.push(Token::Word(word));
            rest = &rest[length..];
        }
    }
}

/// One word from the start of `text`, and its length in bytes.
fn word(text: &str) -> Result<(Word, usize), SyntaxError> {
    let mut word = Word::default();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        match next {
            ' ' | '\t' | '\r' | '\n' | ';' | '|' | '&' | '<' | '>' | '(' | ')' => break,
            '\'' => {
                let end = rest[1..].find('\'').ok_or(SyntaxError::Incomplete)? + 1;
                push(&mut word, &rest[1..end]);
                word.quoted = true;
                rest = &rest[end + 1..];
            }
            '"' => {
                rest = double_quoted(&rest[1..], &mut word)?;
                word.quoted = true;
            }
            '\\' => {
                let mut escaped = rest[1..].chars();
                let char = escaped.next().ok_or(SyntaxError::Incomplete)?;
                if char != '\n' {
                    push(&mut word, char.encode_utf8(&mut [0; 4]));
                    word.quoted = true;
                }
                rest = escaped.as_str();
            }
            '`' => return Err(SyntaxError::Unexpected("`".to_owned())),
            '$' => rest = variable(rest, false, &mut word)?,
            _ => {
                push(&mut word, next.encode_utf8(&mut [0; 4]));
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    Ok((word, text.len() - rest.len()))
}

fn push(word: &mut Word, text: &str) {
    match word.parts.last_mut() {
        Some(Part::Text(last)) => last.push_str(text),
        _ => word.parts.push(Part::Text(text.to_owned())),
    }
}

/// What follows an opening `"`; gives the text behind the closing one.
fn double_quoted<'t>(text: &'t str, word: &mut Word) -> Result<&'t str, SyntaxError> {
    let mut rest = text;
    loop {
        let next = rest.chars().next().ok_or(SyntaxError::Incomplete)?;
        match next {
            '"' => return Ok(&rest[1..]),
            '\\' => {
                let escaped = rest[1..].chars().next().ok_or(SyntaxError::Incomplete)?;
                match escaped {
                    '$' | '`' | '"' | '\\' => push(word, escaped.encode_utf8(&mut [0; 4])),
                    '\n' => {}
                    _ => push(word, &rest[..1 + escaped.len_utf8()]),
                }
                rest = &rest[1 + escaped.len_utf8()..];
            }
            '`' => return Err(SyntaxError::Unexpected("`".to_owned())),
            '$' => rest = variable(rest, true, word)?,
            _ => {
                push(word, next.encode_utf8(&mut [0; 4]));
                rest = &rest[next.len_utf8()..];
            }
        }
    }
}

/// `$name`, `${name}`, `$?` or a lone `$` at the start of `text`; gives what follows.
fn variable<'t>(text: &'t str, quoted: bool, word: &mut Word) -> Result<&'t str, SyntaxError> {
    let rest = &text[1..];
    let length = match rest.chars().next() {
        Some('(') => return Err(SyntaxError::Unexpected("$(".to_owned())),
        Some('{') => rest.find('}').ok_or(SyntaxError::Incomplete)? + 1,
        Some('?' | '$' | '#') => 1,
        _ => rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len()),
    };
    let name = rest[..length].trim_start_matches('{').trim_end_matches('}');
    if length == 0 {
        push(word, "$");
    } else if is_variable(name) || matches!(name, "?" | "$" | "#") {
        word.parts.push(Part::Variable { name: name.to_owned(), quoted });
    } else {
        return Err(SyntaxError::Unexpected(format!("${}", &rest[..length])));
    }
    Ok(&rest[length..])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words as `a|b`, commands of a pipeline joined by ` PIPE `, pipelines by their condition.
    fn show(text: &str) -> String {
        let list = match parse(text) {
            Ok(list) => list,
            Err(error) => return format!("error: {error}"),
        };
        let simple = |simple: &Simple| {
            let word = |word: &Word| {
                let part = |part: &Part| match part {
                    Part::Text(text) => text.clone(),
                    Part::Variable { name, .. } => format!("<{name}>"),
                };
                word.parts.iter().map(part).collect::<String>()
            };
            let mut out: Vec<String> =
                simple.assigns.iter().map(|(name, value)| format!("{name}:={}", word(value))).collect();
            out.extend(simple.words.iter().map(word));
            out.extend(simple.redirects.iter().map(|(kind, target)| {
                format!("{kind:?}({})", target.as_ref().map(word).unwrap_or_default())
            }));
            out.join("|")
        };
        let pipeline = |(when, pipeline): &(When, Pipeline)| {
            let commands: Vec<_> = pipeline.iter().map(simple).collect();
            format!("{when:?} {}", commands.join(" PIPE "))
        };
        list.0.iter().map(pipeline).collect::<Vec<_>>().join("; ")
    }

    fn check(text: &str, expect: &str) {
        assert_eq!(show(text), expect, "{text:?}");
    }

    #[test]
    fn words_and_quotes() {
        check(r#"echo 'a b' "c $d" e\ f g''h"#, "Always echo|a b|c <d>|e f|gh");
        check(r#"echo "\$x \a \"" '$y'"#, r#"Always echo|$x \a "|$y"#);
        check("a 'x\ny'\nb", "Always a|x\ny; Always b");
    }

    #[test]
    fn lists_and_pipelines() {
        check("a && b || c; d | e\nf", "Always a; AfterSuccess b; AfterFailure c; Always d PIPE e; Always f");
        check("a &&\n b # c", "Always a; AfterSuccess b");
        check("\n\n", "");
    }

    #[test]
    fn assignments_and_redirections() {
        check("A=1 B= c D=2", "Always A:=1|B:=|c|D=2");
        check("echo x 2>/dev/null >/tmp/y 2>&1", "Always echo|x|Err(/dev/null)|Out(/tmp/y)|ErrToOut()");
        check("__r=$?; echo ${__r}", "Always __r:=<?>; Always echo|<__r>");
    }

    #[test]
    fn an_open_quote_waits_for_more() {
        for open in ["echo 'a", "echo \"b", "echo \\", "a &&", "a |"] {
            assert_eq!(parse(open), Err(SyntaxError::Incomplete), "{open}");
        }
    }

    #[test]
    fn what_it_does_not_know_is_an_error() {
        check("echo $(id)", "error: \"$(\" unexpected");
        check("; a", "error: \";\" unexpected");
        check("a &", "error: \"&\" unexpected");
        check("cat <<E", "error: \"<<\" unexpected");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered(text in ".{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn a_single_quoted_value_stays_one_word(value in "[^\0]{0,40}") {
            let quoted = format!("echo '{}'", value.replace('\'', r"'\''"));
            let list = parse(&quoted).expect("quoted text parses");
            let word = &list.0[0].1[0].words[1];
            let text: String = word.parts.iter().map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Variable { .. } => "a variable".to_owned(),
            }).collect();
            proptest::prop_assert_eq!(text, value);
        }
    }
}
