//! What each reader promises of any bytes at all: it does not panic, it keeps what is bounded within its bound, and the
//! same comes of the same bytes in whatever pieces they arrive.

use std::time::Duration;

use boardhand::board::lab_file;
use boardhand::console::clean::{self, LINE_BYTES_MAX, Liner};
use boardhand::console::expect::{EXPECT_BUFFER_BYTES_MAX, Expect, Pattern, Search};
use boardhand::console::printk::{Piece, PrintkFilter};
use boardhand::console::telnet::{REPLY_BYTES_MAX, Telnet};
use boardhand::console::watch::{
    Hit, TRACE_BYTES_MAX, TRACE_LINE_BYTES_MAX, TRACE_LINES_MAX, WatchList, Watcher,
};
use boardhand::outcome::excerpt::{EXCERPT_LINE_BYTES_MAX, EXCERPT_TRACE_LINES_MAX, EndedBy, excerpt};
use boardhand::outcome::parse::{
    Format, NAME_BYTES_MAX, NOTE_BYTES_MAX, NOTES_BYTES_MAX, Parse, Results, read_junit,
};
use boardhand::outcome::{CASES_MAX, CaseStatus, Counts, TestCase};

/// The input in pieces, of lengths that it says itself.
fn pieces(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = input;
    std::iter::from_fn(move || {
        let first = *rest.first()?;
        let (piece, after) = rest.split_at(rest.len().min(1 + usize::from(first) % 23));
        rest = after;
        Some(piece)
    })
}

pub(super) fn telnet(input: &[u8]) {
    for client in [|| Telnet::client("vt100"), || Telnet::port_client("vt100", Some(115_200)), Telnet::raw] {
        let (mut whole, mut data, mut reply) = (client(), Vec::new(), Vec::new());
        whole.feed(input, &mut data, &mut reply);
        assert!(reply.len() <= REPLY_BYTES_MAX, "{} bytes answered", reply.len());
        assert!(data.len() <= input.len(), "more came out than went in");
        let (mut pieced, mut data_of_pieces) = (client(), Vec::new());
        for piece in pieces(input) {
            let mut reply = Vec::new();
            pieced.feed(piece, &mut data_of_pieces, &mut reply);
            assert!(reply.len() <= REPLY_BYTES_MAX);
        }
        assert!(data == data_of_pieces, "the pieces say something else");
    }
}

pub(super) fn expect(input: &[u8]) {
    let anywhere =
        ["login: $", "U-Boot [0-9]+", "(a|b)*c$"].map(|pattern| Pattern::anywhere(pattern).expect("ours"));
    let patterns = [anywhere.to_vec(), vec![Pattern::prompt("[#$] $").expect("ours")]].concat();
    let (mut expect, mut search) = (Expect::default(), Search::new(&patterns));
    for (n, piece) in pieces(input).enumerate() {
        expect.push(piece);
        assert!(expect.window().len() <= 2 * EXPECT_BUFFER_BYTES_MAX);
        let silence = if n % 5 == 0 { Duration::from_secs(1) } else { Duration::ZERO };
        if let Some(found) = expect.poll(&mut search, silence) {
            assert!(found.index < patterns.len());
            assert!(found.before.len() + found.matched.len() <= 2 * EXPECT_BUFFER_BYTES_MAX);
            expect.sent();
            search = Search::new(&patterns);
        }
    }
}

pub(super) fn lines(input: &[u8]) {
    let of = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut liner, mut lines) = (Liner::default(), Vec::new());
        let mut on_line = |line: &str| lines.push(line.to_owned());
        pieces.for_each(|piece| liner.feed(piece, &mut on_line));
        liner.finish(&mut on_line);
        lines
    };
    let lines = of(&mut std::iter::once(input));
    assert!(lines == of(&mut pieces(input)), "the pieces give other lines");
    // What is no UTF-8 stands as a character of three bytes in the place of each byte.
    let received = |line: &String| line.len() - 2 * line.matches('\u{fffd}').count();
    assert!(lines.iter().all(|line| received(line) <= LINE_BYTES_MAX));
    let (mut watcher, mut hits) = (Watcher::new(WatchList::new(&[])), Vec::new());
    watcher.arm_resets(true);
    lines.iter().for_each(|line| watcher.line(line, &mut hits));
    hits.extend(watcher.flush());
    let bytes = |hit: &Hit| hit.trace.iter().map(String::len).sum::<usize>();
    // The line that fills it is kept whole.
    let most = TRACE_BYTES_MAX + TRACE_LINE_BYTES_MAX;
    assert!(hits.iter().all(|hit| hit.trace.len() <= TRACE_LINES_MAX && bytes(hit) <= most));
}

pub(super) fn results(input: &[u8]) {
    for format in Format::ALL {
        let whole = through_a_console(format, std::iter::once(input));
        bounded(&whole);
        assert_eq!(through_a_console(format, pieces(input)), whole, "{format:?} in pieces");
    }
}

pub(super) fn junit(input: &[u8]) {
    bounded(&read_junit(input));
}

pub(super) fn excerpts(input: &[u8]) {
    let text = clean::text(input);
    let mut cases: Vec<TestCase> = ["can", "test_gpio.py::test_reads[4]", "Clock.Runs", ""]
        .map(|name| TestCase::new(name, CaseStatus::Failed, text.get(..200).unwrap_or_default()))
        .into();
    while !cases.is_empty() {
        for ended in [EndedBy::Word, EndedBy::Silence] {
            let picked = excerpt(&text, &cases, ended);
            assert!(
                picked.len() <= EXCERPT_TRACE_LINES_MAX && !picked.iter().any(|line| line.contains('\n'))
            );
            assert!(picked.iter().all(|line| line.len() <= EXCERPT_LINE_BYTES_MAX));
        }
        cases.remove(0);
    }
}

pub(super) fn lab(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let file = lab_file::parse("boards.yaml", &text, &|_| Some("a value".to_owned()));
    assert_eq!(file.inventory.is_none(), file.problems.iter().any(|problem| problem.is_error()));
    // YAML ends lines at either, and reports what is missing at the end on the line behind the last.
    let lines = text.split(['\n', '\r']).count() as u32 + 1;
    for problem in &file.problems {
        assert!((1..=lines).contains(&problem.line) && problem.column >= 1, "{problem}");
    }
}

/// What a console hands over when these pieces arrive: kernel messages taken out of the lines they interrupt.
fn through_a_console<'a>(format: Format, pieces: impl Iterator<Item = &'a [u8]>) -> Results {
    let (mut filter, mut user, mut parse) =
        (PrintkFilter::default(), Liner::default(), Parse::new(&[format]));
    for piece in pieces {
        filter.feed(piece, &mut |piece| match piece {
            Piece::Kernel(message) => clean::line(message, &mut |line| parse.line(line.as_bytes())),
            Piece::User(text) => user.feed(text, &mut |line| parse.line(line.as_bytes())),
        });
    }
    user.feed(filter.held(), &mut |line| parse.line(line.as_bytes()));
    user.finish(&mut |line| parse.line(line.as_bytes()));
    parse.finish()
}

fn bounded(results: &Results) {
    let Counts { passed, failed, skipped } = results.counts;
    assert_eq!(results.cases.len(), ((passed + failed + skipped) as usize).min(CASES_MAX));
    let named = |case: &TestCase| !case.name.is_empty() && case.name.len() <= NAME_BYTES_MAX;
    assert!(results.cases.iter().all(|case| named(case) && case.note.len() <= NOTE_BYTES_MAX));
    assert!(results.cases.iter().map(|case| case.note.len()).sum::<usize>() <= NOTES_BYTES_MAX);
}
