//! The record of one conversation: every received byte in one file, and beside it an index of when what came and
//! what was sent. Written by the session, read for people's logs. Passwords never reach it.
//!
//! `NAME.raw` holds the received bytes. `NAME.idx` holds lines: `# START` (microseconds since the Unix epoch),
//! `R OFFSET MICROS` (from this byte on it was received at START + MICROS), `S OFFSET MICROS TEXT` (sent then and
//! there, escaped).

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::clean::{self, Liner};
use crate::clock::Timestamp;
use crate::meter::Counter;

/// Received bytes held until they are written.
const BUFFER_BYTES_MAX: usize = 16 * 1024;
/// Index bytes held until they are written.
const INDEX_BYTES_MAX: usize = 8 * 1024;
/// Longest time that bytes are held before they are written.
pub const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// Received bytes closer together than this share one index line.
const INDEX_GRAIN: Duration = Duration::from_millis(20);
/// Longest piece of sent text in one index line.
const SENT_BYTES_MAX: usize = 4096;
/// Index lines read for one rendering.
const INDEX_LINES_MAX: usize = 4_000_000;
/// How little of the index is left before it is read line by line; more than two lines of it.
const SEARCHED_BYTES: u64 = 64 * 1024;
/// Bytes read at once where lines are only counted.
const COUNTED_BYTES: usize = 1024 * 1024;

/// Writes one conversation's record. What is held is written when it is dropped.
pub struct Transcript {
    raw: File,
    index: File,
    held: Vec<u8>,
    held_index: Vec<u8>,
    started_at: Timestamp,
    flushed_at: Timestamp,
    /// When the newest received bytes of the index were received; `None` when something was sent since.
    indexed_at: Option<Timestamp>,
    bytes: u64,
    cap: Option<u64>,
    cut: u64,
    failed: Option<io::Error>,
    /// Counts received bytes, kept or not, for whoever watches all consoles.
    counter: Counter,
}

impl Transcript {
    /// Starts a record at `path` with `.raw` and `.idx` put behind it; existing files are replaced. At most `cap`
    /// received bytes are kept.
    pub fn create(path: &Path, now: Timestamp, cap: Option<u64>) -> io::Result<Transcript> {
        let create = |extension| {
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(with(path, extension))
        };
        let (raw, mut index) = (create("raw")?, create("idx")?);
        writeln!(index, "# {}", now.as_micros())?;
        let (held, held_index) = (Vec::new(), Vec::new());
        let (bytes, cut, failed) = (0, 0, None);
        let (started_at, flushed_at, indexed_at) = (now, now, None);
        Ok(Transcript {
            raw,
            index,
            held,
            held_index,
            started_at,
            flushed_at,
            indexed_at,
            bytes,
            cap,
            cut,
            failed,
            counter: Counter::default(),
        })
    }

    /// The same, counting what is received there.
    pub fn counting(mut self, counter: Counter) -> Transcript {
        self.counter = counter;
        self
    }

    /// Records received bytes.
    pub fn received(&mut self, data: &[u8], now: Timestamp) {
        self.counter.add(data.len() as u64);
        let room = self.cap.map_or(u64::MAX, |cap| cap.saturating_sub(self.bytes));
        let kept = &data[..data.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        self.cut += (data.len() - kept.len()) as u64;
        if kept.is_empty() {
            return;
        }
        if self.indexed_at.is_none_or(|at| now.since(at) >= INDEX_GRAIN) {
            self.note('R', now, "");
            self.indexed_at = Some(now);
        }
        self.bytes += kept.len() as u64;
        if self.held.len() + kept.len() > BUFFER_BYTES_MAX {
            self.flush(now);
        }
        if kept.len() < BUFFER_BYTES_MAX {
            self.held.extend_from_slice(kept);
        } else if let Err(error) = self.raw.write_all(kept) {
            self.failed.get_or_insert(error);
        }
    }

    /// Records what was sent. The caller passes `<password>` for a password.
    pub fn sent(&mut self, data: &[u8], now: Timestamp) {
        // What is sent is as bounded as what is received.
        if self.cap.is_some_and(|cap| self.bytes >= cap) {
            return;
        }
        let data = &data[..data.len().min(SENT_BYTES_MAX)];
        self.note('S', now, &data.escape_ascii().to_string());
        self.indexed_at = None;
    }

    /// Writes what is held, if it has been held for long enough.
    pub fn flush_if_due(&mut self, now: Timestamp) {
        if now.since(self.flushed_at) >= FLUSH_EVERY {
            self.flush(now);
        }
    }

    /// Writes what is held. A full disk does not end the conversation; [`Transcript::failed`] tells of it.
    pub fn flush(&mut self, now: Timestamp) {
        self.flushed_at = now;
        let written = self.raw.write_all(&self.held).and_then(|()| self.index.write_all(&self.held_index));
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
        self.held.clear();
        self.held_index.clear();
    }

    /// Whether anything is held that is not written yet.
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty() || !self.held_index.is_empty()
    }

    /// The first error of writing, after which the record has a gap.
    pub fn failed(&self) -> Option<&io::Error> {
        self.failed.as_ref()
    }

    /// Received bytes recorded so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn note(&mut self, kind: char, now: Timestamp, text: &str) {
        let micros = now.since(self.started_at).as_micros();
        self.held_index
            .extend_from_slice(format!("{kind} {} {micros} {text}", self.bytes).trim_end().as_bytes());
        self.held_index.push(b'\n');
        if self.held_index.len() >= INDEX_BYTES_MAX {
            self.flush(now);
        }
    }
}

impl Drop for Transcript {
    fn drop(&mut self) {
        if self.cut > 0 {
            let line = format!("\n[transcript full: {} more bytes were received and not kept]\n", self.cut);
            self.held.extend_from_slice(line.as_bytes());
        }
        self.flush(self.flushed_at);
    }
}

/// A piece of the log as a person reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Lines `[12.345] text`; what was sent is `[12.345] > text`. Hostile text.
    pub text: String,
    /// The offset to continue from.
    pub next: u64,
    /// Whether the record ends here (for now: it may still be written).
    pub at_end: bool,
}

/// Renders the record at `path` from received byte `from` on: at most `max` received bytes, cut at a line's end
/// where there is one.
pub fn render(path: &Path, from: u64, max: usize) -> io::Result<Rendered> {
    let mut raw = File::open(with(path, "raw"))?;
    let length = raw.metadata()?.len();
    raw.seek(SeekFrom::Start(from.min(length)))?;
    let mut bytes = Vec::new();
    raw.take(max as u64).read_to_end(&mut bytes)?;
    let at_end = from.saturating_add(bytes.len() as u64) >= length;
    if !at_end && let Some(newline) = memchr::memrchr(b'\n', &bytes) {
        bytes.truncate(newline + 1);
    }
    let next = from.min(length) + bytes.len() as u64;
    let marks = marks(&with(path, "idx"), from, next, at_end)?;
    Ok(Rendered { text: lines(&bytes, from.min(length), &marks), next, at_end })
}

/// A line of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Microseconds since the record began.
    pub micros: u64,
    /// Whether it was sent, not received.
    pub sent: bool,
    /// What it says: hostile text.
    pub text: String,
}

/// Lines of the record, and the bytes that the received ones were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// In order.
    pub lines: Vec<LogLine>,
    /// The received bytes, which end at a line's end.
    pub bytes: Vec<u8>,
    /// The offset to continue from.
    pub next: u64,
    /// What was received of a line that is not over.
    pub open: String,
}

/// The whole lines of the record at `path` among at most `max` received bytes from `from` on.
pub fn piece(path: &Path, from: u64, max: usize) -> io::Result<Piece> {
    let mut raw = File::open(with(path, "raw"))?;
    let from = from.min(raw.metadata()?.len());
    raw.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    raw.take(max as u64).read_to_end(&mut bytes)?;
    // A line as long as that is cut: it would hold up all that follows.
    let whole = memchr::memrchr(b'\n', &bytes).map_or(if bytes.len() == max { max } else { 0 }, |at| at + 1);
    let open = bytes.split_off(whole);
    let open = if open.len() < clean::LINE_BYTES_MAX { clean::text(&open) } else { String::new() };
    let next = from + whole as u64;
    let mut lines = Vec::new();
    // What was sent since the last line is shown with the next one.
    each_line(&bytes, from, &marks(&with(path, "idx"), from, next, false)?, &mut |micros, sent, text| {
        let text = clean::cut(text, clean::LINE_BYTES_MAX).to_owned();
        lines.push(LogLine { micros, sent, text });
    });
    Ok(Piece { lines, bytes, next, open })
}

/// Where the first line of the record at `path` begins at or behind the byte `from`; where none does among `max` bytes, the
/// end of those.
pub fn line_start(path: &Path, from: u64, max: usize) -> io::Result<Result<u64, u64>> {
    let mut raw = File::open(with(path, "raw"))?;
    let length = raw.metadata()?.len();
    if from == 0 || from >= length {
        return Ok(Ok(from.min(length)));
    }
    // A line begins behind the end of another.
    raw.seek(SeekFrom::Start(from - 1))?;
    let mut bytes = Vec::new();
    raw.take(max as u64 + 1).read_to_end(&mut bytes)?;
    let begins = memchr::memchr(b'\n', &bytes).map(|at| from + at as u64);
    Ok(begins.ok_or(from - 1 + bytes.len() as u64))
}

/// How many received bytes the record at `path` has.
pub fn received(path: &Path) -> io::Result<u64> {
    Ok(std::fs::metadata(with(path, "raw"))?.len())
}

/// How many lines were received before `offset` of the record at `path`, and how many bytes there are in all.
pub fn lines_before(path: &Path, offset: u64) -> io::Result<(u64, u64)> {
    let raw = File::open(with(path, "raw"))?;
    let length = raw.metadata()?.len();
    let mut reader = io::BufReader::with_capacity(COUNTED_BYTES, raw.take(offset));
    let mut lines = 0;
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok((lines, length));
        }
        lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
        let read = bytes.len();
        reader.consume(read);
    }
}

/// Where the line of this number begins in the record at `path`, counted from one; of those there are not, where the next one
/// would, and its number.
pub fn line_at(path: &Path, line: u64) -> io::Result<(u64, u64)> {
    let mut reader = io::BufReader::with_capacity(COUNTED_BYTES, File::open(with(path, "raw"))?);
    let (mut lines, mut at, mut begin) = (0, 0, 0);
    while lines + 1 < line {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        for end in memchr::memchr_iter(b'\n', bytes) {
            if lines + 1 < line {
                lines += 1;
                begin = at + end as u64 + 1;
            }
        }
        let read = bytes.len();
        at += read as u64;
        reader.consume(read);
    }
    Ok((begin, lines + 1))
}

/// Renders the end of the record at `path`: at most its last `max` received bytes.
pub fn render_tail(path: &Path, max: usize) -> io::Result<String> {
    let length = received(path)?;
    let from = length.saturating_sub(max as u64);
    let rendered = render(path, from, max)?;
    if from == 0 {
        return Ok(rendered.text);
    }
    // A line without its beginning could be half of a secret that nothing recognises.
    let whole = rendered.text.split_once('\n').map_or("", |(_, whole)| whole);
    Ok(format!("[the first {from} bytes are not shown, nor the rest of their last line]\n{whole}"))
}

/// One line of the index.
struct Mark {
    offset: u64,
    micros: u64,
    sent: Option<String>,
}

/// The marks that concern bytes `from..next`: the last one before them, and those within.
fn marks(path: &Path, from: u64, next: u64, at_end: bool) -> io::Result<Vec<Mark>> {
    let mut marks: Vec<Mark> = Vec::new();
    let mut file = File::open(path)?;
    let begin = begin_of_marks(&mut file, from)?;
    file.seek(SeekFrom::Start(begin))?;
    let mut reader = io::BufReader::new(file);
    let mut line = Vec::new();
    for _ in 0..INDEX_LINES_MAX {
        line.clear();
        // Escaping makes a sent byte at most four characters; nothing longer was written.
        if (&mut reader).take(5 * SENT_BYTES_MAX as u64).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let Some(mark) = mark(&String::from_utf8_lossy(&line)) else {
            continue;
        };
        if mark.offset > next || (mark.offset == next && !at_end) {
            break;
        }
        if mark.offset < from || (mark.offset == from && mark.sent.is_none()) {
            marks.retain(|mark| mark.offset >= from && mark.sent.is_some());
        }
        // What was sent before the first byte asked for belongs to an earlier piece.
        let sent = mark.sent.filter(|_| mark.offset >= from);
        marks.push(Mark { sent, ..mark });
    }
    Ok(marks)
}

/// Where in the index to begin for what concerns the byte `from`: at a line that is about an earlier one. What was written
/// first stands first, so that a long index is halved until little is left.
fn begin_of_marks(file: &mut File, from: u64) -> io::Result<u64> {
    let (mut begin, mut end) = (0, file.metadata()?.len());
    while end - begin > SEARCHED_BYTES {
        let middle = begin + (end - begin) / 2;
        file.seek(SeekFrom::Start(middle))?;
        let mut reader = io::BufReader::new(&mut *file).take(SEARCHED_BYTES);
        let (mut line, mut skipped) = (Vec::new(), Vec::new());
        reader.read_until(b'\n', &mut skipped)?;
        reader.read_until(b'\n', &mut line)?;
        let is_earlier = mark(&String::from_utf8_lossy(&line)).is_some_and(|mark| mark.offset < from);
        // What cannot be read is passed over by whoever reads on from before it.
        (begin, end) = if is_earlier { (middle + skipped.len() as u64, end) } else { (begin, middle) };
    }
    Ok(begin)
}

fn mark(line: &str) -> Option<Mark> {
    let mut parts = line.trim_end_matches('\n').splitn(4, ' ');
    let kind = parts.next().filter(|kind| matches!(*kind, "R" | "S"))?;
    let (offset, micros) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let sent = (kind == "S").then(|| parts.next().unwrap_or_default().to_owned());
    Some(Mark { offset, micros, sent })
}

fn lines(bytes: &[u8], from: u64, marks: &[Mark]) -> String {
    let mut out = String::new();
    each_line(bytes, from, marks, &mut |micros, sent, line| {
        push(&mut out, micros, if sent { "> " } else { "" }, line);
    });
    out
}

/// Calls `on_line` with the time of each line, whether it was sent, and what it says.
fn each_line(bytes: &[u8], from: u64, marks: &[Mark], on_line: &mut impl FnMut(u64, bool, &str)) {
    let mut liner = Liner::default();
    let (mut at, mut micros) = (0, 0);
    for mark in marks {
        let offset = (mark.offset.saturating_sub(from) as usize).clamp(at, bytes.len());
        liner.feed(&bytes[at..offset], &mut |line| on_line(micros, false, line));
        (at, micros) = (offset, mark.micros);
        if let Some(sent) = &mark.sent {
            on_line(micros, true, sent);
        }
    }
    liner.feed(&bytes[at..], &mut |line| on_line(micros, false, line));
    liner.finish(&mut |line| on_line(micros, false, line));
}

fn push(out: &mut String, micros: u64, arrow: &str, line: &str) {
    let (seconds, millis) = (micros / 1_000_000, micros / 1000 % 1000);
    out.push_str(&format!("[{seconds}.{millis:03}] {arrow}{}\n", clean::cut(line, clean::LINE_BYTES_MAX)));
}

fn with(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn at(millis: u64) -> Timestamp {
        START + Duration::from_millis(millis)
    }

    fn record(cap: Option<u64>, write: impl FnOnce(&mut Transcript)) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("attempt-1");
        let mut transcript = Transcript::create(&path, START, cap).expect("a transcript");
        write(&mut transcript);
        (dir, path)
    }

    #[test]
    fn the_log_shows_both_sides_with_their_times() {
        let (_dir, path) = record(None, |t| {
            t.received(b"U-Boot 2024.01\r\nboard login: ", at(1500));
            t.sent(b"root\r", at(2000));
            t.received(b"root\r\nPassword: ", at(2001));
            t.sent(b"<password>", at(2500));
            t.received(b"\r\n\x1b[1m# \x1b[0m", at(3456));
        });
        let got = render(&path, 0, 10_000).expect("rendered");
        let expect = "[1.500] U-Boot 2024.01\n[2.000] > root\\r\n[2.001] board login: root\n\
            [2.500] > <password>\n[3.456] Password: \n[3.456] # \n";
        assert_eq!((got.text.as_str(), got.at_end), (expect, true));
    }

    #[test]
    fn every_received_byte_is_kept_as_it_came() {
        let bytes: Vec<u8> = (0..200_000u32).map(|n| (n * 7 % 256) as u8).collect();
        let (_dir, path) = record(None, |t| bytes.chunks(999).for_each(|part| t.received(part, at(0))));
        assert_eq!(std::fs::read(with(&path, "raw")).expect("raw"), bytes);
    }

    #[test]
    fn a_log_is_read_in_pieces_that_end_with_lines() {
        let (_dir, path) = record(None, |t| {
            (0..100).for_each(|n| t.received(format!("line {n}\n").as_bytes(), at(n * 100)));
        });
        let (mut all, mut from) = (String::new(), 0);
        loop {
            let piece = render(&path, from, 50).expect("rendered");
            assert!(piece.text.ends_with('\n') && piece.next - from <= 50);
            (all, from) = (all + &piece.text, piece.next);
            if piece.at_end {
                break;
            }
        }
        assert_eq!(all, render(&path, 0, 100_000).expect("rendered").text);
        assert!(all.contains("[9.900] line 99\n") && all.lines().count() == 100);
    }

    #[test]
    fn a_full_transcript_says_what_is_missing() {
        let (_dir, path) = record(Some(10), |t| {
            t.received(b"12345678", at(0));
            t.received(b"9012", at(0));
            t.received(&[b'x'; 100], at(0));
            t.sent(b"not kept", at(0));
        });
        let raw = std::fs::read_to_string(with(&path, "raw")).expect("raw");
        assert_eq!(raw, "1234567890\n[transcript full: 102 more bytes were received and not kept]\n");
        assert!(!std::fs::read_to_string(with(&path, "idx")).expect("idx").contains("not kept"));
    }

    #[test]
    fn the_end_of_a_long_record_begins_with_a_whole_line() {
        let (_dir, path) = record(None, |t| t.received(b"TOKEN=abcdef\nnext\nlast\n", at(0)));
        let tail = |max| render_tail(&path, max).expect("a tail");
        assert!(tail(100).starts_with("[0.000] TOKEN"), "{}", tail(100));
        let cut = "[the first 7 bytes are not shown, nor the rest of their last line]\n";
        assert_eq!(tail(16), format!("{cut}[0.000] next\n[0.000] last\n"));
    }

    #[test]
    fn what_is_held_is_bounded_and_written_when_it_is_due() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a");
        let mut transcript = Transcript::create(&path, START, None).expect("a transcript");
        transcript.received(b"soon", at(10));
        transcript.flush_if_due(at(999));
        assert_eq!(render(&path, 0, 100).expect("rendered").text, "");
        transcript.flush_if_due(at(1000));
        assert_eq!(render(&path, 0, 100).expect("rendered").text, "[0.010] soon\n");
        (0..1000).for_each(|n| {
            transcript.received(&[0; 1000], at(1000 + n * 50));
            transcript.sent(&[7; 10_000], at(1000 + n * 50));
            assert!(
                transcript.held.len() <= BUFFER_BYTES_MAX && transcript.held_index.len() <= INDEX_BYTES_MAX
            );
        });
    }
}
