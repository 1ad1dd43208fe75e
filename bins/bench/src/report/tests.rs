//! Reports of samples made by hand.

use super::*;
use crate::plan::WORKLOADS;

fn sample(cpu: f64, rate: f64) -> Outcome {
    Ended::Done(Sample {
        calls: 1000,
        seconds: 1.0,
        calls_per_second: rate,
        cpu_ms_per_1000: cpu,
        upstream_cpu_ms_per_1000: None,
        generator_cpu_ms_per_1000: 1.0,
        p50_us: 10.0,
        p99_us: 20.0,
        p999_us: 30.0,
        rss_kib: 2048,
        peak_kib: 4096,
        foreign_cpu: 0.0,
    })
}

fn report(gateway: Vec<Outcome>) -> Report {
    let args = crate::args::Args::read([], &[], &[]).unwrap();
    let mut report = Report::new(&Plan::read(&args).unwrap(), Machine::here());
    let workload = &WORKLOADS[0];
    let relay = workload.legs[1];
    let legs = vec![
        LegReport::new(Leg::Direct, vec![sample(5.0, 100.0), sample(5.0, 100.0)]),
        LegReport::new(relay, vec![sample(10.0, 50.0), sample(20.0, 40.0)]),
        LegReport::new(Leg::Gateway, gateway),
    ];
    report.loads.push(LoadReport::new(workload, 8, legs));
    report
}

#[test]
fn ratios_are_taken_round_by_round() {
    let report = report(vec![sample(12.0, 45.0), sample(28.0, 36.0)]);
    let gateway = &report.loads[0].legs[2];
    let floor = gateway.to_floor.as_ref().unwrap();
    assert!((floor.cpu.unwrap() - 1.3).abs() < 1e-9, "1.2 and 1.4");
    assert!((floor.calls_per_second.unwrap() - 0.9).abs() < 1e-9);
    assert!((gateway.to_direct.as_ref().unwrap().cpu.unwrap() - 4.0).abs() < 1e-9);
    assert!(report.loads[0].legs[1].to_floor.is_none(), "the floor itself");
    assert_eq!(report.failure(), None);
}

#[test]
fn what_cannot_be_started_is_no_and_never_zero() {
    let report = report(vec![Ended::No("there is no | such\nfile".to_owned())]);
    assert_eq!(report.failure(), None);
    let text = report.to_string();
    assert!(text.contains("| 8 | gateway | no: there is no \\| such file |"), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    let leg = &json["loads"][0]["legs"][2];
    assert_eq!((leg["status"].as_str(), leg["median"].is_null()), (Some("no"), true));
}

#[test]
fn a_failure_in_any_round_fails_the_leg() {
    let report = report(vec![sample(12.0, 45.0), Ended::Failed("wrong answer".to_owned())]);
    assert_eq!(report.failure().as_deref(), Some("W1 with 8 sessions, gateway: wrong answer"));
    assert!(report.loads[0].legs[2].median.is_none());
    assert!(report.to_string().contains("failed: wrong answer"));
}

#[test]
fn the_eras_are_summed_up_and_calls_that_wait_have_a_table() {
    let mut report = report(vec![]);
    let workload = WORKLOADS.iter().find(|it| it.name == "E1").unwrap();
    let legs =
        workload.legs.iter().zip([5.0, 10.0, 16.0, 20.0]).map(|(leg, cpu)| {
            LegReport::new(*leg, vec![sample(cpu, 100.0), sample(cpu * 2.0, 50.0)])
        });
    report.loads.push(LoadReport::new(workload, 8, legs.collect()));
    let sample = |seconds, kib| ParkedSample {
        park_seconds: seconds,
        park_cpu_ms_per_1000: 30.0,
        rest_kib: 1024,
        parked_kib: 2048,
        kib_per_call: kib,
        go_on_seconds: 1.0,
        go_on_cpu_ms_per_1000: 20.0,
        after_kib: 1024,
    };
    let done = vec![Ended::Done(sample(1.0, 2.0)), Ended::Done(sample(2.0, 4.0))];
    let failed = vec![Ended::Done(sample(1.0, 2.0)), Ended::Failed("no | question".to_owned())];
    let parked = |leg, ends| ParkedReport::new("a → b".to_owned(), leg, 500, 256, ends);
    report.parked = vec![parked("gateway", done), parked("other", failed)];
    let text = report.to_string();
    for row in [
        "| E1 2026-07-28 → 2026-07-28 | 8 | 7.50 | 15.00 | 24.00 | 30.00 | 4.00 | 2.00 | 1.25 |",
        "| a → b | gateway | 500 | 256 | 1.50 | 30.0 | 1.0 | 3.0 | 1.00 | 20.0 |",
        "| a → b | other | 500 | failed: no \\| question |||||||",
    ] {
        assert!(text.contains(row), "{text}");
    }
    assert_eq!(report.failure().as_deref(), Some("parked, a → b, other: no | question"));
}

#[test]
fn recoveries_are_compared_with_the_first_leg_time_by_time() {
    let times = |leg, ms: &[f64]| {
        let sample = |ms: &f64| Ended::Done(RecoverySample { ms: *ms, failed_attempts: 1 });
        RecoveryReport::new("server killed", "a → b".into(), leg, ms.iter().map(sample).collect())
    };
    let failed = Ended::Failed("wrong | answer".to_owned());
    let other = RecoveryReport::new("server killed", "a → b".into(), "other", vec![failed]);
    let mut legs = vec![times("direct", &[2.0, 4.0]), times("gateway", &[3.0, 8.0]), other];
    compare(&mut legs);
    let mut report = report(vec![]);
    report.recovery = legs;
    let text = report.to_string();
    for row in [
        "| server killed | a → b | direct | 3.0 | 4.0 | – | 1.0 | 2 |",
        "| server killed | a → b | gateway | 5.5 | 8.0 | 1.75 | 1.0 | 2 |",
        "| server killed | a → b | other | failed: wrong \\| answer |||||",
    ] {
        assert!(text.contains(row), "{text}");
    }
    let failure = report.failure().unwrap();
    assert_eq!(failure, "recovery, server killed, a → b, other: wrong | answer");
}
