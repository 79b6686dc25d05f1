//! Files over a console: what is typed at a board's shell to carry one there or back, and what the answers mean. Pure:
//! an attempt runs the commands and feeds what came back. A command may be mangled on its way, and so may its answer:
//! every one can be typed again, and nothing counts that a checksum does not prove.

mod fetch;
#[cfg(test)]
mod tests;
pub mod tftp;
mod tools;
mod upload;

pub use fetch::{FETCH_BYTES_MAX, Fetch};
pub use upload::{UPLOAD_BYTES_MAX, Upload};

/// Longest path on a board.
pub const PATH_BYTES_MAX: usize = 255;
/// How often a command is typed again when its answer proves nothing.
pub const RETRIES_MAX: u32 = 5;

/// A file on its way, one command after the other.
pub trait Transfer: Send {
    /// What to type next; nothing when the file is through.
    fn next(&self) -> Option<String>;

    /// How many bytes are proved, of how many; nothing while that is not known.
    fn progress(&self) -> Option<(u64, u64)>;

    /// Takes what the command printed; nothing when it was lost.
    fn answer(&mut self, output: Option<&[u8]>) -> Result<(), TransferError>;
}

/// Why a file did not get through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// The board has no such file.
    #[error("the board has no readable file {0}")]
    Missing(String),
    /// The file is larger than is carried over a console.
    #[error("{path} has {bytes} bytes, at most {max} go over a console")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size.
        bytes: u64,
        /// The most.
        max: u64,
    },
    /// There is no program to prove a transfer with.
    #[error("the board has neither sha256sum nor cksum, and nothing is carried unproved")]
    NoChecksum,
    /// The same command did not succeed however often it was typed.
    #[error("{path}: {what} did not succeed in {} tries", RETRIES_MAX + 1)]
    GaveUp {
        /// The file on the board.
        path: String,
        /// What was tried: `piece 4 of 12`.
        what: String,
    },
}

/// Whether a path can be typed at a shell as it stands: absolute, of letters that no shell reads anything into, and a
/// file's.
pub fn is_path(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._/+@:=,-".contains(&b);
    path.len() <= PATH_BYTES_MAX
        && path.starts_with('/')
        && path.bytes().all(plain)
        && path.rsplit('/').next().is_some_and(|name| !matches!(name, "" | "." | ".."))
}

/// Counts the tries of one command.
#[derive(Debug, Clone, Copy, Default)]
struct Tries(u32);

impl Tries {
    fn failed(&mut self, path: &str, what: impl FnOnce() -> String) -> Result<(), TransferError> {
        if self.0 >= RETRIES_MAX {
            return Err(TransferError::GaveUp { path: path.to_owned(), what: what() });
        }
        self.0 += 1;
        Ok(())
    }
}
