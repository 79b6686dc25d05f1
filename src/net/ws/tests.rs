//! WebSockets against a server in this process: what is dialled, what is refused, and where a message is too long.

use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

const WITHIN: Duration = Duration::from_secs(5);

/// A server for one connection; gives its address.
async fn serve<T>(talk: impl FnOnce(TcpStream) -> T + Send + 'static) -> String
where
    T: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        talk(stream).await;
    });
    format!("ws://{address}/link?ticket=1")
}

/// A server that sends these messages and then reads until the end.
async fn says(messages: Vec<Message>) -> String {
    serve(|stream| async {
        let unlimited = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let mut stream = accept_async_with_config(stream, Some(unlimited)).await.expect("a handshake");
        for message in messages {
            stream.send(message).await.expect("is taken");
        }
        while let Some(Ok(message)) = stream.next().await {
            if message.is_text() || message.is_binary() {
                stream.send(message).await.expect("is taken");
            }
        }
    })
    .await
}

/// A server that takes the handshake and then writes these bytes.
async fn writes(bytes: &'static [u8]) -> String {
    serve(move |mut stream| async move {
        let head = head(&mut stream).await;
        let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).expect("a key");
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        );
        stream.write_all(answer.as_bytes()).await.expect("is taken");
        stream.write_all(bytes).await.expect("is taken");
        // Held until the other side has had enough.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    String::from_utf8(head).expect("text")
}

async fn dial(url: &str) -> Result<WebSocket, DialError> {
    Http::new(&[]).web_socket(url, WITHIN, Clock::system()).await
}

#[tokio::test]
async fn messages_go_both_ways_and_pings_are_told() {
    let hello = vec![Message::text("hello"), Message::Ping(Bytes::new())];
    let mut socket = dial(&says(hello).await).await.expect("a WebSocket");
    assert_eq!(socket.receive().await, Ok(Received::Text("hello".into())));
    assert_eq!(socket.receive().await, Ok(Received::Ping));
    socket.send_text("é".into()).await.expect("is taken");
    assert_eq!(socket.receive().await, Ok(Received::Text("é".into())));
    socket.send_binary(Bytes::from_static(b"\x00\xff")).await.expect("is taken");
    assert_eq!(socket.receive().await, Ok(Received::Binary(Bytes::from_static(b"\x00\xff"))));
    socket.ping().await.expect("is taken");
    assert_eq!(socket.receive().await, Ok(Received::Pong));
    socket.close().await;
}

#[tokio::test]
async fn a_message_is_read_up_to_its_bound_and_not_beyond() {
    let messages = [MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX + 1].map(|n| Message::text("x".repeat(n)));
    let mut socket = dial(&says(messages.to_vec()).await).await.expect("a WebSocket");
    let full = socket.receive().await.expect("a message");
    assert!(matches!(full, Received::Text(text) if text.len() == MESSAGE_BYTES_MAX));
    assert_eq!(socket.receive().await, Err(Gone::TooLong));
}

#[tokio::test]
async fn absurd_frames_end_the_connection_and_cost_nothing() {
    // A frame that says it has 2^63 - 1 bytes, one with reserved bits, one that a server masked, a text that is no UTF-8.
    let absurd: [&[u8]; 4] = [
        b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\xf1\x01x",
        b"\x81\x81\x00\x00\x00\x00x",
        b"\x81\x02\xff\xfe",
    ];
    for bytes in absurd {
        let mut socket = dial(&writes(bytes).await).await.expect("a WebSocket");
        let gone = socket.receive().await.expect_err("no message");
        assert!(matches!(gone, Gone::TooLong | Gone::Broken(_)), "{bytes:?}: {gone:?}");
    }
}

#[tokio::test]
async fn a_close_tells_its_code_and_its_reason_without_control_characters() {
    let frame = CloseFrame { code: 1001.into(), reason: "going\u{7} away".into() };
    let mut socket = dial(&says(vec![Message::Close(Some(frame))]).await).await.expect("a WebSocket");
    assert_eq!(socket.receive().await, Err(Gone::Closed { code: 1001, reason: "going away".into() }));
}

#[tokio::test]
async fn an_answer_that_is_no_websocket_is_told_with_its_status() {
    let url = serve(|mut stream| async move {
        head(&mut stream).await;
        let answer = b"HTTP/1.1 403 Forbidden\r\nhandshake-msg: expired\r\ncontent-length: 2\r\n\r\nno";
        stream.write_all(answer).await.expect("is taken");
    })
    .await;
    let Err(DialError::Refused(reply)) = dial(&url).await else { panic!("a WebSocket") };
    assert_eq!(
        (reply.status, reply.header("handshake-msg"), &*reply.body),
        (403, Some("expired"), &b"no"[..])
    );

    let url = serve(|mut stream| async move {
        head(&mut stream).await;
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-accept: AAAA\r\n\r\n";
        stream.write_all(answer).await.expect("is taken");
    })
    .await;
    assert!(matches!(dial(&url).await, Err(DialError::Net(NetError::Broken(_)))));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("ws://{}/", silent.local_addr().expect("an address"));
    let within = Duration::from_millis(200);
    let dialled = Http::new(&[]).web_socket(&url, within, Clock::system()).await;
    assert!(matches!(dialled, Err(DialError::Net(NetError::Timeout))));
}

#[tokio::test]
async fn only_secure_sockets_and_this_machine_are_dialled() {
    for url in ["ws://192.0.2.1/", "http://127.0.0.1:1/", "wss://", "ws://127.0.0.1.evil.example/", "wsé://"]
    {
        let dialled = dial(url).await;
        assert!(matches!(dialled, Err(DialError::Net(NetError::Address(_)))), "{url}");
    }
}
