//! What is written, and what happens where nothing can be.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use mcp_jsonrpc::{
    Message,
    transport::{Caller, Exchange, SessionId, Trail},
};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::{Method, Outcome};

const WAIT: Duration = Duration::from_secs(5);

fn options(file: PathBuf) -> AuditOptions {
    AuditOptions { file, queue_bytes_max: 1000, wait_timeout: WAIT }
}

fn opened(dir: &TempDir) -> (Audit, PathBuf) {
    let file = dir.path().join("audit.jsonl");
    (Audit::open(options(file.clone())).unwrap(), file)
}

/// Waits until something is so, which the thread that writes brings about.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "nothing else runs here")]
fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("it never came to be that {what}");
}

#[test]
fn lines_are_added_to_a_file_of_the_owners_alone() {
    let dir = TempDir::new().unwrap();
    let (audit, file) = opened(&dir);
    audit.write(b"a\n");
    audit.write(b"b\n");
    audit.flush();
    assert_eq!(fs::read_to_string(&file).unwrap(), "a\nb\n");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // The next that opens it goes on.
    let again = Audit::open(options(file.clone())).unwrap();
    again.write(b"c\n");
    again.flush();
    assert_eq!(fs::read_to_string(&file).unwrap(), "a\nb\nc\n");
}

#[test]
fn a_file_that_is_moved_away_is_made_anew() {
    let dir = TempDir::new().unwrap();
    let (audit, file) = opened(&dir);
    audit.write(b"a\n");
    audit.flush();
    let old = dir.path().join("audit.jsonl.1");
    fs::rename(&file, &old).unwrap();
    audit.write(b"b\n");
    audit.flush();
    assert_eq!(fs::read_to_string(&old).unwrap(), "a\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), "b\n");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_line_is_written_as_a_whole_to_the_file_that_comes_next() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a");
    let mut file = File::open(&path).unwrap();
    fs::rename(&path, dir.path().join("b")).unwrap();
    let mut done = 6;
    file.write(b"one\ntwo\n", &mut done).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
}

/// A folder takes the place of the file, and goes away again.
#[tokio::test(start_paused = true)]
async fn requests_wait_for_a_file_that_cannot_be_written_and_then_are_refused() {
    let dir = TempDir::new().unwrap();
    let (audit, file) = opened(&dir);
    audit.admit().await.unwrap();
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    audit.write(b"a\n");
    until("nothing can be written", || audit.is_closed());
    let began = tokio::time::Instant::now();
    let error = audit.admit().await.unwrap_err();
    assert_eq!(began.elapsed(), WAIT);
    assert!(matches!(error.kind(), ErrorKind::Unavailable { .. }));
    let words = error.said().to_string();
    assert!(words.contains(file.to_str().unwrap()) && words.contains("directory"), "{words}");
    // The end does not wait for it either.
    audit.flush();
    fs::remove_dir(&file).unwrap();
    until("it is written again", || !audit.is_closed());
    audit.admit().await.unwrap();
    audit.flush();
    assert_eq!(fs::read_to_string(&file).unwrap(), "a\n", "what waited is not lost");
}

/// A disk that is full.
#[test]
fn a_full_disk_closes_it_and_what_waits_is_bounded() {
    let audit = Audit::open(options("/dev/full".into())).unwrap();
    audit.write(b"a\n");
    until("the disk is full", || audit.is_closed());
    for _ in 0..5000 {
        audit.write(b"a line of a length\n");
    }
    let waiting = audit.0.waiting();
    assert!(waiting.lines.len() + waiting.writing <= 2 * 1000);
    assert!(waiting.dropped > 4000);
    assert!(waiting.fault.as_ref().unwrap().contains("No space left"));
}

/// What others wrote is escaped, what has two readings is not read, and what is ours is as it is.
#[test]
fn a_line_says_who_asked_what() {
    let dir = TempDir::new().unwrap();
    let (audit, file) = opened(&dir);
    let audited = Audited::new(audit.clone(), &"a \"server\"".into());
    let call = Method::of("tools/call");
    let mut caller = Caller::anonymous();
    let session = SessionId::new(&"0123456789".repeat(3)).unwrap();
    let of = |params: &str, caller: &Caller| {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        Exchange::new(Message::parse(text).unwrap(), caller.clone())
    };
    let plain = of(r#"{"arguments":{"name":"x"},"name":"echo"}"#, &caller);
    audited.line(call, &plain, Some(&session)).end(&audit, Outcome::Ok, Duration::from_micros(7));
    caller.subject = Some("\"quoted\"".into());
    caller.address = Some("10.0.0.7".into());
    caller.trail = Some(Arc::new(Trail::new("(all)".into(), Some(session))));
    let escaped = of(r#"{"name":"gr\u00fc\u00dfe\n"}"#, &caller);
    let mut line = audited.line(call, &escaped, None);
    line.received = 12_345;
    let why = TransportError::new(ErrorKind::Timeout, "not \"now\"");
    line.failed(&why);
    line.end(&audit, Outcome::Timeout, Duration::from_secs(2));
    let mut twice = audited.line(call, &of(r#"{"name":"a","name":"b"}"#, &caller), None);
    let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"secret"}}"#;
    twice.answered(&Message::parse(error.to_owned()).unwrap());
    twice.end(&audit, Outcome::Error, Duration::ZERO);
    audited.session("session_ended", None, (None, Some("\"c/1\"")));
    audit.flush();
    let text = fs::read_to_string(&file).unwrap();
    let said: Vec<&str> = text.lines().map(|line| line.split_once("Z\",").unwrap().1).collect();
    let (mut lines, start) = (said.iter(), r#""event":"request","server":"a \"server\"""#);
    let mut next = |expect: &str| assert_eq!(*lines.next().unwrap(), format!("{start}{expect}"));
    next(&format!(
        r#","session":"456789","method":"tools/call","target":"echo","outcome":"ok","us":7,"in":{},"out":0}}"#,
        plain.message.as_bytes().len()
    ));
    let who = r#","via":"(all)","caller":"\"quoted\"","address":"10.0.0.7","session":"456789""#;
    next(&format!(
        r#"{who},"method":"tools/call","target":"grüße\n","outcome":"timeout","reason":"not \"now\"","us":2000000,"in":{},"out":12345}}"#,
        escaped.message.as_bytes().len()
    ));
    next(&format!(
        r#"{who},"method":"tools/call","target":"(unreadable)","outcome":"error","code":-32602,"us":0,"in":79,"out":0}}"#,
    ));
    let ended = r#""event":"session_ended","server":"a \"server\"","client":"c/1"}"#;
    assert_eq!(lines.next(), Some(&ended));
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["time"].as_str().unwrap().len(), crate::stamp::LEN);
    }
}

/// What was dropped is said where it is missing.
#[test]
fn lines_that_are_lost_are_counted() {
    let mut lines = b"x\n".to_vec();
    line::lost(0, &mut lines);
    assert_eq!(lines, b"x\n");
    line::lost(7, &mut lines);
    let text = String::from_utf8(lines).unwrap();
    let lost: Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!((&lost["event"], &lost["lines"]), (&"lost".into(), &7.into()));
}

#[tokio::test(start_paused = true)]
async fn who_waits_goes_on_when_there_is_room() {
    let dir = TempDir::new().unwrap();
    let (audit, _) = opened(&dir);
    audit.write(format!("{}\n", "x".repeat(1001)).as_bytes());
    // Either it is written already, or somebody is woken when it is.
    while audit.is_closed() {
        let waiting = audit.0.opened.notified();
        tokio::select! {
            () = waiting => (),
            () = tokio::task::yield_now() => (),
        }
    }
    audit.admit().await.unwrap();
}
