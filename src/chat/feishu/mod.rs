//! Feishu and Lark: bytes in, bytes out, nothing decided here.
//!
//! In: `signature` proves a request and takes its cover off, or `socket` dials and needs no proof; `decode` reads a
//! delivery out of it. Out: `card` draws a
//! [`Card`](crate::message::Card) as Card JSON 2.0, `client` sends it. `sign_in` asks who
//! somebody at a browser is.

pub mod card;
pub mod client;
pub mod decode;
pub mod hook;
pub mod markdown;
pub mod sign_in;
pub mod signature;
pub mod socket;
