//! Recorded consoles, replayed through telnet, window and watch, cut at odd places.

use std::time::Duration;

use boardhand::console::clean::{Liner, Stripper};
use boardhand::console::expect::{Expect, PROMPT_SILENCE, Search};
use boardhand::console::telnet::Telnet;
use boardhand::console::watch::Watcher;
use boardhand::console::{Hit, Match, Pattern, WatchList};

const CHUNKS: [usize; 7] = [1, 2, 3, 7, 61, 1021, 65_536];

struct Seen {
    matches: Vec<Match>,
    hits: Vec<Hit>,
    lines: Vec<String>,
    open: String,
    reply: Vec<u8>,
}

/// Replays `raw` in pieces of `chunk` bytes and then falls silent.
fn replay(raw: &[u8], chunk: usize, patterns: &[Pattern]) -> Seen {
    let (mut telnet, mut stripper, mut liner) =
        (Telnet::client("vt100"), Stripper::default(), Liner::default());
    let (mut window, mut watcher) = (Expect::default(), Watcher::new(WatchList::new(&[])));
    let (mut matches, mut hits, mut lines, mut reply) = (vec![], vec![], vec![], vec![]);
    let mut search = Search::new(patterns);
    for piece in raw.chunks(chunk) {
        let (mut data, mut stripped) = (Vec::new(), Vec::new());
        telnet.feed(piece, &mut data, &mut reply);
        stripper.feed(&data, &mut stripped);
        window.push(&stripped);
        liner.feed(&data, &mut |line| {
            lines.push(line.to_owned());
            watcher.line(line, &mut hits);
        });
        while let Some(found) = window.poll(&mut search, Duration::ZERO) {
            matches.push(found);
        }
    }
    matches.extend(window.poll(&mut search, PROMPT_SILENCE));
    Seen { matches, hits, lines, open: liner.open().into_owned(), reply }
}

fn patterns(anywhere: &str, prompt: &str) -> [Pattern; 2] {
    [Pattern::anywhere(anywhere).expect("a pattern"), Pattern::prompt(prompt).expect("a pattern")]
}

#[test]
fn a_recorded_panic_is_found_with_its_whole_trace() {
    let raw = include_bytes!("../transcripts/lkdtm-PANIC.raw");
    let patterns = patterns("Kernel panic - not syncing: \\w+", "# $");
    for chunk in CHUNKS {
        let seen = replay(raw, chunk, &patterns);
        let hit = seen.hits.first().expect("a hit");
        assert_eq!(
            (seen.hits.len(), hit.meaning.fatal, hit.cut, hit.trace.len()),
            (1, true, false, 25),
            "{chunk}"
        );
        assert!(hit.line().ends_with("Kernel panic - not syncing: dumptest"));
        assert!(hit.trace[24].ends_with("---[ end Kernel panic - not syncing: dumptest ]---"));
        assert!(seen.matches[0].matched.starts_with(b"Kernel panic - not syncing: d"));
    }
}

#[test]
fn a_recorded_boot_loader_is_answered_once_and_its_prompt_found() {
    let raw = include_bytes!("../transcripts/uboot-arm64.raw");
    let patterns = patterns("Hit any key", "^=> $");
    for chunk in CHUNKS {
        let seen = replay(raw, chunk, &patterns);
        // WILL ECHO, WILL SGA, WILL BINARY and DO BINARY, each agreed to.
        assert_eq!(seen.reply, b"\xff\xfd\x01\xff\xfd\x03\xff\xfd\x00\xff\xfb\x00", "{chunk}");
        assert_eq!(seen.matches.iter().map(|found| found.index).collect::<Vec<_>>(), [0, 1], "{chunk}");
        assert!(seen.lines.iter().any(|line| line == "Hit any key to stop autoboot:  0 "));
        assert_eq!((seen.open.as_str(), seen.hits.len()), ("=> ", 0));
    }
}

#[test]
fn a_recorded_boot_has_every_line_and_no_trouble() {
    let raw = include_bytes!("../transcripts/kunit-boot.raw");
    let patterns = patterns("Run /init as init process", "board $");
    let whole = replay(raw, raw.len(), &patterns);
    assert!(whole.lines.iter().any(|line| line.ends_with("    ok 54 test_u8_none")));
    for chunk in CHUNKS {
        let seen = replay(raw, chunk, &patterns);
        assert_eq!(seen.lines, whole.lines, "{chunk}");
        assert_eq!((seen.hits.len(), seen.matches.len(), seen.open.as_str()), (0, 2, "board "), "{chunk}");
    }
}
