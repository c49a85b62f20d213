//! Runs of one trial, and the rows that come of them.

use crate::report::{Report, Row, median};

/// What a run does, and how one is made.
pub(super) trait Trial: std::fmt::Debug {
    /// What a run measures.
    type Sample: Sample;

    /// Makes one run in a process of its own, all that is random drawn from this seed.
    async fn run(&self, seed: u64) -> anyhow::Result<Self::Sample>;
}

/// What a run measured.
pub(super) trait Sample {
    /// What runs that don't count have done.
    const TROUBLE: &str;

    /// Whether the run counts.
    fn is_clean(&self) -> bool;

    /// The run in a few words, for whoever waits.
    fn summary(&self) -> String;
}

/// A figure of a sample: its name, its unit, and how it is had.
pub(super) type Figure<S> = (&'static str, &'static str, fn(&S) -> f64);

/// All runs of one trial so far.
pub(super) struct Runs<T: Trial> {
    work: &'static str,
    trial: T,
    samples: Vec<T::Sample>,
    failed: u64,
}

impl<T: Trial> Runs<T> {
    pub(super) fn of(work: &'static str, trial: T) -> Self {
        Self { work, trial, samples: Vec::new(), failed: 0 }
    }

    /// Makes another run, with a seed of its own, and says on standard error how it went.
    pub(super) async fn one_more(&mut self) {
        let seed = self.samples.len() as u64 + self.failed;
        eprint!("{}: {:?}: ", self.work, self.trial);
        match self.trial.run(seed).await {
            Ok(sample) => {
                let troubles = if sample.is_clean() { "" } else { " DOESN'T COUNT" };
                eprintln!("{}{troubles}", sample.summary());
                self.samples.push(sample);
            }
            Err(error) => {
                eprintln!("{error:#}");
                self.failed += 1;
            }
        }
    }

    /// What came to its end.
    pub(super) fn samples(&self) -> &[T::Sample] {
        &self.samples
    }

    /// What counts.
    pub(super) fn clean(&self) -> impl Iterator<Item = &T::Sample> {
        self.samples.iter().filter(|sample| sample.is_clean())
    }

    /// The row of one figure: its median over the runs that count, if those are more than half.
    /// No row if no run came to its end.
    pub(super) fn row(
        &self,
        subject: &str,
        metric: &str,
        conditions: &str,
        (_, unit, figure): Figure<T::Sample>,
    ) -> Option<Row> {
        let clean: Vec<f64> = self.clean().map(figure).collect();
        let (ended, count) = (self.samples.len(), clean.len());
        let all = ended as u64 + self.failed;
        if ended == 0 {
            return None;
        }
        let mut conditions = conditions.to_owned();
        if (count as u64) < all {
            let trouble = <T::Sample as Sample>::TROUBLE;
            let troubled = ended - count;
            let failed = self.failed;
            conditions.push_str(&format!(", {troubled} of {all} runs {trouble}, {failed} failed"));
        }
        let value = if 2 * count as u64 > all { median(clean) } else { None };
        Some(Row::new(self.work, subject, metric, unit, value).under(&conditions))
    }
}

/// Makes so many runs of each trial, all trials in turn.
pub(super) async fn take_turns<T: Trial>(rounds: u32, all: &mut [Runs<T>]) {
    for _ in 0..rounds {
        for runs in &mut *all {
            runs.one_more().await;
        }
    }
}

/// Puts the rows into the report, compared with the baseline's, and the baseline's after them.
pub(super) fn compare(
    report: &mut Report,
    base: Option<Row>,
    rows: impl IntoIterator<Item = Option<Row>>,
) {
    for row in rows.into_iter().flatten() {
        report.push(match &base {
            Some(base) => row.against(base),
            None => row,
        });
    }
    if let Some(base) = base {
        report.push(base);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Doubled;

    struct Even(u64);

    impl Sample for Even {
        const TROUBLE: &str = "were odd";

        fn is_clean(&self) -> bool {
            self.0.is_multiple_of(2)
        }

        fn summary(&self) -> String {
            self.0.to_string()
        }
    }

    /// Fails at its first run; the second one counts, the third one doesn't, and so on.
    impl Trial for Doubled {
        type Sample = Even;

        async fn run(&self, seed: u64) -> anyhow::Result<Even> {
            anyhow::ensure!(seed > 0, "the first run fails");
            Ok(Even(seed * 3 - 1))
        }
    }

    const FIGURE: Figure<Even> = ("number", "u", |sample| sample.0 as f64);

    async fn row(rounds: u32) -> Option<Row> {
        let mut all = [Runs::of("gossip", Doubled)];
        take_turns(rounds, &mut all).await;
        all[0].row("aether", "number", "so", FIGURE)
    }

    #[tokio::test]
    async fn runs_that_do_not_count_are_told_and_not_quoted() {
        assert_eq!(row(1).await, None, "no run came to its end");
        let half = row(2).await.unwrap();
        assert_eq!(
            (half.value, half.conditions.as_str()),
            (None, "so, 0 of 2 runs were odd, 1 failed")
        );
        let most = row(4).await.unwrap();
        assert_eq!(most.value, None, "two of four are no majority");
        assert_eq!(most.conditions, "so, 1 of 4 runs were odd, 1 failed");
    }

    #[test]
    fn a_median_is_of_the_runs_that_count() {
        let runs = Runs {
            work: "gossip",
            trial: Doubled,
            samples: [2, 4, 5, 8].map(Even).into(),
            failed: 0,
        };
        let row = runs.row("aether", "number", "so", FIGURE).unwrap();
        assert_eq!((row.value, row.unit.as_str()), (Some(4.0), "u"));
    }
}
