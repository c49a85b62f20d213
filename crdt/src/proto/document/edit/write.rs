//! The steps that edits are made of: room, call, patch, inverse.

use super::*;

impl Edit<'_> {
    /// What is at a place that can be put to, ascending.
    pub(super) fn register(
        &self,
        object: ObjId,
        prop: &Prop,
    ) -> Result<Vec<(Node, OpRef)>, EditError> {
        let view = self.view()?;
        match (view.kind(object)?, prop) {
            (Kind::Map, Prop::Key(key)) if key.len() > MAX_KEY => Err(EditError::TooLarge),
            (Kind::Map, Prop::Key(_)) => Ok(view.conflicts(object, prop.clone())?),
            (Kind::List, Prop::Index(_)) => match view.conflicts(object, prop.clone())? {
                there if there.is_empty() => Err(EditError::OutOfRange),
                there => Ok(there),
            },
            (Kind::Text, Prop::Index(_)) => Err(EditError::Unsupported),
            _ => Err(EditError::WrongType),
        }
    }

    /// The depth that an object in this one has.
    pub(super) fn deeper(&self, object: ObjId) -> Result<u32, EditError> {
        let depth = self.body.depth(object).ok_or(EditError::NotFound)?;
        if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(EditError::TooLarge) }
    }

    /// A place as others' edits don't move it.
    pub(super) fn place(
        &self,
        object: ObjId,
        prop: &Prop,
        there: OpRef,
    ) -> Result<Place, EditError> {
        match prop {
            Prop::Key(key) => Ok(Place::Key(key.clone())),
            Prop::Index(_) => {
                let element = self.body.element(object, there);
                element.map(Place::Element).ok_or(EditError::NotFound)
            }
        }
    }

    /// An operation at a place where so many others are.
    pub(super) fn at_place(&self, prop: &Prop, there: usize) -> Room {
        let names = match prop {
            Prop::Key(key) => key.len(),
            Prop::Index(_) => 0,
        };
        Room { operations: 1, rows: 1, preds: there, names, ..Room::default() }
    }

    /// Makes a call, if there is room for what it does.
    pub(super) fn write(&mut self, more: Room, call: Call) -> Result<(), EditError> {
        let room = self.body.pending_ref().room().with(&more);
        let limit = self.body.settings().limit;
        let lanes = crate::proto::document::weight::MAX_LANES as u64 / 256;
        let weight = self.body.index().weight().saturating_add(room.weight() + lanes);
        if !room.fits() || weight > limit {
            return Err(EditError::TooLarge);
        }
        if let Err(broken) = self.body.call(call) {
            // What was checked before is not refused: what is open can't be trusted.
            self.body.give_up();
            return Err(broken.into());
        }
        self.body.pending_mut().take_room(&more);
        Ok(())
    }

    /// Puts something where `before` is, and remembers how to take that back.
    pub(super) fn set(
        &mut self,
        object: ObjId,
        prop: Prop,
        room: Room,
        before: Vec<(Node, OpRef)>,
        call: Call,
    ) -> Result<(), EditError> {
        let there = before.len();
        let new = self.body.next_op();
        let old = before.last().map(|(node, op)| (*op, node.clone()));
        let place = self.place(object, &prop, old.as_ref().map_or(new, |(op, _)| *op))?;
        self.write(self.at_place(&prop, there).with(&room), call)?;
        if let Place::Element(element) = place {
            self.body.pending_mut().place(new.counter, 1, object, Some(element));
        }
        let winner = self.tell_put(object, prop)?;
        if Some(new) == winner {
            self.done.inverse.push(Inverse::Set { object, place, new: Some(new), old });
        }
        Ok(())
    }

    /// Deletes what is at a key.
    pub(super) fn delete_at(&mut self, object: ObjId, prop: &Prop) -> Result<(), EditError> {
        let before = self.register(object, prop)?;
        let Some((node, winner)) = before.last().cloned() else { return Ok(()) };
        let place = self.place(object, prop, winner)?;
        let more = Room { rows: 0, ..self.at_place(prop, before.len()) };
        self.write(more, Call::Delete(object, prop.clone()))?;
        if let Prop::Key(key) = prop {
            self.tell(object, PatchAction::DeleteKey { key: key.clone() })?;
        }
        let old = Some((winner, node));
        self.done.inverse.push(Inverse::Set { object, place, new: None, old });
        Ok(())
    }

    pub(super) fn delete_element(&mut self, list: ObjId, index: usize) -> Result<(), EditError> {
        let prop = Prop::Index(index);
        let before = self.register(list, &prop)?;
        let Some((node, winner)) = before.last().cloned() else {
            return Err(EditError::OutOfRange);
        };
        let element = self.body.element(list, winner).ok_or(EditError::NotFound)?;
        let between = self.between(list, index, 1)?;
        let more = Room { rows: 0, ..self.at_place(&prop, before.len()) };
        self.write(more, Call::Delete(list, prop))?;
        self.tell(list, PatchAction::DeleteRange { index, length: 1 })?;
        let gone = vec![Gone { element, winner, node }];
        let marks = Vec::new();
        self.done.inverse.push(Inverse::Deleted { object: list, gone, marks, between });
        Ok(())
    }

    /// What stands beside a range.
    pub(super) fn between(
        &self,
        object: ObjId,
        index: usize,
        length: usize,
    ) -> Result<Between, EditError> {
        let element = |index| -> Result<Option<OpRef>, EditError> {
            let there = self.view()?.winner(object, &Prop::Index(index))?;
            Ok(there.and_then(|(_, winner)| self.body.element(object, winner)))
        };
        let before = index.checked_sub(1).map(element).transpose()?.flatten();
        Ok(Between { before, behind: element(index + length)? })
    }

    pub(super) fn insert_node(
        &mut self,
        list: ObjId,
        index: usize,
        room: Room,
        node: Node,
        call: Call,
    ) -> Result<(), EditError> {
        let view = self.view()?;
        match view.kind(list)? {
            Kind::List if index > view.length(list)? => return Err(EditError::OutOfRange),
            Kind::List => {}
            Kind::Text => return Err(EditError::Unsupported),
            Kind::Map => return Err(EditError::WrongType),
        }
        let first = self.body.next_op();
        self.write(self.at_place(&Prop::Index(index), 0).with(&room), call)?;
        self.inserted(list, first, 1);
        self.tell(list, PatchAction::Insert { index, nodes: vec![(node, false)] })
    }

    /// Elements were inserted by so many operations.
    pub(super) fn inserted(&mut self, object: ObjId, first: OpRef, count: u32) {
        self.body.pending_mut().place(first.counter, count, object, None);
        self.done.inverse.push(Inverse::Inserted { object, first, count });
    }

    /// Says by a patch what happened, if the object can be seen.
    pub(super) fn tell(&mut self, object: ObjId, action: PatchAction) -> Result<(), EditError> {
        if let Some(path) = self.view()?.path(object)? {
            self.done.patches.push(Patch { object, path, action });
        }
        Ok(())
    }

    /// Says what is at a place now. Returns its operation.
    pub(super) fn tell_put(
        &mut self,
        object: ObjId,
        prop: Prop,
    ) -> Result<Option<OpRef>, EditError> {
        let there = self.view()?.conflicts(object, prop.clone())?;
        let Some((node, winner)) = there.last().cloned() else { return Ok(None) };
        self.tell(object, PatchAction::Put { prop, node, conflict: there.len() > 1 })?;
        Ok(Some(winner))
    }
}
