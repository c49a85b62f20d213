use std::time::Duration;

use super::*;
use crate::proto::blob::{GROUP, PIECE, frame::FrameError};

const SIZE: u64 = 1000 * GROUP;

fn peer(n: u8) -> PublicKey {
    PublicKey::from_bytes([n; 32])
}

fn id(n: u8) -> BlobId {
    BlobId::from_bytes([n; 32])
}

/// A serving side whose store holds all of every blob, and which writes when it is told to.
struct Fixture {
    serve: Serve,
    now: Time,
    outputs: Vec<Output>,
}

impl Fixture {
    fn new(config: Config) -> Self {
        Self { serve: Serve::new(config), now: Time::from_millis(10), outputs: Vec::new() }
    }

    fn handle(&mut self, input: Input) {
        self.serve.handle(self.now, input);
        self.outputs.extend(std::iter::from_fn(|| self.serve.poll_output()));
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(due) = self.serve.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.handle(Input::Timeout);
            let next = self.serve.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "it would spin at {due:?}");
        }
        self.now = end;
    }

    fn says(&mut self, stream: StreamId, frame: Frame) {
        self.handle(Input::Frame { stream, frame });
    }

    fn holds(&mut self, n: u8, groups: Range) {
        self.handle(Input::Holding { id: id(n), held: Some((SIZE, groups.into())) });
    }

    /// A stream of this peer about a whole blob.
    fn stream(&mut self, stream: StreamId, of: u8) {
        self.handle(Input::Opened { stream, peer: peer(of) });
        self.says(stream, Frame::Get(id(1)));
        self.holds(1, 0..1000);
        self.written(stream, 1);
        self.outputs.retain(|output| matches!(output, Output::Read { .. }));
    }

    fn asks(&mut self, stream: StreamId, ask: u32, groups: Range) {
        self.says(stream, Frame::Ask { ask, groups: groups.into() });
    }

    fn written(&mut self, stream: StreamId, frames: usize) {
        for _ in 0..frames {
            self.handle(Input::Written { stream });
        }
    }

    /// Reads that have begun since the last time: stream, ask, groups.
    fn reads(&mut self) -> Vec<(StreamId, u32, Range)> {
        let read = |output: &Output| match output {
            Output::Read { stream, ask, groups, .. } => Some((*stream, *ask, groups.clone())),
            _ => None,
        };
        let reads = self.outputs.iter().filter_map(read).collect();
        self.outputs.retain(|output| read(output).is_none());
        reads
    }

    fn sent(&mut self) -> Vec<(StreamId, Frame)> {
        let sent = |output: &Output| match output {
            Output::Send { stream, frame } => Some((*stream, frame.clone())),
            _ => None,
        };
        let frames = self.outputs.iter().filter_map(sent).collect();
        self.outputs.retain(|output| sent(output).is_none());
        frames
    }

    fn ended(&mut self) -> Vec<(StreamId, Option<Fault>)> {
        let ended = |output: &Output| match output {
            Output::End { stream, fault, .. } => Some((*stream, *fault)),
            _ => None,
        };
        self.outputs.iter().filter_map(ended).collect()
    }

    /// Lets each read end and be written at once, so many times; gives the streams in order.
    fn run(&mut self, reads: usize) -> Vec<StreamId> {
        let mut order = Vec::new();
        let mut begun = VecDeque::from(self.reads());
        while order.len() < reads {
            let Some((stream, ..)) = begun.pop_front() else { break };
            order.push(stream);
            self.handle(Input::Read { stream, bytes: Some(PIECE * GROUP) });
            self.written(stream, 1);
            begun.extend(self.reads());
        }
        order
    }
}

type Range = std::ops::Range<u64>;

fn busy(ask: u32) -> Frame {
    Frame::Busy { ask, retry_after: Duration::from_secs(1) }
}

fn end(ask: u32, why: Why) -> Frame {
    Frame::End { ask, why }
}

// Rule 1.

#[test]
fn a_stream_is_told_what_is_held_and_what_is_gained() {
    let mut f = Fixture::new(Config::default());
    f.handle(Input::Opened { stream: 1, peer: peer(1) });
    f.says(1, Frame::Get(id(1)));
    assert_eq!(f.outputs, [Output::Watch { id: id(1) }]);
    let held = |end| Frame::Held { size: SIZE, groups: (0..end).into() };
    f.holds(1, 0..10);
    assert_eq!(f.sent(), [(1, held(10))]);
    f.pass(5000);
    f.holds(1, 0..11);
    assert_eq!(f.sent(), [], "it hasn't read what it was told");
    f.written(1, 1);
    assert_eq!(f.sent(), [(1, held(11))]);
    f.written(1, 1);
    f.holds(1, 0..12);
    f.holds(1, 0..13);
    f.pass(999);
    assert_eq!(f.sent(), [], "not so soon");
    f.pass(1);
    assert_eq!(f.sent(), [(1, held(13))]);
    f.written(1, 1);
    f.pass(5000);
    assert_eq!(f.sent(), [], "nothing is new");
}

#[test]
fn who_asks_for_what_is_not_held_or_no_longer_is_told_and_ended() {
    let mut f = Fixture::new(Config::default());
    f.handle(Input::Opened { stream: 1, peer: peer(1) });
    f.says(1, Frame::Get(id(1)));
    f.handle(Input::Holding { id: id(1), held: None });
    assert_eq!(f.sent(), [(1, Frame::NotHeld)]);
    assert_eq!(f.ended(), [(1, None)]);
    assert!(f.outputs.contains(&Output::Unwatch { id: id(1) }));
    f.stream(2, 1);
    f.handle(Input::Holding { id: id(1), held: None });
    assert_eq!((f.sent(), f.ended()), (vec![(2, Frame::NotHeld)], vec![(2, None)]));
    assert_eq!((f.serve.streams(), f.serve.asks()), (0, 0));
}

#[test]
fn a_holder_of_too_many_runs_says_the_longest() {
    let mut f = Fixture::new(Config::default());
    f.handle(Input::Opened { stream: 1, peer: peer(1) });
    f.says(1, Frame::Get(id(1)));
    let groups = (0..2000).map(|n| 3 * n..3 * n + 1).collect();
    f.handle(Input::Holding { id: id(1), held: Some((6000 * GROUP, groups)) });
    let [(1, Frame::Held { groups, .. })] = &f.sent()[..] else { panic!("it is told") };
    assert_eq!(groups.runs().len(), MAX_HELD_RUNS);
}

// Rules 2 and 3.

#[test]
fn an_ask_is_answered_in_pieces_and_asks_in_order() {
    let mut f = Fixture::new(Config { max_reads: 1, ..Config::default() });
    f.stream(1, 1);
    f.asks(1, 1, 5..40);
    f.asks(1, 2, 0..2);
    let mut found = Vec::new();
    while let Some(read) = f.reads().pop() {
        found.push((read.1, read.2));
        f.handle(Input::Read { stream: 1, bytes: Some(1) });
        f.written(1, 1);
    }
    assert_eq!(found, [(1, 5..16), (1, 16..32), (1, 32..40), (2, 0..2)]);
    assert_eq!((f.serve.asks(), f.sent()), (0, vec![]));
}

#[test]
fn peers_take_turns_whatever_they_ask_for() {
    let mut f = Fixture::new(Config { max_reads: 1, ..Config::default() });
    for stream in 1..=3 {
        f.stream(stream, 1);
        f.asks(stream, 1, 0..800);
    }
    f.stream(4, 2);
    f.asks(4, 1, 0..160);
    let order = f.run(20);
    let others = order.iter().filter(|stream| **stream == 4).count();
    assert!((9..=10).contains(&others), "{order:?}");
    for stream in 1..=3 {
        let count = order.iter().filter(|other| **other == stream).count();
        assert!((3..=5).contains(&count), "{order:?}");
    }
}

#[test]
fn a_stream_that_does_not_read_holds_back_nobody() {
    let mut f = Fixture::new(Config { max_reads: 2, max_unsent: 2, ..Config::default() });
    f.stream(1, 1);
    f.stream(2, 2);
    f.asks(1, 1, 0..800);
    f.handle(Input::Read { stream: 1, bytes: Some(1) });
    f.handle(Input::Read { stream: 1, bytes: Some(1) });
    assert_eq!(f.reads().len(), 2, "two pieces are handed to it, and no more");
    f.asks(2, 1, 0..160);
    assert_eq!(f.run(100).len(), 10);
}

#[test]
fn reads_are_bounded() {
    let mut f = Fixture::new(Config { max_reads: 3, ..Config::default() });
    for stream in 1..=5 {
        f.stream(stream, stream as u8);
        f.asks(stream, 1, 0..8);
    }
    assert_eq!(f.reads().len(), 3);
    f.handle(Input::Closed { stream: 1 });
    assert_eq!(f.reads().len(), 0, "the read goes on without its stream");
    f.handle(Input::Read { stream: 1, bytes: Some(1) });
    assert_eq!(f.reads().len(), 1);
}

// Rule 4.

#[test]
fn streams_beyond_the_limits_are_refused() {
    let config = Config { max_streams: 3, max_peer_streams: 2, ..Config::default() };
    let mut f = Fixture::new(config);
    f.stream(1, 1);
    f.stream(2, 1);
    f.handle(Input::Opened { stream: 3, peer: peer(1) });
    assert_eq!((f.sent(), f.ended()), (vec![(3, busy(0))], vec![(3, None)]));
    f.stream(4, 2);
    f.handle(Input::Opened { stream: 5, peer: peer(3) });
    assert_eq!(f.sent(), [(5, busy(0))]);
    assert_eq!(f.serve.streams(), 3);
}

#[test]
fn asks_beyond_the_limits_are_refused() {
    let mut f = Fixture::new(Config { max_asks: 3, max_peer_asks: 2, ..Config::default() });
    f.stream(1, 1);
    f.stream(2, 2);
    for ask in 1..=3 {
        f.asks(1, ask, 0..8);
        f.asks(2, ask, 0..8);
    }
    assert_eq!(f.sent(), [(2, busy(2)), (1, busy(3)), (2, busy(3))]);
    assert_eq!((f.serve.asks(), f.serve.stats().refused), (3, 3));
}

// Rule 5.

#[test]
fn what_is_not_held_and_what_can_not_be_read_is_said() {
    let mut f = Fixture::new(Config::default());
    f.stream(1, 1);
    f.asks(1, 1, 990..1001);
    assert_eq!(f.sent(), [(1, end(1, Why::NotHeld))]);
    f.asks(1, 2, 0..80);
    f.handle(Input::Read { stream: 1, bytes: None });
    assert_eq!(f.sent(), [(1, end(2, Why::Failed))]);
    f.asks(1, 3, 0..32);
    f.holds(1, 500..1000);
    f.handle(Input::Read { stream: 1, bytes: Some(1) });
    f.written(1, 3);
    assert!(f.sent().contains(&(1, end(3, Why::NotHeld))), "it was lost meanwhile");
    assert_eq!(f.serve.asks(), 0);
}

// Rule 6.

#[test]
fn a_cancelled_ask_ends_behind_the_piece_under_way() {
    let mut f = Fixture::new(Config::default());
    f.stream(1, 1);
    f.asks(1, 1, 0..80);
    f.asks(1, 2, 0..80);
    f.says(1, Frame::Cancel { ask: 2 });
    assert_eq!(f.sent(), [(1, end(2, Why::Cancelled))]);
    f.says(1, Frame::Cancel { ask: 1 });
    assert_eq!(f.sent(), []);
    f.handle(Input::Read { stream: 1, bytes: Some(1) });
    assert_eq!(f.sent(), [(1, end(1, Why::Cancelled))]);
    f.says(1, Frame::Cancel { ask: 1 });
    assert_eq!((f.sent(), f.ended(), f.serve.asks()), (vec![], vec![], 0));
}

// Rule 7.

#[test]
fn a_peer_over_its_rate_waits_and_others_do_not() {
    let piece = PIECE * GROUP;
    let mut f = Fixture::new(Config { rate: Some(piece), ..Config::default() });
    f.stream(1, 1);
    f.stream(2, 2);
    f.asks(1, 1, 0..160);
    assert_eq!(f.run(100), [1], "a second's worth at once");
    f.asks(2, 1, 0..16);
    assert_eq!(f.run(100), [2]);
    f.pass(1);
    assert_eq!(f.run(100), [1], "it may go into debt by a piece");
    f.pass(990);
    assert_eq!(f.run(100), [0; 0]);
    f.pass(20);
    assert_eq!(f.run(100), [1]);
    let mut pieces = 0;
    for _ in 0..50 {
        f.pass(100);
        pieces += f.run(100).len();
    }
    assert!((4..=6).contains(&pieces), "{pieces} in five seconds");
}

// Rule 8.

#[test]
fn what_no_requester_does_ends_its_stream() {
    let fault = |says: &[Frame]| {
        let mut f = Fixture::new(Config::default());
        f.stream(1, 1);
        says.iter().for_each(|frame| f.says(1, frame.clone()));
        assert_eq!(f.serve.streams(), usize::from(f.ended().is_empty()));
        f.ended().first().and_then(|(_, fault)| *fault)
    };
    let ask = |ask| Frame::Ask { ask, groups: (0..80).into() };
    assert_eq!(fault(&[Frame::Get(id(2))]), Some(Fault::Sequence));
    assert_eq!(fault(&[Frame::NotHeld]), Some(Fault::Direction));
    assert_eq!(fault(&[ask(2), ask(2)]), Some(Fault::Number));
    assert_eq!(fault(&(1..=16).map(ask).collect::<Vec<_>>()), None);
    assert_eq!(fault(&(1..=17).map(ask).collect::<Vec<_>>()), Some(Fault::TooMany));
    let missing = |ask| Frame::Ask { ask, groups: (5000..5001).into() };
    assert_eq!(fault(&(1..=65).map(missing).collect::<Vec<_>>()), Some(Fault::Flood));
    let mut f = Fixture::new(Config::default());
    f.handle(Input::Opened { stream: 1, peer: peer(1) });
    f.says(1, ask(1));
    assert_eq!(f.ended(), [(1, Some(Fault::Sequence))]);
    f.stream(2, 1);
    f.handle(Input::Malformed { stream: 2, error: FrameError::Number });
    assert_eq!(f.ended(), [(2, Some(Fault::Malformed(FrameError::Number)))]);
}

#[test]
fn who_takes_nothing_or_asks_nothing_is_ended_without_blame() {
    let mut f = Fixture::new(Config::default());
    f.stream(1, 1);
    f.stream(2, 2);
    f.asks(1, 1, 0..8);
    f.handle(Input::Read { stream: 1, bytes: Some(1) });
    f.pass(29_999);
    assert_eq!(f.ended(), []);
    f.pass(1);
    assert_eq!(f.ended(), [(1, None)]);
    f.pass(89_999);
    assert_eq!(f.ended().len(), 1);
    f.pass(1);
    assert_eq!(f.ended(), [(1, None), (2, None)]);
    assert_eq!(f.serve.poll_timeout(), None);
}
