//! Rows, the goals they are judged by, and how both are shown.

use std::collections::BTreeSet;

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use serde::{Deserialize, Serialize};

/// What a ratio, Aether's figure divided by the baseline's, has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// As large as this or larger.
    AtLeast(f64),
    /// Larger than this.
    Over(f64),
    /// As large as this or smaller.
    AtMost(f64),
}

impl Bound {
    fn holds(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(bound) => ratio >= bound,
            Self::Over(bound) => ratio > bound,
            Self::AtMost(bound) => ratio <= bound,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, ">= {bound}"),
            Self::Over(bound) => write!(f, "> {bound}"),
            Self::AtMost(bound) => write!(f, "<= {bound}"),
        }
    }
}

/// A goal: its name is the work and the metric that it judges, and never changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// `work/metric`.
    pub id: &'static str,
    /// What the ratio has to be.
    pub bound: Bound,
}

const fn at_least(id: &'static str, bound: f64) -> Goal {
    Goal { id, bound: Bound::AtLeast(bound) }
}

const fn over(id: &'static str, bound: f64) -> Goal {
    Goal { id, bound: Bound::Over(bound) }
}

const fn at_most(id: &'static str, bound: f64) -> Goal {
    Goal { id, bound: Bound::AtMost(bound) }
}

/// All goals. Each has a row in every complete run of its work.
pub const GOALS: &[Goal] = &[
    at_least("gossip/throughput-64/tcp", 50.0),
    at_least("gossip/throughput-64/quic", 50.0),
    at_most("gossip/latency-express-64/tcp", 1.1),
    at_most("gossip/latency-express-64/quic", 1.1),
    at_least("gossip/throughput-32k/tcp", 1.0),
    at_least("gossip/throughput-32k/quic", 1.0),
    at_most("gossip/bytes-32k/tcp", 0.7),
    at_most("gossip/bytes-32k/quic", 0.7),
    over("service/calls-64-by-1/tcp", 1.0),
    over("service/calls-64-by-1/quic", 1.0),
    over("service/calls-64-by-32/tcp", 1.0),
    over("service/calls-64-by-32/quic", 1.0),
    at_least("service/calls-64-by-256/tcp", 3.0),
    at_least("service/calls-64-by-256/quic", 3.0),
    at_least("blob/speed-from-1/tcp", 0.9),
    at_least("blob/speed-from-1/quic", 0.9),
    at_least("blob/speed-from-1-beside-iroh-blobs/quic", 1.0),
    at_least("crdt/puts-in-batches", 1.0),
    at_least("crdt/puts-from-64", 0.7),
    at_most("crdt/written-per-byte", 3.0),
    at_most("crdt/kept-per-key", 1.0),
    at_most("crdt/sync-0", 1.0),
    at_most("crdt/sync-100", 1.0),
    at_most("documents/apply-cpu", 1.5),
    at_most("documents/typed-memory", 0.2),
    at_most("documents/open-time", 1.2),
    at_most("documents/open-peak", 1.2),
    at_most("documents/many-to-a-new-peer", 1.0),
];

/// One figure of one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured: `gossip`, `service`, `blob`, `crdt` or `documents`.
    pub work: String,
    /// Who was measured.
    pub subject: String,
    /// What the figure is.
    pub metric: String,
    /// The median; `None` if most runs didn't count.
    pub value: Option<f64>,
    /// What `value` counts.
    pub unit: String,
    /// All that has to be known to compare the figure with another.
    pub conditions: String,
    /// The figure divided by the baseline's.
    pub ratio: Option<f64>,
    /// The goal that it is judged by.
    pub goal: Option<String>,
    /// Whether the goal is met; `None` where there is none.
    pub met: Option<bool>,
}

impl Row {
    /// A figure that is compared with no other so far.
    pub fn new(work: &str, subject: &str, metric: &str, unit: &str, value: Option<f64>) -> Self {
        Self {
            work: work.to_owned(),
            subject: subject.to_owned(),
            metric: metric.to_owned(),
            value,
            unit: unit.to_owned(),
            conditions: String::new(),
            ratio: None,
            goal: None,
            met: None,
        }
    }

    /// The same figure with its conditions.
    #[must_use]
    pub fn under(mut self, conditions: &str) -> Self {
        conditions.clone_into(&mut self.conditions);
        self
    }

    /// Compares the figure with a baseline's, and judges it if there is a goal of its name.
    ///
    /// A figure that couldn't be had where the baseline's could doesn't meet the goal. Without a
    /// baseline nothing can be judged, and the goal is left without a row.
    #[must_use]
    pub fn against(mut self, baseline: &Self) -> Self {
        let Some(base) = baseline.value.filter(|base| *base > 0.0) else { return self };
        self.ratio = self.value.map(|value| value / base);
        let id = format!("{}/{}", self.work, self.metric);
        if let Some(goal) = GOALS.iter().find(|goal| goal.id == id) {
            self.met = Some(self.ratio.is_some_and(|ratio| goal.bound.holds(ratio)));
            self.goal = Some(id);
        }
        self
    }
}

/// The median of what was measured: of an even number, the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = values.get(values.len() / 2 - 1)?;
    Some(f64::midpoint(*lower, upper))
}

/// All rows of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Takes a row.
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The rows so far.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Ends the report: each goal of these works that has no row gets one that isn't met. Returns
    /// their names.
    pub fn complete(&mut self, works: &[&str]) -> Vec<&'static str> {
        let judged: BTreeSet<_> = self.rows.iter().filter_map(|row| row.goal.clone()).collect();
        let mut missing = Vec::new();
        for goal in GOALS.iter().filter(|goal| !judged.contains(goal.id)) {
            let Some((work, metric)) = goal.id.split_once('/') else { continue };
            if works.contains(&work) {
                let mut row =
                    Row::new(work, "aether", metric, "", None).under("no row: not measured");
                row.goal = Some(goal.id.to_owned());
                row.met = Some(false);
                self.rows.push(row);
                missing.push(goal.id);
            }
        }
        missing
    }

    /// The rows as a JSON array, one row a line.
    pub fn json(&self) -> serde_json::Result<String> {
        let rows: Vec<_> = self.rows.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        Ok(format!("[\n{}\n]\n", rows.join(",\n")))
    }

    /// The rows as a table; conditions stand below it, numbered.
    pub fn render(&self) -> String {
        let mut notes: Vec<&str> = Vec::new();
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(["metric", "subject", "value", "unit", "ratio", "goal", "met", "note"]);
        for row in &self.rows {
            let known = notes.iter().position(|note| *note == row.conditions);
            let note = known.unwrap_or_else(|| {
                notes.push(&row.conditions);
                notes.len() - 1
            });
            table.add_row(cells(row, note + 1));
        }
        for column in [2, 4] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = table.to_string();
        for (number, note) in notes.iter().enumerate() {
            text.push_str(&format!("\n[{}] {note}", number + 1));
        }
        text
    }
}

fn cells(row: &Row, note: usize) -> Vec<Cell> {
    let goal = row.goal.as_ref().and_then(|id| GOALS.iter().find(|goal| goal.id == id));
    let met = match row.met {
        Some(true) => Cell::new("met").fg(Color::Green),
        Some(false) => Cell::new("not met").fg(Color::Red),
        None => Cell::new(""),
    };
    vec![
        Cell::new(format!("{}/{}", row.work, row.metric)),
        Cell::new(&row.subject),
        Cell::new(row.value.map_or_else(|| "none".to_owned(), figure)),
        Cell::new(&row.unit),
        Cell::new(row.ratio.map_or_else(String::new, figure)),
        Cell::new(goal.map_or_else(String::new, |goal| goal.bound.to_string())),
        met,
        Cell::new(format!("[{note}]")),
    ]
}

/// Three significant digits, or all of the whole ones, in groups of three.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        v if v >= 0.9995 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if digits > 0 || text.len() <= 4 {
        return text;
    }
    let mut grouped = String::new();
    for (place, digit) in text.chars().enumerate() {
        if place > 0 && (text.len() - place) % 3 == 0 {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(subject: &str, metric: &str, value: Option<f64>) -> Row {
        Row::new("gossip", subject, metric, "u", value)
    }

    fn judged(metric: &str, aether: Option<f64>, plain: Option<f64>) -> Row {
        row("aether", metric, aether).against(&row("plain", metric, plain))
    }

    #[test]
    fn medians_are_of_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(vec![9.0, 1.0, 5.0, 6.0]), Some(5.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn a_bound_holds_at_itself() {
        assert_eq!(judged("throughput-64/tcp", Some(500.0), Some(10.0)).met, Some(true));
        assert_eq!(judged("throughput-64/tcp", Some(499.0), Some(10.0)).met, Some(false));
        assert_eq!(judged("bytes-32k/quic", Some(7.0), Some(10.0)).met, Some(true));
        assert_eq!(judged("bytes-32k/quic", Some(7.1), Some(10.0)).met, Some(false));
    }

    #[test]
    fn ahead_is_more_than_equal() {
        let judged = |value| {
            let row = |value| Row::new("service", "aether", "calls-64-by-1/tcp", "u", Some(value));
            row(value).against(&row(10.0)).met
        };
        assert_eq!((judged(10.0), judged(10.1)), (Some(false), Some(true)));
    }

    #[test]
    fn a_figure_without_a_goal_has_a_ratio_only() {
        let row = judged("memory-64/tcp", Some(3.0), Some(2.0));
        assert_eq!((row.ratio, row.goal, row.met), (Some(1.5), None, None));
    }

    #[test]
    fn a_figure_that_could_not_be_had_does_not_meet_its_goal() {
        let row = judged("throughput-64/tcp", None, Some(2.0));
        assert_eq!((row.ratio, row.met), (None, Some(false)));
        let mut report = Report::default();
        report.push(row);
        assert!(!report.complete(&["gossip"]).contains(&"gossip/throughput-64/tcp"));
    }

    #[test]
    fn a_goal_without_a_row_is_missing_and_gets_one_that_is_not_met() {
        let mut report = Report::default();
        for metric in GOALS[1..].iter().filter_map(|goal| goal.id.strip_prefix("gossip/")) {
            report.push(judged(metric, Some(1.0), Some(1.0)));
        }
        assert_eq!(report.complete(&["gossip"]), [GOALS[0].id]);
        let last = report.rows().last().unwrap();
        assert_eq!((last.goal.as_deref(), last.met), (Some(GOALS[0].id), Some(false)));
        assert!(report.complete(&["gossip"]).is_empty(), "now all have one");
    }

    #[test]
    fn without_a_baseline_a_goal_has_no_row() {
        for base in [None, Some(0.0)] {
            let row = judged("throughput-64/tcp", Some(2.0), base);
            assert_eq!((row.ratio, row.goal, row.met), (None, None, None));
        }
    }

    #[test]
    fn goals_of_works_that_did_not_run_are_not_asked_for() {
        assert!(Report::default().complete(&["another"]).is_empty());
    }

    #[test]
    fn goal_names_are_unique_and_belong_to_a_work() {
        let ids: BTreeSet<_> = GOALS.iter().map(|goal| goal.id).collect();
        assert_eq!(ids.len(), GOALS.len());
        let works = ["gossip/", "service/", "blob/", "crdt/", "documents/"];
        assert!(ids.iter().all(|id| works.iter().any(|work| id.starts_with(work))));
    }

    #[test]
    fn rows_survive_json() {
        let mut report = Report::default();
        report.push(judged("bytes-32k/tcp", Some(1.0), Some(2.0)).under("some, \"quoted\""));
        report.push(row("plain", "bytes-32k/tcp", None));
        let json = report.json().unwrap();
        let rows: Vec<Row> = serde_json::from_str(&json).unwrap();
        assert_eq!(rows, report.rows());
        assert!(json.contains("\"value\":null"), "{json}");
    }

    #[test]
    fn the_table_shows_the_judgement_and_each_condition_once() {
        let mut report = Report::default();
        report.push(judged("bytes-32k/tcp", Some(4.0), Some(5.0)).under("eight nodes"));
        report.push(row("plain", "bytes-32k/tcp", Some(5.0)).under("eight nodes"));
        let text = report.render();
        assert!(text.contains("not met") && text.contains("<= 0.7"), "{text}");
        assert_eq!(text.matches("eight nodes").count(), 1, "{text}");
    }

    #[test]
    fn figures_have_three_digits_or_more() {
        let shown = [1_234_567.8, 12_345.0, 1234.0, 99.96, 12.34, 1.5, 0.9996, 0.0123];
        let text = shown.map(figure);
        assert_eq!(text, ["1 234 568", "12 345", "1234", "100", "12.3", "1.50", "1.00", "0.012"]);
    }
}
