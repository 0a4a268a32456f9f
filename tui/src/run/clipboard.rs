//! The clipboard, through the terminal (OSC 52): works over ssh, and in tmux with `set-clipboard on`.

use std::io::Write as _;

use super::terminal::Output;

/// Longest text: xterm takes no more than 100,000 bytes of base64.
const LONGEST: usize = 74_000;

/// Puts text on the clipboard. Whether the terminal obeys cannot be known.
pub(super) fn copy(text: &str) {
    let bytes = text.as_bytes().get(..text.len().min(LONGEST)).unwrap_or_default();
    let mut sequence = Vec::with_capacity(bytes.len() * 4 / 3 + 16);
    sequence.extend_from_slice(b"\x1b]52;c;");
    base64(&mut sequence, bytes);
    sequence.push(0x07);
    // A terminal that cannot be written to shows so at the next frame.
    let _ = Output.write_all(&sequence);
}

/// Appends `bytes` in base64 (RFC 4648, with padding).
fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let group = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let value = (group >> (18 - 6 * digit) & 63) as usize;
            let code = if digit <= chunk.len() { DIGITS.get(value).copied().unwrap_or(b'=') } else { b'=' };
            out.push(code);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_test_vectors_of_rfc_4648_hold() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            let mut out = Vec::new();
            super::base64(&mut out, plain.as_bytes());
            assert_eq!(out, coded.as_bytes());
        }
    }
}
