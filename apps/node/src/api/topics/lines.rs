//! A body as lines, held one at a time.

use aether_mesh::MAX_INLINE;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};

/// Longest line: any message that fits an envelope, each byte of which may be escaped in six
/// (`\u0000`), within two quotes.
const MAX_LINE: usize = 6 * MAX_INLINE + 2;

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error(
        "line {number} is longer than {MAX_LINE} bytes; send such a message alone, as text/plain"
    )]
    TooLong { number: u64 },
    #[error("the body broke off: {0}")]
    Body(axum::Error),
}

/// Cuts a stream of bytes into lines, and passes over empty ones.
pub(super) struct Lines<S> {
    body: S,
    buffer: BytesMut,
    /// So much of the buffer has no line end in it.
    searched: usize,
    number: u64,
    ended: bool,
}

impl<S: Stream<Item = Result<Bytes, axum::Error>> + Unpin> Lines<S> {
    pub(super) fn new(body: S) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0, number: 0, ended: false }
    }

    /// The number of the last line, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, LineError> {
        loop {
            while let Some(line) = self.cut() {
                self.number += 1;
                if line.len() > MAX_LINE {
                    return Err(LineError::TooLong { number: self.number });
                }
                if !line.trim_ascii().is_empty() {
                    return Ok(Some(line));
                }
            }
            if self.ended {
                return Ok(None);
            }
            if self.buffer.len() > MAX_LINE {
                return Err(LineError::TooLong { number: self.number + 1 });
            }
            match self.body.next().await {
                Some(bytes) => self.buffer.extend_from_slice(&bytes.map_err(LineError::Body)?),
                None => self.ended = true,
            }
        }
    }

    /// Reads on to the end, and keeps nothing.
    pub(super) async fn discard(&mut self) {
        while let Some(Ok(_)) = self.body.next().await {}
    }

    /// Takes a line that is whole, or at the end the rest.
    fn cut(&mut self) -> Option<Bytes> {
        let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        let line = match end {
            Some(end) => self.buffer.split_to(self.searched + end + 1),
            None if self.ended && !self.buffer.is_empty() => self.buffer.split(),
            None => {
                self.searched = self.buffer.len();
                return None;
            }
        };
        self.searched = 0;
        Some(line.freeze())
    }
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, stream};

    use super::*;

    fn lines(chunks: &[&str]) -> Result<Vec<String>, LineError> {
        let chunks: Vec<_> =
            chunks.iter().map(|chunk| Ok(Bytes::copy_from_slice(chunk.as_bytes()))).collect();
        let mut lines = Lines::new(stream::iter(chunks));
        let mut found = Vec::new();
        while let Some(line) = block_on(lines.next())? {
            found.push(String::from_utf8(line.to_vec()).unwrap().trim_end().to_owned());
        }
        Ok(found)
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        let text = "one\ntwo\r\n\n  \nthree";
        for cut in 0..=text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(lines(&[a, b]).unwrap(), ["one", "two", "three"], "cut at {cut}");
        }
        let single: Vec<_> = text.split("").collect();
        assert_eq!(lines(&single).unwrap(), ["one", "two", "three"]);
        assert!(lines(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_line_is_bounded() {
        let most = "x".repeat(MAX_LINE - 1);
        assert_eq!(lines(&[&most, "\n"]).unwrap().len(), 1);
        let chunk = "x".repeat(10_000);
        let endless = vec![chunk.as_str(); 100];
        let error = lines(&endless).unwrap_err();
        assert!(matches!(error, LineError::TooLong { number: 1 }));
        let error = lines(&["a\n", &"x".repeat(MAX_LINE), "x\n"]).unwrap_err();
        assert!(matches!(error, LineError::TooLong { number: 2 }));
    }
}
