//! Links into this server that a person can open from a chat without signing in: each carries its own signature,
//! so that who may read the thread may read the log, and nobody can guess another one.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Length of a link's signature in hex digits: 128 bits.
const KEY_DIGITS: usize = 32;

/// Makes and checks links.
#[derive(Clone)]
pub struct Links {
    public_url: String,
    secret: [u8; 32],
}

impl Links {
    /// Links to `public_url` (no slash at its end), signed with the store's secret.
    pub fn new(public_url: impl Into<String>, secret: [u8; 32]) -> Self {
        Links { public_url: public_url.into(), secret }
    }

    /// The console log of one attempt.
    pub fn log(&self, run: i64, attempt: u32) -> String {
        format!("{}/runs/{run}/log/{attempt}?key={}", self.public_url, self.key(run, attempt))
    }

    /// Whether `key` opens the log of that attempt.
    pub fn opens(&self, run: i64, attempt: u32, key: &str) -> bool {
        self.key(run, attempt).as_bytes().ct_eq(key.as_bytes()).into()
    }

    fn key(&self, run: i64, attempt: u32) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes a key of any length");
        mac.update(format!("log:{run}:{attempt}").as_bytes());
        let mut digits = hex::encode(mac.finalize().into_bytes());
        digits.truncate(KEY_DIGITS);
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_opens_its_own_log_only() {
        let links = Links::new("https://lab", [7; 32]);
        let link = links.log(42, 1);
        let key = link.split_once("key=").expect("has a key").1;
        assert!(link.starts_with("https://lab/runs/42/log/1?key=") && key.len() == KEY_DIGITS);
        assert!(links.opens(42, 1, key));
        assert!(!links.opens(43, 1, key) && !links.opens(42, 2, key) && !links.opens(42, 1, ""));
        assert!(!Links::new("https://lab", [8; 32]).opens(42, 1, key));
    }
}
