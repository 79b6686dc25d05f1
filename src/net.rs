//! HTTP and WebSockets to the outside: the only module that uses reqwest. Chat platforms' clients go through [`Http`],
//! power switches through [`DeviceHttp`], calls to whoever wants to be told through `outward`; `ws` makes a connection of [`Http`] a WebSocket.
//!
//! What never happens here: following a redirect, plain HTTP to another machine that the operator did not configure,
//! an unbounded body, a token or a body in a log or an error. Proxies come from `HTTPS_PROXY` and `NO_PROXY`; this
//! machine itself and the lab's devices are never reached through a proxy.

pub mod outward;
pub mod proxies;
pub mod ws;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Response, Url, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// Longest wait for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a whole answer, unless the caller has less time.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for a file that is sent.
pub const UPLOAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time for an answer that comes once something has happened.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer of that kind in bytes.
pub const WAIT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest body that is read.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Longest pause that a `Retry-After` may ask for; a longer one is taken as this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// HTTP clients, shared. Cheap to clone.
#[derive(Clone)]
pub struct Http(Arc<Clients>);

struct Clients {
    /// Made at first use: it reads the machine's certificates, which a lab on one machine does not need.
    outside: OnceLock<Result<Client, String>>,
    /// The same for connections that become WebSockets: those begin as HTTP/1.1, whatever else TLS would agree on.
    sockets: OnceLock<Result<Client, String>>,
    loopback: OnceLock<Result<Client, String>>,
    /// Hosts that the operator configured with plain HTTP.
    plain_hosts: Vec<String>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct HttpReply {
    /// The status code.
    pub status: u16,
    /// The body, at most [`BODY_BYTES_MAX`] bytes.
    pub body: Vec<u8>,
    headers: HeaderMap,
}

/// No answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// We do not call this address; nothing was sent.
    #[error("not an address that is called: {0}")]
    Address(&'static str),
    /// There was no connection; nothing was sent.
    #[error("no connection: {0}")]
    Connect(String),
    /// No answer in time; the request may have arrived.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke; the request may have arrived.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The answer is too long; the request arrived.
    #[error("the answer is too long")]
    TooLarge,
}

impl NetError {
    /// Whether the other side may have acted on the request.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            NetError::Address(_) | NetError::Connect(_) => false,
            NetError::Timeout | NetError::Broken(_) | NetError::TooLarge => true,
        }
    }
}

impl HttpReply {
    /// A header's value, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Every value of a header, where it is text.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// How long to wait, by `Retry-After` in seconds; at most [`RETRY_AFTER_MAX`].
    pub fn retry_after(&self) -> Option<Duration> {
        let secs = self.header(RETRY_AFTER.as_str())?.trim().parse().ok()?;
        Some(Duration::from_secs(secs).min(RETRY_AFTER_MAX))
    }

    /// The body as JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

impl Http {
    /// Clients that speak HTTPS, and plain HTTP to this machine and to the hosts of those `configured` base URLs that
    /// begin with `http://`.
    pub fn new(configured: &[&str]) -> Self {
        let plain =
            configured.iter().filter_map(|url| Url::parse(url).ok()).filter(|url| url.scheme() == "http");
        let plain_hosts = plain.filter_map(|url| url.host_str().map(str::to_owned)).collect();
        let [outside, sockets, loopback] = [const { OnceLock::new() }; 3];
        Http(Arc::new(Clients { outside, sockets, loopback, plain_hosts }))
    }

    /// Posts JSON, with a bearer token where there is one, and waits for the answer at most `within` and
    /// [`TOTAL_TIMEOUT`].
    pub async fn post_json(
        &self,
        url: &str,
        bearer: Option<&SecretString>,
        body: &Value,
        within: Duration,
    ) -> Result<HttpReply, NetError> {
        self.send_json(Method::POST, url, bearer, Some(body), within).await
    }

    /// Sends a request with JSON where it has a body, otherwise like [`Http::post_json`].
    pub async fn send_json(
        &self,
        method: Method,
        url: &str,
        bearer: Option<&SecretString>,
        body: Option<&Value>,
        within: Duration,
    ) -> Result<HttpReply, NetError> {
        self.send(method, url, (bearer, &[]), body.map(json_body), within).await
    }

    /// Posts JSON with these headers and without a token, otherwise like [`Http::post_json`].
    pub async fn post_json_with(
        &self,
        url: &str,
        headers: &[(&'static str, &'static str)],
        body: &Value,
        within: Duration,
    ) -> Result<HttpReply, NetError> {
        self.send(Method::POST, url, (None, headers), Some(json_body(body)), within).await
    }

    /// Posts JSON, and waits for something to happen there: at most `within` and [`WAIT_TIMEOUT`].
    pub async fn wait_json(
        &self,
        url: &str,
        bearer: &SecretString,
        body: &Value,
        within: Duration,
    ) -> Result<HttpReply, NetError> {
        let (body, within) = (Some(json_body(body)), within.min(WAIT_TIMEOUT));
        read(self.request(Method::POST, url, (Some(bearer), &[]), body, within).await?, WAIT_BYTES_MAX).await
    }

    /// Gets what stands at an address, at most `most` bytes of it, otherwise like [`Http::post_json`].
    pub async fn get(
        &self,
        url: &str,
        bearer: Option<&SecretString>,
        most: usize,
        within: Duration,
    ) -> Result<HttpReply, NetError> {
        read(self.request(Method::GET, url, (bearer, &[]), None, within.min(TOTAL_TIMEOUT)).await?, most)
            .await
    }

    /// Posts a form, otherwise like [`Http::post_json`].
    pub async fn post_form(
        &self,
        url: &str,
        bearer: Option<&SecretString>,
        fields: &[(&str, &str)],
        within: Duration,
    ) -> Result<HttpReply, NetError> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let body = Some(("application/x-www-form-urlencoded", body.into_bytes()));
        self.send(Method::POST, url, (bearer, &[]), body, within).await
    }

    /// Posts a file; waits for the answer at most `within` and [`UPLOAD_TIMEOUT`].
    pub async fn upload(
        &self,
        url: &str,
        bearer: Option<&SecretString>,
        content_type: &str,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<HttpReply, NetError> {
        let (body, within) = (Some((content_type, body)), within.min(UPLOAD_TIMEOUT));
        read(self.request(Method::POST, url, (bearer, &[]), body, within).await?, BODY_BYTES_MAX).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        sent: (Option<&SecretString>, &[(&'static str, &'static str)]),
        body: Option<(&str, Vec<u8>)>,
        within: Duration,
    ) -> Result<HttpReply, NetError> {
        let within = within.min(TOTAL_TIMEOUT);
        read(self.request(method, url, sent, body, within).await?, BODY_BYTES_MAX).await
    }

    async fn request(
        &self,
        method: Method,
        url: &str,
        (bearer, headers): (Option<&SecretString>, &[(&'static str, &'static str)]),
        body: Option<(&str, Vec<u8>)>,
        within: Duration,
    ) -> Result<Response, NetError> {
        let url = Url::parse(url).map_err(|_| NetError::Address("not a URL"))?;
        let mut request = self.client_for(&url)?.request(method, url).timeout(within);
        if let Some((content_type, body)) = body {
            request = request.header(CONTENT_TYPE, content_type).body(body);
        }
        if let Some(token) = bearer {
            request = request.header(AUTHORIZATION, authorization(token)?);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.map_err(net_error)
    }

    fn client_for(&self, url: &Url) -> Result<&Client, NetError> {
        self.choose(url, &self.0.outside, base)
    }

    fn client_for_sockets(&self, url: &Url) -> Result<&Client, NetError> {
        self.choose(url, &self.0.sockets, || base().http1_only())
    }

    /// The client for an address: the one for this machine, or that one, which is made at first use.
    fn choose<'c>(
        &'c self,
        url: &Url,
        outside: &'c OnceLock<Result<Client, String>>,
        make: fn() -> ClientBuilder,
    ) -> Result<&'c Client, NetError> {
        let host = url.host_str().ok_or(NetError::Address("no host"))?;
        let loopback = is_loopback(host);
        match url.scheme() {
            "https" => {}
            "http" if loopback || self.0.plain_hosts.iter().any(|plain| plain == host) => {}
            "http" => return Err(NetError::Address("plain HTTP to another machine")),
            _ => return Err(NetError::Address("neither HTTP nor HTTPS")),
        }
        let client = if loopback && url.scheme() == "http" {
            self.0.loopback.get_or_init(|| build(base().no_proxy().tls_certs_only([])))
        } else {
            outside.get_or_init(|| build(make()))
        };
        client.as_ref().map_err(|problem| NetError::Connect(problem.clone()))
    }
}

/// HTTP to the devices of a lab, whose addresses the lab file names: plain HTTP is what most of them speak, and each
/// request has a connection of its own, since a weak device drops idle ones without a word. Cheap to clone.
#[derive(Clone, Default)]
pub struct DeviceHttp(Arc<DeviceClients>);

#[derive(Default)]
struct DeviceClients {
    plain: OnceLock<Result<Client, String>>,
    /// Made at first use: it reads the machine's certificates.
    verified: OnceLock<Result<Client, String>>,
    unverified: OnceLock<Result<Client, String>>,
}

/// One request to a device. Everything in it may hold a credential.
pub struct DeviceRequest<'r> {
    /// The method.
    pub method: &'r str,
    /// The whole address.
    pub url: &'r str,
    /// Headers.
    pub headers: &'r [(&'r str, &'r str)],
    /// The body.
    pub body: Option<&'r str>,
    /// Whether the device's certificate is taken as it comes.
    pub insecure: bool,
    /// How long the whole answer may take.
    pub within: Duration,
}

impl DeviceHttp {
    /// Sends one request and reads its answer.
    pub async fn send(&self, request: &DeviceRequest<'_>) -> Result<HttpReply, NetError> {
        let url = Url::parse(request.url).map_err(|_| NetError::Address("not a URL"))?;
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| NetError::Address("not an HTTP method"))?;
        let client = match (url.scheme(), request.insecure) {
            ("http", _) => self.0.plain.get_or_init(|| device_client(false, false)),
            ("https", false) => self.0.verified.get_or_init(|| device_client(true, false)),
            ("https", true) => self.0.unverified.get_or_init(|| device_client(true, true)),
            _ => return Err(NetError::Address("neither HTTP nor HTTPS")),
        };
        let client = client.as_ref().map_err(|problem| NetError::Connect(problem.clone()))?;
        let mut sent = client.request(method, url).timeout(request.within);
        for (name, value) in request.headers {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| NetError::Address("a header's value holds characters that no header can"))?;
            value.set_sensitive(true);
            sent = sent.header(*name, value);
        }
        if let Some(body) = request.body {
            sent = sent.body(body.to_owned());
        }
        read(sent.send().await.map_err(net_error)?, BODY_BYTES_MAX).await
    }
}

/// The one place where clients for platforms are made.
fn build(builder: ClientBuilder) -> Result<Client, String> {
    builder.build().map_err(|error| reason(&error))
}

/// The one place where clients for devices are made.
fn device_client(tls: bool, insecure: bool) -> Result<Client, String> {
    let builder = base().no_proxy().pool_max_idle_per_host(0);
    let builder = match (tls, insecure) {
        (false, _) => builder.tls_certs_only([]),
        (true, false) => builder,
        (true, true) => builder.tls_danger_accept_invalid_certs(true),
    };
    builder.build().map_err(|error| reason(&error))
}

/// Has TLS use the one cryptography that is built in.
pub fn choose_cryptography() {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    // An error means that somebody was first, with the only provider that is built in.
    PROVIDER.get_or_init(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

fn base() -> ClientBuilder {
    choose_cryptography();
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TOTAL_TIMEOUT)
        .redirect(redirect::Policy::none())
        .user_agent(concat!("boardhand/", env!("CARGO_PKG_VERSION")))
}

fn json_body(body: &Value) -> (&'static str, Vec<u8>) {
    ("application/json; charset=utf-8", body.to_string().into_bytes())
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn authorization(token: &SecretString) -> Result<HeaderValue, NetError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
        .map_err(|_| NetError::Address("the token holds characters that no header can"))?;
    value.set_sensitive(true);
    Ok(value)
}

async fn read(mut response: Response, most: usize) -> Result<HttpReply, NetError> {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(after_sending)? {
        if body.len() + chunk.len() > most {
            return Err(NetError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(HttpReply { status, body, headers })
}

fn net_error(error: reqwest::Error) -> NetError {
    if error.is_connect() || error.is_builder() {
        NetError::Connect(reason(&error))
    } else {
        after_sending(error)
    }
}

fn after_sending(error: reqwest::Error) -> NetError {
    if error.is_timeout() { NetError::Timeout } else { NetError::Broken(reason(&error)) }
}

/// The innermost cause: the outer ones name the address, which may be a secret itself.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if cause.is::<reqwest::Error>() { "the request failed".to_owned() } else { cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::http::{HeaderMap as Headers, StatusCode};
    use axum::response::Redirect;
    use axum::routing::post;
    use serde_json::json;

    async fn serve(router: Router) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    const WITHIN: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn a_post_carries_its_token_and_brings_back_status_headers_and_body() {
        let echo = |headers: Headers, body: String| async move {
            let token = headers["authorization"].to_str().expect("text").to_owned();
            (
                StatusCode::TOO_MANY_REQUESTS,
                [("retry-after", "99999"), ("x-oauth-scopes", "a,b")],
                token + &body,
            )
        };
        let base = serve(Router::new().route("/", post(echo))).await;
        let token = SecretString::from("xoxb-1");
        let reply =
            Http::new(&[]).post_json(&base, Some(&token), &json!({"a": 1}), WITHIN).await.expect("reply");
        assert_eq!((reply.status, reply.retry_after()), (429, Some(RETRY_AFTER_MAX)));
        assert_eq!(reply.header("X-OAuth-Scopes"), Some("a,b"));
        assert_eq!(reply.body, br#"Bearer xoxb-1{"a":1}"#);
    }

    #[tokio::test]
    async fn redirects_are_not_followed() {
        let router = Router::new().route("/", post(|| async { Redirect::temporary("/other") }));
        let base = serve(router).await;
        let reply = Http::new(&[]).post_form(&base, None, &[("a", "b c")], WITHIN).await.expect("reply");
        assert_eq!(reply.status, 307);
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_bound_and_not_beyond() {
        let router = Router::new()
            .route("/full", post(|| async { vec![b'x'; BODY_BYTES_MAX] }))
            .route("/over", post(|| async { vec![b'x'; BODY_BYTES_MAX + 1] }));
        let base = serve(router).await;
        let http = Http::new(&[]);
        let full =
            http.post_json(&format!("{base}/full"), None, &Value::Null, TOTAL_TIMEOUT).await.expect("reply");
        assert_eq!(full.body.len(), BODY_BYTES_MAX);
        let over = http.post_json(&format!("{base}/over"), None, &Value::Null, TOTAL_TIMEOUT).await;
        assert_eq!(over.err(), Some(NetError::TooLarge));
    }

    #[tokio::test]
    async fn silence_is_a_timeout_and_a_cut_is_ambiguous_and_a_closed_port_was_never_reached() {
        let http = Http::new(&[]);
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let url = format!("http://{}", silent.local_addr().expect("address"));
        let error = http.post_json(&url, None, &Value::Null, WITHIN).await.expect_err("silence");
        assert_eq!((&error, error.may_have_arrived()), (&NetError::Timeout, true));

        let cutting = tokio::spawn(async move {
            for _ in 0..5 {
                let (mut stream, _) = silent.accept().await.expect("accept");
                let mut byte = [0];
                let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut byte).await;
            }
        });
        let error = http.post_json(&url, None, &Value::Null, TOTAL_TIMEOUT).await.expect_err("cut");
        assert!(matches!(error, NetError::Broken(_)) && error.may_have_arrived(), "{error:?}");
        cutting.abort();
        let _ = cutting.await;

        let error = http.post_json(&url, None, &Value::Null, WITHIN).await.expect_err("closed");
        assert!(matches!(error, NetError::Connect(_)) && !error.may_have_arrived(), "{error:?}");
        assert!(!error.to_string().contains("http"), "{error}");
    }

    #[test]
    fn only_https_and_loopback_and_configured_hosts_are_called() {
        let http = Http::new(&["http://sim.lab:8080/api/", "https://slack.com/api/"]);
        let check = |url: &str, good: bool| {
            let url = Url::parse(url).expect("URL");
            assert_eq!(http.client_for(&url).is_ok(), good, "{url}");
        };
        check("http://127.0.0.1:1/x", true);
        check("http://[::1]:1/x", true);
        check("http://localhost:1/x", true);
        check("http://slack.com/api/", false);
        check("http://10.0.0.1/", false);
        check("http://127.0.0.1.evil.example/", false);
        check("ftp://127.0.0.1/", false);
        check("file:///etc/passwd", false);
        let outside = Url::parse("http://sim.lab/x").expect("URL");
        // Without certificates on this machine no client for the outside can be made; the address is good all the same.
        assert!(!matches!(http.client_for(&outside), Err(NetError::Address(_))));
    }
}
