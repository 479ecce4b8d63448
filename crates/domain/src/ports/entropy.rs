//! Randomness.

/// A source of random bytes. Nothing in Mintgate draws randomness any other way.
pub trait Entropy: Send + Sync {
    /// Fills the buffer; an adapter MUST use the operating system's cryptographic generator.
    fn fill(&self, buffer: &mut [u8]);
}

impl dyn Entropy {
    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}
