//! Jenkins and every other machine that posts to the webhook: bytes in. Nothing is decided here; what a document asks
//! for is read by [`command::document`](crate::command::document).

pub mod decode;
pub mod signature;
