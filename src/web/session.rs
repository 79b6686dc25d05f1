//! Signing in: a token of the API, once, for a cookie that is signed and ends by itself. The cookie holds no token, only
//! a digest of it: a token that is not known any more ends its sessions too. Pure but for the clock's time it is handed.

use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::clock::Timestamp;
use crate::message::links::Links;

/// How long somebody stays signed in.
pub(super) const SESSION_LIVES: Duration = Duration::from_secs(12 * 3600);
/// The cookie's name.
const COOKIE: &str = "boardhand_session";
/// Longest cookie header that is read.
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// The `Set-Cookie` of whoever has the token of this digest, which is known.
pub(super) fn begin(digest: &[u8; 32], links: &Links, now: Timestamp) -> String {
    let ends_at = (now + SESSION_LIVES).as_secs();
    let digest = hex::encode(digest);
    let seal = seal(links, ends_at, &digest);
    let age = SESSION_LIVES.as_secs();
    format!("{COOKIE}={ends_at}.{digest}.{seal}; Max-Age={age}; {}", terms(links))
}

/// The `Set-Cookie` that ends a session.
pub(super) fn end(links: &Links) -> String {
    format!("{COOKIE}=; Max-Age=0; {}", terms(links))
}

/// The digest of the token with which a session of a `Cookie` header began that is not over; whether the token is still
/// known is for the caller to ask.
pub(super) fn of(header: &[u8], links: &Links, now: Timestamp) -> Option<[u8; 32]> {
    let header = std::str::from_utf8(header).ok().filter(|header| header.len() <= HEADER_BYTES_MAX)?;
    let mut cookies =
        header.split(';').filter_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='));
    cookies.find_map(|cookie| ours(cookie, links, now))
}

fn ours(cookie: &str, links: &Links, now: Timestamp) -> Option<[u8; 32]> {
    let mut parts = cookie.splitn(3, '.');
    let (ends_at, digest, given) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let sealed: bool = seal(links, ends_at, digest).as_bytes().ct_eq(given.as_bytes()).into();
    let mut bytes = [0; 32];
    hex::decode_to_slice(digest, &mut bytes).ok()?;
    (sealed && now.as_secs() < ends_at).then_some(bytes)
}

fn seal(links: &Links, ends_at: i64, digest: &str) -> String {
    links.seal(&format!("session:{ends_at}:{digest}"))
}

fn terms(links: &Links) -> String {
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
        let of = |links: &Links, now| super::of(header.as_bytes(), links, now);
        assert_eq!(of(&links, NOW), Some(ours));
        assert_eq!(of(&links, NOW + SESSION_LIVES - Duration::from_secs(1)), Some(ours));
        assert_eq!(of(&links, NOW + SESSION_LIVES), None);
        assert_eq!(of(&Links::new("https://lab", [8; 32]), NOW), None, "another database");
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
