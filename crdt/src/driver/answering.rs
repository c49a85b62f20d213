//! Answering requests.

use super::{Driver, Reply, Request, Room, WriteFailed, list::Listing, room};
use crate::{
    proto::{id::SpaceId, replica::Input},
    spaces::{Member, Status},
};

impl Driver {
    pub(super) fn on_request(&mut self, request: Request) {
        match request {
            // Whoever asked and is gone needs no answer.
            request if self.is_put_off(&request) => self.leaves.put_off(request),
            Request::Open { genesis, is_map, reply } => {
                let listing = if is_map { Listing::Map } else { Listing::Open };
                let _ = reply.send(self.open_space(genesis, listing));
            }
            Request::List { reply } => {
                let is_users = |room: &&Room| !room.is_leaving && room.part.is_none();
                let rooms = self.rooms.values().filter(is_users);
                let _ = reply.send(rooms.map(|room| room.opened.clone()).collect());
            }
            Request::Edit { space, edits, reply } => match room(&mut self.rooms, &space) {
                Some(room) => {
                    self.waiting += edits.len();
                    room.edits.push_back((edits, reply));
                }
                None => drop(reply.send(Err(WriteFailed::Left))),
            },
            Request::Writer { space, reply } => {
                let now = self.now();
                let _ = reply.send(room(&mut self.rooms, &space).map(|room| room.writer(now)));
            }
            Request::Append { space, document, feed, ops, reply } => {
                self.append(space, document, feed, ops, reply);
            }
            Request::Keep { space, document, file, writer } => {
                self.keep(space, &document, &file, writer);
            }
            Request::Change { space, member, change, reply } => {
                self.write(space, reply, |token| Input::Change { token, member, change });
            }
            Request::Discard { space, runs, reply } => {
                self.write(space, reply, |token| Input::Discard { token, runs });
            }
            Request::Members { space, reply } => {
                let room = room(&mut self.rooms, &space);
                let _ = reply.send(room.map(|room| Member::all(&room.replica)));
            }
            Request::Role { space, member, reply } => {
                let room = room(&mut self.rooms, &space);
                let _ = reply.send(room.and_then(|room| room.replica.access().role_of(&member)));
            }
            Request::OwnRole { space, reply } => {
                let room = room(&mut self.rooms, &space);
                let _ = reply.send(room.and_then(|room| room.replica.own_role()));
            }
            Request::Status { space, reply } => {
                let room = room(&mut self.rooms, &space);
                let _ = reply.send(room.map(|room| Status::of(&room.replica)));
            }
            Request::Offer { space, records, reply } => self.take_in(space, records, reply),
            Request::Leave { space, deletes, reply } => self.leave(space, deletes, Some(reply)),
            Request::Again { space, reply } => drop(reply.send(self.open_again(&space))),
            Request::ListClosed { reply } => drop(reply.send(self.leaves.closed())),
            Request::Part(part) => self.on_part(part),
        }
    }

    /// Has something written that is no edit.
    fn write(&mut self, space: SpaceId, reply: Reply, input: impl FnOnce(u64) -> Input) {
        let Some(room) = room(&mut self.rooms, &space) else {
            return drop(reply.send(Err(WriteFailed::Left)));
        };
        room.tokens += 1;
        let token = room.tokens;
        room.waiting.insert(token, vec![(Vec::new(), reply)]);
        self.feed(space, input(token));
    }
}
