//! Why one request to a device came to nothing, and whether asking again may help. The words never hold a credential:
//! no address, header, body or community stands in them.

/// A request that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Another try may succeed: silence, a broken connection, a device that is busy.
    Passing(String),
    /// Asking again changes nothing, and may lock an account: a wrong password, no such outlet.
    Lasting(String),
}

impl Fault {
    pub(super) fn passing(problem: impl Into<String>) -> Fault {
        Fault::Passing(problem.into())
    }

    pub(super) fn lasting(problem: impl Into<String>) -> Fault {
        Fault::Lasting(problem.into())
    }

    /// What happened.
    #[cfg(test)]
    pub(super) fn problem(&self) -> &str {
        match self {
            Fault::Passing(problem) | Fault::Lasting(problem) => problem,
        }
    }
}

/// No answer came within `within`.
pub(super) fn silence(within: std::time::Duration) -> String {
    format!("no answer in {}", crate::clock::shown_duration(within))
}

/// `host` with a port, where it names none. An IPv6 address has no port of its own here.
pub(super) fn with_port(host: &str, port: u16) -> String {
    match host.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{port}"),
        Err(_) if host.rsplit_once(':').is_some() => host.to_owned(),
        Err(_) => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::with_port;

    #[test]
    fn a_host_keeps_its_own_port() {
        let check = |host: &str, expect: &str| assert_eq!(with_port(host, 161), expect);
        check("pdu-a", "pdu-a:161");
        check("pdu-a:1161", "pdu-a:1161");
        check("10.0.0.1", "10.0.0.1:161");
        check("fd00::7", "[fd00::7]:161");
        check("[fd00::7]:1161", "[fd00::7]:1161");
    }
}
