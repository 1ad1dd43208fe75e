//! Keys that other products write: what is taken, what is passed over, and what is called
//! something else here.

/// What other clients write for the same thing; taken in every server's entry.
pub(crate) const SERVER_ALIASES: &[(&str, &str)] = &[
    ("transport", "type"),
    ("transportType", "type"),
    ("httpUrl", "url of `streamable-http`"),
    ("serverUrl", "url"),
    ("enabled", "the opposite of `disabled`"),
    ("disabledTools", "tools.block"),
    ("disabled_tools", "tools.block"),
    ("excludeTools", "tools.block"),
    ("includeTools", "tools.allow"),
];

/// What other clients write and a gateway has no use for.
pub(crate) const SERVER_IGNORED: &[&str] = &["alwaysAllow", "autoApprove", "trust"];

/// Keys of others beside our own `gateway`, and what to write in their stead.
pub(super) const GATEWAY_RENAMED: &[(&str, &str)] = &[
    ("addr", "it is called `listen`"),
    ("address", "it is called `listen`"),
    ("host", "write both into `listen`: \"127.0.0.1:9090\""),
    ("port", "write both into `listen`: \"127.0.0.1:9090\""),
    ("baseURL", "it is called `publicUrl`"),
    ("baseUrl", "it is called `publicUrl`"),
    ("authTokens", "it is called `tokens`: {\"name\": \"${TOKEN}\"}"),
    ("type", "both transports are always served: remove it"),
    ("options", "`authTokens` is called `tokens` here; the rest belongs to each server"),
    ("cors", "it is called `allowedOrigins`"),
];

/// The same within a server's entry.
pub(super) const SERVER_RENAMED: &[(&str, &str)] = &[
    (
        "timeout",
        "seconds, milliseconds or nanoseconds, by product: write `requestTimeout`: \"60s\"",
    ),
    (
        "options",
        "its members belong beside `command` here: `disabled`, `logEnabled`, `tools`, `tokens`",
    ),
    ("panicIfInvalid", "it is called `startup`: \"required\""),
    ("authTokens", "`tokens` lists names of `gateway.tokens`"),
    ("toolFilter", "it is called `tools`: {\"allow\": […]} or {\"block\": […]}"),
    ("environment", "it is called `env`"),
    ("arguments", "it is called `args`"),
    ("totalTimeout", "it is called `requestTimeout`"),
];
