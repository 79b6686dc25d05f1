//! Where a placeholder may stand in a shell command: the command is read as POSIX sh reads it. Pure.
//!
//! A single-quoted value stays one word only where the shell is neither inside quotes nor inside anything it reads a
//! second time. So this follows quotes, substitutions, comments and here-documents, and where shells differ about
//! where one of these ends (`case` inside `$(…)`, `$'…'`, quotes inside `${…}` or backticks) it refuses the command
//! instead of guessing. A command without placeholders is the plan's own business and is not read at all.

use super::{Part, TemplateProblem};

/// Checks every placeholder of a command.
pub(super) fn check(parts: &[Part]) -> Result<(), TemplateProblem> {
    if !parts.iter().any(|part| matches!(part, Part::Value { raw: false, .. })) {
        return Ok(());
    }
    let mut symbols = Vec::new();
    let mut offset = 0;
    for part in parts {
        match part {
            Part::Text(text) => {
                symbols.extend(text.char_indices().map(|(at, c)| (offset + at, Symbol::Char(c))));
                offset += text.len();
            }
            Part::Value { raw, offset: start, end, .. } => {
                symbols.push((*start, Symbol::Value { raw: *raw }));
                offset = *end;
            }
        }
    }
    Lexer { symbols, at: 0, command: Words::default(), here_documents: Vec::new() }.top()
}

/// A character of the command, or a place for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symbol {
    Char(char),
    Value { raw: bool },
}

type Checked = Result<(), TemplateProblem>;

struct Lexer {
    symbols: Vec<(usize, Symbol)>,
    at: usize,
    command: Words,
    /// Here-documents whose bodies begin after the next newline.
    here_documents: Vec<HereDocument>,
}

struct HereDocument {
    delimiter: String,
    strip_tabs: bool,
    literal: bool,
}

/// The words of the simple command so far, as far as `eval` and `sh -c` need them.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    open: Option<String>,
    /// Whether the next word is where a redirection leads: no word of the command.
    redirecting: bool,
}

/// Stands in a word for an unquoted expansion or a raw value, which may turn out as no word at all, or as any. No
/// command holds this character itself.
const UNKNOWN: char = '\0';

/// How many words of one simple command are remembered: enough for `busybox sh -e -c`.
const WORDS_MAX: usize = 16;

impl Words {
    fn push(&mut self, c: char) {
        self.open.get_or_insert_default().push(c);
    }

    fn in_word(&self) -> bool {
        self.open.is_some()
    }

    fn end_word(&mut self) {
        if let Some(word) = self.open.take() {
            let assignment = self.done.is_empty() && word.contains('=');
            let target = std::mem::take(&mut self.redirecting);
            if assignment || target {
                return;
            }
            if self.done.len() < WORDS_MAX {
                self.done.push(word);
            } else if let Some(last) = self.done.last_mut() {
                last.push(UNKNOWN);
            }
        }
    }

    /// `<` or `>`: digits directly before it say which stream.
    fn redirect(&mut self) {
        if self.open.as_ref().is_some_and(|word| word.chars().all(|c| c.is_ascii_digit())) {
            self.open = None;
        }
        self.end_word();
        self.redirecting = true;
    }

    fn end_command(&mut self) {
        self.open = None;
        self.redirecting = false;
        self.done.clear();
    }

    /// Whether the word that now begins, or goes on, is text for another shell.
    fn is_evaluated(&self) -> bool {
        // `$(x)eval` is `eval` where what stands before it turns out as nothing.
        let is = |word: &String, names: &[&str]| {
            let known = word.replace([UNKNOWN, '$'], "");
            names.contains(&known.rsplit('/').next().unwrap_or_default())
        };
        let shell = |word: &String| is(word, &["sh", "ash", "bash", "dash", "ksh", "zsh", "su"]);
        let eval = self.done.iter().any(|word| is(word, &["eval", "trap"]));
        // What may vanish, or be the `-c`, before the value: then nobody can tell what the shell reads.
        let unsure = self.done.iter().skip_while(|word| !shell(word)).any(|word| word.contains(UNKNOWN));
        let minus_c = |word: &String| word.starts_with('-') && !word.starts_with("--") && word.ends_with('c');
        eval || unsure || self.done.iter().any(shell) && self.done.last().is_some_and(minus_c)
    }
}

impl Lexer {
    fn peek(&self) -> Option<Symbol> {
        self.symbols.get(self.at).map(|(_, symbol)| *symbol)
    }

    fn peek_char(&self, ahead: usize) -> Option<char> {
        match self.symbols.get(self.at + ahead) {
            Some((_, Symbol::Char(c))) => Some(*c),
            _ => None,
        }
    }

    /// The offset of the symbol just taken.
    fn taken(&self) -> usize {
        self.symbols[self.at - 1].0
    }

    fn take(&mut self) -> Option<Symbol> {
        let symbol = self.peek()?;
        self.at += 1;
        Some(symbol)
    }

    fn refuse<T>(&self, offset: usize, message: impl Into<String>) -> Result<T, TemplateProblem> {
        Err(TemplateProblem { offset, message: message.into() })
    }

    fn refuse_inside<T>(&self, place: &str) -> Result<T, TemplateProblem> {
        self.refuse(
            self.taken(),
            format!("a placeholder cannot stand inside {place}: it must be an unquoted word"),
        )
    }

    /// Outside of everything.
    fn top(mut self) -> Checked {
        while let Some(symbol) = self.take() {
            match symbol {
                Symbol::Value { raw } => self.value(raw)?,
                Symbol::Char('\\') => self.escape()?,
                Symbol::Char('\'') => self.single_quotes()?,
                Symbol::Char('"') => self.double_quotes()?,
                Symbol::Char('`') => {
                    self.command.push(UNKNOWN);
                    self.backticks()?;
                }
                Symbol::Char('$') => self.dollar(false)?,
                Symbol::Char('#') if !self.command.in_word() => self.comment()?,
                Symbol::Char('<') if self.peek_char(0) == Some('<') => self.here_document()?,
                Symbol::Char('<') if self.peek_char(0) == Some('\\') => {
                    return self.refuse(self.taken(), "a line cannot be continued directly after `<`");
                }
                Symbol::Char('\n') => {
                    self.command.end_command();
                    self.here_document_bodies()?;
                }
                // `>&2`, `&>file` and `>|file` redirect, and end no command.
                Symbol::Char('&' | '|') if self.is_redirection() => {}
                Symbol::Char(';' | '&' | '|' | '(' | ')') => self.command.end_command(),
                Symbol::Char('<' | '>') => self.command.redirect(),
                Symbol::Char(' ' | '\t') => self.command.end_word(),
                Symbol::Char(c) => self.command.push(c),
            }
        }
        match self.here_documents.first() {
            None => Ok(()),
            Some(document) => {
                let end = self.symbols.last().map_or(0, |(offset, _)| *offset);
                self.refuse(end, format!("the here-document has no end {:?}", document.delimiter))
            }
        }
    }

    /// Whether the `&` or `|` just taken belongs to a redirection.
    fn is_redirection(&self) -> bool {
        let before = self.at.checked_sub(2).and_then(|at| self.symbols.get(at)).map(|(_, symbol)| *symbol);
        let here = self.symbols[self.at - 1].1;
        matches!(before, Some(Symbol::Char('<' | '>')))
            || here == Symbol::Char('&') && self.peek_char(0) == Some('>')
    }

    /// A value as an unquoted word, or part of one.
    fn value(&mut self, raw: bool) -> Checked {
        if self.command.is_evaluated() {
            return self.refuse(
                self.taken(),
                "a placeholder cannot be text that another shell reads (eval, trap, sh -c)",
            );
        }
        // A raw value may end with a space, or be empty: what follows would then begin a word.
        if raw && self.peek_char(0) == Some('#') {
            return self.refuse(self.taken(), "a raw placeholder cannot stand directly before `#`");
        }
        match raw {
            true => self.command.push(UNKNOWN),
            false => drop(self.command.open.get_or_insert_default()),
        }
        Ok(())
    }

    fn escape(&mut self) -> Checked {
        let backslash = self.taken();
        match self.take() {
            Some(Symbol::Char('\n')) => self.line_goes_on(),
            Some(Symbol::Char(c)) => {
                self.command.push(c);
                Ok(())
            }
            Some(Symbol::Value { .. }) => {
                self.refuse(self.taken(), "a placeholder cannot stand directly after a backslash")
            }
            None => self.refuse(backslash, "the command ends with a backslash"),
        }
    }

    fn single_quotes(&mut self) -> Checked {
        let opened = self.taken();
        self.command.open.get_or_insert_default();
        loop {
            match self.take() {
                None => return self.refuse(opened, "this quote is never closed"),
                Some(Symbol::Char('\'')) => return Ok(()),
                Some(Symbol::Value { raw: false }) => return self.refuse_inside("quotes"),
                Some(Symbol::Value { raw: true }) => {}
                Some(Symbol::Char('\n')) => self.line_goes_on()?,
                Some(Symbol::Char(c)) => self.command.push(c),
            }
        }
    }

    fn double_quotes(&mut self) -> Checked {
        let opened = self.taken();
        self.command.open.get_or_insert_default();
        loop {
            match self.take() {
                None => return self.refuse(opened, "this quote is never closed"),
                Some(Symbol::Char('"')) => return Ok(()),
                Some(Symbol::Char('\\')) => self.escape()?,
                Some(Symbol::Char('$')) => self.dollar(true)?,
                Some(Symbol::Char('`')) => self.backticks()?,
                Some(Symbol::Value { raw: false }) => return self.refuse_inside("quotes"),
                Some(Symbol::Value { raw: true }) => {}
                Some(Symbol::Char('\n')) => self.line_goes_on()?,
                Some(Symbol::Char(c)) => self.command.push(c),
            }
        }
    }

    fn backticks(&mut self) -> Checked {
        let opened = self.taken();
        loop {
            match self.take() {
                None => return self.refuse(opened, "this backtick is never closed"),
                Some(Symbol::Char('`')) => return Ok(()),
                Some(Symbol::Value { .. }) => return self.refuse_inside("backticks"),
                Some(Symbol::Char('\'' | '"' | '\\' | '#')) => {
                    return self
                        .refuse(self.taken(), "quotes inside backticks cannot be checked; write $(…)");
                }
                Some(Symbol::Char('\n')) => self.line_goes_on()?,
                Some(Symbol::Char(_)) => {}
            }
        }
    }

    /// A newline that does not end the command: fine, unless a here-document was announced on the line, since shells
    /// then disagree about where its body begins.
    fn line_goes_on(&self) -> Checked {
        if self.here_documents.is_empty() {
            Ok(())
        } else {
            self.refuse(self.taken(), "the line that announces a here-document must end the command")
        }
    }

    /// What follows a `$`.
    fn dollar(&mut self, quoted: bool) -> Checked {
        let dollar = self.taken();
        self.command.push('$');
        if !quoted {
            self.command.push(UNKNOWN);
        }
        match self.peek() {
            Some(Symbol::Value { .. }) => {
                self.at += 1;
                self.refuse(self.taken(), "a placeholder cannot stand directly after `$`")
            }
            Some(Symbol::Char('\'')) if !quoted => {
                self.refuse(dollar, "shells disagree about $'…'; use printf, or plain quotes")
            }
            Some(Symbol::Char('\\')) if self.peek_char(1) == Some('\n') => {
                self.refuse(dollar, "a line cannot be continued directly after `$`")
            }
            Some(Symbol::Char('[')) => self.refuse(dollar, "shells disagree about $[…]; write $((…))"),
            Some(Symbol::Char('(')) => {
                self.at += 1;
                self.substitution(dollar)
            }
            Some(Symbol::Char('{')) => {
                self.at += 1;
                self.parameter(dollar)
            }
            _ => {
                self.name();
                Ok(())
            }
        }
    }

    /// The name of a variable: what it holds is unknown, and no text of the word.
    fn name(&mut self) {
        if self.peek_char(0).is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
            return;
        }
        while self.peek_char(0).is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.at += 1;
        }
    }

    /// `$(…)` and `$((…))`, up to the parenthesis that closes it.
    fn substitution(&mut self, opened: usize) -> Checked {
        let mut depth = 1;
        let mut word = String::new();
        let outer = std::mem::take(&mut self.command);
        while depth > 0 {
            let Some(symbol) = self.take() else {
                return self.refuse(opened, "this `$(` is never closed");
            };
            if let Symbol::Char(c) = symbol
                && c.is_alphanumeric()
            {
                word.push(c);
                continue;
            }
            if word == "case" {
                return self
                    .refuse(opened, "`case` inside $(…) cannot be checked; set a variable in a step before");
            }
            let begins_word = word.is_empty();
            word.clear();
            match symbol {
                Symbol::Value { .. } => return self.refuse_inside("$(…)"),
                Symbol::Char('(') => depth += 1,
                Symbol::Char(')') => depth -= 1,
                Symbol::Char('\\') if self.peek_char(0) == Some('\n') => {
                    return self.refuse(self.taken(), "a line cannot be continued inside $(…)");
                }
                Symbol::Char('\\') => self.escape()?,
                Symbol::Char('\'') => self.single_quotes()?,
                Symbol::Char('"') => self.double_quotes()?,
                Symbol::Char('`') => self.backticks()?,
                Symbol::Char('$') => self.dollar(false)?,
                Symbol::Char('\n') => self.line_goes_on()?,
                Symbol::Char('#') if begins_word => {
                    return self.refuse(self.taken(), "`#` inside $(…) cannot be checked; quote it");
                }
                Symbol::Char('<') if self.peek_char(0) == Some('<') => {
                    return self.refuse(self.taken(), "a here-document inside $(…) cannot be checked");
                }
                Symbol::Char(_) => {}
            }
        }
        self.command = outer;
        Ok(())
    }

    /// `${…}` with nothing but plain characters in it.
    fn parameter(&mut self, opened: usize) -> Checked {
        loop {
            match self.take() {
                None => return self.refuse(opened, "this `${` is never closed"),
                Some(Symbol::Char('}')) => return Ok(()),
                Some(Symbol::Value { .. }) => return self.refuse_inside("${…}"),
                Some(Symbol::Char(c)) if c.is_ascii_alphanumeric() || "_#?@*!:=+%/.,-".contains(c) => {}
                Some(Symbol::Char(_)) => {
                    let message = "quotes, blanks and nesting inside ${…} cannot be checked";
                    return self.refuse(self.taken(), message);
                }
            }
        }
    }

    fn comment(&mut self) -> Checked {
        while let Some(symbol) = self.peek() {
            match symbol {
                Symbol::Char('\n') => return Ok(()),
                Symbol::Char(_) => self.at += 1,
                Symbol::Value { .. } => {
                    self.at += 1;
                    return self.refuse_inside("a comment");
                }
            }
        }
        Ok(())
    }

    /// `<<WORD`: remembers what ends the document that begins on the next line.
    fn here_document(&mut self) -> Checked {
        let opened = self.taken();
        self.at += 1;
        self.command.end_word();
        let strip_tabs = self.peek_char(0) == Some('-');
        self.at += usize::from(strip_tabs);
        while matches!(self.peek_char(0), Some(' ' | '\t')) {
            self.at += 1;
        }
        let quote = self.peek_char(0).filter(|c| matches!(c, '\'' | '"'));
        self.at += usize::from(quote.is_some());
        let mut delimiter = String::new();
        while let Some(c) = self.peek_char(0).filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
            delimiter.push(c);
            self.at += 1;
        }
        let closed = match quote {
            Some(quote) => self.peek_char(0) == Some(quote),
            None => self.peek().is_none_or(|symbol| {
                matches!(symbol, Symbol::Char('\n' | ' ' | '\t' | ';' | '|' | '&' | '>'))
            }),
        };
        if delimiter.is_empty() || !closed {
            return self.refuse(
                opened,
                "the end of this here-document cannot be found: name it with letters, such as <<EOF",
            );
        }
        self.at += usize::from(quote.is_some());
        self.here_documents.push(HereDocument { delimiter, strip_tabs, literal: quote.is_some() });
        Ok(())
    }

    /// The bodies of the here-documents that were announced on the line before.
    fn here_document_bodies(&mut self) -> Checked {
        for document in std::mem::take(&mut self.here_documents) {
            loop {
                if self.peek().is_none() {
                    let end = self.taken();
                    return self
                        .refuse(end, format!("the here-document has no end {:?}", document.delimiter));
                }
                if self.here_document_line(&document)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// One line of a here-document; whether it was the last.
    fn here_document_line(&mut self, document: &HereDocument) -> Result<bool, TemplateProblem> {
        let mut line = String::new();
        loop {
            match self.take() {
                None | Some(Symbol::Char('\n')) => break,
                Some(Symbol::Value { .. }) => return self.refuse_inside("a here-document"),
                Some(Symbol::Char(c)) => line.push(c),
            }
        }
        if !document.literal && line.ends_with('\\') {
            return self.refuse(
                self.taken(),
                "a line of a here-document that ends with a backslash cannot be checked",
            );
        }
        let text = if document.strip_tabs { line.trim_start_matches('\t') } else { &line };
        Ok(text == document.delimiter)
    }
}
