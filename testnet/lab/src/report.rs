//! What was measured.

use std::{fmt, fs, io, path::Path, time::Duration};

use serde::Serialize;

/// One measured value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The stage that measured it.
    pub stage: String,
    /// What was measured.
    pub metric: String,
    /// How much of it.
    pub value: f64,
    /// In which unit.
    pub unit: String,
    /// Whether that is as it must be. Always true of what is only reported.
    pub ok: bool,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let precision = if self.value.fract() == 0.0 { 0 } else { 3 };
        let verdict = if self.ok { "" } else { "  <- FAILED" };
        let Self { metric, value, unit, .. } = self;
        write!(f, "  {metric:<34} {value:>12.precision$} {unit}{verdict}")
    }
}

/// The rows of a run, each printed as it comes.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a value that is only reported.
    pub fn measure(&mut self, stage: &str, metric: &str, value: f64, unit: &str) {
        self.check(stage, metric, value, unit, true);
    }

    /// Adds a time, in seconds.
    pub fn time(&mut self, stage: &str, metric: &str, time: Duration) {
        self.measure(stage, metric, time.as_secs_f64(), "s");
    }

    /// Adds a count that must be zero.
    pub fn none(&mut self, stage: &str, metric: &str, count: usize) {
        self.check(stage, metric, float(count), "", count == 0);
    }

    /// Adds a value that must be right.
    pub fn check(&mut self, stage: &str, metric: &str, value: f64, unit: &str, ok: bool) {
        let (stage, metric, unit) = (stage.to_owned(), metric.to_owned(), unit.to_owned());
        let row = Row { stage, metric, value, unit, ok };
        println!("{}", format!("{row}").trim_end());
        self.rows.push(row);
    }

    /// All rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The rows that aren't as they must be.
    pub fn failed(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.ok)
    }

    /// Whether all is as it must be, and anything was tried at all.
    pub fn is_ok(&self) -> bool {
        !self.rows.is_empty() && self.failed().next().is_none()
    }

    /// Whether all rows of a stage are as they must be.
    pub fn is_stage_ok(&self, stage: &str) -> bool {
        self.rows.iter().filter(|row| row.stage == stage).all(|row| row.ok)
    }

    /// Writes the rows as a JSON array, one row a line.
    pub fn write_json(&self, path: &Path) -> io::Result<()> {
        let rows = self.rows.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        fs::write(path, format!("[\n{}\n]\n", rows.join(",\n")))
    }
}

/// A count as a row has it.
#[expect(clippy::cast_precision_loss, reason = "no count comes near 2^52")]
pub(crate) fn float(count: usize) -> f64 {
    count as f64
}

/// The nearest-rank percentile of times in any order: the least of them that `percent` in a
/// hundred don't exceed. Zero if there are none.
pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let times: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(50));
        assert_eq!(percentile(&times, 99), Duration::from_millis(99));
        assert_eq!(percentile(&times, 100), Duration::from_millis(100));
        assert_eq!(percentile(&times[..1], 1), Duration::from_millis(100));
        assert_eq!(percentile(&times[97..], 50), Duration::from_millis(2));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }

    #[test]
    fn one_wrong_row_fails_its_stage_and_the_run() {
        let mut report = Report::default();
        assert!(!report.is_ok(), "a run that tried nothing has shown nothing");
        report.time("form", "time", Duration::from_millis(1500));
        report.none("publish", "missing", 0);
        assert!(report.is_ok());
        report.none("publish", "duplicates", 2);
        assert!(!report.is_ok() && report.is_stage_ok("form") && !report.is_stage_ok("publish"));
        let failed: Vec<_> = report.failed().map(|row| row.metric.as_str()).collect();
        assert_eq!(failed, ["duplicates"]);
    }

    #[test]
    fn rows_print_with_their_verdict() {
        let mut report = Report::default();
        report.time("form", "time", Duration::from_millis(1500));
        report.none("form", "missing", 2);
        let lines: Vec<_> = report.rows().iter().map(ToString::to_string).collect();
        assert!(lines[0].starts_with("  time ") && lines[0].ends_with(" 1.500 s"), "{lines:?}");
        assert!(lines[1].contains(" 2 ") && lines[1].ends_with("FAILED"), "{lines:?}");
    }

    #[test]
    fn the_file_is_an_array_of_rows() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("report.json");
        let mut report = Report::default();
        report.check("form", "members", 4.0, "nodes", true);
        report.none("publish", "missing", 1);
        report.write_json(&file).unwrap();
        let found: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let expected = serde_json::json!([
            {"stage": "form", "metric": "members", "value": 4.0, "unit": "nodes", "ok": true},
            {"stage": "publish", "metric": "missing", "value": 1.0, "unit": "", "ok": false},
        ]);
        assert_eq!(found, expected);
    }
}
