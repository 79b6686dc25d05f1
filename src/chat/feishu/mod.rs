//! Feishu and Lark: bytes in, bytes out, nothing decided here.
//!
//! In: `signature` proves a request and takes its cover off, or `socket` dials and needs no proof; `decode` reads a
//! delivery out of it. Out: `card` draws a
//! [`Card`](crate::message::Card) as Card JSON 2.0, `client` sends it.

pub mod card;
pub mod client;
pub mod decode;
pub mod hook;
pub mod markdown;
pub mod signature;
pub mod socket;
