//! Builds on a simulated board: downloading one, and running its test program. Called by `commands`; what a program
//! does is decided in `program`.

use std::time::Duration;

use super::commands::{NOT_FOUND, usage};
use super::program::{self, Event};
use super::{File, Halt, Shell, Streams, Tty};
use crate::sim::faults::BootStage;
use crate::sim::script;

/// Status of a file that cannot be run.
const NOT_EXECUTABLE: i32 = 126;

impl Shell<'_> {
    /// "Downloads" a test program: checks the address, then makes a file that plays the build.
    pub(super) async fn wget(
        &mut self,
        tty: &mut Tty,
        options: &[&str],
        io: &mut Streams,
    ) -> Result<i32, Halt> {
        let mut target = None;
        let mut url = None;
        let mut quiet = false;
        let mut words = options.iter();
        while let Some(word) = words.next() {
            match *word {
                "-O" => target = words.next().map(|path| path.to_string()),
                "-T" | "-t" => {
                    words.next();
                }
                "-q" | "--quiet" => quiet = true,
                "-qO" => {
                    quiet = true;
                    target = words.next().map(|path| path.to_string());
                }
                option if option.starts_with('-') => {}
                address => url = Some(address),
            }
        }
        let path = url.and_then(|url| {
            let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
            let (host, path) = rest.split_once('/')?;
            let plain = !host.is_empty()
                && !path.is_empty()
                && !url.contains(|c: char| c.is_whitespace() || c.is_control());
            plain.then(|| path.split(['?', '#']).next().unwrap_or(path))
        });
        let Some(path) = path else {
            return usage(tty, io, &format!("wget: bad address '{}'", url.unwrap_or_default())).await;
        };
        tty.pause(Duration::from_millis(700)).await?;
        if path.contains("missing") {
            io.err(tty, "wget: server returned error: HTTP/1.1 404 Not Found\n").await;
            return Ok(1);
        }
        let target = target.unwrap_or_else(|| path.rsplit('/').next().unwrap_or("index.html").to_owned());
        let bytes = format!("{}{path}\n", program::MAGIC).into_bytes();
        if target == "-" {
            io.out.write(tty, &bytes).await;
            return Ok(0);
        }
        let target = self.absolute(&target);
        if !quiet {
            io.err(tty, &format!("saving to '{target}'\n'{target}' saved\n")).await;
        }
        self.files.write(target, bytes, false);
        Ok(0)
    }

    pub(super) async fn run_file(
        &mut self,
        tty: &mut Tty,
        program: &str,
        arguments: &[&str],
        io: &mut Streams,
        depth: usize,
    ) -> Result<i32, Halt> {
        let Some(File { bytes, executable }) = self.files.0.get(&self.absolute(program)).cloned() else {
            io.err(tty, &format!("-sh: {program}: not found\n")).await;
            return Ok(NOT_FOUND);
        };
        if !executable {
            io.err(tty, &format!("-sh: {program}: Permission denied\n")).await;
            return Ok(NOT_EXECUTABLE);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some(path) = text.strip_prefix(program::MAGIC) else {
            return self.nested(tty, &text, io, depth).await;
        };
        let iterations = match arguments {
            ["--iterations", number] => number.parse().unwrap_or(1),
            _ => 1,
        };
        let build = program::build_of(path.trim()).to_owned();
        self.run_build(tty, &build, iterations, io).await
    }

    /// Plays a build's test program.
    async fn run_build(
        &mut self,
        tty: &mut Tty,
        build: &str,
        iterations: u32,
        io: &mut Streams,
    ) -> Result<i32, Halt> {
        for event in program::script(build, iterations) {
            match event {
                Event::Line(line) => io.out(tty, &format!("{line}\n")).await,
                Event::Raw(bytes) => io.out.write(tty, &bytes).await,
                Event::Printk(text) => tty.printk(6, &text).await,
                Event::Oops(text) => tty.printk(0, &text).await,
                Event::Pause(real) => tty.pause_test(real).await?,
                Event::Middle => tty.pass(BootStage::Test).await?,
                Event::Panic => return Err(script::panic(tty, BootStage::Test, "npu: fatal bus error").await),
                Event::Hang => return Err(Halt::Dead),
                Event::Reset => return Err(Halt::Reset),
                Event::HangUp => tty.hang_up().await,
                Event::Exit(status) => return Ok(status),
            }
        }
        Ok(0)
    }
}
