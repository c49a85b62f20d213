//! Taking steps back, on the document as it is now.

mod marks;

use std::ops::Range;

use super::*;
use crate::proto::document::undo::{Aliases, GoneMark};

impl Edit<'_> {
    /// Takes one step back as far as it still stands.
    pub(in super::super) fn take_back(
        &mut self,
        step: &Inverse,
        aliases: &mut Aliases,
    ) -> Result<(), EditError> {
        match step {
            Inverse::Inserted { object, first, count } => {
                self.remove(*object, *first, *count, aliases)
            }
            Inverse::Deleted { object, gone, marks, between } => {
                self.bring_back(*object, gone, marks, *between, aliases)
            }
            Inverse::Set { object, place, new, old } => {
                self.put_back(*object, place, *new, old.as_ref(), aliases)
            }
            Inverse::Added { object, place, counter, by } => {
                let Some((object, prop)) = self.now_at(*object, place, aliases)? else {
                    return Ok(());
                };
                match self.view()?.winner(object, &prop)? {
                    Some((Node::Scalar(Scalar::Counter(_)), there))
                        if there == aliases.value(*counter) =>
                    {
                        self.increment(object, prop, -by)
                    }
                    _ => Ok(()),
                }
            }
            Inverse::Marked { object, name, value, expand, parts } => parts
                .iter()
                .try_for_each(|part| self.mark_back(*object, name, value, *expand, part, aliases)),
        }
    }

    /// Where an element is now, or would be: object, index, and whether it is there.
    ///
    /// Of an object that was made anew, only what was in it then was made anew too. An element that
    /// was deleted before is looked up in the old object, by what stands beside it.
    pub(super) fn find(
        &self,
        object: ObjId,
        element: OpRef,
        aliases: &Aliases,
    ) -> Result<Option<(ObjId, usize, bool)>, EditError> {
        let (now, element) = (aliases.object(object), aliases.element(element));
        if let Some((index, there)) = self.view()?.locate(now, element)? {
            return Ok(Some((now, index, there)));
        }
        // The last of the old objects that knows the element.
        let (mut known, mut stage) = (None, Some(object));
        while let Some(old) = stage {
            known = self.view()?.locate(old, element)?.map(|(index, _)| (old, index)).or(known);
            stage = aliases.next_object(old);
        }
        let Some((old, index)) = known else { return Ok(None) };
        let beside = |index| -> Result<Option<OpRef>, EditError> {
            let there = self.view()?.winner(old, &Prop::Index(index))?;
            let element = there.and_then(|(_, winner)| self.body.element(old, winner));
            Ok(element.map(|element| aliases.element(element)))
        };
        if let Some(next) = beside(index)? {
            let found = self.view()?.locate(now, next)?;
            if let Some((index, _)) = found {
                return Ok(Some((now, index, false)));
            }
        }
        let before = match index.checked_sub(1) {
            Some(index) => beside(index)?,
            None => None,
        };
        let Some(before) = before else { return Ok(Some((now, 0, false))) };
        Ok(match self.view()?.locate(now, before)? {
            Some((index, true)) => Some((now, index + self.view()?.width(now, index)?, false)),
            Some((index, false)) => Some((now, index, false)),
            None => None,
        })
    }

    /// A place as it is now; `None` if it is no more.
    fn now_at(
        &self,
        object: ObjId,
        place: &Place,
        aliases: &Aliases,
    ) -> Result<Option<(ObjId, Prop)>, EditError> {
        match place {
            Place::Key(key) => {
                let object = aliases.object(object);
                let there = self.view()?.kind(object) == Ok(Kind::Map);
                Ok(there.then(|| (object, Prop::Key(key.clone()))))
            }
            Place::Element(element) => Ok(match self.find(object, *element, aliases)? {
                Some((object, index, true)) => Some((object, Prop::Index(index))),
                _ => None,
            }),
        }
    }

    /// Deletes what was inserted and is still there.
    fn remove(
        &mut self,
        object: ObjId,
        first: OpRef,
        count: u32,
        aliases: &Aliases,
    ) -> Result<(), EditError> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let now = aliases.object(object);
        for counter in first.counter..first.counter.saturating_add(count) {
            let op = OpRef { counter, ..first };
            let found = self.view()?.locate(now, aliases.element(op))?;
            let Some((index, true)) = found else { continue };
            let there = self.view()?.winner(now, &Prop::Index(index))?;
            if there.is_some_and(|(_, winner)| winner == aliases.value(op)) {
                ranges.push(index..index + self.view()?.width(now, index)?);
            }
        }
        ranges.sort_unstable_by_key(|range| range.start);
        let mut joined: Vec<Range<usize>> = Vec::new();
        for range in ranges {
            match joined.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => joined.push(range),
            }
        }
        let kind = if joined.is_empty() { Kind::Map } else { self.view()?.kind(now)? };
        // Back to front, so that places before stay.
        for range in joined.into_iter().rev() {
            match kind {
                Kind::Text => self.splice_text(now, range.start, range.len(), "")?,
                Kind::List => {
                    range.rev().try_for_each(|index| self.delete_element(now, index))?;
                }
                Kind::Map => {}
            }
        }
        Ok(())
    }

    /// Inserts what was deleted where it was, unless it is there: then somebody wrote into it.
    fn bring_back(
        &mut self,
        object: ObjId,
        gone: &[Gone],
        marks: &[GoneMark],
        between: Between,
        aliases: &mut Aliases,
    ) -> Result<(), EditError> {
        let (low, high) = self.room_between(object, between, aliases)?;
        let mut units = 0;
        // Object, place, what belongs there, and how far behind the first that was deleted.
        let mut groups: Vec<(ObjId, usize, Vec<&Gone>, usize)> = Vec::new();
        for item in gone {
            let width = self.width_of(object, item)?;
            let found = self.find(object, item.element, aliases)?;
            if let Some((now, index, false)) = found {
                let index = index.min(high).max(low);
                match groups.last_mut() {
                    Some((_, at, items, from))
                        if *at == index && *from + self.widths(object, items)? == units =>
                    {
                        items.push(item);
                    }
                    _ => groups.push((now, index, vec![item], units)),
                }
            }
            units += width;
        }
        for (now, index, items, from) in groups.into_iter().rev() {
            let length = self.insert_all(now, index, &items, aliases)?;
            if self.view()?.kind(now)? == Kind::Text {
                self.mark_all(now, index..index + length, from, marks)?;
            }
        }
        Ok(())
    }

    /// Between which places what stood between two elements belongs.
    fn room_between(
        &self,
        object: ObjId,
        between: Between,
        aliases: &Aliases,
    ) -> Result<(usize, usize), EditError> {
        let find = |element: Option<OpRef>| match element {
            Some(element) => self.find(object, element, aliases),
            None => Ok(None),
        };
        let low = match find(between.before)? {
            Some((now, index, true)) => index + self.view()?.width(now, index)?,
            _ => 0,
        };
        let high = match find(between.behind)? {
            Some((_, index, true)) => index,
            _ => usize::MAX,
        };
        Ok((low, high.max(low)))
    }

    fn width_of(&self, object: ObjId, item: &Gone) -> Result<usize, EditError> {
        Ok(match (&item.node, self.view()?.kind(object)?) {
            (Node::Scalar(Scalar::Str(text)), Kind::Text) => self.view()?.unit().of_str(text),
            _ => 1,
        })
    }

    fn widths(&self, object: ObjId, items: &[&Gone]) -> Result<usize, EditError> {
        items.iter().map(|item| self.width_of(object, item)).sum()
    }

    /// Inserts items in a row. Returns how many units they take.
    fn insert_all(
        &mut self,
        object: ObjId,
        index: usize,
        items: &[&Gone],
        aliases: &mut Aliases,
    ) -> Result<usize, EditError> {
        let is_text = self.view()?.kind(object)? == Kind::Text;
        let mut at = index;
        let mut rest = items.iter().peekable();
        while let Some(item) = rest.next() {
            let made = self.body.next_op();
            // What it became when it was made anew before, until it is made anew now.
            let source = match item.node {
                Node::Object(_, object) => aliases.object(object),
                Node::Scalar(_) => ObjId::Root,
            };
            aliases.add_element(item.element, made);
            aliases.add_value(item.winner, made);
            match &item.node {
                Node::Scalar(Scalar::Str(text)) if is_text => {
                    let (mut run, mut chars) = (text.clone(), text.chars().count());
                    while let Some(Gone {
                        element,
                        winner,
                        node: Node::Scalar(Scalar::Str(more)),
                    }) = rest.peek()
                    {
                        // Fewer than a change may have operations.
                        let made = OpRef { counter: made.counter + chars as u32, ..made };
                        aliases.add_element(*element, made);
                        aliases.add_value(*winner, made);
                        run.push_str(more);
                        chars += more.chars().count();
                        rest.next();
                    }
                    self.splice_text(object, at, 0, &run)?;
                    at += self.view()?.unit().of_str(&run);
                }
                Node::Scalar(value) => {
                    self.insert(object, at, value.clone())?;
                    at += 1;
                }
                Node::Object(kind, _) => {
                    let new = if is_text {
                        self.split_block(object, at)?
                    } else {
                        self.insert_object(object, at, *kind)?
                    };
                    self.refill(source, new, aliases)?;
                    at += 1;
                }
            }
        }
        Ok(at - index)
    }

    /// Puts back what was at a place, if what was put there is there still.
    fn put_back(
        &mut self,
        object: ObjId,
        place: &Place,
        new: Option<OpRef>,
        old: Option<&(OpRef, Node)>,
        aliases: &mut Aliases,
    ) -> Result<(), EditError> {
        let Some((object, prop)) = self.now_at(object, place, aliases)? else { return Ok(()) };
        let there = self.view()?.winner(object, &prop)?.map(|(_, op)| op);
        if there != new.map(|new| aliases.value(new)) {
            return Ok(());
        }
        match old {
            None => self.delete_at(object, &prop),
            Some((op, Node::Scalar(value))) => {
                self.put(object, prop.clone(), value.clone())?;
                if let Some((_, winner)) = self.view()?.winner(object, &prop)? {
                    aliases.add_value(*op, winner);
                }
                Ok(())
            }
            Some((op, Node::Object(kind, made))) => {
                let old = aliases.object(*made);
                let new = self.put_object(object, prop, *kind)?;
                if let ObjId::Made(new) = new {
                    aliases.add_value(*op, new);
                }
                self.refill(old, new, aliases)
            }
        }
    }

    /// Fills a new object with what is in an old one now. Depth is bounded as objects' is.
    fn refill(&mut self, old: ObjId, new: ObjId, aliases: &mut Aliases) -> Result<(), EditError> {
        match self.view()?.kind(old)? {
            Kind::Map => {
                for key in self.view()?.keys(old)? {
                    let there = self.view()?.winner(old, &Prop::Key(key.clone()))?;
                    let Some((node, op)) = there else { continue };
                    let made = self.body.next_op();
                    match node {
                        Node::Scalar(value) => self.put(new, key, value)?,
                        Node::Object(kind, object) => {
                            let made = self.put_object(new, key, kind)?;
                            self.refill(object, made, aliases)?;
                        }
                    }
                    aliases.add_value(op, made);
                }
                Ok(())
            }
            Kind::List => {
                let items = self.view()?.tagged_items(old)?.into_iter();
                let items = items.filter_map(|(node, winner)| {
                    let element = self.body.element(old, winner)?;
                    Some(Gone { element, winner, node })
                });
                let items: Vec<Gone> = items.collect();
                let items: Vec<&Gone> = items.iter().collect();
                self.insert_all(new, 0, &items, aliases).map(drop)
            }
            Kind::Text => {
                let length = self.view()?.length(old)?;
                let (items, marks) = (self.gone(old, 0, length)?, self.gone_marks(old, 0, length)?);
                let items: Vec<&Gone> = items.iter().collect();
                let length = self.insert_all(new, 0, &items, aliases)?;
                self.mark_all(new, 0..length, 0, &marks)
            }
        }
    }
}
