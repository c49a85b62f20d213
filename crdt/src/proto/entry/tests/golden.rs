use data_encoding::HEXLOWER;

use super::*;

/// Every value of the file, in its order.
fn found() -> Vec<(String, Vec<u8>)> {
    let granted = genesis();
    let group = Genesis::new(Mode::Group(hash(0x9d)), [0x5a; 16], "", []).unwrap();
    let map = Collection::new(Kind::Map, "m");
    let mut found: Vec<(String, Vec<u8>)> = vec![
        ("genesis".into(), granted.encode()),
        ("space".into(), granted.space_id().as_hash().as_ref().to_vec()),
        ("genesis-group".into(), group.encode()),
        ("space-group".into(), group.space_id().as_hash().as_ref().to_vec()),
        ("feed-digest".into(), feed(3).digest().as_ref().to_vec()),
        ("collection".into(), map.id().to_vec()),
    ];
    for (name, entry) in examples() {
        let header = entry.header();
        found.push((format!("{name}-header"), header.encode()));
        found.push((format!("{name}-hash"), header.hash().as_ref().to_vec()));
        if !header.content().is_empty() {
            found.push((format!("{name}-payload"), entry.payload().as_bytes().to_vec()));
        }
    }
    found
}

/// Another language can check itself against these. A change of any is a change of the format:
/// replicas of two releases would no longer agree.
#[test]
fn golden_vectors() {
    let golden = include_str!("../../../../tests/golden/feeds-v1.txt");
    let expected: Vec<&str> = golden.lines().filter(|line| !line.starts_with('#')).collect();
    let found: Vec<String> =
        found().iter().map(|(name, bytes)| format!("{name} {}", HEXLOWER.encode(bytes))).collect();
    assert_eq!(found, expected, "\n{}", found.join("\n"));
}

#[test]
fn golden_headers_are_read_and_verify() {
    for (name, entry) in examples() {
        let bytes = entry.header().encode();
        let read = Header::decode(&bytes).unwrap().verify().unwrap();
        assert_eq!(&read, entry.header(), "{name}");
        assert_eq!(read.encode(), bytes, "{name}");
        let payload = Payload::decode(entry.payload().as_bytes().to_vec()).unwrap();
        assert_eq!(&payload, entry.payload(), "{name}");
        assert_eq!(Entry::new(read, payload), Ok(entry), "{name}");
    }
}
