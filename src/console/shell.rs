//! One shell command on a console: framed by random markers, its exact output and status taken back out of the
//! stream. The markers are split by quotes where they are typed, so that no echo matches them. Pure: the session
//! sends the bytes and feeds what comes back.

use memchr::{memchr, memmem};

use super::clean;
use super::printk::{Piece, PrintkFilter};

/// Longest line a terminal in canonical mode takes, its newline included (Linux n_tty); the rest of a longer one
/// is lost.
pub const TTY_LINE_BYTES_MAX: usize = 4095;
/// Longest command, in bytes as it is typed.
pub const COMMAND_BYTES_MAX: usize = 64 * 1024;
/// Output kept of one command; the transcript has all of it.
pub const OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Of these, how many are the newest; the others are the first.
const OUTPUT_TAIL_BYTES_MAX: usize = OUTPUT_BYTES_MAX / 4;
/// Longest line that is held until it ends; a longer one goes on in pieces.
const CAPTURE_LINE_BYTES_MAX: usize = 64 * 1024;
/// Letters of a marker.
pub const MARKER_LETTERS: usize = 10;

/// Quiets a shell once per login: no echo, no prompts, no history, only the worst kernel messages.
pub const SETUP: &str = "stty -echo; PS1= PS2= PROMPT_COMMAND=; unset HISTFILE";
/// Keeps all but a dying kernel's messages off the console; follows [`SETUP`] where the lab file does not forbid it.
pub const QUIET_KERNEL: &str = "; dmesg -n 1 2>/dev/null";
/// How much of [`SETUP`] shows on the first line of an echo that a shell wraps.
const SETUP_HEAD: &str = "stty -echo; PS1= PS2= ";
/// Gives a shell back as a person wants to find it.
pub const RESTORE: &str = "stty echo; PS1='$ ' PS2='> '";

/// Random letters that a console does not print by chance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker(String);

/// A command that cannot be typed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShellError {
    /// A line of it is longer than a terminal takes.
    #[error(
        "a line of the command has {bytes} bytes as it is typed, a terminal takes {TTY_LINE_BYTES_MAX}: put it into a file on the board"
    )]
    LineTooLong {
        /// Bytes of that line.
        bytes: usize,
    },
    /// All of it is longer than [`COMMAND_BYTES_MAX`].
    #[error(
        "the command has {bytes} bytes as it is typed, at most {COMMAND_BYTES_MAX} are sent: put it into a file on the board"
    )]
    TooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// It holds a NUL, which no command line can.
    #[error("the command holds a NUL byte")]
    Nul,
}

/// What a command printed and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShellResult {
    /// Its output with `\n` newlines and without kernel messages.
    pub output: Vec<u8>,
    /// Its output with the kernel messages that came meanwhile, each on its own line; `None` when there was none.
    /// What a `dmesg` printed is here.
    pub with_kernel: Option<Vec<u8>>,
    /// Its exit status.
    pub status: i32,
    /// Bytes missing in the middle of `output`, where a line says so.
    pub cut: u64,
}

impl ShellResult {
    /// The output as it is best kept in a file: with kernel messages, should the command have printed them.
    pub fn full(&self) -> &[u8] {
        self.with_kernel.as_deref().unwrap_or(&self.output)
    }
}

impl Marker {
    /// From random letters ([`MARKER_LETTERS`] of them, from `Ids::letters`).
    pub fn new(letters: String) -> Self {
        Marker(letters)
    }

    /// As it is typed: what it prints is not what it looks like.
    fn split(&self) -> String {
        let (a, b) = self.0.split_at(self.0.floor_char_boundary(self.0.len() / 2));
        format!("{a}''{b}")
    }

    /// Whether a line shows it, as it is typed or as it is printed: such a line is ours and not the board's. Half of it
    /// counts where a terminal that wraps lines, or a console that loses bytes, leaves half.
    pub fn shows_in(&self, line: &str) -> bool {
        let (a, b) = self.0.split_at(self.0.floor_char_boundary(self.0.len() / 2));
        let line = line.trim_end();
        !a.is_empty()
            && (line.contains(&self.0)
                || line.contains(&self.split())
                || line.starts_with(b)
                || [format!("S{a}"), format!("E{a}")].iter().any(|begun| line.ends_with(begun.as_str())))
    }

    /// Whether half of it is the last thing in `text`: an end marker was mangled on its way.
    pub fn is_mangled_in(&self, text: &[u8]) -> bool {
        let tail = &text[text.len().saturating_sub(4 * MARKER_LETTERS)..];
        let (a, b) = self.0.as_bytes().split_at(self.0.len() / 2);
        !self.0.is_empty() && (memmem::find(tail, a).is_some() || memmem::find(tail, b).is_some())
    }
}

/// A word that a POSIX shell reads as exactly `text`.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The line that runs `command` between markers; lines end in `\n`, the last one too. The shell's state stays: the
/// command is evaluated by the login shell itself.
pub fn frame(command: &str, marker: &Marker) -> Result<Vec<u8>, ShellError> {
    if command.contains('\0') {
        return Err(ShellError::Nul);
    }
    let m = marker.split();
    let line = format!("echo S{m}; eval {}; __r=$?; echo; echo E{m} $__r\n", typed(command));
    if line.len() > COMMAND_BYTES_MAX {
        return Err(ShellError::TooLong { bytes: line.len() });
    }
    match line.split_inclusive('\n').map(str::len).max() {
        Some(bytes) if bytes > TTY_LINE_BYTES_MAX => Err(ShellError::LineTooLong { bytes }),
        _ => Ok(line.into_bytes()),
    }
}

/// Whether a line shows what [`frame`] types around a command or what makes a shell quiet, whatever became of the
/// markers in it: shells wrap what they echo.
pub fn shows_frame(line: &str) -> bool {
    line.contains("; __r=$?; echo") || line.contains(" $__r") || line.contains(SETUP_HEAD)
}

/// The line that asks for the last command's end marker again.
pub fn reask(marker: &Marker) -> Vec<u8> {
    format!("echo; echo E{} $__r\n", marker.split()).into_bytes()
}

/// The line that only a shell answers with the marker, after running `first`.
pub fn proof(first: &str, marker: &Marker) -> Vec<u8> {
    let first = if first.is_empty() { String::new() } else { format!("{first}; ") };
    format!("{first}echo {}\n", marker.split()).into_bytes()
}

/// Whether a line of `text` is the answer to [`proof`].
pub fn is_proven(text: &str, marker: &Marker) -> bool {
    text.lines().any(|line| line.trim_end().ends_with(&marker.0))
}

/// Takes a command's result out of everything that was received since it was sent, once it is complete.
pub fn extract(stream: &[u8], marker: &Marker) -> Option<ShellResult> {
    let mut capture = Capture::new(marker.clone());
    capture.feed(stream, &mut |_| {});
    capture.done()?.ok()
}

/// The command as one word. A terminal acts on control characters, a line editor on tabs: with any of them in it
/// the command travels as the text of a `printf`.
fn typed(command: &str) -> String {
    if !command.bytes().any(|b| (b < 0x20 && b != b'\n') || b == 0x7f) {
        return quote(command);
    }
    let mut format = String::new();
    for c in command.chars() {
        match c {
            '%' => format.push_str("%%"),
            '\\' => format.push_str(r"\\"),
            '\n' => format.push_str(r"\n"),
            c if c.is_ascii_control() => format.push_str(&format!("\\{:03o}", c as u32)),
            c => format.push(c),
        }
    }
    format!("\"$(printf {})\"", quote(&format))
}

/// Takes a command's output and status out of a stream, bounded however much it prints.
pub struct Capture {
    marker: Marker,
    kernel: PrintkFilter,
    user: User,
    with_kernel: Option<Bounded>,
}

/// The end marker came and the start marker did not: what was printed between them is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartLost {
    /// The command's exit status.
    pub status: i32,
}

/// The stream without kernel messages.
#[derive(Default)]
struct User {
    phase: Phase,
    line: Vec<u8>,
    /// Whether a newline was seen and not kept yet: the last one before the end marker is not the command's.
    owed: bool,
    /// Whether the newest line is empty and was not told yet: the last one is not the command's.
    untold: bool,
    output: Bounded,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Waiting,
    Inside,
    Done {
        status: i32,
        started: bool,
    },
}

impl Capture {
    /// For the command framed with `marker`.
    pub fn new(marker: Marker) -> Self {
        Capture { marker, kernel: PrintkFilter::default(), user: User::default(), with_kernel: None }
    }

    /// For a command whose output nobody wants but line by line: none of it is held.
    pub fn without_output(marker: Marker) -> Self {
        let mut capture = Capture::new(marker);
        capture.user.output.nothing = true;
        capture
    }

    /// Takes received bytes; calls `on_line` with each cleaned line between the markers, kernel messages among them.
    pub fn feed(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(&str)) {
        let Capture { marker, kernel, user, with_kernel } = self;
        kernel.feed(bytes, &mut |piece| match piece {
            Piece::User(text) => user.feed(text, marker, &mut |line| {
                if let Some(full) = with_kernel {
                    full.line(line);
                }
                clean::line(line, on_line);
            }),
            Piece::Kernel(message) if user.phase == Phase::Inside => {
                let message = trim(message);
                with_kernel.get_or_insert_with(|| user.output.with_newline()).line(message);
                clean::line(message, on_line);
            }
            Piece::Kernel(_) => {}
        });
    }

    /// Whether the command is known to have begun.
    pub fn has_started(&self) -> bool {
        self.user.phase != Phase::Waiting
    }

    /// The result, once the end marker has come.
    pub fn done(&mut self) -> Option<Result<ShellResult, StartLost>> {
        let Phase::Done { status, started } = self.user.phase else {
            return None;
        };
        if !started {
            return Some(Err(StartLost { status }));
        }
        let (output, cut) = std::mem::take(&mut self.user.output).finish();
        let with_kernel = self.with_kernel.take().map(|full| full.finish().0);
        Some(Ok(ShellResult { output, with_kernel, status, cut }))
    }
}

impl User {
    fn feed(&mut self, bytes: &[u8], marker: &Marker, on_line: &mut dyn FnMut(&[u8])) {
        let mut rest = bytes;
        while !rest.is_empty() && !matches!(self.phase, Phase::Done { .. }) {
            let end = memchr(b'\n', rest);
            self.line.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            rest = end.map_or(&[], |at| &rest[at + 1..]);
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                self.line_ended(trim(&line), marker, on_line);
                self.line = line;
                self.line.clear();
            } else if self.line.len() > CAPTURE_LINE_BYTES_MAX {
                self.line_grows(on_line);
            }
        }
    }

    fn line_ended(&mut self, line: &[u8], marker: &Marker, on_line: &mut dyn FnMut(&[u8])) {
        if let Some((before, status)) = end_marker(line, marker) {
            if !before.is_empty() && self.phase == Phase::Inside {
                self.keep(before, on_line);
            }
            self.phase = Phase::Done { status, started: self.phase == Phase::Inside };
            return;
        }
        match self.phase {
            Phase::Waiting if line.ends_with(format!("S{}", marker.0).as_bytes()) => {
                self.phase = Phase::Inside
            }
            Phase::Waiting | Phase::Done { .. } => {}
            Phase::Inside => {
                self.keep(line, on_line);
                self.owed = true;
            }
        }
    }

    /// Moves most of an endless line on, and keeps as much as an end marker may need.
    fn line_grows(&mut self, on_line: &mut dyn FnMut(&[u8])) {
        let keep = self.line.len() - 4 * MARKER_LETTERS;
        let tail = self.line.split_off(keep);
        let piece = std::mem::replace(&mut self.line, tail);
        if self.phase == Phase::Inside {
            self.keep(&piece, on_line);
        }
    }

    fn keep(&mut self, text: &[u8], on_line: &mut dyn FnMut(&[u8])) {
        if std::mem::take(&mut self.owed) {
            self.output.push(b"\n");
        }
        self.output.push(text);
        if std::mem::replace(&mut self.untold, text.is_empty()) {
            on_line(b"");
        }
        if !text.is_empty() {
            on_line(text);
        }
    }
}

/// What stands before the end marker in a line, and the status behind it.
fn end_marker<'a>(line: &'a [u8], marker: &Marker) -> Option<(&'a [u8], i32)> {
    let space = memchr::memrchr(b' ', line)?;
    let before = line[..space].strip_suffix(marker.0.as_bytes())?.strip_suffix(b"E")?;
    let status = std::str::from_utf8(&line[space + 1..]).ok()?.parse().ok()?;
    Some((before, status))
}

fn trim(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let end = line.iter().rposition(|b| *b != b'\r').map_or(0, |at| at + 1);
    &line[..end]
}

/// Bytes of which the first and the last are kept.
#[derive(Default, Clone)]
struct Bounded {
    head: Vec<u8>,
    tail: Vec<u8>,
    cut: u64,
    /// Nothing is kept.
    nothing: bool,
}

impl Bounded {
    fn push(&mut self, bytes: &[u8]) {
        if self.nothing {
            return;
        }
        let room = (OUTPUT_BYTES_MAX - OUTPUT_TAIL_BYTES_MAX).saturating_sub(self.head.len());
        let (head, tail) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        self.tail.extend_from_slice(tail);
        // Cut in large steps, so that each byte is moved at most twice.
        if self.tail.len() > 2 * OUTPUT_TAIL_BYTES_MAX {
            self.cut_tail();
        }
    }

    fn line(&mut self, line: &[u8]) {
        self.push(line);
        self.push(b"\n");
    }

    /// A copy that ends in a newline, unless it is empty.
    fn with_newline(&self) -> Bounded {
        let mut copy = self.clone();
        if !self.head.is_empty() {
            copy.push(b"\n");
        }
        copy
    }

    fn cut_tail(&mut self) {
        let excess = self.tail.len().saturating_sub(OUTPUT_TAIL_BYTES_MAX);
        self.tail.drain(..excess);
        self.cut += excess as u64;
    }

    fn finish(mut self) -> (Vec<u8>, u64) {
        self.cut_tail();
        if self.cut > 0 {
            self.head.extend_from_slice(format!("\n[{} bytes are cut here]\n", self.cut).as_bytes());
        }
        self.head.append(&mut self.tail);
        (self.head, self.cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::{Command, Stdio};

    fn marker() -> Marker {
        Marker::new("abcdefghij".into())
    }

    #[test]
    fn what_we_type_is_known_again_on_each_row_of_a_wrapped_echo() {
        let setup = format!("{SETUP}{QUIET_KERNEL}");
        let typed = String::from_utf8(proof(&setup, &marker())).expect("text");
        let (row, rest) = typed.trim_end().split_at(80 - "root@board-1:~# ".len());
        assert!(shows_frame(&format!("root@board-1:~# {row}")) && marker().shows_in(rest), "{row}\n{rest}");
        assert!(!shows_frame("stty -echo") && !shows_frame("root@board-1:~# dmesg -n 1"));
    }

    /// Feeds `stream` in pieces of several sizes: output, status and the lines that were told.
    #[track_caller]
    fn check(stream: &str, output: &str, status: i32, lines: &[&str]) -> ShellResult {
        let mut result = None;
        for chunk in [1, 2, 3, 7, 1000] {
            let (mut capture, mut told) = (Capture::new(marker()), Vec::new());
            stream
                .as_bytes()
                .chunks(chunk)
                .for_each(|part| capture.feed(part, &mut |l| told.push(l.to_owned())));
            let got = capture.done().expect("an end").expect("a start");
            assert_eq!((String::from_utf8_lossy(&got.output).as_ref(), got.status), (output, status));
            assert_eq!(told, lines);
            result = Some(got);
        }
        result.expect("a result")
    }

    #[test]
    fn output_and_status_are_exact() {
        check("echo Sabcde''fghij; eval\r\nSabcdefghij\r\nhi\r\n\r\nEabcdefghij 0\r\n", "hi\n", 0, &["hi"]);
        check("Sabcdefghij\r\nno newline\r\nEabcdefghij 130\r\n$ ", "no newline", 130, &["no newline"]);
        check("Sabcdefghij\r\n\r\nEabcdefghij 1\r\n", "", 1, &[]);
        check("Sabcdefghij\r\n\r\n\r\n\r\nEabcdefghij 1\r\n", "\n\n", 1, &["", ""]);
        check("\x1b[?2004l\rSabcdefghij\r\r\na\r\r\nb\r\n\r\nEabcdefghij 0\r\n", "a\nb\n", 0, &["a", "b"]);
    }

    #[test]
    fn kernel_messages_are_taken_out_and_told() {
        let stream =
            "Sabcdefghij\r\npart[   21.312350] mid 1\r\ndone\r\n\r\nEabcdef[   21.400000] x\r\nghij 0\r\n";
        let lines = ["[   21.312350] mid 1", "partdone", "[   21.400000] x"];
        let got = check(stream, "partdone\n", 0, &lines);
        assert_eq!(got.full(), b"[   21.312350] mid 1\npartdone\n[   21.400000] x\n");
    }

    #[test]
    fn what_dmesg_prints_is_kept() {
        let got =
            check("Sabcdefghij\r\n[    1.000000] a\r\n\r\nEabcdefghij 0\r\n", "", 0, &["[    1.000000] a"]);
        assert_eq!(got.full(), b"[    1.000000] a\n");
    }

    #[test]
    fn an_end_without_a_start_is_told_apart() {
        let mut capture = Capture::new(marker());
        capture.feed(b"Sabc?efghij\r\nhi\r\n\r\nEabcdefghij 3\r\n", &mut |_| {});
        assert_eq!(capture.done(), Some(Err(StartLost { status: 3 })));
        assert!(marker().is_mangled_in(b"Eabcde?ghij 3\r\n") && !marker().is_mangled_in(b"hi\r\n"));
    }

    #[test]
    fn large_output_keeps_its_ends_and_says_what_is_cut() {
        let mut capture = Capture::new(marker());
        capture.feed(b"Sabcdefghij\r\n", &mut |_| {});
        (0..400_000)
            .for_each(|n| capture.feed(format!("line {n} {}\n", "x".repeat(20)).as_bytes(), &mut |_| {}));
        capture.feed(b"\nEabcdefghij 0\n", &mut |_| {});
        let got = capture.done().expect("end").expect("start");
        assert!(got.output.len() <= OUTPUT_BYTES_MAX + 100 && got.cut > 0);
        assert!(got.output.starts_with(b"line 0 ") && got.output.ends_with(b"x\n"));
        assert!(memmem::find(&got.output, format!("[{} bytes are cut here]", got.cut).as_bytes()).is_some());
    }

    #[test]
    fn an_endless_line_is_held_in_pieces_and_still_ends() {
        let mut capture = Capture::new(marker());
        capture.feed(b"Sabcdefghij\r\n", &mut |_| {});
        (0..500).for_each(|_| capture.feed(&[b'x'; 999], &mut |_| {}));
        assert!(capture.user.line.len() <= CAPTURE_LINE_BYTES_MAX + 999);
        capture.feed(b"\r\nEabcdefghij 0\r\n", &mut |_| {});
        assert_eq!(capture.done().expect("end").expect("start").output.len(), 500 * 999);
    }

    #[test]
    fn a_line_that_a_terminal_would_cut_is_refused() {
        let overhead = frame("", &marker()).expect("frame").len();
        assert!(frame(&"x".repeat(TTY_LINE_BYTES_MAX - overhead), &marker()).is_ok());
        let long = frame(&"x".repeat(TTY_LINE_BYTES_MAX - overhead + 1), &marker());
        assert_eq!(long, Err(ShellError::LineTooLong { bytes: TTY_LINE_BYTES_MAX + 1 }));
        assert!(frame(&"x\n".repeat(TTY_LINE_BYTES_MAX), &marker()).is_ok());
        let all = frame(&"x\n".repeat(COMMAND_BYTES_MAX), &marker());
        assert!(matches!(all, Err(ShellError::TooLong { .. })));
        assert_eq!(frame("a\0b", &marker()), Err(ShellError::Nul));
    }

    #[test]
    fn an_echo_proves_no_shell() {
        assert!(!is_proven("# echo abcde''fghij\n", &marker()));
        assert!(is_proven("# echo abcde''fghij\nabcdefghij\n# ", &marker()));
    }

    fn in_sh(shell: &[&str], command: &str) -> ShellResult {
        use std::io::Write;
        let mut child = Command::new(shell[0]);
        child.args(&shell[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = child.spawn().expect("a shell");
        let line = frame(command, &marker()).expect("frame");
        child.stdin.take().expect("stdin").write_all(&line).expect("write");
        let output = child.wait_with_output().expect("output").stdout;
        extract(&output, &marker()).expect("markers")
    }

    #[test]
    fn real_shells_run_what_was_meant() {
        for shell in [&["sh"][..], &["bash", "--norc"]] {
            for (command, output, status) in [
                ("printf 'a b'; f() { return 3; }; f", "a b", 3),
                ("cat <<'X'\n$HOME `x` 'y' \"z\"\nX\n", "$HOME `x` 'y' \"z\"\n", 0),
                ("for i in 1 2\ndo\necho \"it's $i\"\ndone", "it's 1\nit's 2\n", 0),
                ("printf '%s' 'tab\there \\ 100%'", "tab\there \\ 100%", 0),
                ("sh -c 'exit 130'", "", 130),
            ] {
                let got = in_sh(shell, command);
                assert_eq!(
                    (String::from_utf8_lossy(&got.output).as_ref(), got.status),
                    (output, status),
                    "{command}"
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn any_value_reaches_the_command_unchanged(value in "[ -~\\t\\n\u{e4}\u{1}\u{1b}%\\\\']{0,60}") {
            let got = in_sh(&["sh"], &format!("printf '%s|' {}", quote(&value)));
            // A carriage return before a newline is the terminal's; there is none here.
            prop_assert_eq!(String::from_utf8_lossy(&got.output).into_owned(), format!("{value}|"));
        }
    }
}
