//! Wall-clock time, as it is signed.

use std::{fmt, ops::Add, ops::Sub, time::Duration};

/// Seconds since the Unix epoch, which all nodes agree on within
/// [`CLOCK_SKEW`](super::CLOCK_SKEW).
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Wall(u64);

impl Wall {
    /// So many seconds after the epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs)
    }

    /// Seconds since the epoch.
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it isn't after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Wall {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }
}

impl Sub<Duration> for Wall {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }
}

/// `2026-11-21 10:30 UTC`.
impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: u64 = 24 * 3600;
        let (year, month, day) = civil(self.0 / DAY);
        let minutes = self.0 % DAY / 60;
        let (hour, minute) = (minutes / 60, minutes % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
    }
}

/// Year, month and day in the Gregorian calendar, of a day since 1970. Years are counted from
/// March, so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097; // days in 400 years
    let days = days.saturating_add(719_468); // since 1 March of the year 0
    let (era, of_era) = (days / ERA, days % ERA);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + era * 400 + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_people_write_them() {
        let cases = [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59 UTC"),
            (1_795_257_058, "2026-11-21 10:30 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ];
        for (secs, text) in cases {
            assert_eq!(Wall::from_secs(secs).to_string(), text);
        }
        assert!(!Wall::from_secs(u64::MAX).to_string().is_empty());
    }

    #[test]
    fn arithmetic_saturates() {
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(Wall::from_secs(u64::MAX) + day, Wall::from_secs(u64::MAX));
        assert_eq!(Wall::from_secs(5) - day, Wall::from_secs(0));
        assert_eq!(Wall::from_secs(5).since(Wall::from_secs(9)), Duration::ZERO);
    }
}
