//! How children start, in which surroundings, and why they do not.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use mcp_jsonrpc::transport::{Caller, ErrorKind, Opening, Transport};
use rustix::process::{Pid, getpgid};
use transport_stdio::{
    client::{PASSED_ON, Spawn},
    supervise::Supervisor,
};

use crate::rig::{shell, soon, until};

/// Why a child does not start, with a supervisor and without.
async fn refusal(change: impl Fn(&mut Spawn)) -> String {
    let mut said = Vec::new();
    for supervised in [false, true] {
        let mut spawn = shell("", supervised);
        change(&mut spawn);
        let error = soon("refusal", spawn.start()).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unavailable { .. }), "{error:?}");
        said.push(error.said().to_string());
    }
    assert_eq!(said[0], said[1]);
    said.pop().unwrap()
}

#[track_caller]
fn contains(text: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
}

#[tokio::test]
async fn a_program_that_is_not_there() {
    let said = refusal(|it| it.program = "no-such-program".into()).await;
    let path = std::env::var("PATH").unwrap();
    let start = "server `test`: cannot start `no-such-program`: there is no such program";
    contains(&said, &[start, &path, "install it"]);

    let said = refusal(|it| {
        it.program = "sh".into();
        it.env.push(("PATH".into(), "/nowhere".into()));
    })
    .await;
    contains(&said, &["there is no such program; looked for in /nowhere (PATH)"]);

    let said = refusal(|it| it.program = "./none".into()).await;
    contains(&said, &["there is no such file; correct the path of `command`"]);
}

#[tokio::test]
async fn a_program_that_cannot_be_run() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let plain = write("plain", "", 0o644);
    let said = refusal(|it| it.program = plain.clone().into()).await;
    contains(&said, &["plain may not be executed; `chmod +x "]);

    let odd = write("odd", "#!/no/such/interpreter -x\n", 0o755);
    let said = refusal(|it| it.program = odd.clone().into()).await;
    contains(&said, &["odd wants to be run by /no/such/interpreter, which is not there"]);

    let empty = write("binary", "\u{7f}ELF", 0o755);
    let said = refusal(|it| it.program = empty.clone().into()).await;
    contains(&said, &["the system does not know how to run it"]);

    let said = refusal(|it| it.program = dir.path().into()).await;
    contains(&said, &["is a directory; name the program in it"]);
}

#[tokio::test]
async fn a_directory_that_is_not_there() {
    let said = refusal(|it| it.dir = Some("/no/such/place".into())).await;
    contains(&said, &["cannot start `sh`: its working directory /no/such/place cannot be entered"]);
    let said = refusal(|it| it.dir = Some("/dev/null".into())).await;
    contains(&said, &["its working directory /dev/null is a file"]);
}

#[tokio::test]
async fn a_supervisor_that_is_not_there_or_is_none() {
    for (program, what) in
        [("/no/such/gateway", "No such file"), ("/bin/true", "it ended, and never")]
    {
        let mut spawn = shell("", true);
        spawn.supervisor = Some(Supervisor::new(program, "x"));
        let error = soon("refusal", spawn.start()).await.unwrap_err();
        contains(&error.said().to_string(), &["cannot start the supervisor of `sh`", what]);
    }
}

#[tokio::test]
async fn a_supervisor_that_says_nothing_is_not_waited_for_for_ever() {
    let mut spawn = shell("", true);
    // It takes all that it is told for times to sleep.
    spawn.supervisor = Some(Supervisor::new("/bin/sleep", "1000"));
    (spawn.program, spawn.args) = ("1000".into(), Vec::new());
    let short = Duration::from_millis(50);
    spawn.timeouts.spawn_timeout = short;
    (spawn.timeouts.exit_timeout, spawn.timeouts.kill_timeout) = (short, short);
    let error = soon("refusal", spawn.start()).await.unwrap_err();
    contains(&error.said().to_string(), &["it did not say in time what it did"]);
}

/// What a child says that is asked for its environment.
async fn env(change: impl Fn(&mut Spawn)) -> Vec<String> {
    let mut spawn = shell("env >&2; pwd >&2; echo end >&2; exec cat", true);
    change(&mut spawn);
    let process = spawn.start().await.unwrap();
    until("environment", || {
        let lines = process.info().stderr(999);
        (lines.last().is_some_and(|it| &**it == "end"))
            .then(|| lines.iter().map(|it| it.to_string()).collect())
    })
    .await
}

#[tokio::test]
async fn the_environment_is_small_unless_asked_for() {
    let is_plain = |value: &str| value.chars().all(|char| !char.is_control());
    let is_own = |name: &str| !PASSED_ON.contains(&name) && !name.starts_with(['_', 'L', 'X', 'P']);
    let own = std::env::vars().filter(|(name, value)| is_own(name) && is_plain(value));
    let own: Vec<_> = own.map(|(name, value)| format!("{name}={value}")).collect();
    let found = env(|it| it.env = vec![("KEY".into(), "value".into())]).await;
    assert!(!own.iter().any(|it| found.contains(it)));
    assert!(found.contains(&"KEY=value".to_owned()));
    assert!(found.contains(&"PYTHONUNBUFFERED=1".to_owned()));
    assert!(found.iter().any(|it| it.starts_with("PATH=")));

    let found = env(|it| it.inherit_env = true).await;
    // A shell counts its levels, and leaves out what it cannot name.
    let is_shown = |it: &String| !it.starts_with("SHLVL") && it.len() < 1000;
    assert!(own.iter().filter(|it| is_shown(it)).all(|it| found.contains(it)), "{found:?}");
}

#[tokio::test]
async fn the_directory_is_as_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    let found = env(|it| it.dir = Some(path.clone())).await;
    assert!(found.contains(&path.display().to_string()));
}

/// The session of a process as the kernel tells it: `getsid` of rustix cannot say 0, which is what
/// a container sees of a session that was begun outside of it.
fn session_of(process: &str) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    after_name.split_whitespace().nth(3).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_session_is_named_after_its_process() {
    let spawn = shell("exec cat", true);
    let opening = Opening { caller: Caller::anonymous(), version: None, at: "".into() };
    let session = spawn.open(opening).await.unwrap();
    let pid = spawn.children.running()[0].pid();
    until("its own name", || {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        matches!(comm.trim(), "sh" | "cat").then_some(())
    })
    .await;
    assert_eq!(*session.endpoint().uri, format!("stdio:{pid}"));
    let child = Pid::from_raw(pid as i32).unwrap();
    assert_eq!(getpgid(Some(child)).unwrap(), child);
    assert_ne!(session_of(&pid.to_string()), session_of("self"));
    soon("close", session.close()).await;
}

#[tokio::test]
async fn no_secret_is_shown() {
    let mut spawn = Spawn::new("test", "sh");
    spawn.args = vec!["--key=secret".into()];
    spawn.env = vec![("KEY".into(), "secret".into())];
    spawn.masked = vec!["secret".into()];
    assert!(!format!("{spawn:?}").contains("secret"));
}
