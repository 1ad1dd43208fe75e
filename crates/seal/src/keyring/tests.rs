//! What opens, and what does not.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn keyring() -> Keyring {
    Keyring::fresh(Clock::still(1_000)).unwrap()
}

fn sealed(keyring: &Keyring) -> String {
    keyring.seal(Purpose::Session, &[b"fs", b"ann"], b"what it is").unwrap()
}

fn opened(keyring: &Keyring, text: &str) -> Option<Vec<u8>> {
    keyring.open(Purpose::Session, &[b"fs", b"ann"], text)
}

#[test]
fn it_opens_for_what_it_was_made_for_and_nothing_else() {
    let keyring = keyring();
    let text = sealed(&keyring);
    assert_eq!(opened(&keyring, &text).unwrap(), b"what it is");
    assert!(text.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_')));
    for purpose in [Purpose::RequestState, Purpose::Cursor, Purpose::Task] {
        assert_eq!(keyring.open(purpose, &[b"fs", b"ann"], &text), None);
    }
    let others: [&[&[u8]]; 6] = [
        &[b"fs", b"bob"],
        &[b"pg", b"ann"],
        &[b"fs"],
        &[b"fsann"],
        &[b"fs", b"ann", b""],
        &[b"f", b"sann"],
    ];
    for bound in others {
        assert_eq!(keyring.open(Purpose::Session, bound, &text), None, "{bound:?}");
    }
    assert_eq!(opened(&self::keyring(), &text), None);
}

#[test]
fn no_two_are_alike() {
    let keyring = keyring();
    assert_ne!(sealed(&keyring), sealed(&keyring));
}

#[test]
fn every_bit_counts() {
    let keyring = keyring();
    let text = sealed(&keyring);
    let bytes = text::decode(&text).unwrap();
    for at in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        assert_eq!(opened(&keyring, &text::encode(&bytes)), None, "bit {at}");
    }
}

#[test]
fn every_byte_counts() {
    let keyring = keyring();
    let text = sealed(&keyring);
    for len in 0..text.len() {
        assert_eq!(opened(&keyring, text.get(..len).unwrap()), None, "{len}");
    }
    assert_eq!(opened(&keyring, &format!("{text}A")), None);
    assert_eq!(opened(&keyring, &format!("{text}AAAA")), None);
    assert_eq!(opened(&keyring, &"A".repeat(OPENED_LEN_MAX + 1)), None);
}

#[test]
fn old_keys_open_and_the_newest_seals() {
    let clock = Clock::still(1_000);
    let old = Key::new(1_000).unwrap();
    let keyring = Keyring::new(vec![old.clone()], clock.clone()).unwrap();
    let by_old = sealed(&keyring);

    // The new one seals only when its time has come.
    let new = Key::new(1_120).unwrap();
    keyring.replace(vec![old.clone(), new.clone()]).unwrap();
    let only_old = Keyring::new(vec![old], clock.clone()).unwrap();
    assert!(opened(&only_old, &sealed(&keyring)).is_some());
    clock.advance(Duration::from_secs(120));
    let by_new = sealed(&keyring);
    assert_eq!(opened(&only_old, &by_new), None);
    assert!(opened(&keyring, &by_old).is_some() && opened(&keyring, &by_new).is_some());

    keyring.replace(vec![new]).unwrap();
    assert!(opened(&keyring, &by_old).is_none() && opened(&keyring, &by_new).is_some());
    assert_eq!(keyring.replace(Vec::new()), Err(SealError::NoKey));
    assert!(opened(&keyring, &by_new).is_some());
}

/// A clock that was put back is no reason to seal nothing.
#[test]
fn a_clock_before_all_keys() {
    let keyring = Keyring::new(vec![Key::new(5_000).unwrap()], Clock::still(1)).unwrap();
    let text = sealed(&keyring);
    assert!(opened(&keyring, &text).is_some());
}

#[test]
fn a_key_that_was_kept_is_the_same() {
    let key = Key::new(7).unwrap();
    let again = Key::from_parts(key.id(), key.from(), *key.secret()).unwrap();
    let text = sealed(&Keyring::new(vec![key], Clock::still(7)).unwrap());
    assert!(opened(&Keyring::new(vec![again], Clock::still(7)).unwrap(), &text).is_some());
}

#[test]
fn nothing_shows_a_secret() {
    let key = Key::from_parts(KeyId([0xab, 1, 2, 3]), 7, [0x5c; Key::LEN]).unwrap();
    let shown = format!("{:?}", Keyring::new(vec![key], Clock::still(7)).unwrap());
    assert_eq!(shown, "Keyring([Key { id: KeyId(ab010203), from: 7, .. }])");
}

proptest! {
    #[test]
    fn there_and_back(plain: Vec<u8>, bound: Vec<Vec<u8>>) {
        let keyring = keyring();
        let bound: Vec<&[u8]> = bound.iter().map(Vec::as_slice).collect();
        let text = keyring.seal(Purpose::Cursor, &bound, &plain).unwrap();
        prop_assert_eq!(keyring.open(Purpose::Cursor, &bound, &text).unwrap(), plain);
    }

    #[test]
    fn nothing_that_is_made_up_opens(text in "[ -~]{0,200}") {
        prop_assert_eq!(opened(&keyring(), &text), None);
    }
}
