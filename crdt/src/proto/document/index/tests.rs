use automerge::{Automerge, ObjType, ROOT, ReadDoc, transaction::Transactable};

use super::{super::Change, *};

fn add(index: &mut Index, change: &automerge::Change) {
    let actor = ActorId(change.actor_id().to_bytes().try_into().unwrap());
    let change = Change::decode(change.raw_bytes(), &actor).unwrap();
    let accepted = index.judge(&change, u64::MAX, |_| true).unwrap();
    index.apply(accepted);
}

#[test]
fn a_text_typed_letter_by_letter_in_many_changes_takes_one_span() {
    let mut document = Automerge::new().with_actor([1; 16].into());
    let mut index = Index::default();
    for at in 0..100 {
        let mut tx = document.transaction();
        let text = match tx.get(ROOT, "text").unwrap() {
            Some((_, text)) => text,
            None => tx.put_object(ROOT, "text", ObjType::Text).unwrap(),
        };
        tx.splice_text(&text, at, 0, "a").unwrap();
        tx.commit();
        add(&mut index, &document.get_last_local_change().unwrap());
    }
    let rows = &index.lanes[0].rows;
    assert_eq!((index.len(), rows.spans.len(), rows.links.len()), (100, 2, 1));
    assert_eq!((rows.spans[1].start, rows.spans[1].len), (2, 100));
}

#[test]
fn the_past_of_a_change_is_its_closure_and_not_what_came_meanwhile() {
    let mut one = Automerge::new().with_actor([1; 16].into());
    let mut two = Automerge::new().with_actor([2; 16].into());
    let mut index = Index::default();
    let put = |document: &mut Automerge, index: &mut Index| {
        let mut tx = document.transaction();
        tx.put(ROOT, "a", index.len() as u64).unwrap();
        tx.commit();
        let change = document.get_last_local_change().unwrap();
        add(index, &change);
        ChangeHash(change.hash().0)
    };
    let first = put(&mut one, &mut index);
    two.merge(&mut one).unwrap();
    let second = put(&mut two, &mut index);
    let third = put(&mut one, &mut index);
    one.merge(&mut two).unwrap();
    let fourth = put(&mut one, &mut index);
    let fifth = put(&mut two, &mut index);
    let past = |deps: &[ChangeHash]| index.past(deps).unwrap().0;
    assert_eq!(past(&[]), [0, 0]);
    assert_eq!(past(&[first]), [1, 0]);
    assert_eq!(past(&[second]), [1, 1]);
    assert_eq!(past(&[third]), [2, 0]);
    assert_eq!(past(&[second, third]), [2, 1]);
    assert_eq!(past(&[fourth]), [3, 1]);
    assert_eq!(past(&[fifth]), [1, 2]);
    assert_eq!(past(&[fourth, fifth]), [3, 2]);
    let unknown = ChangeHash([9; 32]);
    assert_eq!(index.past(&[first, unknown]).unwrap_err(), unknown);
    assert_eq!(index.heads().collect::<BTreeSet<_>>(), [fourth, fifth].into());
}

#[test]
fn rows_and_changes_take_no_more_memory_than_documented() {
    assert!(size_of::<Span>() <= 32);
    assert!(size_of::<(u32, Link)>() <= 16);
    assert!(size_of::<Entry>() <= 48);
}
