//! All nodes publish lines of the input, first all at once for the rate and then one message at a
//! time for the latency. Every other node gets each exactly once.

use anyhow::Result;

use crate::{
    lab::Lab,
    report::{float, percentile},
};

const STAGE: &str = "publish";

/// Lines per node; with 50 nodes these are a quarter of a million deliveries.
const LINES: usize = 100;

/// Messages that are timed one by one.
const TIMED: usize = 100;

pub(super) async fn run(lab: &mut Lab) -> Result<()> {
    lab.exchange(STAGE, LINES).await?;
    let mut times = Vec::with_capacity(TIMED);
    for round in 0..TIMED {
        match lab.time_one(round % lab.nodes()).await? {
            Some(time) => times.push(time),
            // One that didn't come may hold up all: it has been waited for long enough.
            None => break,
        }
    }
    lab.report.check(STAGE, "timed deliveries", float(times.len()), "", times.len() == TIMED);
    for percent in [50, 99] {
        let metric = format!("publish to last reader, p{percent}");
        let millis = percentile(&times, percent).as_secs_f64() * 1000.0;
        lab.report.measure(STAGE, &metric, millis, "ms");
    }
    Ok(())
}
