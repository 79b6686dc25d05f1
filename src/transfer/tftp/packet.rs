//! Packets: what a client says, and the bytes of what it is told.

use super::{
    BLOCK_BYTES, BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, REQUEST_BYTES_MAX, TIMEOUT_SECONDS, TIMEOUT_SECONDS_MAX,
    WINDOW_MAX,
};

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// It wants a file.
    Read(Request),
    /// It has everything up to this block.
    Ack(u16),
    /// It wants no more.
    Error,
}

/// A file that is wanted, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its name, as the client writes it.
    pub name: String,
    /// Bytes of a block.
    pub block_bytes: u64,
    /// Blocks before a receipt.
    pub window: u64,
    /// Seconds before blocks are sent again.
    pub timeout: u64,
    /// The options that are granted, in the client's order; the file's size is not known yet.
    granted: Vec<Granted>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Granted {
    BlockBytes,
    Window,
    Timeout,
    FileBytes,
}

/// Why a packet gets an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is none of TFTP's, or none that a server gets.
    #[error("not understood")]
    NotUnderstood,
    /// It would write.
    #[error("files can only be read")]
    Write,
    /// It wants line ends translated.
    #[error("only octet mode")]
    Mode,
    /// There is no such file, or not for this client.
    #[error("File not found")]
    NoFile,
    /// The file cannot be read any more.
    #[error("the file cannot be read")]
    Broken,
}

impl Refused {
    /// RFC 1350's number for it.
    fn code(self) -> u16 {
        match self {
            Refused::NoFile => 1,
            Refused::Write => 2,
            Refused::NotUnderstood => 4,
            Refused::Mode | Refused::Broken => 0,
        }
    }
}

impl Packet {
    /// Reads a client's packet.
    pub fn read(bytes: &[u8]) -> Result<Packet, Refused> {
        let (code, rest) = bytes.split_first_chunk::<2>().ok_or(Refused::NotUnderstood)?;
        match u16::from_be_bytes(*code) {
            1 if bytes.len() <= REQUEST_BYTES_MAX => Request::read(rest).map(Packet::Read),
            2 => Err(Refused::Write),
            4 => {
                let (block, _) = rest.split_first_chunk::<2>().ok_or(Refused::NotUnderstood)?;
                Ok(Packet::Ack(u16::from_be_bytes(*block)))
            }
            5 => Ok(Packet::Error),
            _ => Err(Refused::NotUnderstood),
        }
    }
}

impl Request {
    fn read(bytes: &[u8]) -> Result<Request, Refused> {
        let text = bytes.strip_suffix(&[0]).ok_or(Refused::NotUnderstood)?;
        let text = std::str::from_utf8(text).map_err(|_| Refused::NotUnderstood)?;
        let mut words = text.split('\0');
        let (Some(name), Some(mode)) = (words.next(), words.next()) else {
            return Err(Refused::NotUnderstood);
        };
        if !mode.eq_ignore_ascii_case("octet") {
            return Err(Refused::Mode);
        }
        let mut request = Request {
            name: name.to_owned(),
            block_bytes: BLOCK_BYTES,
            window: 1,
            timeout: TIMEOUT_SECONDS,
            granted: Vec::new(),
        };
        while let (Some(option), Some(value)) = (words.next(), words.next()) {
            // An option that is unknown or out of its range is left out of the answer: then it does not hold.
            if let Ok(value) = value.parse() {
                request.grant(&option.to_ascii_lowercase(), value);
            }
        }
        Ok(request)
    }

    fn grant(&mut self, option: &str, value: u64) {
        let granted = match option {
            "blksize" if value >= BLOCK_BYTES_MIN => {
                self.block_bytes = value.min(BLOCK_BYTES_MAX);
                Granted::BlockBytes
            }
            "windowsize" if value >= 1 => {
                self.window = value.min(WINDOW_MAX);
                Granted::Window
            }
            "timeout" if (1..=TIMEOUT_SECONDS_MAX).contains(&value) => {
                self.timeout = value;
                Granted::Timeout
            }
            "tsize" => Granted::FileBytes,
            _ => return,
        };
        if !self.granted.contains(&granted) {
            self.granted.push(granted);
        }
    }

    /// Whether the client is told which options hold before the first block.
    pub fn has_options(&self) -> bool {
        !self.granted.is_empty()
    }
}

/// The options that hold, for a file of so many bytes.
pub fn options(request: &Request, file_bytes: u64) -> Vec<u8> {
    let mut packet = 6u16.to_be_bytes().to_vec();
    for granted in &request.granted {
        let (name, value) = match granted {
            Granted::BlockBytes => ("blksize", request.block_bytes),
            Granted::Window => ("windowsize", request.window),
            Granted::Timeout => ("timeout", request.timeout),
            Granted::FileBytes => ("tsize", file_bytes),
        };
        packet.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
    }
    packet
}

/// A block of the file; blocks are counted from 1, and their numbers begin anew at 0 after 65,535.
pub fn data(block: u64, bytes: &[u8]) -> Vec<u8> {
    let number = (block & 0xffff) as u16;
    [&3u16.to_be_bytes(), &number.to_be_bytes(), bytes].concat()
}

/// The end, with its reason.
pub fn error(refused: Refused) -> Vec<u8> {
    let said = refused.to_string();
    [&5u16.to_be_bytes(), &refused.code().to_be_bytes(), said.as_bytes(), &[0][..]].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(text: &str) -> Result<Request, Refused> {
        let text = text.replace('|', "\0");
        match Packet::read(&[&[0, 1], text.as_bytes()].concat())? {
            Packet::Read(request) => Ok(request),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_is_granted_what_can_be_had() {
        let check = |text: &str, block: u64, window: u64, timeout: u64, told: &str| {
            let request = request(text).expect(text);
            assert_eq!(
                (request.block_bytes, request.window, request.timeout),
                (block, window, timeout),
                "{text}"
            );
            let packet = options(&request, 1000);
            let told = format!("\0\u{6}{told}").replace('|', "\0");
            assert_eq!(String::from_utf8_lossy(&packet), told, "{text}");
            assert_eq!(request.has_options(), told.len() > 2, "{text}");
        };
        check("b/Image|octet|", 512, 1, 1, "");
        // As U-Boot asks.
        let uboot = "b/Image|octet|timeout|5|tsize|0|blksize|1468|windowsize|8|";
        check(uboot, 1468, 8, 5, "timeout|5|tsize|1000|blksize|1468|windowsize|8|");
        check("a|OCTET|BLKSIZE|65465|windowsize|65|", 65464, 64, 1, "blksize|65464|windowsize|64|");
        check("a|octet|blksize|8|blksize|9|", 9, 1, 1, "blksize|9|");
        for unheard in ["blksize|7", "windowsize|0", "timeout|0", "timeout|256", "x|1", "tsize|-1", "tsize"] {
            check(&format!("a|octet|{unheard}|"), 512, 1, 1, "");
        }
    }

    #[test]
    fn what_is_no_request_to_read_is_refused() {
        assert_eq!(request("a|netascii|"), Err(Refused::Mode));
        for text in ["", "a|", "a", "a|octet"] {
            assert_eq!(request(text), Err(Refused::NotUnderstood), "{text:?}");
        }
        let longest = format!("{}|octet|", "a".repeat(REQUEST_BYTES_MAX - 9));
        assert!(request(&longest).is_ok() && request(&format!("a{longest}")).is_err());
        assert_eq!(Packet::read(b"\0\x02a\0octet\0"), Err(Refused::Write));
        assert_eq!(Packet::read(b"\0\x04\x01\x02"), Ok(Packet::Ack(258)));
        assert_eq!(Packet::read(b"\0\x05\0\x08no\0"), Ok(Packet::Error));
        for bytes in [&b""[..], b"\0", b"\0\x04\x01", b"\0\x03\0\x01x", b"\0\x07"] {
            assert_eq!(Packet::read(bytes), Err(Refused::NotUnderstood), "{bytes:?}");
        }
    }

    #[test]
    fn packets_are_those_of_the_rfc() {
        assert_eq!(data(65_537, b"x"), b"\0\x03\0\x01x");
        assert_eq!(error(Refused::NoFile), b"\0\x05\0\x01File not found\0");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(Packet::Read(request)) = Packet::read(&bytes) {
                prop_assert!(options(&request, 0).len() <= REQUEST_BYTES_MAX);
            }
        }
    }
}
