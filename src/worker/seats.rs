//! Seats: who sits at the console of a board of their own. One connection to a console each, one person who types, and others
//! who watch. A seat is left when its lease is over or its board goes to a run, and whoever is next on the board waits until
//! it is. Nobody sits at a board that nobody holds; no lease is made, kept or ended here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{broadcast, mpsc, watch};

use super::occupied::On;
use super::runner::Lab;
use crate::board::BoardId;
use crate::chat::Actor;
use crate::console::terminal::Terminal;
use crate::console::{ConsoleError, ConsoleTarget, InHand};
use crate::doorbell::Bell;
use crate::id::LeaseId;
use crate::lease::{Grip, Holder, Lease, LeaseState};
use crate::run::LeaseRef;
use crate::store::StoreError;

/// Most consoles at which somebody sits.
pub const SEATS_MAX: usize = 64;
/// Most people who watch one.
pub const WATCHERS_MAX: usize = 16;
/// Pieces of output that somebody may be behind; what is older is lost for them, and they are told.
const BEHIND_MAX: usize = 256;
/// Pieces that somebody has typed and that wait to be taken.
const TYPED_MAX: usize = 4;
/// How often a seat looks whether its lease still stands.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What somebody does at a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// They type.
    Typed(Bytes),
    /// They send a serial break.
    Break,
}

/// What comes from a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// What the board says.
    Board(Bytes),
    /// A break was asked for that this console cannot carry.
    NoBreak,
    /// The seat is left, and why.
    Over(Over),
}

/// Why a seat is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// Whoever typed has gone.
    Left,
    /// The board is theirs no more.
    NotHeld,
    /// A run of theirs goes on the board.
    Run(i64),
    /// The console failed.
    Console(String),
    /// The server stops.
    Stops,
}

/// A place at a console. Whoever has `keys` types, and the seat is left when they are dropped.
pub struct Seat {
    /// What comes from the console from now on.
    pub said: broadcast::Receiver<Said>,
    /// Where they type; `None` for somebody who watches.
    pub keys: Option<mpsc::Sender<Key>>,
}

/// Why somebody gets no place.
#[derive(Debug)]
pub enum NoSeat {
    /// They do not have the board; who does.
    NotTheirs(Option<Holder>),
    /// A run is on it.
    Run(i64),
    /// Somebody types there.
    Taken,
    /// A run that has ended still lets go of it.
    Busy,
    /// It is driven from elsewhere.
    Elsewhere,
    /// Nobody sits there, so that there is nothing to watch.
    Empty,
    /// So many sit and watch that there is no room.
    Full,
    /// The board has left the lab file.
    NoBoard,
    /// Its console cannot be had.
    Console(ConsoleError),
    /// The store does not say whose it is.
    Store(StoreError),
}

/// The consoles at which somebody sits.
pub struct Seats {
    lab: Arc<Lab>,
    closing: watch::Receiver<bool>,
    taken: Mutex<HashMap<BoardId, broadcast::Sender<Said>>>,
}

impl Seats {
    /// Nobody sits anywhere; all are asked to leave when `closing` says true.
    pub fn new(lab: Arc<Lab>, closing: watch::Receiver<bool>) -> Self {
        Seats { lab, closing, taken: Mutex::default() }
    }

    /// Watches somebody who sits at a console.
    pub fn watch(&self, board: &BoardId) -> Result<Seat, NoSeat> {
        match self.taken().get(board) {
            Some(said) if said.receiver_count() > WATCHERS_MAX => Err(NoSeat::Full),
            Some(said) => Ok(Seat { said: said.subscribe(), keys: None }),
            None => Err(NoSeat::Empty),
        }
    }

    /// Sits down at the console of a board that `by` has, or that anybody has where they `may_any`.
    pub async fn sit(self: &Arc<Self>, board: &BoardId, by: &Actor, may_any: bool) -> Result<Seat, NoSeat> {
        let said = self.take_place(board)?;
        let mut place = Place { seats: self.clone(), board: board.clone(), on: None };
        // From here on whoever is next on the board waits; that it is theirs is looked at after that.
        place.on = Some(self.lab.occupied.enter_console(board).ok_or(NoSeat::Busy)?);
        let lease = self.lease(board).await?;
        let theirs = lease.as_ref().is_some_and(|lease| lease.is_held_by(by));
        let lease = lease.filter(|lease| lease.state == LeaseState::Held && (theirs || may_any));
        let Some(lease) = lease else { return Err(NoSeat::NotTheirs(self.holder(board).await?)) };
        if let Some((run, _)) = lease.hold.as_ref().and_then(|hold| hold.run) {
            return Err(NoSeat::Run(run));
        }
        let lab = self.lab.inventory.newest_with(board, |_| true);
        let found = lab.board(board.as_str()).ok_or(NoSeat::NoBoard)?;
        if lab.is_remote(found) {
            return Err(NoSeat::Elsewhere);
        }
        let target = ConsoleTarget::from(&found.console);
        let named = LeaseRef { id: lease.id, board: board.clone(), fence: lease.fence };
        let grip = Arc::new(Grip::new(named, self.lab.store.trust()));
        let hand: Arc<dyn InHand> = grip.clone();
        let attached = Box::pin(Terminal::attach(&self.lab.clock, hand, &target)).await;
        let terminal = attached.map_err(NoSeat::Console)?;
        let (keys, typed) = mpsc::channel(TYPED_MAX);
        let seat = Seat { said: said.subscribe(), keys: Some(keys) };
        tokio::spawn(async move {
            let over = Box::pin(place.drive(terminal, &lease, &said, typed)).await;
            grip.lose();
            tracing::info!(board.id = %place.board, why = ?over, "somebody has left the console of a board");
            drop(place);
            let _ = said.send(Said::Over(over));
        });
        Ok(seat)
    }

    fn take_place(&self, board: &BoardId) -> Result<broadcast::Sender<Said>, NoSeat> {
        let mut taken = self.taken();
        if taken.contains_key(board) {
            return Err(NoSeat::Taken);
        }
        if taken.len() >= SEATS_MAX {
            return Err(NoSeat::Full);
        }
        let (said, _) = broadcast::channel(BEHIND_MAX);
        taken.insert(board.clone(), said.clone());
        Ok(said)
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<BoardId, broadcast::Sender<Said>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn lease(&self, board: &BoardId) -> Result<Option<Lease>, NoSeat> {
        let leases = self.lab.store.lease_list().await.map_err(NoSeat::Store)?;
        Ok(leases.into_iter().find(|lease| lease.board == *board))
    }

    async fn holder(&self, board: &BoardId) -> Result<Option<Holder>, NoSeat> {
        Ok(self.lease(board).await?.map(|lease| lease.holder))
    }
}

/// Types keys behind those that the board has not taken yet. Ctrl-C ends what was typed before it.
fn type_in(terminal: &mut Terminal, keys: &[u8]) {
    const CTRL_C: u8 = 3;
    match keys.iter().rposition(|key| *key == CTRL_C) {
        Some(at) => {
            terminal.forget_typed();
            terminal.type_in(&keys[at..]);
        }
        None => terminal.type_in(keys),
    }
}

/// Resolves when the server stops, also when nobody is left to say so.
async fn is_true(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Somebody's place at a console: dropped when they have let go of it.
struct Place {
    seats: Arc<Seats>,
    board: BoardId,
    on: Option<On>,
}

impl Place {
    /// Carries what is said and typed until the seat is left.
    async fn drive(
        &self,
        mut terminal: Terminal,
        lease: &Lease,
        said: &broadcast::Sender<Said>,
        mut typed: mpsc::Receiver<Key>,
    ) -> Over {
        let clock = self.seats.lab.clock.clone();
        let (mut closing, trust) = (self.seats.closing.clone(), self.seats.lab.store.trust());
        let mut look_at = clock.monotonic();
        let mut seen = None;
        let over = loop {
            tokio::select! {
                stir = terminal.wait() => match terminal.go_on(stir).await {
                    Ok(piece) if piece.is_empty() => {}
                    // Nobody may be there to hear it at this moment.
                    Ok(piece) => drop(said.send(Said::Board(piece))),
                    Err(error) => break Over::Console(error.to_string()),
                },
                key = typed.recv(), if terminal.takes_more() => match key {
                    None => break Over::Left,
                    Some(Key::Typed(keys)) => {
                        self.seats.lab.used.note(&self.board, clock.now());
                        type_in(&mut terminal, &keys);
                    }
                    Some(Key::Break) => match terminal.send_break().await {
                        Ok(true) => {}
                        Ok(false) => drop(said.send(Said::NoBreak)),
                        Err(error) => break Over::Console(error.to_string()),
                    },
                },
                () = clock.sleep_until(look_at) => {
                    if typed.is_closed() {
                        break Over::Left;
                    }
                    let commits = self.seats.lab.store.commits();
                    if (commits.is_none() || commits != seen)
                        && let Some(over) = self.look(lease.id).await
                    {
                        break over;
                    }
                    seen = commits;
                    look_at = clock.monotonic() + LOOK_EVERY;
                }
                () = trust.over() => break Over::NotHeld,
                () = is_true(&mut closing) => break Over::Stops,
            }
        };
        Box::pin(terminal.close()).await;
        over
    }

    /// Why the seat is to be left, if it is. A store that does not answer says nothing.
    async fn look(&self, lease: LeaseId) -> Option<Over> {
        let found = self.seats.lease(&self.board).await.ok()?;
        let held = found.filter(|found| found.id == lease && found.state == LeaseState::Held);
        match held.map(|held| held.hold.and_then(|hold| hold.run)) {
            None => Some(Over::NotHeld),
            Some(Some((run, _))) => Some(Over::Run(run)),
            Some(None) => None,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seats.taken().remove(&self.board);
        // Whoever waits looks again once nobody is on the board.
        drop(self.on.take());
        [Bell::Pool, Bell::Keeper].iter().for_each(|bell| self.seats.lab.doorbell.ring(*bell));
    }
}
