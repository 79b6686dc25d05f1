//! `boardhand health`: exit 0 when the server answers and is ready. For containers that have no shell and no curl.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::clock::Clock;

/// How long the server may take.
const WITHIN: Duration = Duration::from_secs(3);
/// How much of its answer is read.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Asks `/readyz` of the server at `listen`.
pub(super) async fn health(listen: SocketAddr) -> anyhow::Result<ExitCode> {
    let ask = async {
        let mut stream = TcpStream::connect(listen).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let said = match Clock::system().timeout(WITHIN, ask).await {
        Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200") => {
            sayln!("ready");
            return Ok(ExitCode::SUCCESS);
        }
        Ok(Ok(answer)) => format!("not ready: {}", answer.lines().last().unwrap_or("no answer")),
        Ok(Err(error)) => format!("not reached: {error}"),
        Err(_) => "no answer in time".to_owned(),
    };
    sayln!("{listen}: {said}");
    Ok(ExitCode::FAILURE)
}
