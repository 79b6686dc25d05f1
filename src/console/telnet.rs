//! Telnet, the client's side of it (RFC 854, 855, 1143, 2217): bytes in, data and answers out. Stands between the
//! socket and everything that reads text. Never touches a socket, and speaks first only to offer port control where
//! the lab file says that the server has it.
//!
//! Real endpoints decide the details: many type an answer they did not ask for into the board's shell, several
//! leak the tail of a sequence that was split, and some do not double 0xFF. So answers leave as whole sequences, a
//! subnegotiation only follows a request, and `FF x` with x below 239 is data.

use memchr::{memchr, memchr2};

/// Longest subnegotiation believed; a longer one never was one, and its bytes are data.
pub const SUBNEGOTIATION_BYTES_MAX: usize = 2048;
/// Most bytes answered to one call of [`Telnet::feed`]; a storm of requests gets no more.
pub const REPLY_BYTES_MAX: usize = 4096;
/// Longest terminal type that is sent (RFC 1091 allows 40).
pub const TERMINAL_TYPE_BYTES_MAX: usize = 40;

/// Window size that is announced, so wide that shells do not wrap what they echo (RFC 1073).
const WINDOW: (u16, u16) = (500, 50);

const SE: u8 = 240;
const BRK: u8 = 243;
const SB: u8 = 250;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DO: u8 = 253;
const DONT: u8 = 254;
const IAC: u8 = 255;
/// The lowest byte that is a command after IAC: EOR (RFC 885).
const COMMAND_MIN: u8 = 239;

const BINARY: u8 = 0;
const ECHO: u8 = 1;
const SGA: u8 = 3;
const TIMING_MARK: u8 = 6;
const TTYPE: u8 = 24;
const NAWS: u8 = 31;
const COM_PORT: u8 = 44;

const TTYPE_IS: u8 = 0;
const TTYPE_SEND: u8 = 1;

// RFC 2217: what a client says, and values of it. A server answers with the code plus 100.
const SET_BAUDRATE: u8 = 1;
const SET_DATASIZE: u8 = 2;
const SET_PARITY: u8 = 3;
const SET_STOPSIZE: u8 = 4;
const SET_CONTROL: u8 = 5;
const PARITY_NONE: u8 = 1;
const BREAK_ON: u8 = 5;
const BREAK_OFF: u8 = 6;
const SERVER: u8 = 100;

/// One connection's telnet state, or none of it for a raw TCP console.
pub struct Telnet {
    raw: bool,
    terminal_type: String,
    state: State,
    after_cr: bool,
    us: [Side; 256],
    them: [Side; 256],
    /// The whole subnegotiation so far, from its IAC on and as it was received.
    subnegotiation: Vec<u8>,
    /// Whether port control is offered.
    offers_port: bool,
    /// The line speed to set where the server controls its port.
    wanted_baud: Option<u32>,
    /// The line speed that the server said it has set.
    baud: Option<u32>,
}

/// How far the control of the serial port behind a telnet server has come (RFC 2217).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortControl {
    /// Not asked for.
    Off,
    /// Offered; no answer yet.
    Offered,
    /// The server does not know it.
    Refused,
    /// Agreed.
    Agreed {
        /// The line speed that the server said it has set; `None` before it has.
        baud: Option<u32>,
    },
}

/// How a break is carried: what starts it, and what ends it where that is not by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// Starts it.
    pub on: Vec<u8>,
    /// Ends it, a moment later.
    pub off: Option<Vec<u8>>,
}

/// Where in a sequence the parser stands, so that input may be split at any byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Data,
    Command,
    Option(u8),
    Subnegotiation,
    SubnegotiationCommand,
}

/// One side of one option. We ask for one thing at most, once, so of RFC 1143's states only these remain.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Off, and never asked for.
    No,
    /// Off, and a request was refused: the same request again gets no answer, which is what stops loops.
    Refused,
    /// Off, and offered by us: the answer needs no answer (RFC 1143's WANTYES).
    Offered,
    /// On.
    Yes,
}

impl Telnet {
    /// A telnet client that names `terminal_type` when it is asked (printable ASCII; the rest is dropped).
    pub fn client(terminal_type: &str) -> Self {
        let mut terminal_type: String = terminal_type.chars().filter(char::is_ascii_graphic).collect();
        terminal_type.truncate(TERMINAL_TYPE_BYTES_MAX);
        Telnet {
            raw: false,
            terminal_type,
            state: State::Data,
            after_cr: false,
            us: [Side::No; 256],
            them: [Side::No; 256],
            subnegotiation: Vec::new(),
            offers_port: false,
            wanted_baud: None,
            baud: None,
        }
    }

    /// A telnet client of a server that controls its serial port (RFC 2217), which shall run at `baud`, 8N1; `None`
    /// leaves the port as it is set.
    pub fn port_client(terminal_type: &str, baud: Option<u32>) -> Self {
        let mut telnet = Telnet { offers_port: true, wanted_baud: baud, ..Telnet::client(terminal_type) };
        telnet.us[usize::from(COM_PORT)] = Side::Offered;
        telnet
    }

    /// What is sent before anything is received: write it in one piece.
    pub fn opening(&self) -> &'static [u8] {
        match self.us[usize::from(COM_PORT)] {
            Side::Offered => &[IAC, WILL, COM_PORT],
            Side::No | Side::Refused | Side::Yes => &[],
        }
    }

    /// How far port control has come.
    pub fn port(&self) -> PortControl {
        match self.us[usize::from(COM_PORT)] {
            Side::Yes => PortControl::Agreed { baud: self.baud },
            Side::Offered => PortControl::Offered,
            Side::No | Side::Refused if self.offers_port => PortControl::Refused,
            Side::No | Side::Refused => PortControl::Off,
        }
    }

    /// No telnet at all: every byte is data, both ways.
    pub fn raw() -> Self {
        Telnet { raw: true, ..Telnet::client("") }
    }

    /// Takes received bytes; appends the data among them to `data` and what must be answered to `reply`. Each
    /// answer is a whole sequence: write `reply` in one piece.
    pub fn feed(&mut self, input: &[u8], data: &mut Vec<u8>, reply: &mut Vec<u8>) {
        if self.raw {
            data.extend_from_slice(input);
            return;
        }
        let mut rest = input;
        while !rest.is_empty() {
            if self.state == State::Data {
                rest = self.plain(rest, data);
                continue;
            }
            let (&byte, after) = rest.split_first().expect("rest is not empty");
            rest = after;
            self.step(byte, data, reply);
        }
    }

    /// Data as it goes onto the wire: 0xFF doubled. A carriage return stays alone: ser2net passes the NUL that
    /// RFC 854 wants after it into the board's shell.
    pub fn encode(&self, data: &[u8]) -> Vec<u8> {
        if self.raw {
            return data.to_vec();
        }
        let mut wire = Vec::with_capacity(data.len() + 8);
        let mut rest = data;
        while let Some(at) = memchr(IAC, rest) {
            wire.extend_from_slice(&rest[..=at]);
            wire.push(IAC);
            rest = &rest[at + 1..];
        }
        wire.extend_from_slice(rest);
        wire
    }

    /// A serial break (magic SysRq on a Linux console); `None` on a raw console, which cannot carry one.
    pub fn brk(&self) -> Option<Break> {
        let control = |value| {
            let mut sequence = Vec::new();
            self.subnegotiate(&[COM_PORT, SET_CONTROL, value], &mut sequence);
            sequence
        };
        match self.us[usize::from(COM_PORT)] {
            _ if self.raw => None,
            Side::Yes => Some(Break { on: control(BREAK_ON), off: Some(control(BREAK_OFF)) }),
            Side::No | Side::Refused | Side::Offered => Some(Break { on: vec![IAC, BRK], off: None }),
        }
    }

    /// Takes data up to the next IAC; returns what is left. NUL is rare, so looking for it finds CR NUL at memory speed.
    fn plain<'a>(&mut self, input: &'a [u8], data: &mut Vec<u8>) -> &'a [u8] {
        let mut rest = input;
        loop {
            let Some(at) = memchr2(IAC, 0, rest) else {
                self.push(rest, data);
                return &[];
            };
            self.push(&rest[..at], data);
            let (special, after) = (rest[at], &rest[at + 1..]);
            if special == IAC {
                self.state = State::Command;
                return after;
            }
            // CR NUL is a bare CR, except in binary, where NUL is a byte like any other (RFC 856).
            if self.after_cr && self.them[usize::from(BINARY)] != Side::Yes {
                self.after_cr = false;
            } else {
                self.push(&[0], data);
            }
            rest = after;
        }
    }

    fn push(&mut self, bytes: &[u8], data: &mut Vec<u8>) {
        if let Some(last) = bytes.last() {
            data.extend_from_slice(bytes);
            self.after_cr = *last == b'\r';
        }
    }

    fn step(&mut self, byte: u8, data: &mut Vec<u8>, reply: &mut Vec<u8>) {
        match self.state {
            State::Data => self.push(&[byte], data),
            State::Command => self.command(byte, data),
            State::Option(verb) => {
                self.state = State::Data;
                self.negotiate(verb, byte, reply);
            }
            State::Subnegotiation => {
                self.subnegotiation.push(byte);
                if byte == IAC {
                    self.state = State::SubnegotiationCommand;
                }
            }
            State::SubnegotiationCommand => self.subnegotiation_command(byte, data, reply),
        }
        if self.subnegotiation.len() >= SUBNEGOTIATION_BYTES_MAX {
            let bytes = std::mem::take(&mut self.subnegotiation);
            self.state = State::Data;
            self.push(&bytes, data);
        }
    }

    fn command(&mut self, byte: u8, data: &mut Vec<u8>) {
        self.state = State::Data;
        match byte {
            WILL | WONT | DO | DONT => self.state = State::Option(byte),
            SB => {
                self.subnegotiation = vec![IAC, SB];
                self.state = State::Subnegotiation;
            }
            IAC => self.push(&[IAC], data),
            COMMAND_MIN..=SB => {}
            // Endpoints that do not double 0xFF exist (QEMU, esp-link): this was data.
            _ => self.push(&[IAC, byte], data),
        }
    }

    fn subnegotiation_command(&mut self, byte: u8, data: &mut Vec<u8>, reply: &mut Vec<u8>) {
        match byte {
            IAC => {
                self.subnegotiation.push(byte);
                self.state = State::Subnegotiation;
            }
            SE => {
                let raw = std::mem::take(&mut self.subnegotiation);
                self.state = State::Data;
                self.subnegotiated(&raw[2..raw.len() - 1], reply);
            }
            // Another command ends it unfinished, and is itself obeyed.
            _ => {
                self.subnegotiation.clear();
                self.command(byte, data);
            }
        }
    }

    /// RFC 1143 for a side that never asks: answer only what changes state.
    fn negotiate(&mut self, verb: u8, option: u8, reply: &mut Vec<u8>) {
        let at = usize::from(option);
        let (side, wanted, yes, no) = match verb {
            WILL | WONT => (&mut self.them[at], matches!(option, BINARY | ECHO | SGA), DO, DONT),
            _ => {
                let wanted =
                    matches!(option, BINARY | SGA | TTYPE | NAWS) || option == COM_PORT && self.offers_port;
                (&mut self.us[at], wanted, WILL, WONT)
            }
        };
        let asked = verb == WILL || verb == DO;
        let before = *side;
        *side = match (asked, wanted) {
            (false, _) if before == Side::Offered => Side::Refused,
            (true, _) if before == Side::Offered => Side::Yes,
            (true, true) => Side::Yes,
            // A timing mark is asked for anew each time, and each one is answered (RFC 860).
            (true, false) if option == TIMING_MARK => Side::No,
            (true, false) => Side::Refused,
            (false, _) => Side::No,
        };
        let now = *side;
        let answer = match (before, now) {
            (Side::Yes, Side::Yes) | (Side::Refused, Side::Refused) | (Side::Offered, _) => None,
            (_, Side::Yes) => Some(yes),
            (_, Side::Refused) | (Side::Yes, Side::No) => Some(no),
            (_, Side::No | Side::Offered) => asked.then_some(no),
        };
        if let Some(answer) = answer {
            self.answer(&[IAC, answer, option], reply);
        }
        if option == COM_PORT && now == Side::Yes && before != Side::Yes {
            self.set_port(reply);
        }
        if (answer, option) == (Some(WILL), NAWS) {
            let ((w, h), mut size) = (WINDOW, vec![NAWS]);
            size.extend_from_slice(&w.to_be_bytes());
            size.extend_from_slice(&h.to_be_bytes());
            self.subnegotiate(&size, reply);
        }
    }

    /// Sets the port as the lab file has it: 8 data bits, no parity, one stop bit.
    fn set_port(&self, reply: &mut Vec<u8>) {
        let Some(baud) = self.wanted_baud else { return };
        let mut speed = vec![COM_PORT, SET_BAUDRATE];
        speed.extend_from_slice(&baud.to_be_bytes());
        self.subnegotiate(&speed, reply);
        for (what, value) in [(SET_DATASIZE, 8), (SET_PARITY, PARITY_NONE), (SET_STOPSIZE, 1)] {
            self.subnegotiate(&[COM_PORT, what, value], reply);
        }
    }

    fn subnegotiated(&mut self, raw: &[u8], reply: &mut Vec<u8>) {
        if let [COM_PORT, code, value @ ..] = raw
            && *code == SERVER + SET_BAUDRATE
        {
            self.baud = speed(value).or(self.baud);
        }
        let agreed = self.us[usize::from(TTYPE)] == Side::Yes;
        if agreed && raw == [TTYPE, TTYPE_SEND] {
            let mut is = vec![TTYPE, TTYPE_IS];
            is.extend_from_slice(self.terminal_type.as_bytes());
            self.subnegotiate(&is, reply);
        }
    }

    fn subnegotiate(&self, payload: &[u8], reply: &mut Vec<u8>) {
        let mut sequence = vec![IAC, SB];
        sequence.extend_from_slice(&self.encode(payload));
        sequence.extend_from_slice(&[IAC, SE]);
        self.answer(&sequence, reply);
    }

    fn answer(&self, sequence: &[u8], reply: &mut Vec<u8>) {
        if reply.len() + sequence.len() <= REPLY_BYTES_MAX {
            reply.extend_from_slice(sequence);
        }
    }
}

/// Four bytes, high one first; a 0xFF among them stands doubled.
fn speed(value: &[u8]) -> Option<u32> {
    let (mut plain, mut rest) = (Vec::with_capacity(4), value.iter());
    while let Some(byte) = rest.next() {
        plain.push(*byte);
        if *byte == IAC {
            rest.next();
        }
    }
    Some(u32::from_be_bytes(plain.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(telnet: &mut Telnet, input: &[u8], chunk: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut data, mut reply) = (Vec::new(), Vec::new());
        input.chunks(chunk).for_each(|part| telnet.feed(part, &mut data, &mut reply));
        (data, reply)
    }

    /// The same at every split.
    #[track_caller]
    fn check(input: &[u8], data: &[u8], reply: &[u8]) {
        for chunk in 1..=input.len().max(1) {
            let got = run(&mut Telnet::client("vt100"), input, chunk);
            assert_eq!(got, (data.to_vec(), reply.to_vec()), "in chunks of {chunk}");
        }
    }

    #[test]
    fn plain_text_passes() {
        check(b"login: \r\n$ ", b"login: \r\n$ ", b"");
    }

    #[test]
    fn a_doubled_iac_is_one_byte() {
        check(b"a\xff\xffb\xff\xff", b"a\xffb\xff", b"");
    }

    #[test]
    fn a_lone_iac_before_a_low_byte_is_data() {
        check(b"a\xff\x41\xff\x00b", b"a\xff\x41\xff\x00b", b"");
    }

    #[test]
    fn commands_vanish() {
        check(b"a\xff\xf1\xff\xf9\xff\xefb", b"ab", b"");
    }

    #[test]
    fn cr_nul_is_a_bare_cr_except_in_binary() {
        check(b"a\r\0b\r\n\0", b"a\rb\r\n\0", b"");
        check(b"a\r\0\0b", b"a\r\0b", b"");
        check(b"\xff\xfb\x00a\r\0b", b"a\r\0b", b"\xff\xfd\x00");
    }

    #[test]
    fn port_control_is_offered_once_and_the_speed_set_when_it_is_agreed() {
        let speed = b"\xff\xfa\x2c\x01\x00\x01\xc2\x00\xff\xf0";
        let shape = b"\xff\xfa\x2c\x02\x08\xff\xf0\xff\xfa\x2c\x03\x01\xff\xf0\xff\xfa\x2c\x04\x01\xff\xf0";
        for chunk in 1..8 {
            let mut telnet = Telnet::port_client("vt100", Some(115_200));
            assert_eq!((telnet.opening(), telnet.port()), (&b"\xff\xfb\x2c"[..], PortControl::Offered));
            let (data, reply) = run(&mut telnet, b"\xff\xfd\x2c\xff\xfd\x2c", chunk);
            assert_eq!((data, reply), (vec![], [&speed[..], &shape[..]].concat()));
            assert_eq!((telnet.opening(), telnet.port()), (&b""[..], PortControl::Agreed { baud: None }));
            run(&mut telnet, b"\xff\xfa\x2c\x65\x00\x00\x25\x80\xff\xf0", chunk);
            assert_eq!(telnet.port(), PortControl::Agreed { baud: Some(9600) });
            run(&mut telnet, b"\xff\xfa\x2c\x65\x00\x00\x00\xff\xff\xff\xf0", chunk);
            assert_eq!(telnet.port(), PortControl::Agreed { baud: Some(255) });
            let brk = telnet.brk().expect("a break");
            assert_eq!(brk.on, b"\xff\xfa\x2c\x05\x05\xff\xf0");
            assert_eq!(brk.off.as_deref(), Some(&b"\xff\xfa\x2c\x05\x06\xff\xf0"[..]));
        }
    }

    #[test]
    fn a_server_without_port_control_is_believed_and_gets_a_plain_break() {
        let mut telnet = Telnet::port_client("vt100", Some(9600));
        assert_eq!(run(&mut telnet, b"\xff\xfe\x2c\xff\xfe\x2c", 6), (vec![], vec![]));
        assert_eq!(telnet.port(), PortControl::Refused);
        assert_eq!(telnet.brk(), Some(Break { on: vec![IAC, BRK], off: None }));
        let mut plain = Telnet::client("vt100");
        assert_eq!(
            run(&mut plain, b"\xff\xfd\x2c", 3),
            (vec![], b"\xff\xfc\x2c".to_vec()),
            "not ours to offer"
        );
    }

    #[test]
    fn their_echo_and_go_ahead_are_agreed_to_once() {
        check(b"\xff\xfb\x01\xff\xfb\x03\xff\xfb\x01\xff\xfb\x03", b"", b"\xff\xfd\x01\xff\xfd\x03");
    }

    #[test]
    fn their_echo_may_come_and_go() {
        check(b"\xff\xfb\x01\xff\xfc\x01\xff\xfb\x01", b"", b"\xff\xfd\x01\xff\xfe\x01\xff\xfd\x01");
    }

    #[test]
    fn we_never_echo_and_say_so_once() {
        check(b"\xff\xfd\x01\xff\xfd\x01\xff\xfe\x01", b"", b"\xff\xfc\x01");
    }

    #[test]
    fn unknown_options_are_refused_once_each() {
        check(
            b"\xff\xfb\x25\xff\xfb\x26\xff\xfb\x25\xff\xfd\x20",
            b"",
            b"\xff\xfe\x25\xff\xfe\x26\xff\xfc\x20",
        );
    }

    #[test]
    fn what_was_never_on_is_not_switched_off_with_words() {
        check(b"\xff\xfc\x01\xff\xfe\x03\xff\xfe\x2c", b"", b"");
    }

    #[test]
    fn every_timing_mark_is_answered() {
        check(b"\xff\xfd\x06\xff\xfd\x06", b"", b"\xff\xfc\x06\xff\xfc\x06");
    }

    #[test]
    fn the_window_is_told_when_asked_for() {
        check(b"\xff\xfd\x1f\xff\xfd\x1f", b"", b"\xff\xfb\x1f\xff\xfa\x1f\x01\xf4\x00\x32\xff\xf0");
    }

    #[test]
    fn the_terminal_type_is_told_only_after_it_was_agreed() {
        check(b"\xff\xfa\x18\x01\xff\xf0", b"", b"");
        let asked = b"\xff\xfd\x18\xff\xfa\x18\x01\xff\xf0";
        check(asked, b"", b"\xff\xfb\x18\xff\xfa\x18\x00vt100\xff\xf0");
    }

    #[test]
    fn a_subnegotiation_with_a_doubled_iac_ends_at_its_end() {
        check(b"a\xff\xfa\x2c\x01\xff\xff\xf0\xff\xf0b", b"ab", b"");
    }

    #[test]
    fn a_command_inside_a_subnegotiation_ends_it_and_counts() {
        check(b"\xff\xfa\x18\x01\xff\xfb\x01b", b"b", b"\xff\xfd\x01");
    }

    #[test]
    fn a_subnegotiation_that_never_ends_was_data() {
        let mut input = b"\xff\xfa".to_vec();
        input.resize(SUBNEGOTIATION_BYTES_MAX, b'x');
        let short = run(&mut Telnet::client(""), &input[..input.len() - 1], 100);
        assert_eq!(short, (vec![], vec![]));
        assert_eq!(run(&mut Telnet::client(""), &input, 7), (input.clone(), vec![]));
    }

    #[test]
    fn a_storm_of_requests_is_not_answered_without_end() {
        let storm = b"\xff\xfd\x1f\xff\xfe\x1f".repeat(10_000);
        let (_, reply) = run(&mut Telnet::client(""), &storm, storm.len());
        assert!(reply.len() <= REPLY_BYTES_MAX && reply.len() > REPLY_BYTES_MAX - 16);
    }

    #[test]
    fn a_raw_console_knows_no_telnet() {
        let mut raw = Telnet::raw();
        let bytes = b"\xff\xfd\x18\r\0\xff";
        assert_eq!(run(&mut raw, bytes, 2), (bytes.to_vec(), vec![]));
        assert_eq!((raw.encode(bytes), raw.brk()), (bytes.to_vec(), None));
    }

    #[test]
    fn a_long_terminal_type_is_cut() {
        assert_eq!(Telnet::client(&"x y".repeat(99)).terminal_type.len(), TERMINAL_TYPE_BYTES_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn what_one_side_encodes_the_other_reads(data in prop::collection::vec(prop_oneof![Just(255u8), Just(13), 1u8..], 0..200), chunk in 1usize..9) {
            let wire = Telnet::client("").encode(&data);
            prop_assert_eq!(run(&mut Telnet::client(""), &wire, chunk), (data, vec![]));
        }

        #[test]
        fn a_split_changes_nothing(input in prop::collection::vec(prop_oneof![Just(255u8), 239u8.., 0u8..40, any::<u8>()], 0..300), chunk in 1usize..9) {
            let whole = run(&mut Telnet::client("vt100"), &input, input.len().max(1));
            prop_assert_eq!(run(&mut Telnet::client("vt100"), &input, chunk), whole);
        }
    }
}
