//! Reading around damage.
//!
//! Where a block of a table is damaged, the engine fails every scan that comes to it, and what lies
//! behind it isn't reached; nor may a failed scan go on, as it would show old values of keys whose
//! newest ones it couldn't read. So each failure begins a new scan behind it: at the nearest key
//! from which one succeeds, found by steps that grow and then by halves.

use std::ops::Bound;

use crate::{Keyspace, ReadError, Scan, Slice};

/// Bytes of a key by which distances are told.
const WIDTH: usize = 64;
/// By how many bits a step is longer than the one before.
const STRIDE: usize = 4;
/// How often the last step is halved: of what lies between two keys that can be read, at most one
/// part in so many is lost beside what is damaged.
const HALVES: usize = 16;

/// All that can be read of a part of a keyspace, in order, from a store whose disk has damaged it;
/// see [`Keyspace::salvage`].
#[derive(Debug)]
pub struct Salvage {
    keyspace: Keyspace,
    /// None behind the end.
    scan: Option<Scan>,
    /// What lies behind the part, if anything does.
    below: Option<Vec<u8>>,
    last: Vec<u8>,
}

impl Keyspace {
    /// The keys that begin with a prefix with their values, as far as they can be read. What can't
    /// is told by an error, once for each value that is corrupt and each stretch of keys that the
    /// engine can't read; the scan goes on behind it.
    ///
    /// Each such stretch costs some hundred reads. For keyspaces that nobody writes to meanwhile.
    pub fn salvage(&self, prefix: &[u8]) -> Salvage {
        let below = behind(prefix);
        let scan = Some(scan(self, Bound::Included(prefix), below.as_deref()));
        Salvage { keyspace: self.clone(), scan, below, last: prefix.to_vec() }
    }
}

impl Iterator for Salvage {
    type Item = Result<(Slice, Slice), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.scan.as_mut()?.next();
        match &item {
            Some(Ok((key, _))) => self.last = key.to_vec(),
            Some(Err(ReadError::Corrupt { key, .. })) => self.last.clone_from(key),
            Some(Err(_)) => self.go_around(),
            None => self.scan = None,
        }
        item
    }
}

impl Salvage {
    /// Goes on at the nearest key behind the last one from which something can be read.
    fn go_around(&mut self) {
        let (mut bad, mut good, mut bits) = (widen(&self.last), None, 0);
        while bits < WIDTH * 8 {
            let Some(at) = plus(&bad, bits) else { break };
            if self.is_readable(&at) {
                good = Some(at);
                break;
            }
            bits += STRIDE;
        }
        let Some(mut good) = good else {
            self.scan = None;
            return;
        };
        if bits > 0 {
            bad = plus(&bad, bits - STRIDE).unwrap_or(bad);
        }
        for _ in 0..HALVES {
            let middle = between(&bad, &good);
            match self.is_readable(&middle) {
                true => good = middle,
                false => bad = middle,
            }
        }
        self.scan = Some(self.from(&good));
    }

    fn from(&self, key: &[u8]) -> Scan {
        scan(&self.keyspace, Bound::Included(key), self.below.as_deref())
    }

    /// Whether a scan from there finds something, or comes to the end.
    fn is_readable(&self, key: &[u8]) -> bool {
        let is_ahead = key > &self.last[..];
        is_ahead
            && match self.from(key).next() {
                Some(item) => !matches!(item, Err(ReadError::Engine { .. })),
                None => true,
            }
    }
}

fn scan(keyspace: &Keyspace, from: Bound<&[u8]>, below: Option<&[u8]>) -> Scan {
    keyspace.range::<&[u8]>((from, below.map_or(Bound::Unbounded, Bound::Excluded)))
}

/// The first key behind all that begin with a prefix; `None` if there is none.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut key = prefix[..=last].to_vec();
    key[last] += 1;
    Some(key)
}

fn widen(key: &[u8]) -> [u8; WIDTH] {
    let mut wide = [0; WIDTH];
    let len = key.len().min(WIDTH);
    wide[..len].copy_from_slice(&key[..len]);
    wide
}

/// The number that is larger by 2 to the power of `bits`.
fn plus(number: &[u8; WIDTH], bits: usize) -> Option<[u8; WIDTH]> {
    let mut sum = *number;
    let mut carry = 1 << (bits % 8);
    for byte in sum[..WIDTH - bits / 8].iter_mut().rev() {
        let (more, is_over) = byte.overflowing_add(carry);
        *byte = more;
        if !is_over {
            return Some(sum);
        }
        carry = 1;
    }
    None
}

/// The number halfway, rounded down.
fn between(low: &[u8; WIDTH], high: &[u8; WIDTH]) -> [u8; WIDTH] {
    // The sum has one bit more, which the halving takes off again.
    let mut sums = [0_u16; WIDTH];
    let mut carry = 0;
    for (at, sum) in sums.iter_mut().enumerate().rev() {
        *sum = u16::from(low[at]) + u16::from(high[at]) + carry;
        carry = *sum >> 8;
        *sum &= 0xff;
    }
    let mut middle = [0; WIDTH];
    for (byte, sum) in middle.iter_mut().zip(sums) {
        let whole = carry << 8 | sum;
        *byte = u8::try_from(whole >> 1).unwrap_or(u8::MAX);
        carry = whole & 1;
    }
    middle
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(last: u128) -> [u8; WIDTH] {
        let mut wide = [0; WIDTH];
        wide[WIDTH - 16..].copy_from_slice(&last.to_be_bytes());
        wide
    }

    #[test]
    fn what_lies_behind_a_prefix_is_found() {
        assert_eq!(behind(b""), None);
        assert_eq!(behind(b"\xff\xff"), None);
        assert_eq!(behind(b"a").unwrap(), b"b");
        assert_eq!(behind(b"a\xff").unwrap(), b"b");
    }

    #[test]
    fn what_is_too_large_is_no_number() {
        assert_eq!(plus(&[u8::MAX; WIDTH], 0), None);
        assert_eq!(plus(&widen(&[0x80]), WIDTH * 8 - 1), None);
        assert_eq!(plus(&[0; WIDTH], WIDTH * 8 - 1), Some(widen(&[0x80])));
    }

    proptest! {
        #[test]
        fn numbers_are_added_and_halved(
            low in any::<u64>(), more in any::<u64>(), bits in 0..100_usize,
        ) {
            let (low, high) = (u128::from(low), u128::from(low) + u128::from(more));
            prop_assert_eq!(plus(&number(low), bits), Some(number(low + (1 << bits))));
            prop_assert_eq!(between(&number(low), &number(high)), number((low + high) / 2));
            let top = [&[0xff; WIDTH - 16][..], &high.to_be_bytes()].concat();
            let top = top.try_into().unwrap();
            prop_assert_eq!(between(&top, &top), top);
        }
    }
}
