use rand_chacha::rand_core::SeedableRng as _;

use super::*;

struct Fixture {
    breaker: Breaker,
    config: BreakerConfig,
    rng: ChaCha12Rng,
    next: u64,
}

impl Fixture {
    fn new() -> Self {
        Self {
            breaker: Breaker::new(Time::ZERO),
            config: BreakerConfig::default(),
            rng: ChaCha12Rng::seed_from_u64(1),
            next: 1,
        }
    }

    fn begin(&mut self, now: Time, force: bool) -> (AttemptId, Time) {
        let attempt = AttemptId(self.next);
        self.next += 1;
        self.breaker.begin(now, attempt, force);
        (attempt, now)
    }

    fn end(&mut self, now: Time, sent: (AttemptId, Time), verdict: Verdict) -> Option<Change> {
        self.breaker.end(now, sent, verdict, &self.config, &mut self.rng)
    }

    fn attempt(&mut self, now: Time, verdict: Verdict) -> Option<Change> {
        let sent = self.begin(now, false);
        self.end(now, sent, verdict)
    }

    /// Opens it at time zero; answers until when.
    fn open(&mut self) -> Time {
        for _ in 0..5 {
            self.attempt(Time::ZERO, Verdict::Failure);
        }
        let BreakerState::Open { until } = self.breaker.state() else { panic!("open") };
        until
    }
}

#[test]
fn failures_in_a_row_open_it_and_a_success_between_starts_anew() {
    let mut fixture = Fixture::new();
    for verdict in [Verdict::Failure, Verdict::Success, Verdict::Failure] {
        for _ in 0..4 {
            assert_eq!(fixture.attempt(Time::ZERO, verdict), None);
        }
    }
    assert_eq!(fixture.attempt(Time::ZERO, Verdict::Neither), None, "counts neither way");
    let change = fixture.attempt(Time::ZERO, Verdict::Failure);
    assert!(matches!(change, Some(Change::Opened(_))), "{change:?}");
    assert!(!fixture.breaker.admits(Time::ZERO));
}

#[test]
fn a_share_of_failures_opens_it_once_there_are_enough_attempts() {
    let mut fixture = Fixture::new();
    for _ in 0..9 {
        assert_eq!(fixture.attempt(Time::ZERO, Verdict::Failure), None);
        assert_eq!(fixture.attempt(Time::ZERO, Verdict::Success), None);
    }
    assert_eq!(fixture.attempt(Time::ZERO, Verdict::Failure), None, "19 are too few");
    let change = fixture.attempt(Time::ZERO, Verdict::Failure);
    assert!(matches!(change, Some(Change::Opened(_))), "{change:?}");
}

#[test]
fn what_lies_beyond_the_window_is_forgotten() {
    let mut fixture = Fixture::new();
    for _ in 0..9 {
        fixture.attempt(Time::ZERO, Verdict::Success);
        fixture.attempt(Time::ZERO, Verdict::Failure);
    }
    for _ in 0..4 {
        let late = Time::from_millis(10_000);
        assert_eq!(fixture.attempt(late, Verdict::Success), None);
        assert_eq!(fixture.attempt(late, Verdict::Failure), None);
    }
}

#[test]
fn one_probe_goes_through_and_its_success_closes() {
    let mut fixture = Fixture::new();
    let until = fixture.open();
    assert!(until >= Time::from_millis(500) && until <= Time::from_millis(1000), "{until:?}");
    assert!(!fixture.breaker.admits(until - Duration::from_micros(1)));
    assert!(fixture.breaker.admits(until));
    let probe = fixture.begin(until, false);
    assert!(!fixture.breaker.admits(until), "one at a time");
    assert_eq!(fixture.end(until, probe, Verdict::Success), Some(Change::Closed));
    assert!(fixture.breaker.admits(until));
}

#[test]
fn each_failed_probe_doubles_the_time_up_to_the_limit() {
    let mut fixture = Fixture::new();
    let mut until = fixture.open();
    for seconds in [2, 4, 8, 16, 30, 30, 30] {
        let change = fixture.attempt(until, Verdict::Failure);
        let Some(Change::Opened(length)) = change else { panic!("{change:?}") };
        let whole = Duration::from_secs(seconds);
        assert!(length >= whole / 2 && length <= whole, "{length:?} of {whole:?}");
        until = until + length;
    }
}

#[test]
fn a_probe_before_its_time_does_not_double_it() {
    let mut fixture = Fixture::new();
    fixture.open();
    for _ in 0..20 {
        let probe = fixture.begin(Time::ZERO, true);
        let change = fixture.end(Time::ZERO, probe, Verdict::Failure);
        let Some(Change::Opened(length)) = change else { panic!("{change:?}") };
        assert!(length <= Duration::from_secs(1), "{length:?}");
    }
}

#[test]
fn a_probe_that_says_nothing_makes_room_for_another() {
    let mut fixture = Fixture::new();
    let until = fixture.open();
    assert_eq!(fixture.attempt(until, Verdict::Neither), None);
    assert!(fixture.breaker.admits(until));
}

#[test]
fn attempts_from_before_say_nothing() {
    let mut fixture = Fixture::new();
    let early: Vec<_> = (0..10).map(|_| fixture.begin(Time::ZERO, false)).collect();
    let start = Time::from_millis(1);
    for _ in 0..5 {
        fixture.attempt(start, Verdict::Failure);
    }
    assert_eq!(fixture.end(start, early[0], Verdict::Success), None, "only the probe closes it");
    let BreakerState::Open { until } = fixture.breaker.state() else { panic!("open") };
    fixture.attempt(until, Verdict::Success);
    for sent in early {
        assert_eq!(fixture.end(until, sent, Verdict::Failure), None);
    }
    assert!(fixture.breaker.is_closed());
}
