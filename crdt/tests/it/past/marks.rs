//! B8: a mark ends behind where it begins.

use aether_crdt::proto::document::Why;

use super::{A, B, BEGIN, C, END, NEXT, TEXT, begin, behind, end, letter, verdict};
use crate::chunks::{Id, Op};

const OWN: Id = (NEXT, 0);

fn mark(from: Option<Id>, to: Option<Id>) -> Result<(), Why> {
    let place = |element: Option<Id>| match element {
        Some(element) => behind(TEXT, element),
        None => Op::insert(TEXT),
    };
    verdict(&[begin(place(from)), end(place(to))])
}

#[test]
fn a_mark_ends_behind_its_begin_or_behind_a_later_element() {
    for (from, to) in [
        (None, A),
        (None, C),
        (None, BEGIN),
        (Some(A), B),
        (Some(A), C),
        (Some(A), BEGIN),
        (Some(BEGIN), B),
        (Some(B), END),
        (Some(END), C),
        (None, OWN),
        (Some(A), OWN),
        (Some(C), OWN),
    ] {
        assert_eq!(mark(from, Some(to)), Ok(()), "{from:?} {to:?}");
    }
}

#[test]
fn a_mark_that_ends_before_its_begin_is_void() {
    for (from, to) in [
        (None, None),
        (Some(A), None),
        (Some(A), Some(A)),
        (Some(B), Some(A)),
        (Some(C), Some(B)),
        (Some(B), Some(BEGIN)),
        (Some(BEGIN), Some(A)),
        (Some(END), Some(B)),
        (Some(C), Some(END)),
    ] {
        assert_eq!(mark(from, to), Err(Why::Mark(1)), "{from:?} {to:?}");
    }
}

#[test]
fn letters_of_the_same_change_are_in_order_too() {
    // The x stands right behind the a: before the b, and before the mark that was there.
    let with = |from, to| {
        let typed = letter(behind(TEXT, A), "x");
        verdict(&[typed, begin(behind(TEXT, from)), end(behind(TEXT, to))])
    };
    for (from, to) in [(A, OWN), (OWN, B), (OWN, BEGIN), (OWN, END), (A, B)] {
        assert_eq!(with(from, to), Ok(()), "{from:?} {to:?}");
    }
    for (from, to) in [(B, OWN), (OWN, A), (BEGIN, OWN), (OWN, OWN), (C, OWN)] {
        assert_eq!(with(from, to), Err(Why::Mark(2)), "{from:?} {to:?}");
    }
}
