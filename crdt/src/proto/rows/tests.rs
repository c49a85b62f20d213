use proptest::prelude::*;

use super::*;

type Memory = BTreeMap<Vec<u8>, Vec<u8>>;

fn all<R: Base>(rows: &R, from: &[u8], below: Option<&[u8]>) -> Vec<(Vec<u8>, Vec<u8>)> {
    rows.scan(from, below).map(|row| row.unwrap()).collect()
}

#[test]
fn what_is_behind_a_prefix_is_behind_all_that_begins_with_it_and_nothing_else() {
    assert_eq!(behind(&[1, 2]), Some(vec![1, 3]));
    assert_eq!(behind(&[1, 255, 255]), Some(vec![2]));
    assert_eq!(behind(&[255]), None);
    assert_eq!(behind(&[]), None);
    let keys = [&[1, 254][..], &[1, 255], &[1, 255, 0], &[1, 255, 255], &[2]];
    let rows: Memory = keys.iter().map(|key| (key.to_vec(), vec![])).collect();
    let found: Vec<_> = starting(&rows, &[1, 255]).map(|row| row.unwrap().0).collect();
    assert_eq!(found, keys[1..4]);
    assert_eq!(starting(&rows, &[]).count(), 5);
}

#[test]
fn a_range_that_ends_before_it_begins_is_empty() {
    let rows = Memory::from([(vec![1], vec![])]);
    let mut overlay = Overlay::new(rows.clone());
    overlay.put(vec![1], vec![2]).unwrap();
    for (from, below) in [(&[1][..], &[1][..]), (&[2], &[1]), (&[1], &[])] {
        assert_eq!(all(&rows, from, Some(below)), []);
        assert_eq!(all(&overlay, from, Some(below)), []);
    }
}

/// A base that fails when it comes to a row.
#[derive(Debug)]
struct Torn(Memory, Vec<u8>);

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("torn")]
struct Tear;

impl Base for Torn {
    type Error = Tear;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Tear> {
        if key == self.1 { Err(Tear) } else { Ok(self.0.get(key).cloned()) }
    }

    fn scan(
        &self,
        from: &[u8],
        below: Option<&[u8]>,
    ) -> impl Iterator<Item = Scanned<Self>> + use<'_> {
        let row = |key: &Vec<u8>, value: &Vec<u8>| (key.clone(), value.clone());
        range(&self.0, from, below).map(move |(key, value)| match *key == self.1 {
            true => Err(Tear),
            false => Ok(row(key, value)),
        })
    }
}

#[test]
fn what_a_base_cannot_read_is_said_even_if_it_was_changed() {
    let rows = [1, 2, 3].map(|byte| (vec![byte], vec![byte]));
    let mut overlay = Overlay::new(Torn(Memory::from(rows), vec![2]));
    overlay.put(vec![4], vec![]).unwrap();
    let found: Vec<_> = overlay.scan(&[], None).collect();
    assert_eq!(found[..2], [Ok((vec![1], vec![1])), Err(Tear)]);
    assert_eq!(overlay.get(&[2]), Err(Tear));
    overlay.put(vec![2], vec![5]).unwrap();
    assert_eq!(overlay.get(&[2]), Ok(Some(vec![5])));
}

/// What may happen to an overlay.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    Seal,
    /// The next generation, or a part of it that an engine shows early, is in the base.
    Write(usize),
    /// Some of the generations that are in the base are known to be.
    Settle(usize),
    /// All rows are read and noted.
    Note,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..9u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        4 => (0..9u8).prop_map(Step::Delete),
        4 => Just(Step::Seal),
        2 => (0..6usize).prop_map(Step::Write),
        2 => (0..3usize).prop_map(Step::Settle),
        2 => Just(Step::Note),
    ]
}

/// Keys of which some begin with others.
fn key(byte: u8) -> Vec<u8> {
    vec![1; usize::from(byte % 3) + 1].into_iter().chain([byte / 3]).collect()
}

fn write(base: &mut Memory, changes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) {
    for (key, value) in changes {
        match value {
            Some(value) => base.insert(key, value),
            None => base.remove(&key),
        };
    }
}

proptest! {
    #[test]
    fn an_overlay_is_one_sorted_map_whatever_is_sealed_written_and_settled(
        base in prop::collection::btree_map((0..9u8).prop_map(key), any::<[u8; 1]>(), 0..9),
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut model: Memory = base.into_iter().map(|(key, value)| (key, value.into())).collect();
        let mut overlay = Overlay::new(model.clone());
        // Generations that are sealed and not in the base, and those that are and aren't settled.
        let (mut sealed, mut written) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Put(byte, value) => {
                    model.put(key(byte), vec![value]).unwrap();
                    overlay.put(key(byte), vec![value]).unwrap();
                }
                Step::Delete(byte) => {
                    model.delete(&key(byte)).unwrap();
                    overlay.delete(&key(byte)).unwrap();
                }
                Step::Seal => sealed.push(overlay.seal()),
                Step::Write(part) if !sealed.is_empty() => {
                    let changes = Changes::clone(&sealed[0].1);
                    // All of it, one time in six.
                    let count = if part == 0 { usize::MAX } else { part - 1 };
                    write(overlay.base_mut(), changes.into_iter().take(count));
                    if part == 0 {
                        written.push(sealed.remove(0).0);
                    }
                }
                Step::Settle(of) if of < written.len() => {
                    overlay.settled(written[of]);
                    written.drain(..=of);
                }
                Step::Note => {
                    let noted = Noted::of(&overlay);
                    for byte in 0..9 {
                        noted.get(&key(byte)).unwrap();
                    }
                    let found = noted.into_found();
                    overlay.note(found);
                }
                Step::Write(_) | Step::Settle(_) => {}
            }
            prop_assert_eq!(all(&overlay, &[], None), all(&model, &[], None));
            for (from, below) in [(0, 8), (1, 4), (3, 2), (7, 5)] {
                let (from, below) = (key(from), key(below));
                let expected = all(&model, &from, Some(&below));
                prop_assert_eq!(all(&overlay, &from, Some(&below)), expected);
            }
            for byte in 0..9 {
                let found = Base::get(&overlay, &key(byte)).unwrap();
                prop_assert_eq!(found.as_ref(), model.get(&key(byte)));
            }
        }
    }

    #[test]
    fn generations_written_in_their_order_make_the_map_and_leave_nothing_in_memory(
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let (mut model, mut overlay) = (Memory::new(), Overlay::new(Memory::new()));
        let (mut base, mut last) = (Memory::new(), 0);
        for step in steps.into_iter().chain([Step::Seal]) {
            match step {
                Step::Put(byte, value) => {
                    model.put(key(byte), vec![value]).unwrap();
                    overlay.put(key(byte), vec![value]).unwrap();
                }
                Step::Delete(byte) => {
                    model.delete(&key(byte)).unwrap();
                    overlay.delete(&key(byte)).unwrap();
                }
                Step::Seal | Step::Write(_) | Step::Settle(_) | Step::Note => {
                    let (generation, changes) = overlay.seal();
                    prop_assert_eq!(generation, last + 1);
                    last = generation;
                    write(&mut base, Changes::clone(&changes));
                }
            }
        }
        prop_assert_eq!(&base, &model);
        overlay.settled(last);
        prop_assert_eq!(all(&overlay, &[], None), []);
    }
}
