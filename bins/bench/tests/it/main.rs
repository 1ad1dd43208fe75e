//! The program from outside: short loads over every wire, and upstreams that lie.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

use serde_json::Value;

/// Runs the harness with a load so short that its figures mean nothing, and its checks all.
fn run(args: &[&str]) -> (Output, Option<Value>) {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let none = !args.iter().any(|it| it.starts_with("--gateway"));
    let output = Command::new(env!("CARGO_BIN_EXE_gateway-bench"))
        .args(["run", "--seconds=0.2", "--rounds=1"])
        .arg(format!("--json={}", json.display()))
        .args(args)
        .args(none.then_some("--gateway=/no/such/gateway"))
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
fn both_eras_are_spoken_directly_and_through_the_relays() {
    let (output, report) = run(&["--workload=eras,parked", "--sessions=3", "--parked-calls=10"]);
    assert!(output.status.success(), "{}", errors(&output));
    let report = report.unwrap();
    let loads = report["loads"].as_array().unwrap();
    assert_eq!(loads.len(), 10);
    for load in loads {
        for leg in load["legs"].as_array().unwrap() {
            let is_gateway = leg["leg"].as_str().unwrap().starts_with("gateway");
            let expected = if is_gateway { "no" } else { "ok" };
            assert_eq!(leg["status"], expected, "{} {leg}", load["workload"]);
            assert!(is_gateway || 0 < leg["rounds"][0]["calls"].as_u64().unwrap(), "{leg}");
        }
    }
    assert_eq!(report["parked"][0]["status"], "no", "{}", report["parked"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("| E7 Streamable → 2026-07-28 over stdio | 3 |"), "{text}");
}

/// A gateway in four lines: it has the command line, the configuration and the routes of ours.
fn small_gateway(folder: &std::path::Path) -> String {
    let gateway = folder.join("gateway");
    let script = [
        "#!/bin/sh",
        r#"[ "$1 $2" = "serve --config" ] || exit 2"#,
        r#"port=$(sed -n 's/.*"listen":"127.0.0.1:\([0-9]*\)".*/\1/p' "$3")"#,
        r#"to=$(sed -n 's/.*"up":{.*"url":"http:\/\/\([0-9.:]*\)\/.*/\1/p' "$3")"#,
        concat!(
            "exec '",
            env!("CARGO_BIN_EXE_gateway-bench"),
            r#"' relay --kind hyper-stream --strip /up --to "$to" --port "$port""#
        ),
    ];
    std::fs::write(&gateway, script.join("\n")).unwrap();
    std::fs::set_permissions(&gateway, PermissionsExt::from_mode(0o755)).unwrap();
    format!("--gateway={}", gateway.display())
}

#[test]
fn what_there_is_more_of_is_compared_with_the_fewest() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = small_gateway(folder.path());
    let args =
        ["--workload=growth", "--growth-sessions=8,40", "--growth-servers=1,2", gateway.as_str()];
    let (output, report) = run(&args);
    assert!(output.status.success(), "{}", errors(&output));
    let report = report.unwrap();
    let sizes = |nth: usize| report["growth"][nth]["sizes"].as_array().unwrap();
    let (sessions, children, servers) = (sizes(0), sizes(1), sizes(2));
    assert_eq!((&sessions[0]["count"], &sessions[1]["count"]), (&8.into(), &40.into()));
    assert_eq!((&sessions[0]["status"], &sessions[1]["status"]), (&"ok".into(), &"ok".into()));
    assert!(0 < sessions[1]["rounds"][0]["calls"].as_u64().unwrap(), "{sessions:?}");
    // It has neither children nor two servers.
    assert_eq!((&children[0]["status"], &servers[1]["status"]), (&"no".into(), &"no".into()));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("| W1 | 40 sessions | "), "{text}");
}

#[test]
fn a_gateway_is_configured_started_measured_and_ended() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = small_gateway(folder.path());
    let args = [
        "--workload=W1,W3,idle",
        "--sessions=2",
        "--idle-sessions=10",
        "--legs=hyper-stream,gateway",
    ];
    let (output, report) = run(&[&args[..], &[&gateway]].concat());
    let report = report.unwrap();
    for load in report["loads"].as_array().unwrap() {
        let gateway = &load["legs"][1];
        assert_eq!(gateway["status"], "ok", "{gateway}");
        assert!(gateway["to_floor"]["cpu"].as_f64().unwrap() > 0.0, "{gateway}");
    }
    // It cannot start with a child, and it does not translate: two ways to have no figure.
    let idle = report["idle"].as_array().unwrap();
    let case = |name| {
        &idle.iter().find(|it| it["case"] == name && it["leg"] == "gateway").unwrap()["outcome"]
    };
    assert!(case("sse → sse")["done"].is_object(), "{idle:?}");
    assert!(case("sse → stdio")["no"].as_str().unwrap().contains("it ended with"), "{idle:?}");
    assert!(case("sse → streamable")["failed"].as_str().unwrap().contains("404"), "{idle:?}");
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
}

#[test]
fn wrong_answers_fail_the_run_on_every_wire() {
    for lie in ["--lie=id", "--lie=content"] {
        for workload in ["W1", "W3", "W4", "W5", "E1", "E2"] {
            for leg in ["direct", "hyper-stream", "hyper-pair", "hyper-collect", "stdio-shared"] {
                let (output, report) = run(&[
                    lie,
                    &format!("--workload={workload}"),
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
fn what_is_left_of_closed_sessions_is_measured() {
    let args = ["--workload=slope", "--slope-sessions=40", "--legs=stdio-shared,gateway"];
    let (output, report) = run(&args);
    assert!(output.status.success(), "{}", errors(&output));
    let report = report.unwrap();
    let slopes = report["slopes"].as_array().unwrap();
    let of = |leg: &str| slopes.iter().filter(|it| it["leg"] == leg).collect::<Vec<_>>();
    assert_eq!((of("stdio-shared").len(), of("gateway").len()), (1, 6));
    let done = &of("stdio-shared")[0]["outcome"]["done"];
    assert_eq!(done["sessions"], 40, "{done}");
    assert_eq!(done["points_kib"].as_array().unwrap().len(), 5, "{done}");
    assert!(done["bytes_per_session"].is_number(), "{done}");
    assert!(0 < done["end_kib"].as_u64().unwrap(), "{done}");
    assert!(of("gateway").iter().all(|it| it["outcome"]["no"].is_string()), "{slopes:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("| sse → stdio | stdio-shared | 40 |"), "{text}");
}

#[test]
fn recoveries_are_measured() {
    let (output, report) = run(&["--workload=recovery"]);
    assert!(output.status.success(), "{}", errors(&output));
    let report = report.unwrap();
    let all = report["recovery"].as_array().unwrap();
    let of = |leg: &str| all.iter().filter(|it| it["leg"] == leg).collect::<Vec<_>>();
    let direct = of("direct");
    assert_eq!(direct.len(), 6);
    for case in &direct {
        assert_eq!((&case["status"], case["rounds"].as_array().unwrap().len()), (&"ok".into(), 3));
        let (median, slow) = (case["median_ms"].as_f64().unwrap(), case["what"] != "server killed");
        assert!(if slow { 300.0 <= median } else { 0.0 < median }, "{case}");
        // Whoever was killed did not answer: the client had to begin anew.
        let failed = case["failed_attempts"].as_f64().unwrap();
        assert!(if slow { failed == 0.0 } else { 1.0 <= failed }, "{case}");
    }
    assert_eq!(of("gateway").len() + of("gateway, no spares").len(), 10);
    let others = all.iter().filter(|it| it["leg"] != "direct");
    assert!(others.into_iter().all(|it| it["status"] == "no" && it["median_ms"].is_null()));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("| server killed | streamable → stdio | direct | "), "{text}");

    let (output, report) = run(&["--workload=recovery", "--lie=content", "--legs=direct"]);
    assert!(!output.status.success(), "{}", errors(&output));
    let reason = report.unwrap()["recovery"][0]["reason"].clone();
    assert!(reason.as_str().unwrap().contains("wrong answer"), "{reason}");
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

/// Where there is no gateway there is nothing to measure.
#[test]
fn many_servers_as_one_need_a_gateway() {
    let (output, report) = run(&["--workload=aggregate", "--aggregate-servers=1,3"]);
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(report.unwrap()["aggregate"], serde_json::json!([]));
    let (output, _) = run(&["--workload=aggregate", "--require-gateway"]);
    assert!(!output.status.success() && errors(&output).contains("there is no /no/such/gateway"));
    let (output, _) = run(&["--workload=aggregate", "--aggregate-servers=101"]);
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
}

/// Peers in a few lines: one has nginx's command line, one ends at once, one is not there.
#[test]
fn peers_are_measured_or_say_why_not_and_fail_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let script = |name: &str, lines: &[&str]| {
        let file = folder.path().join(name);
        std::fs::write(&file, lines.join("\n")).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        format!("{name}=1.0 {}\n", file.display())
    };
    let relay = concat!(
        "'",
        env!("CARGO_BIN_EXE_gateway-bench"),
        r#"' relay --kind hyper-stream --to "$to" --port "$port" & "#,
        "wait"
    );
    let parts = [
        script(
            "nginx",
            &[
                "#!/bin/sh",
                r#"port=$(sed -n 's/.*listen 127.0.0.1:\([0-9]*\).*/\1/p' "$2")"#,
                r#"to=$(sed -n 's/.*server \([0-9.:]*\);.*/\1/p' "$2")"#,
                relay,
            ],
        ),
        script("joshrotenberg", &["#!/bin/sh", "echo I would | rather not >&2", "exit 3"]),
    ];
    let file = folder.path().join("parts");
    std::fs::write(&file, parts.concat()).unwrap();
    let (output, report) = run(&[
        "--workload=W1",
        "--sessions=2",
        "--legs=direct",
        "--peers=nginx,sparfenyuk,joshrotenberg,mcpo",
        &format!("--peer-parts={}", file.display()),
    ]);
    assert!(output.status.success(), "{}", errors(&output));
    let report = report.unwrap();
    let legs = report["loads"][0]["legs"].as_array().unwrap();
    let of = |name: &str| legs.iter().find(|it| it["leg"] == name).unwrap();
    assert_eq!(of("nginx")["status"], "ok", "{legs:?}");
    assert!(0 < of("nginx")["rounds"][0]["calls"].as_u64().unwrap());
    for (name, why) in [
        ("sparfenyuk", "goes with stdio behind"),
        ("joshrotenberg", "exit status: 3"),
        ("mcpo", "not installed"),
    ] {
        assert_eq!(of(name)["status"], "no", "{legs:?}");
        assert!(of(name)["reason"].as_str().unwrap().contains(why), "{}", of(name));
        assert!(of(name)["median"].is_null(), "{}", of(name));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("nginx is nginx of the system or of Debian, 1.0; "), "{text}");
}

#[test]
fn latencies_at_a_rate_are_counted_from_when_a_call_was_due() {
    let (output, report) =
        run(&["--workload=open", "--rate=200", "--legs=direct,hyper-stream,stdio-shared"]);
    assert!(output.status.success(), "{}", errors(&output));
    let report = report.unwrap();
    let open = report["open"].as_array().unwrap();
    let apart: Vec<_> = open.iter().map(|it| it["apart"].as_bool().unwrap()).collect();
    match std::thread::available_parallelism().map_or(1, usize::from) {
        1 => assert_eq!(apart, [false, false]),
        _ => assert_eq!(apart, [true, true, false, false]),
    }
    for load in open {
        let [direct, relay] = load["legs"].as_array().unwrap().as_slice() else { panic!("{load}") };
        // A machine that is busy may be too slow even for this: then it says so.
        for leg in [direct, relay].into_iter().filter(|it| it["status"] != "no") {
            assert_eq!(leg["status"], "ok", "{leg}");
            assert!(0.0 < leg["median_us"]["p50"].as_f64().unwrap(), "{leg}");
        }
    }

    let (output, report) = run(&["--workload=open", "--rate=1000000", "--legs=hyper-stream"]);
    assert!(output.status.success(), "{}", errors(&output));
    let leg = &report.unwrap()["open"][0]["legs"][0];
    assert_eq!(leg["status"], "no", "{leg}");
    assert!(leg["reason"].as_str().unwrap().contains("too slow for this rate"), "{leg}");
}

#[test]
fn churn_prices_and_bad_company_are_measured() {
    let (output, report) = run(&[
        "--workload=W7,W11,W12",
        "--sessions=2",
        "--legs=direct,hyper-stream,stdio-shared,gateway-tokens",
    ]);
    assert!(output.status.success(), "{}", errors(&output));
    let report = report.unwrap();
    for load in report["loads"].as_array().unwrap() {
        for leg in load["legs"].as_array().unwrap() {
            let expected = if load["workload"] == "W12" { "no" } else { "ok" };
            assert_eq!(leg["status"], expected, "{} {leg}", load["workload"]);
            assert!(expected == "no" || 0 < leg["rounds"][0]["calls"].as_u64().unwrap(), "{leg}");
        }
    }
    let adverse = report["adverse"].as_array().unwrap();
    assert_eq!(adverse.len(), 6, "two legs beside three kinds of others: {adverse:?}");
    for leg in adverse {
        assert_eq!(leg["status"], "ok", "{leg}");
        assert!(0.0 < leg["rounds"][0]["p50_us"].as_f64().unwrap(), "{leg}");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("| 64 that call as fast as they can | hyper-stream |"), "{text}");
}
