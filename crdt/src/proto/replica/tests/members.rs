//! Rules 10, 11 and 14: replicas of spaces with roles, which talk to each other.

use super::*;
use crate::proto::{
    archive::Record,
    entry::{AccessOp, Checked, FeedPin},
    replica::Change as Access,
    space::Role,
};

/// The key of the owner, which signs changes of access and nothing else.
pub(super) const OWNER: u8 = 200;

pub(super) fn space(mode: Mode) -> Genesis {
    Genesis::new(mode, [7; 16], "members", [peer(OWNER)]).unwrap()
}

/// A replica of the key `seed`, which has the owner's key too if it is the founder's.
pub(super) fn member(mode: Mode, seed: u8, is_founder: bool) -> Node {
    let keys = Keys { own: key(seed), owner: is_founder.then(|| key(OWNER)) };
    let config = Config::default();
    let opened = Replica::open(config, space(mode), keys, [seed; 32], Memory::new(), None);
    let mut node = Node { replica: opened.unwrap(), unsynced: VecDeque::new(), own: None };
    assert_eq!(node.handle(NOW, Input::Wall(WALL)), []);
    node
}

/// Lets two replicas talk until both are quiet. Gives the entries that were sent, by the first and
/// by the second.
pub(super) fn talk(nodes: [(u8, &mut Node); 2]) -> [usize; 2] {
    let [(one, first), (other, second)] = nodes;
    let mut sent_by = [0, 0];
    let mut to_second =
        said(first, &mut sent_by[0], Input::Connected { peer: peer(other), opens: true });
    let mut to_first =
        said(second, &mut sent_by[1], Input::Connected { peer: peer(one), opens: false });
    while !to_first.is_empty() || !to_second.is_empty() {
        for bytes in mem::take(&mut to_first) {
            to_second.extend(said(first, &mut sent_by[0], heard(other, bytes)));
        }
        for bytes in mem::take(&mut to_second) {
            to_first.extend(said(second, &mut sent_by[1], heard(one, bytes)));
        }
    }
    first.handle(NOW, Input::Disconnected { peer: peer(other) });
    second.handle(NOW, Input::Disconnected { peer: peer(one) });
    sent_by
}

fn heard(from: u8, bytes: Vec<u8>) -> Input {
    Input::Message { from: peer(from), bytes }
}

/// What a replica says to an input, its disk being synced at once.
fn said(node: &mut Node, entries_sent: &mut usize, input: Input) -> Vec<Vec<u8>> {
    let mut outputs = node.handle(NOW, input);
    outputs.extend(node.sync(NOW));
    assert!(!outputs.iter().any(|output| matches!(output, Output::Close { fault: Some(_), .. })));
    *entries_sent += entries(&outputs).len();
    sent(&outputs).iter().map(Message::encode).collect()
}

pub(super) fn change(node: &mut Node, member: u8, change: Access) {
    let outputs = node.handle(NOW, Input::Change { token: 1, member: peer(member), change });
    assert_eq!(refusal(&outputs), None);
    node.sync(NOW);
}

/// Writes, and gives the entry; or why it wasn't written.
pub(super) fn write(node: &mut Node) -> Result<EntryId, WriteError> {
    let mut outputs = node.write(NOW, 2);
    outputs.extend(node.sync(NOW));
    if let Some(why) = refusal(&outputs) {
        return Err(why);
    }
    let written = outputs.iter().find_map(|output| match output {
        Output::Written { id, .. } => *id,
        _ => None,
    });
    Ok(written.expect("it is written or refused"))
}

fn refusal(outputs: &[Output]) -> Option<WriteError> {
    outputs.iter().find_map(|output| match output {
        Output::Refused { why, .. } => Some(*why),
        _ => None,
    })
}

pub(super) fn has(node: &Node, id: &EntryId) -> bool {
    let Ok(position) = node.replica.book().position(id);
    position.is_some()
}

/// The grants that a replica holds, of each feed in their order.
pub(super) fn grants(node: &Node) -> Vec<Authority> {
    let operations = node.replica.book().operations().map(|header| header.unwrap());
    let grants =
        operations.filter(|header| matches!(header.access(), Some(AccessOp::Grant { .. })));
    grants.map(|header| Authority::Grant(header.id())).collect()
}

/// The first entry of an author's feed in such a space.
pub(super) fn first(mode: Mode, feed: FeedId, seed: u8, by: Authority, draft: Draft) -> Entry {
    draft.sign(&key(seed), Place::first(space(mode).space_id(), feed, by), WALL).unwrap()
}

/// The entry behind another.
pub(super) fn after(parent: &Checked<Header>, seed: u8, by: Authority, draft: Draft) -> Entry {
    draft.sign(&key(seed), Place::after(parent, by).unwrap(), WALL).unwrap()
}

/// A draft of a change of access.
pub(super) fn op(change: AccessOp) -> Draft {
    let mut draft = Draft::new();
    draft.access(change);
    draft
}

/// The removal of a member that leaves these ends of its feeds standing.
pub(super) fn removed(member: u8, pins: &[&Entry]) -> AccessOp {
    let pin = |entry: &&Entry| {
        let EntryId { feed, number, hash } = entry.header().id();
        FeedPin { incarnation: feed.incarnation, number, hash }
    };
    let mut pins: Vec<FeedPin> = pins.iter().map(pin).collect();
    pins.sort_unstable();
    AccessOp::Remove { member: peer(member), pins, more: false }
}

/// Lets a peer give entries in a session of their own, each of which is synced.
pub(super) fn give(node: &mut Node, from: u8, entries: &[&Entry]) {
    node.handle(NOW, Input::Connected { peer: peer(from), opens: false });
    for (n, entry) in (1..).zip(entries) {
        let outputs = node.say(NOW, from, &offer(n, entry));
        assert!(!matches!(outputs[..], [Output::Close { .. }, ..]), "{outputs:?}");
        node.sync(NOW);
    }
    node.handle(NOW, Input::Disconnected { peer: peer(from) });
}

#[test]
fn who_is_granted_writes_and_who_was_removed_begins_another_feed_when_granted_anew() {
    let (mut founder, mut writer) =
        (member(Mode::Readable, 1, true), member(Mode::Readable, 2, false));
    assert_eq!(write(&mut writer), Err(WriteError::NotGranted));
    change(&mut founder, 2, Access::Grant(Role::Writer));
    assert_eq!(write(&mut writer), Err(WriteError::NotGranted), "it hasn't heard of it");
    talk([(1, &mut founder), (2, &mut writer)]);
    let first = write(&mut writer).unwrap();
    talk([(1, &mut founder), (2, &mut writer)]);
    assert!(has(&founder, &first));

    change(&mut founder, 2, Access::Remove);
    let late = write(&mut writer).unwrap();
    talk([(1, &mut founder), (2, &mut writer)]);
    assert!(has(&writer, &first) && !has(&writer, &late), "what the removal pins stays");
    assert!(!has(&founder, &late));
    assert_eq!(write(&mut writer), Err(WriteError::NotGranted));

    change(&mut founder, 2, Access::Grant(Role::Writer));
    talk([(1, &mut founder), (2, &mut writer)]);
    let again = write(&mut writer).unwrap();
    assert_ne!(again.feed, first.feed);
    talk([(1, &mut founder), (2, &mut writer)]);
    assert!(has(&founder, &again) && has(&founder, &first) && !has(&founder, &late));
    assert_eq!(founder.replica.digest(), writer.replica.digest());
}

#[test]
fn an_owners_key_signs_changes_of_access_and_nothing_else() {
    let mut founder = member(Mode::Readable, 1, true);
    assert_eq!(write(&mut founder), Err(WriteError::NotGranted));
    change(&mut founder, 1, Access::Grant(Role::Admin));
    assert_eq!(write(&mut founder).unwrap().feed.author, peer(1));
    let removal = Input::Change { token: 1, member: peer(1), change: Access::Remove };
    let refused = founder.handle(NOW, removal);
    assert!(matches!(refusal(&refused), Some(WriteError::Access(_))), "it would lock itself out");
}

#[test]
fn who_has_no_role_is_sent_no_entry_of_a_space_that_is_not_everyones_to_read() {
    let (mut founder, mut stranger) =
        (member(Mode::Granted, 1, true), member(Mode::Granted, 2, false));
    change(&mut founder, 1, Access::Grant(Role::Admin));
    let secret = write(&mut founder).unwrap();
    assert_eq!(talk([(1, &mut founder), (2, &mut stranger)]), [0, 0]);
    assert!(stranger.replica.rows().is_empty(), "it learns of no feed");

    change(&mut founder, 2, Access::Grant(Role::Reader));
    let [sent, _] = talk([(1, &mut founder), (2, &mut stranger)]);
    assert_eq!(sent, 3, "two grants and an entry");
    assert!(has(&stranger, &secret));
    assert_eq!(write(&mut stranger), Err(WriteError::NotGranted), "a reader writes nothing");

    change(&mut founder, 2, Access::Remove);
    let more = write(&mut founder).unwrap();
    assert_eq!(talk([(1, &mut founder), (2, &mut stranger)])[0], 0);
    assert!(has(&stranger, &secret) && !has(&stranger, &more), "it keeps what it has");
}

#[test]
fn own_entries_that_a_removal_drops_return_when_the_remover_is_removed() {
    let mode = Mode::Readable;
    let (mut founder, mut admin) = (member(mode, 1, true), member(mode, 2, false));
    let mut writer = member(mode, 3, false);
    change(&mut founder, 2, Access::Grant(Role::Admin));
    talk([(1, &mut founder), (2, &mut admin)]);
    change(&mut admin, 3, Access::Grant(Role::Writer));
    talk([(2, &mut admin), (3, &mut writer)]);
    talk([(1, &mut founder), (2, &mut admin)]);
    let first = write(&mut writer).unwrap();
    talk([(2, &mut admin), (3, &mut writer)]);
    let second = write(&mut writer).unwrap();

    // The admin hasn't the second, and nobody else has it either.
    change(&mut admin, 3, Access::Remove);
    talk([(2, &mut admin), (3, &mut writer)]);
    assert!(has(&writer, &first) && !has(&writer, &second));

    // The founder hasn't heard of that removal, which is void without its author.
    change(&mut founder, 2, Access::Remove);
    talk([(1, &mut founder), (3, &mut writer)]);
    assert!(has(&writer, &first) && has(&writer, &second));
    talk([(1, &mut founder), (3, &mut writer)]);
    assert!(has(&founder, &second));
    assert_eq!(founder.replica.digest(), writer.replica.digest());
}

/// Rule 13, and where it ends: only a liar signs a removal of one who isn't below it, and pins what
/// others keep no more.
#[test]
fn a_chain_is_not_asked_for_that_only_a_removal_from_below_pins() {
    let mode = Mode::Readable;
    let (mut founder, mut removed) = (member(mode, 1, true), member(mode, 2, false));
    let mut other = member(mode, 4, false);
    for seed in [2, 3] {
        change(&mut founder, seed, Access::Grant(Role::Admin));
    }
    let operations = founder.replica.book().operations();
    let granted = operations.map(Result::unwrap).last().unwrap();
    talk([(1, &mut founder), (2, &mut removed)]);
    let first = write(&mut removed).unwrap();
    talk([(1, &mut founder), (2, &mut removed)]);
    let late = write(&mut removed).unwrap();
    change(&mut founder, 2, Access::Remove);

    let feed = FeedId { author: peer(3), incarnation: 1 };
    let place = Place::first(space(mode).space_id(), feed, Authority::Grant(granted.id()));
    let pin = FeedPin { incarnation: late.feed.incarnation, number: 2, hash: late.hash };
    let mut draft = Draft::new();
    draft.cite(granted.id(), granted.time()).unwrap();
    draft.access(AccessOp::Remove { member: peer(2), pins: vec![pin], more: false });
    let removal = draft.sign(&key(3), place, WALL).unwrap();
    let header = removal.header().encode();
    let records = vec![Record::Entry { header, payload: removal.payload().as_bytes().to_vec() }];
    let outputs = founder.handle(NOW, Input::Offer { token: 9, records });
    assert_eq!(refusal(&outputs), None);
    founder.sync(NOW);
    assert!(has(&founder, &removal.header().id()));

    talk([(1, &mut founder), (4, &mut other)]);
    assert!(has(&other, &first) && has(&other, &removal.header().id()));
    talk([(2, &mut removed), (4, &mut other)]);
    for node in [&founder, &removed, &other] {
        assert!(has(node, &first) && !has(node, &late));
        assert_eq!(founder.replica.rows(), node.replica.rows());
    }
}
