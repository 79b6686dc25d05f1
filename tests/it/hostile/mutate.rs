//! Mutations of real bytes: cut, repeated, spliced, and with words put in that readers look for.

/// Words that some reader takes for something.
const WORDS: [&[u8]; 40] = [
    b"\xff\xfa",
    b"\xff\xf0",
    b"\xff\xff",
    b"\xff\xfd\x18",
    b"\xff\xfb\x01",
    b"\xff\xfa\x2c\x65",
    b"\r\0",
    b"\r\n",
    b"\x1b[",
    b"\x1b]0;",
    b"\x08\x08",
    b"[   12.345678] ",
    b"<6>[    1.0][ T1] ",
    b"login: ",
    b"# ",
    b"Kernel panic - not syncing",
    b"---[ end ",
    b"not ok 1 a",
    b"ok 2",
    b"1..4294967295",
    b"KTAP version 1\n",
    b"    # Subtest: x\n",
    b"  ---\n",
    b"Bail out!",
    b"[ RUN      ] A.b\n",
    b"[  FAILED  ] ",
    b"[  PASSED  ] 9 tests.",
    b"<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=",
    b"PASS: ",
    b"SUITE PASS",
    b"<testcase name='a'>",
    b"<failure>",
    b"]]>",
    b"<![CDATA[",
    b"<!DOCTYPE a [",
    b"&#x110000;",
    b"&a",
    b"*b",
    b"${HOME}",
    b"{{ params.x }}",
];

/// A small generator: a round's number is its whole seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.roll() % end as u64) as usize }
    }

    /// Somewhere in `length` bytes, at most `most` of them.
    fn range(&mut self, length: usize, most: usize) -> std::ops::Range<usize> {
        let from = self.below(length + 1);
        from..from + self.below(most.min(length - from) + 1)
    }
}

/// The mutation of a round.
pub(super) fn mutation(inputs: &[&[u8]], round: u64, max: usize) -> Vec<u8> {
    let mut dice = Dice(round.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    for _ in 0..8 {
        dice.roll();
    }
    let first = inputs[dice.below(inputs.len())];
    let piece = dice.range(first.len(), max);
    let mut input =
        if dice.below(3) == 0 { first[piece].to_vec() } else { first[..first.len().min(max)].to_vec() };
    for _ in 0..1 + dice.below(6) {
        change(&mut input, inputs, &mut dice);
        input.truncate(max);
    }
    input
}

fn change(input: &mut Vec<u8>, inputs: &[&[u8]], dice: &mut Dice) {
    let at = dice.below(input.len() + 1);
    match dice.below(9) {
        0 => input.truncate(at),
        1 => drop(input.drain(dice.range(input.len(), 64))),
        2 => drop(input.splice(at..at, WORDS[dice.below(WORDS.len())].iter().copied())),
        3 => {
            let bytes: Vec<u8> = (0..1 + dice.below(8)).map(|_| dice.below(256) as u8).collect();
            input.splice(at..at, bytes);
        }
        4 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        // The same again, once or very often.
        5 => {
            let piece = input[dice.range(input.len(), 200)].to_vec();
            input.splice(at..at, piece);
        }
        6 => {
            let piece = input[dice.range(input.len(), 40)].to_vec();
            input.splice(at..at, piece.repeat(1 + dice.below(300)));
        }
        7 => {
            let word = WORDS[dice.below(WORDS.len())];
            input.splice(at..at, word.repeat(1 + dice.below(300)));
        }
        _ => {
            let other = inputs[dice.below(inputs.len())];
            input.splice(at..at, other[dice.range(other.len(), 2000)].iter().copied());
        }
    }
}
