//! A place at a board's console, over a WebSocket: binary messages are bytes of the console, both ways; texts are JSON.
//! `{"key": "break"}` from whoever types sends a serial break, `{"notice": …}` tells something beside the console, and the
//! close says why it is over. Whoever has the board types, one at a time; others watch.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::super::Door;
use super::super::machine::Problem;
use super::who::Caller;
use super::{permitted, record, unreadable};
use crate::board::BoardId;
use crate::chat::token;
use crate::command::policy::{About, Asked};
use crate::lease::Holder;
use crate::net::ws::{self, Accepted, Gone, Received, WebSocket};
use crate::store::{Audit, Effect};
use crate::worker::seats::{Key, NoSeat, Over, Said, Seat};

/// Most bytes of one message that are typed.
const KEYS_BYTES_MAX: usize = 16 * 1024;
/// How often it is looked whether their token still opens anything.
const PROVE_EVERY: Duration = Duration::from_secs(2);
/// How often whoever sits there is asked whether they still do.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Silence after which they do not.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Closing codes: the end of the seat, of the board's time, and of the console.
const NORMAL: u16 = 1000;
const GOING_AWAY: u16 = 1001;
const REFUSED: u16 = 1008;
const NOT_YOURS: u16 = 4000;
const RUN: u16 = 4001;
const CONSOLE: u16 = 4002;

/// Which place.
#[derive(Deserialize)]
pub(in crate::door) struct PlaceQuery {
    /// Watches whoever types, and types nothing.
    #[serde(default)]
    watch: bool,
}

/// Takes a place.
pub(in crate::door) async fn console(
    State(door): State<Arc<Door>>,
    Path(id): Path<String>,
    Query(query): Query<PlaceQuery>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    if !ws::is_asked_for(request.headers()) {
        return Ok(ws::upgrade_required());
    }
    let token =
        request.headers().get(header::AUTHORIZATION).and_then(|value| token::bearer(value.as_bytes()));
    let digest = token::digest(token.unwrap_or_default());
    let lab = door.handler.inventory.now();
    let board = super::list::named(&lab, &id)?;
    let (board, family) = (board.id.clone(), board.family.as_str());
    let leases = door.store.lease_list().await.map_err(unreadable)?;
    let own_board = leases.iter().any(|lease| lease.board == board && lease.is_held_by(&caller.actor));
    let about = About { own_board, family: Some(family), ..About::default() };
    let asked = Asked::Console { types: !query.watch };
    let because = permitted(&door, &caller, asked, about, ("console", board.as_str())).await?;
    let seat = match query.watch {
        true => door.seats.watch(&board),
        // Who may because the board is theirs may only while it is.
        false => Box::pin(door.seats.sit(&board, &caller.actor, !own_board)).await,
    };
    let seat = seat.map_err(|none| refused(&board, none))?;
    if !query.watch {
        let audit =
            Audit { verb: "console".into(), target: board.to_string(), allowed: true, reason: because };
        record(&door, &caller, Effect::None, audit).await?;
    }
    let clock = door.clock.clone();
    Ok(ws::accept(request, move |accepted| async move {
        serve(door, seat, digest, WebSocket::of(accepted, clock).await).await;
    }))
}

fn refused(board: &BoardId, none: NoSeat) -> Problem {
    const TITLE: &str = "there is no place at this console";
    let conflict = |detail: String| Problem::new(StatusCode::CONFLICT, TITLE, detail);
    match none {
        NoSeat::NotTheirs(None) => conflict(format!("nobody has {board}; reserve it first")),
        NoSeat::NotTheirs(Some(Holder::Run { number, .. })) => conflict(format!("#{number} is on {board}")),
        NoSeat::NotTheirs(Some(Holder::Person(who))) => conflict(format!("{board} is with {}", who.shown())),
        NoSeat::NotTheirs(Some(Holder::Check(_))) => {
            conflict(format!("{board} is being switched or brought to rest; try again in a moment"))
        }
        NoSeat::Run(number) => conflict(format!("#{number} is on {board}; try again when it has ended")),
        NoSeat::Busy => conflict(format!("a run still lets go of {board}; try again in a moment")),
        NoSeat::Elsewhere => {
            conflict(format!("{board} is driven by the worker of its site, not by this server"))
        }
        NoSeat::Taken => conflict(format!("somebody types at {board}; watch them with watch=true")),
        NoSeat::Empty => conflict(format!("nobody types at {board}, so that there is nothing to watch")),
        NoSeat::NoBoard => conflict(format!("{board} has left boards.yaml")),
        NoSeat::Console(error) => Problem::new(StatusCode::BAD_GATEWAY, TITLE, error.to_string()),
        NoSeat::Full => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, TITLE, "there is no room at this server's consoles")
        }
        NoSeat::Store(error) => unreadable(error),
    }
}

/// Carries bytes both ways until one side has enough.
async fn serve(door: Arc<Door>, seat: Seat, digest: [u8; 32], mut socket: WebSocket<Accepted>) {
    let (code, why) = Box::pin(carry(&door, seat, &digest, &mut socket)).await;
    socket.close_saying(code, &why).await;
}

async fn carry(
    door: &Door,
    seat: Seat,
    digest: &[u8; 32],
    socket: &mut WebSocket<Accepted>,
) -> (u16, String) {
    let Seat { mut said, keys } = seat;
    let clock = &door.clock;
    let mut heard_at = clock.monotonic();
    let mut ping_at = heard_at + PING_EVERY;
    let mut proves_at = heard_at + PROVE_EVERY;
    let mut pressed: Option<Key> = None;
    loop {
        let has_pressed = pressed.is_some();
        let taking = async {
            match &keys {
                Some(keys) if has_pressed => keys.reserve().await.ok(),
                _ => std::future::pending().await,
            }
        };
        let sent = tokio::select! {
            said = said.recv() => match said {
                Ok(Said::Board(piece)) => socket.send_binary(piece).await,
                Ok(Said::NoBreak) => notice(socket, "this console cannot carry a break").await,
                Ok(Said::Over(over)) => return end(&over),
                Err(RecvError::Lagged(pieces)) => {
                    notice(socket, &format!("{pieces} pieces of output are left out: they came too fast")).await
                }
                Err(RecvError::Closed) => return (CONSOLE, "the console is not open any more".into()),
            },
            Some(place) = taking => {
                if let Some(key) = pressed.take() {
                    place.send(key);
                }
                // Nothing was heard while they waited for it.
                heard_at = clock.monotonic();
                Ok(())
            }
            // Whoever types faster than the board takes it waits.
            got = socket.receive(), if !has_pressed => match got {
                Ok(got) => {
                    heard_at = clock.monotonic();
                    match key(got) {
                        Err(problem) => return (REFUSED, problem.to_owned()),
                        Ok(Some(_)) if keys.is_none() => notice(socket, "you watch; what you type goes nowhere").await,
                        Ok(key) => {
                            pressed = key;
                            Ok(())
                        }
                    }
                }
                Err(gone) => Err(gone),
            },
            () = clock.sleep_until(ping_at) => {
                if !has_pressed && clock.monotonic().since(heard_at) >= SILENCE_MAX {
                    return (GOING_AWAY, "nobody is there".into());
                }
                ping_at = clock.monotonic() + PING_EVERY;
                socket.ping().await
            }
            () = clock.sleep_until(proves_at) => {
                if door.visitor(digest).await.is_none() {
                    return (REFUSED, "this token opens nothing any more".into());
                }
                proves_at = clock.monotonic() + PROVE_EVERY;
                Ok(())
            }
        };
        if sent.is_err() {
            return (NORMAL, String::new());
        }
    }
}

async fn notice(socket: &mut WebSocket<Accepted>, words: &str) -> Result<(), Gone> {
    socket.send_text(json!({ "notice": words }).to_string()).await
}

/// What somebody pressed, if anything.
fn key(got: Received) -> Result<Option<Key>, &'static str> {
    match got {
        Received::Binary(keys) if keys.len() > KEYS_BYTES_MAX => Err("so much is not typed at once"),
        Received::Binary(keys) if keys.is_empty() => Ok(None),
        Received::Binary(keys) => Ok(Some(Key::Typed(Bytes::copy_from_slice(&keys)))),
        Received::Text(text) => match serde_json::from_str::<Value>(&text) {
            Ok(said) if said["key"] == "break" => Ok(Some(Key::Break)),
            Ok(_) | Err(_) => Err("a text says {\"key\": \"break\"}; what is typed comes as binary messages"),
        },
        Received::Ping | Received::Pong => Ok(None),
    }
}

fn end(over: &Over) -> (u16, String) {
    match over {
        Over::Left => (NORMAL, "whoever typed has left".into()),
        Over::NotHeld => (NOT_YOURS, "the board is not held any more".into()),
        Over::Run(number) => (RUN, format!("#{number} goes on the board")),
        Over::Console(problem) => (CONSOLE, problem.clone()),
        Over::Stops => (GOING_AWAY, "the server stops".into()),
    }
}
