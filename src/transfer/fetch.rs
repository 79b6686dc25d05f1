//! A file from a board. Each piece is printed as text with its checksum behind it, and printed again until they
//! agree; then the whole file is proved. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::tools::{PROBE, Sum, Tools};
use super::{Transfer, TransferError, Tries};

/// Largest file that is carried back.
pub const FETCH_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Bytes of a piece.
const PIECE_BYTES: usize = 6 * 1024;

/// A file on its way from a board.
pub struct Fetch {
    from: String,
    data: Vec<u8>,
    state: State,
    tries: Tries,
}

#[derive(Clone, Copy)]
enum State {
    Probing,
    Reading { tools: Tools, sum: Sum, size: usize },
    Checking(Sum),
    Done,
}

impl Fetch {
    /// From the path `from`, which [`is_path`](super::is_path) holds for.
    pub fn new(from: &str) -> Fetch {
        Fetch { from: from.to_owned(), data: Vec::new(), state: State::Probing, tries: Tries::default() }
    }

    /// The file, once nothing is left to type.
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }

    fn found(&self, output: &str) -> Result<Option<State>, TransferError> {
        let Some(tools) = Tools::read(output) else { return Ok(None) };
        let Some(sum) = tools.sum else { return Err(TransferError::NoChecksum) };
        let last = output.lines().next_back().unwrap_or_default().trim();
        if last == "no file" {
            return Err(TransferError::Missing(self.from.clone()));
        }
        let Some(bytes) = last.strip_prefix("size ").and_then(|size| size.trim().parse::<u64>().ok()) else {
            return Ok(None);
        };
        match usize::try_from(bytes) {
            Ok(size) if bytes <= FETCH_BYTES_MAX => Ok(Some(reading(tools, sum, size, 0))),
            Ok(_) | Err(_) => {
                Err(TransferError::TooLarge { path: self.from.clone(), bytes, max: FETCH_BYTES_MAX })
            }
        }
    }

    /// The piece in an answer, if it is proved.
    fn piece(&self, tools: Tools, sum: Sum, size: usize, output: &str) -> Option<Vec<u8>> {
        let (text, line) = output.trim_end().rsplit_once('\n')?;
        let piece = if tools.base64 { from_base64(text) } else { from_octets(text) }?;
        let whole = piece.len() == PIECE_BYTES.min(size - self.data.len());
        (whole && sum.proves(line, &piece)).then_some(piece)
    }

    fn read_piece(&self, tools: Tools, sum: Sum) -> String {
        let (from, piece) = (&self.from, self.data.len() / PIECE_BYTES);
        let read = format!("dd if={from} bs={PIECE_BYTES} skip={piece} count=1 2>/dev/null");
        let encode = if tools.base64 { "base64" } else { "od -An -v -tx1" };
        format!("{read} | {encode}; echo; {read} | {}", sum.program())
    }

    fn doing(&self) -> String {
        match self.state {
            State::Probing => "looking at the file".to_owned(),
            State::Reading { size, .. } => {
                format!("piece {} of {}", self.data.len() / PIECE_BYTES + 1, size.div_ceil(PIECE_BYTES))
            }
            State::Checking(_) | State::Done => "the check of the whole file".to_owned(),
        }
    }
}

impl Transfer for Fetch {
    fn next(&self) -> Option<String> {
        let from = &self.from;
        Some(match self.state {
            State::Probing => format!(
                "{PROBE}; if [ -f {from} ] && [ -r {from} ]; then echo size $(wc -c <{from}); else echo no file; fi"
            ),
            State::Reading { tools, sum, .. } => self.read_piece(tools, sum),
            State::Checking(sum) => format!("{} <{from}", sum.program()),
            State::Done => return None,
        })
    }

    fn progress(&self) -> Option<(u64, u64)> {
        let proved = self.data.len() as u64;
        match self.state {
            State::Probing => None,
            State::Reading { size, .. } => Some((proved, size as u64)),
            State::Checking(_) | State::Done => Some((proved, proved)),
        }
    }

    fn answer(&mut self, output: Option<&[u8]>) -> Result<(), TransferError> {
        let output = output.map(String::from_utf8_lossy).unwrap_or_default();
        let next = match self.state {
            State::Probing => self.found(&output)?,
            State::Reading { tools, sum, size } => match self.piece(tools, sum, size, &output) {
                Some(piece) => {
                    self.data.extend_from_slice(&piece);
                    Some(reading(tools, sum, size, self.data.len()))
                }
                None => None,
            },
            State::Checking(sum) => {
                let last = output.lines().next_back().unwrap_or_default();
                sum.proves(last, &self.data).then_some(State::Done)
            }
            State::Done => None,
        };
        match next {
            Some(state) => (self.state, self.tries) = (state, Tries::default()),
            None => {
                let doing = self.doing();
                self.tries.failed(&self.from, || doing)?;
            }
        }
        Ok(())
    }
}

fn reading(tools: Tools, sum: Sum, size: usize, have: usize) -> State {
    if have < size { State::Reading { tools, sum, size } } else { State::Checking(sum) }
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text: String = text.split_whitespace().collect();
    STANDARD.decode(text).ok()
}

fn from_octets(text: &str) -> Option<Vec<u8>> {
    text.split_whitespace().map(|word| u8::from_str_radix(word, 16).ok()).collect()
}
