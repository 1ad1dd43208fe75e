//! Messages between 2026-07-28 and the revisions with a handshake.

use mcp_jsonrpc::{ParseError, modern, object::Object};

pub mod down;
pub mod up;

/// Which task something is about (2025-11-25).
const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

/// What `_meta` of one hop alone holds: nothing that a peer of the other era should see.
const OF_ONE_HOP: [&str; 7] = [
    modern::PROTOCOL_VERSION,
    modern::CLIENT_CAPABILITIES,
    modern::CLIENT_INFO,
    modern::LOG_LEVEL,
    modern::SUBSCRIPTION_ID,
    modern::SERVER_INFO,
    RELATED_TASK,
];

/// Takes the tasks extension out of capabilities: no revision with a handshake has it in the form
/// that 2026-07-28 gives it.  What is done in the background is waited for instead.
fn without_tasks(can: &mut Object<'_>) -> Result<(), ParseError> {
    let declared = can.get("extensions").filter(|it| it.get().starts_with('{'));
    let Some(declared) = declared.map(ToOwned::to_owned) else { return Ok(()) };
    let mut extensions = Object::read(&declared)?;
    if extensions.remove(&[modern::TASKS]) {
        let extensions = extensions.to_raw()?;
        can.set("extensions", &extensions)?;
    }
    Ok(())
}
