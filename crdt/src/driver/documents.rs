//! What documents ask of the driver. They read what is stored by themselves.

use aether_core::Time;

use super::{Driver, Reply, Room, WriteFailed, Writer, room};
use crate::proto::{
    book,
    entry::{Collection, Draft},
    id::{FeedId, SpaceId},
    replica::{Input, WriteError},
};

impl Room {
    pub(super) fn writer(&mut self, now: Time) -> Writer {
        Writer { feed: self.replica.own_feed(now), rebuilt: self.rebuilt }
    }
}

impl Driver {
    pub(super) fn append(
        &mut self,
        space: SpaceId,
        document: Collection,
        feed: FeedId,
        ops: Vec<Vec<u8>>,
        reply: Reply,
    ) {
        let now = self.now();
        let Some(room) = room(&mut self.rooms, &space) else {
            return drop(reply.send(Err(WriteFailed::Left)));
        };
        if room.replica.own_feed(now) != feed {
            return drop(reply.send(Err(WriteFailed::Outrun)));
        }
        let mut draft = Draft::new();
        for op in ops {
            if let Err(error) = draft.op(document, op) {
                return drop(reply.send(Err(WriteError::Draft(error).into())));
            }
        }
        room.tokens += 1;
        let token = room.tokens;
        room.waiting.insert(token, vec![(Vec::new(), reply)]);
        // What a change builds on it names by itself, and waits for where it isn't yet.
        self.feed(space, Input::Write { token, draft, cites: Vec::new() });
    }

    /// A file that isn't kept costs time when the document is opened, and nothing else.
    pub(super) fn keep(
        &mut self,
        space: SpaceId,
        document: &Collection,
        file: &[u8],
        writer: Writer,
    ) {
        let now = self.now();
        let Some(room) = room(&mut self.rooms, &space) else { return };
        let is_stale = room.replica.book().stale().contains(document);
        if is_stale || room.replica.has_failed() || room.writer(now) != writer {
            return;
        }
        let changes = [(book::file_row(document), Some(file.to_vec()))].into();
        self.gathered.bytes += file.len();
        room.opened.shelf.write(&changes, &mut self.gathered.batch);
    }
}
