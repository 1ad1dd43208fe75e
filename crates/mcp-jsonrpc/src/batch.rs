//! Whether a client may send what it sent as a batch: one rule for every wire.

use crate::{Message, ProtocolVersion};

/// What is wrong with these messages as one batch of a client that speaks `version`; none if they
/// may come so, or if no revision was agreed on yet.
///
/// 2025-03-26 has batches, and no other revision; `initialize` is never part of one
/// (2025-03-26, lifecycle).
pub fn objection(version: Option<ProtocolVersion>, messages: &[Message]) -> Option<&'static str> {
    if version.is_some_and(|version| version != ProtocolVersion::V2025_03_26) {
        return Some("only revision 2025-03-26 has batches; send one message at a time");
    }
    let opens = messages.iter().any(|message| message.method() == Some("initialize"));
    opens.then_some("`initialize` may not be part of a batch")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frame;

    fn judged(version: Option<ProtocolVersion>, method: &str) -> Option<&'static str> {
        let text = format!(r#"[{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{}}}}]"#);
        let Ok(Frame::Batch(messages)) = Frame::parse(text) else { panic!("no batch") };
        objection(version, &messages)
    }

    #[test]
    fn one_revision_has_batches() {
        for version in ProtocolVersion::ALL {
            let objection = judged(Some(version), "ping");
            let expect = version != ProtocolVersion::V2025_03_26;
            assert_eq!(objection.is_some_and(|it| it.contains("only revision")), expect);
        }
        assert_eq!(judged(None, "ping"), None);
        for version in [None, Some(ProtocolVersion::V2025_03_26)] {
            assert!(judged(version, "initialize").is_some_and(|it| it.contains("`initialize`")));
        }
    }
}
