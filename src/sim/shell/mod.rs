//! A simulated board's shell: reads lines, expands words and runs lists. `parse` reads the text, `commands` knows the
//! programs, `program` plays a build's test program. Enough of POSIX for what people and plans type at a console.

mod builds;
mod commands;
mod parse;
mod program;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use self::parse::{Command, List, Part, Redirect, Simple, SyntaxError, When, Word};
use super::faults::BootStage;
use super::script;
use super::tty::{Halt, Tty};

/// Longest script: a command line with its continuations.
const SCRIPT_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of `eval`, `sh -c`, `$(…)`, loops and conditions.
const DEPTH_MAX: usize = 16;
/// Most bytes in a pipe or in a file; more is dropped.
pub(super) const PIPE_BYTES_MAX: usize = 1024 * 1024;
/// Most files, and most variables.
const ENTRIES_MAX: usize = 500;

/// The board's file system, lost with its power.
#[derive(Debug, Default)]
pub(super) struct Files(BTreeMap<String, File>);

#[derive(Debug, Default, Clone)]
struct File {
    bytes: Vec<u8>,
    executable: bool,
}

impl Files {
    fn write(&mut self, path: String, bytes: Vec<u8>, append: bool) {
        if self.0.len() >= ENTRIES_MAX && !self.0.contains_key(&path) {
            return;
        }
        let file = self.0.entry(path).or_default();
        if !append {
            file.bytes.clear();
        }
        file.bytes.extend(bytes);
        file.bytes.truncate(PIPE_BYTES_MAX);
    }
}

/// A `c` written there makes the kernel panic.
const SYSRQ: &str = "/proc/sysrq-trigger";

/// One login's shell.
struct Shell<'f> {
    files: &'f mut Files,
    variables: BTreeMap<String, String>,
    cwd: String,
    status: i32,
    prompt: String,
}

/// Where a command's output goes.
enum Sink {
    Console,
    Buffer(Vec<u8>),
}

impl Sink {
    async fn write(&mut self, tty: &mut Tty, bytes: &[u8]) {
        match self {
            Sink::Console => tty.print_bytes(bytes).await,
            Sink::Buffer(buffer) => {
                let room = PIPE_BYTES_MAX.saturating_sub(buffer.len());
                buffer.extend(&bytes[..bytes.len().min(room)]);
            }
        }
    }
}

/// A command's streams.
struct Streams {
    stdin: Option<Vec<u8>>,
    out: Sink,
    err: ErrTo,
}

/// Where a command's complaints go.
#[derive(Clone, Copy, PartialEq)]
enum ErrTo {
    Console,
    Out,
    Nowhere,
}

impl Streams {
    async fn out(&mut self, tty: &mut Tty, text: &str) {
        self.out.write(tty, text.as_bytes()).await;
    }

    async fn err(&mut self, tty: &mut Tty, text: &str) {
        match self.err {
            ErrTo::Console => tty.print(text).await,
            ErrTo::Out => self.out.write(tty, text.as_bytes()).await,
            ErrTo::Nowhere => {}
        }
    }
}

/// Serves one login until it exits or the board ends it.
pub(super) async fn session(tty: &mut Tty, files: &mut Files) -> Halt {
    let spec = &tty.shared.spec;
    let prompt = spec.prompt.clone().unwrap_or_else(|| format!("root@{}:~# ", spec.hostname));
    let variables =
        BTreeMap::from([("HOME".to_owned(), "/root".to_owned()), ("PS2".to_owned(), "> ".to_owned())]);
    let mut shell = Shell { files, variables, cwd: "/root".to_owned(), status: 0, prompt };
    loop {
        let script = match shell.read(tty).await {
            Ok(script) => script,
            Err(Halt::Interrupted) => {
                shell.status = 130;
                continue;
            }
            Err(end) => return end,
        };
        let mut out = Sink::Console;
        match shell.run_text(tty, &script, &mut out, 0).await {
            Ok(()) => {}
            Err(Halt::Interrupted) => {
                shell.status = 130;
                tty.print(if tty.echo { "^C\n" } else { "\n" }).await;
            }
            Err(end) => return end,
        }
    }
}

impl Shell<'_> {
    /// Reads a command line, with further lines while a quote is open.
    async fn read(&mut self, tty: &mut Tty) -> Result<String, Halt> {
        let prompt = self.variables.get("PS1").unwrap_or(&self.prompt).clone();
        tty.print(&prompt).await;
        let mut script = tty.read_line(true).await?;
        while parse::parse(&script) == Err(SyntaxError::Incomplete) && script.len() < SCRIPT_BYTES_MAX {
            let more = self.variables.get("PS2").cloned().unwrap_or_default();
            tty.print(&more).await;
            script.push('\n');
            script.push_str(&tty.read_line(true).await?);
        }
        Ok(script)
    }

    /// Runs a script; its status is in `self.status`.
    fn run_text<'s>(
        &'s mut self,
        tty: &'s mut Tty,
        text: &'s str,
        out: &'s mut Sink,
        depth: usize,
    ) -> Pin<Box<dyn Future<Output = Result<(), Halt>> + Send + 's>> {
        Box::pin(async move {
            if depth > DEPTH_MAX {
                tty.print("-sh: nested too deeply\n").await;
                self.status = 2;
                return Ok(());
            }
            match parse::parse(text) {
                Ok(list) => self.run_list(tty, &list, out, depth).await,
                Err(error) => {
                    tty.print(&format!("-sh: syntax error: {error}\n")).await;
                    self.status = 2;
                    Ok(())
                }
            }
        })
    }

    fn run_list<'s>(
        &'s mut self,
        tty: &'s mut Tty,
        list: &'s List,
        out: &'s mut Sink,
        depth: usize,
    ) -> Pin<Box<dyn Future<Output = Result<(), Halt>> + Send + 's>> {
        Box::pin(async move { self.run_pipelines(tty, list, out, depth).await })
    }

    async fn run_pipelines(
        &mut self,
        tty: &mut Tty,
        list: &List,
        out: &mut Sink,
        depth: usize,
    ) -> Result<(), Halt> {
        for (when, pipeline) in &list.0 {
            let runs = match when {
                When::Always => true,
                When::AfterSuccess => self.status == 0,
                When::AfterFailure => self.status != 0,
            };
            if !runs {
                continue;
            }
            let mut piped = None;
            for (number, command) in pipeline.iter().enumerate() {
                let last = number + 1 == pipeline.len();
                let sink =
                    if last { std::mem::replace(out, Sink::Console) } else { Sink::Buffer(Vec::new()) };
                let mut streams = Streams { stdin: piped.take(), out: sink, err: ErrTo::Console };
                let ended = match command {
                    Command::Simple(simple) => self.run_simple(tty, simple, &mut streams, depth).await,
                    compound => self.run_compound(tty, compound, &mut streams, depth + 1).await,
                };
                match streams.out {
                    sink if last => *out = sink,
                    Sink::Buffer(bytes) => piped = Some(bytes),
                    Sink::Console => {}
                }
                self.status = ended?;
            }
        }
        Ok(())
    }

    /// A loop or a condition.
    async fn run_compound(
        &mut self,
        tty: &mut Tty,
        command: &Command,
        streams: &mut Streams,
        depth: usize,
    ) -> Result<i32, Halt> {
        if depth > DEPTH_MAX {
            streams.err(tty, "-sh: nested too deeply\n").await;
            return Ok(2);
        }
        self.status = 0;
        match command {
            Command::Simple(simple) => return self.run_simple(tty, simple, streams, depth).await,
            Command::For { variable, words, body } => {
                for value in self.expand_all(tty, words, depth).await? {
                    self.assign(variable, value);
                    self.run_list(tty, body, &mut streams.out, depth).await?;
                }
            }
            Command::If { condition, then, otherwise } => {
                self.run_list(tty, condition, &mut streams.out, depth).await?;
                let branch = if self.status == 0 { then } else { otherwise };
                self.status = 0;
                self.run_list(tty, branch, &mut streams.out, depth).await?;
            }
        }
        Ok(self.status)
    }

    fn assign(&mut self, name: &str, value: String) {
        if self.variables.len() < ENTRIES_MAX || self.variables.contains_key(name) {
            self.variables.insert(name.to_owned(), value);
        }
    }

    async fn run_simple(
        &mut self,
        tty: &mut Tty,
        simple: &Simple,
        streams: &mut Streams,
        depth: usize,
    ) -> Result<i32, Halt> {
        for (name, value) in &simple.assigns {
            let value = self.expand(tty, value, depth).await?.join(" ");
            self.assign(name, value);
        }
        let argv = self.expand_all(tty, &simple.words, depth).await?;
        let mut file = None;
        for (kind, target) in &simple.redirects {
            let path = match target {
                Some(word) => Some(self.expand(tty, word, depth).await?.join(" ")),
                None => None,
            };
            let path = path.map(|path| self.absolute(&path));
            match (kind, path) {
                (Redirect::ErrToOut, _) => streams.err = ErrTo::Out,
                (Redirect::OutToErr, _) => streams.out = Sink::Console,
                (Redirect::Err, _) => streams.err = ErrTo::Nowhere,
                (Redirect::In, Some(path)) => match self.files.0.get(&path) {
                    Some(file) => streams.stdin = Some(file.bytes.clone()),
                    None => {
                        streams.err(tty, &format!("-sh: can't open {path}: no such file\n")).await;
                        return Ok(1);
                    }
                },
                (Redirect::Out | Redirect::Append, Some(path)) => {
                    file = Some((path, *kind == Redirect::Append));
                }
                (_, None) => {}
            }
        }
        let Some((path, append)) = file else {
            return if argv.is_empty() { Ok(0) } else { self.command(tty, &argv, streams, depth).await };
        };
        let before = std::mem::replace(&mut streams.out, Sink::Buffer(Vec::new()));
        let ended = if argv.is_empty() { Ok(0) } else { self.command(tty, &argv, streams, depth).await };
        let Sink::Buffer(bytes) = std::mem::replace(&mut streams.out, before) else { return ended };
        match path.as_str() {
            "/dev/null" => {}
            SYSRQ if bytes.starts_with(b"c") => {
                return Err(script::panic(tty, BootStage::Test, "sysrq triggered crash").await);
            }
            _ => self.files.write(path, bytes, append),
        }
        ended
    }

    /// A word's fields: an unquoted variable is split at white space, an empty one vanishes.
    async fn expand(&mut self, tty: &mut Tty, word: &Word, depth: usize) -> Result<Vec<String>, Halt> {
        let mut fields = vec![];
        let mut field = String::new();
        let mut there = word.quoted;
        for part in &word.parts {
            match part {
                Part::Text(text) => {
                    field.push_str(text);
                    there |= !text.is_empty();
                }
                Part::Variable { quoted, .. } | Part::Output { quoted, .. } => {
                    let value = match part {
                        Part::Output { text, .. } => self.output(tty, text, depth).await?,
                        Part::Variable { name, .. } => self.value(name),
                        Part::Text(text) => text.clone(),
                    };
                    if *quoted {
                        field.push_str(&value);
                        continue;
                    }
                    for (number, piece) in value.split_whitespace().enumerate() {
                        if number > 0 {
                            fields.push(std::mem::take(&mut field));
                        }
                        field.push_str(piece);
                        there = true;
                    }
                }
            }
        }
        if there || !field.is_empty() {
            fields.push(field);
        }
        Ok(fields)
    }

    async fn expand_all(&mut self, tty: &mut Tty, words: &[Word], depth: usize) -> Result<Vec<String>, Halt> {
        let mut fields = Vec::new();
        for word in words {
            fields.extend(self.expand(tty, word, depth).await?);
        }
        Ok(fields)
    }

    /// What a command prints, without the line ends after it.
    async fn output(&mut self, tty: &mut Tty, text: &str, depth: usize) -> Result<String, Halt> {
        let mut out = Sink::Buffer(Vec::new());
        self.run_text(tty, text, &mut out, depth + 1).await?;
        let Sink::Buffer(bytes) = out else { return Ok(String::new()) };
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
    }

    fn value(&self, name: &str) -> String {
        match name {
            "?" => self.status.to_string(),
            "$" => "412".to_owned(),
            "#" => "0".to_owned(),
            "PWD" => self.cwd.clone(),
            name => self.variables.get(name).cloned().unwrap_or_default(),
        }
    }

    /// The path from the root that `path` means here.
    fn absolute(&self, path: &str) -> String {
        let whole = match path.strip_prefix('~') {
            Some(rest) => format!("/root{rest}"),
            None if path.starts_with('/') => path.to_owned(),
            None => format!("{}/{path}", self.cwd),
        };
        let mut parts: Vec<&str> = vec![];
        for part in whole.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        format!("/{}", parts.join("/"))
    }
}
