//! What is written, and what happens where nothing can be.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use serde_json::Value;
use tempfile::TempDir;

use super::*;

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
