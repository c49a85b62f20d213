use aether_core::SecretKey;
use proptest::{collection::vec, prelude::*};

use super::*;

const SALT: [u8; 16] = [0x5a; 16];
const GROUP: Mode = Mode::Group(Hash::from_bytes([0x9d; 32]));

fn owner(seed: u8) -> PublicKey {
    SecretKey::from_bytes([seed; 32]).public()
}

fn of(mode: Mode) -> Genesis {
    let owners = if mode == GROUP { vec![] } else { vec![owner(1), owner(2)] };
    Genesis::new(mode, SALT, "färöer", owners).unwrap()
}

#[test]
fn decoding_accepts_its_own_bytes_only() {
    for mode in [Mode::Granted, Mode::Readable, Mode::Open, GROUP] {
        let genesis = of(mode);
        let bytes = genesis.encode();
        assert_eq!(Genesis::decode(&bytes), Ok(genesis));
        for cut in 0..bytes.len() {
            assert!(Genesis::decode(&bytes[..cut]).is_err(), "{mode:?} cut at {cut}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Genesis::decode(&longer).is_err());
        let mut newer = bytes.clone();
        newer[0] = 2;
        assert_eq!(Genesis::decode(&newer), Err(GenesisError::Version { version: 2 }));
        let mut other = bytes;
        other[1] = 4;
        assert!(Genesis::decode(&other).is_err());
    }
}

#[test]
fn every_field_is_part_of_the_id() {
    let genesis = of(Mode::Granted);
    let owners = [owner(1), owner(2)];
    let others = [
        Genesis::new(Mode::Readable, SALT, "färöer", owners),
        Genesis::new(Mode::Open, SALT, "färöer", owners),
        Genesis::new(Mode::Granted, [0; 16], "färöer", owners),
        Genesis::new(Mode::Granted, SALT, "iceland", owners),
        Genesis::new(Mode::Granted, SALT, "färöer", [owner(1)]),
        Genesis::new(GROUP, SALT, "färöer", []),
        Genesis::new(Mode::Group(Hash::from_bytes([0; 32])), SALT, "färöer", []),
    ];
    let mut ids: BTreeSet<SpaceId> = others.map(|other| other.unwrap().space_id()).into();
    assert!(ids.insert(genesis.space_id()));
    assert_eq!(ids.len(), 8);
    let same = Genesis::new(Mode::Granted, SALT, "färöer", [owner(2), owner(1), owner(2)]);
    assert_eq!(same, Ok(genesis), "order and repetitions don't matter");
}

#[test]
fn owners_are_usable_keys_in_order_and_in_number() {
    let new = |mode, owners: Vec<PublicKey>| Genesis::new(mode, SALT, "", owners);
    assert_eq!(new(Mode::Granted, vec![]), Err(GenesisError::Owners));
    assert_eq!(new(Mode::Open, vec![]), Err(GenesisError::Owners));
    assert_eq!(new(GROUP, vec![owner(1)]), Err(GenesisError::Owners));
    let mut weak = [0; 32];
    weak[0] = 1;
    let weak = PublicKey::from_bytes(weak);
    assert_eq!(new(Mode::Granted, vec![weak]), Err(GenesisError::Owners));
    assert_eq!(new(Mode::Granted, (0..17).map(owner).collect()), Err(GenesisError::Owners));
    let most = new(Mode::Granted, (0..16).map(owner).collect()).unwrap();
    assert_eq!(Genesis::decode(&most.encode()), Ok(most));

    let bytes = of(Mode::Granted).encode();
    let (start, end) = (bytes.len() - 64, bytes.len() - 32);
    let mut swapped = bytes.clone();
    swapped[start..].rotate_left(32);
    assert_eq!(Genesis::decode(&swapped), Err(GenesisError::Owners));
    let mut twice = bytes;
    twice.copy_within(start..end, end);
    assert_eq!(Genesis::decode(&twice), Err(GenesisError::Owners));
}

#[test]
fn names_are_bounded_text() {
    let long = Genesis::new(Mode::Open, SALT, "x".repeat(256), [owner(1)]);
    assert_eq!(long, Err(GenesisError::Name { len: 256 }));
    let longest = Genesis::new(Mode::Open, SALT, "x".repeat(255), (0..16).map(owner)).unwrap();
    assert_eq!(longest.encode().len(), Genesis::MAX);
    assert_eq!(Genesis::decode(&longest.encode()), Ok(longest));
    let mut bytes = of(Mode::Open).encode();
    bytes[20] = 0xff;
    assert_eq!(Genesis::decode(&bytes), Err(GenesisError::NotText));
}

#[test]
fn owners_are_known_by_their_keys() {
    let genesis = of(Mode::Granted);
    assert!(genesis.is_owner(&owner(1)) && genesis.is_owner(&owner(2)));
    assert!(!genesis.is_owner(&owner(3)));
    assert_eq!(Role::Owner.to_byte(), None, "nobody is made an owner");
    assert!(Role::Owner > Role::Admin && Role::Admin > Role::Writer && Role::Writer > Role::Reader);
}

proptest! {
    #[test]
    fn what_is_read_is_written_back(mut bytes in vec(any::<u8>(), 0..200), sound: bool) {
        if sound && bytes.len() > 2 {
            bytes[0] = 1;
            bytes[1] %= 4;
        }
        if let Ok(genesis) = Genesis::decode(&bytes) {
            prop_assert_eq!(genesis.encode(), bytes);
        }
    }

    #[test]
    fn a_flipped_byte_is_refused_or_makes_another_space(at: prop::sample::Index, by in 1..=255u8) {
        let genesis = of(Mode::Granted);
        let mut bytes = genesis.encode();
        *at.get_mut(&mut bytes) ^= by;
        if let Ok(other) = Genesis::decode(&bytes) {
            prop_assert_ne!(other.space_id(), genesis.space_id());
        }
    }
}
