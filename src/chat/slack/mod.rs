//! Slack: bytes in, bytes out. `signature` says whether a request is Slack's, `decode` turns its body into a
//! [`Delivery`](super::Delivery), `blocks` draws a [`Card`](crate::message::Card) as Block Kit, `form` a form as
//! a modal, `client` sends them,
//! `socket` is how Slack is heard where it cannot call, `manifest` describes the app to Slack; `sign_in` asks Slack
//! who somebody at a browser is, and `id_token` reads what it says. Nothing is decided here, and only `client`, `sign_in` and
//! `socket` talk to the network.

pub mod blocks;
pub mod client;
pub mod decode;
pub mod form;
pub mod home;
pub mod id_token;
pub mod manifest;
pub mod mrkdwn;
pub mod sign_in;
pub mod signature;
pub mod socket;
