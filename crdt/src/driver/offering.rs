//! Taking in what a user has from an archive.

use tokio::sync::oneshot;

use super::{Driver, WriteFailed, room};
use crate::proto::{
    archive::Record,
    id::SpaceId,
    replica::{Input, Offered},
};

impl Driver {
    pub(super) fn take_in(
        &mut self,
        space: SpaceId,
        records: Vec<Record>,
        reply: oneshot::Sender<Result<Offered, WriteFailed>>,
    ) {
        let Some(room) = room(&mut self.rooms, &space) else {
            // Whoever asked and is gone needs no answer.
            return drop(reply.send(Err(WriteFailed::Left)));
        };
        room.tokens += 1;
        let token = room.tokens;
        room.offers.insert(token, reply);
        self.feed(space, Input::Offer { token, records });
    }

    pub(super) fn taken_in(
        &mut self,
        space: SpaceId,
        token: u64,
        taken: Result<Offered, WriteFailed>,
    ) {
        let reply = self.rooms.get_mut(&space).and_then(|room| room.offers.remove(&token));
        if let Some(reply) = reply {
            let _ = reply.send(taken);
        }
    }
}
