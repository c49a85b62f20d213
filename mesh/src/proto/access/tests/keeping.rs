//! Rules 7, 8 and 11: joining, membership, cutting.

use aether_core::{Protocol as _, Time};

use super::*;

/// A keeper with a clock.
pub(super) struct Node {
    pub(super) keeper: Keeper,
    pub(super) now: Time,
}

impl Node {
    pub(super) fn new(seed: u8, own: Capability) -> Self {
        Self::with(seed, own, None, Revocations::default())
    }

    pub(super) fn with(
        seed: u8,
        own: Capability,
        root: Option<Issuer>,
        revocations: Revocations,
    ) -> Self {
        let (config, now) = (Config::default(), Time::from_millis(5000));
        let clock = (now, NOW);
        let keeper =
            Keeper::new(config, genesis(), key(seed), root, own, revocations, clock).unwrap();
        Self { keeper, now }
    }

    pub(super) fn give(&mut self, input: Input) -> Vec<Output> {
        self.keeper.handle(self.now, input);
        std::iter::from_fn(|| self.keeper.poll_output()).collect()
    }

    pub(super) fn meet(&mut self, seed: u8, capability: Capability) -> Vec<Output> {
        let peer = public(seed);
        let mut outputs = self.give(Input::Connected { peer, capability: Box::new(capability) });
        outputs.extend(self.give(Input::Linked { peer }));
        outputs
    }

    pub(super) fn hear(&mut self, seed: u8, message: Message) -> Vec<Output> {
        self.give(Input::Message { from: public(seed), message })
    }

    /// Lets time pass, and gives each timeout when it is due.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<Output> {
        let (end, mut outputs) = (self.now + time, Vec::new());
        while let Some(at) = self.keeper.poll_timeout().filter(|at| *at <= end) {
            assert!(at > self.now || outputs.is_empty(), "a timeout that settles nothing");
            self.now = self.now.max(at);
            outputs.extend(self.give(Input::Timeout));
        }
        self.now = end;
        outputs
    }
}

pub(super) fn sent(outputs: &[Output], to: u8) -> Vec<&Message> {
    let to = public(to);
    let messages = outputs.iter().filter_map(move |output| match output {
        Output::Send { to: peer, message } if *peer == to => Some(message),
        _ => None,
    });
    messages.collect()
}

pub(super) fn is_sent(outputs: &[Output], to: u8, message: &Message) -> bool {
    sent(outputs, to).contains(&message)
}

fn renewed(capability: &Capability) -> Message {
    Message::Renewed { capability: capability.encode().into() }
}

fn show(capability: &Capability) -> Message {
    Message::Show { capability: capability.encode().into() }
}

#[test]
fn whoever_came_by_an_invite_asks_an_admin_at_once() {
    let own = invite(Role::Writer).join(public(5), NOW).unwrap().capability;
    let mut node = Node::new(5, own);
    let outputs = node.meet(6, member(6, Role::Validator));
    assert!(!is_sent(&outputs, 6, &Message::Renew), "no admin");
    let outputs = node.meet(7, member(7, Role::Admin));
    assert!(is_sent(&outputs, 7, &Message::Renew));

    let capability = root().admit(public(5), Role::Writer, NOW, TERM, Some(public(100))).unwrap();
    let outputs = node.hear(7, renewed(&capability));
    let pass = capability.verify(&genesis(), NOW, &Revocations::default()).unwrap();
    let adopted = Output::Adopted { capability: Box::new(capability.clone()), pass };
    assert!(outputs.contains(&adopted));
    for neighbour in [6, 7] {
        assert!(is_sent(&outputs, neighbour, &show(&capability)), "all neighbours are shown it");
    }
    let outputs = node.pass(14 * DAY);
    assert!(!is_sent(&outputs, 7, &Message::Renew), "half the term isn't over");
}

#[test]
fn a_member_asks_one_admin_after_the_other_from_half_its_term_on() {
    let mut node = Node::new(5, member(5, Role::Writer));
    for admin in [7, 8] {
        let capability = root().admit(public(admin), Role::Admin, NOW, MAX_TERM, None).unwrap();
        node.meet(admin, capability);
    }
    assert!(!sent(&node.pass(14 * DAY), 7).contains(&&Message::Renew));
    let outputs = node.pass(DAY + Duration::from_secs(40));
    let asked = |to| sent(&outputs, to).iter().filter(|m| ***m == Message::Renew).count();
    assert_eq!((asked(7) + asked(8), asked(7).abs_diff(asked(8))), (3, 1), "three intervals");
}

#[test]
fn nothing_worse_than_what_is_held_is_adopted() {
    let mut node = Node::new(5, member(5, Role::Writer));
    node.meet(7, member(7, Role::Admin));
    let half = Duration::from_secs(15 * 24 * 3600);
    let cases = [
        ("shorter", root().admit(public(5), Role::Writer, NOW, half, None).unwrap()),
        ("the same", member(5, Role::Writer)),
        ("another role", root().admit(public(5), Role::Reader, NOW, 2 * TERM, None).unwrap()),
    ];
    for (what, capability) in cases {
        let outputs = node.hear(7, renewed(&capability));
        assert_eq!(outputs, [], "{what}");
    }
    let others = member(6, Role::Writer);
    let outputs = node.hear(7, renewed(&others));
    assert_eq!(outputs, [Output::Fault { from: public(7) }], "it is another peer's");
}

#[test]
fn an_admins_node_renews_for_the_term_granted_and_remembers_the_invite() {
    let admin = root().admit(public(7), Role::Admin, NOW, MAX_TERM, None).unwrap();
    for root in [Some(root()), None] {
        let mut node = Node::with(7, admin.clone(), root, Revocations::default());
        let joined = invite(Role::Writer).join(public(5), NOW).unwrap().capability;
        node.meet(5, joined);
        node.pass(2 * DAY);
        let outputs = node.hear(5, Message::Renew);
        let [Message::Renewed { capability }] = sent(&outputs, 5)[..] else {
            panic!("{outputs:?}");
        };
        let now = NOW + 2 * DAY;
        let capability = Capability::decode(capability).unwrap();
        let pass =
            capability.verify_for(&public(5), &genesis(), now, &Revocations::default()).unwrap();
        assert_eq!((pass.role, pass.issued, pass.expires), (Role::Writer, now, now + TERM));
        assert_eq!((pass.origin, pass.provisional), (Some(public(100)), false));
        assert_eq!(node.hear(5, Message::Renew), [], "once in a while only");
        assert_eq!(sent(&node.hear(6, Message::Renew), 6).len(), 0, "a stranger gets nothing");
    }
}

#[test]
fn nobody_but_an_admin_renews() {
    let mut node = Node::new(7, member(7, Role::Validator));
    node.meet(5, member(5, Role::Writer));
    assert_eq!(node.hear(5, Message::Renew), []);
}

#[test]
fn a_node_with_an_admins_key_renews_itself() {
    let mut node = Node::with(7, member(7, Role::Admin), Some(root()), Revocations::default());
    let outputs = node.pass(16 * DAY);
    let adopted = outputs.iter().find_map(|output| match output {
        Output::Adopted { pass, .. } => Some(*pass),
        _ => None,
    });
    assert!(adopted.unwrap().expires > NOW + 44 * DAY);
    assert!(!node.pass(100 * DAY).iter().any(|o| matches!(o, Output::LockedOut(_))));
}

#[test]
fn a_neighbour_whose_capability_expires_is_cut() {
    let mut node =
        Node::new(5, root().admit(public(5), Role::Writer, NOW, MAX_TERM, None).unwrap());
    node.meet(6, member(6, Role::Writer));
    let cut = Output::Cut { peer: public(6), why: Refusal::Expired { at: NOW + TERM } };
    assert!(!node.pass(TERM + CLOCK_SKEW).contains(&cut));
    assert!(node.pass(Duration::from_secs(2)).contains(&cut));
    assert_eq!(node.keeper.neighbours().count(), 0);
}

#[test]
fn a_neighbour_that_shows_a_renewed_one_stays() {
    let mut node =
        Node::new(5, root().admit(public(5), Role::Writer, NOW, MAX_TERM, None).unwrap());
    node.meet(6, member(6, Role::Writer));
    node.pass(20 * DAY);
    let renewed = root().admit(public(6), Role::Writer, NOW + 15 * DAY, TERM, None).unwrap();
    let pass = renewed.verify(&genesis(), NOW + 20 * DAY, &Revocations::default()).unwrap();
    assert_eq!(node.hear(6, show(&renewed)), [Output::Admitted(pass)]);
    assert!(!node.pass(20 * DAY).iter().any(|o| matches!(o, Output::Cut { .. })));
    assert_eq!(node.keeper.neighbours().count(), 1);
}

#[test]
fn a_second_connection_does_not_undo_a_renewal() {
    let mut node = Node::new(5, member(5, Role::Writer));
    node.meet(6, member(6, Role::Writer));
    let renewed = root().admit(public(6), Role::Writer, NOW, 2 * TERM, None).unwrap();
    node.hear(6, show(&renewed));
    node.meet(6, member(6, Role::Writer));
    assert_eq!(node.keeper.neighbours().next().unwrap().expires, NOW + 2 * TERM);
}

#[test]
fn a_neighbour_is_asked_for_what_it_says_it_shows() {
    // What it showed got lost.
    let mut node = Node::new(5, member(5, Role::Writer));
    let (old, new) = (member(6, Role::Writer), member(6, Role::Reader));
    node.meet(6, old.clone());
    let revocations = (*Revocations::default().digest().as_bytes()).into();
    let state = |shown: &Capability| Message::State { revocations, capability: shown.id().into() };
    assert_eq!(node.hear(6, state(&old)), []);
    assert!(is_sent(&node.hear(6, state(&new)), 6, &Message::Ask));
    assert!(is_sent(&node.hear(6, Message::Ask), 6, &show(&member(5, Role::Writer))));
    assert_eq!(node.hear(6, Message::Ask), [], "once in a while only");
}

#[test]
fn a_forged_or_borrowed_capability_is_a_fault() {
    let mut node = Node::new(5, member(5, Role::Writer));
    node.meet(6, member(6, Role::Writer));
    let mut forged = member(6, Role::Admin).encode();
    forged[200] ^= 1;
    for bytes in [forged, member(7, Role::Admin).encode(), b"\x01unk".to_vec()] {
        let outputs = node.hear(6, Message::Show { capability: bytes.into() });
        assert_eq!(outputs, [Output::Fault { from: public(6) }]);
    }
    let pass = node.keeper.neighbours().next().unwrap();
    assert_eq!(pass.role, Role::Writer, "what it had shown stands");
}

#[test]
fn what_a_later_release_says_is_nobodys_fault() {
    let mut node = Node::new(5, member(5, Role::Writer));
    node.meet(6, member(6, Role::Admin));
    let mut newer = member(6, Role::Writer).encode();
    newer[0] = 2;
    let mut statement = Revocation::sign(&root(), public(9), NOW).unwrap().encode();
    statement[0] = 2;
    let messages = [
        Message::Show { capability: newer.clone().into() },
        Message::Renewed { capability: newer.into() },
        Message::Revocations { statements: vec![statement.into()] },
    ];
    for message in messages {
        assert_eq!(node.hear(6, message), []);
    }
}

#[test]
fn a_node_whose_own_capability_expires_says_so_once() {
    let mut node = Node::new(5, member(5, Role::Writer));
    let outputs = node.pass(TERM + DAY);
    let told = outputs.iter().filter(|output| matches!(output, Output::LockedOut(_))).count();
    assert_eq!(told, 1);
    let fresh = root().admit(public(5), Role::Writer, NOW + TERM, TERM, None).unwrap();
    let outputs = node.give(Input::Hold(Box::new(fresh)));
    assert!(matches!(outputs[..], [Output::Adopted { .. }]));
}

#[test]
fn a_clock_that_is_set_is_followed() {
    let mut node = Node::new(5, member(5, Role::Writer));
    node.meet(6, member(6, Role::Writer));
    let outputs = node.give(Input::Wall(NOW + TERM + DAY));
    assert!(outputs.iter().any(|output| matches!(output, Output::Cut { .. })));
}
