//! Bounded encodings: fixed layouts by [`Reader`] and [`Writer`], everything else in CBOR.
//!
//! Nothing here allocates by a length that a remote names: a reader hands out slices of what
//! actually arrived.

use minicbor::{Decode, Encode};

/// Reads a fixed layout from front to back. Integers are big endian.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::TooShort)?;
        self.rest = rest;
        Ok(*head)
    }

    /// The next `len` bytes.
    pub fn slice(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(WireError::TooShort)?;
        self.rest = rest;
        Ok(head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A number of one to ten bytes, seven bits each, the lowest first (LEB128), in the shortest
    /// form.
    pub fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                return Err(WireError::Varint);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Varint)
    }

    /// A length of two bytes, at most `max`, and so many bytes.
    pub fn bytes16(&mut self, max: usize) -> Result<&'a [u8], WireError> {
        let len = usize::from(self.u16()?);
        if len > max {
            return Err(WireError::TooLong { len, max });
        }
        self.slice(len)
    }

    /// What hasn't been read yet; the reader is then at the end.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Refuses anything after what was read.
    pub fn end(self) -> Result<(), WireError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(WireError::Trailing { len: self.rest.len() })
        }
    }
}

/// Writes a fixed layout. Integers are big endian.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Starts with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.array(&[value])
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.array(&value.to_be_bytes())
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.array(&value.to_be_bytes())
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.array(&value.to_be_bytes())
    }

    /// A number of one to ten bytes: see [`Reader::varint`].
    pub fn varint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.u8(value.to_le_bytes()[0])
    }

    /// Bytes whose number the layout fixes.
    pub fn array<const N: usize>(&mut self, bytes: &[u8; N]) -> &mut Self {
        self.slice(bytes)
    }

    /// Bytes whose number the reader learns otherwise.
    pub fn slice(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// A length of two bytes and the bytes.
    ///
    /// # Panics
    /// If there are more than 65,535 of them: the caller bounds what it writes.
    pub fn bytes16(&mut self, bytes: &[u8]) -> &mut Self {
        self.u16(u16::try_from(bytes.len()).expect("the caller bounds what it writes"));
        self.slice(bytes)
    }

    /// All that was written.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Encodes a value in CBOR (RFC 8949).
pub fn to_cbor<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("encoding to memory does not fail")
}

/// Decodes one CBOR item and refuses anything after it.
pub fn from_cbor<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, WireError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode().map_err(|_| WireError::Cbor)?;
    match bytes.len() - decoder.position() {
        0 => Ok(value),
        len => Err(WireError::Trailing { len }),
    }
}

/// The number of items in a CBOR sequence (RFC 8742), or an error if it isn't well-formed.
/// Takes no memory for nested items, however deep.
pub fn count_cbor_sequence(bytes: &[u8]) -> Result<usize, WireError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let mut count = 0;
    while decoder.position() < bytes.len() {
        decoder.skip().map_err(|_| WireError::Cbor)?;
        count += 1;
    }
    Ok(count)
}

/// Why bytes aren't what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The layout goes on where the bytes end.
    #[error("the bytes end too early")]
    TooShort,
    /// A length exceeds its bound.
    #[error("a length of {len} exceeds the bound of {max}")]
    TooLong {
        /// Length named.
        len: usize,
        /// Bound in force.
        max: usize,
    },
    /// The bytes go on where the layout ends.
    #[error("{len} bytes follow the end")]
    Trailing {
        /// How many.
        len: usize,
    },
    /// A variable-length number beyond 64 bits, or longer than it need be.
    #[error("a number is too large, or longer than it need be")]
    Varint,
    /// Not well-formed CBOR, or not of the expected shape.
    #[error("not the expected CBOR")]
    Cbor,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_layouts_round_trip() {
        let mut writer = Writer::default();
        writer.u8(1).u16(2).u32(3).u64(4).bytes16(b"five").slice(b"six");
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(2));
        assert_eq!(reader.u32(), Ok(3));
        assert_eq!(reader.u64(), Ok(4));
        assert_eq!(reader.bytes16(4), Ok(&b"five"[..]));
        assert_eq!(reader.rest(), b"six");
        assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn a_number_has_one_form_and_64_bits() {
        for value in [0, 1, 127, 128, 300, 1 << 35, u64::MAX - 1, u64::MAX] {
            let mut writer = Writer::default();
            let bytes = writer.varint(value).u8(7).clone().finish();
            let mut reader = Reader::new(&bytes);
            assert_eq!((reader.varint(), reader.rest()), (Ok(value), &[7][..]));
        }
        assert_eq!(Writer::default().varint(300).clone().finish(), [0xac, 2]);
        assert_eq!(Reader::new(&[0x80]).varint(), Err(WireError::TooShort));
        assert_eq!(Reader::new(&[0x80, 0]).varint(), Err(WireError::Varint));
        for last in [2, 0x80, 0xff] {
            let large = [&[0xff; 9][..], &[last]].concat();
            assert_eq!(Reader::new(&large).varint(), Err(WireError::Varint));
        }
    }

    #[test]
    fn lengths_are_checked_before_they_are_believed() {
        assert_eq!(
            Reader::new(&[0xff, 0xff]).bytes16(8),
            Err(WireError::TooLong { len: 65_535, max: 8 })
        );
        assert_eq!(Reader::new(&[0, 4, 1]).bytes16(8), Err(WireError::TooShort));
        assert_eq!(Reader::new(&[1]).end(), Err(WireError::Trailing { len: 1 }));
    }

    #[test]
    fn sequences_are_counted_without_recursion() {
        assert_eq!(count_cbor_sequence(&[]), Ok(0));
        assert_eq!(count_cbor_sequence(&[0x01, 0x61, b'a', 0x80]), Ok(3));
        assert_eq!(count_cbor_sequence(&[0x62, b'a']), Err(WireError::Cbor));
        // A hundred thousand nested arrays, open and closed.
        let mut deep = vec![0x81; 100_000];
        assert_eq!(count_cbor_sequence(&deep), Err(WireError::Cbor));
        deep.push(0);
        assert_eq!(count_cbor_sequence(&deep), Ok(1));
        let endless = vec![0x9f; 100_000];
        assert_eq!(count_cbor_sequence(&endless), Err(WireError::Cbor));
    }

    #[test]
    fn cbor_refuses_what_follows() {
        let bytes = to_cbor(&7u32);
        assert_eq!(from_cbor::<u32>(&bytes), Ok(7));
        assert_eq!(from_cbor::<u32>(&[7, 7]), Err(WireError::Trailing { len: 1 }));
        assert_eq!(from_cbor::<u32>(&[0x61, b'a']), Err(WireError::Cbor));
    }
}
