//! HTTP to addresses that somebody outside has named, or that a lab file lists for telling others. A name is looked up
//! once, by the very connection that is made: what is not allowed is left out there, so that nothing that changes in
//! between leads elsewhere. Never through a proxy, which would look it up itself, and never along a redirect.
//!
//! | | where it may go |
//! | --- | --- |
//! | public | addresses that the whole internet routes |
//! | private | those, and private ones and this machine; never link-local ones |
//!
//! Where clouds keep their credentials nothing goes, wherever that is.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT_ENCODING, HeaderValue, LOCATION};
use reqwest::{Client, Method, Response, Url};

use super::{HttpReply, NetError, TOTAL_TIMEOUT, after_sending, base, net_error, read, reason};
use crate::board::reach::may;

/// Longest answer that is read: nobody looks at more than its beginning.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Clients for both kinds, made at first use. Cheap to clone.
#[derive(Clone, Default)]
pub struct Outward(Arc<Clients>);

#[derive(Default)]
struct Clients {
    public: OnceLock<Result<Client, String>>,
    private: OnceLock<Result<Client, String>>,
}

/// One request. Its address and headers may hold credentials.
pub struct OutwardRequest<'r> {
    /// The method.
    pub method: Method,
    /// The whole address.
    pub url: &'r str,
    /// Headers.
    pub headers: &'r [(&'r str, String)],
    /// The body; none where there is nothing to say.
    pub body: Option<String>,
    /// Whether it may go to private addresses.
    pub private: bool,
    /// How long the whole answer may take, [`TOTAL_TIMEOUT`] at most.
    pub within: Duration,
}

impl Outward {
    /// Asks for a file at an address of the lab file's own, which may be private, and gives its answer to be read. How long
    /// an answer and each piece of it may take is the caller's to say; `within` is for all of it.
    pub async fn open(&self, url: &str, within: Duration) -> Result<Incoming, NetError> {
        let (client, url) = self.client(url, true)?;
        let sent = client.request(Method::GET, url).timeout(within).header(ACCEPT_ENCODING, "identity");
        Ok(Incoming(sent.send().await.map_err(net_error)?))
    }

    /// Sends one request and reads its answer.
    pub async fn send(&self, request: OutwardRequest<'_>) -> Result<HttpReply, NetError> {
        let (client, url) = self.client(request.url, request.private)?;
        let mut sent = client.request(request.method, url).timeout(request.within.min(TOTAL_TIMEOUT));
        for (name, value) in request.headers {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| NetError::Address("a header's value holds characters that no header can"))?;
            value.set_sensitive(true);
            sent = sent.header(*name, value);
        }
        if let Some(body) = request.body {
            sent = sent.header("content-type", "application/json").body(body);
        }
        read(sent.send().await.map_err(net_error)?, ANSWER_BYTES_MAX).await
    }

    /// The client for an address.
    fn client(&self, url: &str, private: bool) -> Result<(&Client, Url), NetError> {
        let url = Url::parse(url).map_err(|_| NetError::Address("not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(NetError::Address("neither HTTP nor HTTPS"));
        }
        // An address that needs no looking up never reaches the resolver.
        let host = url.host_str().ok_or(NetError::Address("no host"))?;
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if literal.is_ok_and(|ip| !may(ip, private)) {
            return Err(NetError::Address(FORBIDDEN));
        }
        let client = if private { &self.0.private } else { &self.0.public };
        let client = client.get_or_init(|| {
            let builder = base().no_proxy().dns_resolver(Arc::new(Guard { private }));
            builder.build().map_err(|error| reason(&error))
        });
        let client = client.as_ref().map_err(|problem| NetError::Connect(problem.clone()))?;
        Ok((client, url))
    }
}

/// An answer that is read a piece at a time.
pub struct Incoming(Response);

impl Incoming {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    /// How many bytes were announced.
    pub fn bytes(&self) -> Option<u64> {
        self.0.content_length()
    }

    /// Where a redirect leads.
    pub fn leads_to(&self) -> Option<String> {
        let location = self.0.headers().get(LOCATION)?.to_str().ok()?;
        self.0.url().join(location).ok().map(String::from)
    }

    /// The next piece; nothing behind the last one.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, NetError> {
        self.0.chunk().await.map_err(after_sending)
    }
}

const FORBIDDEN: &str = "an address that is not allowed: it is private, or leads nowhere";

/// Looks names up, and leaves out what is not allowed.
struct Guard {
    private: bool,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| may(address.ip(), private)).collect();
            if allowed.is_empty() {
                return Err(std::io::Error::other(FORBIDDEN).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::response::Redirect;
    use axum::routing::post;

    use super::*;

    async fn asked(url: &str, private: bool) -> Result<HttpReply, NetError> {
        let request = OutwardRequest {
            method: Method::POST,
            url,
            headers: &[("webhook-id", "1".into())],
            body: Some("{}".into()),
            private,
            within: Duration::from_secs(5),
        };
        Outward::default().send(request).await
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_not_called_and_no_redirect_is_followed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let router = Router::new()
            .route("/", post(|| async { "taken" }))
            .route("/away", post(|| async { Redirect::permanent("/") }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let forbidden = |got: Result<HttpReply, NetError>| match got {
            Err(NetError::Address(problem)) => problem == FORBIDDEN,
            Err(NetError::Connect(problem)) => problem == FORBIDDEN,
            _ => false,
        };
        for host in ["localhost", "127.0.0.1", "[::1]", "0x7f000001", "2130706433"] {
            assert!(forbidden(asked(&format!("http://{host}:{port}/"), false).await), "{host}");
        }
        let taken = asked(&format!("http://localhost:{port}/"), true).await.expect("an answer");
        assert_eq!((taken.status, taken.body.as_slice()), (200, &b"taken"[..]));
        let away = asked(&format!("http://127.0.0.1:{port}/away"), true).await.expect("an answer");
        assert_eq!(away.status, 308);
        assert!(matches!(asked("ftp://localhost/", true).await, Err(NetError::Address(_))));
    }
}
