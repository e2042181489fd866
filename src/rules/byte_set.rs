//! Sets of bytes that are asked with one look-up, for what reads heads byte by byte.
//!
//! Imports nothing. Deliberately absent: ranges and classes; a set is the bytes that are written down.

/// A set of bytes.
#[derive(Debug)]
pub(super) struct ByteSet([bool; 256]);

impl ByteSet {
    /// Of these bytes.
    #[expect(
        clippy::indexing_slicing,
        reason = "a byte is never outside of 256 places, and sets are made when this is compiled"
    )]
    pub(super) const fn of(mut bytes: &[u8]) -> Self {
        let mut set = [false; 256];
        while let [first, rest @ ..] = bytes {
            set[*first as usize] = true;
            bytes = rest;
        }
        Self(set)
    }

    /// Whether a byte is in it.
    pub(super) fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).is_some_and(|has| *has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_its_bytes_and_no_others() {
        static SET: ByteSet = ByteSet::of(b"\x00az\xff");
        let members: Vec<u8> = (0..=255).filter(|byte| SET.has(*byte)).collect();
        assert_eq!(members, [0, b'a', b'z', 255]);
    }
}
