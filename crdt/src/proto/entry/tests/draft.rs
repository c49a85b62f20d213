use super::*;

#[test]
fn a_draft_groups_operations_by_collection_and_keeps_their_order() {
    let entry = batch().sign(&key(3), first(3), wall(0)).unwrap();
    let map = *Collection::new(Kind::Map, "m").id();
    let of = |wanted: bool| -> Vec<&[u8]> {
        let ops = entry.payload().ops();
        ops.filter(|(of, _)| (*of.id() == map) == wanted).map(|(_, op)| op).collect()
    };
    assert_eq!(of(true), [b"put a", b"put b"]);
    assert_eq!(of(false), [&b"add x"[..], b"", b"add y"]);
}

#[test]
fn drafts_make_a_chain() {
    let mut last = Draft::new().sign(&key(3), first(3), wall(0)).unwrap();
    assert_eq!(last.header().authority(), Some(GRANTED));
    assert_eq!(last.header().parent(), None);
    for step in 1..10u64 {
        let place = Place::after(last.header(), GRANTED).unwrap();
        // The wall clock stands still, and once falls back.
        let next = batch().sign(&key(3), place, wall(100 - step)).unwrap();
        assert_eq!(next.header().follows(last.header()), Ok(()));
        assert_eq!(next.header().parent(), Some(last.header().id()));
        assert_eq!(next.header().authority(), None);
        assert_eq!(next.header().number(), step + 1);
        last = next;
    }
}

#[test]
fn an_entry_is_later_than_what_it_cites() {
    let mut draft = Draft::new();
    let (late, later) = (Hybrid::from_wall(wall(10)), Hybrid::from_wall(wall(20)));
    draft.cite(citation(8, 1, 1), later).unwrap();
    draft.cite(citation(7, 1, 1), late).unwrap();
    let entry = draft.sign(&key(3), first(3), wall(0)).unwrap();
    assert_eq!(entry.header().time(), Hybrid::from_bits(later.to_bits() + 1));
    assert_eq!(entry.header().frontier(), [citation(7, 1, 1), citation(8, 1, 1)]);
}

#[test]
fn a_feed_whose_time_has_ended_goes_on_no_more() {
    let end = signed(Body { time: Hybrid::from_bits(u64::MAX), ..body() });
    let place = Place::after(&end, GRANTED).unwrap();
    assert_eq!(Draft::new().sign(&key(3), place, wall(0)), Err(DraftError::Time));
}

#[test]
fn an_author_signs_for_itself_alone() {
    assert_eq!(batch().sign(&key(4), first(3), wall(0)), Err(DraftError::Key));
}

#[test]
fn what_has_no_room_is_refused_without_effect() {
    let map = Collection::new(Kind::Map, "m");
    let mut draft = Draft::new();
    draft.op(map, vec![7; MAX_PAYLOAD - 25 - 4]).unwrap();
    assert_eq!(draft.op(map, vec![7]).unwrap_err(), DraftError::Full);
    assert_eq!(draft.op(Collection::new(Kind::Set, "s"), vec![]).unwrap_err(), DraftError::Full);
    draft.op(map, vec![]).unwrap();
    let entry = draft.sign(&key(3), first(3), wall(0)).unwrap();
    assert_eq!(entry.payload().as_bytes().len(), MAX_PAYLOAD);

    let mut draft = Draft::new();
    for at in 0..MAX_GROUPS {
        draft.op(Collection::new(Kind::Map, &at.to_string()), vec![]).unwrap();
    }
    let one_more = Collection::new(Kind::Map, "256");
    assert_eq!(draft.op(one_more, vec![]).unwrap_err(), DraftError::Full);
    draft.op(Collection::new(Kind::Map, "0"), vec![]).unwrap();
    let entry = draft.sign(&key(3), first(3), wall(0)).unwrap();
    assert_eq!(entry.header().content().groups, 256);

    let mut draft = Draft::new();
    for _ in 0..MAX_OPS {
        draft.op(map, vec![]).unwrap();
    }
    assert_eq!(draft.op(map, vec![]).unwrap_err(), DraftError::Full);
    assert!(draft.sign(&key(3), first(3), wall(0)).is_ok());
}

#[test]
fn a_frontier_that_is_full_takes_what_it_holds_already() {
    let mut draft = Draft::new();
    let time = Hybrid::from_wall(wall(0));
    for incarnation in 1..=64 {
        draft.cite(citation(7, incarnation, 1), time).unwrap();
    }
    assert_eq!(draft.cite(citation(7, 65, 1), time).unwrap_err(), DraftError::Full);
    draft.cite(citation(7, 64, 1), time).unwrap();
    assert_eq!(draft.sign(&key(3), first(3), wall(0)).unwrap().header().frontier().len(), 64);
}

#[test]
fn no_draft_makes_an_entry_that_breaks_a_rule() {
    let time = Hybrid::from_wall(wall(0));
    let mut own = Draft::new();
    own.cite(EntryId { feed: feed(3), ..citation(3, 1, 1) }, time).unwrap();
    let frontier = DraftError::Header(HeaderError::Frontier);
    assert_eq!(own.sign(&key(3), first(3), wall(0)), Err(frontier));
    let mut owner = Draft::new();
    owner.access(AccessOp::Grant { member: key(2).public(), role: Role::Owner, over: vec![] });
    let role = DraftError::Header(HeaderError::Access(AccessError::Role));
    assert_eq!(owner.sign(&key(3), first(3), wall(0)), Err(role));
}
