//! boardhand: a chat-ops bot server for labs full of SoC boards. This page is the map; every file opens with what it
//! is and what never happens there.
//!
//! # Bird's-eye
//!
//! ```text
//!  Slack ┬▶ door ──▶ command ──▶ run ──▶ lease ──▶ console ──▶ outcome ──▶ message ──┬▶ card + thread in Slack
//! Feishu ┘ (verify)  (intent)   (queue)  (board)   (telnet)    (verdict)   (outbox)  └▶ card + thread in Feishu
//!    ════════════════ store (SQLite, PostgreSQL): the only truth ════════════════
//!      loops: Scheduler (grant) · Pool (drive) · Errands (switch) · Reaper (expire) · Keeper (boards of people) ·
//!             Relay (send) · Timekeeper (check) · Almanac (schedules) · Conductor (campaigns) ·
//!             Herald (programs outside) · Tracer (traces) · Registrar (groups) · Pinner (digests) · Decorator (reactions) ·
//!             Housekeeper
//!      doorbell: wake-ups only
//! ```
//!
//! # Stages, in the order data flows
//!
//! - [`door`]: HTTP comes in here. A delivery is verified over raw bytes, decoded by [`chat`], turned into an intent
//!   by [`command`], committed by [`store`], and only then acknowledged.
//! - [`web`]: pages for people who would rather look; what is pressed there is a command.
//! - [`command`]: one grammar table drives parsing, help and roles; `command::handle` turns an allowed command into an
//!   effect and its answer.
//! - [`build`]: what a CI made, once it told.
//! - [`run`]: one request to test a build, and its whole life as one transition table.
//! - [`campaign`]: many runs of one build, in waves with a gate between; `worker::conductor` moves them on.
//! - [`lease`]: who may touch a board. `lease::queue` decides (pure), `lease::scheduler` commits, `lease::reaper` frees.
//!   People have boards too, asked for in the same line; `worker::keeper` warns them, and ends their time.
//! - [`worker`]: drives boards. `worker::pool` puts a `worker::runner` on every granted lease; it performs the plan
//!   ([`board`]) over [`console`] and [`power`], and brings the board to rest on every path. `worker::timekeeper` starts
//!   health runs, `worker::almanac` what boards.yaml has at its times, `worker::registrar` learns who is in the groups that it
//!   names, `worker::pinner` keeps the digests of channels, `worker::decorator` reacts to messages that asked for runs,
//!   `worker::reloader` reads boards.yaml again.
//! - [`transfer`]: files over a console, proved piece by piece; [`artifact`]: the folder they come from.
//! - [`outcome`]: what happened, weighed to a verdict; test cases out of console lines; what is new about them.
//! - [`message`]: facts → template → [`Card`](message::Card) → a platform's JSON; `message::relay` sends what is owed.
//! - [`store`]: one coarse operation is one transaction.
//! - [`sim`]: simulated boards, PDUs, Slack and Feishu, for the demo and the tests. The other side of every wire.
//! - [`app`] puts the parts together; [`cli`] is the command line; [`config`], [`telemetry`], [`meter`], [`clock`], [`id`], [`net`]
//!   and [`doorbell`] are what everybody stands on.
//!
//! # Invariants
//!
//! 1. A delivery is acknowledged only after its effect, its dedupe key, its owed messages and its answer are committed
//!    in one transaction; its repeat gets the same answer and has no second effect.
//! 2. A board has at most one live lease (a unique index says so), every grant raises its fence, and a write that names
//!    an old fence changes nothing. A run by whoever holds a board runs under that lease, and leaves it held.
//! 3. Nothing but `console::dial` and `power` touches hardware, and only with a live lease in hand.
//! 4. A run that was accepted reaches exactly one outcome, and it is told: outcome, owed messages and the lease's turn
//!    to `finalizing` are one transaction. `kill -9` at any instant changes none of this.
//! 5. Every path ends in finalize: also cancel, timeout and crash.
//! 6. A wake-up carries no data: start-up and steady state run the same code.
//! 7. Nothing reads the wall clock or makes randomness but [`clock`] and [`id`].
//! 8. Text that people read lives in `message-templates/`. Bytes from a board or a build are hostile: escaped, redacted,
//!    bounded, and never unquoted in a shell.
//! 9. Every queue, buffer, loop and retry has a named bound.
//! 10. A click or a command never vanishes: it gets a visible answer, also when refused, stale or repeated.
//!
//! # Walkthrough: from a click on *Power Cycle* to a cycled board
//!
//! 1. Slack posts the click; `door::slack::receive` verifies it and `chat::slack::decode` makes a
//!    [`Delivery`](chat::Delivery) with a [`Click`](command::Click).
//! 2. `command::handle` (`act::click_power_cycle`) checks who may, and what the run does now: on its board, the effect
//!    is `Effect::PowerCycle`; afterwards it is an `Effect::Errand`.
//! 3. [`Store::commit`](store::Store::commit) writes effect, audit row and owed answer; the door acknowledges and rings.
//! 4. On its board: `worker::pool` hands the request to the run's runner, which stops the attempt, cycles the board
//!    through [`power`] under its own lease (`Attempt::interrupted`) and settles it (`infra`, cause `power-cycled`);
//!    `worker::finalize` brings the board to rest.
//! 5. Afterwards: `worker::errands` takes a short lease, switches through [`power`], releases, and owes the answer.
//! 6. `message::relay` edits the card and sends the answer.

pub mod clock;
pub mod id;
pub mod net;
pub mod doorbell;
pub mod telemetry;
pub mod meter;
pub mod config;

pub mod door;
pub mod web;
pub mod chat;
pub mod command;
pub mod board;
pub mod build;
pub mod run;
pub mod campaign;
pub mod lease;
pub mod worker;
pub mod console;
pub mod power;
pub mod transfer;
pub mod artifact;
pub mod outcome;
pub mod message;
pub mod store;

pub mod sim;
pub mod app;
pub mod cli;
