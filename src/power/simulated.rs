//! The simulated PDU's client: one line of text a request over TCP (`sim::pdu` is the other side).

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Outlet;

/// Longest answer line in bytes.
const ANSWER_BYTES_MAX: u64 = 256;

/// `on 3`, `off 3` or `status 3`; the answer is `ok on` or `ok off`, anything else is an error text.
pub(super) async fn request(address: &str, outlet: &str, set: Option<Outlet>) -> Result<Outlet, String> {
    let verb = set.map_or("status", Outlet::as_str);
    let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.write_all(format!("{verb} {outlet}\n").as_bytes()).await.map_err(|error| error.to_string())?;
    let mut line = String::new();
    let mut reader = BufReader::new(stream.take(ANSWER_BYTES_MAX));
    reader.read_line(&mut line).await.map_err(|error| error.to_string())?;
    match line.trim() {
        "ok on" => Ok(Outlet::On),
        "ok off" => Ok(Outlet::Off),
        "" => Err("it closed the connection without an answer".into()),
        other => Err(format!("it answered {other:?}")),
    }
}
