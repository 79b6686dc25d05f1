//! What a board's shell can encode and prove a transfer with. Pure.

use sha2::{Digest, Sha256};

/// Asks which programs there are; ends with a line that shows the answer is whole.
pub(super) const PROBE: &str =
    "for t in base64 sha256sum cksum; do command -v $t >/dev/null 2>&1 && echo has $t; done; echo has all";

/// The programs of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tools {
    /// Whether `base64` is there; numbers do where it is not.
    pub(super) base64: bool,
    /// What proves a piece; nothing where the board has neither.
    pub(super) sum: Option<Sum>,
}

impl Tools {
    /// From what [`PROBE`] printed; nothing when that is not whole.
    pub(super) fn read(output: &str) -> Option<Tools> {
        let has = |tool: &str| output.lines().any(|line| line.trim().strip_prefix("has ") == Some(tool));
        let sum = match (has("sha256sum"), has("cksum")) {
            (true, _) => Some(Sum::Sha256),
            (false, true) => Some(Sum::Cksum),
            (false, false) => None,
        };
        has("all").then(|| Tools { base64: has("base64"), sum })
    }
}

/// A checksum that boards have a program for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sum {
    /// `sha256sum`.
    Sha256,
    /// `cksum`, as POSIX has it.
    Cksum,
}

impl Sum {
    /// The program.
    pub(super) fn program(self) -> &'static str {
        match self {
            Sum::Sha256 => "sha256sum",
            Sum::Cksum => "cksum",
        }
    }

    /// Whether a line that the program printed about its input proves this data.
    pub(super) fn proves(self, line: &str, data: &[u8]) -> bool {
        let mut words = line.split_whitespace();
        match self {
            Sum::Sha256 => words.next() == Some(hex::encode(Sha256::digest(data)).as_str()),
            Sum::Cksum => {
                words.next().and_then(|word| word.parse().ok()) == Some(cksum(data))
                    && words.next().and_then(|word| word.parse().ok()) == Some(data.len())
            }
        }
    }
}

/// The checksum of POSIX `cksum`: a CRC over the data and then its length.
fn cksum(data: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x04c1_1db7;
    let length = data.len() as u64;
    let length_bytes = (u64::BITS - length.leading_zeros()).div_ceil(8) as usize;
    let bytes = data.iter().copied().chain(length.to_le_bytes().into_iter().take(length_bytes));
    !bytes.fold(0u32, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(byte) << 24), |crc, _| {
            if crc & 0x8000_0000 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL }
        })
    })
}
