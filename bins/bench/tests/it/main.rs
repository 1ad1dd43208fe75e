//! The program from outside: short loads over every wire, and upstreams that lie.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::process::{Command, Output};

use serde_json::Value;

/// Runs the harness with a load so short that its figures mean nothing, and its checks all.
fn run(args: &[&str]) -> (Output, Option<Value>) {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_gateway-bench"))
        .args(["run", "--seconds=0.2", "--rounds=1", "--gateway=/no/such/gateway"])
        .arg(format!("--json={}", json.display()))
        .args(args)
        .output()
        .unwrap();
    let report = std::fs::read(json).ok().map(|it| serde_json::from_slice(&it).unwrap());
    (output, report)
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_wire_carries_calls_directly_and_through_its_relays() {
    let (output, report) = run(&["--workload=W1,W2,W3,W4,W5,P1,P3", "--sessions=3"]);
    assert!(output.status.success(), "{}", errors(&output));
    let report = report.unwrap();
    let loads = report["loads"].as_array().unwrap();
    assert_eq!(loads.len(), 8);
    for load in loads {
        for leg in load["legs"].as_array().unwrap() {
            let name = format!("{} {}", load["workload"], leg["leg"]);
            if leg["leg"] == "gateway" {
                assert_eq!(leg["status"], "no", "{name}");
                assert!(leg["median"].is_null(), "{name}: {leg}");
                continue;
            }
            assert_eq!(leg["status"], "ok", "{name}: {leg}");
            let round = &leg["rounds"][0];
            assert!(round["calls"].as_u64().unwrap() > 0, "{name}: {round}");
            assert!(round["p50_us"].as_f64().unwrap() > 0.0, "{name}: {round}");
            assert!(round["rss_kib"].as_u64().unwrap() > 0, "{name}: {round}");
        }
    }
}

#[test]
fn a_pool_of_connections_carries_them_too() {
    let args =
        ["--workload=W1,W3", "--sessions=2", "--relay-connections=pool", "--legs=hyper-stream"];
    let (output, report) = run(&args);
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(report.unwrap()["loads"][1]["legs"][0]["status"], "ok");
}

#[test]
fn wrong_answers_fail_the_run_on_every_wire() {
    for lie in ["--lie=id", "--lie=content"] {
        for workload in ["--workload=W1", "--workload=W3", "--workload=W4", "--workload=W5"] {
            for leg in ["direct", "hyper-stream", "hyper-collect", "stdio-shared"] {
                let (output, report) = run(&[
                    lie,
                    workload,
                    "--sessions=1",
                    "--call-timeout=1",
                    &format!("--legs={leg}"),
                ]);
                let report = report.unwrap();
                let legs = report["loads"][0]["legs"].as_array().unwrap();
                // Not every workload has every leg.
                let Some(found) = legs.first() else { continue };
                let name = format!("{lie} {workload} {leg}: {}", errors(&output));
                assert!(!output.status.success(), "{name}");
                assert_eq!(found["status"], "failed", "{name}");
                // A child shared by all loses an answer with a wrong id: its caller waits in vain.
                let reason = found["reason"].as_str().unwrap();
                assert!(
                    reason.contains("wrong answer") || reason.contains("took longer"),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn idle_sessions_and_cold_starts_are_measured() {
    let args = ["--workload=idle,cold", "--idle-sessions=20", "--cold-servers=1,3"];
    let (output, report) = run(&args);
    assert!(output.status.success(), "{}", errors(&output));
    let report = report.unwrap();
    let idle = report["idle"].as_array().unwrap();
    let relay = &idle[0]["outcome"]["done"];
    assert!(relay["rest_kib"].as_u64().unwrap() > 0, "{idle:?}");
    assert!(relay["full_kib"].as_u64() >= relay["rest_kib"].as_u64(), "{idle:?}");
    assert!(idle[1]["outcome"]["no"].is_string(), "{idle:?}");
    for cold in report["cold"].as_array().unwrap() {
        let measured = cold["leg"] != "gateway";
        assert_eq!(cold["status"] == "ok", measured, "{cold}");
        assert_eq!(cold["first_list_ms"].as_f64().is_some_and(|it| 0.0 < it), measured, "{cold}");
    }
}

#[test]
fn a_gateway_that_is_required_must_start() {
    let args = ["--workload=W1", "--sessions=1", "--legs=gateway", "--require-gateway"];
    let (output, _) = run(&args);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("/no/such/gateway"), "{}", errors(&output));
}

#[test]
fn what_is_not_understood_ends_with_2_and_the_usage() {
    for args in [&["--wat"][..], &["--workload=W99"]] {
        let (output, report) = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(errors(&output).contains("usage:") && report.is_none(), "{args:?}");
    }
}
