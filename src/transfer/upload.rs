//! A file to a board. Each piece is typed as text, decoded beside the destination, written at its own place and
//! proved, so that a piece may come twice and in any state of the last one. The destination changes only when the
//! whole file is proved. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::tools::{PROBE, Sum, Tools};
use super::{Transfer, TransferError, Tries};

/// Largest file that is carried to a board: half an hour at 115200 baud.
pub const UPLOAD_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes of a piece in base64, and in octal numbers where the board has none: a terminal's line takes either, with
/// the longest path in it.
const PIECE_BYTES: usize = 1536;
const PIECE_BYTES_OCTAL: usize = 512;

/// A file on its way to a board.
pub struct Upload {
    data: Vec<u8>,
    to: String,
    state: State,
    tries: Tries,
}

#[derive(Clone, Copy)]
enum State {
    Probing,
    Typing { tools: Tools, sum: Sum, piece: usize },
    Checking(Sum),
    Moving(Sum),
    Done,
}

impl Upload {
    /// To the path `to`, which [`is_path`](super::is_path) holds for.
    pub fn new(data: Vec<u8>, to: &str) -> Result<Upload, TransferError> {
        if data.len() as u64 > UPLOAD_BYTES_MAX {
            let (path, bytes) = (to.to_owned(), data.len() as u64);
            return Err(TransferError::TooLarge { path, bytes, max: UPLOAD_BYTES_MAX });
        }
        Ok(Upload { data, to: to.to_owned(), state: State::Probing, tries: Tries::default() })
    }

    fn begin(&self) -> String {
        format!("{PROBE}; rm -f {to}.piece; : >{to}.part && echo has room", to = self.to)
    }

    fn type_piece(&self, tools: Tools, sum: Sum, piece: usize) -> String {
        let data = self.piece(tools, piece);
        let decoded = if tools.base64 {
            format!("printf %s {} | base64 -d", STANDARD.encode(data))
        } else {
            let octal: String = data.iter().map(|byte| format!("\\{byte:03o}")).collect();
            format!("printf '{octal}'")
        };
        let (to, bytes, sum) = (&self.to, piece_bytes(tools), sum.program());
        format!(
            "{decoded} >{to}.piece && dd if={to}.piece of={to}.part bs={bytes} seek={piece} conv=notrunc 2>/dev/null && {sum} <{to}.piece"
        )
    }

    fn piece(&self, tools: Tools, piece: usize) -> &[u8] {
        self.data.chunks(piece_bytes(tools)).nth(piece).unwrap_or_default()
    }

    fn pieces(&self, tools: Tools) -> usize {
        self.data.len().div_ceil(piece_bytes(tools))
    }

    /// The state after an answer that proves something; nothing after any other.
    fn after(&self, output: &str) -> Result<Option<State>, TransferError> {
        let last = output.lines().next_back().unwrap_or_default();
        Ok(match self.state {
            State::Probing => match Tools::read(output) {
                Some(Tools { sum: None, .. }) => return Err(TransferError::NoChecksum),
                Some(tools @ Tools { sum: Some(sum), .. }) if last.trim() == "has room" => {
                    Some(self.typing(tools, sum, 0))
                }
                Some(_) | None => None,
            },
            State::Typing { tools, sum, piece } => {
                sum.proves(last, self.piece(tools, piece)).then(|| self.typing(tools, sum, piece + 1))
            }
            State::Checking(sum) => sum.proves(last, &self.data).then_some(State::Moving(sum)),
            State::Moving(sum) => sum.proves(last, &self.data).then_some(State::Done),
            State::Done => None,
        })
    }

    fn typing(&self, tools: Tools, sum: Sum, piece: usize) -> State {
        if piece < self.pieces(tools) { State::Typing { tools, sum, piece } } else { State::Checking(sum) }
    }

    fn doing(&self) -> String {
        match self.state {
            State::Probing => "looking for room".to_owned(),
            State::Typing { tools, piece, .. } => format!("piece {} of {}", piece + 1, self.pieces(tools)),
            State::Checking(_) => "the check of the whole file".to_owned(),
            State::Moving(_) | State::Done => "putting the file in its place".to_owned(),
        }
    }
}

impl Transfer for Upload {
    fn next(&self) -> Option<String> {
        let to = &self.to;
        Some(match self.state {
            State::Probing => self.begin(),
            State::Typing { tools, sum, piece } => self.type_piece(tools, sum, piece),
            State::Checking(sum) => format!("{} <{to}.part", sum.program()),
            State::Moving(sum) => format!(
                "if [ -f {to}.part ]; then mv -f {to}.part {to}; fi; rm -f {to}.piece; {} <{to}",
                sum.program()
            ),
            State::Done => return None,
        })
    }

    fn progress(&self) -> Option<(u64, u64)> {
        let bytes = self.data.len();
        let proved = match self.state {
            State::Probing => 0,
            State::Typing { tools, piece, .. } => (piece * piece_bytes(tools)).min(bytes),
            State::Checking(_) | State::Moving(_) | State::Done => bytes,
        };
        Some((proved as u64, bytes as u64))
    }

    fn answer(&mut self, output: Option<&[u8]>) -> Result<(), TransferError> {
        let output = output.map(String::from_utf8_lossy).unwrap_or_default();
        match self.after(&output)? {
            Some(state) => (self.state, self.tries) = (state, Tries::default()),
            None => {
                let doing = self.doing();
                self.tries.failed(&self.to, || doing)?;
            }
        }
        Ok(())
    }
}

fn piece_bytes(tools: Tools) -> usize {
    if tools.base64 { PIECE_BYTES } else { PIECE_BYTES_OCTAL }
}
