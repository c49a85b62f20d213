use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A text of which each span is kept with its link; lanes are actors, in order.
#[derive(Debug, Default)]
struct Text {
    /// First element, length, what it is behind, link.
    spans: Vec<(Id, u32, Id, Link)>,
}

impl Tree for Text {
    fn span(&self, element: Id) -> Option<(Id, Place)> {
        let holds = |first: Id, len: u32| {
            first.lane == element.lane
                && (first.counter..first.counter + len).contains(&element.counter)
        };
        let span = self.spans.iter().find(|(first, len, ..)| holds(*first, *len))?;
        Some((span.0, Place::Behind(span.2)))
    }

    fn link(&self, first: Id) -> Option<Link> {
        self.spans.iter().find(|span| span.0 == first).map(|span| span.3)
    }

    fn compare(&self, one: Id, other: Id) -> Ordering {
        (one.counter, one.lane).cmp(&(other.counter, other.lane))
    }
}

impl Text {
    fn add(&mut self, first: Id, len: u32, behind: Id) {
        let link = attach(self, behind).unwrap();
        self.spans.push((first, len, behind, link));
    }

    /// All elements as they stand in the text, from the definition.
    fn read(&self) -> Vec<Id> {
        let mut children: BTreeMap<Id, Vec<Id>> = BTreeMap::new();
        for (first, len, behind, _) in &self.spans {
            let mut above = *behind;
            for counter in first.counter..first.counter + len {
                let element = Id { lane: first.lane, counter };
                children.entry(above).or_default().push(element);
                above = element;
            }
        }
        let (mut text, mut stack) = (Vec::new(), vec![Id::NONE]);
        while let Some(element) = stack.pop() {
            text.push(element);
            let mut next = children.remove(&element).unwrap_or_default();
            next.sort_by(|a, b| self.compare(*a, *b));
            stack.extend(next);
        }
        text
    }
}

/// A text of spans by four authors, each behind the head or any element, as if they wrote at once.
fn text(spans: &[(u32, u32, usize)]) -> Text {
    let mut text = Text::default();
    let mut elements = vec![Id::NONE];
    let mut next = [1; 4];
    for (lane, len, behind) in spans {
        let behind = elements[behind % elements.len()];
        // Numbers exceed what they are behind, and needn't exceed those of others.
        let own = &mut next[*lane as usize];
        let counter = (behind.counter + 1).max(*own);
        *own = counter + len;
        let first = Id { lane: *lane, counter };
        text.add(first, *len, behind);
        elements.extend((counter..counter + len).map(|counter| Id { lane: *lane, counter }));
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_stands_before_is_what_a_reader_meets_first(
        spans in proptest::collection::vec((0_u32..4, 1_u32..4, any::<usize>()), 1..24),
    ) {
        let text = text(&spans);
        let read = text.read();
        for (i, one) in read.iter().enumerate() {
            for (j, other) in read.iter().enumerate() {
                let is_before = is_before(&text, *one, *other);
                prop_assert_eq!(is_before, Some(i < j), "{:?} {:?}", one, other);
            }
        }
    }
}

/// A text that counts how often it is asked.
struct Counting<'a>(&'a [Link], std::cell::Cell<usize>);

impl Tree for Counting<'_> {
    fn span(&self, element: Id) -> Option<(Id, Place)> {
        self.1.set(self.1.get() + 1);
        let counter = element.counter.checked_sub(1)?;
        let behind = if counter == 0 { Id::NONE } else { Id { lane: 0, counter } };
        Some((element, Place::Behind(behind)))
    }

    fn link(&self, first: Id) -> Option<Link> {
        self.0.get(first.counter as usize - 1).copied()
    }

    fn compare(&self, one: Id, other: Id) -> Ordering {
        one.cmp(&other)
    }
}

#[test]
fn a_chain_of_a_hundred_thousand_spans_is_climbed_in_few_steps() {
    let mut links = Vec::new();
    for counter in 0..100_000 {
        let behind = if counter == 0 { Id::NONE } else { Id { lane: 0, counter } };
        let link = attach(&Counting(&links, 0.into()), behind).unwrap();
        links.push(link);
    }
    for (one, other) in [(1, 100_000), (50_000, 99_999), (99_998, 99_999), (7, 65_536)] {
        let text = Counting(&links, 0.into());
        let (one, other) = (Id { lane: 0, counter: one }, Id { lane: 0, counter: other });
        assert_eq!(is_before(&text, one, other), Some(true));
        assert_eq!(is_before(&text, other, one), Some(false));
        assert!(text.1.get() < 200, "{} steps", text.1.get());
    }
}

#[test]
fn what_is_in_no_text_is_before_nothing() {
    let text = text(&[(0, 2, 0)]);
    let (there, nowhere) = (Id { lane: 0, counter: 1 }, Id { lane: 3, counter: 9 });
    assert_eq!(is_before(&text, there, nowhere), None);
    assert_eq!(is_before(&text, nowhere, there), None);
    assert_eq!(attach(&text, nowhere), None);
}
