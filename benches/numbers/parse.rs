//! Test results out of lines: a KUnit kernel's log over and over, and prose that no format knows, through each reader.

use boardhand::clock::Clock;
use boardhand::outcome::parse::{Format, Parse};

use crate::machine::median;

const ROUNDS: usize = 3;
const INPUT_MB: usize = 50;

/// Measures every format. Aims at 200 MB/s for KTAP.
pub(crate) fn throughput() {
    let kunit: &[u8] = include_bytes!("../../tests/transcripts/kunit-boot.raw");
    let prose: &[u8] = b"some ordinary output of a program, number 12345\n";
    for (name, piece) in [("KUnit's log", kunit), ("prose", prose)] {
        let input = piece.repeat(INPUT_MB * 1_000_000 / piece.len());
        for format in Format::ALL {
            let speeds = (0..ROUNDS).map(|_| megabytes_per_second(format, &input)).collect();
            println!("{name} as {}: {} MB/s", format.as_str(), median(speeds));
        }
    }
}

fn megabytes_per_second(format: Format, input: &[u8]) -> f64 {
    let clock = Clock::system();
    let begin = clock.monotonic();
    let mut parse = Parse::new(&[format]);
    input.split(|byte| *byte == b'\n').for_each(|line| parse.line(line));
    std::hint::black_box(parse.finish());
    input.len() as f64 / 1e6 / clock.monotonic().since(begin).as_secs_f64()
}
