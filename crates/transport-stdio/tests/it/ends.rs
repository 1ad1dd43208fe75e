//! How children end: by themselves, with their session, and with their gateway.

use std::{fs, process::Stdio, time::Duration};

use mcp_jsonrpc::transport::{ErrorKind, Session};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;
use transport_stdio::{Exit, client::Spawn};

use crate::rig::{ANSWERS, all_gone, ask, example, is_alive, pids, request, shell, soon, until};

fn kill(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

/// Starts a script, waits for its first sign of life on stderr, and closes its session.
async fn closed(script: &str, supervised: bool) -> (Exit, Duration) {
    let spawn = shell(&format!("echo ready >&2; {script}"), supervised);
    let process = spawn.start().await.unwrap();
    until("ready", || (process.info().stderr_count() > 0).then_some(())).await;
    let before = Instant::now();
    soon("close", process.close()).await;
    assert!(!is_alive(process.info().pid()) && process.info().is_gone());
    assert!(spawn.children.running().is_empty());
    (process.info().exit().unwrap(), before.elapsed())
}

#[tokio::test]
async fn closing_stdin_then_term_then_kill() {
    for supervised in [false, true] {
        let (exit, took) = closed("exec cat", supervised).await;
        assert_eq!(exit, Exit::Code(0));
        assert!(took < Duration::from_millis(250), "{took:?}");

        let (exit, took) = closed("exec sleep 1000", supervised).await;
        assert_eq!(exit, Exit::Signal(15));
        assert!(Duration::from_millis(300) <= took, "{took:?}");

        let (exit, _) =
            closed("trap 'exit 7' TERM; while :; do sleep 0.01; done", supervised).await;
        assert_eq!(exit, Exit::Code(7));

        let (exit, took) = closed("trap '' TERM; while :; do sleep 0.01; done", supervised).await;
        assert_eq!(exit, Exit::Signal(9));
        assert!(Duration::from_millis(600) <= took, "{took:?}");
    }
}

/// A script whose children and grandchildren say who they are: one plain, one that does not heed
/// SIGTERM, and with a supervisor one in a session of its own, whose parent is gone.
fn family(supervised: bool) -> (String, usize) {
    let plain = "sleep 1000 & echo $! >&2\n";
    let deaf = "sh -c 'trap \"\" TERM; echo $$ >&2; while :; do sleep 0.05; done' &\n";
    let daemon = "(setsid sh -c 'echo $$ >&2; exec sleep 1000' >/dev/null </dev/null &)\n";
    let script = [plain, deaf, if supervised { daemon } else { "" }, "wait_for_end\n"].concat();
    (script, if supervised { 3 } else { 2 })
}

#[tokio::test]
async fn grandchildren_end_with_the_session() {
    for supervised in [false, true] {
        let (family, count) = family(supervised);
        let spawn = shell(&family.replace("wait_for_end", "exec cat"), supervised);
        let process = spawn.start().await.unwrap();
        let pids = pids(&process, count).await;
        assert!(pids.iter().all(|&it| is_alive(it)));
        soon("close", process.close()).await;
        all_gone(&pids).await;
    }
}

#[tokio::test]
async fn grandchildren_end_with_a_child_that_exits() {
    for supervised in [false, true] {
        let (family, count) = family(supervised);
        let wait = "read line; echo sorry >&2; exit 3";
        let spawn = shell(&family.replace("wait_for_end", wait), supervised);
        let process = spawn.start().await.unwrap();
        let pids = pids(&process, count).await;
        let error = soon("error", ask(&process, "ping")).await.unwrap_err();
        assert!(error.said().to_string().contains("exited with code 3"), "{error}");
        all_gone(&pids).await;
        soon("end", spawn.children.gone()).await;
    }
}

#[tokio::test]
async fn the_last_handle_ends_the_child() {
    for supervised in [false, true] {
        let (family, count) = family(supervised);
        let spawn = shell(&family.replace("wait_for_end", "exec cat"), supervised);
        let process = spawn.start().await.unwrap();
        let mut pids = pids(&process, count).await;
        pids.push(process.info().pid());
        drop(process);
        soon("end", spawn.children.gone()).await;
        all_gone(&pids).await;
        assert_eq!(spawn.children.last().unwrap().exit(), Some(Exit::Code(0)));
    }
}

#[tokio::test]
async fn nothing_survives_a_gateway_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("pids");
    let (family, count) = family(true);
    let wait =
        "echo $$ >&2; echo $PPID >&2; touch ready; trap '' TERM; while :; do sleep 0.05; done";
    let script =
        family.replace(">&2", ">>pids").replace("wait_for_end", wait).replace(">&2", ">>pids");

    // The one in the middle is the gateway: it starts the family, and is killed.
    let mut gateway = std::process::Command::new(example());
    gateway.args(["sh", "-c", &script]).current_dir(dir.path());
    gateway.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut gateway = gateway.spawn().unwrap();
    let pids = until("the family", || {
        let list = fs::read_to_string(&list).ok()?;
        let pids: Vec<u32> = list.lines().filter_map(|line| line.parse().ok()).collect();
        (pids.len() == count + 2).then_some(pids)
    })
    .await;
    assert!(pids.iter().all(|&it| is_alive(it)));
    // Among them is the supervisor.
    let parents = pids.iter().map(|&it| parent(it));
    let keeper = parents.into_iter().find(|&it| parent(it) == gateway.id()).unwrap();

    gateway.kill().unwrap();
    gateway.wait().unwrap();
    all_gone(&pids).await;
    all_gone(&[keeper]).await;
}

#[tokio::test]
async fn a_child_whose_supervisor_is_killed_ends_too() {
    let script = "echo $PPID >&2; sleep 1000 & echo $! >&2; wait";
    let process = shell(script, true).start().await.unwrap();
    let found = pids(&process, 2).await;
    let (supervisor, sleep) = (found[0], found[1]);
    let request = process.send(request("ping"));
    let kill = async { kill(supervisor, Signal::KILL) };
    let (reply, ()) = soon("error", async { tokio::join!(request, kill) }).await;
    let error = reply.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Closed);
    all_gone(&[process.info().pid(), sleep]).await;
}

fn parent(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    after_name.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn supervisors_share_a_keeper_and_do_without_it() {
    let spawn = shell(&format!("echo $PPID >&2; {ANSWERS}"), true);
    let (first, second) = (spawn.start().await.unwrap(), spawn.start().await.unwrap());
    let supervisors = [pids(&first, 1).await[0], pids(&second, 1).await[0]];
    let keeper = parent(supervisors[0]);
    assert_eq!(keeper, parent(supervisors[1]));
    // A terminal's and a service manager's it does not hear.
    kill(keeper, Signal::INT);
    kill(keeper, Signal::TERM);
    let third = spawn.start().await.unwrap();
    assert_eq!(parent(pids(&third, 1).await[0]), keeper);

    kill(keeper, Signal::KILL);
    all_gone(&[keeper]).await;
    ask(&first, "ping").await.unwrap();
    soon("close", first.close()).await;
    all_gone(&supervisors[..1]).await;
    let fourth = spawn.start().await.unwrap();
    let another = parent(pids(&fourth, 1).await[0]);
    assert_ne!(another, keeper);
    ask(&second, "ping").await.unwrap();
    for process in [second, third, fourth] {
        soon("close", process.close()).await;
    }
    assert!(!is_alive(another), "it ends with the last child");
}

#[tokio::test]
async fn what_a_supervisor_is_told_to_pass_on_it_does() {
    let script = "trap 'exit 5' INT; echo $PPID >&2; while :; do sleep 0.01; done";
    let process = shell(script, true).start().await.unwrap();
    let supervisor = pids(&process, 1).await[0];
    kill(supervisor, Signal::INT);
    let exit = until("exit", || process.info().exit()).await;
    assert_eq!(exit, Exit::Code(5));
    soon("close", process.close()).await;
    assert!(!is_alive(supervisor));
}

#[tokio::test]
async fn the_last_words_are_in_the_error() {
    for supervised in [false, true] {
        let script = "read line; echo 'token-1: no database' >&2; echo 'giving up' >&2; exit 1";
        let mut spawn = shell(script, supervised);
        spawn.masked = vec!["token-1".into()];
        let process = spawn.start().await.unwrap();
        let error = soon("error", ask(&process, "ping")).await.unwrap_err();
        let words = "its last words: \"***: no database\ngiving up\"";
        let said = error.said().to_string();
        let expect =
            format!("server `test`: its process exited with code 1 before it answered; {words}");
        assert_eq!(said, expect);
        assert_eq!(error.kind(), &ErrorKind::Closed);

        let late = ask(&process, "ping").await.unwrap_err();
        assert!(late.is_unsent());
        let expect = format!("server `test`: its process exited with code 1; {words}");
        assert_eq!(late.said().to_string(), expect);
        assert!(!process.is_open());
    }
}

#[tokio::test]
async fn last_words_are_not_waited_for_for_ever() {
    // Without a supervisor nobody finds the one that holds stderr.
    let script = "setsid sleep 1000 & echo $! >&2; read line; echo sorry >&2; exit 1";
    let process = shell(script, false).start().await.unwrap();
    let sleep = pids(&process, 1).await[0];
    let before = Instant::now();
    let error = soon("error", ask(&process, "ping")).await.unwrap_err();
    assert!(error.said().to_string().contains("sorry"), "{error}");
    assert!(Duration::from_millis(500) <= before.elapsed());
    soon("close", process.close()).await;
    kill(sleep, Signal::KILL);
}

#[tokio::test]
async fn a_crash_names_its_signal() {
    let process = shell("read line; kill -SEGV $$", true).start().await.unwrap();
    let error = soon("error", ask(&process, "ping")).await.unwrap_err();
    assert!(
        error.said().to_string().contains("was ended by SIGSEGV before it answered"),
        "{error}"
    );
}

#[tokio::test]
async fn a_child_that_closes_a_stream_is_over() {
    for (script, what) in [
        ("read line; exec >&-; exec sleep 1000", "has closed its stdout"),
        ("exec <&-; echo ready >&2; exec sleep 1000", "has closed its stdin"),
    ] {
        let process = shell(script, true).start().await.unwrap();
        if what.ends_with("stdin") {
            until("ready", || (process.info().stderr_count() > 0).then_some(())).await;
        }
        let error = soon("error", ask(&process, "ping")).await.unwrap_err();
        assert!(error.said().to_string().contains(what), "{error}");
        soon("close", process.close()).await;
        assert_eq!(process.info().exit(), Some(Exit::Signal(15)));
    }
}

#[tokio::test]
async fn another_one_can_be_started_after_a_death() {
    let spawn: Spawn = shell(ANSWERS, true);
    let first = spawn.start().await.unwrap();
    assert_eq!(ask(&first, "ping").await.unwrap(), format!(r#"{{"pid":{}}}"#, first.info().pid()));
    kill(first.info().pid(), Signal::KILL);
    until("death", || (!first.is_open()).then_some(())).await;
    let second = spawn.start().await.unwrap();
    assert_ne!(first.info().pid(), second.info().pid());
    assert_eq!(
        ask(&second, "ping").await.unwrap(),
        format!(r#"{{"pid":{}}}"#, second.info().pid())
    );
    soon("close", second.close()).await;
}
