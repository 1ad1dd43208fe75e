//! Reports of samples made by hand.

use super::*;
use crate::relay::Kind;

fn sample(p50: f64, rate: f64) -> Outcome {
    Ended::Done(Sample {
        calls: 1000,
        seconds: 1.0,
        calls_per_second: rate,
        cpu_ms_per_1000: 7.0,
        upstream_cpu_ms_per_1000: None,
        generator_cpu_ms_per_1000: 1.0,
        p50_us: p50,
        p99_us: p50 * 2.0,
        p999_us: p50 * 3.0,
        rss_kib: 2048,
        peak_kib: 4096,
        foreign_cpu: 0.0,
    })
}

#[test]
fn what_is_added_is_taken_round_by_round() {
    let legs = vec![
        (Leg::Direct, vec![sample(100.0, 500.0), sample(300.0, 500.0)]),
        (Leg::Relay(Kind::HyperStream), vec![sample(150.0, 500.0), sample(350.0, 500.0)]),
        (Leg::Gateway, vec![sample(160.0, 500.0), sample(380.0, 500.0)]),
        (Leg::Peer(crate::peers::Peer::Nginx), vec![Ended::No("too | slow".to_owned())]),
    ];
    let report = OpenReport::new(&WORKLOADS[0], true, 500.0, legs);
    assert_eq!(report.floor(), Some(Times { p50: 50.0, p99: 100.0, p999: 150.0 }));
    assert_eq!(report.legs[2].added_us, Some(Times { p50: 70.0, p99: 140.0, p999: 210.0 }));
    assert_eq!(report.failure(), None);
    struct Shown(Vec<OpenReport>);
    impl fmt::Display for Shown {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            table(&self.0, out)
        }
    }
    let text = Shown(vec![report]).to_string();
    for row in [
        "| direct | 200 | 400 | 600 | – | – | – | –, – | 7.00 |",
        "| gateway | 270 | 540 | 810 | 70 | 140 | 210 | 1.40, 1.40 | 7.00 |",
        "| nginx | no: too \\| slow ||||||||",
    ] {
        assert!(text.contains(row), "{text}");
    }
}

#[test]
fn who_does_not_keep_up_has_no_latency() {
    let kept = sustained(sample(1.0, 480.0), 500.0, Leg::Gateway);
    assert!(matches!(kept, Ended::Done(_)));
    let slow = sustained(sample(1.0, 470.0), 500.0, Leg::Gateway);
    assert!(matches!(slow, Ended::No(why) if why == "at 500/s it answered 470/s"));
    let behind = || Ended::Failed("too slow for this rate: 256".to_owned());
    assert!(matches!(sustained(behind(), 500.0, Leg::Gateway), Ended::No(_)));
    assert!(matches!(sustained(behind(), 500.0, Leg::Direct), Ended::Failed(_)));
    let broken = Ended::Failed("wrong answer".to_owned());
    assert!(matches!(sustained(broken, 500.0, Leg::Gateway), Ended::Failed(_)));
}
