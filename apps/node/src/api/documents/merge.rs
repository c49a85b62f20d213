//! What was made of a text as it was, done to the text as it is.
//!
//! The two ends of an edit that was made elsewhere are a text at some version, the base, and what
//! it became. Their difference is a list of hunks: ranges of the base, and what takes their place.
//! Each is done where the characters of the base are now, which keep their names:
//!
//! > what others deleted stays deleted, what they inserted stays, even within a range that is
//! > deleted here, and each character of the base that no hunk deletes and nobody else did is
//! > there.
//!
//! What takes a range's place comes behind the character before its end; if that is gone, before
//! the one that was next; and if that is gone too, behind the nearest one before that is left.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use aether_crdt::proto::document::{
    anchor::{Anchor, Bias},
    content::{ObjId, OpRef},
    edit::{Edit, EditError},
};
use similar::{DiffTag, TextDiff};

/// Operations of one edit: with what may wait for its change, less than a change holds.
const ROOM: usize = 50_000;
/// How long a difference may be looked for; then what is left is taken for one.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Characters of lines between which differences are looked for.
const MAX_LINES: usize = 2_048;
/// Hunks times characters: an edit walks the text for each hunk.
const MAX_WORK: usize = 1 << 28;

/// A range of the base, and what takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hunk {
    old: Range<usize>,
    new: Vec<char>,
    /// Where the next to last piece goes, once the last is there.
    before: Option<Anchor>,
}

impl Hunk {
    /// Without what both begin and end with; `None` if nothing is left.
    fn new(from: usize, old: &[char], new: &[char]) -> Option<Self> {
        let head = old.iter().zip(new).take_while(|(one, other)| one == other).count();
        let (old, new) = (&old[head..], &new[head..]);
        let pairs = old.iter().rev().zip(new.iter().rev());
        let tail = pairs.take_while(|(one, other)| one == other).count();
        let (old, new) = (old.len() - tail, &new[..new.len() - tail]);
        let range = from + head..from + head + old;
        (old > 0 || !new.is_empty()).then(|| Self { old: range, new: new.into(), before: None })
    }
}

/// An edit to be done in one or more steps.
#[derive(Debug)]
pub(super) struct Merge {
    /// The characters of the base.
    base: Vec<OpRef>,
    /// What isn't done yet, in order.
    hunks: Vec<Hunk>,
}

impl Merge {
    /// Makes `to` of `from`, whose characters have these names.
    pub(super) fn new(base: Vec<OpRef>, from: &str, to: &str) -> Self {
        Self { base, hunks: hunks(from, to) }
    }

    pub(super) const fn is_done(&self) -> bool {
        self.hunks.is_empty()
    }

    /// Does as much of it as one edit holds, from the end to the beginning: so what is before
    /// stays where it is.
    pub(super) fn step(&mut self, edit: &mut Edit<'_>, text: ObjId) -> Result<(), EditError> {
        let now = edit.view()?.elements(text)?;
        let places = Places::new(&self.base, &now);
        let mut room = ROOM;
        while room > 0
            && let Some(mut hunk) = self.hunks.pop()
        {
            if !insert(edit, text, &mut hunk, &places, &mut room)?
                || !delete(edit, text, &hunk, &places, &mut room)?
            {
                self.hunks.push(hunk);
                break;
            }
        }
        Ok(())
    }
}

/// Inserts a hunk's characters, the last ones first. Says whether all are there.
fn insert(
    edit: &mut Edit<'_>,
    text: ObjId,
    hunk: &mut Hunk,
    places: &Places,
    room: &mut usize,
) -> Result<bool, EditError> {
    if hunk.new.is_empty() {
        return Ok(true);
    }
    let behind = match &hunk.before {
        Some(anchor) => edit.view()?.position(anchor)?,
        None => None,
    };
    let at = behind.unwrap_or_else(|| places.behind(hunk.old.end));
    let piece = hunk.new.split_off(hunk.new.len().saturating_sub(*room));
    *room -= piece.len();
    edit.splice_text(text, at, 0, &piece.into_iter().collect::<String>())?;
    if hunk.new.is_empty() {
        return Ok(true);
    }
    hunk.before = edit.view()?.anchor(text, at, Bias::After)?;
    Ok(false)
}

/// Deletes what is left of a hunk's range, from its end. Says whether all is gone.
fn delete(
    edit: &mut Edit<'_>,
    text: ObjId,
    hunk: &Hunk,
    places: &Places,
    room: &mut usize,
) -> Result<bool, EditError> {
    let there: Vec<usize> = places.at[hunk.old.clone()].iter().flatten().copied().collect();
    let left = there.len().saturating_sub(*room);
    *room -= there.len() - left;
    for run in there[left..].chunk_by(|one, next| one + 1 == *next).rev() {
        edit.splice_text(text, run[0], run.len(), "")?;
    }
    Ok(left == 0)
}

/// Where the characters of the base are.
#[derive(Debug)]
struct Places {
    at: Vec<Option<usize>>,
    length: usize,
}

impl Places {
    fn new(base: &[OpRef], now: &[OpRef]) -> Self {
        let head = base.iter().zip(now).take_while(|(one, other)| one == other).count();
        let pairs = base[head..].iter().rev().zip(now[head..].iter().rev());
        let tail = pairs.take_while(|(one, other)| one == other).count();
        let middle = head..now.len() - tail;
        let found: BTreeMap<&OpRef, usize> = now[middle.clone()].iter().zip(middle).collect();
        let at = base.iter().enumerate().map(|(index, element)| {
            if index < head {
                Some(index)
            } else if index >= base.len() - tail {
                Some(index + now.len() - base.len())
            } else {
                found.get(element).copied()
            }
        });
        Self { at: at.collect(), length: now.len() }
    }

    /// Where what comes behind so many characters of the base is inserted.
    fn behind(&self, count: usize) -> usize {
        let (before, after) = self.at.split_at(count);
        match (before.last(), after.first()) {
            (Some(Some(last)), _) => last + 1,
            (_, Some(Some(next))) => *next,
            (Some(None), None) => self.length,
            _ => before.iter().rev().flatten().next().map_or(0, |last| last + 1),
        }
    }
}

/// The hunks that make one text of another, as fine as pays.
fn hunks(from: &str, to: &str) -> Vec<Hunk> {
    let length = from.chars().count().max(1);
    let pays = |hunks: &Vec<Hunk>| hunks.len().saturating_mul(length) <= MAX_WORK;
    let by = |max| Some(by_lines(from, to, max)).filter(pays);
    by(MAX_LINES).or_else(|| by(0)).unwrap_or_else(|| {
        let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
        Hunk::new(0, &from, &to).into_iter().collect()
    })
}

/// The lines that differ, and what differs in those that have at most so many characters.
fn by_lines(from: &str, to: &str, max: usize) -> Vec<Hunk> {
    let lines = TextDiff::configure().timeout(TIMEOUT).diff_lines(from, to);
    let (mut hunks, mut at) = (Vec::new(), 0);
    for op in lines.ops() {
        let old = op.old_range().filter_map(|line| lines.old_slice(line));
        if op.tag() == DiffTag::Equal {
            at += old.map(|line| line.chars().count()).sum::<usize>();
            continue;
        }
        let new = op.new_range().filter_map(|line| lines.new_slice(line));
        let (old, new): (Vec<char>, Vec<char>) =
            (old.flat_map(str::chars).collect(), new.flat_map(str::chars).collect());
        if old.len() + new.len() <= max {
            hunks.extend(by_chars(at, &old, &new));
        } else {
            hunks.extend(Hunk::new(at, &old, &new));
        }
        at += old.len();
    }
    hunks
}

/// What differs between some lines; all of it, if less than half of it is alike: single letters
/// that are alike by chance are no part of what was meant.
fn by_chars(at: usize, old: &[char], new: &[char]) -> Vec<Hunk> {
    let diff = similar::capture_diff_slices(similar::Algorithm::Myers, old, new);
    if similar::diff_ratio(&diff, old.len(), new.len()) < 0.5 {
        return Hunk::new(at, old, new).into_iter().collect();
    }
    let differs = diff.iter().filter(|op| op.tag() != DiffTag::Equal);
    let hunk = |op: &similar::DiffOp| {
        Hunk::new(at + op.old_range().start, &old[op.old_range()], &new[op.new_range()])
    };
    differs.filter_map(hunk).collect()
}

#[cfg(test)]
mod tests {
    use aether_crdt::proto::document::{
        ActorId, Kind,
        body::{Body, Settings},
        content::TextUnit,
        weight::DEFAULT_LIMIT,
    };

    use super::*;

    /// A text that was one thing, and is another now by edits that say where they are.
    fn text(base: &str, others: &[(usize, usize, &str)]) -> (Body, ObjId, Vec<OpRef>) {
        let unit = TextUnit::CodePoint;
        let settings = Settings { actor: ActorId([1; 16]), unit, limit: DEFAULT_LIMIT };
        let mut body = Body::new(settings);
        let made = body.edit(|edit| -> Result<_, EditError> {
            let text = edit.put_object(ObjId::Root, "text", Kind::Text)?;
            edit.splice_text(text, 0, 0, base)?;
            Ok((text, edit.view()?.elements(text)?))
        });
        let ((text, elements), _) = made.unwrap();
        body.commit(0).unwrap();
        for (at, delete, insert) in others {
            body.edit(|edit| edit.splice_text(text, *at, *delete, insert)).unwrap();
        }
        body.commit(0).unwrap();
        (body, text, elements)
    }

    /// What becomes of it by an edit of the base; and how many steps that takes.
    fn merged(base: &str, others: &[(usize, usize, &str)], to: &str) -> (String, usize) {
        let (mut body, text, elements) = text(base, others);
        let mut merge = Merge::new(elements, base, to);
        let mut steps = 0;
        while !merge.is_done() {
            body.edit(|edit| merge.step(edit, text)).unwrap();
            body.commit(0).unwrap();
            steps += 1;
        }
        (body.view().unwrap().text(text).unwrap(), steps)
    }

    #[test]
    fn what_nobody_else_touched_becomes_what_it_is_to_be() {
        let texts = ["", "a", "one\ntwo\nthree\n", "one\ntoo\nthree", "zwölf\n", "three\ntwo\n\n"];
        for from in texts {
            for to in texts {
                assert_eq!(merged(from, &[], to).0, to, "{from:?}");
            }
        }
    }

    #[test]
    fn what_others_wrote_and_deleted_meanwhile_stays_so() {
        // In another line, before, behind and within what is edited.
        assert_eq!(merged("a\nb\nc\n", &[(0, 1, "A")], "a\nb\nc!\n").0, "A\nb\nc!\n");
        assert_eq!(merged("hello", &[(5, 0, " you")], "hello!").0, "hello! you");
        assert_eq!(merged("hello", &[(0, 0, "> ")], "hello!").0, "> hello!");
        assert_eq!(merged("one two three", &[(4, 0, "X")], "one three").0, "one Xthree");
        // Where what it was beside is gone.
        assert_eq!(merged("hello", &[(4, 1, "p")], "hello!").0, "hellp!");
        assert_eq!(merged("a b c", &[(2, 1, "")], "a b! c").0, "a ! c");
        assert_eq!(merged("a b c", &[(1, 4, "")], "a b! c").0, "a!");
        assert_eq!(merged("abc", &[(0, 3, "")], "abXc").0, "X");
        // Both deleted the same, and more.
        assert_eq!(merged("abcdef", &[(1, 2, "")], "aef").0, "aef");
    }

    #[test]
    fn what_is_too_long_for_one_edit_is_done_in_several() {
        let long: String = (0..120_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
        let to = format!("head {long} tail");
        assert_eq!(merged("head tail", &[(9, 0, "!")], &to), (format!("{to}!"), 3));
        assert_eq!(merged(&to[..90_000], &[(1, 0, "!")], "h"), ("h!".into(), 2));
    }

    #[test]
    fn differences_are_small_where_lines_are_alike_and_whole_where_they_are_not() {
        let of = |from: &str, to: &str| {
            let hunk = |hunk: Hunk| (hunk.old, hunk.new.into_iter().collect::<String>());
            hunks(from, to).into_iter().map(hunk).collect::<Vec<_>>()
        };
        assert_eq!(of("a line\nb\n", "a fine line\nb\n"), [(2..2, "fine ".into())]);
        let new = "another text now\n";
        assert_eq!(of("x\nfirst words\n", &format!("x\n{new}")).len(), 1);
        let (from, to) = ("x\n".repeat(40_000), "y\n".repeat(40_000));
        assert_eq!(of(&from, &to), [(0..79_999, to[..79_999].into())], "one, as it is cheap");
    }
}
