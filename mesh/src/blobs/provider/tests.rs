use proptest::{prelude::*, strategy::ValueTree as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;
use crate::{
    blobs::{BlobStatus, Options, serving::piece_head},
    proto::blob::{GROUP, groups_of},
};

const PEER: PublicKey = PublicKey::from_bytes([7; 32]);

/// Ours, theirs, and a blob that only they hold.
struct Pair {
    ours: BlobStore,
    theirs: BlobStore,
    id: BlobId,
    content: Vec<u8>,
}

impl Pair {
    fn new(len: usize) -> Self {
        let content: Vec<u8> = (0..len).map(|at| (at * 31 % 251) as u8).collect();
        let theirs = BlobStore::temporary(Options::default()).unwrap();
        let id = theirs.add_bytes(&content).unwrap().id();
        Self { ours: BlobStore::temporary(Options::default()).unwrap(), theirs, id, content }
    }

    fn size(&self) -> u64 {
        self.content.len() as u64
    }

    fn piece(&self, groups: Range<u64>) -> Vec<u8> {
        let mut encoding = Vec::new();
        self.theirs.encode(&self.id, groups).unwrap().write_to(&mut encoding).unwrap();
        encoding
    }

    fn last(&self) -> Range<u64> {
        last_group(self.size())..groups_of(self.size())
    }

    /// A stream to a provider: its end, the way to ask, and what is told.
    fn stream(&self) -> (DuplexStream, mpsc::Sender<ToProvider>, mpsc::Receiver<(u64, Input)>) {
        let (pipe, end) = tokio::io::duplex(1 << 20);
        let (queue, asked) = mpsc::channel(QUEUE);
        let (told, inputs) = mpsc::channel(64);
        let (network, _) = mpsc::channel(1);
        let protocol = StreamProtocol::new("/blob");
        let parts = Parts { id: self.id, store: self.ours.clone(), network, protocol, told };
        #[expect(clippy::disallowed_methods, reason = "ends with its queue")]
        tokio::spawn(run_on(Box::new(pipe), parts, PEER, 1, asked));
        (end, queue, inputs)
    }

    /// What we hold is right, wherever it is.
    fn check(&self) -> u64 {
        let held = match self.ours.status(&self.id) {
            BlobStatus::Absent => Vec::new(),
            BlobStatus::Partial { held, .. } => held,
            BlobStatus::Complete { .. } => std::iter::once(0..groups_of(self.size())).collect(),
        };
        let mut count = 0;
        for group in held.into_iter().flatten() {
            let mut buffer = vec![0; GROUP as usize];
            let read = self.ours.read_at(&self.id, group * GROUP, &mut buffer).unwrap();
            let at = (group * GROUP) as usize;
            assert_eq!(&buffer[..read], &self.content[at..(at + read)]);
            count += 1;
        }
        count
    }
}

async fn send(end: &mut DuplexStream, ask: u32, encoding: &[u8]) {
    end.write_all(&piece_head(ask, encoding.len())).await.unwrap();
    end.write_all(encoding).await.unwrap();
}

async fn ask(pair: &Pair, queue: &mpsc::Sender<ToProvider>, ask: u32, groups: Range<u64>) {
    let groups = std::iter::once(groups).collect();
    queue.send(ToProvider::Ask { ask, size: pair.size(), groups }).await.unwrap();
}

/// What is told, once our asks are known: the provider reads them first.
async fn asked(end: &mut DuplexStream, bytes: usize) {
    let mut buffer = vec![0; bytes];
    end.read_exact(&mut buffer).await.unwrap();
}

/// Bytes of the frame that names the blob, and of an ask of one run.
const GET: usize = 4 + 1 + 32;
const ASK: usize = 4 + 1 + 4 + 2 + 16;

#[tokio::test]
async fn pieces_are_verified_written_and_told_in_order() {
    let pair = Pair::new(18 * GROUP as usize + 5);
    let (mut end, queue, mut inputs) = pair.stream();
    ask(&pair, &queue, 1, pair.last()).await;
    ask(&pair, &queue, 2, 0..18).await;
    asked(&mut end, GET + 2 * ASK).await;
    send(&mut end, 1, &pair.piece(pair.last())).await;
    send(&mut end, 2, &pair.piece(0..16)).await;
    send(&mut end, 2, &pair.piece(16..18)).await;
    for (ask, groups) in [(1, 18..19), (2, 0..16), (2, 16..18)] {
        let told = inputs.recv().await.unwrap();
        assert_eq!(told, (1, Input::Verified { peer: PEER, ask, groups }));
    }
    assert_eq!(pair.ours.status(&pair.id), BlobStatus::Complete { size: pair.size() });
    drop(end);
    assert_eq!(inputs.recv().await.unwrap(), (1, Input::Lost { peer: PEER }));
}

#[tokio::test]
async fn what_follows_a_piece_is_told_behind_it() {
    let pair = Pair::new(3 * GROUP as usize);
    let (mut end, queue, mut inputs) = pair.stream();
    ask(&pair, &queue, 1, pair.last()).await;
    asked(&mut end, GET + ASK).await;
    send(&mut end, 1, &pair.piece(pair.last())).await;
    let mut bytes = Vec::new();
    Frame::NotHeld.encode(&mut bytes);
    end.write_all(&bytes).await.unwrap();
    drop(end);
    let groups = pair.last();
    let verified = Input::Verified { peer: PEER, ask: 1, groups };
    for told in [verified, Input::NotHeld { peer: PEER }, Input::Lost { peer: PEER }] {
        assert_eq!(inputs.recv().await.unwrap(), (1, told));
    }
}

#[tokio::test]
async fn cancelled_asks_are_dropped_unread() {
    let pair = Pair::new(4 * GROUP as usize);
    let (mut end, queue, mut inputs) = pair.stream();
    ask(&pair, &queue, 1, pair.last()).await;
    ask(&pair, &queue, 2, 0..2).await;
    queue.send(ToProvider::Cancel { ask: 2 }).await.unwrap();
    ask(&pair, &queue, 3, 2..3).await;
    asked(&mut end, GET + 3 * ASK + 9).await;
    send(&mut end, 1, &pair.piece(pair.last())).await;
    send(&mut end, 2, b"whatever").await;
    send(&mut end, 3, &pair.piece(2..3)).await;
    for (ask, groups) in [(1, pair.last()), (3, 2..3)] {
        let told = inputs.recv().await.unwrap();
        assert_eq!(told, (1, Input::Verified { peer: PEER, ask, groups }));
    }
    assert_eq!(pair.check(), 2);
}

#[tokio::test]
async fn what_was_not_asked_breaks_the_protocol() {
    let pair = Pair::new(2 * GROUP as usize);
    let (mut end, _queue, mut inputs) = pair.stream();
    send(&mut end, 1, &pair.piece(pair.last())).await;
    let wrong = Input::Wrong { peer: PEER, fault: Blame::Protocol };
    assert_eq!(inputs.recv().await.unwrap(), (1, wrong));
    assert_eq!(pair.check(), 0);
}

/// One transfer of which the `piece`-th piece has a flipped bit, at a place drawn from `at`.
async fn tampered(pair: &Pair, piece: usize, at: u64) {
    let (mut end, queue, mut inputs) = pair.stream();
    ask(pair, &queue, 1, pair.last()).await;
    ask(pair, &queue, 2, 0..last_group(pair.size())).await;
    asked(&mut end, GET + 2 * ASK).await;
    let groups = [pair.last(), 0..16, 16..last_group(pair.size())];
    for (number, groups) in groups.into_iter().enumerate() {
        let mut encoding = pair.piece(groups);
        if number == piece {
            let bit = at % (encoding.len() as u64 * 8);
            encoding[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
        send(&mut end, if number == 0 { 1 } else { 2 }, &encoding).await;
    }
    let mut verified = 0;
    loop {
        match inputs.recv().await.unwrap().1 {
            Input::Verified { .. } => verified += 1,
            told => {
                assert_eq!(told, Input::Wrong { peer: PEER, fault: Blame::WrongBytes });
                break;
            }
        }
    }
    assert_eq!(verified, piece, "all before the tampered piece, and nothing behind it");
    // What came before the flipped bit in its piece may be held, and is right.
    assert!(pair.check() < groups_of(pair.size()));
    // Nothing else is told, and the stream is closed.
    assert_eq!(inputs.recv().await, None);
}

#[test]
fn of_a_thousand_tampered_transfers_no_wrong_byte_comes_through() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let places = (0..3usize, any::<u64>());
    for _ in 0..1000 {
        let (piece, at) = places.new_tree(&mut runner).unwrap().current();
        let pair = Pair::new(20 * GROUP as usize + 100);
        runtime.block_on(tampered(&pair, piece, at));
    }
}
