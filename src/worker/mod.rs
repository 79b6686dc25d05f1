//! Workers: the loops that drive boards. `pool` puts a `runner` on every granted lease; a runner performs an
//! `attempt`, tells `news` of it, settles its outcome and `finalize`s; `errands` switches power for people; the
//! `keeper` looks after boards that people have as their own; the `timekeeper` starts health runs; the `almanac` starts
//! what boards.yaml has at its times; the `conductor` moves campaigns on; the `drainer` looks after what takes nothing
//! new; the `herald` tells programs outside; the `tracer` gives traces to a collector; the `registrar` learns who is in the groups of the lab; the `pinner` keeps
//! the digests of channels; the `decorator` reacts to messages that asked for runs; the `reloader` reads boards.yaml again; the `housekeeper` removes what is older than it is
//! kept; `stranded` ends runs whose boards left the lab. Nothing here decides who may hold a board.

pub mod almanac;
mod attempt;
pub mod bench;
pub mod conductor;
pub mod decorator;
pub mod crew;
pub mod desk;
pub mod dispatch;
pub mod drainer;
pub mod errands;
mod finalize;
pub mod foreman;
pub mod herald;
mod host;
pub mod housekeeper;
pub mod keeper;
pub mod local;
mod meaning;
pub mod moment;
mod news;
pub mod occupied;
pub mod pieces;
pub mod pinner;
pub mod pool;
pub mod registrar;
pub mod remote;
mod results;
pub mod reloader;
pub mod runner;
pub mod seats;
pub mod steps;
pub mod stranded;
pub mod timekeeper;
pub mod tracer;
pub mod used;
pub mod wire;
