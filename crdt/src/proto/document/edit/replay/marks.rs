//! Marks, as they were.

use std::ops::Range;

use super::super::*;
use crate::proto::document::{
    content::{Expand, Mark},
    undo::{Aliases, GoneMark, Part},
};

impl Edit<'_> {
    /// Makes the marks of a range what they were: `from` is where it began in what was deleted.
    pub(super) fn mark_all(
        &mut self,
        text: ObjId,
        range: Range<usize>,
        from: usize,
        marks: &[GoneMark],
    ) -> Result<(), EditError> {
        let wanted: Vec<Mark> = marks
            .iter()
            .filter_map(|mark| {
                let start = mark.start.max(from) - from + range.start;
                let end = (mark.end.checked_sub(from)? + range.start).min(range.end);
                let (name, value) = (mark.name.clone(), mark.value.clone());
                (start < end).then_some(Mark { start, end, name, value })
            })
            .collect();
        for there in self.view()?.marks(text)? {
            let clip = there.start.max(range.start)..there.end.min(range.end);
            let covers = |mark: &&Mark| mark.name == there.name;
            let mut bare = clip.start;
            // What is wanted is in order for each name.
            for want in wanted.iter().filter(covers) {
                let end = want.start.min(clip.end);
                if bare < end {
                    self.unmark(text, bare..end, &there.name, Expand::None)?;
                }
                bare = bare.max(want.end);
            }
            if bare < clip.end {
                self.unmark(text, bare..clip.end, &there.name, Expand::None)?;
            }
        }
        for want in wanted {
            let there = self.view()?.marks_over(text, want.start, want.end)?;
            if there.get(&want.name) != Some(&want.value) {
                let (range, name) = (want.start..want.end, &want.name);
                self.mark(text, range, name, want.value, Expand::None)?;
            }
        }
        Ok(())
    }

    /// Gives one part of a marked range the value that it had, where ours is shown still.
    pub(super) fn mark_back(
        &mut self,
        object: ObjId,
        name: &str,
        value: &Scalar,
        expand: Expand,
        part: &Part,
        aliases: &Aliases,
    ) -> Result<(), EditError> {
        let first = self.find(object, part.first, aliases)?;
        let last = self.find(object, part.last, aliases)?;
        let (Some((text, start, _)), Some((_, last, there))) = (first, last) else {
            return Ok(());
        };
        let end = if there { last + self.view()?.width(text, last)? } else { last };
        let mut marked = Vec::new();
        for mark in self.view()?.marks(text)? {
            if mark.name == name && mark.start < end && mark.end > start {
                marked.push((mark.start.max(start)..mark.end.min(end), mark.value));
            }
        }
        // What shows our value: marked with it, or not marked if we took marks away.
        let ours: Vec<Range<usize>> = if *value == Scalar::Null {
            let mut from = start;
            let mut bare = Vec::new();
            for (range, _) in &marked {
                bare.push(from..range.start);
                from = range.end;
            }
            bare.push(from..end);
            bare
        } else {
            let ours = marked.into_iter().filter(|(_, there)| there == value);
            ours.map(|(range, _)| range).collect()
        };
        let old = part.value.clone().unwrap_or(Scalar::Null);
        if old == *value {
            return Ok(());
        }
        for range in ours.into_iter().filter(|range| range.start < range.end) {
            self.mark(text, range, name, old.clone(), expand)?;
        }
        Ok(())
    }
}
