//! Words, lists, loops and conditions of a POSIX shell's command line. Pure: text in, a tree out; nothing is expanded or run.

use std::iter::Peekable;
use std::vec::IntoIter;

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
pub(super) type Pipeline = Vec<Command>;

/// One command of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Simple(Simple),
    /// `for variable in words; do body; done`.
    For {
        variable: String,
        words: Vec<Word>,
        body: List,
    },
    /// `if condition; then then; else otherwise; fi`.
    If {
        condition: List,
        then: List,
        otherwise: List,
    },
}

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
    Variable {
        name: String,
        quoted: bool,
    },
    /// `$(text)`.
    Output {
        text: String,
        quoted: bool,
    },
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

/// Words that end a list inside a compound command.
const CLOSING: [&str; 5] = ["then", "else", "fi", "do", "done"];

/// Reads a command line.
pub(super) fn parse(text: &str) -> Result<List, SyntaxError> {
    let mut parser = Parser { tokens: tokens(text)?.into_iter().peekable() };
    Ok(parser.list(&[])?.0)
}

struct Parser {
    tokens: Peekable<IntoIter<Token>>,
}

/// A list while it is read.
#[derive(Default)]
struct Reading {
    list: Vec<(When, Pipeline)>,
    when: Option<When>,
    pipeline: Pipeline,
    simple: Simple,
    compound: Option<Command>,
}

impl Reading {
    /// Whether a command may begin here.
    fn is_empty(&self) -> bool {
        self.compound.is_none() && self.simple == Simple::default()
    }

    fn end_command(&mut self) {
        let simple = std::mem::take(&mut self.simple);
        self.pipeline.push(self.compound.take().unwrap_or(Command::Simple(simple)));
    }

    fn end_pipeline(&mut self) {
        let when = self.when.take().unwrap_or(When::Always);
        if !self.pipeline.is_empty() {
            self.list.push((when, std::mem::take(&mut self.pipeline)));
        }
    }

    /// `;`, a new line, `&&`, `||` or `|`.
    fn separator(&mut self, op: &'static str) -> Result<(), SyntaxError> {
        if self.is_empty() {
            // A line may end after `&&`, `||` and `|`, and may be empty.
            return if op == "\n" { Ok(()) } else { Err(SyntaxError::Unexpected(op.to_owned())) };
        }
        self.end_command();
        if op != "|" {
            self.end_pipeline();
            self.when = match op {
                "&&" => Some(When::AfterSuccess),
                "||" => Some(When::AfterFailure),
                _ => None,
            };
        }
        Ok(())
    }

    fn end(mut self) -> Result<List, SyntaxError> {
        if !self.is_empty() {
            self.end_command();
        } else if !self.pipeline.is_empty() || self.when.is_some() {
            return Err(SyntaxError::Incomplete);
        }
        self.end_pipeline();
        Ok(List(self.list))
    }
}

impl Parser {
    /// Commands up to one of the words that close the list, which is given too; up to the end where none does.
    fn list(&mut self, closing: &[&str]) -> Result<(List, String), SyntaxError> {
        let mut reading = Reading::default();
        while let Some(token) = self.tokens.next() {
            match token {
                Token::Word(word) if reading.compound.is_some() => {
                    return Err(SyntaxError::Unexpected(plain(&word).unwrap_or_default().to_owned()));
                }
                Token::Word(word) => match plain(&word).filter(|_| reading.is_empty()) {
                    Some(end) if closing.contains(&end) && reading.pipeline.is_empty() => {
                        return Ok((reading.end()?, end.to_owned()));
                    }
                    Some(word) if CLOSING.contains(&word) => {
                        return Err(SyntaxError::Unexpected(word.to_owned()));
                    }
                    Some("for") => reading.compound = Some(self.for_loop()?),
                    Some("if") => reading.compound = Some(self.condition()?),
                    _ => match assignment(&word).filter(|_| reading.simple.words.is_empty()) {
                        Some(assign) => reading.simple.assigns.push(assign),
                        None => reading.simple.words.push(word),
                    },
                },
                Token::Operator(op @ ("&" | "<<")) => return Err(SyntaxError::Unexpected(op.to_owned())),
                Token::Operator(op @ (";" | "\n" | "&&" | "||" | "|")) => reading.separator(op)?,
                Token::Operator(op) if reading.compound.is_some() => {
                    return Err(SyntaxError::Unexpected(op.to_owned()));
                }
                Token::Operator(op) => {
                    let redirect = self.redirect(op)?;
                    reading.simple.redirects.push(redirect);
                }
            }
        }
        if !closing.is_empty() {
            return Err(SyntaxError::Incomplete);
        }
        Ok((reading.end()?, String::new()))
    }

    fn redirect(&mut self, op: &str) -> Result<(Redirect, Option<Word>), SyntaxError> {
        let redirect = redirect(op);
        if let Redirect::ErrToOut | Redirect::OutToErr = redirect {
            return Ok((redirect, None));
        }
        match self.tokens.next() {
            Some(Token::Word(word)) => Ok((redirect, Some(word))),
            _ => Err(SyntaxError::Unexpected(op.to_owned())),
        }
    }

    /// What follows `for`.
    fn for_loop(&mut self) -> Result<Command, SyntaxError> {
        let variable = self.word()?;
        if !is_variable(&variable) {
            return Err(SyntaxError::Unexpected(variable));
        }
        match self.word()?.as_str() {
            "in" => {}
            other => return Err(SyntaxError::Unexpected(other.to_owned())),
        }
        let mut words = Vec::new();
        loop {
            match self.tokens.next() {
                Some(Token::Word(word)) => words.push(word),
                Some(Token::Operator(";" | "\n")) => break,
                Some(Token::Operator(op)) => return Err(SyntaxError::Unexpected(op.to_owned())),
                None => return Err(SyntaxError::Incomplete),
            }
        }
        match self.word()?.as_str() {
            "do" => Ok(Command::For { variable, words, body: self.list(&["done"])?.0 }),
            other => Err(SyntaxError::Unexpected(other.to_owned())),
        }
    }

    /// What follows `if`.
    fn condition(&mut self) -> Result<Command, SyntaxError> {
        let (condition, _) = self.list(&["then"])?;
        let (then, end) = self.list(&["else", "fi"])?;
        let otherwise = if end == "else" { self.list(&["fi"])?.0 } else { List(Vec::new()) };
        Ok(Command::If { condition, then, otherwise })
    }

    /// A word without quotes and variables.
    fn word(&mut self) -> Result<String, SyntaxError> {
        match self.tokens.next() {
            Some(Token::Word(word)) => Ok(plain(&word).unwrap_or_default().to_owned()),
            Some(Token::Operator(op)) => Err(SyntaxError::Unexpected(op.to_owned())),
            None => Err(SyntaxError::Incomplete),
        }
    }
}

/// The text of a word that is nothing else: only such a one is a word of the language.
fn plain(word: &Word) -> Option<&str> {
    match word.parts.as_slice() {
        [Part::Text(text)] if !word.quoted => Some(text),
        _ => None,
    }
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
        Some('(') => return output(rest, quoted, word),
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

/// What follows the `$` of `$(text)`; gives what follows that. Parentheses count, quoted ones too.
fn output<'t>(rest: &'t str, quoted: bool, word: &mut Word) -> Result<&'t str, SyntaxError> {
    let mut depth = 0_usize;
    for (at, char) in rest.char_indices() {
        match char {
            '(' => depth += 1,
            ')' if depth == 1 => {
                word.parts.push(Part::Output { text: rest[1..at].to_owned(), quoted });
                return Ok(&rest[at + 1..]);
            }
            ')' => depth -= 1,
            _ => {}
        }
    }
    Err(SyntaxError::Incomplete)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words as `a|b`, commands of a pipeline joined by ` PIPE `, pipelines by their condition.
    fn show(text: &str) -> String {
        match parse(text) {
            Ok(list) => show_list(&list),
            Err(error) => format!("error: {error}"),
        }
    }

    fn show_list(list: &List) -> String {
        let simple = |simple: &Simple| {
            let word = |word: &Word| {
                let part = |part: &Part| match part {
                    Part::Text(text) => text.clone(),
                    Part::Variable { name, .. } => format!("<{name}>"),
                    Part::Output { text, .. } => format!("<({text})>"),
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
        let command = |command: &Command| match command {
            Command::Simple(command) => simple(command),
            Command::For { variable, words, body } => {
                let words = Simple { words: words.clone(), ..Simple::default() };
                format!("for {variable} in {} {{{}}}", simple(&words), show_list(body))
            }
            Command::If { condition, then, otherwise } => {
                let [condition, then, otherwise] = [condition, then, otherwise].map(show_list);
                format!("if {{{condition}}} {{{then}}} {{{otherwise}}}")
            }
        };
        let pipeline = |(when, pipeline): &(When, Pipeline)| {
            let commands: Vec<_> = pipeline.iter().map(command).collect();
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
    fn loops_conditions_and_outputs() {
        check(
            "for t in a $b; do c $t && d; done; e",
            "Always for t in a|<b> {Always c|<t>; AfterSuccess d}; Always e",
        );
        check("if a; then b\nelse c; fi | d", "Always if {Always a} {Always b} {Always c} PIPE d");
        check(
            "if a; then if b; then c; fi; fi",
            "Always if {Always a} {Always if {Always b} {Always c} {}} {}",
        );
        check("echo $(wc -c <$(a)) for if done", "Always echo|<(wc -c <$(a))>|for|if|done");
    }

    #[test]
    fn what_is_open_waits_for_more() {
        for open in
            ["echo 'a", "echo \"b", "echo \\", "a &&", "a |", "for a in b; do c", "if a; then b;", "echo $(a"]
        {
            assert_eq!(parse(open), Err(SyntaxError::Incomplete), "{open}");
        }
    }

    #[test]
    fn what_it_does_not_know_is_an_error() {
        check("done", "error: \"done\" unexpected");
        check("if a; then b; fi c", "error: \"c\" unexpected");
        check("for 1 in a; do b; done", "error: \"1\" unexpected");
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
            let Command::Simple(simple) = &list.0[0].1[0] else { panic!("{list:?}") };
            let word = &simple.words[1];
            let text: String = word.parts.iter().map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Variable { .. } | Part::Output { .. } => "no text".to_owned(),
            }).collect();
            proptest::prop_assert_eq!(text, value);
        }
    }
}
