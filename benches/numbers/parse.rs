//! Test results out of lines: a KUnit kernel's log over and over, prose that no format knows, and lines that mean harm,
//! through each reader; and a file of JUnit's. Megabytes per CPU second: the readers wait for nothing, so that what else the
//! machine does counts little.

use boardhand::outcome::parse::{Format, Parse, read_junit};

use crate::machine::{self, median};

const ROUNDS: usize = 3;
const INPUT_MB: usize = 50;
/// Of input that means harm: it is read once at this size and once at twice that.
const HOSTILE_MB: usize = 8;

/// Measures every format. Aims at 200 MB/s for KTAP, and at twice the time for twice the input whatever it is.
pub(crate) fn throughput() {
    let kunit: &[u8] = include_bytes!("../../tests/transcripts/kunit-boot.raw");
    let prose: &[u8] = b"some ordinary output of a program, number 12345\n";
    for (name, piece) in [("KUnit's log", kunit), ("prose", prose)] {
        let input = piece.repeat(INPUT_MB * 1_000_000 / piece.len());
        for format in Format::ALL {
            let speeds =
                (0..ROUNDS).map(|_| megabytes_per_second(&input, |input| lines(format, input))).collect();
            println!("{name} as {}: {} MB/s", format.as_str(), median(speeds));
        }
    }
    let pytest: &[u8] = include_bytes!("../../tests/samples/junit/pytest.xml");
    let suites = pytest.repeat(INPUT_MB * 1_000_000 / pytest.len());
    let speeds = (0..ROUNDS).map(|_| megabytes_per_second(&suites, junit)).collect();
    println!("pytest's file as junit: {} MB/s", median(speeds));
    hostile();
}

/// The shape that each reader is slowest at, and how its speed changes when there is twice as much of it: 1 is linear.
fn hostile() {
    for format in Format::ALL {
        let speeds = shapes(format).into_iter().map(|(name, piece)| {
            let of = |megabytes: usize| {
                let input = piece.repeat(megabytes * 1_000_000 / piece.len());
                megabytes_per_second(&input, |input| lines(format, input))
            };
            (name, of(HOSTILE_MB), of(2 * HOSTILE_MB))
        });
        let slowest = speeds.min_by(|one, other| one.2.total_cmp(&other.2));
        if let Some((name, once, twice)) = slowest {
            let ratio = twice / once;
            println!("slowest as {}: {name}, {twice:.0} MB/s, {ratio:.2} of half as much", format.as_str());
        }
    }
}

/// What might be read more than once, as pieces to be repeated.
fn shapes(format: Format) -> Vec<(&'static str, Vec<u8>)> {
    let mut shapes: Vec<(&'static str, Vec<u8>)> = [
        ("an endless line", "a"),
        ("an endless line of spaces", " "),
        ("an endless line of #", "# "),
        ("an endless line of brackets", "[ "),
        (
            "an endless line of marks",
            "<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=a RESULT=pass> [  FAILED  ] a.b ***Failed:PASS:",
        ),
        ("empty lines", "\n"),
        ("lines of one letter", "o\n"),
        (
            "documents in documents",
            "KTAP version 1\n  KTAP version 1\n    # Subtest: a\n      KTAP version 1\n        1..1\n",
        ),
        ("plans", "1..999999999\n"),
        ("failures without an end", "not ok 1 a\n  ---\n  b: c\n"),
        ("beginnings without an end", "[ RUN      ] A.b\nSTART - test_a\n<<<test_start>>>\ntag=a\n"),
        ("stamps", "[    1.234567] [    1.234567] ok 1 a\n"),
    ]
    .map(|(name, piece)| (name, piece.as_bytes().to_vec()))
    .into();
    let fail: &[u8] = match format {
        Format::Ktap | Format::Tap | Format::Kselftest => b"not ok 1 a_test # b\n# c\n",
        Format::Gtest => b"[ RUN      ] A.x\nnoise\n[  FAILED  ] A.x (1 ms)\n",
        Format::Pytest => b"a.py::b FAILED [ 1%]\n_____ b _____\nE   c\n",
        Format::Unity => b"a.c:1:test_x:FAIL: noise\n",
        Format::Ztest => b"START - test_a\n FAIL - test_a in 0.1 seconds\n",
        Format::Ctest => b"1/2 Test #1: x ...***Failed 0.01 sec\n",
        Format::Ltp => b"a.c:1: TFAIL: noise\n",
        Format::Lava => b"<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=x RESULT=fail>\n",
        Format::Dejagnu => b"FAIL: x\n",
    };
    shapes.push(("failures", fail.to_vec()));
    shapes
}

fn lines(format: Format, input: &[u8]) {
    let mut parse = Parse::new(&[format]);
    input.split(|byte| *byte == b'\n').for_each(|line| parse.line(line));
    std::hint::black_box(parse.finish());
}

fn junit(input: &[u8]) {
    std::hint::black_box(read_junit(input));
}

fn megabytes_per_second(input: &[u8], read: impl Fn(&[u8])) -> f64 {
    let begin = machine::thread_cpu_seconds();
    read(input);
    input.len() as f64 / 1e6 / (machine::thread_cpu_seconds() - begin)
}
