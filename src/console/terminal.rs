//! A console in a person's hands: bytes as the board says them and as somebody types them, under the lease of whoever has
//! the board. Nothing is understood here, and nothing is recorded: what is typed may be a password.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::line::{BREAK, WRITE_WITHIN, telnet};
use super::telnet::Telnet;
use super::wire::Wire;
use super::{ConsoleError, ConsoleTarget, InHand, dial};
use crate::clock::{Clock, Monotonic};

/// Bytes read at once, and the longest piece that is given on.
pub const PIECE_BYTES_MAX: usize = 4 * 1024;
/// Typed bytes that may wait for the board before no more are taken.
pub const TYPED_BYTES_MAX: usize = 256 * 1024;
/// Bytes sent at once: what comes back is heard in between, and a slow line takes so many in time.
const SEND_BYTES_MAX: usize = 256;

/// A console that somebody looks at.
pub struct Terminal {
    clock: Clock,
    in_hand: Arc<dyn InHand>,
    wire: Wire,
    telnet: Telnet,
    buffer: Vec<u8>,
    /// Typed and not sent yet: boards that drop input get it slowly.
    typed: VecDeque<u8>,
    char_delay: Duration,
    types_at: Monotonic,
    /// Until when a break lasts.
    breaks_until: Option<Monotonic>,
}

/// What there is to do.
#[derive(Debug)]
pub enum Stir {
    /// So many bytes were read; none once the other side has gone.
    Said(usize),
    /// Something is to be sent.
    Due,
}

impl Terminal {
    /// Connects to a console.
    pub async fn attach(
        clock: &Clock,
        in_hand: Arc<dyn InHand>,
        target: &ConsoleTarget,
    ) -> Result<Terminal, ConsoleError> {
        if !in_hand.trusted() {
            return Err(ConsoleError::LeaseOver { label: in_hand.label() });
        }
        let wire = dial::connect(clock, target).await?;
        let mut terminal = Terminal {
            clock: clock.clone(),
            in_hand,
            wire,
            telnet: telnet(target),
            buffer: vec![0; PIECE_BYTES_MAX],
            typed: VecDeque::new(),
            char_delay: target.settings.char_delay,
            types_at: clock.monotonic(),
            breaks_until: None,
        };
        let opening = terminal.telnet.opening();
        terminal.write(opening).await?;
        Ok(terminal)
    }

    /// Whether more may be typed: what is typed much faster than the board takes it waits with whoever types.
    pub fn takes_more(&self) -> bool {
        self.typed.len() < TYPED_BYTES_MAX
    }

    /// Forgets what was typed and is not sent yet.
    pub fn forget_typed(&mut self) {
        self.typed.clear();
    }

    /// Waits until there is something to do: the board says something, or something typed is due. May be given up at any
    /// time without losing anything; what it gives is done by [`Terminal::go_on`].
    pub async fn wait(&mut self) -> Stir {
        let wakes_at = self.breaks_until.or((!self.typed.is_empty()).then_some(self.types_at));
        let clock = self.clock.clone();
        let woken = async {
            match wakes_at {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // A reset connection has ended like any other; what came before it was read.
            read = self.wire.read(&mut self.buffer) => Stir::Said(read.unwrap_or_default()),
            () = woken => Stir::Due,
        }
    }

    /// Does what there was to do; gives what the board said, which may be nothing. Not to be given up.
    pub async fn go_on(&mut self, stir: Stir) -> Result<Bytes, ConsoleError> {
        match stir {
            Stir::Said(0) => Err(ConsoleError::Closed { tail: vec![] }),
            Stir::Said(count) => self.received(count).await,
            Stir::Due => self.send_due().await.map(|()| Bytes::new()),
        }
    }

    /// Takes what somebody typed; it is sent as the board takes it.
    pub fn type_in(&mut self, keys: &[u8]) {
        if self.typed.is_empty() {
            self.types_at = self.clock.monotonic();
        }
        self.typed.extend(keys);
    }

    /// Begins a serial break, which ends by itself; false where the console cannot carry one.
    pub async fn send_break(&mut self) -> Result<bool, ConsoleError> {
        self.trusted()?;
        let ends_at = self.clock.monotonic() + BREAK;
        match self.wire.set_break(true) {
            Some(Ok(())) => self.breaks_until = Some(ends_at),
            Some(Err(_)) => return Ok(false),
            None => {
                let Some(sequence) = self.telnet.brk() else { return Ok(false) };
                self.write(&sequence.on).await?;
                self.breaks_until = sequence.off.is_some().then_some(ends_at);
            }
        }
        Ok(true)
    }

    /// Lets go of the console.
    pub async fn close(mut self) {
        drop(self.end_break().await);
        drop(self.clock.timeout(WRITE_WITHIN, self.wire.shutdown()).await);
    }

    async fn received(&mut self, count: usize) -> Result<Bytes, ConsoleError> {
        let (mut data, mut reply) = (Vec::with_capacity(count), Vec::new());
        self.telnet.feed(&self.buffer[..count], &mut data, &mut reply);
        self.write(&reply).await?;
        Ok(Bytes::from(data))
    }

    async fn send_due(&mut self) -> Result<(), ConsoleError> {
        if self.breaks_until.is_some() {
            return self.end_break().await;
        }
        let count = if self.char_delay.is_zero() { SEND_BYTES_MAX } else { 1 };
        let keys: Vec<u8> = self.typed.drain(..count.min(self.typed.len())).collect();
        self.types_at = self.clock.monotonic() + self.char_delay;
        let wire = self.telnet.encode(&keys);
        self.write(&wire).await
    }

    async fn end_break(&mut self) -> Result<(), ConsoleError> {
        if self.breaks_until.take().is_none() || self.wire.set_break(false).is_some() {
            return Ok(());
        }
        match self.telnet.brk().and_then(|sequence| sequence.off) {
            Some(off) => self.write(&off).await,
            None => Ok(()),
        }
    }

    fn trusted(&self) -> Result<(), ConsoleError> {
        match self.in_hand.trusted() {
            true => Ok(()),
            false => Err(ConsoleError::LeaseOver { label: self.in_hand.label() }),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ConsoleError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.trusted()?;
        match self.clock.timeout(WRITE_WITHIN, self.wire.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ConsoleError::Closed { tail: vec![] }),
            Err(_) => Err(ConsoleError::NotTaken { waited_for: WRITE_WITHIN, tail: vec![] }),
        }
    }
}
