//! The rules of gathering.

use super::*;
use crate::proto::partitions::gather::{Config, Input, Output};

const BEGIN: Time = Time::from_millis(1000);

fn config(need: usize) -> Config {
    Config { need, patience: ms(500), pause: ms(250), rounds: None, deadline: BEGIN + ms(10_000) }
}

fn begin(config: Config, nodes: u8) -> (Gather<u8>, Vec<Output<u8>>) {
    let mut gather = Gather::new(config, (1..=nodes).map(peer));
    let asked = outputs(&mut gather, BEGIN, Input::Timeout);
    (gather, asked)
}

fn ask(n: u8) -> Output<u8> {
    Output::Ask(peer(n))
}

fn said(n: u8) -> Input<u8> {
    Input::Said(peer(n), n)
}

#[test]
fn as_many_are_asked_as_are_needed_and_the_first_in_order() {
    let (mut gather, asked) = begin(config(2), 3);
    assert_eq!(asked, [ask(1), ask(2)]);
    assert_eq!(outputs(&mut gather, BEGIN, said(2)), []);
    let done = outputs(&mut gather, BEGIN, said(1));
    assert_eq!(done, [Output::Done(vec![(peer(2), 2), (peer(1), 1)])]);
    // It ends once.
    assert_eq!(gather.poll_timeout(), None);
    assert_eq!(outputs(&mut gather, BEGIN, said(3)), []);
    assert_eq!(outputs(&mut gather, BEGIN + ms(60_000), Input::Timeout), []);
}

#[test]
fn a_node_counts_once() {
    let (mut gather, _) = begin(config(2), 3);
    assert_eq!(outputs(&mut gather, BEGIN, said(1)), []);
    assert_eq!(outputs(&mut gather, BEGIN, said(1)), []);
    assert_eq!(outputs(&mut gather, BEGIN, said(9)), [], "nor does one that isn't meant");
    assert_eq!(outputs(&mut gather, BEGIN, said(2)).len(), 1);
}

#[test]
fn for_who_declines_or_is_late_the_next_is_asked() {
    let (mut gather, asked) = begin(config(1), 3);
    assert_eq!(asked, [ask(1)]);
    assert_eq!(outputs(&mut gather, BEGIN, Input::Declined(peer(1))), [ask(2)]);
    let late = gather.poll_timeout().unwrap();
    assert_eq!(late, BEGIN + ms(500));
    assert_eq!(outputs(&mut gather, late - ms(1), Input::Timeout), []);
    let asked = outputs(&mut gather, late, Input::Timeout);
    assert_eq!(asked, [ask(1)], "the first in order again, as its pause is over");
    let done = outputs(&mut gather, late, said(2));
    assert_eq!(done, [Output::Done(vec![(peer(2), 2)])], "who is late still counts");
}

#[test]
fn who_declined_is_asked_again_after_a_pause_until_the_deadline() {
    let (mut gather, _) = begin(config(1), 2);
    outputs(&mut gather, BEGIN, Input::Declined(peer(1)));
    assert_eq!(outputs(&mut gather, BEGIN + ms(10), Input::Declined(peer(2))), []);
    assert_eq!(gather.poll_timeout(), Some(BEGIN + ms(250)));
    assert_eq!(outputs(&mut gather, BEGIN + ms(250), Input::Timeout), [ask(1)]);
    let ended = outputs(&mut gather, BEGIN + ms(10_000), Input::Timeout);
    assert_eq!(ended, [Output::Short(vec![])]);
}

#[test]
fn it_is_given_up_once_too_few_are_left() {
    let (mut gather, _) = begin(Config { rounds: Some(1), ..config(2) }, 3);
    outputs(&mut gather, BEGIN, said(1));
    assert_eq!(outputs(&mut gather, BEGIN, Input::Declined(peer(2))), [ask(3)]);
    let ended = outputs(&mut gather, BEGIN, Input::Declined(peer(3)));
    assert_eq!(ended, [Output::Short(vec![(peer(1), 1)])]);
    let (_, ended) = begin(config(2), 1);
    assert_eq!(ended, [Output::Short(vec![])], "there never were enough");
}
