//! Messages of `fixtures/messages`: each file's name begins with what is to become of it.

use std::{fs, path::PathBuf};

use bytes::Bytes;
use mcp_jsonrpc::{Frame, Kind, Message, RpcError};

/// What each file is called, without its extension, and what it holds.
fn cases(folder: &str) -> Vec<(String, Bytes)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/messages");
    let mut cases: Vec<_> = fs::read_dir(root.join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap().into())
        })
        .collect();
    cases.sort();
    cases
}

#[test]
fn what_is_malformed_gets_the_code_in_its_name() {
    let cases = cases("invalid");
    assert!(cases.len() >= 70, "only {} cases", cases.len());
    for (name, raw) in cases {
        let Err(error) = Frame::parse(raw.clone()) else { panic!("{name} was taken") };
        let (code, _) = name.split_once('-').unwrap();
        assert_eq!(format!("{}", -error.code()), code, "{name}: {error}");
        assert!(!error.to_string().is_empty());
        if !name.contains("batch") {
            assert!(Message::parse(raw.clone()).is_err(), "{name} was taken as one message");
        }
        // The refusal is a message in any case.
        let id = Message::salvage_id(&raw);
        let refusal = RpcError::new(error.code(), error.to_string());
        Message::error(id.as_ref(), &refusal).unwrap();
    }
}

#[test]
fn what_is_well_formed_is_what_its_name_says() {
    let cases = cases("valid");
    assert!(cases.len() >= 30, "only {} cases", cases.len());
    for (name, raw) in cases {
        let (what, _) = name.split_once('-').unwrap();
        let message = match Frame::parse(raw.clone()) {
            Ok(Frame::One(message)) => message,
            Ok(Frame::Batch(parts)) => {
                assert_eq!(what, "batch", "{name}");
                assert!(!parts.is_empty());
                continue;
            }
            Err(error) => panic!("{name}: {error}"),
        };
        let kind = match what {
            "request" => Kind::Request,
            "notification" => Kind::Notification,
            "response" => Kind::Response,
            "error" => Kind::Error,
            _ => panic!("{name} says nothing"),
        };
        assert_eq!(message.kind(), kind, "{name}");
        assert_eq!(message.as_bytes(), &raw, "{name}");
        assert_eq!(
            message.id().is_some(),
            name != "error-without-id" && name != "error-id-null" && kind != Kind::Notification,
            "{name}"
        );
    }
}
