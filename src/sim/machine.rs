//! A simulated board's silicon: it lives while it has power, and forgets everything when that goes.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::board::Shared;
use super::script;
use super::tty::Tty;

/// Plays the board until its console port is gone.
pub(super) async fn run(shared: Arc<Shared>, typed: mpsc::Receiver<Vec<u8>>) {
    let mut power = shared.power.subscribe();
    let mut tty = Tty::new(shared.clone(), typed);
    // A board that is on from the start has been for long.
    let mut booted = shared.spec.powered;
    loop {
        let on = power.borrow_and_update().on;
        tty.forget();
        let gone = if on {
            tokio::select! {
                biased;
                changed = power.changed() => changed.is_err(),
                () = script::live(&mut tty, std::mem::take(&mut booted)) => false,
            }
        } else {
            tokio::select! {
                biased;
                changed = power.changed() => changed.is_err(),
                // What is typed at a board without power is lost.
                () = tty.discard_input() => true,
            }
        };
        if gone {
            return;
        }
    }
}
