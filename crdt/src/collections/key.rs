//! Keys: what orders the elements of a collection.

/// What can be a key: its bytes, at most 1,024, sort as it does.
///
/// Integers are big endian, so ranges of them are what one expects; text is its UTF-8.
pub trait Key: Sized {
    /// The key's bytes.
    fn to_key(&self) -> Vec<u8>;

    /// The key that has these bytes, if one has.
    fn from_key(bytes: &[u8]) -> Option<Self>;
}

impl Key for String {
    fn to_key(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        Self::from_utf8(bytes.to_vec()).ok()
    }
}

impl Key for Vec<u8> {
    fn to_key(&self) -> Vec<u8> {
        self.clone()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        Some(bytes.to_vec())
    }
}

impl<const N: usize> Key for [u8; N] {
    fn to_key(&self) -> Vec<u8> {
        self.to_vec()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok()
    }
}

macro_rules! unsigned {
    ($($type:ty),*) => {$(
        impl Key for $type {
            fn to_key(&self) -> Vec<u8> {
                self.to_be_bytes().to_vec()
            }

            fn from_key(bytes: &[u8]) -> Option<Self> {
                Some(Self::from_be_bytes(bytes.try_into().ok()?))
            }
        }
    )*};
}

unsigned!(u8, u16, u32, u64, u128);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_round_trip_and_sort_as_their_bytes_do(one: u32, other: u32, text: String) {
            prop_assert_eq!(one.cmp(&other), one.to_key().cmp(&other.to_key()));
            prop_assert_eq!(u32::from_key(&one.to_key()), Some(one));
            prop_assert_eq!(String::from_key(&text.to_key()), Some(text));
        }
    }

    #[test]
    fn bytes_of_another_type_are_no_key() {
        assert_eq!(u32::from_key(&[1, 2, 3]), None);
        assert_eq!(String::from_key(&[0xff]), None);
        assert_eq!(<[u8; 2]>::from_key(&[1]), None);
    }
}
