use bytes::Bytes;

use super::*;
use crate::proto::service::frame::{Frame as ServiceFrame, MAX_CHUNK, Payload};

fn chunk(call: u64, len: usize) -> ServiceFrame {
    ServiceFrame::new(call, Payload::Chunk(Bytes::from(vec![7; len])))
}

#[tokio::test]
async fn frames_cross_whole_through_a_narrow_pipe() {
    let (ours, theirs) = tokio::io::duplex(1000);
    let (mut sender, mut receiver) = (Framed::new(Box::new(ours)), Framed::new(Box::new(theirs)));
    let frames: Vec<ServiceFrame> = (1..20).map(|call| chunk(call, call as usize * 500)).collect();
    let weight: usize = frames.iter().map(ServiceFrame::weight).sum();
    for frame in &frames {
        sender.push(frame);
    }
    let send = async {
        let mut sent = 0;
        while sent < weight {
            match sender.run(false).await {
                Happened::Sent(weight) => sent += weight,
                other => panic!("{other:?}"),
            }
        }
        sender.finish().await;
    };
    let receive = async {
        let mut received = Vec::new();
        while receiver.run(true).await == Happened::Received {
            while let Some(frame) = receiver.next::<ServiceFrame>().unwrap() {
                received.push(frame);
            }
        }
        received
    };
    let ((), received) = tokio::join!(send, receive);
    assert_eq!(received, frames);
}

#[tokio::test]
async fn weight_is_told_only_of_frames_that_are_written_whole() {
    let (ours, mut theirs) = tokio::io::duplex(MAX_CHUNK);
    let mut sender = Framed::new(Box::new(ours));
    let (small, large) = (chunk(1, 100), chunk(2, MAX_CHUNK));
    sender.push(&small);
    sender.push(&large);
    assert_eq!(sender.run(false).await, Happened::Sent(small.weight()));
    let mut rest = vec![0; 4096];
    tokio::io::AsyncReadExt::read_exact(&mut theirs, &mut rest).await.unwrap();
    assert_eq!(sender.run(false).await, Happened::Sent(large.weight()));
}

#[tokio::test]
async fn an_end_in_the_middle_of_a_frame_is_an_end() {
    let (mut ours, theirs) = tokio::io::duplex(1000);
    let mut receiver = Framed::new(Box::new(theirs));
    tokio::io::AsyncWriteExt::write_all(&mut ours, &[0, 0, 0, 50, 1]).await.unwrap();
    drop(ours);
    assert_eq!(receiver.run(true).await, Happened::Received);
    assert_eq!(receiver.next::<ServiceFrame>(), Ok(None));
    assert_eq!(receiver.run(true).await, Happened::Closed);
}

#[tokio::test]
async fn a_body_stands_where_it_was_pushed() {
    let (ours, theirs) = tokio::io::duplex(100);
    let (mut sender, mut receiver) = (Framed::new(Box::new(ours)), Framed::new(Box::new(theirs)));
    let frames = [chunk(1, 10), chunk(2, 5000), chunk(3, 10)];
    sender.push(&frames[0]);
    let mut bytes = Vec::new();
    frames[1].encode(&mut bytes);
    sender.push_parts(&bytes[..13], Bytes::copy_from_slice(&bytes[13..]), 1);
    sender.push(&frames[2]);
    let receive = async {
        let mut received = Vec::new();
        while receiver.run(true).await == Happened::Received {
            while let Some(frame) = receiver.next::<ServiceFrame>().unwrap() {
                received.push(frame);
            }
        }
        received
    };
    let ((), received) = tokio::join!(sender.finish(), receive);
    assert_eq!(received, frames);
}

#[tokio::test]
async fn all_that_has_come_is_received_at_once_and_an_idle_stream_holds_no_buffer() {
    let (ours, theirs) = tokio::io::duplex(4 * READ);
    let (mut sender, mut receiver) = (Framed::new(Box::new(ours)), Framed::new(Box::new(theirs)));
    let frames = [chunk(1, READ), chunk(2, READ), chunk(3, 1)];
    for frame in &frames {
        sender.push(frame);
    }
    let weight = frames.iter().map(ServiceFrame::weight).sum();
    assert_eq!(sender.run(false).await, Happened::Sent(weight));
    assert_eq!(receiver.run(true).await, Happened::Received);
    for frame in frames {
        assert_eq!(receiver.next::<ServiceFrame>(), Ok(Some(frame)));
        // As long as some may be left they are told of, unless nothing is to be read.
        assert_eq!(receiver.run(true).await, Happened::Received);
        assert!(futures::poll!(std::pin::pin!(receiver.run(false))).is_pending());
    }
    assert_eq!(receiver.next::<ServiceFrame>(), Ok(None));
    assert!(futures::poll!(std::pin::pin!(receiver.run(true))).is_pending());
    assert_eq!(receiver.received.capacity(), 0);
}

#[tokio::test]
async fn a_stream_whose_other_end_does_not_read_is_left_in_the_end() {
    let (ours, _theirs) = tokio::io::duplex(10);
    let mut sender = Framed::new(Box::new(ours));
    sender.push(&chunk(1, 1000));
    tokio::time::timeout(LINGER * 20, sender.finish()).await.expect("it doesn't wait for ever");
}
