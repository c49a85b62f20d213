//! Rule 7: forwarding.

use super::*;

/// When each of so many envelopes of `hold_above` bytes was forwarded, after it was delivered.
fn holds(config: &Config, count: u64) -> Vec<Duration> {
    let mut fixture = Fixture::new(config.clone());
    let size = config.hold_above - OVERHEAD;
    let mut holds = Vec::new();
    for number in 1..=count {
        fixture.gossip(ALICE, &sized(AUTHOR, number, size));
        assert_eq!(fixture.delivered(), [(number, 0)], "delivered at once");
        let start = fixture.now;
        let verdicts = loop {
            let verdicts = fixture.verdicts();
            if !verdicts.is_empty() {
                break verdicts;
            }
            fixture.pass_ms(1);
        };
        assert_eq!(verdicts, [Verdict::Accept]);
        holds.push(fixture.now.since(start));
    }
    holds
}

#[test]
fn a_large_envelope_is_delivered_at_once_and_forwarded_a_random_moment_later() {
    let config = Config::default();
    let holds = holds(&config, 200);
    let (least, most) = (holds.iter().min().unwrap(), holds.iter().max().unwrap());
    let (quarter, span) = (config.least_hold / 4, config.most_hold - config.least_hold);
    assert!(config.least_hold <= *least && *most <= config.most_hold + Duration::from_millis(1));
    assert!(*least <= config.least_hold + quarter, "{least:?}");
    assert!(*most >= config.least_hold + span * 3 / 4, "{most:?}");
}

#[test]
fn a_small_envelope_is_forwarded_at_once() {
    let mut fixture = Fixture::new(Config::default());
    let size = Config::default().hold_above - OVERHEAD - 1;
    fixture.gossip(ALICE, &sized(AUTHOR, 1, size));
    assert_eq!(fixture.verdicts(), [Verdict::Accept]);
}

#[test]
fn the_one_that_is_due_first_is_forwarded_first() {
    let mut fixture = Fixture::new(Config::default());
    let size = Config::default().hold_above;
    for number in 1..=50 {
        fixture.gossip(ALICE, &sized(AUTHOR, number, size));
    }
    let mut forwarded = 0;
    while let Some(due) = fixture.inbox.held_back.due() {
        assert_eq!(fixture.inbox.poll_timeout().map(|at| at <= due), Some(true));
        fixture.now = due;
        fixture.handle(Input::Timeout);
        forwarded += 1;
    }
    assert_eq!(fixture.verdicts().len(), 50);
    assert!(forwarded > 40, "each at its own time: {forwarded}");
}
