//! What is said of a file on its way from one process to another, whoever carries it.
//!
//! The programs in `testnet/peers` that copy a file print a [`Sample`] as JSON.

use serde::{Deserialize, Serialize};

use super::runs::{self, Figure};

const MIB: f64 = 1024.0 * 1024.0;
const GIB: f64 = 1024.0 * MIB;

/// What one run measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes that the getter received, with the carrier's own framing and without the transport's.
    pub received: u64,
    /// Whether what came is what was sent.
    pub is_intact: bool,
    /// From the first request to the last byte in the getter's file.
    pub seconds: f64,
    /// Processor time of all processes meanwhile, in seconds.
    pub cpu_seconds: f64,
    /// The most resident memory of the whole run, of all processes, in bytes.
    pub peak: u64,
}

impl runs::Sample for Sample {
    const TROUBLE: &str = "brought another file";

    fn is_clean(&self) -> bool {
        self.is_intact && self.bytes > 0 && self.received >= self.bytes
    }

    fn summary(&self) -> String {
        let speed = FIGURES[0].2(self);
        format!("{speed:.0} MiB/s, {:.2} CPU s, {} bytes", self.cpu_seconds, self.bytes)
    }
}

/// What is measured of a transfer.
pub(super) const FIGURES: [Figure<Sample>; 4] = [
    ("speed", "MiB/s", |sample| sample.bytes as f64 / MIB / sample.seconds),
    ("excess", "% of the file", |sample| {
        100.0 * sample.received.saturating_sub(sample.bytes) as f64 / sample.bytes as f64
    }),
    ("cpu", "s/GiB", |sample| sample.cpu_seconds * GIB / sample.bytes as f64),
    ("memory-peak", "MiB", |sample| sample.peak as f64 / MIB),
];

#[cfg(test)]
mod tests {
    use runs::Sample as _;

    use super::*;

    #[test]
    fn figures_are_for_each_mebibyte_and_gibibyte() {
        let json = r#"{"bytes":1048576,"received":1572864,"is_intact":true,"seconds":0.5,
            "cpu_seconds":0.25,"peak":3145728}"#;
        let sample: Sample = serde_json::from_str(json).unwrap();
        let figures = FIGURES.map(|(name, _, figure)| (name, figure(&sample)));
        let expected = [("speed", 2.0), ("excess", 50.0), ("cpu", 256.0), ("memory-peak", 3.0)];
        assert_eq!(figures, expected);
    }

    #[test]
    fn a_file_that_is_another_does_not_count() {
        let sample = Sample {
            bytes: 10,
            received: 10,
            is_intact: true,
            seconds: 1.0,
            cpu_seconds: 1.0,
            peak: 1,
        };
        assert!(sample.is_clean());
        assert!(!Sample { is_intact: false, ..sample }.is_clean());
        assert!(!Sample { received: 9, ..sample }.is_clean());
    }
}
