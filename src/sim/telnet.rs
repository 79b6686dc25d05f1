//! The server's side of telnet (RFC 854, 1143), as ser2net and inetutils speak it. Sans-IO: bytes in, bytes out.
//!
//! Written apart from `console::telnet` on purpose: the two check each other.

use std::mem::take;

use super::faults::STORM_OPTIONS_MAX;

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const SB: u8 = 250;
const AYT: u8 = 246;
const IP: u8 = 244;
const COMMAND_MIN: u8 = 239;
const SE: u8 = 240;

const BINARY: u8 = 0;
const ECHO: u8 = 1;
const SGA: u8 = 3;

/// One side of one option.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Off,
    /// We asked and wait for the answer.
    Asked,
    On,
    /// Refused once; further requests get no answer, which is what ends loops.
    Refused,
}

enum State {
    Data,
    Cr,
    Command,
    Option(u8),
    Sub,
    SubCommand,
}

/// What came of received bytes.
#[derive(Default, Debug, PartialEq)]
pub(super) struct Received {
    /// Typed at the board.
    pub(super) data: Vec<u8>,
    /// To be sent back; whole commands only.
    pub(super) reply: Vec<u8>,
}

/// One connection's protocol state.
pub(super) struct Telnet {
    raw: bool,
    us: [Side; 256],
    him: [Side; 256],
    state: State,
    sent_cr: bool,
}

impl Telnet {
    /// A new connection; `raw` passes every byte through.
    pub(super) fn new(raw: bool) -> Self {
        Telnet { raw, us: [Side::Off; 256], him: [Side::Off; 256], state: State::Data, sent_cr: false }
    }

    /// What the server opens with, and `storm` useless requests more.
    pub(super) fn open(&mut self, storm: usize) -> Vec<u8> {
        if self.raw {
            return Vec::new();
        }
        let mut out = Vec::new();
        for (verb, option) in [(WILL, SGA), (DO, SGA), (WILL, ECHO), (DO, BINARY), (WILL, BINARY)] {
            let side = if verb == WILL { &mut self.us } else { &mut self.him };
            side[option as usize] = Side::Asked;
            out.extend([IAC, verb, option]);
        }
        out.extend([IAC, DONT, ECHO]);
        for n in 0..storm.min(STORM_OPTIONS_MAX) {
            // Options 64 and up are unassigned or rare; each is asked for both ways, again and again.
            let option = 64 + (n / 2 % 180) as u8;
            out.extend([IAC, if n % 2 == 0 { DO } else { WILL }, option]);
        }
        out
    }

    /// Takes what the client sent.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Received {
        let mut got = Received::default();
        if self.raw {
            got.data.extend_from_slice(bytes);
            return got;
        }
        for &byte in bytes {
            self.receive_byte(byte, &mut got);
        }
        got
    }

    fn receive_byte(&mut self, byte: u8, got: &mut Received) {
        match std::mem::replace(&mut self.state, State::Data) {
            // CR NUL and CR LF are one Enter; anything else after CR stands for itself.
            State::Cr if byte == 0 || byte == b'\n' => {}
            State::Data | State::Cr => match byte {
                IAC => self.state = State::Command,
                b'\r' => {
                    got.data.push(byte);
                    self.state = State::Cr;
                }
                _ => got.data.push(byte),
            },
            State::Command => match byte {
                WILL | WONT | DO | DONT => self.state = State::Option(byte),
                SB => self.state = State::Sub,
                AYT => got.reply.extend(b"\r\n[Yes]\r\n"),
                IP => got.data.push(3),
                IAC => got.data.push(IAC),
                byte if byte < COMMAND_MIN => got.data.extend([IAC, byte]),
                _ => {}
            },
            State::Option(verb) => self.negotiate(verb, byte, &mut got.reply),
            State::Sub => self.state = if byte == IAC { State::SubCommand } else { State::Sub },
            State::SubCommand => self.state = if byte == SE { State::Data } else { State::Sub },
        }
    }

    fn negotiate(&mut self, verb: u8, option: u8, reply: &mut Vec<u8>) {
        let (sides, yes, no) = match verb {
            DO | DONT => (&mut self.us, WILL, WONT),
            _ => (&mut self.him, DO, DONT),
        };
        let side = &mut sides[option as usize];
        let wanted = matches!(verb, DO | WILL);
        let supported = matches!(option, BINARY | SGA) || (option == ECHO && verb == DO);
        match (*side, wanted) {
            (Side::Asked, true) => *side = Side::On,
            (Side::Asked, false) => *side = Side::Off,
            (Side::On, false) => {
                *side = Side::Off;
                reply.extend([IAC, no, option]);
            }
            (Side::Off, true) if supported => {
                *side = Side::On;
                reply.extend([IAC, yes, option]);
            }
            (Side::Off, true) => {
                *side = Side::Refused;
                reply.extend([IAC, no, option]);
            }
            (Side::On | Side::Refused, true) | (Side::Off | Side::Refused, false) => {}
        }
    }

    /// Output of the board as it goes over the wire.
    pub(super) fn encode(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.raw {
            return bytes.to_vec();
        }
        let binary = self.us[BINARY as usize] == Side::On;
        let mut out = Vec::with_capacity(bytes.len() + 8);
        for &byte in bytes {
            if take(&mut self.sent_cr) && byte != b'\n' && !binary {
                out.push(0);
            }
            out.push(byte);
            if byte == IAC {
                out.push(IAC);
            }
            self.sent_cr = byte == b'\r';
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &[u8], data: &[u8], reply: &[u8]) {
        let mut telnet = Telnet::new(false);
        telnet.open(0);
        let mut whole = Received::default();
        for byte in input {
            let got = telnet.receive(&[*byte]);
            whole.data.extend(got.data);
            whole.reply.extend(got.reply);
        }
        assert_eq!((&whole.data[..], &whole.reply[..]), (data, reply), "{input:?}");
    }

    #[test]
    fn an_answer_to_our_offer_gets_no_answer() {
        check(&[IAC, DO, ECHO, IAC, DO, SGA, IAC, WILL, BINARY], b"", &[]);
    }

    #[test]
    fn an_unknown_option_is_refused_once() {
        check(&[IAC, WILL, 24, IAC, WILL, 24, IAC, DO, 99], b"", &[IAC, DONT, 24, IAC, WONT, 99]);
    }

    #[test]
    fn doubled_255_is_data_and_enter_is_one_enter() {
        check(
            &[b'a', IAC, IAC, b'\r', 0, b'b', b'\r', b'\n', b'\r', b'c'],
            &[97, 255, 13, 98, 13, 13, 99],
            &[],
        );
    }

    #[test]
    fn a_subnegotiation_is_swallowed_whole() {
        check(&[IAC, SB, 31, 0, IAC, IAC, 0, 24, IAC, SE, b'x'], b"x", &[]);
    }

    #[test]
    fn output_doubles_255_and_pads_a_bare_return() {
        let mut telnet = Telnet::new(false);
        assert_eq!(telnet.encode(b"a\r"), b"a\r");
        assert_eq!(telnet.encode(b"b\r\n\xff"), b"\0b\r\n\xff\xff");
    }

    #[test]
    fn a_storm_is_bounded() {
        let opening = Telnet::new(false).open(usize::MAX);
        assert_eq!(opening.len(), 3 * (6 + STORM_OPTIONS_MAX));
    }
}
