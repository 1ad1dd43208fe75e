//! What each revision may be shown.

use mcp_jsonrpc::ProtocolVersion;
use serde_json::Value;

/// A member, and the first revision that has it.
pub(crate) type Since = (&'static str, ProtocolVersion);

/// Members of what is listed.
pub(crate) const LISTED: &[Since] =
    &[("title", ProtocolVersion::V2025_06_18), ("icons", ProtocolVersion::V2025_11_25)];

/// Members of a tool, beside those of [`LISTED`].
pub(crate) const TOOL: &[Since] = &[
    ("annotations", ProtocolVersion::V2025_03_26),
    ("outputSchema", ProtocolVersion::V2025_06_18),
    ("execution", ProtocolVersion::V2025_11_25),
];

/// Members of `annotations` of a resource or of content.
pub(crate) const ANNOTATIONS: &[Since] = &[("lastModified", ProtocolVersion::V2025_06_18)];

/// Members of the result of `tools/call`.
pub(crate) const RESULT: &[Since] = &[("structuredContent", ProtocolVersion::V2025_06_18)];

/// Members of `serverInfo`, beside those of [`LISTED`].
pub(crate) const INFO: &[Since] =
    &[("description", ProtocolVersion::V2025_11_25), ("websiteUrl", ProtocolVersion::V2025_11_25)];

/// Members of `capabilities` of a server.
pub(crate) const CAPABILITIES: &[Since] = &[("completions", ProtocolVersion::V2025_03_26)];

/// Members of `notifications/progress`.
pub(crate) const PROGRESS: &[Since] = &[("message", ProtocolVersion::V2025_03_26)];

/// Members of `elicitation/create`.
pub(crate) const ELICITATION: &[Since] = &[("mode", ProtocolVersion::V2025_11_25)];

/// Members of a tool that are no more.
pub(crate) const TOOL_UNTIL: &[Since] = &[("execution", ProtocolVersion::V2026_07_28)];

/// Takes away what this revision has no more.
pub(crate) fn fit_until(mut shown: Value, until: &[Since], version: ProtocolVersion) -> Value {
    if let Some(members) = shown.as_object_mut() {
        for (name, first) in until {
            if *first <= version {
                members.remove(*name);
            }
        }
    }
    shown
}

/// Takes away what this revision does not have yet.
pub(crate) fn fit(mut shown: Value, since: &[Since], version: ProtocolVersion) -> Value {
    if let Some(members) = shown.as_object_mut() {
        for (name, first) in since {
            if version < *first {
                members.remove(*name);
            }
        }
    }
    shown
}
