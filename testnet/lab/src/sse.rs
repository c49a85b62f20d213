//! Server-sent events, as the HTML standard has them (section 9.2.6), of which `event` and `data`
//! are used.

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// Its kind; `message` if it has no other.
    pub event: String,
    /// What it carries, lines joined by `\n`.
    pub data: String,
}

/// Puts events together from a stream of bytes cut anywhere.
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    event: String,
    data: Option<String>,
}

impl SseParser {
    /// Takes the next bytes of the stream, and gives the events that they complete.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Vec<SseEvent> {
        let mut events = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line));
            events.extend(self.on_line(&line));
        }
        self.line.extend_from_slice(bytes);
        events
    }

    fn on_line(&mut self, line: &str) -> Option<SseEvent> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let data = self.data.take()?;
            let event = if event.is_empty() { "message".to_owned() } else { event };
            return Some(SseEvent { event, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // A comment has an empty field; ids and retry times mean nothing here.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\nevent: missed\ndata: {\"count\":2}\n\ndata:one\r\ndata: zwei \
                          ä\r\nid: 7\r\n\r\nevent: ignored\n\ndata\n\n";

    fn events() -> Vec<SseEvent> {
        [("missed", "{\"count\":2}"), ("message", "one\nzwei ä"), ("message", "")]
            .map(|(event, data)| SseEvent { event: event.into(), data: data.into() })
            .into()
    }

    #[test]
    fn events_are_the_same_wherever_the_stream_is_cut() {
        let bytes = STREAM.as_bytes();
        for cut in 0..=bytes.len() {
            let mut parser = SseParser::default();
            let mut found = parser.feed(&bytes[..cut]);
            found.extend(parser.feed(&bytes[cut..]));
            assert_eq!(found, events(), "cut at {cut}");
        }
    }

    #[test]
    fn an_event_counts_when_its_blank_line_has_come() {
        let mut parser = SseParser::default();
        assert_eq!(parser.feed(b"data: x\n"), []);
        assert_eq!(parser.feed(b"\n").len(), 1);
        assert_eq!(parser.feed(b"\n"), []);
    }
}
