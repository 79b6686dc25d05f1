//! Sessions of browsers. Whoever signs in with a token of the API has a cookie that is signed and ends by itself; it holds no
//! token, only a digest of it: a token that is not known any more ends its sessions too. Whoever signs in with a chat platform
//! has one that holds nothing but something random, whose digest the store knows. Pure but for the clock's time it is
//! handed.

use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::chat::token;
use crate::clock::Timestamp;
use crate::id::Ids;
use crate::message::links::Links;

/// How long somebody stays signed in.
pub(super) const SESSION_LIVES: Duration = Duration::from_secs(12 * 3600);
/// What the cookie of somebody begins with who signed in with a chat platform, and the random bytes behind.
const PERSON: &str = "p.";
pub(super) const SECRET_BYTES: usize = 32;
/// The cookie's name.
const COOKIE: &str = "boardhand_session";
/// Longest cookie header that is read.
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// How long what a page's forms carry is: random, and sealed for its sign-in.
const ONCE_BYTES: usize = 16;

/// A sign-in that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    /// The digest of the token that it began with, or of what opens it; whether that is still known is for the caller to
    /// ask.
    pub(super) digest: [u8; 32],
    /// Whether it is that of a person of a chat.
    pub(super) of_person: bool,
    ends_at: i64,
}

impl Session {
    /// What the forms of one page carry: by it nothing is done twice, and no other site has it.
    pub(super) fn once(&self, links: &Links, ids: &Ids) -> String {
        let once = hex::encode(ids.bytes::<ONCE_BYTES>());
        format!("{once}.{}", self.seal(links, &once))
    }

    /// What tells the page, where what a form carries was made for this sign-in.
    pub(super) fn opens<'a>(&self, links: &Links, carried: &'a str) -> Option<&'a str> {
        let (once, given) = carried.split_once('.').filter(|(once, _)| once.len() == 2 * ONCE_BYTES)?;
        let is_ours: bool = self.seal(links, once).as_bytes().ct_eq(given.as_bytes()).into();
        is_ours.then_some(once)
    }

    fn seal(&self, links: &Links, once: &str) -> String {
        links.seal(&format!("once:{}:{}:{once}", self.ends_at, hex::encode(self.digest)))
    }
}

/// The `Set-Cookie` of whoever has the token of this digest, which is known.
pub(super) fn begin(digest: &[u8; 32], links: &Links, now: Timestamp) -> String {
    let ends_at = (now + SESSION_LIVES).as_secs();
    let digest = hex::encode(digest);
    let seal = seal(links, ends_at, &digest);
    let age = SESSION_LIVES.as_secs();
    format!("{COOKIE}={ends_at}.{digest}.{seal}; Max-Age={age}; {}", terms(links))
}

/// The `Set-Cookie` of somebody who signed in with a chat platform, and what the store keeps of it.
pub(super) fn begin_person(random: &[u8; SECRET_BYTES], links: &Links) -> (String, [u8; 32]) {
    let secret = hex::encode(random);
    let age = SESSION_LIVES.as_secs();
    let digest = token::digest(secret.as_bytes());
    (format!("{COOKIE}={PERSON}{secret}; Max-Age={age}; {}", terms(links)), digest)
}

/// The `Set-Cookie` that ends a session.
pub(super) fn end(links: &Links) -> String {
    format!("{COOKIE}=; Max-Age=0; {}", terms(links))
}

/// The session of a `Cookie` header that is not over.
pub(super) fn of(header: &[u8], links: &Links, now: Timestamp) -> Option<Session> {
    let header = std::str::from_utf8(header).ok().filter(|header| header.len() <= HEADER_BYTES_MAX)?;
    let mut cookies =
        header.split(';').filter_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='));
    cookies.find_map(|cookie| ours(cookie, links, now))
}

fn ours(cookie: &str, links: &Links, now: Timestamp) -> Option<Session> {
    if let Some(secret) = cookie.strip_prefix(PERSON) {
        let digest = token::digest(secret.as_bytes());
        return (secret.len() == 2 * SECRET_BYTES).then_some(Session { digest, of_person: true, ends_at: 0 });
    }
    let mut parts = cookie.splitn(3, '.');
    let (ends_at, digest, given) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let sealed: bool = seal(links, ends_at, digest).as_bytes().ct_eq(given.as_bytes()).into();
    let mut bytes = [0; 32];
    hex::decode_to_slice(digest, &mut bytes).ok()?;
    (sealed && now.as_secs() < ends_at).then_some(Session { digest: bytes, of_person: false, ends_at })
}

fn seal(links: &Links, ends_at: i64, digest: &str) -> String {
    links.seal(&format!("session:{ends_at}:{digest}"))
}

pub(super) fn terms(links: &Links) -> String {
    let secure = if links.are_secure() { "; Secure" } else { "" };
    format!("Path=/; HttpOnly; SameSite=Lax{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::token::digest;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn cookie(set: &str) -> &str {
        set.split(';').next().expect("a cookie")
    }

    #[test]
    fn a_session_lives_until_its_end_and_names_its_token() {
        let links = Links::new("https://lab", [7; 32]);
        let ours = digest(b"a-token-of-ours");
        let set = begin(&ours, &links, NOW);
        assert!(set.ends_with("; Max-Age=43200; Path=/; HttpOnly; SameSite=Lax; Secure"), "{set}");
        assert!(!set.contains("a-token-of-ours"), "{set}");
        let header = format!("theme=dark; {}", cookie(&set));
        let of = |links: &Links, now| super::of(header.as_bytes(), links, now).map(|session| session.digest);
        assert_eq!(of(&links, NOW), Some(ours));
        assert_eq!(of(&links, NOW + SESSION_LIVES - Duration::from_secs(1)), Some(ours));
        assert_eq!(of(&links, NOW + SESSION_LIVES), None);
        assert_eq!(of(&Links::new("https://lab", [8; 32]), NOW), None, "another database");
    }

    #[test]
    fn what_a_page_carries_is_of_its_sign_in_and_of_no_other() {
        let links = Links::new("https://lab", [7; 32]);
        let session = |token: &[u8], later| {
            let set = begin(&digest(token), &links, NOW + Duration::from_secs(later));
            super::of(cookie(&set).as_bytes(), &links, NOW).expect("a session")
        };
        let (ours, ids) = (session(b"ours", 0), Ids::seeded(7));
        let carried = ours.once(&links, &ids);
        assert!(ours.opens(&links, &carried).is_some_and(|once| carried.starts_with(once)));
        assert_ne!(carried, ours.once(&links, &ids), "each page has its own");
        assert_eq!(session(b"theirs", 0).opens(&links, &carried), None, "somebody else");
        assert_eq!(session(b"ours", 1).opens(&links, &carried), None, "another sign-in");
        for bad in ["", ".", &carried[..carried.len() - 1], &carried.replacen('.', "0.", 1), &"a".repeat(97)]
        {
            assert_eq!(ours.opens(&links, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_cookie_that_was_changed_is_none() {
        let links = Links::new("http://lab", [7; 32]);
        let set = begin(&digest(b"a-token-of-ours"), &links, NOW);
        assert!(!set.contains("Secure"), "over plain HTTP it would never come back: {set}");
        let good = cookie(&set).to_owned();
        let later = good.replacen(&(NOW + SESSION_LIVES).as_secs().to_string(), "9999999999", 1);
        let other = hex::encode(digest(b"another-of-ours"));
        let own = good.split('.').nth(1).expect("a digest");
        let long = format!("{good}{}", " ".repeat(HEADER_BYTES_MAX));
        for bad in
            [&later, &good.replace(own, &other), &good[..good.len() - 1], "boardhand_session=", "..", &long]
        {
            assert_eq!(of(bad.as_bytes(), &links, NOW), None, "{bad}");
        }
        assert_eq!(of(b"\xff", &links, NOW), None);
    }
}
