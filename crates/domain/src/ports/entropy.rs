//! Drawing random bytes.

/// A source of random bytes. Mintgate draws randomness through this port only, so a test can repeat a
/// run. The exception is the key material of `signer-jose`, which comes from OpenSSL.
///
/// ```
/// use mintgate_domain::ports::Entropy;
///
/// struct Constant;
///
/// impl Entropy for Constant {
///     fn fill(&self, buffer: &mut [u8]) {
///         buffer.fill(7);
///     }
/// }
///
/// let entropy: &dyn Entropy = &Constant;
/// assert_eq!(entropy.bytes(), [7; 4]);
/// ```
pub trait Entropy: Send + Sync {
    /// Fills the whole buffer with random bytes. An adapter MUST take them from the operating system's
    /// cryptographic generator.
    fn fill(&self, buffer: &mut [u8]);
}

impl dyn Entropy {
    /// Draws `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}
