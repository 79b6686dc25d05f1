//! The frames of Feishu's long connection: `pbbp2.Frame`, a protobuf message of nine fields, read and written by hand.
//! Pure; what a frame is about is `socket`'s.
//!
//! Frames come from outside: every length is held against what is there, fields that are not known are passed over, and
//! a frame of more than [`FRAME_BYTES_MAX`] bytes or [`HEADERS_MAX`] headers is none. Events too large for one frame
//! come in parts; [`Parts`] puts them together, within bounds and for a short time only.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Monotonic;

/// Largest frame in bytes.
pub const FRAME_BYTES_MAX: usize = crate::net::ws::MESSAGE_BYTES_MAX;
/// Most headers of a frame.
pub const HEADERS_MAX: usize = 64;
/// Most parts of one event.
pub const PARTS_MAX: usize = 64;
/// Largest event in bytes, as over the webhook.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;
/// Most events that are waiting for their other parts; beyond it the oldest is given up, and Feishu sends it again.
pub const WAITING_MAX: usize = 32;
/// How long an event waits for its other parts.
pub const PART_LIVES: Duration = Duration::from_secs(10);

/// What a frame is for.
pub mod method {
    /// It keeps the connection.
    pub const CONTROL: i32 = 0;
    /// It carries an event, or the answer to one.
    pub const DATA: i32 = 1;
}

/// A frame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// Its number, Feishu's own.
    pub seq: u64,
    /// Its number in Feishu's log.
    pub log: u64,
    /// The service that the connection belongs to.
    pub service: i32,
    /// See [`method`].
    pub method: i32,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
    /// How the payload is packed.
    pub encoding: Option<String>,
    /// What the payload is.
    pub kind: Option<String>,
    /// The payload.
    pub payload: Option<Vec<u8>>,
    /// Another number in Feishu's log.
    pub log_new: Option<String>,
}

/// Bytes that are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameProblem {
    /// It ends in the middle of a field.
    #[error("a frame that is cut off")]
    Cut,
    /// A field is not of its kind.
    #[error("a field that is malformed")]
    Malformed,
    /// It is over a bound.
    #[error("a frame that is too large")]
    TooLarge,
    /// One of the four fields is missing that every frame has.
    #[error("a frame without one of its first four fields")]
    Incomplete,
}

impl Frame {
    /// The keepalive of a connection to `service`.
    pub fn ping(service: i32) -> Frame {
        let headers = vec![("type".to_owned(), "ping".to_owned())];
        Frame { service, method: method::CONTROL, headers, ..Frame::default() }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The answer to this frame: itself, with how long it took and another payload.
    pub fn answered(mut self, took: Duration, payload: Vec<u8>) -> Frame {
        self.headers.push(("biz_rt".to_owned(), took.as_millis().to_string()));
        self.payload = Some(payload);
        self
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.payload.as_ref().map_or(0, Vec::len));
        number(&mut out, 1, self.seq);
        number(&mut out, 2, self.log);
        number(&mut out, 3, signed(self.service));
        number(&mut out, 4, signed(self.method));
        for (name, value) in &self.headers {
            let mut pair = Vec::with_capacity(name.len() + value.len() + 4);
            bytes(&mut pair, 1, name.as_bytes());
            bytes(&mut pair, 2, value.as_bytes());
            bytes(&mut out, 5, &pair);
        }
        let texts = [(6, &self.encoding), (7, &self.kind)];
        texts
            .iter()
            .for_each(|(field, text)| text.iter().for_each(|t| bytes(&mut out, *field, t.as_bytes())));
        self.payload.iter().for_each(|payload| bytes(&mut out, 8, payload));
        self.log_new.iter().for_each(|text| bytes(&mut out, 9, text.as_bytes()));
        out
    }

    /// The frame that these bytes are.
    pub fn decode(raw: &[u8]) -> Result<Frame, FrameProblem> {
        if raw.len() > FRAME_BYTES_MAX {
            return Err(FrameProblem::TooLarge);
        }
        let mut frame = Frame::default();
        let mut there = [false; 4];
        let mut fields = Fields(raw);
        while let Some((field, value)) = fields.next()? {
            if let Some(first) = (1..=4).contains(&field).then(|| &mut there[field as usize - 1]) {
                *first = true;
            }
            match (field, value) {
                (1, Field::Number(n)) => frame.seq = n,
                (2, Field::Number(n)) => frame.log = n,
                // An int32 travels as its sign-extended 64 bits; what is above them is cut, as protobuf wants it.
                (3, Field::Number(n)) => frame.service = n as i32,
                (4, Field::Number(n)) => frame.method = n as i32,
                (5, Field::Bytes(_)) if frame.headers.len() >= HEADERS_MAX => {
                    return Err(FrameProblem::TooLarge);
                }
                (5, Field::Bytes(pair)) => frame.headers.push(header(pair)?),
                (6, Field::Bytes(text)) => frame.encoding = Some(words(text)?),
                (7, Field::Bytes(text)) => frame.kind = Some(words(text)?),
                (8, Field::Bytes(payload)) => frame.payload = Some(payload.to_vec()),
                (9, Field::Bytes(text)) => frame.log_new = Some(words(text)?),
                (1..=9, _) => return Err(FrameProblem::Malformed),
                _ => {}
            }
        }
        if there == [true; 4] { Ok(frame) } else { Err(FrameProblem::Incomplete) }
    }
}

fn header(pair: &[u8]) -> Result<(String, String), FrameProblem> {
    let (mut name, mut value) = (String::new(), String::new());
    let mut fields = Fields(pair);
    while let Some((field, content)) = fields.next()? {
        match (field, content) {
            (1, Field::Bytes(text)) => name = words(text)?,
            (2, Field::Bytes(text)) => value = words(text)?,
            (1 | 2, _) => return Err(FrameProblem::Malformed),
            _ => {}
        }
    }
    Ok((name, value))
}

fn words(text: &[u8]) -> Result<String, FrameProblem> {
    String::from_utf8(text.to_vec()).map_err(|_| FrameProblem::Malformed)
}

// ---- protobuf ---------------------------------------------------------------------------------------------

/// Most bytes of a number.
const VARINT_BYTES_MAX: usize = 10;

/// The fields of a protobuf message, one after the other.
struct Fields<'b>(&'b [u8]);

/// What a field holds.
enum Field<'b> {
    Number(u64),
    Bytes(&'b [u8]),
    /// Of a kind that no field of ours is.
    Other,
}

impl<'b> Fields<'b> {
    fn next(&mut self) -> Result<Option<(u64, Field<'b>)>, FrameProblem> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Field::Number(self.varint()?),
            1 => self.take(8).map(|_| Field::Other)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| FrameProblem::Cut)?;
                Field::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Field::Other)?,
            _ => return Err(FrameProblem::Malformed),
        };
        match key >> 3 {
            0 => Err(FrameProblem::Malformed),
            field => Ok(Some((field, value))),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], FrameProblem> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(FrameProblem::Cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, FrameProblem> {
        let mut number = 0;
        for at in 0..VARINT_BYTES_MAX {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(FrameProblem::Malformed)
    }
}

fn signed(number: i32) -> u64 {
    i64::from(number).cast_unsigned()
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn number(out: &mut Vec<u8>, field: u64, number: u64) {
    varint(out, field << 3);
    varint(out, number);
}

fn bytes(out: &mut Vec<u8>, field: u64, content: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

// ---- events in parts --------------------------------------------------------------------------------------

/// Events of which not every part has come.
#[derive(Debug, Default)]
pub struct Parts(HashMap<String, Waiting>);

#[derive(Debug)]
struct Waiting {
    parts: Vec<Option<Vec<u8>>>,
    bytes: usize,
    since: Monotonic,
}

/// What became of a part.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// It completes this event.
    Whole(Vec<u8>),
    /// Others are still to come.
    More,
    /// It belongs to no event that could be.
    Bad,
}

impl Parts {
    /// Takes in a data frame's payload.
    pub fn put(&mut self, frame: &mut Frame, now: Monotonic) -> Part {
        let payload = frame.payload.take().unwrap_or_default();
        let count = |name: &str| match frame.header(name) {
            None | Some("") => Some(0),
            Some(text) => text.parse::<usize>().ok(),
        };
        let (Some(sum), Some(seq)) = (count("sum"), count("seq")) else { return Part::Bad };
        if payload.len() > EVENT_BYTES_MAX {
            return Part::Bad;
        }
        if sum <= 1 {
            return Part::Whole(payload);
        }
        let id = frame.header("message_id").unwrap_or_default().to_owned();
        if sum > PARTS_MAX || seq >= sum || id.is_empty() {
            return Part::Bad;
        }
        self.0.retain(|_, waiting| now.since(waiting.since) < PART_LIVES);
        if !self.0.contains_key(&id) && self.0.len() >= WAITING_MAX {
            let oldest = self.0.iter().min_by_key(|(_, waiting)| waiting.since).map(|(id, _)| id.clone());
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
        let waiting = self.0.entry(id.clone()).or_insert_with(|| Waiting {
            parts: vec![None; sum],
            bytes: 0,
            since: now,
        });
        if waiting.parts.len() != sum {
            self.0.remove(&id);
            return Part::Bad;
        }
        let place = &mut waiting.parts[seq];
        if place.is_none() {
            waiting.bytes += payload.len();
            *place = Some(payload);
        }
        if waiting.bytes > EVENT_BYTES_MAX {
            self.0.remove(&id);
            return Part::Bad;
        }
        if waiting.parts.iter().any(Option::is_none) {
            return Part::More;
        }
        let whole = self.0.remove(&id).map(|waiting| waiting.parts.into_iter().flatten().collect::<Vec<_>>());
        Part::Whole(whole.unwrap_or_default().concat())
    }
}

#[cfg(test)]
mod tests;
