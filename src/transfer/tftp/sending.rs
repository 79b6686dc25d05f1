//! One file on its way: which blocks are sent when a receipt comes, and when none does.

use std::ops::Range;

use super::{RETRIES_MAX, Request};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Tell the client which options hold.
    Options,
    /// Send these blocks, counted from 1, one packet each.
    Blocks(Range<u64>),
    /// Wait.
    Wait,
    /// The client has it all.
    Done,
}

/// Nothing came back however often blocks were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nothing came back in {} tries", RETRIES_MAX + 1)]
pub struct GaveUp;

/// A file on its way.
#[derive(Debug)]
pub struct Sending {
    block_bytes: u64,
    window: u64,
    file_bytes: u64,
    /// The last block: the first that is not full, be it empty.
    last: u64,
    /// Whether the client has still to say that it has heard the options.
    options: bool,
    /// The client has the blocks up to this one.
    acked: u64,
    /// The blocks up to this one were sent.
    sent: u64,
    /// Whether this window was sent again because the client asked.
    repeated: bool,
    tries: u32,
}

impl Sending {
    /// A file of so many bytes, as it was asked for.
    pub fn new(request: &Request, file_bytes: u64) -> Sending {
        Sending {
            block_bytes: request.block_bytes,
            window: request.window,
            file_bytes,
            last: file_bytes / request.block_bytes + 1,
            options: request.has_options(),
            acked: 0,
            sent: 0,
            repeated: false,
            tries: 0,
        }
    }

    /// The first thing to do.
    pub fn begin(&mut self) -> Next {
        if self.options { Next::Options } else { self.send() }
    }

    /// The client says that it has everything up to this block. A number says only its last 16 bits; no window is so
    /// large that it could mean two blocks.
    pub fn acked(&mut self, number: u16) -> Next {
        if self.options {
            if number != 0 {
                return Next::Wait;
            }
            (self.options, self.tries) = (false, 0);
            return self.send();
        }
        let ahead = number.wrapping_sub((self.acked & 0xffff) as u16);
        let block = self.acked + u64::from(ahead);
        if block > self.sent {
            return Next::Wait;
        }
        if ahead == 0 {
            // The same receipt again. With one block at a time an answer to it would double every packet from here on
            // (RFC 1123, 4.2.3.1); with a window it says that the window's first block got lost, and counts once.
            if self.window == 1 || self.repeated {
                return Next::Wait;
            }
            self.repeated = true;
            return self.send();
        }
        (self.acked, self.tries, self.repeated) = (block, 0, false);
        if block == self.last { Next::Done } else { self.send() }
    }

    /// Nothing came for as long as the client wanted.
    pub fn timed_out(&mut self) -> Result<Next, GaveUp> {
        if self.tries >= RETRIES_MAX {
            return Err(GaveUp);
        }
        self.tries += 1;
        Ok(if self.options { Next::Options } else { self.send() })
    }

    /// The bytes of the file that a block holds.
    pub fn bytes_of(&self, block: u64) -> Range<u64> {
        let start = block.saturating_sub(1) * self.block_bytes;
        start.min(self.file_bytes)..(start + self.block_bytes).min(self.file_bytes)
    }

    fn send(&mut self) -> Next {
        self.sent = (self.acked + self.window).min(self.last);
        Next::Blocks(self.acked + 1..self.sent + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Packet, WINDOW_MAX};
    use super::*;

    fn request(block: u64, window: u64) -> Request {
        let text = format!("\0\u{1}f\0octet\0blksize\0{block}\0windowsize\0{window}\0");
        let Ok(Packet::Read(request)) = Packet::read(text.as_bytes()) else { panic!("a request") };
        request
    }

    #[test]
    fn blocks_follow_their_receipts_and_the_last_one_is_not_full() {
        let mut sending = Sending::new(&request(8, 1), 16);
        assert_eq!(sending.begin(), Next::Options);
        assert_eq!(sending.acked(1), Next::Wait, "no block was sent yet");
        assert_eq!(sending.acked(0), Next::Blocks(1..2));
        assert_eq!(sending.acked(0), Next::Wait, "a receipt that came twice is answered once");
        assert_eq!(sending.acked(1), Next::Blocks(2..3));
        assert_eq!(sending.acked(1), Next::Wait);
        assert_eq!(sending.acked(2), Next::Blocks(3..4));
        assert_eq!((sending.bytes_of(2), sending.bytes_of(3)), (8..16, 16..16));
        assert_eq!(sending.acked(3), Next::Done);
        let mut empty = Sending::new(&request(8, 4), 0);
        empty.begin();
        assert_eq!((empty.acked(0), empty.acked(1)), (Next::Blocks(1..2), Next::Done));
    }

    #[test]
    fn a_window_goes_on_from_the_last_block_that_arrived_in_order() {
        let mut sending = Sending::new(&request(8, 4), 1000);
        sending.begin();
        assert_eq!(sending.acked(0), Next::Blocks(1..5));
        assert_eq!(sending.acked(2), Next::Blocks(3..7), "block 3 got lost");
        assert_eq!(sending.acked(2), Next::Blocks(3..7), "and once more");
        assert_eq!(sending.acked(2), Next::Wait, "a client that says it thrice waits for its time");
        assert_eq!(sending.acked(7), Next::Wait, "never sent");
        assert_eq!(sending.acked(6), Next::Blocks(7..11));
    }

    #[test]
    fn a_client_that_says_nothing_is_given_up_after_its_last_try() {
        let mut sending = Sending::new(&request(8, 2), 100);
        assert_eq!(sending.begin(), Next::Options);
        for _ in 0..RETRIES_MAX {
            assert_eq!(sending.timed_out(), Ok(Next::Options));
        }
        assert_eq!(sending.timed_out(), Err(GaveUp));
        assert_eq!(sending.acked(0), Next::Blocks(1..3));
        for _ in 0..RETRIES_MAX {
            assert_eq!(sending.timed_out(), Ok(Next::Blocks(1..3)));
        }
        assert_eq!(sending.timed_out(), Err(GaveUp));
    }

    #[test]
    fn numbers_begin_anew_after_65535_blocks() {
        let mut sending = Sending::new(&request(8, WINDOW_MAX), 70_000 * 8);
        sending.begin();
        let mut next = sending.acked(0);
        let mut blocks = 0;
        while let Next::Blocks(range) = next {
            assert_eq!(range.start, blocks + 1);
            blocks = range.end - 1;
            next = sending.acked((blocks & 0xffff) as u16);
        }
        assert_eq!((next, blocks), (Next::Done, 70_001));
    }

    proptest! {
        /// Whatever gets lost on either way, a client that keeps to the RFC gets the whole file.
        #[test]
        fn a_line_that_loses_packets_only_delays(
            block in 8u64..40, window in 1u64..9, bytes in 0u64..3000, losses in prop::collection::vec(any::<bool>(), 64),
        ) {
            let mut losses = losses.into_iter().cycle();
            // Of three packets one gets through, so that hardly any try is the last.
            let mut count = 0u32;
            let mut lost = || { count += 1; !count.is_multiple_of(3) && losses.next().unwrap_or(false) };
            let mut sending = Sending::new(&request(block, window), bytes);
            let (mut have, mut got, mut heard) = (0u64, 0u64, false);
            let mut next = sending.begin();
            let mut steps = 0;
            while next != Next::Done {
                steps += 1;
                prop_assert!(steps < 100_000);
                let mut receipts = Vec::new();
                match next {
                    Next::Options => if !lost() { heard = true; receipts.push(0) },
                    Next::Blocks(ref range) => {
                        let end = range.end;
                        for n in range.clone() {
                            if lost() { continue }
                            if heard && n == have + 1 {
                                have = n;
                                let part = sending.bytes_of(n);
                                prop_assert_eq!(part.start, got);
                                got = part.end;
                            }
                            if n + 1 == end { receipts.push((have & 0xffff) as u16) }
                        }
                    }
                    Next::Wait | Next::Done => {}
                }
                let arrived = receipts.into_iter().find(|_| !lost());
                next = match arrived.map(|number| sending.acked(number)) {
                    Some(Next::Wait) | None => {
                        let Ok(next) = sending.timed_out() else { return Ok(()) };
                        next
                    }
                    Some(next) => next,
                };
            }
            prop_assert_eq!(got, bytes);
        }
    }
}
