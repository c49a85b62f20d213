//! An archive of a space: read in pieces, it gives what it gives in one, and its own bytes again.

#![no_main]

use aether_crdt::proto::archive::{ArchiveError, Contents, Decoder, Encoder, Part};
use libfuzzer_sys::fuzz_target;

fn read(bytes: &[u8], piece: usize) -> (Vec<Part>, Result<Contents, ArchiveError>) {
    let (mut decoder, mut parts) = (Decoder::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        while let Ok(Some(part)) = decoder.poll() {
            parts.push(part);
        }
    }
    (parts, decoder.end())
}

fuzz_target!(|data: &[u8]| {
    let (parts, end) = read(data, data.len().max(1));
    assert_eq!(read(data, 5), (parts.clone(), end.clone()));
    let Some((Part::Genesis(genesis), records)) = parts.split_first() else { return };
    let (mut encoder, mut bytes) = Encoder::begin(genesis);
    for part in records {
        let Part::Record(record) = part else { panic!("one genesis") };
        bytes.extend(encoder.record(record));
    }
    assert!(data.starts_with(&bytes));
    if end.is_ok() {
        bytes.extend(encoder.end().0);
        assert_eq!(data, bytes);
    }
});
