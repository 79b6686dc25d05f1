//! Hosts that the lab file lists: at which addresses files may be that boards are told to fetch. Pure. An address is read
//! strictly, so that nothing that dials can read another host out of it; where a name leads is not looked at.

use std::fmt;

use super::reach;

/// Longest address, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 2_000;

/// An address that may be called: `https://ci.example.com/job/1/a.bin`, in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether it is HTTPS; otherwise plain HTTP.
    pub secure: bool,
    /// The host, in lower case; an IPv6 address with its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A host, or all hosts of a domain, as the lab file lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    /// Whether plain HTTP is meant.
    plain: bool,
    /// The host, or what stands behind `*.`, in lower case.
    host: String,
    /// Whether it is a domain.
    any: bool,
    port: u16,
}

/// Why a text is no address that could be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressProblem {
    /// Too long.
    #[error("an address has at most {ADDRESS_BYTES_MAX} bytes")]
    TooLong,
    /// Neither HTTP nor HTTPS.
    #[error("an address begins with https:// or http://")]
    Scheme,
    /// Characters that it cannot have.
    #[error(
        "an address has no spaces, quotes, backslashes, fragments and letters beyond ASCII; encode them with %"
    )]
    Characters,
    /// A user's name or a password.
    #[error("an address here has no user name and no password")]
    User,
    /// No host, or none that one could be.
    #[error("an address names its host, as in https://ci.example.com/file")]
    Host,
}

impl Address {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Address, AddressProblem> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(AddressProblem::TooLong);
        }
        let (secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(AddressProblem::Scheme),
        };
        if !rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'\\#<>^`{|}".contains(&byte)) {
            return Err(AddressProblem::Characters);
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(AddressProblem::User);
        }
        let (host, port) = host_and_port(authority, secure).ok_or(AddressProblem::Host)?;
        Ok(Address { secure, host, port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "" } else { "http://" })?;
        f.write_str(&self.host)?;
        if self.port == default_port(self.secure) { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

fn host_and_port(authority: &str, secure: bool) -> Option<(String, u16)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port = match port {
        None => default_port(secure),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().ok().filter(|n| *n > 0)?
        }
        Some(_) => return None,
    };
    is_host(host).then(|| (host.to_ascii_lowercase(), port))
}

/// A name, or an address in brackets.
fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.strip_suffix(']').is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let label = |label: &str| {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(word)
    };
    // Whoever dials reads a host that ends in a number as an IPv4 address, however that is spelt: here it has one spelling.
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last.get(..2).is_some_and(|front| front.eq_ignore_ascii_case("0x"))
            && last[2..].bytes().all(|byte| byte.is_ascii_hexdigit());
    host.len() <= 253
        && host.split('.').all(label)
        && (!is_number || host.parse::<std::net::Ipv4Addr>().is_ok())
}

impl HostRule {
    /// Reads an entry: `ci.example.com`, `ci.example.com:8443`, `http://ci.lab.local:8080`, `*.example.com`.
    pub fn parse(text: &str) -> Option<HostRule> {
        let (plain, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (true, rest),
            (None, rest) => (false, rest.unwrap_or(text)),
        };
        let (any, rest) = match rest.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (host, port) = host_and_port(rest, !plain)?;
        // A domain has a name of its own: neither everything under `.com` nor an address is one.
        let named =
            host.split('.').next_back().is_some_and(|last| last.bytes().any(|b| b.is_ascii_alphabetic()));
        (!any || named && host.contains('.') && !host.starts_with('[')).then_some(HostRule {
            plain,
            host,
            any,
            port,
        })
    }

    /// Whether something is called there.
    pub fn reach(&self) -> Reach {
        reach_of(&self.host)
    }

    fn allows(&self, address: &Address) -> bool {
        let host = match self.any {
            true => address.host.strip_suffix(&self.host).is_some_and(|front| front.ends_with('.')),
            false => address.host == self.host,
        };
        host && self.plain != address.secure && self.port == address.port
    }
}

/// Whether a host is one at which something is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// As far as can be told from a name.
    Yes,
    /// A private address, or one of this machine.
    Private,
    /// Nothing ever is: a link-local address, or one where clouds hand out credentials.
    Never,
}

/// Whether a host, as an [`Address`] has it, is one at which something is called.
pub fn reach_of(host: &str) -> Reach {
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(ip) if !reach::may(ip, true) => Reach::Never,
        Ok(ip) if !reach::may(ip, false) => Reach::Private,
        Ok(_) | Err(_) => Reach::Yes,
    }
}

/// Whether an address is at a listed host.
pub fn lists(rules: &[HostRule], address: &Address) -> bool {
    rules.iter().any(|rule| rule.allows(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_whoever_dials_it_does() {
        let good = |text: &str, secure: bool, host: &str, port: u16| {
            let address = Address { secure, host: host.into(), port };
            assert_eq!(Address::parse(text), Ok(address), "{text}");
        };
        good("https://CI.example.com/a?b=c", true, "ci.example.com", 443);
        good("http://ci:8080", false, "ci", 8080);
        good("https://[fe80::1]:8443/x", true, "[fe80::1]", 8443);
        good("http://127.0.0.1/", false, "127.0.0.1", 80);
        good("https://ci.example.com?x@y", true, "ci.example.com", 443);
        let bad =
            |text: &str, problem: AddressProblem| assert_eq!(Address::parse(text), Err(problem), "{text}");
        bad("ftp://ci/a", AddressProblem::Scheme);
        bad("HTTPS://ci/a", AddressProblem::Scheme);
        bad("https:/\\ci/a", AddressProblem::Scheme);
        bad("https://ci\\@evil/", AddressProblem::Characters);
        bad("https://ci/a b", AddressProblem::Characters);
        bad("https://ci/#a", AddressProblem::Characters);
        bad("https://ci/\u{e4}", AddressProblem::Characters);
        bad("https://user:word@ci/", AddressProblem::User);
        bad("https:///a", AddressProblem::Host);
        bad("https://ci%2eevil/", AddressProblem::Host);
        bad("https://ci:0/", AddressProblem::Host);
        for number in
            ["2852039166", "0xA9FEA9FE", "169.254.1", "0251.0376.0251.0376", "127.1", "ci.0x7f", "1.2.3.4.5"]
        {
            bad(&format!("http://{number}/"), AddressProblem::Host);
            assert_eq!(HostRule::parse(number), None, "{number}");
        }
        good("https://0xide.example.com", true, "0xide.example.com", 443);
        bad("https://ci:99999/", AddressProblem::Host);
        bad("https://ci:+80/", AddressProblem::Host);
        bad("https://[::1", AddressProblem::Host);
        bad(&format!("https://ci/{}", "a".repeat(ADDRESS_BYTES_MAX)), AddressProblem::TooLong);
    }

    #[test]
    fn only_what_is_listed_may_be_fetched() {
        let rules: Vec<HostRule> = ["ci.example.com", "http://10.0.0.5:8080", "*.builds.example.com"]
            .map(|text| HostRule::parse(text).expect(text))
            .to_vec();
        let check = |url: &str, expect: bool| {
            assert_eq!(lists(&rules, &Address::parse(url).expect(url)), expect, "{url}");
        };
        check("https://ci.example.com/a", true);
        check("http://ci.example.com/a", false);
        check("https://ci.example.com:8443/a", false);
        check("http://10.0.0.5:8080/a", true);
        check("http://10.0.0.5/a", false);
        check("https://a.builds.example.com/a", true);
        check("https://a.b.builds.example.com/a", true);
        check("https://builds.example.com/a", false);
        check("https://evilbuilds.example.com/a", false);
        check("https://127.0.0.1/a", false);
        for bad in ["*", "*.com", "*.10.0.0", "ci/a", "ftp://ci", "", "user@ci", "*.[::1]"] {
            assert_eq!(HostRule::parse(bad), None, "{bad}");
        }
    }
}
