use proptest::prelude::*;
use seal::Clock;

use super::*;

fn request(params: &str) -> Message {
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
    Message::parse(text).unwrap()
}

#[test]
fn a_digest_is_of_what_a_retry_repeats() {
    let one = digest(&request(r#"{"name":"a","arguments":{"x":1,"y":[2]}}"#));
    for same in [
        r#"{"arguments":{"y":[2],"x":1},"name":"a"}"#,
        r#"{"name":"\u0061", "arguments" : {"x":1,"y":[ 2 ]},"_meta":{"progressToken":1}}"#,
        r#"{"name":"a","arguments":{"x":1,"y":[2]},"inputResponses":{},"requestState":"s"}"#,
    ] {
        assert_eq!(digest(&request(same)), one, "{same}");
    }
    for other in [
        r#"{"name":"b","arguments":{"x":1,"y":[2]}}"#,
        r#"{"name":"a","arguments":{"x":1,"y":[3]}}"#,
        r#"{"name":"a","arguments":{"x":1,"y":[2],"z":null}}"#,
        r#"{"name":"a","arguments":{"x":"1","y":[2]}}"#,
        r#"{"name":"a"}"#,
        "{}",
    ] {
        assert_ne!(digest(&request(other)), one, "{other}");
    }
    // What no number here can hold is compared as it is written.
    let large = |params: &str| digest(&request(params));
    let one = large(r#"{"name":"a","arguments":{"x":1e400}}"#);
    assert_eq!(large(r#"{"arguments":{"x":1e400},"name":"a","_meta":{"n":1}}"#), one);
    assert_ne!(large(r#"{"name":"a","arguments":{"x":1e401}}"#), one);
}

fn state() -> impl Strategy<Value = State> {
    let parts = (any::<[u8; 16]>(), any::<u64>(), any::<u64>(), 1..u64::MAX, any::<[u8; 32]>());
    parts.prop_map(|(instance, parked, nonce, until, digest)| State {
        instance,
        parked,
        nonce,
        until,
        digest,
    })
}

proptest! {
    #[test]
    fn it_opens_as_it_was_sealed_and_for_nobody_else(
        state in state(), caller in "[a-z]{0,8}", other in "[a-z]{0,8}", later in any::<u64>(),
    ) {
        let clock = Clock::still(state.until - 1);
        let keyring = Keyring::fresh(clock.clone()).unwrap();
        let (caller, other) = (Caller::named(caller), Caller::named(other));
        let text = state.seal(&keyring, &caller).unwrap();
        let open = |caller: &Caller| {
            State::open(&text, &keyring, caller, &state.instance, &state.digest)
        };
        prop_assert_eq!(open(&caller).unwrap(), state);
        prop_assert_eq!(open(&other).is_ok(), other.subject == caller.subject);
        prop_assert!(open(&Caller::anonymous()).is_err());
        // Another key, another front, another request, another time.
        let keyring_of_others = Keyring::fresh(clock).unwrap();
        let foreign = State::open(&text, &keyring_of_others, &caller, &state.instance, &state.digest);
        prop_assert!(foreign.is_err());
        let mut instance = state.instance;
        instance[0] ^= 1;
        prop_assert!(State::open(&text, &keyring, &caller, &instance, &state.digest).is_err());
        let mut digest = state.digest;
        digest[31] ^= 128;
        prop_assert!(State::open(&text, &keyring, &caller, &state.instance, &digest).is_err());
        let late = State { until: state.until.min(later), ..state };
        let text = late.seal(&keyring, &caller).unwrap();
        let opened = State::open(&text, &keyring, &caller, &state.instance, &state.digest);
        prop_assert_eq!(opened.is_ok(), state.until <= late.until);
    }

    #[test]
    fn what_is_altered_does_not_open(state in state(), at in any::<usize>(), with in "[A-Za-z0-9_-]") {
        let keyring = Keyring::fresh(Clock::still(0)).unwrap();
        let caller = Caller::anonymous();
        let text = state.seal(&keyring, &caller).unwrap();
        let mut altered = text.clone();
        let at = at % text.len();
        altered.replace_range(at..=at, &with);
        let opened = State::open(&altered, &keyring, &caller, &state.instance, &state.digest);
        prop_assert_eq!(opened.is_ok(), altered == text);
        for cut in [text.get(..at).unwrap(), text.get(at + 1..).unwrap()] {
            let opened = State::open(cut, &keyring, &caller, &state.instance, &state.digest);
            prop_assert!(opened.is_err());
        }
    }

    #[test]
    fn what_anybody_makes_up_does_not_open(text in "\\PC{0,200}") {
        let keyring = Keyring::fresh(Clock::still(0)).unwrap();
        let caller = Caller::anonymous();
        prop_assert!(State::open(&text, &keyring, &caller, &[0; 16], &[0; 32]).is_err());
    }
}
