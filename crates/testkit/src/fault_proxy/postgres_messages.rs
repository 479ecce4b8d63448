//! The boundaries of the messages on a Postgres connection (PostgreSQL documentation, "Message
//! Formats"): a type byte, which a client's first messages lack, then a length that counts itself.

/// Reads the message types off one direction of a connection.
#[derive(Debug)]
pub(super) struct MessageReader {
    /// The bytes of the next header that have arrived.
    header: Vec<u8>,
    /// How many bytes of the current message's body are still to arrive.
    body: usize,
    /// The type of the current message; 0 if it has none.
    kind: u8,
    /// Whether messages have no type byte yet.
    untyped: bool,
    /// The first four bytes of an untyped message's body: the protocol version, or another request.
    request: Vec<u8>,
}

/// Protocol version 3 in a start-up message; other values ask for encryption or a cancel.
const VERSION_3: [u8; 2] = [0, 3];

impl MessageReader {
    /// Reads what a client sends; its first messages have no type.
    pub(super) fn of_client() -> Self {
        Self { header: Vec::new(), body: 0, kind: 0, untyped: true, request: Vec::new() }
    }

    /// Reads what a server sends.
    pub(super) fn of_server() -> Self {
        Self { untyped: false, ..Self::of_client() }
    }

    /// Takes more bytes and returns the types of the messages that end in them, 0 for an untyped one.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut ended = Vec::new();
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.body > 0 {
                let taken = self.body.min(bytes.len());
                if self.untyped && self.request.len() < 4 {
                    self.request.extend(bytes[..taken].iter().take(4));
                }
                bytes = &bytes[taken..];
                self.body -= taken;
                if self.body == 0 {
                    ended.push(self.end());
                }
                continue;
            }
            self.header.push(byte);
            bytes = rest;
            let typed = usize::from(!self.untyped);
            if self.header.len() < typed + 4 {
                continue;
            }
            let length = self.header[typed..].iter().fold(0, |sum, b| sum << 8 | usize::from(*b));
            self.kind = if self.untyped { 0 } else { self.header[0] };
            self.header.clear();
            self.body = length.saturating_sub(4);
            if self.body == 0 {
                ended.push(self.end());
            }
        }
        ended
    }

    fn end(&mut self) -> u8 {
        if self.untyped && self.request.starts_with(&VERSION_3) {
            self.untyped = false;
        }
        self.request.clear();
        self.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind], length.to_be_bytes().as_slice(), body].concat()
    }

    #[test]
    fn messages_are_recognised_however_they_are_cut_into_pieces() {
        let startup = message(0, b"\0\x03\0\0user\0me\0\0")[1..].to_vec();
        let encryption = message(0, &[0x04, 0xd2, 0x16, 0x2f])[1..].to_vec();
        let all = [
            encryption,
            startup,
            message(b'P', b"select"),
            message(b'S', b""),
            message(b'E', b"123456789"),
        ]
        .concat();
        for size in 1..all.len() {
            let mut reader = MessageReader::of_client();
            let seen: Vec<u8> = all.chunks(size).flat_map(|piece| reader.feed(piece)).collect();
            assert_eq!(seen, [0, 0, b'P', b'S', b'E'], "in pieces of {size}");
        }
    }

    #[test]
    fn all_messages_of_a_server_have_a_type() {
        let mut reader = MessageReader::of_server();
        assert_eq!(reader.feed(&message(b'R', &[0; 4])), [b'R']);
        assert_eq!(reader.feed(&message(b'Z', b"I")), [b'Z']);
    }
}
