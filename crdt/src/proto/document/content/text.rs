//! Positions, marks and blocks of texts.

use std::collections::BTreeMap;

use super::{Content, Scalar};

/// What positions in texts count. All replicas must agree for positions to mean the same; changes
/// don't depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TextUnit {
    /// Unicode code points, as Rust's `chars`.
    #[default]
    CodePoint,
    /// UTF-16 code units, as JavaScript's strings: characters beyond U+FFFF count two.
    Utf16,
}

impl TextUnit {
    pub(in super::super) const fn to_automerge(self) -> automerge::TextEncoding {
        match self {
            Self::CodePoint => automerge::TextEncoding::UnicodeCodePoint,
            Self::Utf16 => automerge::TextEncoding::Utf16CodeUnit,
        }
    }

    /// How many units a character takes.
    pub const fn of_char(self, char: char) -> usize {
        match self {
            Self::CodePoint => 1,
            Self::Utf16 => char.len_utf16(),
        }
    }

    /// How many units a text takes. O(text).
    pub fn of_str(self, text: &str) -> usize {
        text.chars().map(|char| self.of_char(char)).sum()
    }

    /// The byte at which the unit at `index` begins; `None` if no character begins there, nor the
    /// text ends. O(text).
    pub fn to_byte(self, text: &str, index: usize) -> Option<usize> {
        let mut units = 0;
        for (byte, char) in text.char_indices() {
            if units >= index {
                return (units == index).then_some(byte);
            }
            units += self.of_char(char);
        }
        (units == index).then_some(text.len())
    }
}

/// A mark on a range of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Where it begins.
    pub start: usize,
    /// Where it ends: the first place behind it.
    pub end: usize,
    /// Its name. Each character has one value of a name at most.
    pub name: String,
    /// Its value; null where a patch takes a mark away.
    pub value: Scalar,
}

impl Mark {
    pub(in super::super) fn of(mark: &automerge::marks::Mark) -> Self {
        let (name, value) = (mark.name.to_string(), Scalar::of(&mark.value));
        Self { start: mark.start, end: mark.end, name, value }
    }
}

/// What is inserted at the ends of a mark: whether it gets the mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Expand {
    Before,
    #[default]
    After,
    Both,
    None,
}

impl Expand {
    pub(in super::super) const fn to_automerge(self) -> automerge::marks::ExpandMark {
        use automerge::marks::ExpandMark;
        match self {
            Self::Before => ExpandMark::Before,
            Self::After => ExpandMark::After,
            Self::Both => ExpandMark::Both,
            Self::None => ExpandMark::None,
        }
    }
}

/// A stretch of a text as it is shown: characters with equal marks, or a block.
#[derive(Clone, Debug, PartialEq)]
pub enum Span {
    /// Characters, and the marks that all of them have.
    Text {
        /// The characters.
        text: String,
        /// Names and values.
        marks: BTreeMap<String, Scalar>,
    },
    /// A block, with what is in its map.
    Block(BTreeMap<String, Content>),
}

impl Span {
    pub(in super::super) fn of(span: automerge::Span) -> Self {
        match span {
            automerge::Span::Text { text, marks } => {
                let marks = marks.map_or_else(BTreeMap::new, |marks| marks_of(&marks));
                Self::Text { text, marks }
            }
            automerge::Span::Block(map) => {
                match Content::of(&automerge::hydrate::Value::Map(map)) {
                    Content::Map(map) => Self::Block(map),
                    _ => Self::Block(BTreeMap::new()),
                }
            }
        }
    }
}

/// Names and values of marks that aren't taken away.
pub(in super::super) fn marks_of(marks: &automerge::marks::MarkSet) -> BTreeMap<String, Scalar> {
    let values = marks.iter().map(|(name, value)| (name.to_owned(), Scalar::of(value)));
    values.filter(|(_, value)| *value != Scalar::Null).collect()
}
