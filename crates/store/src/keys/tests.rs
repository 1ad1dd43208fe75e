//! Keys that are made, shared, rotated, refused.

use std::os::unix::fs::PermissionsExt;

use seal::Purpose;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);
const ROTATION: Rotation = Rotation { every: DAY, keep: Duration::from_secs(7 * 24 * 3600) };

struct Place {
    dir: tempfile::TempDir,
    clock: Clock,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), clock: Clock::still(1_000_000) }
    }

    fn file(&self) -> KeyFile {
        KeyFile::new(&StateDir::open(self.dir.path()).unwrap(), self.clock.clone())
    }

    fn ring(&self, file: &KeyFile) -> Keyring {
        Keyring::new(file.load().unwrap(), self.clock.clone()).unwrap()
    }
}

fn seal(ring: &Keyring) -> String {
    ring.seal(Purpose::Session, &[], b"x").unwrap()
}

fn opens(ring: &Keyring, text: &str) -> bool {
    ring.open(Purpose::Session, &[], text).is_some()
}

#[test]
fn a_key_is_made_once_and_for_nobody_else() {
    let place = Place::new();
    let text = seal(&place.ring(&place.file()));
    let file = place.file();
    assert!(opens(&place.ring(&file), &text));
    let mode = fs::metadata(file.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn who_comes_at_the_same_time_has_the_same_key() {
    let place = Place::new();
    let ids = thread::scope(|scope| {
        let load = || place.file().load().unwrap().first().map(Key::id).unwrap();
        let all: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
        all.into_iter().map(|it| it.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn keys_turn_and_what_they_sealed_opens_as_long_as_it_may_have_to() {
    let place = Place::new();
    let file = place.file();
    let ring = place.ring(&file);
    let first = seal(&ring);
    place.clock.advance(DAY);
    file.keep_up(&ring, ROTATION).unwrap();
    assert_eq!(ring.keys().len(), 2);
    // Another process hears of it in time.
    let other_file = place.file();
    let other = place.ring(&other_file);
    place.clock.advance(NOTICE);
    let second = seal(&ring);
    assert!(opens(&other, &first) && opens(&other, &second));
    for _ in 0..7 {
        assert!(opens(&ring, &first));
        place.clock.advance(DAY);
        file.keep_up(&ring, ROTATION).unwrap();
    }
    place.clock.advance(DAY);
    file.keep_up(&ring, ROTATION).unwrap();
    assert!(!opens(&ring, &first) && opens(&ring, &second), "{ring:?}");
    assert!(opens(&other, &first), "not read again yet");
    other_file.keep_up(&other, ROTATION).unwrap();
    assert!(!opens(&other, &first) && opens(&other, &second));
    assert!(ring.keys().len() <= 9, "{ring:?}");
}

#[test]
fn a_command_turns_them_and_whoever_runs_reads_it() {
    let place = Place::new();
    let file = place.file();
    let ring = place.ring(&file);
    let old = seal(&ring);
    assert_eq!(place.file().rotate(ROTATION.keep, false).unwrap().len(), 2);
    file.keep_up(&ring, ROTATION).unwrap();
    assert!(ring.keys().len() == 2 && opens(&ring, &old));
    assert_eq!(place.file().rotate(ROTATION.keep, true).unwrap().len(), 1);
    file.keep_up(&ring, ROTATION).unwrap();
    assert!(!opens(&ring, &old));
    assert!(opens(&ring, &seal(&ring)));
}

#[test]
fn others_may_not_read_it() {
    let place = Place::new();
    let file = place.file();
    let ring = place.ring(&file);
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        let error = place.file().load().unwrap_err().to_string();
        assert!(error.contains(&format!("(mode {mode:04o})")), "{error}");
        assert!(error.contains("run `chmod 600 ") && !error.contains('\n'), "{error}");
    }
    let text = seal(&ring);
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(opens(&place.ring(&file), &text));
}

#[test]
fn what_is_no_file_of_keys() {
    let place = Place::new();
    let file = place.file();
    file.load().unwrap();
    let secret = "00".repeat(32);
    for (text, expect) in [
        ("", "EOF while parsing"),
        ("{}", "missing field"),
        (r#"{"version":2,"keys":[]}"#, "its version is 2"),
        (r#"{"version":1,"keys":[]}"#, "it holds no key"),
        (r#"{"version":1,"keys":[{"id":"1","from":1,"secret":""}]}"#, "an id is not 8 hex digits"),
        (
            &format!(
                r#"{{"version":1,"keys":[{{"id":"01020304","from":1,"secret":"{secret}0"}}]}}"#
            ),
            "a secret is not 64 hex digits",
        ),
    ] {
        fs::write(file.path(), text).unwrap();
        let error = file.load().unwrap_err().to_string();
        assert!(error.contains(expect) && error.contains("remove it to begin"), "{error}");
        assert!(!error.contains(&secret), "{error}");
    }
}

/// A crash in the middle of a write leaves what was there, and the next write goes on.
#[test]
fn half_a_file_is_never_read() {
    let place = Place::new();
    let file = place.file();
    let text = seal(&place.ring(&file));
    fs::write(file.path().with_extension("new"), "{\"vers").unwrap();
    assert!(opens(&place.ring(&place.file()), &text));
    file.rotate(ROTATION.keep, false).unwrap();
    assert!(opens(&place.ring(&place.file()), &text));
}

#[test]
fn there_is_a_limit_to_keys() {
    let place = Place::new();
    let file = place.file();
    for _ in 0..KEYS_MAX + 5 {
        file.rotate(ROTATION.keep, false).unwrap();
    }
    assert_eq!(file.load().unwrap().len(), KEYS_MAX);
}

/// Whoever holds the lock and does not let go keeps nobody waiting for ever, and nothing changes.
#[test]
fn a_lock_that_another_process_keeps_is_not_waited_for_for_ever() {
    let place = Place::new();
    let file = KeyFile { lock_pause: Duration::from_millis(1), ..place.file() };
    let ring = place.ring(&file);
    let before = fs::read_to_string(file.path()).unwrap();
    let held = File::open(&file.lock).unwrap();
    held.lock().unwrap();
    let error = file.rotate(ROTATION.keep, true).unwrap_err();
    assert!(matches!(&error, StateError::Busy { path } if path == file.path()), "{error}");
    assert!(error.to_string().ends_with("is being changed by another process"), "{error}");
    // A turn that is due is left for later, and what there is goes on being used.
    place.clock.advance(DAY);
    assert!(matches!(file.keep_up(&ring, ROTATION), Err(StateError::Busy { .. })));
    assert_eq!(fs::read_to_string(file.path()).unwrap(), before);
    assert!(opens(&ring, &seal(&ring)) && ring.keys().len() == 1);
    drop(held);
    file.keep_up(&ring, ROTATION).unwrap();
    assert_eq!(ring.keys().len(), 2);
}
