//! How the simulated Feishu signs and covers what it posts, written after its documentation and apart from our own door.

use aes::Aes256;
use aes::cipher::{BlockEncryptMut, KeyIvInit, block_padding::Pkcs7};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// `base64(iv ‖ AES-256-CBC(sha256(key), PKCS#7(text)))`.
pub(super) fn cover(key: &str, iv: [u8; 16], text: &[u8]) -> String {
    let key: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    let sealed = cbc::Encryptor::<Aes256>::new(&key.into(), &iv.into()).encrypt_padded_vec_mut::<Pkcs7>(text);
    STANDARD.encode([&iv[..], &sealed].concat())
}

/// `sha256(timestamp ‖ nonce ‖ key ‖ body)` in hex.
pub(super) fn sign(key: &str, timestamp: &str, nonce: &str, body: &[u8]) -> String {
    hex::encode(Sha256::digest([timestamp.as_bytes(), nonce.as_bytes(), key.as_bytes(), body].concat()))
}
