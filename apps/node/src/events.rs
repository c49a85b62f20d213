//! Reads server-sent events (WHATWG HTML, section 9.2): as much of them as the interface uses.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};

/// Cuts a stream of bytes into the data of its events. The name of an event stands in its data
/// too, so names aren't read.
#[derive(Debug)]
pub(crate) struct EventReader<S> {
    bytes: S,
    parser: Parser,
}

impl<S, E> EventReader<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    pub(crate) fn new(bytes: S) -> Self {
        Self { bytes, parser: Parser::default() }
    }

    /// The data of the events.
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<String, E>> {
        stream::try_unfold(self, |mut reader| async move {
            loop {
                if let Some(data) = reader.parser.ready.pop_front() {
                    return Ok(Some((data, reader)));
                }
                match reader.bytes.next().await {
                    Some(bytes) => reader.parser.push(&bytes?),
                    None => return Ok(None),
                }
            }
        })
    }
}

#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    data: Option<String>,
    ready: VecDeque<String>,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.end_line(),
                byte => self.line.push(*byte),
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.strip_suffix('\r').unwrap_or(&line);
        if line.is_empty() {
            self.ready.extend(self.data.take());
        } else if let Some(value) = line.strip_prefix("data:") {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_however_they_come() {
        let text =
            ": comment\n\nevent: message\ndata: {\"ä\":1}\n\ndata:a\r\ndata: b\r\n\r\ndata: cut";
        for size in 1..=text.len() {
            let mut parser = Parser::default();
            text.as_bytes().chunks(size).for_each(|chunk| parser.push(chunk));
            assert_eq!(parser.ready, ["{\"ä\":1}", "a\nb"], "chunks of {size}");
        }
    }
}
