//! What is on disk after whatever happens.

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;

fn key(number: usize) -> RecordKey {
    u128::try_from(number).unwrap().to_be_bytes()
}

/// However busy the machine is: whoever held the file before has let go of it.
fn open(dir: &tempfile::TempDir, clock: &Clock, max: DiskMax) -> Disk {
    let dir = StateDir::open(dir.path()).unwrap();
    Disk::open_within(Duration::from_secs(60), &dir, clock.clone(), max).unwrap()
}

/// The file is let go of by the writer, a moment after the store.
fn reopened(disk: Disk, dir: &tempfile::TempDir, clock: &Clock) -> Disk {
    drop(disk);
    let disk = open(dir, clock, DiskMax::default());
    assert!(disk.is_well());
    disk
}

#[tokio::test]
async fn what_is_confirmed_is_there_again() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::still(100));
    let disk = open(&dir, &clock, DiskMax::default());
    assert!(disk.is_well());
    let mode = fs::metadata(disk.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    disk.save(key(1), "a".into(), 200).await.unwrap();
    disk.save(key(1), "b".into(), 200).await.unwrap();
    disk.save(key(2), "c".into(), 150).await.unwrap();
    disk.save(key(3), "d".into(), 200).await.unwrap();
    disk.remove(key(3)).await.unwrap();
    let disk = reopened(disk, &dir, &clock);
    assert_eq!(disk.load(&key(1)).unwrap().unwrap(), "b");
    assert_eq!(disk.load(&key(2)).unwrap().unwrap(), "c");
    assert_eq!(disk.load(&key(3)).unwrap(), None);
    assert_eq!(disk.load(&key(4)).unwrap(), None);
    clock.advance(Duration::from_secs(60));
    assert_eq!(disk.load(&key(2)).unwrap(), None);
    disk.save(key(4), "e".into(), 200).await.unwrap();
    assert_eq!(disk.load(&key(1)).unwrap().unwrap(), "b");
}

#[tokio::test]
async fn many_at_once_and_all_in_order() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::still(100));
    let disk = open(&dir, &clock, DiskMax::default());
    let saving: Vec<_> = (0..QUEUE_LEN_MAX + 500)
        .map(|it| disk.save(key(it % 7), it.to_string().into(), 200))
        .collect();
    futures::future::try_join_all(saving).await.unwrap();
    let disk = reopened(disk, &dir, &clock);
    for it in 0..7 {
        assert!(disk.load(&key(it)).unwrap().is_some());
    }
}

/// What was asked for first is written first, also by those who do not wait.
#[tokio::test]
async fn the_last_write_of_a_key_stays() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::still(100));
    let disk = open(&dir, &clock, DiskMax::default());
    let early: Vec<_> =
        (0..100).map(|it: usize| disk.save(key(1), it.to_string().into(), 200)).collect();
    disk.save(key(1), "last".into(), 200).await.unwrap();
    futures::future::try_join_all(early).await.unwrap();
    assert_eq!(disk.load(&key(1)).unwrap().unwrap(), "last");
}

#[tokio::test]
async fn there_is_a_limit_to_all_and_to_one() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::still(100));
    let max = DiskMax { bytes_max: 10 * (64 + 6), record_len_max: 6 };
    let disk = open(&dir, &clock, max);
    let error = disk.save(key(0), "sevenly".into(), 200).await.unwrap_err();
    assert!(error.to_string().contains("7 bytes is longer than 6"), "{error}");
    for it in 0..25 {
        disk.save(key(it), "sixsix".into(), 200 + it as u64).await.unwrap();
    }
    let there = |disk: &Disk| {
        (0..25).filter(|&it| disk.load(&key(it)).unwrap().is_some()).collect::<Vec<_>>()
    };
    assert_eq!(there(&disk), (15..25).collect::<Vec<_>>());
    drop(disk);
    let disk = open(&dir, &clock, max);
    disk.save(key(30), "sixsix".into(), 300).await.unwrap();
    assert_eq!(there(&disk), (16..25).collect::<Vec<_>>());
}

/// A start waits for no file; whoever wants a record does, and finds what was there before.
#[tokio::test]
async fn a_start_does_not_wait_for_the_file() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::still(100));
    let before = open(&dir, &clock, DiskMax::default());
    before.save(key(1), "a".into(), 200).await.unwrap();
    // As a gateway does that was told to end, while the next one has been started.
    let next = open(&dir, &clock, DiskMax::default());
    assert!(next.shared.tried.get().is_none());
    let saving = next.save(key(2), "b".into(), 200);
    drop(before);
    assert_eq!(next.load(&key(1)).unwrap().unwrap(), "a");
    saving.await.unwrap();
    let again = reopened(next, &dir, &clock);
    assert_eq!(again.load(&key(2)).unwrap().unwrap(), "b");
}

/// The second of two gateways in one directory works, and says what it lacks.
#[tokio::test]
async fn a_file_that_another_holds() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::still(100));
    let first = open(&dir, &clock, DiskMax::default());
    first.save(key(1), "a".into(), 200).await.unwrap();
    let at = StateDir::open(dir.path()).unwrap();
    let second = Disk::open(&at, clock.clone(), DiskMax::default()).unwrap();
    assert!(first.is_well() && !second.is_well());
    let error = second.save(key(2), "b".into(), 200).await.unwrap_err();
    assert!(error.to_string().contains("in memory only"), "{error}");
    assert_eq!(second.load(&key(2)).unwrap().unwrap(), "b");
    assert_eq!(second.load(&key(1)).unwrap(), None);
    // Once the first is gone, the second goes on with the file.
    drop(first);
    while second.shared.file().is_none() {
        second.shared.open_again();
    }
    assert_eq!(second.load(&key(1)).unwrap().unwrap(), "a");
    assert_eq!(second.load(&key(2)).unwrap().unwrap(), "b");
    second.remove(key(1)).await.unwrap();
    let again = reopened(second, &dir, &clock);
    assert_eq!(again.load(&key(1)).unwrap(), None);
    assert_eq!(again.load(&key(2)).unwrap().unwrap(), "b");
}

#[tokio::test]
async fn a_file_that_is_damaged_is_put_aside() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::still(100));
    let path = dir.path().join(FILE);
    for text in ["not a database at all, but long enough to be looked at", ""] {
        fs::write(&path, text).unwrap();
        let disk = open(&dir, &clock, DiskMax::default());
        assert!(disk.is_well(), "{text}");
        disk.save(key(1), "a".into(), 200).await.unwrap();
        assert_eq!(disk.load(&key(1)).unwrap().unwrap(), "a");
        drop(disk);
        while File::open(&path, 1 << 20).is_err() {
            thread::yield_now();
        }
    }
    assert!(path.with_extension("damaged").exists());
}

/// The whole process is killed at any moment: what was confirmed is there.
#[tokio::test]
async fn a_copy_of_the_file_taken_at_any_moment_is_whole() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::still(100));
    let disk = open(&dir, &clock, DiskMax::default());
    for it in 0..20 {
        disk.save(key(it), it.to_string().into(), 200).await.unwrap();
        let copy = tempfile::tempdir().unwrap();
        fs::copy(disk.path(), copy.path().join(FILE)).unwrap();
        let copied = open(&copy, &clock, DiskMax::default());
        assert!(copied.is_well());
        for before in 0..=it {
            assert_eq!(copied.load(&key(before)).unwrap().unwrap(), before.to_string());
        }
        assert!(!copy.path().join("sessions.damaged").exists());
    }
}

/// A disk that hangs keeps nobody waiting for ever; what it was to write is written when it can.
#[tokio::test(start_paused = true)]
async fn who_waits_for_the_disk_goes_on_without_it() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::still(100));
    let disk = open(&dir, &clock, DiskMax::default());
    let (hang, hangs) = std::sync::mpsc::channel::<()>();
    let (hung, is_hung) = oneshot::channel();
    let shared = Arc::clone(&disk.shared);
    let holder = thread::spawn(move || {
        // Whoever writes needs it.
        let _slot = shared.slot();
        hung.send(()).unwrap();
        hangs.recv().ok();
    });
    is_hung.await.unwrap();
    let since = Instant::now();
    let (one, other) = tokio::join!(disk.save(key(1), "a".into(), 200), disk.remove(key(2)));
    for outcome in [one, other] {
        let error = outcome.unwrap_err();
        assert!(matches!(error, StoreError::Slow(5)), "{error}");
    }
    assert!((WRITE_TIMEOUT..2 * WRITE_TIMEOUT).contains(&since.elapsed()));
    tokio::time::resume();
    drop(hang);
    holder.join().unwrap();
    disk.save(key(3), "c".into(), 200).await.unwrap();
    assert_eq!(disk.load(&key(1)).unwrap().unwrap(), "a");
    assert_eq!(disk.load(&key(3)).unwrap().unwrap(), "c");
}
