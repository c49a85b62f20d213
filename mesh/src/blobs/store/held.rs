//! The file that says which chunk groups of a partial blob are held.
//!
//! | bytes | field |
//! |---|---|
//! | 12 | `aether held\n` |
//! | 1 | version, 1 |
//! | 3 | zero |
//! | 8 | claimed size of the blob, big endian |
//! | 16 | boot id of the machine when the bits were last known to be right; zeros if never |
//! | 8 | the first 8 bytes of BLAKE3 of the above |
//! | n | a bit for each chunk group, the lowest bit of the first byte first; may end early |
//!
//! **Sync rule.** Bits are written after the groups' hashes and content were, each in a call of its
//! own, and none of them is synced. When the process is killed, the operating system keeps what was
//! written, in order, so at most the group being written is lost. When the machine stops, the order
//! is lost; the boot id tells, and then all that the bits claim is hashed before the download goes
//! on. Where the machine has no boot id, this is done every time.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::OnceLock};

use aether_core::wire::{Reader, Writer};

use super::{runs::Runs, tree};

const TITLE: &[u8; 12] = b"aether held\n";
const VERSION: u8 = 1;
/// Bytes before the bits.
pub(super) const HEADER: u64 = 48;
/// Bits are written and read so many bytes at a time.
const STRETCH: u64 = 64 * 1024;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Claimed size of the blob.
    pub(super) size: u64,
    /// Whether the bits needn't be checked.
    pub(super) is_checked: bool,
}

/// Names the time since the machine started.
fn boot_id() -> [u8; 16] {
    static BOOT: OnceLock<[u8; 16]> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let text = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: Vec<u8> = text.into_iter().filter(u8::is_ascii_hexdigit).collect();
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(&digits).unwrap_or_default();
        bytes.try_into().unwrap_or_default()
    })
}

impl Header {
    fn encode(self) -> [u8; HEADER as usize] {
        let mut writer = Writer::default();
        let boot = if self.is_checked { boot_id() } else { [0; 16] };
        writer.array(TITLE).u8(VERSION).array(&[0; 3]).u64(self.size).array(&boot);
        let mut bytes = writer.finish();
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(&checksum.as_bytes()[..8]);
        bytes.try_into().expect("the layout has this length")
    }

    fn decode(bytes: &[u8; HEADER as usize]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let title = reader.array::<12>().ok()?;
        let version = reader.u8().ok()?;
        let rest = reader.array::<3>().ok()?;
        let size = reader.u64().ok()?;
        let boot = reader.array::<16>().ok()?;
        let checksum = reader.array::<8>().ok()?;
        let right = blake3::hash(&bytes[..40]);
        let fits = title == *TITLE
            && (version, rest) == (VERSION, [0; 3])
            && right.as_bytes()[..8] == checksum
            && size <= tree::MAX_SIZE;
        fits.then(|| Self { size, is_checked: boot != [0; 16] && boot == boot_id() })
    }

    /// Writes the header.
    pub(super) fn write(self, file: &File) -> io::Result<()> {
        file.write_all_at(&self.encode(), 0)
    }
}

/// Reads a whole file; `None` if it isn't one of these.
pub(super) fn read(file: &File) -> io::Result<Option<(Header, Runs)>> {
    let mut header = [0; HEADER as usize];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let Some(header) = Header::decode(&header) else { return Ok(None) };
    let len = file.metadata()?.len().saturating_sub(HEADER);
    let groups = tree::groups(header.size);
    let mut held = Runs::default();
    let mut bytes = vec![0; STRETCH as usize];
    for start in (0..len.min(groups.div_ceil(8))).step_by(STRETCH as usize) {
        let bytes = &mut bytes[..STRETCH.min(len - start) as usize];
        file.read_exact_at(bytes, HEADER + start)?;
        let first = start * 8;
        for run in Runs::from_bytes(bytes, groups - first).iter() {
            held.insert(first + run.start..first + run.end);
        }
    }
    Ok(Some((header, held)))
}

/// Writes the bits of a range of groups.
pub(super) fn write(file: &File, held: &Runs, range: std::ops::Range<u64>) -> io::Result<()> {
    let (first, end) = (range.start / 8, range.end.div_ceil(8));
    for start in (first..end).step_by(STRETCH as usize) {
        let stretch = start..end.min(start + STRETCH);
        let bytes: Vec<u8> = stretch.map(|at| held.byte(at)).collect();
        file.write_all_at(&bytes, HEADER + start)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_read_back() {
        let file = tempfile::tempfile().unwrap();
        let size = 2 * 8 * STRETCH * tree::GROUP + 1;
        Header { size, is_checked: true }.write(&file).unwrap();
        let mut held = Runs::default();
        let last = tree::groups(size) - 1;
        for range in [3..9, 8 * STRETCH - 2..8 * STRETCH + 5, last..last + 1] {
            held.insert(range.clone());
            write(&file, &held, range).unwrap();
        }
        let (header, read_back) = read(&file).unwrap().unwrap();
        assert_eq!(read_back, held);
        assert_eq!(header, Header { size, is_checked: boot_id() != [0; 16] });
        Header { size, is_checked: false }.write(&file).unwrap();
        assert!(!read(&file).unwrap().unwrap().0.is_checked);
        // Bits beyond the size are no groups.
        Header { size: 5 * tree::GROUP, is_checked: true }.write(&file).unwrap();
        let held = read(&file).unwrap().unwrap().1;
        assert_eq!((held.count(), held.first_gap(3..5)), (2, None));
    }

    #[test]
    fn another_boot_means_unchecked() {
        let mut bytes = Header { size: 7, is_checked: true }.encode();
        bytes[24] ^= 1;
        let checksum = blake3::hash(&bytes[..40]);
        bytes[40..].copy_from_slice(&checksum.as_bytes()[..8]);
        assert_eq!(Header::decode(&bytes), Some(Header { size: 7, is_checked: false }));
    }

    #[test]
    fn a_torn_header_is_none() {
        let bytes = Header { size: 7, is_checked: true }.encode();
        for at in 0..bytes.len() {
            let mut torn = bytes;
            torn[at] ^= 0x10;
            assert_eq!(Header::decode(&torn), None, "byte {at}");
        }
    }
}
