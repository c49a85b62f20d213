//! Texts: characters, marks and blocks.

use std::ops::Range;

use super::*;
use crate::proto::document::{
    MAX_MARK_NAME, MAX_MARK_VALUE,
    content::{Expand, Mark},
    undo::{GoneMark, Part},
};

impl Edit<'_> {
    /// Inserts text at an index, and deletes so many units behind it.
    ///
    /// What is inserted gets the marks that expand to it.
    pub fn splice_text(
        &mut self,
        text: ObjId,
        index: usize,
        delete: usize,
        insert: &str,
    ) -> Result<(), EditError> {
        self.is_range(text, index, delete)?;
        if delete == 0 && insert.is_empty() {
            return Ok(());
        }
        let gone = self.gone(text, index, delete)?;
        let marks =
            if gone.is_empty() { Vec::new() } else { self.gone_marks(text, index, delete)? };
        let between = self.between(text, index, delete)?;
        let chars = insert.chars().count();
        let more = Room {
            operations: chars + gone.len(),
            rows: chars,
            preds: gone.len(),
            values: insert.len(),
            ..Room::default()
        };
        let first = self.body.next_op();
        self.write(more, Call::Splice(text, index, delete, insert.into()))?;
        let width = self.view()?.unit().of_str(insert);
        if chars > 0 {
            // As many as a change may have operations.
            self.inserted(text, first, chars as u32);
        }
        if delete > 0 {
            self.done.inverse.push(Inverse::Deleted { object: text, gone, marks, between });
            self.tell(text, PatchAction::DeleteRange { index, length: delete })?;
        }
        if chars > 0 {
            let marks = self.view()?.marks_over(text, index, index + width)?;
            self.tell(text, PatchAction::Splice { index, text: insert.into(), marks })?;
        }
        Ok(())
    }

    /// Makes a text what `new` is, by as few insertions and deletions as it takes; they merge worse
    /// with what others write than [`splice_text`](Self::splice_text) at what the user typed. The
    /// shorter the difference the cheaper: O(text + difference²), and where more than a thousand
    /// characters differ, all between the first and the last difference is replaced.
    pub fn update_text(&mut self, text: ObjId, new: &str) -> Result<(), EditError> {
        let old = self.view()?.text(text)?;
        let unit = self.view()?.unit();
        let (old, new): (Vec<char>, Vec<char>) = (old.chars().collect(), new.chars().collect());
        let units = |chars: &[char]| chars.iter().map(|char| unit.of_char(*char)).sum::<usize>();
        // Back to front, so that positions before stay.
        for step in super::super::differ::diff(&old, &new).into_iter().rev() {
            let index = units(&old[..step.old.start]);
            let insert: String = new[step.new].iter().collect();
            self.splice_text(text, index, units(&old[step.old]), &insert)?;
        }
        Ok(())
    }

    /// Sets a mark on a range of a text.
    pub fn mark(
        &mut self,
        text: ObjId,
        range: Range<usize>,
        name: &str,
        value: impl Into<Scalar>,
        expand: Expand,
    ) -> Result<(), EditError> {
        let value = value.into();
        check(&value)?;
        let length = range.end.checked_sub(range.start).filter(|length| *length > 0);
        self.is_range(text, range.start, length.ok_or(EditError::OutOfRange)?)?;
        // Values have at most ten bytes but for text and bytes.
        let long = value.bytes() > MAX_MARK_VALUE;
        if name.is_empty() || name.len() > MAX_MARK_NAME || long {
            return Err(EditError::TooLarge);
        }
        let parts = self.parts(text, &range, name)?;
        let more = Room {
            operations: 2,
            rows: 2,
            values: value.bytes(),
            names: name.len(),
            marks: 1,
            ..Room::default()
        };
        let mark = Mark { start: range.start, end: range.end, name: name.into(), value };
        self.write(more, Call::Mark(text, mark.clone(), expand))?;
        let (name, value) = (name.into(), mark.value.clone());
        self.done.inverse.push(Inverse::Marked { object: text, name, value, expand, parts });
        self.tell(text, PatchAction::Marks(vec![mark]))
    }

    /// Takes the marks of a name from a range of a text.
    pub fn unmark(
        &mut self,
        text: ObjId,
        range: Range<usize>,
        name: &str,
        expand: Expand,
    ) -> Result<(), EditError> {
        self.mark(text, range, name, Scalar::Null, expand)
    }

    /// Inserts a block into a text: a map, which takes the place of one character and says what the
    /// text behind it is, such as a heading.
    pub fn split_block(&mut self, text: ObjId, index: usize) -> Result<ObjId, EditError> {
        self.is_range(text, index, 0)?;
        let depth = self.deeper(text)?;
        let made = self.body.next_op();
        let more = Room { operations: 1, rows: 1, objects: 1, ..Room::default() };
        self.write(more, Call::Block(text, index))?;
        self.body.pending_mut().made(made.counter, depth);
        self.inserted(text, made, 1);
        let node = Node::Object(Kind::Map, ObjId::Made(made));
        self.tell(text, PatchAction::Insert { index, nodes: vec![(node, false)] })?;
        Ok(ObjId::Made(made))
    }

    /// Deletes the block at an index of a text.
    pub fn join_block(&mut self, text: ObjId, index: usize) -> Result<(), EditError> {
        self.is_range(text, index, 1)?;
        match self.view()?.winner(text, &Prop::Index(index))? {
            Some((Node::Object(..), _)) => self.splice_text(text, index, 1, ""),
            _ => Err(EditError::WrongType),
        }
    }

    /// Whether a range is in a text, and begins and ends between characters.
    fn is_range(&self, text: ObjId, index: usize, length: usize) -> Result<(), EditError> {
        let view = self.view()?;
        if view.kind(text)? != Kind::Text {
            return Err(EditError::WrongType);
        }
        let end = index.checked_add(length).ok_or(EditError::OutOfRange)?;
        let right = view.is_boundary(text, index)?;
        let right = right && (length == 0 || view.is_boundary(text, end)?);
        if right { Ok(()) } else { Err(EditError::OutOfRange) }
    }

    /// What is in a range, to be deleted.
    pub(super) fn gone(
        &self,
        text: ObjId,
        index: usize,
        length: usize,
    ) -> Result<Vec<Gone>, EditError> {
        let (view, mut at, mut gone) = (self.view()?, index, Vec::new());
        while at < index + length {
            let there = view.winner(text, &Prop::Index(at))?;
            let (node, winner) = there.ok_or(EditError::OutOfRange)?;
            at += match &node {
                Node::Scalar(Scalar::Str(text)) => view.unit().of_str(text).max(1),
                _ => 1,
            };
            let element = self.body.element(text, winner).ok_or(EditError::NotFound)?;
            gone.push(Gone { element, winner, node });
        }
        Ok(gone)
    }

    /// The marks on a range, by units from its beginning.
    pub(super) fn gone_marks(
        &self,
        text: ObjId,
        index: usize,
        length: usize,
    ) -> Result<Vec<GoneMark>, EditError> {
        let marks = self.view()?.marks(text)?.into_iter().filter_map(|mark| {
            let start = mark.start.max(index) - index;
            let end = mark.end.min(index + length).checked_sub(index)?;
            let Mark { name, value, .. } = mark;
            (start < end).then_some(GoneMark { start, end, name, value })
        });
        Ok(marks.collect())
    }

    /// What a mark's name has for values in a range, by the elements at both ends of each part.
    fn parts(&self, text: ObjId, range: &Range<usize>, name: &str) -> Result<Vec<Part>, EditError> {
        let mut bounds = vec![(range.start, None)];
        for mark in self.view()?.marks(text)? {
            let (start, end) = (mark.start.max(range.start), mark.end.min(range.end));
            if mark.name == name && start < end {
                bounds.retain(|(at, _)| *at != start);
                bounds.push((start, Some(mark.value)));
                bounds.push((end, None));
            }
        }
        let ends = bounds.iter().skip(1).map(|(at, _)| *at).chain([range.end]);
        let ends: Vec<usize> = ends.collect();
        let parts = bounds.into_iter().zip(ends).filter(|((start, _), end)| start < end);
        parts
            .map(|((start, value), end)| {
                let first = self.element_at(text, start)?;
                let last = self.element_at(text, end - 1)?;
                Ok(Part { first, last, value })
            })
            .collect()
    }

    /// The element that a unit is in.
    fn element_at(&self, text: ObjId, index: usize) -> Result<OpRef, EditError> {
        let there = self.view()?.winner(text, &Prop::Index(index))?;
        let (_, winner) = there.ok_or(EditError::OutOfRange)?;
        self.body.element(text, winner).ok_or(EditError::NotFound)
    }
}
