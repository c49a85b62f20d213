//! Texts as they are shown, to be compared.

use std::ops::Range;

use super::{Broken, or_nothing};
use crate::proto::document::{
    content::{Mark, Node, ObjId, PLACEHOLDER, Scalar, TextUnit},
    differ::Step,
    view::View,
};

/// What takes a place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Char(char),
    Block(ObjId),
}

impl Element {
    pub(super) const fn units(&self, unit: TextUnit) -> usize {
        match self {
            Self::Char(char) => unit.of_char(*char),
            Self::Block(_) => unit.of_char(PLACEHOLDER),
        }
    }

    pub(super) const fn block(&self) -> Option<ObjId> {
        match self {
            Self::Char(_) => None,
            Self::Block(block) => Some(*block),
        }
    }
}

/// A text as it is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    pub(super) elements: Vec<Element>,
    pub(super) marks: Vec<Mark>,
}

impl Text {
    pub(super) fn of(view: &View<'_>, text: ObjId) -> Result<Self, Broken> {
        let (mut elements, mut at) = (Vec::new(), 0);
        for char in or_nothing(view.text(text))?.chars() {
            let block = match char {
                // A block, or the character itself.
                PLACEHOLDER => or_nothing(view.get(text, at))?.as_ref().and_then(Node::object),
                _ => None,
            };
            let element = block.map_or(Element::Char(char), Element::Block);
            at += element.units(view.unit());
            elements.push(element);
        }
        Ok(Self { elements, marks: or_nothing(view.marks(text))? })
    }

    /// The marks on a range, by names and in order.
    fn marks_on(&self, range: &Range<usize>) -> Vec<Mark> {
        let clip = |mark: &Mark| {
            let (start, end) = (mark.start.max(range.start), mark.end.min(range.end));
            (start < end).then(|| Mark { start, end, ..mark.clone() })
        };
        self.marks.iter().filter_map(clip).collect()
    }
}

/// The marks that became different, by positions in the new text: those that are gone first, as
/// null.
pub(super) fn marks(before: &Text, after: &Text, steps: &[Step], unit: TextUnit) -> Vec<Mark> {
    let units = |elements: &[Element]| elements.iter().map(|e| e.units(unit)).sum::<usize>();
    let (mut gone, mut set) = (Vec::new(), Vec::new());
    let (mut old, mut new) = (0, 0);
    let end = Step {
        old: before.elements.len()..before.elements.len(),
        new: after.elements.len()..after.elements.len(),
    };
    // Where units are counted from: elements and units of both.
    let (mut old_units, mut new_units) = (0, 0);
    for step in steps.iter().chain([&end]) {
        let kept = units(&before.elements[old..step.old.start]);
        let was = before.marks_on(&(old_units..old_units + kept)).into_iter().map(|mark| Mark {
            start: mark.start - old_units + new_units,
            end: mark.end - old_units + new_units,
            ..mark
        });
        let was: Vec<Mark> = was.collect();
        let is = after.marks_on(&(new_units..new_units + kept));
        gone.extend(was.iter().filter(|mark| !is.contains(mark)).cloned());
        set.extend(is.into_iter().filter(|mark| !was.contains(mark)));
        let inserted = units(&after.elements[step.new.clone()]);
        let from = new_units + kept;
        set.extend(after.marks_on(&(from..from + inserted)));
        old_units += kept + units(&before.elements[step.old.clone()]);
        new_units = from + inserted;
        (old, new) = (step.old.end, step.new.end);
    }
    debug_assert_eq!((old, new), (before.elements.len(), after.elements.len()));
    gone.iter_mut().for_each(|mark| mark.value = Scalar::Null);
    gone.extend(set);
    gone
}
