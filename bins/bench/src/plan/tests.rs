//! Command lines, and what they ask for.

use super::*;

fn read(line: &str) -> Result<Plan> {
    let words = line.split_whitespace().map(str::to_owned);
    Plan::read(&Args::read(words, &VALUED, &FLAGS)?)
}

#[test]
fn one_name_may_stand_for_several_sizes() {
    let plan = read("--workload W2,cold").unwrap();
    let names: Vec<_> = plan.workloads.iter().map(|it| it.name).collect();
    assert_eq!(names, ["W2-64K", "W2-1M"]);
    assert!(plan.cold && !plan.idle);
    let eras = read("--workload eras,parked").unwrap();
    let names: Vec<_> = eras.workloads.iter().map(|it| it.name).collect();
    assert_eq!(names, ["E1", "E2", "E3", "E4", "E5", "E6", "E7", "E1-64K", "E4-64K", "E6-64K"]);
    assert!(eras.parked && !plan.parked);
}

#[test]
fn what_does_not_translate_has_a_server_of_its_clients_era() {
    use Wire::{Modern, ModernStdio, Sse, Stdio, Streamable};
    let relay = Leg::Relay(Kind::HyperStream);
    for (front, behind, beside, legacy) in [
        (Modern, ModernStdio, (Modern, ModernStdio), (Streamable, Stdio)),
        (Modern, Stdio, (Modern, ModernStdio), (Streamable, Stdio)),
        (Modern, Sse, (Modern, Modern), (Streamable, Sse)),
        (Streamable, Modern, (Streamable, Streamable), (Streamable, Streamable)),
        (Sse, Stdio, (Sse, Stdio), (Sse, Stdio)),
    ] {
        assert_eq!(Leg::Direct.wires(front, behind), beside);
        assert_eq!(relay.wires(front, behind), beside);
        assert_eq!(Leg::Legacy.wires(front, behind), legacy);
        assert_eq!(Leg::Gateway.wires(front, behind), (front, behind));
    }
}

#[test]
fn every_workload_has_a_floor_beside_it() {
    for workload in WORKLOADS.iter().filter(|it| it.name != "W12") {
        let relays: Vec<_> = workload
            .legs
            .iter()
            .filter_map(|leg| match leg {
                Leg::Relay(kind) => Some(*kind),
                _ => None,
            })
            .collect();
        let floor = if workload.behind.is_child() { Kind::StdioShared } else { Kind::HyperStream };
        assert_eq!(relays.first(), Some(&floor), "{}", workload.name);
        let pair = relays.contains(&Kind::HyperPair);
        let eras = workload.name.starts_with('E') || workload.name.starts_with("W7");
        assert_eq!(pair, !workload.behind.is_child() && !eras, "{}", workload.name);
    }
}

#[test]
fn without_options_the_whole_first_version_is_measured() {
    let plan = read("").unwrap();
    let names: Vec<_> = plan.workloads.iter().map(|it| it.name).collect();
    assert_eq!(names, ["W1", "W3", "W4", "W5"]);
    assert!(plan.cold && plan.idle && !plan.slope && !plan.recovery);
    assert_eq!(plan.gateway.file_name().unwrap(), "gateway");
}

#[test]
fn what_is_unknown_or_beyond_a_limit_is_refused() {
    for line in [
        "--workload W",
        "--workload W13",
        "--sessions 0",
        "--sessions 10001",
        "--slope-sessions 0",
        "--parked-calls 0",
        "--parked-calls 15001",
        "--rounds 0",
        "--seconds 0",
        "--seconds 601",
        "--lie maybe",
        "--peers somebody",
        "--cold-servers 101",
        "--threads 0",
        "--rate 0",
        "--call-timeout 0",
    ] {
        assert!(matches!(read(line), Err(Failure::Usage(_))), "{line}");
    }
}
