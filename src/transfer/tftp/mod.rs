//! TFTP, reading only (RFC 1350, options of RFC 2347 to 2349, windows of RFC 7440): what packets mean, and what is sent
//! when. Pure: whoever has the socket and the file does what [`Sending`] says.

mod packet;
mod sending;

pub use packet::{Packet, Refused, Request, data, error, options};
pub use sending::{GaveUp, Next, Sending};

/// Longest packet that a client may send: a request with a long name and every option.
pub const REQUEST_BYTES_MAX: usize = 512;
/// The sizes that a block may have; a client that asks for more gets the most.
pub const BLOCK_BYTES_MIN: u64 = 8;
/// See [`BLOCK_BYTES_MIN`]. The most that fits a UDP packet.
pub const BLOCK_BYTES_MAX: u64 = 65_464;
/// The size of a block that nobody talked about.
pub const BLOCK_BYTES: u64 = 512;
/// Most blocks that are sent before their receipt; a client that asks for more gets this.
pub const WINDOW_MAX: u64 = 64;
/// How often blocks are sent again when nothing comes back.
pub const RETRIES_MAX: u32 = 5;
/// Seconds before blocks are sent again, when the client names no time.
pub const TIMEOUT_SECONDS: u64 = 1;
/// The longest such time that a client may name.
pub const TIMEOUT_SECONDS_MAX: u64 = 255;
