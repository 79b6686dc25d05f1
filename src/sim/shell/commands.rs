//! The programs of a simulated board's shell. Each gets its words and streams and gives an exit status.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::{ENTRIES_MAX, Halt, PIPE_BYTES_MAX, Shell, Streams, Tty, parse};

/// Longest `sleep`.
const SLEEP_SECONDS_MAX: f64 = 86_400.0;
/// Length of a line of base64.
const BASE64_LINE: usize = 76;
/// What `command -v` finds.
const PROGRAMS: [&str; 10] = ["base64", "cat", "dd", "grep", "head", "mv", "rm", "sha256sum", "tail", "wc"];
/// Status of a command that does not exist, as POSIX has it.
pub(super) const NOT_FOUND: i32 = 127;

impl Shell<'_> {
    /// Runs one command.
    pub(super) async fn command(
        &mut self,
        tty: &mut Tty,
        argv: &[String],
        io: &mut Streams,
        depth: usize,
    ) -> Result<i32, Halt> {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["eval", rest @ ..] => self.nested(tty, &rest.join(" "), io, depth).await,
            ["sh" | "bash", "-c", text, ..] => self.nested(tty, text, io, depth).await,
            ["exit"] => Err(Halt::Exit(self.status)),
            ["exit", status, ..] => Err(Halt::Exit(status.parse().unwrap_or(2))),
            ["reboot"] => {
                tty.printk(4, "reboot: Restarting system").await;
                Err(Halt::Reset)
            }
            ["poweroff" | "halt"] => {
                tty.printk(4, "reboot: System halted").await;
                Err(Halt::Dead)
            }
            ["sleep", time] => {
                let seconds =
                    time.trim_end_matches('s').parse::<f64>().ok().filter(|s| s.is_finite() && *s >= 0.0);
                let Some(seconds) = seconds else {
                    return usage(tty, io, &format!("sleep: invalid time interval '{time}'")).await;
                };
                tty.pause(Duration::from_secs_f64(seconds.min(SLEEP_SECONDS_MAX))).await?;
                Ok(0)
            }
            ["wget", options @ ..] => self.wget(tty, options, io).await,
            ["cat"] if io.stdin.is_none() => self.copy_typed(tty, io).await,
            [program, arguments @ ..] if program.contains('/') => {
                self.run_file(tty, program, arguments, io, depth).await
            }
            words => match self.state_command(tty, words) {
                Some(status) => Ok(status),
                None => match self.file_command(tty, words, io).await {
                    Some(status) => Ok(status),
                    None => self.text_command(tty, words, io).await,
                },
            },
        }
    }

    pub(super) async fn nested(
        &mut self,
        tty: &mut Tty,
        text: &str,
        io: &mut Streams,
        depth: usize,
    ) -> Result<i32, Halt> {
        if text.trim().is_empty() {
            return Ok(0);
        }
        self.run_text(tty, text, &mut io.out, depth + 1).await?;
        Ok(self.status)
    }

    /// Commands that change the shell itself and print nothing.
    fn state_command(&mut self, tty: &mut Tty, words: &[&str]) -> Option<i32> {
        match words {
            [
                "true" | ":" | "set" | "bind" | "trap" | "sync" | "mount" | "umount" | "ulimit" | "alias",
                ..,
            ] => Some(0),
            ["false", ..] => Some(1),
            ["cd", path @ ..] => {
                self.cwd = self.absolute(path.first().unwrap_or(&"~"));
                Some(0)
            }
            ["unset", names @ ..] => {
                for name in names {
                    self.variables.remove(*name);
                }
                Some(0)
            }
            ["export", assigns @ ..] => {
                for (name, value) in assigns.iter().filter_map(|assign| assign.split_once('=')) {
                    if parse::is_variable(name) && self.variables.len() < ENTRIES_MAX {
                        self.variables.insert(name.to_owned(), value.to_owned());
                    }
                }
                Some(0)
            }
            ["stty", modes @ ..] => {
                for mode in modes {
                    match *mode {
                        "-echo" => tty.echo = false,
                        "echo" | "sane" => tty.echo = true,
                        _ => {}
                    }
                }
                Some(0)
            }
            ["dmesg", "-n", level] => {
                tty.console_level = level.parse().unwrap_or(7);
                Some(0)
            }
            _ => None,
        }
    }

    /// Commands on files; `None` for a command that is not one.
    async fn file_command(&mut self, tty: &mut Tty, words: &[&str], io: &mut Streams) -> Option<i32> {
        match words {
            ["chmod", mode, paths @ ..] => {
                let executable = mode.contains('x') || mode.ends_with(['1', '3', '5', '7']);
                let mut status = 0;
                for path in paths {
                    match self.files.0.get_mut(&self.absolute(path)) {
                        Some(file) => file.executable = executable,
                        None => status = missing(tty, io, "chmod", path).await,
                    }
                }
                Some(status)
            }
            ["rm", paths @ ..] => {
                let force = paths.iter().any(|path| path.starts_with('-') && path.contains('f'));
                let mut status = 0;
                for path in paths.iter().filter(|path| !path.starts_with('-')) {
                    if self.files.0.remove(&self.absolute(path)).is_none() && !force {
                        status = missing(tty, io, "rm", path).await;
                    }
                }
                Some(status)
            }
            ["mv", paths @ ..] => {
                let paths: Vec<&&str> = paths.iter().filter(|path| !path.starts_with('-')).collect();
                let [from, to] = paths.as_slice() else { return Some(1) };
                match self.files.0.remove(&self.absolute(from)) {
                    Some(file) => {
                        self.files.0.insert(self.absolute(to), file);
                        Some(0)
                    }
                    None => Some(missing(tty, io, "mv", from).await),
                }
            }
            ["dd", operands @ ..] => Some(self.dd(tty, operands, io).await),
            ["mkdir", ..] => Some(0),
            ["ls", paths @ ..] => {
                let folder = paths.iter().find(|path| !path.starts_with('-')).unwrap_or(&".");
                let folder = format!("{}/", self.absolute(folder).trim_end_matches('/'));
                let names: Vec<String> = self
                    .files
                    .0
                    .keys()
                    .filter_map(|path| path.strip_prefix(&folder))
                    .map(str::to_owned)
                    .collect();
                for name in names {
                    io.out(tty, &format!("{name}\n")).await;
                }
                Some(0)
            }
            ["test", condition @ ..] | ["[", condition @ .., "]"] => Some(self.test(condition)),
            ["base64" | "sha256sum" | "cat" | "tail" | "head" | "grep" | "wc", ..] => {
                let (input, complaint) = self.input(&words[1..], io, words[0]);
                match complaint {
                    Some(complaint) => {
                        io.err(tty, &complaint).await;
                        Some(1)
                    }
                    None => Some(filter(tty, words, &input, io).await),
                }
            }
            _ => None,
        }
    }

    /// Copies blocks of a file, or of what is piped to it, to a place in another, or to the output.
    async fn dd(&mut self, tty: &mut Tty, operands: &[&str], io: &mut Streams) -> i32 {
        let operand =
            |name: &str| operands.iter().find_map(|operand| operand.strip_prefix(name)?.strip_prefix('='));
        let number = |name: &str, default: usize| {
            operand(name).and_then(|text| text.parse::<usize>().ok()).unwrap_or(default)
        };
        let input = match operand("if") {
            None => io.stdin.take().unwrap_or_default(),
            Some(path) => match self.files.0.get(&self.absolute(path)) {
                Some(file) => file.bytes.clone(),
                None => return missing(tty, io, "dd", path).await,
            },
        };
        let block = number("bs", 512).max(1);
        let bytes = input.into_iter().skip(number("skip", 0).saturating_mul(block));
        let bytes: Vec<u8> = bytes.take(number("count", usize::MAX).saturating_mul(block)).collect();
        let Some(path) = operand("of").map(|path| self.absolute(path)) else {
            io.out.write(tty, &bytes).await;
            return 0;
        };
        let kept = operand("conv") == Some("notrunc");
        let mut whole =
            self.files.0.get(&path).filter(|_| kept).map(|file| file.bytes.clone()).unwrap_or_default();
        let at = number("seek", 0).saturating_mul(block).min(PIPE_BYTES_MAX);
        whole.resize(whole.len().max(at + bytes.len()), 0);
        whole[at..at + bytes.len()].copy_from_slice(&bytes);
        self.files.write(path, whole, false);
        0
    }

    fn test(&self, condition: &[&str]) -> i32 {
        let file = |path: &str| self.files.0.get(&self.absolute(path));
        let holds = match condition {
            ["!", rest @ ..] => self.test(rest) != 0,
            ["-f" | "-e" | "-r", path] => file(path).is_some(),
            ["-x", path] => file(path).is_some_and(|file| file.executable),
            ["-s", path] => file(path).is_some_and(|file| !file.bytes.is_empty()),
            ["-d", path] => matches!(self.absolute(path).as_str(), "/" | "/tmp" | "/root"),
            ["-z", text] => text.is_empty(),
            ["-n", text] | [text] => !text.is_empty(),
            [a, "=", b] => a == b,
            [a, "!=", b] => a != b,
            [a, "-eq", b] => a.parse::<i64>().ok() == b.parse().ok(),
            [a, "-ne", b] => a.parse::<i64>().ok() != b.parse().ok(),
            _ => false,
        };
        i32::from(!holds)
    }

    /// What a filter reads: its files, else what is piped to it. The second is its complaint about a missing file.
    fn input(&self, arguments: &[&str], io: &mut Streams, program: &str) -> (Vec<u8>, Option<String>) {
        let mut words = arguments.iter().filter(|word| !word.starts_with('-')).peekable();
        match program {
            "grep" => {
                words.next();
            }
            // `-n 5`, `-c 5` take a value of their own.
            "tail" | "head" if arguments.iter().any(|word| matches!(*word, "-n" | "-c")) => {
                words.next();
            }
            _ => {}
        }
        if words.peek().is_none() {
            return (io.stdin.take().unwrap_or_default(), None);
        }
        let mut input = Vec::new();
        for path in words {
            match (self.files.0.get(&self.absolute(path)), *path) {
                (Some(file), _) if input.len() + file.bytes.len() <= PIPE_BYTES_MAX => {
                    input.extend(&file.bytes)
                }
                (Some(_), _) | (None, "/dev/null") => {}
                (None, "/etc/hostname") => input.extend(b"board\n"),
                (None, "/proc/cpuinfo") => input.extend(b"processor\t: 0\nCPU part\t: 0xd05\n"),
                (None, path) => {
                    let text = format!("{program}: can't open '{path}': No such file or directory\n");
                    return (input, Some(text));
                }
            }
        }
        (input, None)
    }

    /// `cat` without a file: copies what is typed until Ctrl-D.
    async fn copy_typed(&mut self, tty: &mut Tty, io: &mut Streams) -> Result<i32, Halt> {
        loop {
            match tty.read_line(true).await {
                Ok(line) => io.out(tty, &format!("{line}\n")).await,
                Err(Halt::Exit(_)) => return Ok(0),
                Err(end) => return Err(end),
            }
        }
    }

    /// Commands that only print.
    async fn text_command(&mut self, tty: &mut Tty, words: &[&str], io: &mut Streams) -> Result<i32, Halt> {
        let text = match words {
            ["echo", "-n", rest @ ..] => rest.join(" "),
            ["echo", rest @ ..] => format!("{}\n", rest.join(" ")),
            ["printf", format, rest @ ..] => printf(format, rest),
            ["command", "-v", name] if PROGRAMS.contains(name) => format!("/usr/bin/{name}\n"),
            ["command", "-v", _] => return Ok(NOT_FOUND),
            ["pwd"] => format!("{}\n", self.cwd),
            ["uname"] => "Linux\n".to_owned(),
            ["uname", "-r"] => "6.6.52-lab\n".to_owned(),
            ["uname", ..] => {
                format!("Linux {} 6.6.52-lab #1 SMP PREEMPT aarch64 GNU/Linux\n", tty.shared.spec.hostname)
            }
            ["hostname"] => format!("{}\n", tty.shared.spec.hostname),
            ["id", ..] => "uid=0(root) gid=0(root) groups=0(root)\n".to_owned(),
            ["env"] => self.variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect(),
            ["dmesg", ..] => tty.kernel_log.iter().map(|line| format!("{line}\n")).collect(),
            ["ps", ..] => "  PID USER     COMMAND\n    1 root     init\n  412 root     -sh\n".to_owned(),
            ["kill", target @ ..] => {
                let pid = target.last().copied().unwrap_or("");
                io.err(tty, &format!("-sh: kill: ({pid}) - No such process\n")).await;
                return Ok(1);
            }
            [] => return Ok(0),
            [unknown, ..] => {
                io.err(tty, &format!("-sh: {unknown}: not found\n")).await;
                return Ok(NOT_FOUND);
            }
        };
        io.out(tty, &text).await;
        Ok(0)
    }
}

pub(super) async fn usage(tty: &mut Tty, io: &mut Streams, text: &str) -> Result<i32, Halt> {
    io.err(tty, &format!("{text}\n")).await;
    Ok(1)
}

async fn missing(tty: &mut Tty, io: &mut Streams, program: &str, path: &str) -> i32 {
    io.err(tty, &format!("{program}: {path}: No such file or directory\n")).await;
    1
}

/// Programs that turn input into output.
async fn filter(tty: &mut Tty, words: &[&str], input: &[u8], io: &mut Streams) -> i32 {
    let text = String::from_utf8_lossy(input);
    let lines: Vec<&str> = text.lines().collect();
    let count = words.iter().filter_map(|word| word.trim_start_matches('-').parse::<usize>().ok()).next();
    let wanted = count.unwrap_or(10).min(lines.len());
    let picked: Vec<&str> = match words {
        ["cat", ..] => {
            io.out.write(tty, input).await;
            return 0;
        }
        ["base64", "-d", ..] => {
            let text: String = text.split_whitespace().collect();
            let Ok(bytes) = STANDARD.decode(text) else {
                io.err(tty, "base64: invalid input\n").await;
                return 1;
            };
            io.out.write(tty, &bytes).await;
            return 0;
        }
        ["base64", ..] => {
            for line in STANDARD.encode(input).as_bytes().chunks(BASE64_LINE) {
                io.out.write(tty, &[line, b"\n"].concat()).await;
            }
            return 0;
        }
        ["sha256sum", rest @ ..] => {
            let name = rest.first().unwrap_or(&"-");
            io.out(tty, &format!("{}  {name}\n", hex::encode(Sha256::digest(input)))).await;
            return 0;
        }
        ["wc", "-c", ..] => {
            io.out(tty, &format!("{}\n", input.len())).await;
            return 0;
        }
        ["wc", ..] => {
            io.out(tty, &format!("{}\n", lines.len())).await;
            return 0;
        }
        ["tail", ..] => lines[lines.len() - wanted..].to_vec(),
        ["head", ..] => lines[..wanted].to_vec(),
        words => {
            let inverted = words.iter().any(|word| word.starts_with('-') && word.contains('v'));
            let pattern = words[1..].iter().find(|word| !word.starts_with('-')).unwrap_or(&"");
            lines.into_iter().filter(|line| line.contains(pattern) != inverted).collect()
        }
    };
    for line in &picked {
        io.out(tty, &format!("{line}\n")).await;
    }
    i32::from(words[0] == "grep" && picked.is_empty())
}

/// `printf` with `%s`, `%d`, `%%` and the usual escapes; the format repeats while arguments are left.
fn printf(format: &str, arguments: &[&str]) -> String {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    loop {
        let before = arguments.len();
        let mut chars = format.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '%' => match chars.next() {
                    Some('s' | 'd' | 'i' | 'u' | 'b') => out.push_str(arguments.next().unwrap_or(&"")),
                    Some('%') | None => out.push('%'),
                    Some(other) => out.extend(['%', other]),
                },
                '\\' => match chars.next() {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some(digit @ '0'..='7') => {
                        let mut value = digit as u32 - '0' as u32;
                        while let Some(next) = chars.peek().and_then(|c| c.to_digit(8)).filter(|_| value < 32)
                        {
                            value = value * 8 + next;
                            chars.next();
                        }
                        out.push(char::from_u32(value).unwrap_or('?'));
                    }
                    Some(other) => out.push(other),
                    None => out.push('\\'),
                },
                char => out.push(char),
            }
        }
        if arguments.len() == 0 || arguments.len() == before || out.len() > PIPE_BYTES_MAX {
            return out;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printf_repeats_its_format_and_knows_escapes() {
        assert_eq!(printf("%s\\n", &["a", "b"]), "a\nb\n");
        assert_eq!(printf("%s", &[]), "");
        assert_eq!(printf("100%% \\101\\t%x", &[]), "100% A\t%x");
        assert_eq!(printf("plain", &["left over"]), "plain");
    }
}
