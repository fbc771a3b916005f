//! The state machine, case by case and by properties.

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

/// A budget of 1,000 units of fuel a second and half a processor over 12 seconds, with slots of one second.
fn budget() -> Budget {
    Budget {
        fuel_per_call: 100_000,
        fuel_per_second: 1_000,
        cpu_share: 50,
        rate_window: Duration::from_secs(12),
        throttle_limit: Duration::from_mins(2),
        ..Budget::default()
    }
}

fn call(at_seconds: u64, fuel: u64) -> Spent {
    Spent { began_at: at_seconds * SECOND, fuel, ..Spent::default() }
}

/// The word of the state after, if there is a transition.
fn word(transition: Option<Transition>) -> Option<&'static str> {
    transition.map(|transition| transition.to.word())
}

#[test]
fn an_extension_within_its_budgets_is_healthy_and_no_transition_is_made() {
    let mut standing = Standing::new(&Budget::default());
    for second in 0..1000 {
        let spent = Spent { cpu_nanos: SECOND / 2, elapsed_nanos: SECOND, ..call(second, 1_000_000) };
        assert_eq!(standing.ended(&spent, End::Answered), None);
    }
    // A whole processor, day and night, is what the default allows; it is warned of.
    let mut busy = Standing::new(&Budget::default());
    for second in 0..1000 {
        let spent = Spent { cpu_nanos: SECOND, elapsed_nanos: SECOND, ..call(second, 1_000_000) };
        busy.ended(&spent, End::Answered);
    }
    assert_eq!(busy.state().word(), "warned");
}

#[test]
fn each_budget_warns_at_its_share_and_says_so() {
    let check = |spent: Spent, expect: Option<&str>| {
        let mut standing = Standing::new(&budget());
        let found = standing.ended(&spent, End::Answered).map(|transition| {
            assert_eq!((transition.from, transition.to.word()), ("healthy", "warned"));
            transition.evidence.to_string()
        });
        assert_eq!(found.as_deref(), expect);
    };
    let none = Spent::default();
    check(Spent { fuel: 9_599, ..none }, None);
    check(
        Spent { fuel: 9_600, ..none },
        Some("9.60 k of fuel in 12.00 s, 80 % of budget.fuel_per_second (12.0 k in 12.00 s)"),
    );
    check(Spent { elapsed_nanos: 4 * SECOND - 1, ..none }, None);
    check(Spent { elapsed_nanos: 4 * SECOND, ..none }, Some("a call took 4.00 s, 80 % of budget.deadline (5.00 s)"));
    check(
        Spent { memory_bytes: 60 << 20, ..none },
        Some("it has 60.0 MiB of memory, 93 % of budget.memory (64.0 MiB)"),
    );
    check(
        Spent { cpu_nanos: 5 * SECOND, elapsed_nanos: SECOND, ..none },
        Some("5.00 s of CPU in 12.00 s, 83 % of budget.cpu_share (6.00 s in 12.00 s)"),
    );
}

#[test]
fn a_warning_ends_when_a_window_has_passed_without_its_cause() {
    let mut standing = Standing::new(&budget());
    standing.ended(&Spent { elapsed_nanos: 4 * SECOND, ..Spent::default() }, End::Answered).expect("a warning");
    assert_eq!(standing.ended(&call(10, 1), End::Answered), None);
    assert_eq!(standing.passed(16 * SECOND - 1), None);
    assert_eq!(word(standing.passed(16 * SECOND)), Some("healthy"));
    // Memory does not go away by itself.
    let large = |at| Spent { memory_bytes: 60 << 20, ..call(at, 1) };
    assert_eq!(word(standing.ended(&large(20), End::Answered)), Some("warned"));
    assert_eq!(standing.passed(200 * SECOND), None);
    standing.instance_gone();
    assert_eq!(word(standing.passed(200 * SECOND)), Some("healthy"));
}

#[test]
fn much_memory_hides_no_other_warning_and_outlasts_it() {
    let mut standing = Standing::new(&budget());
    let budget_of = |step: Option<Transition>| step.map(|step| (step.to.word(), step.evidence.budget));
    let large = |at, seconds| Spent { memory_bytes: 60 << 20, elapsed_nanos: seconds * SECOND, ..call(at, 1) };
    assert_eq!(budget_of(standing.ended(&large(1, 0), End::Answered)), Some(("warned", "budget.memory")));
    assert_eq!(standing.ended(&large(2, 0), End::Answered), None);
    assert_eq!(budget_of(standing.ended(&large(3, 4), End::Answered)), Some(("warned", "budget.deadline")));
    // In turns they are one warning.
    for at in [8, 14, 20] {
        assert_eq!(standing.ended(&large(at, 0), End::Answered), None);
        assert_eq!(standing.ended(&large(at + 1, 4), End::Answered), None);
    }
    assert_eq!(standing.passed(25 * SECOND), None);
    assert_eq!(budget_of(standing.passed(60 * SECOND)), Some(("warned", "budget.memory")));
    assert_eq!(standing.passed(90 * SECOND), None);
    standing.instance_gone();
    assert_eq!(budget_of(standing.passed(91 * SECOND)), Some(("healthy", "budget.memory")));
}

#[test]
fn a_step_to_healthy_says_what_it_had_been_for() {
    let mut standing = Standing::new(&budget());
    let large = Spent { memory_bytes: 60 << 20, ..call(1, 1) };
    let warned = standing.ended(&large, End::Answered).expect("a warning");
    standing.instance_gone();
    let healthy = standing.passed(100 * SECOND).expect("the memory is gone");
    assert_eq!((healthy.from, healthy.to.word(), healthy.evidence.budget), ("warned", "healthy", "budget.memory"));
    assert_eq!(healthy.evidence, warned.evidence);
    let throttled = standing.ended(&call(200, 12_001), End::Answered).expect("it is over");
    let healthy = standing.passed(300 * SECOND).expect("its use has fallen");
    assert_eq!((healthy.from, healthy.to.word()), ("throttled", "healthy"));
    assert_eq!((healthy.evidence.used, &healthy.evidence), (12_001, &throttled.evidence));
}

#[test]
fn over_its_rate_an_extension_is_throttled_until_its_use_has_fallen() {
    let mut standing = Standing::new(&budget());
    let transition = standing.ended(&call(100, 12_001), End::Answered).expect("it is over");
    assert_eq!((transition.from, transition.to.word()), ("healthy", "throttled"));
    let text = "12.0 k of fuel in 12.00 s, 100 % of budget.fuel_per_second (12.0 k in 12.00 s)";
    assert_eq!(transition.evidence.to_string(), text);
    // 12,001 units at nine tenths of 1,000 a second.
    assert_eq!(standing.wait(100 * SECOND).as_millis(), 13_334);
    assert_eq!(standing.passed(113 * SECOND), None, "the window is empty, but the call is not paid for");
    assert_eq!(word(standing.passed(114 * SECOND)), Some("healthy"));
    assert_eq!(standing.wait(114 * SECOND), Duration::ZERO);
}

#[test]
fn a_long_call_counts_where_it_ran() {
    let mut standing = Standing::new(&budget());
    // A minute at half a processor: half a second a second, which is all that it may use, and not over it.
    let minute = Spent { cpu_nanos: 30 * SECOND, elapsed_nanos: 60 * SECOND, ..call(1000, 1) };
    assert_eq!(word(standing.ended(&minute, End::Answered)), Some("warned"));
    assert_eq!(standing.uses().in_window(Rate::Cpu, 1060 * SECOND), 5_500_000_000);
    assert_eq!(standing.uses().in_window(Rate::Cpu, 1065 * SECOND), 3_000_000_000);
    assert_eq!(standing.uses().in_window(Rate::Cpu, 1100 * SECOND), 0);
}

#[test]
fn failures_in_a_row_lead_to_quarantine_and_a_probe_leads_out_of_it() {
    let mut standing = Standing::new(&budget());
    let fail = |standing: &mut Standing, at| standing.ended(&call(at, 1), End::Failed("it broke"));
    assert_eq!(fail(&mut standing, 1), None);
    assert_eq!(fail(&mut standing, 2), None);
    assert_eq!(standing.ended(&call(3, 1), End::Answered), None, "a success between");
    assert_eq!((fail(&mut standing, 4), fail(&mut standing, 5)), (None, None));
    assert_eq!(standing.ended(&call(6, 1), End::Void), None, "what says nothing changes nothing");
    let transition = fail(&mut standing, 7).expect("the third");
    assert_eq!(transition.evidence.to_string(), "3 failures in a row, the last one: it broke");
    assert_eq!(standing.begin(36 * SECOND), Err(Duration::from_secs(1)));
    assert_eq!(word(standing.begin(37 * SECOND).expect("time is over")), Some("probing"));
    let transition = fail(&mut standing, 38).expect("the probe");
    assert_eq!(transition.evidence.to_string(), "the probe failed: it broke");
    assert_eq!(standing.begin(97 * SECOND), Err(Duration::from_secs(1)), "twice as long");
    assert!(standing.begin(98 * SECOND).is_ok());
    assert_eq!(word(standing.ended(&call(99, 1), End::Answered)), Some("healthy"));
}

#[test]
fn what_goes_on_asking_for_more_than_its_rate_is_quarantined() {
    let mut standing = Standing::new(&budget());
    let (mut now, mut words) = (0, Vec::new());
    while now < 1000 * SECOND && words.last() != Some(&"quarantined") {
        now += (standing.wait(now).as_nanos() as u64).max(SECOND / 10);
        words.extend(word(standing.passed(now)));
        words.extend(word(standing.ended(&Spent { began_at: now, fuel: 500, ..Spent::default() }, End::Answered)));
    }
    assert_eq!(words, ["warned", "throttled", "quarantined"], "throttling does not come and go");
    let evidence = standing.state().evidence().expect("evidence").to_string();
    assert!(evidence.starts_with("throttled for 120.") && evidence.contains("budget.fuel_per_second"), "{evidence}");
}

#[test]
fn release_ends_any_state_and_forgets_what_led_to_it() {
    let mut standing = Standing::new(&budget());
    assert_eq!(standing.release(), None);
    for _ in 0..3 {
        standing.ended(&call(1, 1), End::Failed("it broke"));
    }
    let transition = standing.release().expect("it was quarantined");
    assert_eq!((transition.from, transition.to), ("quarantined", State::Healthy));
    assert!(transition.evidence.to_string().contains("it broke"));
    assert_eq!(standing.begin(2 * SECOND), Ok(None));
    assert_eq!(word(standing.ended(&call(2, 20_000), End::Answered)), Some("throttled"));
    assert_eq!(word(standing.release()), Some("healthy"));
    assert_eq!(standing.ended(&call(3, 1), End::Answered), None, "what was used is forgotten");
}

#[test]
fn another_budget_holds_from_the_next_call_on() {
    let mut standing = Standing::new(&budget());
    standing.ended(&call(1, 20_000), End::Answered).expect("over the rate");
    standing.configure(&Budget { fuel_per_second: 1_000_000, ..budget() });
    assert_eq!(standing.wait(SECOND), Duration::ZERO);
    assert_eq!(word(standing.passed(SECOND)), Some("healthy"));
}

/// Something that happens to an extension.
#[derive(Clone, Debug)]
enum Happening {
    Call { fuel: u64, cpu_millis: u64, elapsed_millis: u64, memory: u64, end: u8 },
    Time { millis: u64 },
    Release,
    Configure { fuel_per_second: u64, window: u64 },
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => (0..30_000_u64, 0..10_000_u64, 0..10_000_u64, 0..(1_u64 << 27), 0..6_u8).prop_map(
            |(fuel, cpu_millis, elapsed_millis, memory, end)| {
                Happening::Call { fuel, cpu_millis, elapsed_millis, memory, end }
            }
        ),
        4 => (0..90_000_u64).prop_map(|millis| Happening::Time { millis }),
        1 => Just(Happening::Release),
        1 => (1..5_000_u64, 1..60_u64)
            .prop_map(|(fuel_per_second, window)| Happening::Configure { fuel_per_second, window }),
    ]
}

proptest! {
    #[test]
    fn the_rules_hold_whatever_happens(happenings in prop::collection::vec(happening(), 1..300)) {
        let mut standing = Standing::new(&budget());
        let mut now = 0_u64;
        let mut quarantines: Vec<u64> = Vec::new();
        for happening in happenings {
            let before = standing.state().clone();
            let mut transitions = Vec::new();
            let released = matches!(happening, Happening::Release);
            match happening {
                Happening::Time { millis } => {
                    now += millis * 1_000_000;
                    transitions.extend(standing.passed(now));
                }
                Happening::Release => {
                    transitions.extend(standing.release());
                    quarantines.clear();
                }
                Happening::Configure { fuel_per_second, window } => {
                    let rate_window = Duration::from_secs(window);
                    standing.configure(&Budget { fuel_per_second, rate_window, ..budget() });
                }
                Happening::Call { fuel, cpu_millis, elapsed_millis, memory, end } => {
                    now += standing.wait(now).as_nanos() as u64;
                    match standing.begin(now) {
                        Err(left) => {
                            let until_now = matches!(before, State::Quarantined { until, .. } if until - now == left.as_nanos() as u64);
                            prop_assert!(until_now, "only a quarantine refuses, and says for how long");
                        }
                        Ok(probe) => {
                            transitions.extend(probe);
                            prop_assert!(standing.state().word() != "quarantined");
                            let spent = Spent {
                                began_at: now,
                                elapsed_nanos: elapsed_millis * 1_000_000,
                                fuel,
                                cpu_nanos: cpu_millis * 1_000_000,
                                memory_bytes: memory,
                            };
                            now += spent.elapsed_nanos;
                            let end = match end { 0..3 => End::Answered, 3..5 => End::Failed("it broke"), _ => End::Void };
                            transitions.extend(standing.ended(&spent, end));
                            if end == End::Answered {
                                quarantines.clear();
                            }
                        }
                    }
                }
            }
            let mut from = before;
            for transition in transitions {
                prop_assert_eq!(transition.from, from.word(), "no state is skipped");
                if transition.from == transition.to.word() {
                    let of_memory = |state: &State| matches!(state, State::Warned { evidence, .. } if is_of_memory(evidence));
                    prop_assert_ne!(of_memory(&from), of_memory(&transition.to), "it is warned of another thing");
                }
                prop_assert!(!transition.evidence.to_string().is_empty() && transition.evidence.limit > 0);
                match (&from, &transition.to) {
                    (State::Quarantined { until, .. }, to) => {
                        let is_over = matches!(to, State::Probing { .. }) && *until <= now;
                        let is_released = released && *to == State::Healthy;
                        prop_assert!(is_over || is_released, "only time and release lead out of quarantine");
                    }
                    (from, State::Probing { .. }) => prop_assert!(false, "{from:?} is no quarantine"),
                    (State::Probing { .. }, to) => {
                        prop_assert!(matches!(to, State::Healthy | State::Quarantined { .. }), "{to:?}");
                    }
                    _ => {}
                }
                if let State::Quarantined { since, until, .. } = transition.to {
                    let times = (until - since) / nanos(budget().quarantine);
                    let expect = quarantines.last().map_or(1, |last| (last * 2).min(u64::from(LONGEST_QUARANTINE)));
                    prop_assert_eq!(times, expect);
                    quarantines.push(times);
                }
                from = transition.to;
            }
            prop_assert_eq!(standing.state().word(), from.word());
        }
    }

    #[test]
    fn what_waits_as_told_comes_to_its_rate_and_no_more(costs in prop::collection::vec(1..20_000_u64, 200..400)) {
        let mut standing = Standing::new(&Budget { throttle_limit: Duration::from_hours(24), ..budget() });
        let (mut now, mut used) = (0_u64, 0_u64);
        let most = *costs.iter().max().expect("there are some");
        for fuel in costs {
            standing.passed(now);
            now += standing.wait(now).as_nanos() as u64;
            standing.ended(&Spent { began_at: now, fuel, ..Spent::default() }, End::Answered);
            used += fuel;
        }
        let allowed = now / SECOND * 1_000 + 12_000 + most;
        prop_assert!(used <= allowed, "{used} of {allowed} in {} s", now / SECOND);
    }

    #[test]
    fn a_window_holds_what_was_used_in_it(calls in prop::collection::vec((0..5_000_u64, 0..3_000_u64, 0..100_u64), 1..100)) {
        let uses = Uses::new(Duration::from_secs(12));
        let (mut now, mut known) = (0_u64, Vec::new());
        for (gap_millis, elapsed_millis, used) in calls {
            let from = now + gap_millis * 1_000_000;
            now = from + elapsed_millis * 1_000_000;
            uses.note(from, now, [used, 0], [0; CALL_BUDGETS]);
            known.push((from, now, used));
            let oldest = (now / SECOND + 1).saturating_sub(SLOTS as u64) * SECOND;
            let within: u64 = known.iter().filter(|(from, ..)| *from >= oldest).map(|(.., used)| used).sum();
            let touching: u64 = known.iter().filter(|(_, to, _)| *to >= oldest).map(|(.., used)| used).sum();
            let sum = uses.sum(Rate::Fuel);
            prop_assert_eq!(sum, uses.in_window(Rate::Fuel, now));
            // Of what is spread over slots, the fractions are left out.
            let fractions = SLOTS as u64 * known.len() as u64;
            prop_assert!(sum <= touching && sum + fractions >= within, "{within} <= {sum} <= {touching}");
        }
    }
}

const SLOTS: usize = 12;
