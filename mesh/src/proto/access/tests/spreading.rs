//! Rules 9, 10 and 12: revocations, and what bounds them.

use super::{
    keeping::{Node, is_sent, sent},
    *,
};

fn revocation(seed: u8) -> Revocation {
    Revocation::sign(&root(), public(seed), NOW).unwrap()
}

fn statement(revocation: &Revocation) -> Message {
    Message::Revocations { statements: vec![revocation.encode().into()] }
}

/// A node with key 5 and the neighbours 6, 7 and 8.
fn node() -> Node {
    let mut node = Node::new(5, member(5, Role::Writer));
    for neighbour in [6, 7, 8] {
        node.meet(neighbour, member(neighbour, Role::Writer));
    }
    node
}

#[test]
fn a_revocation_is_kept_passed_on_and_cuts_at_once() {
    let mut node = node();
    let news = revocation(8);
    let outputs = node.hear(6, statement(&news));
    assert!(outputs.contains(&Output::Keep(news.clone())));
    assert!(is_sent(&outputs, 7, &statement(&news)));
    assert!(!is_sent(&outputs, 6, &statement(&news)), "it comes from there");
    let cut = Output::Cut { peer: public(8), why: Refusal::Revoked { key: public(8) } };
    assert!(outputs.contains(&cut));
    assert_eq!(node.hear(7, statement(&news)), [], "known");
}

#[test]
fn a_users_revocation_goes_to_all() {
    let mut node = node();
    let outputs = node.give(Input::Revoke(revocation(9)));
    for neighbour in [6, 7, 8] {
        assert!(is_sent(&outputs, neighbour, &statement(&revocation(9))));
    }
}

#[test]
fn a_revoked_invite_cuts_all_who_came_by_it() {
    let mut node = Node::new(5, member(5, Role::Writer));
    let invite = invite(Role::Writer);
    node.meet(6, invite.join(public(6), NOW).unwrap().capability);
    node.meet(7, root().admit(public(7), Role::Writer, NOW, TERM, Some(invite.id())).unwrap());
    node.meet(8, member(8, Role::Writer));
    node.give(Input::Revoke(revocation(100)));
    assert_eq!(node.keeper.neighbours().map(|pass| pass.peer).collect::<Vec<_>>(), [public(8)]);
}

#[test]
fn a_revoked_admins_members_are_cut_and_roots_are_not() {
    let mut node = Node::new(5, member(5, Role::Writer));
    let admin = Issuer::delegate(&genesis(), key(6), member(6, Role::Admin)).unwrap();
    node.meet(6, member(6, Role::Admin));
    node.meet(7, admin.admit(public(7), Role::Writer, NOW, TERM, None).unwrap());
    node.meet(8, member(8, Role::Writer));
    node.give(Input::Revoke(revocation(6)));
    assert_eq!(node.keeper.neighbours().map(|pass| pass.peer).collect::<Vec<_>>(), [public(8)]);
}

#[test]
fn whoever_connects_after_its_revocation_is_cut() {
    let mut node = Node::with(5, member(5, Role::Writer), None, revoked(&[6]));
    let outputs = node.meet(6, member(6, Role::Writer));
    let cut = Output::Cut { peer: public(6), why: Refusal::Revoked { key: public(6) } };
    assert_eq!(outputs, [cut,]);
}

#[test]
fn a_node_that_is_revoked_itself_says_so() {
    let mut node = node();
    let outputs = node.hear(6, statement(&revocation(5)));
    assert!(outputs.contains(&Output::LockedOut(Refusal::Revoked { key: public(5) })));
}

#[test]
fn only_an_admin_of_the_genesis_revokes() {
    let delegate = Issuer::delegate(&genesis(), key(3), member(3, Role::Admin)).unwrap();
    assert_eq!(Revocation::sign(&delegate, public(6), NOW), Err(Broken::Admin));
    let mesh = genesis().mesh_id();
    let other = Genesis::closed("other", [public(1)]).unwrap().mesh_id();
    let mut flipped = revocation(8).encode();
    flipped[40] ^= 1;
    let forged = [
        Revocation::signed(mesh, &key(3), public(8), NOW).encode(),
        Revocation::signed(other, &key(1), public(8), NOW).encode(),
        flipped,
        revocation(8).encode()[..100].to_vec(),
    ];
    for bytes in forged {
        let mut node = node();
        let outputs = node.hear(6, Message::Revocations { statements: vec![bytes.into()] });
        assert_eq!(outputs, [Output::Fault { from: public(6) }]);
        assert!(node.keeper.revocations().is_empty());
    }
}

#[test]
fn nothing_after_a_forgery_is_looked_at() {
    let mut node = node();
    let forged = Revocation::signed(genesis().mesh_id(), &key(3), public(8), NOW);
    let statements = vec![
        revocation(20).encode().into(),
        forged.encode().into(),
        revocation(21).encode().into(),
    ];
    let outputs = node.hear(6, Message::Revocations { statements });
    assert!(outputs.contains(&Output::Keep(revocation(20))), "what was genuine counts");
    assert!(outputs.contains(&Output::Fault { from: public(6) }));
    assert_eq!(node.keeper.revocations().len(), 1);
}

#[test]
fn neighbours_that_hold_different_ones_exchange_what_each_lacks() {
    let mut one = Node::with(5, member(5, Role::Writer), None, revoked(&[20, 21]));
    let mut two = Node::with(6, member(6, Role::Writer), None, revoked(&[21, 22, 23]));
    let mut wires = vec![(5, one.meet(6, member(6, Role::Writer)))];
    wires.push((6, two.meet(5, member(5, Role::Writer))));
    let mut statements = 0;
    while let Some((from, outputs)) = wires.pop() {
        for message in sent(&outputs, 11 - from) {
            if let Message::Revocations { statements: some } = message {
                statements += some.len();
            }
            let to = if from == 5 { &mut two } else { &mut one };
            let answer = to.hear(from, message.clone());
            wires.push((11 - from, answer));
        }
    }
    assert_eq!(one.keeper.revocations(), two.keeper.revocations());
    assert_eq!((one.keeper.revocations().len(), statements), (4, 3), "only what lacked was sent");
}

#[test]
fn state_is_told_on_a_timer() {
    let mut node = node();
    let outputs = node.pass(Duration::from_secs(95));
    let told = sent(&outputs, 6).iter().filter(|m| matches!(m, Message::State { .. })).count();
    assert_eq!(told, 3);
}

#[test]
fn nobody_is_answered_more_often_than_configured() {
    let mut node = Node::with(5, member(5, Role::Writer), None, revoked(&[20]));
    node.meet(6, member(6, Role::Writer));
    let state = Message::State {
        revocations: [0; 32].into(),
        capability: member(6, Role::Writer).id().into(),
    };
    let want = Message::Want { held: vec![].into() };
    let mut answers = 0;
    for _ in 0..100 {
        answers += sent(&node.hear(6, state.clone()), 6).len();
        answers += sent(&node.hear(6, want.clone()), 6).len();
    }
    assert_eq!(answers, 2);
    node.now = node.now + Config::default().answer_interval;
    assert_eq!(sent(&node.hear(6, want), 6).len(), 1);
}

#[test]
fn a_revocation_is_forgotten_when_all_it_revoked_has_expired() {
    let mut node = Node::with(5, member(5, Role::Writer), None, revoked(&[20]));
    node.give(Input::Wall(NOW + REVOCATION_LASTS));
    assert_eq!(node.keeper.revocations().len(), 1);
    node.give(Input::Wall(NOW + REVOCATION_LASTS + 2 * CLOCK_SKEW));
    let outputs = node.pass(Duration::from_secs(31));
    assert!(outputs.contains(&Output::Forget(public(20))));
    node.meet(
        6,
        root().admit(public(6), Role::Writer, NOW + REVOCATION_LASTS, TERM, None).unwrap(),
    );
    assert_eq!(node.hear(6, statement(&revocation(20))), [], "it is not taken in again");
    assert!(node.keeper.revocations().is_empty());
}

#[test]
fn of_two_revocations_of_one_key_all_keep_the_same() {
    let again = Revocation::signed(genesis().mesh_id(), &key(2), public(20), NOW + DAY);
    let twin = Revocation::signed(genesis().mesh_id(), &key(2), public(20), NOW);
    let all = [revocation(20), twin, again.clone()];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2]] {
        let mut set = Revocations::default();
        for at in order {
            set.insert(all[at].clone(), NOW);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [&again]);
    }
    let (mut one, mut two) = (Revocations::default(), Revocations::default());
    for at in [0, 1] {
        one.insert(all[at].clone(), NOW);
        two.insert(all[1 - at].clone(), NOW);
    }
    assert_eq!(one, two);
}

#[test]
fn what_is_held_is_bounded() {
    let mut set = Revocations::default();
    let mesh = genesis().mesh_id();
    let nth = |n: usize| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
        Revocation::signed(mesh, &key(1), PublicKey::from_bytes(bytes), NOW)
    };
    for n in 0..MAX_REVOCATIONS {
        assert_eq!(set.insert(nth(n), NOW), Noted::New);
    }
    assert_eq!(set.insert(nth(MAX_REVOCATIONS), NOW), Noted::Full);
    let mut node = Node::with(5, member(5, Role::Writer), None, set.clone());
    node.meet(6, member(6, Role::Writer));
    let outputs = node.hear(6, statement(&nth(MAX_REVOCATIONS)));
    assert_eq!(outputs, [Output::Full], "and it isn't passed on");

    // All of them fit frames, and reach one who has none.
    let mut other = Node::new(6, member(6, Role::Writer));
    other.meet(5, member(5, Role::Writer));
    let outputs = node.hear(6, Message::Want { held: vec![].into() });
    for message in sent(&outputs, 6) {
        let bytes = crate::proto::link::Frame::Access(message.clone()).encode();
        assert!(bytes.len() < crate::proto::link::MAX_FRAME);
        other.hear(5, message.clone());
    }
    assert_eq!(other.keeper.revocations(), &set);
    other.now = other.now + Duration::from_secs(9);
    let held: Vec<u8> = set.iter().flat_map(Revocation::id).collect();
    let bytes = crate::proto::link::Frame::Access(Message::Want { held: held.into() }).encode();
    assert!(bytes.len() < crate::proto::link::MAX_FRAME);
    assert!(crate::proto::link::Frame::decode(&bytes).is_ok());
}

#[test]
fn messages_of_a_later_release_are_skipped() {
    let newer = aether_core::wire::to_cbor(&(7u64, "whatever"));
    assert_eq!(Message::decode(&newer), Ok(None));
    assert!(Message::decode(&[0x80]).is_err());
    let long = Message::Show { capability: vec![0; 4097].into() };
    assert!(Message::decode(&aether_core::wire::to_cbor(&long)).is_err());
    let many = Message::Revocations { statements: vec![vec![].into(); MAX_STATEMENTS + 1] };
    assert!(Message::decode(&aether_core::wire::to_cbor(&many)).is_err());
}
