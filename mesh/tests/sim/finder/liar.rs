//! A node that floods looks, and answers what nobody asked or with what can't be.

use std::{collections::VecDeque, time::Duration};

use aether_core::{BlobId, Protocol, PublicKey, Time};
use aether_mesh::proto::blob::finder::{Here, Input, Output, Shout};
use aether_sim::Draw;

#[derive(Debug)]
pub(crate) struct Liar {
    others: Vec<PublicKey>,
    draw: Draw,
    next: Time,
    outputs: VecDeque<Output>,
}

impl Liar {
    pub(crate) fn new(others: Vec<PublicKey>, seed: u64, now: Time) -> Self {
        Self { others, draw: Draw::new(seed), next: now, outputs: VecDeque::new() }
    }

    fn lie(&mut self) {
        let nonce = self.draw.number(0..=u64::MAX);
        let ids = vec![BlobId::from_bytes(self.draw.seed()); self.draw.below(18)];
        let enough = u8::try_from(self.draw.number(0..=255)).expect("below 256");
        let output = match self.draw.below(4) {
            0 => Output::Publish(self.draw.seed().to_vec().into()),
            1 | 2 => Output::Publish(Shout::Look { nonce, ids, enough }.encode().into()),
            _ => self.here(nonce),
        };
        self.outputs.push_back(output);
    }

    fn here(&mut self, nonce: u64) -> Output {
        let to = *self.draw.pick(&self.others).expect("there are others");
        let mask = |number: u64| u16::try_from(number & 0xffff).expect("16 bits");
        let held = mask(self.draw.number(0..=u64::MAX));
        let whole = mask(self.draw.number(0..=u64::MAX));
        Output::Send { to, here: Here { nonce, held, whole } }
    }
}

impl Protocol for Liar {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input) {
        if let Input::Heard { bytes, .. } = input
            && let Ok(Shout::Look { nonce, .. }) = Shout::decode(&bytes)
        {
            let answer = self.here(nonce);
            self.outputs.push_back(answer);
        }
        if now >= self.next {
            self.next = now + Duration::from_millis(20);
            self.lie();
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        Some(self.next)
    }
}
