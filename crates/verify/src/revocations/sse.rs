//! Server-sent events (HTML standard, "Server-sent events"), as far as the feed uses them.

/// The longest message, in bytes.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// Puts the chunks of a stream together to messages. A message that is cut off is never returned.
#[derive(Default)]
pub(super) struct Messages {
    /// What has arrived of the current line.
    line: Vec<u8>,
    data: String,
}

impl Messages {
    /// Takes the next chunk; returns the messages that it completes.
    ///
    /// # Errors
    /// A message is too long, or is not UTF-8.
    pub(super) fn take(&mut self, chunk: &[u8]) -> Result<Vec<String>, &'static str> {
        let mut complete = Vec::new();
        for byte in chunk {
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() + self.data.len() > MAX_MESSAGE {
                    return Err("a message is too long");
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            if line.is_empty() {
                if !self.data.is_empty() {
                    complete.push(std::mem::take(&mut self.data));
                }
            } else if let Some(value) = line.strip_prefix(b"data:") {
                let value = std::str::from_utf8(value).map_err(|_| "a message is not UTF-8")?;
                self.data.push_str(value.trim_matches(' '));
            }
        }
        Ok(complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_put_together_however_the_chunks_are_cut() {
        let stream = b": hello\n\nevent: x\ndata: one\n\nid: 1\r\ndata:two\r\n\r\ndata: three";
        for size in 1..stream.len() {
            let mut messages = Messages::default();
            let taken = stream.chunks(size).flat_map(|chunk| messages.take(chunk).unwrap());
            assert_eq!(taken.collect::<Vec<_>>(), ["one", "two"], "{size}");
        }
    }

    #[test]
    fn a_message_without_end_is_refused() {
        let mut messages = Messages::default();
        let chunk = vec![b'x'; 1024 * 1024];
        let refused = (0..10).any(|_| messages.take(&chunk).is_err());
        assert!(refused);
    }
}
