//! All nodes type into one text at once, each at the end of its own paragraph, and now and then
//! strike out a sentence of theirs. In the middle of it one is killed with -9, and started again.
//! In the end all nodes show the same, and each paragraph is as its writer knows it.
//!
//! A writer reads the text with its version, makes of it what it wants, and has the difference
//! merged: what others type meanwhile moves its paragraph, and nothing that it typed goes there.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;

use super::accident::{self, Writer};
use crate::{
    api::{Api, Document},
    lab::{Lab, now},
    report::{float, percentile},
};

const STAGE: &str = "type";

/// How many sentences are typed, unless [`SENTENCES_VARIABLE`] says another number.
const SENTENCES: usize = 400;
const SENTENCES_VARIABLE: &str = "AETHER_TYPE_SENTENCES";

/// After so many sentences a writer strikes one out.
const STRIKE: usize = 4;

const DOCUMENT: &str = "letter";

const WORDS: [&str; 12] = [
    "meadow",
    "über",
    "slowly",
    "seven",
    "lantern",
    "écoute",
    "river",
    "and",
    "then",
    "paper",
    "λόγος",
    "quiet",
];

/// What nodes type, and how far they are.
struct Typing {
    space: String,
    papers: Vec<Paper>,
    acknowledged: Cell<usize>,
    retried: Cell<usize>,
    times: RefCell<Vec<Duration>>,
}

/// One writer's paragraph: all that it is, one edit after the other, and the sentences that are in
/// it in the end.
#[derive(Debug, PartialEq, Eq)]
struct Paper {
    mark: String,
    drafts: Vec<String>,
    sentences: Vec<String>,
}

impl Paper {
    /// What a node types; `draw` gives a number below another.
    fn new(node: usize, count: usize, mut draw: impl FnMut(usize) -> usize) -> Self {
        let (mark, mut sentences) = (format!("[{node:03}]"), Vec::<String>::new());
        let draft = |sentences: &[String]| format!("{mark} {}\n", sentences.concat());
        let mut drafts = vec![draft(&sentences)];
        for number in 0..count {
            let words: Vec<&str> = (0..4 + draw(8)).map(|_| WORDS[draw(WORDS.len())]).collect();
            // Each is there once.
            sentences.push(format!("{node:03}-{number:04} {}. ", words.join(" ")));
            drafts.push(draft(&sentences));
            if (number + 1).is_multiple_of(STRIKE) {
                sentences.remove(draw(sentences.len()));
                drafts.push(draft(&sentences));
            }
        }
        Self { mark, drafts, sentences }
    }

    /// Where the paragraph begins and ends in a text, if it is there.
    fn find(&self, text: &str) -> Option<(usize, usize)> {
        let start = text.find(&self.mark)?;
        let length = text[start..].find('\n').map_or(text.len() - start, |end| end + 1);
        Some((start, start + length))
    }
}

pub(super) async fn run(lab: &mut Lab) -> Result<()> {
    let sentences: usize = match std::env::var(SENTENCES_VARIABLE) {
        Ok(text) => text.parse().with_context(|| format!("{SENTENCES_VARIABLE} is no number"))?,
        Err(_) => SENTENCES,
    };
    let (space, ticket) = lab.cluster.nodes()[0].api()?.create_space("letters").await?;
    for node in &lab.cluster.nodes()[1..] {
        node.api()?.join_space(&ticket).await?;
    }
    let (nodes, each) = (lab.nodes(), sentences.div_ceil(lab.nodes()));
    let papers = (0..nodes).map(|node| Paper::new(node, each, |bound| lab.draw(bound))).collect();
    let (acknowledged, retried) = (Cell::new(0), Cell::new(0));
    let typing = Typing { space, papers, acknowledged, retried, times: RefCell::default() };

    let started = now();
    let edits: usize = typing.papers.iter().map(|paper| paper.drafts.len()).sum();
    let is_half = || typing.acknowledged.get() >= edits / 2;
    accident::amid(lab, |writer| write(&typing, writer), is_half).await?;
    let took = started.elapsed();
    lab.report.measure(STAGE, "edits acknowledged", float(edits), "");
    let rate = float(edits) / took.as_secs_f64().max(0.001);
    lab.report.measure(STAGE, "rate, a kill in between", rate, "edits/s");
    for percent in [50, 99] {
        let millis = percentile(&typing.times.borrow(), percent).as_secs_f64() * 1000.0;
        lab.report.measure(STAGE, &format!("edit until durable, p{percent}"), millis, "ms");
    }
    lab.report.measure(STAGE, "edits tried again", float(typing.retried.get()), "");

    let ended = now();
    let document = wait_until_equal(lab, &typing.space).await?;
    lab.report.time(STAGE, "one version and one text after", ended.elapsed());
    compare(lab, &typing, &document.content.text);
    let mut forked = 0;
    for node in lab.cluster.nodes() {
        forked += node.api()?.space_state(&typing.space).await?.status.forked;
    }
    lab.report.none(STAGE, "forked feeds", forked);
    Ok(())
}

/// Types what is a node's to type. What fails is tried again once the node is back, if it is the
/// one that dies.
async fn write(typing: &Typing, mut writer: Writer) -> Result<()> {
    let node = writer.node;
    for number in 0..typing.papers[node].drafts.len() {
        while let Err(error) = step(typing, node, &writer.api, number).await {
            writer.failed(error, "an edit").await?;
            typing.retried.set(typing.retried.get() + 1);
        }
        typing.acknowledged.set(typing.acknowledged.get() + 1);
    }
    Ok(())
}

/// Makes of a writer's paragraph what it is to be next.
async fn step(typing: &Typing, node: usize, api: &Api, number: usize) -> Result<()> {
    let (paper, space) = (&typing.papers[node], &typing.space);
    let Document { version, content } = api.document(space, DOCUMENT).await?;
    let (text, next) = (content.text, paper.drafts[number].as_str());
    let place = paper.find(&text);
    let there = place.map(|(start, end)| &text[start..end]);
    let before = number.checked_sub(1).map(|before| paper.drafts[before].as_str());
    let started = now();
    match place {
        // What had no answer since the node died was done all the same.
        _ if there == Some(next) => return Ok(()),
        _ if there != before => bail!("node{node} typed {before:?} and finds {there:?}"),
        // The beginning is a place that nobody can move.
        None => api.insert_text(space, DOCUMENT, 0, next).await?,
        Some((start, end)) => {
            let text = [&text[..start], next, &text[end..]].concat();
            api.merge_text(space, DOCUMENT, &version, text).await?;
        }
    }
    typing.times.borrow_mut().push(started.elapsed());
    Ok(())
}

/// Waits until all nodes have one version, which has to be one text, and gives it.
async fn wait_until_equal(lab: &mut Lab, space: &str) -> Result<Document> {
    let (started, timeout) = (now(), lab.timeout());
    loop {
        lab.cluster.check()?;
        let asked = lab.cluster.nodes().iter().map(|node| async {
            let document = node.api()?.document(space, DOCUMENT).await;
            document.with_context(|| format!("{} doesn't give its document", node.name))
        });
        let mut found = try_join_all(asked).await?;
        let is_one_version = found.windows(2).all(|pair| pair[0].version == pair[1].version);
        let document = found.swap_remove(0);
        if is_one_version {
            let others = found.iter().filter(|other| other.content != document.content);
            lab.report.none(STAGE, "other texts of the same version", others.count());
            return Ok(document);
        }
        if started.elapsed() > timeout {
            bail!("different versions of the text after {timeout:?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Reports what of the text isn't as it was typed.
fn compare(lab: &mut Lab, typing: &Typing, text: &str) {
    let (mut missing, mut twice, mut torn, mut typed) = (0, 0, 0, 0);
    for paper in &typing.papers {
        for sentence in &paper.sentences {
            let count = text.matches(sentence.as_str()).count();
            missing += usize::from(count == 0);
            twice += usize::from(count > 1);
        }
        let paragraph = paper.find(text).map(|(start, end)| &text[start..end]);
        let last = paper.drafts.last().map(String::as_str);
        torn += usize::from(paragraph != last);
        typed += last.map_or(0, |last| last.chars().count());
    }
    let chars = text.chars().count();
    lab.report.measure(STAGE, "size of the text", float(chars), "characters");
    lab.report.none(STAGE, "sentences missing", missing);
    lab.report.none(STAGE, "sentences there twice", twice);
    lab.report.none(STAGE, "paragraphs not as they were typed", torn);
    lab.report.none(STAGE, "characters that nobody typed", chars.saturating_sub(typed));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paper(node: usize) -> Paper {
        let mut drawn = node;
        Paper::new(node, 20, |bound| {
            drawn = (drawn * 31 + 7) % 1009;
            drawn % bound
        })
    }

    #[test]
    fn a_writer_types_and_strikes_out_and_knows_what_is_left() {
        let paper = paper(1);
        assert_eq!(paper.drafts.len(), 1 + 20 + 20 / STRIKE);
        assert_eq!(paper.drafts[0], "[001] \n");
        assert_eq!(paper.sentences.len(), 20 - 20 / STRIKE);
        let shorter = paper.drafts.windows(2).filter(|pair| pair[1].len() < pair[0].len());
        assert_eq!(shorter.count(), 20 / STRIKE);
        let last = paper.drafts.last().unwrap();
        assert_eq!(*last, format!("[001] {}\n", paper.sentences.concat()));
        assert!(paper.sentences.iter().all(|sentence| last.matches(sentence).count() == 1));
    }

    #[test]
    fn a_paragraph_is_found_among_others() {
        let (one, other) = (paper(1), paper(12));
        assert_eq!(one.find(""), None);
        let (first, second) = (&other.drafts[3], &one.drafts[5]);
        let text = format!("{first}{second}{first}");
        let (start, end) = one.find(&text).unwrap();
        assert_eq!((start, &text[start..end]), (first.len(), second.as_str()));
    }
}
